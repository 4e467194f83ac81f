"""An episode is shown with the caller, the exhausted limit and its users, of the refusals that were kept of it."""

from __future__ import annotations

from typing import Any

from invoke_gateway.admin.live.query import LiveQuery
from invoke_gateway.exchange import Exchange
from invoke_gateway.invocation import Caller, Function, Invocation, InvocationType, Operation
from invoke_gateway.policy.limits import FunctionLimits
from invoke_gateway.refusals import Refusal
from tests.admin.live.cases import REASON, Case


async def refuse(case: Case, function: str, times: int = 1, caller: str | None = None) -> None:
    """Refuses calls of a function whose limit is full: one of them is kept."""
    plan = case.account.plan(function)
    full = case.counters.check(plan)
    assert full is not None
    for _ in range(times):
        exchange = Exchange(case.time)
        exchange.invocation = Invocation(Operation.INVOKE, Function(function), InvocationType.REQUEST_RESPONSE)
        exchange.caller, exchange.plan, exchange.full = Caller(caller, None), plan, full
        exchange.refuse(full.claim.refusal)
        case.totals.record(exchange)
        case.last_refusals.record(exchange)


def pass_seconds(case: Case, seconds: int = 1) -> None:
    for _ in range(seconds):
        case.time += 1
        case.episodes.sample()


async def refusals(case: Case, query: LiveQuery = LiveQuery()) -> list[dict[str, Any]]:  # noqa: B008  # it is immutable
    return list((await case.ask(query))["refusals"])


async def test_an_episode_has_its_count_its_caller_and_who_uses_the_limit() -> None:
    case = Case(kept=FunctionLimits(2), other=FunctionLimits())
    await case.run("kept", "kept")
    await refuse(case, "kept", 9, "AKIAEXAMPLE")
    pass_seconds(case)
    (refused,) = await refusals(case)
    assert (refused["account"], refused["function"], refused["count"]) == ("000000000000", "kept", 9)
    assert (refused["caller"], len(refused["request_id"])) == ("AKIAEXAMPLE", 36)
    assert (refused["limit"], refused["in_use"], refused["ceiling"]) == ("reserved_concurrent_executions", 2, 2)
    assert [(used["function"], used["slots"]) for used in refused["occupied_by"]] == [("kept", 2)]
    assert (refused["is_throttle"], refused["is_over"], refused["is_switched_off"]) == (True, False, False)
    document = await case.ask()
    assert document["refusing_now"] == [refused]
    assert {row["function"]: row["refused_per_second"] for row in document["functions"]} == {"kept": 9.0, "other": 0.0}


async def test_of_a_flood_at_one_pool_every_function_has_the_users_of_the_pool() -> None:
    """Only one refusal a second is kept for each limit, of whichever function came first."""
    case = Case(**{f"f{number}": FunctionLimits() for number in range(3)})
    await case.run(*["f0"] * 20)
    await refuse(case, "f1", 3, "AKIAONE")
    await refuse(case, "f2", 2, "AKIATWO")
    pass_seconds(case)
    found = {one["function"]: one for one in await refusals(case)}
    assert {name: (one["count"], one["caller"]) for name, one in found.items()} == {
        "f1": (3, "AKIAONE"),
        "f2": (2, None),
    }
    assert found["f2"]["occupied_by"][0]["function"] == "f0"
    assert found["f2"]["limit"] == "unreserved_concurrent_executions"


async def test_a_full_reservation_is_not_described_by_the_refusals_of_another_one() -> None:
    """Both have the same reason. A kept refusal may be missing, as of a flood."""
    case = Case(kept=FunctionLimits(1), off=FunctionLimits(0))
    await case.run("kept")
    await refuse(case, "off", 1, "AKIAONE")
    case.totals.of("000000000000", "kept").throttles[Refusal.RESERVED_CONCURRENCY.reason or ""] = 1
    pass_seconds(case)
    found = {one["function"]: one for one in await refusals(case)}
    assert (found["off"]["in_use"], found["off"]["ceiling"]) == (0, 0)
    assert found["kept"]["count"] == 1
    assert not {"in_use", "ceiling", "limit", "occupied_by"} & found["kept"].keys()


async def test_functions_without_a_label_are_counted_together_with_an_example() -> None:
    case = Case(labelled=0)
    await case.run(*["alpha"] * 20)
    await refuse(case, "nobody-configured-me", 4)
    pass_seconds(case)
    (refused,) = await refusals(case)
    assert (refused["function"], refused["example"], refused["count"]) == ("other", "nobody-configured-me", 4)
    assert all(row["refused_per_second"] is None for row in (await case.ask())["functions"])


async def test_a_function_that_is_switched_off_is_marked() -> None:
    case = Case(off=FunctionLimits(0))
    await refuse(case, "off")
    pass_seconds(case)
    (refused,) = await refusals(case)
    assert refused["is_switched_off"]


async def test_a_refusal_that_is_no_throttle_is_shown_by_its_error() -> None:
    case = Case()
    exchange = Exchange(case.time)
    exchange.invocation = Invocation(Operation.INVOKE, Function("alpha"), InvocationType.REQUEST_RESPONSE)
    exchange.plan = case.account.plan("alpha")
    exchange.refuse(Refusal.REQUEST_TOO_LARGE, limit=6_291_456)
    case.totals.record(exchange)
    case.last_refusals.record(exchange)
    pass_seconds(case)
    (refused,) = await refusals(case)
    assert (refused["function"], refused["reason"], refused["status"]) == ("alpha", "RequestTooLargeException", 413)
    assert (refused["is_throttle"], refused["limit_bytes"]) == (False, 6_291_456)


async def test_a_search_leaves_out_refusals_of_other_functions_but_not_what_is_refused_now() -> None:
    case = Case()
    await case.run(*["alpha"] * 20)
    await refuse(case, "beta")
    pass_seconds(case)
    assert await refusals(case, LiveQuery(search="gam")) == []
    document = await case.ask(LiveQuery(search="gam"))
    assert [one["reason"] for one in document["refusing_now"]] == [REASON]


async def test_a_later_refusal_is_not_shown_as_one_of_an_earlier_episode() -> None:
    case = Case()
    await case.run(*["alpha"] * 20)
    await refuse(case, "beta", 1, "AKIAFIRST")
    pass_seconds(case, 12)
    await refuse(case, "beta", 1, "AKIASECOND")
    pass_seconds(case)
    assert [(one["caller"], one["is_over"]) for one in await refusals(case)] == [
        ("AKIASECOND", False),
        ("AKIAFIRST", True),
    ]
