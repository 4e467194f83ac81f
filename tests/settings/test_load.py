"""The settings: what is accepted, what is refused, and in which words."""

import errno
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

import invoke_gateway
from invoke_gateway.settings import (
    Address,
    Override,
    Problem,
    Settings,
    SettingsError,
    json_schema,
    load,
    restart_needed,
)
from invoke_gateway.settings.paths import join_key, settable, split_key
from invoke_gateway.settings.types import TargetUrl
from tests.support.tools import OPENSSL

RESERVED = "accounts.default.functions.checkout.reserved_concurrent_executions"
FLOOR_SENTENCE = (
    "Specified ReservedConcurrentExecutions for function decreases account's "
    "UnreservedConcurrentExecution below its minimum value of [100]."
)
EVERY_KEY = """
listen: 0.0.0.0:9001
admin: "[::1]:0"
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
  function_errors: body
accounts:
  default:
    concurrent_executions: 10
    requests_per_second: off
    caller_requests_per_second: 2.5
    functions:
      checkout: {reserved_concurrent_executions: 5}
      legacy-report: {reserved_concurrent_executions: 0, requests_per_second: 3}
  "111122223333": {concurrent_executions: 50, unreserved_floor: 10}
credentials: {AKIAIOSFODNN7EXAMPLE: "111122223333"}
quotas: {request: 1, event_request: 2, response: 3, streamed_response: 4}
payload_error: as_observed
retry: {retry_after: false, x_amz_retry_after: false, maximum_seconds: 5}
decision_header: false
cors: {allow_origins: ["http://localhost:3000"]}
counters: rediss://gateway:p%23@redis.example:6380/2
shared:
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
access_log: true
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


# What is accepted


def test_with_nothing_set_the_demo_backend_is_served_on_loopback() -> None:
    settings = load()
    assert (str(settings.listen), str(settings.admin)) == ("127.0.0.1:9001", "127.0.0.1:9002")
    assert settings.backend.url == "demo"
    assert settings.accounts["default"].concurrent_executions == 1000


def test_every_key_can_be_set_in_the_file(tmp_path: Path) -> None:
    settings = load(write(tmp_path, EVERY_KEY))
    assert settings.admin == Address("::1", 0)
    assert settings.backend.url == "https://localhost:4566"
    default = settings.accounts["default"]
    assert (default.requests_per_second, default.caller_requests_per_second) == ("off", 2.5)
    assert default.functions["legacy-report"].requests_per_second == 3
    assert (default.reserved, default.unreserved, default.floor) == (5, 5, 0)
    assert settings.accounts["111122223333"].floor == 10
    unset = set(restart_needed(Settings(), settings))
    restartable = {".".join(path) for path, _ in settable(Settings) if path[0] not in RELOADED}
    # Files that would have to exist; and several workers, with which fault scripts cannot be.
    assert restartable - unset == {"tls.certificate", "tls.key", "backend.certificate_authority", "workers"}


RELOADED = {"accounts", "credentials", "quotas"}


@pytest.mark.parametrize(
    ("url", "what"),
    [
        ("http://secret@host", "begins with redis://"),
        ("redis://:secret@:1", "names no host"),
        ("redis://:secret@host:99999", "a port that is none"),
        ("redis://:secret@one,two", "names several hosts"),
        ("redis+sentinel://:secret@one,two", "what the sentinels call the primary"),
        ("redis+sentinel://:secret@one,two:0/mymaster", "a port that is none"),
        ("redis+sentinel://:secret@one/mymaster/first", "not the number of a database"),
        ("redis+cluster://:secret@one,,two", "names no host"),
        ("redis+cluster://:secret@one/1", "a cluster has only 0"),
        ("redis+ring://:secret@one", "begins with redis://"),
        ("redis://:secret@host/first", "not the number of a database"),
        ("redis://:secret@host#1", "after a #"),
        ("unix://", "names no socket"),
        ("valkey", "begins with redis://"),
    ],
)
def test_a_wrong_url_of_counters_is_refused_without_repeating_what_may_be_a_password(
    tmp_path: Path, url: str, what: str
) -> None:
    problem = problem_of(tmp_path, f"counters: {json.dumps(url)}")
    assert problem.key == "counters"
    assert what in problem.message
    assert "secret" not in str(problem)


@pytest.mark.parametrize(
    "url",
    [
        "redis://user:p%40ss@[::1]:6379/0",
        "rediss://host?ssl_ca_certs=/etc/ca.pem",
        "unix:///run/valkey.sock?db=0",
        "redis+sentinel://user:p%40ss@s1,s2:26379,[::1]:26379/mymaster/0?sentinel_password=other",
        "rediss+sentinel://s1/mymaster",
        "redis+cluster://user:pass@h1:6379,h2",
        "rediss+cluster://h1:6379/0",
    ],
)
def test_the_urls_of_servers_sentinels_and_clusters_are_taken_as_they_are(tmp_path: Path, url: str) -> None:
    assert load(write(tmp_path, f"counters: {json.dumps(url)}"), {}).counters == url


def test_a_wrong_target_of_events_is_refused_with_its_cure_and_a_right_one_is_taken_as_it_is() -> None:
    reader = TypeAdapter(TargetUrl)
    assert reader.validate_python("redis://:secret@h/0?stream=a") == "redis://:secret@h/0?stream=a"
    with pytest.raises(ValidationError) as raised:
        reader.validate_python("redis://:secret@h/0")
    context = raised.value.errors()[0]["ctx"]
    assert context["message"] == "does not say which stream"
    assert "?stream=name" in context["cure"]
    assert "secret" not in json.dumps(context)


def test_the_store_must_answer_well_within_the_lease(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "shared: {lease_seconds: 2, store_timeout_seconds: 0.6}")
    assert problem.key == "shared.store_timeout_seconds"
    assert "lower it to 0.5" in problem.cure


def test_json_says_the_same_as_yaml(tmp_path: Path) -> None:
    values = yaml.safe_load(EVERY_KEY)
    from_json = load(write(tmp_path, json.dumps({"$schema": "x", **values}), "gateway.json"))
    assert from_json == load(write(tmp_path, EVERY_KEY))


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "accounts:\n  default:\nbackend:\n", "watch:\n"])
def test_an_empty_file_and_empty_keys_mean_the_defaults(tmp_path: Path, text: str) -> None:
    assert load(write(tmp_path, text)) == load()


def test_an_empty_json_file_means_the_defaults(tmp_path: Path) -> None:
    assert load(write(tmp_path, " ", "gateway.json")) == load()


def test_the_default_account_is_there_even_when_only_others_are_named(tmp_path: Path) -> None:
    settings = load(write(tmp_path, 'accounts: {"111122223333": {concurrent_executions: 5}}'))
    assert list(settings.accounts) == ["default", "111122223333"]


def test_anchors_and_merges_of_yaml_work_and_the_own_key_wins(tmp_path: Path) -> None:
    text = """
accounts:
  default: &small {concurrent_executions: 10, requests_per_second: 5}
  "111122223333": {<<: *small, requests_per_second: off}
  "111122223334": *small
"""
    accounts = load(write(tmp_path, text)).accounts
    assert accounts["111122223333"].concurrent_executions == 10
    assert accounts["111122223333"].requests_per_second == "off"
    assert accounts["111122223334"] == accounts["default"]


def test_an_override_of_one_account_leaves_its_twin_by_anchor_alone(tmp_path: Path) -> None:
    text = 'accounts: {default: &a {concurrent_executions: 10}, "111122223333": *a}'
    key = "accounts.default.concurrent_executions"
    accounts = load(write(tmp_path, text), {key: Override(20, "--concurrent-executions")}).accounts
    assert accounts["default"].concurrent_executions == 20
    assert accounts["111122223333"].concurrent_executions == 10


def test_overrides_go_over_the_file_and_later_ones_over_earlier(tmp_path: Path) -> None:
    path = write(tmp_path, "region: eu-west-1\nmax_headers: 5")
    overrides = {
        "region": Override("us-west-2", "--region"),
        "accounts": Override({"default": {"concurrent_executions": 1}}, "--accounts"),
        "accounts.default.concurrent_executions": Override(2, "--concurrent-executions"),
    }
    settings = load(path, overrides)
    assert (settings.region, settings.max_headers) == ("us-west-2", 5)
    assert settings.accounts["default"].concurrent_executions == 2


def test_a_function_name_with_a_dot_is_written_in_quotes_inside_a_key() -> None:
    key = 'accounts.default.functions."my.func".reserved_concurrent_executions'
    assert load(None, {key: Override(3, "--reserve")}).accounts["default"].functions["my.func"]
    assert join_key(split_key(key)) == key


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError) as raised:
        load().region = "eu-west-1"  # that is the point
    assert [error["type"] for error in raised.value.errors()] == ["frozen_instance"]


# The floor


def test_reservations_below_the_floor_are_refused_with_the_sentence_of_aws_and_the_numbers(
    tmp_path: Path,
) -> None:
    problem = problem_of(
        tmp_path, "accounts: {default: {functions: {checkout: {reserved_concurrent_executions: 950}}}}"
    )
    assert (problem.key, problem.message) == ("accounts.default", FLOOR_SENTENCE)
    assert problem.cure == (
        "950 of 1000 concurrent executions are reserved, which leaves 50 where 100 must stay unreserved: reserve "
        "50 fewer, or raise concurrent_executions to 1050, or lower unreserved_floor to 50"
    )


def test_a_small_account_may_reserve_all_it_has() -> None:
    overrides = {
        "accounts.default.concurrent_executions": Override(10, "--concurrent-executions"),
        RESERVED: Override(10, "--reserve"),
    }
    assert load(None, overrides).accounts["default"].unreserved == 0


def test_more_than_the_account_is_refused_and_no_floor_can_help() -> None:
    overrides = {
        "accounts.default.concurrent_executions": Override(10, "--concurrent-executions"),
        RESERVED: Override(11, "--reserve"),
    }
    with pytest.raises(SettingsError) as raised:
        load(None, overrides)
    (problem,) = raised.value.problems
    assert problem.source == "--concurrent-executions, --reserve"
    assert "[0]" in problem.message
    assert "unreserved_floor" not in problem.cure


# Mistakes


def test_all_mistakes_of_file_and_flags_are_reported_together_each_with_key_source_and_cure(
    tmp_path: Path,
) -> None:
    text = """
admim: 127.0.0.1:1
watch: "yes"
accounts:
  default:
    functions:
      checkout: {reserved_concurrent_executions: "5"}
  "111122223333": {concurrent_executions: 10, functions: {a: {reserved_concurrent_executions: 11}}}
"""
    problems = problems_of(tmp_path, text, max_headers=Override("many", "--max-headers"))
    file = str(tmp_path / "gateway.yaml")
    found = {(problem.key, problem.source, problem.cure) for problem in problems}
    assert found >= {
        ("admim", file, "did you mean admin?"),
        ("watch", file, "leave the key out for the default, false"),
        (RESERVED, file, "write 5 without quotes"),
        ("max_headers", "--max-headers", "leave the key out for the default, 128"),
    }
    assert len(problems) == 5


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("accounts: 5", "accounts", "must be a mapping of names to settings; it is 5"),
        ("backend: [demo]", "backend", "must be a mapping with the keys url, timeout_seconds"),
        ("max_headers: true", "max_headers", "it is true"),
        ("max_headers: 0", "max_headers", "must be a whole number from 1"),
        ("max_headers: 1.5", "max_headers", "it is 1.5"),
        ("buffer_bytes: 6MiB", "buffer_bytes", "must be a whole number of bytes, at least 1; it is the text '6MiB'"),
        ("drain_seconds: .nan", "drain_seconds", "must be a number of seconds from 0"),
        ("drain_seconds: -1", "drain_seconds", "it is -1"),
        ("read_timeout_seconds: 0", "read_timeout_seconds", "must be a number of seconds above 0"),
        ("read_timeout_seconds: 1" + "0" * 400, "read_timeout_seconds", "it is far too large a number"),
        ("read_timeout_seconds: 1" + "0" * 5000, "read_timeout_seconds", "must be a number"),
        ("region: 2001-01-01", "region", "it is the date 2001-01-01"),
        ("region: 2001-99-99", "region", "it is the text '2001-99-99'"),
        ("region: Mars", "region", "must be an AWS Region"),
        ("payload_error: both", "payload_error", "must be modelled or as_observed; it is the text 'both'"),
        ("backend: {function_path: a/b}", "backend.function_path", "must be a plain function name"),
        ("credentials: {AKIA: 111122223333}", "credentials.AKIA", "must be a 12-digit account id in quotes"),
        ('credentials: {"a/b": "111122223333"}', "credentials.a/b", "must be an access key id"),
        ("tls: {certificate: /nope}", "tls.certificate", f"cannot read '/nope': {os.strerror(errno.ENOENT)}"),
        ("listen: 9001", "listen", "must be host:port"),
    ],
)
def test_a_wrong_value_is_named_by_its_key_with_what_it_must_be_and_what_it_is(
    tmp_path: Path, text: str, key: str, words: str
) -> None:
    problem = problems_of(tmp_path, text)[0]
    assert problem.key == key
    assert words in problem.message
    assert problem.cure


@pytest.mark.parametrize("value", ["on", "fast", "-1", ".inf", "{a: 1}", "[]"])
def test_a_rate_is_auto_off_or_a_number(tmp_path: Path, value: str) -> None:
    problem = problem_of(tmp_path, f"accounts: {{default: {{requests_per_second: {value}}}}}")
    assert "must be auto, off, or a number of requests per second, 0 or more" in problem.message


def test_a_rate_of_zero_is_a_rate_and_not_a_missing_one(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("accounts: {default: {requests_per_second: 0}}")
    assert load(tmp_path / "gateway.yaml").accounts["default"].requests_per_second == 0


def test_a_caller_rate_is_never_auto(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "accounts: {default: {caller_requests_per_second: auto}}")
    assert problem.message.startswith("must be off, or a number")


@pytest.mark.parametrize(
    ("account", "words", "cure"),
    [
        ("111122223333", "is a number here, not a name", 'put it in quotes: "111122223333"'),
        ('"12"', "must be `default` or a 12-digit account id in quotes", 'write it as "111122223333"'),
        ('"000000000000"', "is how the account `default` is shown", "write default instead of 000000000000"),
    ],
)
def test_an_account_is_default_or_twelve_digits_in_quotes(tmp_path: Path, account: str, words: str, cure: str) -> None:
    problem = problem_of(tmp_path, f"accounts: {{{account}: {{}}}}")
    assert (problem.message, problem.cure) == (words, cure)


@pytest.mark.parametrize("name", ["checkout:1", "arn:aws:lambda:us-east-1:111122223333:function:f", "a b", ""])
def test_a_function_is_named_plainly_because_its_versions_share_its_limits(tmp_path: Path, name: str) -> None:
    problem = problem_of(tmp_path, f'accounts: {{default: {{functions: {{"{name}": {{}}}}}}}}')
    assert problem.message.startswith("must be a plain function name")
    assert problem.cure == "leave out ARN, version and alias: all versions of a function share its limits"


def test_a_function_name_that_yaml_reads_as_something_else_needs_quotes(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "accounts: {default: {functions: {on: {}}}}")
    assert (problem.message, problem.cure) == ("is true here, not a name", "put the name in quotes")


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("lisen: 1", "did you mean listen?"),
        ("read-timeout-seconds: 1", "did you mean read_timeout_seconds?"),
        ("concurrent_executions: 1", "did you mean accounts.<name>.concurrent_executions?"),
        ("quotas: {zzz: 1}", "the keys here are request, event_request, response, streamed_response"),
        (
            "accounts: {default: {functions: {f: {reserved_concurrent_execution: 1}}}}",
            "did you mean reserved_concurrent_executions?",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_what_was_probably_meant(tmp_path: Path, text: str, cure: str) -> None:
    problem = problem_of(tmp_path, text)
    assert (problem.message, problem.cure) == ("is not a setting", cure)


@pytest.mark.parametrize(
    ("text", "words", "cure"),
    [
        ("localhost", "must be host:port; it is 'localhost'", "0.0.0.0:9001 for every interface"),
        (":9001", "must be host:port", "0.0.0.0:9001"),
        ("127.0.0.1:65536", "has the port '65536'", "host:port"),
        ("127.0.0.1:٣", "has the port", "host:port"),
        ("::1:9001", "has the IPv6 host ::1 without brackets", "write [::1]:9001"),
        ("[nope]:9001", "has the host '[nope]'", "name or address"),
        ("http://x:9001", "has the host 'http://x'", "name or address"),
    ],
)
def test_a_listener_is_host_and_port(tmp_path: Path, text: str, words: str, cure: str) -> None:
    problem = problem_of(tmp_path, f'listen: "{text}"')
    assert words in problem.message
    assert cure in problem.cure


@pytest.mark.parametrize(
    ("origin", "words", "cure"),
    [
        ("http://a/", "has something after the host", "write http://a: browsers send no path"),
        ("http://a:80/b?c", "has something after the host", "write http://a: browsers send no path"),
        ("HTTP://A", "is HTTP://A, which no browser sends", "write http://a"),
        ("https://a:443", "which no browser sends", "write https://a"),
        ("http://a:080", "which no browser sends", "write http://a"),
        ("null", "is null, the origin of every sandboxed page", "serve the page by a web server"),
        ("a.example", "must be an origin", "such as http://localhost:3000"),
        ("//a", "must be an origin", "such as http://localhost:3000"),
        ("", "must be an origin", "such as http://localhost:3000"),
        ("http://", "must be an origin", "such as http://localhost:3000"),
        ("http://é.example", "must be an origin", "such as http://localhost:3000"),
        ("http://a b", "must be an origin", "such as http://localhost:3000"),
        ("http://*.example", "has a wildcard", "list each origin"),
        ("http://a:0", "has the port 0", "such as http://localhost:3000"),
        ("http://a:65536", "has the port 65536", "such as http://localhost:3000"),
        ("http://me:secret@a", "carries a user name or password", "such as http://localhost:3000"),
    ],
)
def test_an_origin_is_what_browsers_send(tmp_path: Path, origin: str, words: str, cure: str) -> None:
    problem = problem_of(tmp_path, json.dumps({"cors": {"allow_origins": ["https://first", origin]}}))
    assert problem.key == "cors.allow_origins.1"
    assert words in problem.message
    assert problem.cure is not None
    assert cure in problem.cure
    assert "secret" not in problem.message + problem.cure


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost:3000",
        "https://app.example",
        "http://[::1]:8080",
        "http://127.0.0.1",
        "capacitor://localhost",
        "*",
    ],
)
def test_an_origin_as_browsers_send_it_is_taken(tmp_path: Path, origin: str) -> None:
    text = json.dumps({"cors": {"allow_origins": [origin]}})
    assert load(write(tmp_path, text)).cors.allow_origins == (origin,)


def test_every_origin_is_allowed_alone(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, 'cors: {allow_origins: ["*", "http://a"]}')
    assert (problem.message, problem.cure) == (
        "has * beside other origins",
        "leave the others out: * allows every origin",
    )
    problem = problem_of(tmp_path, "cors: {allow_origins: http://a}")
    assert problem.message.startswith('must be a list of origins, such as [http://localhost:3000], or ["*"]')


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://x", "must be an http or https origin"),
        ("127.0.0.1:4566", "must be an http or https origin"),
        ("http://", "must be an http or https origin"),
        ("http://x:99999", "is no URL"),
        ("http://x/path", "has something after the host"),
        ("http://x?q", "has something after the host"),
        ("http://user:secret@x", "carries a user name or password"),
        ("http://localhost:9001", "is http://localhost:9001, which is the gateway's own listen"),
        ("http://127.0.0.1:9002/", "which is the gateway's own admin"),
    ],
)
def test_a_backend_is_an_origin_other_than_the_gateway_itself(tmp_path: Path, url: str, words: str) -> None:
    problem = problem_of(tmp_path, f'backend: {{url: "{url}"}}')
    assert problem.key == "backend.url"
    assert words in problem.message
    assert "secret" not in str(problem)


def test_the_two_listeners_must_differ_unless_both_take_a_free_port(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "listen: 127.0.0.1:9002")
    assert (problem.key, problem.message) == ("admin", "is 127.0.0.1:9002, which is also listen")
    load(write(tmp_path, 'listen: "127.0.0.1:0"\nadmin: "127.0.0.1:0"'))


def test_watching_needs_a_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--watch: watch: has no file to watch"):
        load(None, {"watch": Override(True, "--watch")})
    assert load(write(tmp_path, "watch: true")).watch


# Certificates


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "certificate.pem", folder / "key.pem"
    command = [OPENSSL.require(), "req", "-x509", "-newkey", "rsa:2048", "-nodes"]
    command += ["-subj", "/CN=localhost", "-days", "1"]
    subprocess.run([*command, "-keyout", key, "-out", made], check=True, capture_output=True)
    return made, key


def test_a_certificate_is_accepted_with_its_own_key(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    made, key = certificate
    settings = load(write(tmp_path, f"tls: {{certificate: {made}, key: {key}}}"))
    assert settings.tls is not None


def test_files_that_are_no_certificate_and_key_are_refused(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    made, _ = certificate
    problem = problem_of(tmp_path, f"tls: {{certificate: {made}, key: {made}}}")
    assert problem.key == "tls"
    assert "cannot be used" in problem.message


def test_a_key_behind_a_passphrase_is_refused_without_asking_for_it(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    made, key = certificate
    locked = tmp_path / "locked.pem"
    command = [OPENSSL.require(), "rsa", "-aes128", "-passout", "pass:secret", "-in", key, "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    problem = problem_of(tmp_path, f"tls: {{certificate: {made}, key: {locked}}}")
    assert "passphrase" in problem.message


def test_authorities_must_be_certificates(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    made, key = certificate
    assert load(write(tmp_path, f"backend: {{certificate_authority: {made}}}"))
    assert "holds no PEM certificate" in problem_of(tmp_path, f"backend: {{certificate_authority: {key}}}").message


# The file's form


def test_a_missing_file_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        load(tmp_path / "none.yaml")
    assert str(raised.value).endswith(
        f"none.yaml: cannot be read: {os.strerror(errno.ENOENT)} (give a file that the gateway may read)"
    )


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=os.strerror(errno.EISDIR)):
        load(tmp_path)


def test_without_its_file_a_flag_is_judged_by_itself_alone(tmp_path: Path) -> None:
    overrides = {
        RESERVED: Override(5000, "--reserve"),  # may be right with what the file says
        "max_headers": Override("many", "--max-headers"),
    }
    with pytest.raises(SettingsError) as raised:
        load(tmp_path / "none.yaml", overrides)
    assert [problem.key for problem in raised.value.problems] == ["", "max_headers"]


def test_a_key_given_twice_is_refused_with_its_line_and_the_rest_is_still_checked(tmp_path: Path) -> None:
    text = "region: us-east-1\nwatch: 1\nbackend:\n  url: demo\n  url: demo\n"
    problems = problems_of(tmp_path, text)
    assert [problem.key for problem in problems] == ["backend.url", "watch"]
    assert problems[0].message == "is given twice, the second time on line 5"


@pytest.mark.parametrize(
    "text", ['{"region": "us-east-1", "region": "us-east-1"}', '{"quotas": {"request" : 1, "request":2}}']
)
def test_a_key_given_twice_is_refused_in_json_too(tmp_path: Path, text: str) -> None:
    assert problem_of(tmp_path, text, "gateway.json").message == "is given twice"


@pytest.mark.parametrize("text", ["5", "[a]", "text", "--- !!set {a}"])
def test_a_file_must_be_a_mapping(tmp_path: Path, text: str) -> None:
    load_error = problems_of(tmp_path, text)
    assert "mapping" in load_error[0].message or load_error[0].message == "is not a setting"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: *b", "uses *b on line 1 before &b is complete"),
        ("a: &b {c: *b}", "uses *b on line 1 before &b is complete"),
        ("a: !!python/object:os.system 1", "uses the tag tag:yaml.org,2002:python/object:os.system on line 1"),
        ("? [1, 2]\n: 3", "has a key on line 1 that is no plain name"),
        ("a: 1\n--- \nb: 2", "holds more than one YAML document"),
        ("a: {<<: 5}", "merges (<<) something that is no mapping"),
        ("\x00", "is no YAML text: it holds the character U+0000 (line 1, column 1)"),
        ("a: é\r\nb: é\x07", "is no YAML text: it holds the character U+0007 (line 2, column 5)"),
    ],
)
def test_a_file_that_is_no_yaml_is_refused_with_the_place(tmp_path: Path, text: str, words: str) -> None:
    assert words in problem_of(tmp_path, text).message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n "a": x}', "is no JSON: unexpected character (line 2, column 7)"),
        ('{"é": x}', "is no JSON: unexpected character (line 1, column 7)"),
        ('{"a": 1', "is no JSON: unexpected end of input (line 1, column 8)"),
        ('{"a": "\t"}', "is no JSON: control character in a string (line 1, column 8)"),
        (r'{"a": "\x"}', "is no JSON: invalid escape (line 1, column 8)"),
        ("[" * 100_000, "is nested deeper than 32 levels"),
        ("[" * 33 + "]" * 33, "is nested deeper than 32 levels"),
        ("[" * 1_500 + "]" * 1_500, "is nested deeper than 32 levels"),
        ("[" * 32 + "]" * 32, "is not a mapping of settings"),
        ('{"read_timeout_seconds": 1e999}', "holds a number that is out of range"),
        (r'{"region": "\ud800"}', r"holds one half of a pair of \u escapes"),
    ],
)
def test_a_file_that_is_no_json_is_refused_with_the_place(tmp_path: Path, text: str, words: str) -> None:
    assert words in problem_of(tmp_path, text, "gateway.json").message


def test_a_file_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    for name in ("gateway.yaml", "gateway.json"):
        path = tmp_path / name
        path.write_bytes(b'{"region": "\xff"}')
        with pytest.raises(SettingsError, match="UTF-8"):
            load(path)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.datetimes()
    | st.binary(max_size=4)
)
NAMES = st.sampled_from(["listen", "backend", "url", "accounts", "default", "functions", "quotas", "tls", "f"])
SHAPES = st.recursive(
    LEAVES,
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(NAMES | st.text(max_size=3) | st.integers() | st.none() | st.booleans(), below, max_size=4)
    ),
    max_leaves=12,
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, SHAPES, max_size=4))
def test_whatever_yaml_can_say_ends_in_settings_or_in_problems(tmp_path: Path, values: dict[str, Any]) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8", errors="replace")
    _settle(path)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=40), st.sampled_from(["yaml", "json"]))
def test_whatever_bytes_a_file_holds_end_in_settings_or_in_problems(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"gateway.{suffix}"
    path.write_bytes(data)
    _settle(path)


def _settle(path: Path) -> None:
    for problem in _problems(path):
        assert problem.source == str(path)
        assert "pydantic" not in str(problem)


def _problems(config: Path | None, **overrides: Override) -> tuple[Problem, ...]:
    """The problems of what may also be right."""
    try:
        load(config, overrides)
    except SettingsError as error:
        return error.problems
    return ()


@given(LEAVES)
def test_whatever_stands_where_a_number_must_is_a_number_or_a_problem(value: object) -> None:
    problems = _problems(None, max_headers=Override(value, "--max-headers"))
    is_usable = type(value) is int and 1 <= value <= 1_000_000_000
    assert [problem.source for problem in problems] == ([] if is_usable else ["--max-headers"])


# Reload and schema


def test_only_accounts_credentials_and_quotas_change_without_a_restart(tmp_path: Path) -> None:
    old = load()
    text = "accounts: {default: {concurrent_executions: 5}}\nquotas: {request: 1}\ncredentials: {A: '111122223333'}\n"
    assert restart_needed(old, load(write(tmp_path, text))) == []
    changed = load(write(tmp_path, f"{text}region: eu-west-1\nbackend: {{timeout_seconds: 1}}"))
    assert restart_needed(old, changed) == ["region", "backend.timeout_seconds"]


def test_the_shipped_schema_is_the_one_of_the_models() -> None:
    shipped = Path(invoke_gateway.__file__).with_name("settings.schema.json")
    assert shipped.read_text() == json_schema(), (
        "run: invoke-gateway schema > gateway/invoke_gateway/settings.schema.json"
    )


def test_every_key_is_described_with_its_default() -> None:
    schema = json.loads(json_schema())
    for model in (schema, *schema["$defs"].values()):
        for name, field in model["properties"].items():
            description = field.get("description", schema["$defs"].get(name.capitalize(), {}).get("description"))
            assert description, name
            default = field.get("default")
            if default is not None and not isinstance(default, dict):
                shown = default if isinstance(default, str) else json.dumps(default)
                assert description.endswith(f"Default: {shown}."), name


def test_the_same_mistake_many_times_is_listed_up_to_a_bound(tmp_path: Path) -> None:
    functions = {f"f{number}": {"reserved_concurrent_executions": -1} for number in range(1500)}
    text = json.dumps({"accounts": {"default": {"functions": functions}}})
    with pytest.raises(SettingsError) as raised:
        load(write(tmp_path, text, "gateway.json"))
    assert raised.value.problems[-1].message == "has 500 more mistakes"
    assert str(raised.value).endswith("... and 951 more")
