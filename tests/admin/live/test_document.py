"""The live document has the right rows, and never more than are asked for."""

from __future__ import annotations

import pytest

from invoke_gateway.admin.json_documents import encode
from invoke_gateway.admin.live.document import MOST_REFUSALS, MOST_REFUSING
from invoke_gateway.admin.live.query import MOST_ROWS, LiveQuery
from invoke_gateway.policy.caller_limits import CallerLimits
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits
from tests.admin.live.cases import FEW, REASON, Case, Shared


async def test_the_busiest_come_first_then_the_most_throttled_then_the_rest() -> None:
    case = Case()
    case.throttle("beta", 2)
    case.throttle("delta", 9)
    await case.run("gamma", "unknown", "unknown")
    assert await case.rows() == ["unknown", "gamma", "delta", "beta", "alpha"]


async def test_only_so_many_rows_as_were_asked_for_and_the_rest_is_counted() -> None:
    case = Case()
    case.throttle("delta", 9)
    await case.run("unknown", "beta")
    document = await case.ask(LiveQuery(top=3))
    assert [row["function"] for row in document["functions"]] == ["beta", "unknown", "delta"]
    assert document["functions_left_out"] == 2


async def test_a_search_finds_parts_of_names_whatever_their_case() -> None:
    case = Case(Orders=FunctionLimits(), refunds=FunctionLimits(), **FEW)
    case.throttle("alpha", 5)
    await case.run("REORDER", "beta")
    document = await case.ask(LiveQuery(search="order"))
    assert [row["function"] for row in document["functions"]] == ["REORDER", "Orders"]
    assert document["functions_left_out"] == 0


async def test_a_question_about_one_account_gets_its_rows_alone() -> None:
    case = Case(AccountLimits("111122223333", 5, {"alpha": FunctionLimits(2)}))
    await case.run("alpha")
    document = await case.ask(LiveQuery("111122223333"))
    assert [account["account"] for account in document["accounts"]] == ["111122223333"]
    assert [(row["account"], row["in_flight"], row["ceiling"]) for row in document["functions"]] == [
        ("111122223333", 0, 2)
    ]
    assert (await case.ask(LiveQuery("999999999999")))["accounts"] == []


async def test_claimed_is_what_is_reserved_and_what_unreserved_calls_use() -> None:
    case = Case(kept=FunctionLimits(8), other=FunctionLimits())
    await case.run("kept", "other", "other", "other")
    (account,) = (await case.ask())["accounts"]
    assert (account["reserved"], account["claimed"], account["in_flight"]) == (8, 11, 4)
    assert account["unreserved"] == {"in_flight": 3, "ceiling": 12, "holds": 0}


async def test_throttles_of_functions_without_a_label_are_told_as_what_they_are() -> None:
    case = Case(labelled=1)
    case.throttle("alpha", 1)
    case.throttle("other", 4)
    document = await case.ask()
    assert [(row["function"], row["throttles_are_counted"]) for row in document["functions"]] == [
        ("alpha", True),
        ("beta", False),
        ("gamma", False),
        ("delta", False),
    ]
    (account,) = document["accounts"]
    assert account["throttles"] == {REASON: 5}
    assert account["throttles_of_others"] == {REASON: 4}


async def test_many_functions_make_no_more_rows_than_asked_for() -> None:
    case = Case(**{f"f{number}": FunctionLimits() for number in range(20_000)})
    document = await case.ask(LiveQuery(search="7", top=MOST_ROWS))
    assert len(document["functions"]) == MOST_ROWS
    assert document["functions_left_out"] == sum("7" in str(number) for number in range(20_000)) - MOST_ROWS


async def test_the_document_is_bounded_however_much_is_configured_throttled_and_in_flight() -> None:
    case = Case(labelled=10_000, **{f"function-{number:05}": FunctionLimits() for number in range(10_000)})
    for number in range(10_000):
        label = f"function-{number:05}"
        case.throttle(label, 1 + number)
        counts = case.totals.of("000000000000", label)
        counts.invocations += 1
        counts.duration.observe(0.1)
    case.time += 1
    case.episodes.sample()
    case.sparklines.sample()
    small = Case(**{f"function-{number:05}": FunctionLimits() for number in range(50)})
    assert len(encode(await case.ask())) < 2 * len(encode(await small.ask())) + 20_000
    assert len((await case.ask())["refusing_now"]) == MOST_REFUSING
    assert len((await case.ask())["refusals"]) == MOST_REFUSALS


async def test_nothing_that_happens_changes_nothing_in_the_document() -> None:
    """Else it would be sent twice a second to every page."""
    case = Case()
    await case.run("alpha")
    case.totals.of("000000000000", "alpha").invocations = 5
    first = await case.ask()
    case.time += 0.4
    second = await case.ask()
    changed = {name for name in first if first[name] != second[name]}
    assert changed <= {"functions"}
    assert {name for name in first["functions"][0] if first["functions"][0][name] != second["functions"][0][name]} <= {
        "oldest_seconds"
    }


@pytest.mark.parametrize(("minutes", "seconds"), [("5", 5.0), ("60", 60.0)])
async def test_the_range_of_the_sparklines_is_asked_for(minutes: str, seconds: float) -> None:
    case = Case()
    await case.run("alpha", "alpha")
    case.sparklines.sample()
    document = await case.ask(LiveQuery(minutes=minutes))
    assert (document["step_seconds"], document["steps"]) == (seconds, 60)
    assert document["functions"][0]["history"] == [2]
    assert document["accounts"][0]["history"] == [2]


async def test_of_shared_counters_what_is_in_flight_is_of_all_gateways_beside_this_ones() -> None:
    """Also of functions that run elsewhere only. What this gateway has just begun counts before the store says so."""
    shared = Shared(account=9, unreserved=9, **{"function/beta": 4, "function/alpha": 1})
    case = Case(shared=shared)
    await case.run("alpha", "alpha", "alpha", "fresh")
    document = await case.ask()
    assert document["shared"] == {"gateway": "g-7f3a2b1c", "gateways": 3, "sums_age_seconds": 0, "trouble": None}
    (account,) = document["accounts"]
    assert (account["in_flight"], account["in_flight_here"], account["claimed"]) == (9, 4, 9)
    assert (account["unreserved"]["in_flight"], account["unreserved"]["in_flight_here"]) == (9, 4)
    rows = [(row["function"], row["in_flight"], row["in_flight_here"]) for row in document["functions"][:3]]
    assert rows == [("beta", 4, 0), ("alpha", 3, 3), ("fresh", 1, 1)]


async def test_the_age_of_sums_changes_the_document_only_once_they_are_old() -> None:
    shared = Shared()
    case = Case(shared=shared)
    ages = []
    for shared.age in (None, 0.2, 4.9, 5.2, 75.9):
        ages.append((await case.ask())["shared"]["sums_age_seconds"])
    assert ages == [None, 0, 0, 5, 75]


async def test_counters_in_memory_have_nothing_of_other_gateways() -> None:
    case = Case()
    await case.run("alpha")
    document = await case.ask()
    assert document["shared"] is None
    assert "in_flight_here" not in document["accounts"][0]
    assert "in_flight_here" not in document["functions"][0]


async def test_callers_with_a_limit_are_shown_fullest_first_and_only_so_many() -> None:
    callers = {f"AKIA{number:02}": CallerLimits(f"AKIA{number:02}", "111122223333", 9) for number in range(12)}
    callers |= {"ALICE": CallerLimits("alice", "111122223333", 2), "OFF": CallerLimits("off", "111122223333", 0)}
    case = Case(AccountLimits("111122223333", 5, callers=callers))
    await case.counters.acquire(case.limits.of("111122223333").plan_for("f", "ALICE"))
    default, named = (await case.ask())["accounts"]
    assert "callers" not in default
    assert named["callers"][0] | {"oldest_seconds": 0} == {
        "caller": "alice",
        "in_flight": 1,
        "ceiling": 2,
        "oldest_seconds": 0,
    }
    assert (len(named["callers"]), named["callers_left_out"]) == (10, 4)
