"""Loads settings from a text, and returns the problems of a wrong one."""

from pathlib import Path

import pytest

from invoke_gateway.settings import Override, Problem, SettingsError, load

RESERVED = "accounts.default.functions.checkout.reserved_concurrent_executions"


FLOOR_SENTENCE = (
    "Specified ReservedConcurrentExecutions for function decreases account's "
    "UnreservedConcurrentExecution below its minimum value of [100]."
)


EVERY_KEY = """
listen: 0.0.0.0:9001
admin: "[::1]:0"
admin_token: env:HOME
admin_reads: token
region: eu-central-1
backend:
  url: https://localhost:4566/
  timeout_seconds: 30
  connect_timeout_seconds: 0.5
  first_byte_timeout_seconds: 10
  idle_timeout_seconds: 2.5
  keep_alive_seconds: 0
  host_header: backend
  function_path: function
  sign: {service: off, region: eu-central-1, credentials: env}
  function_errors: body
accounts:
  default:
    concurrent_executions: 10
    requests_per_second: off
    caller_requests_per_second: 2.5
    functions:
      checkout: {reserved_concurrent_executions: 5}
      legacy-report: {reserved_concurrent_executions: 0, requests_per_second: 3, resource_policy: {Statement: []}}
  "111122223333": {concurrent_executions: 50, unreserved_floor: 10, outside_concurrency: 4, outside_interval_seconds: 5}
signatures: verify
callers:
  AKIAIOSFODNN7EXAMPLE:
    secret: env:ALICE_SECRET
    session_token: file:/run/secrets/token
    arn: arn:aws:iam::111122223333:user/alice
    policies: [{Version: "2012-10-17", Statement: []}]
    concurrent_executions: 20
    requests_per_second: off
quotas: {request: 1, event_request: 2, response: 3, streamed_response: 4}
payload_error: as_observed
retry: {retry_after: false, x_amz_retry_after: false, maximum_seconds: 5}
control:
  check_existence: false
  follow_backend: true
  follow_interval_seconds: 5
  sqs_endpoint: "http://127.0.0.1:4566"
  store: "file:///var/lib/control.json"
provisioned: {allocation_seconds: 2.5}
decision_header: false
cors: {allow_origins: ["http://localhost:3000"]}
counters: rediss://gateway:p%23@redis.example:6380/2
shared:
  expected_gateways: 3
  lease_seconds: 4
  store_timeout_seconds: 1
  on_store_failure: local_share
  reclaim_after: timeout
async:
  mode: forward
  store: sqlite:///var/lib/invoke-gateway/queue.db
  adopt_events: true
  function_error_delays_seconds: [1, 2.5]
  shortest_delay_seconds: 0.5
  longest_delay_seconds: 60
  delivery_attempts: 3
  maximum_events: 1000
buffer_bytes: 1000
read_timeout_seconds: 1
keep_alive_seconds: 2
max_connections: 3
max_header_bytes: 4
max_headers: 5
drain_seconds: 0
faults: true
watch: true
log: {format: json, level: error}
access_log: "-"
metric_functions: 0
"""


def write(folder: Path, text: str, name: str = "gateway.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def problems_of(folder: Path, text: str, name: str = "gateway.yaml", **flags: Override) -> tuple[Problem, ...]:
    with pytest.raises(SettingsError) as raised:
        load(write(folder, text, name), flags)
    return raised.value.problems


def problem_of(folder: Path, text: str, name: str = "gateway.yaml", **flags: Override) -> Problem:
    problems = problems_of(folder, text, name, **flags)
    assert len(problems) == 1, problems
    return problems[0]
