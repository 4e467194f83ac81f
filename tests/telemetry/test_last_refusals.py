"""The last refusals: who was refused, by which limit, and who held it; a sample where there are many."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from invoke_gateway.counters.memory import MemoryCounters
from invoke_gateway.exchange import Exchange
from invoke_gateway.invocation import Caller, Function, Invocation, InvocationType, Operation
from invoke_gateway.policy.concurrency import LimitReached
from invoke_gateway.policy.invoke_errors import find_error
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits
from invoke_gateway.refusals import Refusal
from invoke_gateway.telemetry.last_refusals import ANY_SECONDS, KEPT, SAME_SECONDS, LastRefusals

ACCOUNT = AccountLimits("000000000000", 6, {"kept": FunctionLimits(2)}, caller_requests_per_second=1)


class Case:
    """Counters with a clock that is set by hand, and what is kept of refusals there."""

    def __init__(self, holds: Mapping[str, int] | None = None) -> None:
        self.now = 100.0
        self.counters = MemoryCounters(lambda: self.now)
        self.kept = LastRefusals(self.counters, holds=lambda: holds or {}, now=lambda: 1_700_000_000.0)

    async def run(self, *functions: str) -> None:
        for function in functions:
            await self.counters.acquire(ACCOUNT.plan(function))

    def refuse(self, function: str) -> None:
        """A call that finds its limit full."""
        exchange = self.exchange(function)
        assert exchange.plan is not None
        exchange.full = self.counters.check(exchange.plan)
        assert exchange.full is not None
        exchange.refusal = exchange.full.claim.refusal
        self.kept.record(exchange)

    def exchange(self, function: str) -> Exchange:
        exchange = Exchange(self.now)
        exchange.invocation = Invocation(Operation.INVOKE, Function(function), InvocationType.REQUEST_RESPONSE)
        exchange.plan = ACCOUNT.plan(function)
        exchange.request_id, exchange.caller = "6b1b", Caller("AKIAEXAMPLE", None)
        return exchange

    def functions(self) -> list[Any]:
        return [refused["function"] for refused in self.kept.newest_first()]


async def test_a_refusal_is_kept_with_its_limit_and_who_held_it() -> None:
    case = Case()
    await case.run("a", "b")
    case.now += 2
    await case.run("b", "c")
    case.refuse("d")
    assert case.kept.newest_first() == [
        {
            "id": 1,
            "at": 1_700_000_000.0,
            "account": "000000000000",
            "function": "d",
            "request_id": "6b1b",
            "caller": "AKIAEXAMPLE",
            "status": 429,
            "error": "TooManyRequestsException",
            "reason": "ConcurrentInvocationLimitExceeded",
            "injected": False,
            "limit": "unreserved_concurrent_executions",
            "in_use": 4,
            "ceiling": 4,
            "held": 0,
            "occupied_by": [
                {"function": "b", "slots": 2, "held": 0, "oldest_seconds": 2.0},
                {"function": "a", "slots": 1, "held": 0, "oldest_seconds": 2.0},
                {"function": "c", "slots": 1, "held": 0, "oldest_seconds": 0.0},
            ],
            "others": 0,
        }
    ]


def test_an_error_of_a_fault_script_is_told_apart() -> None:
    case = Case()
    exchange = case.exchange("a")
    exchange.refusal = find_error("TooManyRequestsException", "ConcurrentInvocationLimitExceeded")
    case.kept.record(exchange)
    (kept,) = case.kept.newest_first()
    assert (kept["reason"], kept["injected"]) == ("ConcurrentInvocationLimitExceeded", True)


async def test_slots_that_are_held_on_purpose_are_told_apart() -> None:
    case = Case({"000000000000/function/kept": 1})
    await case.run("kept", "kept")
    case.refuse("kept")
    (refused,) = case.kept.newest_first()
    assert (refused["limit"], refused["held"]) == ("reserved_concurrent_executions", 1)
    assert refused["occupied_by"] == [{"function": "kept", "slots": 2, "held": 1, "oldest_seconds": 0.0}]


async def test_of_a_flood_at_one_limit_one_in_a_while_is_kept() -> None:
    case = Case()
    await case.run("a", "a", "a", "a")
    for _ in range(1000):
        case.refuse("b")
    assert len(case.kept.newest_first()) == 1
    case.now += SAME_SECONDS
    case.refuse("b")
    assert len(case.kept.newest_first()) == 2


async def test_a_flood_at_one_limit_does_not_hide_another() -> None:
    case = Case()
    await case.run("a", "a", "a", "a", "kept", "kept")
    case.refuse("b")
    case.now += ANY_SECONDS
    for _ in range(100):
        case.refuse("b")
    case.refuse("kept")
    assert case.functions() == ["kept", "b"]


async def test_two_floods_that_alternate_are_sampled_each() -> None:
    case = Case()
    await case.run("a", "a", "a", "a", "kept", "kept")
    for _ in range(8):
        case.refuse("b")
        case.now += ANY_SECONDS / 2
        case.refuse("kept")
        case.now += ANY_SECONDS / 2
    assert sorted(case.functions()) == ["b", "kept"]


async def test_floods_at_many_limits_are_sampled_too() -> None:
    """The rate of each caller is a limit of its own."""
    case = Case()
    alive = []  # so that no two limits have the same identity
    for number in range(1000):
        plan = ACCOUNT.plan_for("a", f"AKIA{number}")
        alive.append(plan)
        slot = await case.counters.acquire(plan)
        assert not isinstance(slot, LimitReached)
        slot.release()
        exchange = case.exchange("a")
        exchange.full = await case.counters.acquire(plan)
        exchange.refusal = Refusal.CALLER_RATE
        case.now += 0.001
        case.kept.record(exchange)
    assert 2 <= len(case.kept.newest_first()) <= 1 / ANY_SECONDS + 1
    assert "occupied_by" not in case.kept.newest_first()[0]


async def test_only_the_last_are_kept() -> None:
    case = Case()
    await case.run("a", "a", "a", "a")
    for number in range(KEPT + 5):
        case.refuse(f"f{number}")
        case.now += SAME_SECONDS
    assert case.functions()[0] == f"f{KEPT + 4}"
    assert len(case.functions()) == KEPT


def test_numbers_of_a_quota_are_kept_and_texts_are_not() -> None:
    case = Case()
    exchange = case.exchange("a")
    exchange.headers = {b"authorization": b"secret"}
    exchange.body = b"secret"
    exchange.refuse(Refusal.EVENT_TOO_LARGE, size=300, limit=256)
    case.kept.record(exchange)
    case.now += SAME_SECONDS
    exchange = Exchange(case.now)
    exchange.refuse(Refusal.INVALID_JSON, text="secret")
    case.kept.record(exchange)
    invalid, large = case.kept.newest_first()
    assert (large["size_bytes"], large["limit_bytes"], large["error"]) == (300, 256, "RequestTooLargeException")
    assert (invalid["error"], invalid["function"], invalid["account"]) == ("InvalidRequestContentException", None, None)
    assert "secret" not in json.dumps([invalid, large])
