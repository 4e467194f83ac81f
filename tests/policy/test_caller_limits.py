"""A caller's limits are more claims of the same rule, and no mix of calls gets past any limit."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.invocation import Caller
from invoke_gateway.policy.caller_limits import CallerLimits
from invoke_gateway.policy.concurrency import OWN, Plan, renew_plan
from invoke_gateway.policy.control.state import ProvisionedConfig
from invoke_gateway.policy.counter_names import account_counted_by, caller_of, function_of, split_counter
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits, Limits
from invoke_gateway.refusals import Refusal

ACCOUNT = "111122223333"
ALICE = f"arn:aws:iam::{ACCOUNT}:user/alice"
COUNTER = f"{ACCOUNT}/caller/{ALICE}"


def alice(slots: int | None = 2, rate: float | str | None = None) -> CallerLimits:
    return CallerLimits(ALICE, ACCOUNT, slots, rate)


def make_account(*, default_rate: float | None = None, **callers: CallerLimits) -> AccountLimits:
    functions = {"checkout": FunctionLimits(3), "plain": FunctionLimits()}
    return AccountLimits(ACCOUNT, 10, functions, caller_requests_per_second=default_rate, callers=callers)


def claims_of(plan: Plan) -> list[tuple[str, int | None]]:
    return [(claim.counter, claim.ceiling) for lane in plan.lanes for claim in lane.claims]


@pytest.mark.parametrize("function", ["checkout", "plain", "unknown"])
def test_the_callers_slots_are_the_last_claim_of_the_lane(function: str) -> None:
    account = make_account(AKIA=alice(2))
    plan = account.plan_for(function, "AKIA")
    assert claims_of(plan) == [*claims_of(account.plan(function)), (COUNTER, 2)]
    claim = plan.lanes[-1].claims[-1]
    assert (claim.refusal, claim.limit) == (Refusal.CONCURRENCY, "caller_concurrent_executions")
    assert plan.rates == account.plan(function).rates
    assert (plan.label, plan.function_counter) == (
        account.plan(function).label,
        account.plan(function).function_counter,
    )


def test_each_lane_of_a_provisioned_version_has_the_claim() -> None:
    account = AccountLimits(
        ACCOUNT,
        10,
        provisioned={"f": {"live": ProvisionedConfig(2, 0.0, "7")}},
        callers={"AKIA": alice(2)},
    )
    plan = account.plan_for("f", "AKIA", "live")
    assert [lane.claims[-1].counter for lane in plan.lanes] == [COUNTER, COUNTER]
    assert plan.qualifier == "live"


def test_keys_of_one_caller_share_its_counter_and_its_bucket() -> None:
    account = make_account(AKIAOLD=alice(2, 5.0), AKIANEW=alice(2, 5.0))
    old, new = account.plan_for("plain", "AKIAOLD"), account.plan_for("plain", "AKIANEW")
    assert old == new
    assert old.rates[-1].bucket == new.rates[-1].bucket == COUNTER


def test_calls_with_equal_limits_share_their_lanes_and_rates() -> None:
    account = make_account(AKIA=alice(2, 5.0), OTHER=CallerLimits("OTHER", ACCOUNT, 2))
    one, two = account.plan_for("a", "AKIA"), account.plan_for("b", "AKIA")
    assert one.lanes is two.lanes
    assert one.rates is two.rates
    assert account.plan_for("a", "OTHER").lanes is not one.lanes
    assert account.plan("a").lanes is not one.lanes


@pytest.mark.parametrize(
    ("default_rate", "own", "per_second"),
    [(7.0, None, 7.0), (7.0, 2.5, 2.5), (7.0, "off", None), (7.0, 0.0, 0.0), (None, None, None), (None, 2.5, 2.5)],
)
def test_the_callers_rate_wins_over_the_accounts_default(
    default_rate: float | None, own: float | str | None, per_second: float | None
) -> None:
    plan = make_account(default_rate=default_rate, AKIA=alice(None, own)).plan_for("plain", "AKIA")
    assert [rate.per_second for rate in plan.rates] == ([] if per_second is None else [per_second])
    assert all(rate.refusal is Refusal.CALLER_RATE for rate in plan.rates)
    assert claims_of(plan) == claims_of(make_account().plan("plain"))


def test_a_caller_that_is_not_named_has_no_claim_and_the_rate_of_the_account() -> None:
    account = make_account(default_rate=7.0, AKIA=alice(2))
    for access_key_id in ("AKIAOTHER", ALICE, "", None):
        plan = account.plan_for("plain", access_key_id)
        assert claims_of(plan) == claims_of(account.plan("plain"))
        assert plan.rates[-1].bucket == f"{ACCOUNT}/caller/{access_key_id or ''}"


def test_zero_is_a_ceiling_of_zero() -> None:
    assert make_account(AKIA=alice(0)).plan_for("plain", "AKIA").lanes[0].claims[-1].ceiling == 0


def test_who_calls_matters_only_where_a_caller_has_a_limit() -> None:
    """Else a call costs what it costs without callers."""
    for callers, is_one in ((None, True), ({"AKIA": alice(None)}, True), ({"AKIA": alice(0)}, False)):
        assert Limits(AccountLimits(ACCOUNT, 10, callers=callers)).is_one_for_all is is_one
    limits = Limits(AccountLimits(ACCOUNT, 10, callers={"AKIA": alice(None, "off")}))
    assert not limits.is_one_for_all
    assert limits.knows(Caller("AKIA", None))
    assert not limits.knows(Caller("AKIAOTHER", None))
    assert not limits.knows(Caller(None, None))


def test_a_counter_of_a_caller_is_no_functions_and_no_accounts() -> None:
    for name in (ALICE, "AKIA", f"arn:aws:iam::{ACCOUNT}:user/function/f", f"arn:aws:iam::{ACCOUNT}:user/account"):
        counter = f"{ACCOUNT}/caller/{name}"
        assert caller_of(counter) == name
        assert split_counter(counter) == (ACCOUNT, None)
        assert function_of(counter) is None
        assert account_counted_by(counter) is None
    for counter in (f"{ACCOUNT}/account", f"{ACCOUNT}/function/caller", f"{ACCOUNT}/caller/"):
        assert caller_of(counter) is None


def test_a_plan_is_renewed_with_the_limits_that_its_caller_has_now() -> None:
    first = Limits(make_account(AKIA=alice(2, 5.0)))
    plan = first.default.plan_for("plain", "AKIA")
    for slots, rate in ((7, None), (None, 3.0), (0, "off"), (2, 5.0)):
        second = Limits(make_account(AKIANEW=alice(slots, rate)))
        second.supersede(first)
        assert renew_plan(plan) == second.default.plan_for("plain", "AKIANEW")
    gone = Limits(make_account(default_rate=9.0, OTHER=CallerLimits("OTHER", ACCOUNT, 1)))
    gone.supersede(first)
    renewed = renew_plan(plan)
    assert claims_of(renewed) == claims_of(gone.default.plan("plain"))
    assert [rate.per_second for rate in renewed.rates] == [5.0]  # as it was when the call came
    none = Limits(make_account())
    none.supersede(first)
    assert claims_of(renew_plan(plan)) == claims_of(none.default.plan("plain"))


def test_a_plan_without_a_limit_of_its_caller_is_renewed_without_one() -> None:
    first, second = Limits(make_account(AKIA=alice(None))), Limits(make_account(AKIA=alice(2)))
    plan = first.default.plan_for("plain", "AKIA")
    second.supersede(first)
    assert claims_of(renew_plan(plan)) == claims_of(second.default.plan("plain"))


SLOTS = st.none() | st.integers(0, 4)


@given(
    total=st.integers(0, 6),
    functions=st.dictionaries(st.sampled_from("fgh"), SLOTS, max_size=3),
    callers=st.dictionaries(st.sampled_from(("A", "B", "C")), SLOTS, max_size=3),
    steps=st.lists(
        st.tuples(st.sampled_from("fghx"), st.sampled_from(("A", "A2", "B", "C", "nobody", None)), st.booleans()),
        max_size=60,
    ),
)
def test_no_mix_of_callers_gets_past_the_limit_of_a_caller_a_function_or_the_account(
    total: int,
    functions: dict[str, int | None],
    callers: dict[str, int | None],
    steps: list[tuple[str, str | None, bool]],
) -> None:
    """By the rule alone: a call takes all claims of the first lane with room, or nothing. A2 is another key of A."""
    limits = {key: CallerLimits(key, ACCOUNT, slots) for key, slots in callers.items()}
    if "A" in limits:
        limits["A2"] = limits["A"]
    account = AccountLimits(
        ACCOUNT, total, {name: FunctionLimits(slots) for name, slots in functions.items()}, callers=limits
    )
    held: Counter[str] = Counter()
    running: list[tuple[str, str | None, list[str]]] = []
    for function, caller, is_end in steps:
        if is_end and running:
            held.subtract(running.pop(0)[2])
            continue
        plan = account.plan_for(function, caller)
        (lane,) = plan.lanes
        names = [plan.function_counter if claim.counter == OWN else claim.counter for claim in lane.claims]
        full = [
            claim
            for claim, name in zip(lane.claims, names, strict=True)
            if claim.ceiling is not None and held[name] >= claim.ceiling
        ]
        by_function, by_caller = Counter(one for one, _, _ in running), Counter(_owner(two) for _, two, _ in running)
        slots, own = functions.get(function), callers.get(_owner(caller) or "")
        is_room = (
            len(running) < total
            and (slots is None or by_function[function] < slots)
            and (own is None or by_caller[_owner(caller)] < own)
        )
        if not full:
            assert is_room
            held.update(names)
            running.append((function, caller, names))
        elif is_room:  # then the pool is full: what others have reserved is theirs
            assert slots is None
            assert [claim.limit for claim in full] == ["unreserved_concurrent_executions"]
    assert all(count >= 0 for count in held.values())


def _owner(caller: str | None) -> str | None:
    return "A" if caller == "A2" else caller


def test_a_plan_that_was_made_is_not_changed_by_another() -> None:
    account = make_account(AKIA=alice(2))
    before = account.plan("plain")
    kept = replace(before)
    account.plan_for("plain", "AKIA")
    assert before == kept == account.plan("plain")
