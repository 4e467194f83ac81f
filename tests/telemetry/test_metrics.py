"""The metrics as Prometheus scrapes them, after calls whose outcome is known."""

from __future__ import annotations

import asyncio
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from invoke_gateway import __version__
from invoke_gateway.backend_errors import KINDS
from tests.support import lateness
from tests.support.lateness import check_is_age
from tests.support.sockets import Gateway, Wire, calls_under_way, gateway, invoke

NAMED = "111122223333"
FUNCTIONS = {
    "hold-reserved": {"reserved_concurrent_executions": 2},
    "closed": {"reserved_concurrent_executions": 0},
    "fails": {},
    "beyond": {"reserved_concurrent_executions": 1},
}
ACCOUNTS = {
    "default": {"concurrent_executions": 10, "functions": FUNCTIONS, "requests_per_second": "off"},
    NAMED: {"concurrent_executions": 5},
}
REFUSALS_OF_CHANGES = ("missing_token", "no_token_set", "wrong_token")
DEFAULT = '{account="000000000000"}'


@pytest.fixture
def served() -> Iterator[Gateway]:
    # Events go to the backend: nothing is told of a queue (test_event_metrics.py has those).
    with gateway(accounts=ACCOUNTS, metric_functions=3, **{"async": {"mode": "forward"}}) as started:

        async def script(call: Any) -> None:
            if call.function == "fails":
                call.answer(200, b"{}", {"X-Amz-Function-Error": "Unhandled"})
            elif call.function == "missing":
                call.answer(404, b"{}")
            elif call.function == "breaks":
                call.reset()
            else:
                await started.answer_call(call)

        started.backend.script = script
        yield started


def of(name: str, function: str, account: str = "000000000000") -> str:
    return f'{name}{{account="{account}",function="{function}"}}'


def test_before_the_first_call_the_limits_are_there_and_nothing_else(served: Gateway) -> None:
    samples = served.metrics()
    assert samples[f"concurrent_executions_limit{DEFAULT}"] == 10
    assert samples[f'concurrent_executions_limit{{account="{NAMED}"}}'] == 5
    assert samples[f"unreserved_concurrent_executions_limit{DEFAULT}"] == 7
    assert samples[f"unreserved_concurrent_executions{DEFAULT}"] == 0
    assert samples[f"claimed_account_concurrency{DEFAULT}"] == 3
    assert samples[of("reserved_concurrent_executions", "hold-reserved")] == 2
    assert samples[of("reserved_concurrent_executions", "closed")] == 0
    assert of("reserved_concurrent_executions", "fails") not in samples
    assert [name for name in samples if name.startswith("concurrent_executions{")] == [
        of("concurrent_executions", "hold-reserved"),
        of("concurrent_executions", "closed"),
        of("concurrent_executions", "fails"),
        of("concurrent_executions", "other"),
        of("concurrent_executions", "other", NAMED),
    ]
    assert not [name for name in samples if name.startswith(("invocations_total", "throttles_total"))]
    assert samples["buffered_bytes"] == 0
    assert samples["buffered_bytes_limit"] == 536870912
    assert samples[f"oldest_execution_age_seconds{DEFAULT}"] == 0
    assert samples[f"held_concurrent_executions{DEFAULT}"] == 0
    assert samples["backend_timeout_seconds"] == 900
    assert samples['degraded{cause="settings_invalid"}'] == samples['degraded{cause="restart_needed"}'] == 0
    assert samples["admission_seconds_count"] == 0


def test_levels_are_those_of_the_moment_of_the_scrape(served: Gateway) -> None:
    """In flight by function and in all; the claimed concurrency counts reservations whether used or not."""
    in_default = ("hold-reserved", "hold-a", "hold-b", "hold-a")
    with calls_under_way(served, *in_default, f"arn:aws:lambda:us-east-1:{NAMED}:function:hold-c"):
        samples = served.metrics()
        assert samples[of("concurrent_executions", "hold-reserved")] == 1
        assert samples[of("concurrent_executions", "other")] == 3
        assert samples[of("concurrent_executions", "other", NAMED)] == 1
        assert samples[f"unreserved_concurrent_executions{DEFAULT}"] == 3
        assert samples[f"claimed_account_concurrency{DEFAULT}"] == 3 + 3
        assert samples['upstream_connections{state="busy"}'] == 5
    served.until_idle()
    samples = served.metrics()
    assert {value for name, value in samples.items() if name.startswith("concurrent_executions{")} == {0}
    assert samples['upstream_connections{state="idle"}'] == 5


@pytest.mark.lateness
def test_totals_have_cloudwatchs_meanings(served: Gateway) -> None:
    """Throttles are in neither invocations nor errors; an error is also an invocation."""
    for name, times in {"echo": 3, "hold-reserved": 0, "fails": 2, "closed": 4, "missing": 1, "breaks": 1}.items():
        for _ in range(times):
            served.send(invoke(name))
    served.send(invoke("echo", b"{}", "X-Amz-Invocation-Type: Event"))
    served.send(invoke("closed", b"{}", "X-Amz-Invocation-Type: DryRun"))
    served.send(invoke("echo", b"{bad"))
    served.send(invoke("echo", b"", "Content-Length: 6291457", length=False))
    served.send(invoke("bad%20name"))
    served.send(invoke(path="/2015-03-31/functions"))
    for name in ("echo", "closed"):
        served.send(invoke(name, b"{}", "amz-sdk-request: attempt=2; max=3"))
    with Wire(served.port) as wire:
        wire.send(invoke("echo", b"{", "Content-Length: 9", length=False))
        served.until(lambda: served.server.gateway.buffers.in_use == 9, "the upload has begun")
        assert served.metrics()["buffered_bytes"] == 9
    served.until_idle()
    samples = served.metrics()
    counted = {name: value for name, value in samples.items() if "_total" in name and not name.startswith("process_")}
    failures = {name: counted.pop(name) for name in list(counted) if name.startswith("background_task_failures")}
    assert set(failures.values()) == {0}
    reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert counted == {
        of("invocations_total", "other"): 3 + 1,
        of("invocations_total", "fails"): 2,
        of("invocations_total", "closed"): 0,
        of("errors_total", "other"): 0,
        of("errors_total", "fails"): 2,
        of("errors_total", "closed"): 0,
        f'throttles_total{{account="000000000000",function="closed",reason="{reason}"}}': 4 + 1,
        of("retry_requests_total", "other"): 1,
        of("retry_requests_total", "fails"): 0,
        of("retry_requests_total", "closed"): 1,
        'refusals_total{error="ServiceException"}': 1,
        'refusals_total{error="InvalidRequestContentException"}': 1,
        'refusals_total{error="RequestTooLargeException"}': 1,
        'refusals_total{error="ValidationException"}': 1,
        **{f'upstream_errors_total{{kind="{kind}"}}': int(kind == "reset") for kind in KINDS},
        'client_disconnects_total{phase="request"}': 1,
        'client_disconnects_total{phase="response"}': 0,
        "passed_through_total": 1,
        "log_lines_dropped_total": 0,
        "descriptors_used_up_total": 0,
        "worker_replacements_total": 0,
        **{f'admin_requests_refused_total{{reason="{reason}"}}': 0 for reason in REFUSALS_OF_CHANGES},
    }
    assert samples[of("duration_seconds_count", "other")] == 3 + 1
    assert samples[of("duration_seconds_count", "fails")] == 2
    assert samples[of("duration_seconds_count", "closed")] == 0
    assert samples["admission_seconds_count"] == 3 + 2 + 1 + 1 + 1
    if lateness.is_judged:
        assert samples["admission_seconds_sum"] < 0.1


def test_a_duration_is_the_backends_and_not_the_clients(served: Gateway) -> None:
    """Whatever time the upload takes before it."""
    with Wire(served.port) as wire:
        wire.send(invoke("echo", b"", "Content-Length: 2", length=False))
        assert wire.is_open(0.3)
        uploaded = time.monotonic()
        assert wire.send(b"{}").answer().status == 200
    served.until_idle()
    samples = served.metrics()
    duration = samples[of("duration_seconds_sum", "other")]
    check_is_age(duration, uploaded)
    assert samples['duration_seconds_bucket{account="000000000000",function="other",le="0.25"}'] == (duration <= 0.25)
    assert samples['duration_seconds_bucket{account="000000000000",function="other",le="+Inf"}'] == 1


def test_labels_come_from_the_settings_and_up_to_a_bound(served: Gateway) -> None:
    """Of four functions three have labels; nothing that a client invents has one."""
    for name in ("fails", "beyond", "invented", "other"):
        served.send(invoke(name))
    labels = {name.partition(",")[2] for name in served.metrics() if name.startswith("invocations_total")}
    assert labels == {'function="fails"}', 'function="other"}'}
    assert served.metrics()[of("invocations_total", "other")] == 3


def test_a_reload_changes_the_limits_in_the_next_scrape_and_keeps_the_totals(served: Gateway) -> None:
    served.send(invoke("fails"))
    served.reload(accounts={"default": {"concurrent_executions": 20, "functions": {"new": {}}}})
    samples = served.metrics()
    assert samples[f"concurrent_executions_limit{DEFAULT}"] == 20
    assert samples[of("concurrent_executions", "new")] == 0
    assert samples[of("invocations_total", "fails")] == 1


@pytest.mark.parametrize("function", ["hold-whole", "hold-streamed"])
def test_a_client_that_leaves_before_its_answer_is_counted_in_the_phase_response(
    served: Gateway, function: str
) -> None:
    """The invocation counts all the same: it ran."""
    path = "/2021-11-15/functions/hold-streamed/response-streaming-invocations" if "streamed" in function else None
    with Wire(served.port) as wire:
        wire.send(invoke(function, path=path))
        served.until_running(1)
    served.until(lambda: not served.connections, "the gateway knows that the client has left")
    served.release()
    served.until_idle()
    samples = served.metrics()
    assert samples['client_disconnects_total{phase="request"}'] == 0
    assert samples['client_disconnects_total{phase="response"}'] == 1
    assert samples[of("invocations_total", "other")] == 1


def test_a_client_that_leaves_after_its_answer_is_not_counted(served: Gateway) -> None:
    served.send(invoke())
    served.until(lambda: not served.connections, "the client has left")
    assert served.metrics()['client_disconnects_total{phase="response"}'] == 0


def test_the_lag_of_the_event_loop_is_measured_while_the_gateway_runs(served: Gateway) -> None:
    served.until(lambda: any(served.server.gateway.totals.loop_lag.counts), "the lag was measured")
    assert served.metrics()["event_loop_lag_seconds_count"] >= 1
    assert "event loop lag" in served.on_loop(lambda: {task.get_name() for task in asyncio.all_tasks()})


def test_the_age_of_the_oldest_call_is_told_by_account(served: Gateway) -> None:
    """That of the first of two, in an account of its own; with it gone, nobody's."""
    oldest = "oldest_execution_age_seconds"
    began = time.monotonic()
    with calls_under_way(served, "hold-a", "hold-b"):
        first = served.metrics()
        second = served.metrics()
        assert 0 < first[f"{oldest}{DEFAULT}"] < second[f"{oldest}{DEFAULT}"]
        check_is_age(second[f"{oldest}{DEFAULT}"], began)
        assert second[f'{oldest}{{account="{NAMED}"}}'] == 0
    served.until_idle()
    assert served.metrics()[f"{oldest}{DEFAULT}"] == 0


def test_slots_that_are_held_on_purpose_are_told_apart(served: Gateway) -> None:
    with Wire(served.server.admin.port) as wire:
        body = b'{"function": "hold-reserved", "slots": 2}'
        wire.send(invoke("", body, "Content-Type: application/json", path="/holds"))
        assert wire.answer().status == 201
    samples = served.metrics()
    assert samples[f"held_concurrent_executions{DEFAULT}"] == 2
    assert samples[f'held_concurrent_executions{{account="{NAMED}"}}'] == 0
    assert samples[of("concurrent_executions", "hold-reserved")] == 2


def test_the_versions_are_labels_of_a_one(served: Gateway) -> None:
    assert served.metrics()[f'build_info{{python="{platform.python_version()}",version="{__version__}"}}'] == 1


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc, which these are read from")
def test_the_process_has_the_metrics_that_every_prometheus_client_has(served: Gateway) -> None:
    before, now = served.metrics(), time.time()
    assert before["process_resident_memory_bytes"] > 10 * 1024 * 1024
    assert now - 3600 * 24 < before["process_start_time_seconds"] < now
    assert 0 < before["process_open_fds"] < before["process_max_fds"]
    while served.metrics()["process_cpu_seconds_total"] == before["process_cpu_seconds_total"]:
        pass  # it is told in hundredths of a second
