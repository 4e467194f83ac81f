"""Functions that the backend refuses to run: named once, shown as long as it lasts, and forgotten when it is over."""

from __future__ import annotations

import logging

import pytest

from invoke_gateway.queue.outcomes.misconfigured import SHORTEST_SECONDS, Misconfigured
from invoke_gateway.queue.outcomes.run_result import RunResult
from invoke_gateway.queue.scheduling.lanes import FunctionQueue, QueueKind, name_lane
from tests.support.dispatching import Clock

REFUSED = RunResult("misconfigured", code=403, message="no", remedy="403. Allow it.")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def changes() -> list[bool]:
    return []


@pytest.fixture
def misconfigured(clock: Clock, changes: list[bool], caplog: pytest.LogCaptureFixture) -> Misconfigured:
    caplog.set_level(logging.INFO, "invoke_gateway")
    return Misconfigured(changes.append, seconds=1, call_later=clock.call_later)


def lane(function: str = "f") -> FunctionQueue:
    return FunctionQueue(name_lane("a", QueueKind.RUN, function))


def test_it_is_so_from_the_first_refusal_of_any_function_to_the_last_ones_run(
    misconfigured: Misconfigured, changes: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    for function in ("f", "g", "f"):
        misconfigured.note(lane(function), REFUSED)
    assert changes == [True]
    misconfigured.clear(lane("f"))
    misconfigured.clear(lane("f"))
    misconfigured.clear(lane("h"))
    assert changes == [True]
    misconfigured.clear(lane("g"))
    assert changes == [True, False]
    assert [record.getMessage() for record in caplog.records] == [
        "events of f (account a) cannot run and are kept until maximum_event_age_seconds: 403. Allow it. (no)",
        "events of g (account a) cannot run and are kept until maximum_event_age_seconds: 403. Allow it. (no)",
        "events of f (account a) run again",
        "events of g (account a) run again",
    ]


async def test_a_function_of_which_no_event_is_refused_any_more_is_forgotten(
    misconfigured: Misconfigured, changes: list[bool], clock: Clock
) -> None:
    misconfigured.note(lane(), REFUSED)
    await clock.advance(SHORTEST_SECONDS - 1)
    misconfigured.note(lane(), REFUSED)
    await clock.advance(SHORTEST_SECONDS)
    assert changes == [True]
    await clock.advance(SHORTEST_SECONDS)
    assert changes == [True, False]
    misconfigured.note(lane(), REFUSED)
    assert changes == [True, False, True]


def test_a_function_without_events_is_forgotten_without_a_word(
    misconfigured: Misconfigured, changes: list[bool], caplog: pytest.LogCaptureFixture
) -> None:
    misconfigured.note(lane(), REFUSED)
    assert misconfigured.forget(lane())
    assert not misconfigured.forget(lane())
    assert changes == [True, False]
    assert len(caplog.records) == 1


async def test_what_lasts_is_logged_again_but_no_flood_is(
    misconfigured: Misconfigured, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):  # it works for one caller and not for another
        misconfigured.note(lane(), REFUSED)
        misconfigured.clear(lane())
    assert len(caplog.records) == 2
    for number in range(1000):
        misconfigured.note(lane(f"f{number}"), REFUSED)
    assert len(caplog.records) == 2 + 19
    await clock.advance(SHORTEST_SECONDS)
    caplog.clear()
    misconfigured.note(lane("f1"), REFUSED)
    assert len(caplog.records) == 1


async def test_what_is_stopped_looks_no_more(misconfigured: Misconfigured, changes: list[bool], clock: Clock) -> None:
    misconfigured.note(lane(), REFUSED)
    misconfigured.stop()
    await clock.advance(10 * SHORTEST_SECONDS)
    assert changes == [True]
