"""The last events that ended, as the dispatcher ends them."""

from __future__ import annotations

from typing import Any

import pytest

from invoke_gateway.policy.events.event_rules import EventRules, EventTargets
from invoke_gateway.queue.event import Event, FunctionAnswer
from invoke_gateway.queue.operator_actions import OperatorActions
from invoke_gateway.queue.outcomes.history import MOST_ENDED, EndedEvents, HistoryFilter, describe_end
from tests.queue.test_dispatcher import DLQ, ERROR, SUCCESS, World
from tests.support.dispatching import settle

ALL = HistoryFilter()


def ends(world: World, **wanted: Any) -> list[tuple[str, str, int, str]]:
    rows = world.dispatcher.history.newest_first(HistoryFilter(**wanted))
    return [(row.function, row.end, row.attempts, row.error) for row in rows]


async def test_an_event_that_succeeded_has_its_age_and_the_duration_of_its_run() -> None:
    async with World() as world:
        world.held.add("f")
        event = await world.send()
        await world.clock.advance(3.5)
        assert ends(world) == [], "it still runs"
        await world.let_go("f")
        (row,) = world.dispatcher.history.newest_first(ALL)
        assert (row.request_id, row.end, row.attempts, row.error, row.delivery) == (
            event.request_id, "succeeded", 1, "", None,
        )  # fmt: skip
        assert (row.run_seconds, row.ended_at - row.received_at) == (3.5, 3.5)


async def test_an_event_that_failed_has_its_attempts_and_the_error_of_its_last_answer() -> None:
    async with World() as world:
        world.answers["f"] = [ERROR] * 3
        await world.send()
        await world.clock.advance(1_000)
        assert ends(world) == [("f", "failed", 3, "E: no")]
        world.answers["g"] = [ERROR]
        await world.send("g")
        await world.clock.advance(1_000)
        assert ends(world)[0] == ("g", "succeeded", 2, "")


async def test_an_event_that_the_backend_refuses_failed_without_a_run() -> None:
    async with World() as world:
        world.answers["f"] = [(413, b'{"message": "too long"}', {b"x-amzn-errortype": b"RequestTooLargeException"})]
        await world.send()
        await world.clock.advance(1_000)
        assert ends(world) == [("f", "failed", 0, "too long")]


async def test_an_expired_event_and_one_of_a_function_that_is_switched_off() -> None:
    async with World(reserve={"off": 0}, rules=EventRules(maximum_event_age_seconds=60)) as world:
        await world.send("off")
        world.answers["f"] = [ERROR]
        await world.send("f")
        await world.clock.advance(1_000)
        assert ends(world) == [
            ("f", "expired", 1, "E: no"),
            ("off", "dropped", 0, "The function's reserved concurrency is 0."),
        ]
        conditions = [row.condition for row in world.dispatcher.history.newest_first(ALL)]
        assert conditions == ["EventAgeExceeded", "ZeroReservedConcurrency"]


async def test_an_event_that_an_operator_drops_and_a_loop_are_in_it() -> None:
    async with World(concurrent=1) as world:
        world.held.add("f")
        await world.send("f")
        event = await world.send("f")
        await OperatorActions(world.dispatcher, now=world.clock).apply("drop", event.request_id)
        await settle()
        assert ends(world) == [("f", "dropped", 0, "An operator dropped the event.")]
        await world.dispatcher.finish_without_run(world.make("loop"), "RecursiveInvocation", 400, "a loop")
        assert ends(world, function="loop") == [("loop", "dropped", 0, "a loop")]


async def test_the_delivery_of_an_outcome_is_followed_to_its_end() -> None:
    rules = EventRules(maximum_retry_attempts=0, targets=EventTargets(dead_letter_queue=DLQ, on_success=SUCCESS))
    async with World(rules=rules) as world:
        world.failing.add(DLQ)
        world.answers["f"] = [ERROR]
        event = await world.send()
        (row,) = world.dispatcher.history.newest_first(ALL)
        assert (row.end, row.delivery) == ("failed", "pending")
        await world.clock.advance(1_000)
        (row,) = world.dispatcher.history.newest_first(ALL)
        assert (row.end, row.condition, row.delivery, row.error) == (
            "undelivered", "RetriesExhausted", "undelivered", "nobody is there",
        )  # fmt: skip
        world.failing.clear()
        await OperatorActions(world.dispatcher, now=world.clock).apply("retry", event.request_id)
        await world.clock.advance(10)
        (row,) = world.dispatcher.history.newest_first(ALL)
        assert (row.end, row.delivery, row.error) == ("failed", "delivered", "E: no"), "once"


async def test_an_outcome_that_an_operator_gives_up_keeps_the_end_of_its_event() -> None:
    rules = EventRules(targets=EventTargets(on_success=SUCCESS))
    async with World(rules=rules) as world:
        world.failing.add(SUCCESS)
        event = await world.send()
        await world.clock.advance(1_000)
        assert ends(world, only_failed=True) == [("f", "undelivered", 1, "nobody is there")]
        await OperatorActions(world.dispatcher, now=world.clock).apply("drop", event.request_id)
        await settle()
        (row,) = world.dispatcher.history.newest_first(ALL)
        assert (row.end, row.delivery, row.error) == ("succeeded", "dropped", "")
        assert world.conditions == {}, "it did not count as dropped: it has succeeded"


async def test_an_event_that_ended_elsewhere_is_in_it_once_it_is_undelivered_here() -> None:
    rules = EventRules(targets=EventTargets(on_success=SUCCESS))
    async with World(rules=rules) as world:
        world.failing.add(SUCCESS)
        await world.send()
        world.dispatcher.history._succeeded.clear()  # as of another gateway on the same store
        await world.clock.advance(1_000)
        assert ends(world) == [("f", "undelivered", 1, "nobody is there")]


def make_event(number: int, **more: Any) -> Event:
    return Event(str(number), "a", "f", "", b"", b"", [], b"{}", float(number), 0.0, "", **more)


def test_it_is_bounded_and_failures_outlast_a_flood_of_successes() -> None:
    history = EndedEvents()
    for number in range(1_000):
        event = make_event(number)
        condition: Any = "RetriesExhausted" if number < 300 else "Success"
        history.add(event, describe_end(event, condition, 200, "no", float(number)))
    assert len(history._succeeded) == len(history._others) == MOST_ENDED
    assert [row.request_id for row in history.newest_first(ALL)] == [str(n) for n in range(999, 899, -1)]
    failed = history.newest_first(HistoryFilter(only_failed=True))
    assert [row.request_id for row in failed] == [str(n) for n in range(299, 199, -1)]
    assert len(history.newest_first(HistoryFilter(end="failed", most=7))) == 7
    assert history.newest_first(HistoryFilter(account="b")) == []
    assert [row.request_id for row in history.newest_first(HistoryFilter(request_id="250"))] == ["250"]


@pytest.mark.parametrize(
    ("message", "payload", "error"),
    [
        ("the backend says no", b"{}", "the backend says no"),
        ("", b'{"errorMessage": "boom", "errorType": "RuntimeError"}', "RuntimeError: boom"),
        ("", b'{"errorMessage": "boom"}', "boom"),
        ("", b'{"message": "boom"}', "boom"),
        ("", b"[1]", "Unhandled"),
        ("", b'{"errorType": "E", "errorMessage": "m", "trace": "' + b"x" * 1_000_000, "E: m"),
        ("x" * 10_000, b"", "x" * 300),
    ],
)
def test_an_error_is_one_short_text(message: str, payload: bytes, error: str) -> None:
    event = make_event(1, runs=1, answer=FunctionAnswer(200, payload, "Unhandled"))
    history = EndedEvents()
    ended = describe_end(event, "RetriesExhausted", 200, message, 2.0)
    assert len(ended.answer) <= 4096, "an answer may have megabytes"
    history.add(event, ended)
    assert [row.error for row in history.newest_first(ALL)] == [error]
