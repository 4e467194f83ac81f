"""What Prometheus is told of asynchronous invocations, after events whose fate is known."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from invoke_gateway.policy.limits import DEFAULT_ACCOUNT
from invoke_gateway.queue import depths
from invoke_gateway.telemetry.event_metrics import Events, list_events
from invoke_gateway.telemetry.event_totals import EventTotals
from tests.support.lateness import check_is_age
from tests.support.sockets import Gateway, gateway, invoke

FUNCTIONS = {
    "closed": {"reserved_concurrent_executions": 0},
    "fails": {"maximum_retry_attempts": 1},
    "hold-one": {"reserved_concurrent_executions": 1},
    "beyond": {},
}
DELAYS = {"function_error_delays_seconds": [0.01], "shortest_delay_seconds": 0.01, "longest_delay_seconds": 0.05}
EVENT = "X-Amz-Invocation-Type: Event"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setattr("invoke_gateway.app.events.SCRAPE_SECONDS", 0)
    accounts = {"default": {"functions": FUNCTIONS}}
    with gateway(accounts=accounts, metric_functions=3, **{"async": DELAYS}) as started:

        async def script(call: Any) -> None:
            if call.function == "fails":
                call.answer(200, b"{}", {"X-Amz-Function-Error": "Unhandled"})
            else:
                await started.answer_call(call)

        started.backend.script = script
        yield started


def send(served: Gateway, function: str, times: int = 1) -> None:
    for _ in range(times):
        assert served.send(invoke(function, b"{}", EVENT)).status == 202


def of(name: str, function: str, **more: str) -> str:
    labels = {"account": DEFAULT_ACCOUNT, "function": function, **more}
    written = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
    return f"{name}{{{written}}}"


def test_what_becomes_of_events_is_counted_under_cloudwatchs_meanings(served: Gateway) -> None:
    send(served, "echo", 3)
    send(served, "fails", 2)
    send(served, "closed")
    served.until_no_events()
    samples = served.metrics()
    assert samples[of("async_events_received_total", "other")] == 3
    assert samples[of("async_events_received_total", "fails")] == 2
    assert samples[of("async_events_dropped_total", "fails", condition="RetriesExhausted")] == 2
    assert samples[of("async_events_dropped_total", "closed", condition="ZeroReservedConcurrency")] == 1
    assert samples[of("async_events_dropped_total", "other", condition="RetriesExhausted")] == 0
    assert samples[of("async_event_retries_total", "fails", cause="error")] == 2
    assert samples[of("async_event_retries_total", "other", cause="throttle")] == 0
    assert samples[of("async_event_age_seconds_count", "other")] == 3
    assert samples[of("async_event_age_seconds_count", "fails")] == 4, "each run is observed"
    assert of("async_event_age_seconds_count", "closed") not in samples, "it never had a run"
    assert samples[of("dead_letter_errors_total", "fails")] == 0
    assert samples[of("destination_delivery_failures_total", "fails", kind="on_failure")] == 0


def test_levels_are_of_what_waits_and_runs_and_go_back_to_nothing(served: Gateway) -> None:
    began = time.monotonic()
    send(served, "hold-one", 3)
    served.until_running(1)
    samples = served.metrics()
    assert samples[of("async_events_queued", "hold-one", state="running")] == 1
    assert samples[of("async_events_queued", "hold-one", state="waiting")] == 2
    check_is_age(samples[f'async_oldest_event_age_seconds{{account="{DEFAULT_ACCOUNT}"}}'], began)
    for _ in range(3):
        served.until_running(1)
        served.release()
    events = served.server.gateway.events.dispatcher
    assert events is not None
    served.until(lambda: not events.prefetch.lanes, "the last end is written")
    samples = served.metrics()
    assert {value for name, value in samples.items() if name.startswith("async_events_queued")} == {0}
    assert samples[f'async_oldest_event_age_seconds{{account="{DEFAULT_ACCOUNT}"}}'] == 0


def test_names_that_clients_invent_are_no_labels(served: Gateway) -> None:
    for name in ("invented", "beyond", "hold-many"):
        send(served, name, 2)
    served.until_running(2)
    told = {name: value for name, value in served.metrics().items() if name.startswith(("async_", "dead_", "dest"))}
    assert not [name for name in told if "invented" in name or "beyond" in name or "hold-many" in name]
    assert told[of("async_events_received_total", "other")] == 6
    assert told[of("async_events_queued", "other", state="running")] == 2
    served.release()
    served.until_idle()


def test_a_store_that_cannot_keep_events_is_degraded_and_it_is_known_which_store_it_is(
    served: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert served.metrics()['degraded{cause="event_store"}'] == 0
    assert [name for name in served.metrics() if name.startswith("async_store_info")]
    monkeypatch.setattr(depths.QueueMonitor, "problem", "The disk is full.")
    assert served.metrics()['degraded{cause="event_store"}'] == 1


def test_a_target_that_was_given_up_is_counted_by_what_it_is() -> None:
    totals = EventTotals()
    totals.received("a", "f")
    for kind in ("dead_letter_queue", "dead_letter_queue", "on_success"):
        totals.not_delivered("a", "f", kind)
    levels = depths.QueueGauges("here", now=lambda: 0.0)
    told = {family.name: list(family.rows) for family in list_events(Events(totals, levels))}
    assert told["invoke_gateway_dead_letter_errors"] == [(("a", "f"), 2)]
    assert dict(told["invoke_gateway_destination_delivery_failures"]) == {
        ("a", "f", "on_success"): 1,
        ("a", "f", "on_failure"): 0,
    }


def test_where_the_backend_has_the_queue_nothing_is_told_of_one() -> None:
    with gateway(**{"async": {"mode": "forward"}}) as served:
        served.send(invoke("echo", b"{}", EVENT))
        samples = served.metrics()
    assert not [name for name in samples if name.startswith(("async_", "dead_", "dest"))]
    assert 'degraded{cause="event_store"}' not in samples
