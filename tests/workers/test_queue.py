"""The queue of a gateway of two workers, as users see it, on a real store."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import wait_until
from tests.support.sockets import Answer, Backend, fetch
from tests.support.stores import Store, running_store
from tests.workers.test_workers import ACCOUNT, Workers, workers

ID = "12345678-abcd-4000-8000-12345678%04x"


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store("redis", is_tcp=True) as started:
        yield started


@pytest.fixture
def behind() -> Iterator[Backend]:
    backend = Backend().start()
    yield backend
    backend.stop()


@pytest.fixture
def gateway(store: Store, behind: Backend, tmp_path: Path) -> Iterator[Workers]:
    store.clear(ACCOUNT)
    with workers(store, behind, tmp_path) as started:
        yield started
        behind.released.set()


def send(gateway: Workers, *numbers: int, function: str = "hold") -> None:
    """Each by a connection of its own, so that both workers have some."""
    for number in numbers:
        answer = gateway.call(function, "X-Amz-Invocation-Type: Event", f"x-amzn-RequestId: {ID % number}")
        assert answer.status == 202


def until_both_run(gateway: Workers, behind: Backend) -> None:
    """Ten events run, which is all that may, and each worker has some of them, and others that are ready."""
    behind.until_running(10)
    wait_until(lambda: all(worker["in_flight"] for worker in gateway.workers()), "both workers run some")


def states(gateway: Workers, query: str = "most=100") -> dict[str, str]:
    rows: list[dict[str, Any]] = fetch(gateway.operations, f"/queue/events?{query}").json["events"]
    return {row["request_id"]: row["state"] for row in rows}


def act(gateway: Workers, number: int, what: str) -> Answer:
    if what == "drop":
        return gateway.send("DELETE", f"/queue/events/{ID % number}")
    return gateway.send("POST", f"/queue/events/{ID % number}/retry", {})


def let_all_end(gateway: Workers, behind: Backend) -> None:
    def is_empty() -> bool:
        behind.release()
        return not gateway.ask("/queue")["events"]

    wait_until(is_empty, "the queue is empty", 30)


def test_the_queue_of_all_workers_is_shown_and_each_event_once_in_its_state(gateway: Workers, behind: Backend) -> None:
    send(gateway, *range(40))
    until_both_run(gateway, behind)
    document = gateway.ask("/queue")
    (row,) = document["functions"]
    assert (document["mode"], document["events"], document["trouble"]) == ("queue", 40, None)
    assert document["store"].startswith("redis://127.0.0.1:")
    assert (row["function"], row["running"], row["waiting"]) == ("hold", 10, 30)
    seen = states(gateway)
    assert len(seen) == 40
    assert list(seen.values()).count("running") == 10
    assert set(states(gateway, "most=100&state=waiting").values()) == {"waiting"}
    assert len(states(gateway, "most=100&state=waiting")) == 30
    assert len(states(gateway, "most=100&state=running")) == 10
    waiting = next(id for id, state in seen.items() if state == "waiting")
    assert states(gateway, f"request_id={waiting}") == {waiting: "waiting"}
    let_all_end(gateway, behind)


def test_events_are_dropped_and_retried_whichever_worker_has_them(gateway: Workers, behind: Backend) -> None:
    send(gateway, *range(40))
    until_both_run(gateway, behind)
    seen = states(gateway)
    for number in range(40):
        answer = act(gateway, number, "drop" if number % 2 else "retry")
        if seen[ID % number] == "running":
            assert answer.status == 409
        else:
            assert answer.json == {"request_id": ID % number, "dropped" if number % 2 else "retried": 1, "running": 0}
    dropped = sum(seen[ID % number] == "waiting" for number in range(1, 40, 2))
    wait_until(lambda: gateway.ask("/queue")["events"] == 40 - dropped, "the dropped ones are gone")
    let_all_end(gateway, behind)
    assert len(behind.forwarded()) == 40 - dropped, "each of the others ran once"
    assert act(gateway, 1, "drop").status == 404


def test_several_events_of_one_id_are_each_treated_once(gateway: Workers, behind: Backend) -> None:
    send(gateway, *[7] * 40)
    until_both_run(gateway, behind)
    assert act(gateway, 7, "retry").json == {"request_id": ID % 7, "retried": 30, "running": 10}
    assert act(gateway, 7, "drop").json == {"request_id": ID % 7, "dropped": 30, "running": 10}
    let_all_end(gateway, behind)
    assert len(behind.forwarded()) == 10


def test_metrics_are_sums_also_of_a_worker_that_has_ended(gateway: Workers, behind: Backend) -> None:
    def told() -> dict[str, float]:
        return {name: value for name, value in gateway.metrics().items() if "_async_" in name}

    def of(name: str, **more: str) -> str:
        labels = {"account": ACCOUNT, "function": "other", **more}
        written = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        return f"invoke_gateway_async_{name}{{{written}}}"

    send(gateway, *range(40))
    until_both_run(gateway, behind)
    wait_until(lambda: told().get(of("events_queued", state="running")) == 10, "what runs is told", 20)
    wait_until(lambda: told()[of("events_queued", state="waiting")] == 30, "what waits is told", 20)
    assert told()[of("events_received_total")] == 40
    assert told()[f'invoke_gateway_async_oldest_event_age_seconds{{account="{ACCOUNT}"}}'] > 0
    let_all_end(gateway, behind)
    assert told()[of("event_age_seconds_count")] == 40
    ended = gateway.workers()[0]["pid"]
    os.kill(ended, signal.SIGTERM)
    wait_until(lambda: [worker["pid"] for worker in gateway.workers()].count(ended) == 0, "it has been replaced")
    wait_until(lambda: len(gateway.workers()) == 2, "by another")
    assert told()[of("events_received_total")] == 40
    assert told()[of("event_age_seconds_count")] == 40
