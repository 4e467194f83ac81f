"""The queue of a gateway of two workers, as users see it, on a real store."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.processes import wait_until
from tests.support.sockets import Answer, Backend, fetch
from tests.support.stores import running_store
from tests.workers.test_workers import ACCOUNT, Workers, workers

ID = "12345678-abcd-4000-8000-12345678%04x"


@pytest.fixture(scope="module")
def behind() -> Iterator[Backend]:
    started = Backend().start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def started(behind: Backend, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    with (
        running_store("redis", is_tcp=True) as store,
        workers(store, behind, tmp_path_factory.mktemp("gateway")) as started,
    ):
        yield started
        behind.released.set()


@pytest.fixture
def gateway(started: Workers, behind: Backend) -> Iterator[Workers]:
    """The gateway of all these tests. Its queue is empty when a test begins."""
    behind.forget()
    yield started
    let_all_end(started, behind)


def send(gateway: Workers, *numbers: int, function: str = "hold") -> None:
    """Each by a connection of its own, so that both workers have some."""
    for number in numbers:
        answer = gateway.call(function, "X-Amz-Invocation-Type: Event", f"x-amzn-RequestId: {ID % number}")
        assert answer.status == 202


def until_ten_run(gateway: Workers, behind: Backend) -> None:
    """That is all that may; the others wait, claimed by the worker that took them in."""
    behind.until_running(10)
    # A worker that asks for a slot for one more, and is refused, has that one under way for a moment.
    wait_until(lambda: list(states(gateway).values()).count("running") == 10, "ten run")


def states(gateway: Workers, query: str = "most=100") -> dict[str, str]:
    rows: list[dict[str, Any]] = fetch(gateway.admin, f"/queue/events?{query}").json["events"]
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
    until_ten_run(gateway, behind)
    document = gateway.ask("/queue")
    (row,) = document["functions"]
    assert (document["mode"], document["events"], document["trouble"]) == ("queue", 40, None)
    assert document["store"].startswith("redis://127.0.0.1:")
    assert (row["function"], row["running"], row["waiting"]) == ("hold", 10, 30)
    assert len(states(gateway)) == 40
    wait_until(lambda: len(states(gateway, "most=100&state=waiting")) == 30, "thirty wait")
    wait_until(lambda: len(states(gateway, "most=100&state=running")) == 10, "ten run")
    (waiting, *_) = states(gateway, "most=100&state=waiting")
    wait_until(lambda: states(gateway, f"request_id={waiting}") == {waiting: "waiting"}, "one of them waits")
    let_all_end(gateway, behind)


def test_events_are_dropped_and_retried_whichever_worker_has_them(gateway: Workers, behind: Backend) -> None:
    send(gateway, *range(40))
    until_ten_run(gateway, behind)
    dropped = retried = refused = 0
    for number in range(40):
        answer = act(gateway, number, "drop" if number % 2 else "retry")
        if answer.status == 409:
            refused += 1
        elif number % 2:
            assert answer.json == {"request_id": ID % number, "dropped": 1, "running": 0}
            dropped += 1
        else:
            assert answer.json == {"request_id": ID % number, "retried": 1, "running": 0}
            retried += 1
    assert refused >= 10, "those that run"
    assert dropped + retried >= 25, "hardly another was under way for a moment"
    wait_until(lambda: gateway.ask("/queue")["events"] == 40 - dropped, "the dropped ones are gone")
    let_all_end(gateway, behind)
    assert len(behind.forwarded()) == 40 - dropped, "each of the others ran once"
    assert act(gateway, 1, "drop").status == 404


def test_several_events_of_one_id_are_each_treated_once(gateway: Workers, behind: Backend) -> None:
    send(gateway, *[7] * 40)
    behind.until_running(10)
    retried = act(gateway, 7, "retry").json
    assert (retried["retried"] + retried["running"], retried["running"] >= 10) == (40, True)
    dropped = act(gateway, 7, "drop").json
    assert (dropped["dropped"] + dropped["running"], dropped["running"] >= 10) == (40, True)
    let_all_end(gateway, behind)
    assert len(behind.forwarded()) == 40 - dropped["dropped"]


def test_metrics_are_sums_also_of_a_worker_that_has_ended(gateway: Workers, behind: Backend) -> None:
    def told() -> dict[str, float]:
        return {name: value for name, value in gateway.metrics().items() if "_async_" in name}

    def of(name: str, **more: str) -> str:
        labels = {"account": ACCOUNT, "function": "other", **more}
        written = ",".join(f'{key}="{value}"' for key, value in sorted(labels.items()))
        return f"invoke_gateway_async_{name}{{{written}}}"

    received, age = of("events_received_total"), of("event_age_seconds_count")
    before = {name: told().get(name, 0) for name in (received, age)}
    send(gateway, *range(40))
    until_ten_run(gateway, behind)
    wait_until(lambda: told().get(of("events_queued", state="running")) == 10, "what runs is told", 20)
    wait_until(lambda: told()[of("events_queued", state="waiting")] == 30, "what waits is told", 20)
    assert told()[received] == before[received] + 40
    assert told()[f'invoke_gateway_async_oldest_event_age_seconds{{account="{ACCOUNT}"}}'] > 0
    let_all_end(gateway, behind)
    assert told()[age] == before[age] + 40
    ended = gateway.workers()[0]["pid"]
    os.kill(ended, signal.SIGTERM)
    wait_until(lambda: [worker["pid"] for worker in gateway.workers()].count(ended) == 0, "it has been replaced")
    wait_until(lambda: len(gateway.workers()) == 2, "by another")
    assert told()[received] == before[received] + 40
    assert told()[age] == before[age] + 40


def test_the_history_is_that_of_all_workers(gateway: Workers, behind: Backend) -> None:
    send(gateway, *range(100, 140))
    until_ten_run(gateway, behind)
    let_all_end(gateway, behind)
    rows = fetch(gateway.admin, "/queue/history?most=40").json["events"]
    assert sorted(row["request_id"] for row in rows) == sorted(ID % number for number in range(100, 140))
    assert {(row["end"], row["function"]) for row in rows} == {("succeeded", "hold")}
    assert [row["ended_at"] for row in rows] == sorted((row["ended_at"] for row in rows), reverse=True)
    assert gateway.ask("/queue")["last_ended"]["request_id"] == rows[0]["request_id"]
    assert len(fetch(gateway.admin, "/queue/history?most=7").json["events"]) == 7
