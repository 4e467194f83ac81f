"""The tables of limits and the plans that follow from them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.invocation import Caller
from invoke_gateway.policy import limits as module
from invoke_gateway.policy.caller_limits import CallerLimits, find_caller
from invoke_gateway.policy.concurrency import OWN, RateClaim, renew_plan, without_rates, without_tokens
from invoke_gateway.policy.control.state import ProvisionedConfig
from invoke_gateway.policy.counter_names import account_counted_by, split_counter
from invoke_gateway.policy.limits import DEFAULT_ACCOUNT, OTHER, AccountLimits, FunctionLimits, Limits
from invoke_gateway.refusals import Refusal


def make_account(total: int = 10, **reserved: int | None) -> AccountLimits:
    return AccountLimits("111122223333", total, {name: FunctionLimits(slots) for name, slots in reserved.items()})


def test_the_unreserved_pool_is_what_the_reservations_leave_over() -> None:
    account = make_account(10, checkout=2, report=0, plain=None)
    assert account.reserved_concurrent_executions == 2
    assert account.unreserved_concurrent_executions == 8


def test_a_function_with_a_reservation_claims_its_own_slots_and_none_of_the_pool() -> None:
    plan = make_account(10, checkout=2).plan("checkout")
    (lane,) = plan.lanes
    assert plan.function_counter == "111122223333/function/checkout"
    assert [(claim.counter, claim.ceiling, claim.refusal) for claim in lane.claims] == [
        (OWN, 2, Refusal.RESERVED_CONCURRENCY),
        ("111122223333/account", 10, Refusal.CONCURRENCY),
    ]


def test_every_other_function_claims_the_pool_known_or_not() -> None:
    account = make_account(10, checkout=2, plain=None)
    for name in ("plain", "never-heard-of"):
        (lane,) = account.plan(name).lanes
        assert lane.claims[0].counter == "111122223333/unreserved"
        assert lane.claims[0].ceiling == 8
        assert lane.claims[0].refusal is Refusal.CONCURRENCY


def test_a_slot_of_the_pool_itself_claims_pool_and_account_but_no_function_and_no_token() -> None:
    account = AccountLimits("111122223333", 10, {"checkout": FunctionLimits(2)}, requests_per_second=1.0)
    plan = account.pool_plan()
    (lane,) = plan.lanes
    assert [(claim.counter, claim.ceiling, claim.refusal) for claim in lane.claims] == [
        ("111122223333/unreserved", 8, Refusal.CONCURRENCY),
        ("111122223333/account", 10, Refusal.CONCURRENCY),
    ]
    assert plan.rates == ()
    assert plan.function_counter == account.pool_counter


def test_a_reservation_of_zero_is_a_ceiling_of_zero_and_not_a_missing_one() -> None:
    assert make_account(10, report=0).plan("report").lanes[0].claims[0].ceiling == 0


def test_an_account_without_slots_leaves_a_pool_of_zero() -> None:
    assert make_account(0).plan("any").lanes[0].claims[0].ceiling == 0


def test_an_account_that_is_not_named_shares_the_default_pool() -> None:
    default = AccountLimits(DEFAULT_ACCOUNT, 5)
    named = make_account()
    limits = Limits(default, {"111122223333": named})
    assert limits.of("111122223333") is named
    assert limits.of("999999999999") is default
    assert limits.of(None) is default


def test_a_rate_is_refused_in_the_name_of_the_kind_of_function() -> None:
    functions = {"checkout": FunctionLimits(2, 20.0), "plain": FunctionLimits(None, 5.0)}
    account = AccountLimits("111122223333", 10, functions, requests_per_second=100.0)
    reserved, plain, unknown = (account.plan(name).rates for name in ("checkout", "plain", "unknown"))
    assert [(rate.per_second, rate.refusal) for rate in reserved] == [
        (20.0, Refusal.RESERVED_FUNCTION_RATE),
        (100.0, Refusal.RESERVED_FUNCTION_RATE),
    ]
    assert [(rate.per_second, rate.refusal) for rate in plain] == [
        (5.0, Refusal.FUNCTION_RATE),
        (100.0, Refusal.FUNCTION_RATE),
    ]
    assert [rate.per_second for rate in unknown] == [100.0]


def test_callers_whom_the_settings_do_not_know_share_one_bucket() -> None:
    account = AccountLimits("111122223333", 10, caller_requests_per_second=3.0)
    limits = Limits(AccountLimits(DEFAULT_ACCOUNT, 5), {"111122223333": account}, {"AKIAKNOWN": "111122223333"})
    assert limits.knows(Caller("AKIAKNOWN", "111122223333"))
    assert limits.knows(Caller("111122223333", "111122223333"))
    assert not limits.knows(Caller("AKIAINVENTED", None))
    assert not limits.knows(Caller("999999999999", "999999999999"))
    unknown = account.caller_rate(None)
    known = account.caller_rate("AKIAKNOWN")
    assert unknown is not None
    assert known is not None
    assert unknown.bucket != known.bucket


def test_functions_beyond_the_bound_are_labelled_other_and_still_counted_by_name() -> None:
    functions = {f"f{number}": FunctionLimits(1) for number in range(5)}
    account = AccountLimits("111122223333", 10, functions, labelled=2)
    assert [account.plan(name).label for name in functions] == ["f0", "f1", OTHER, OTHER, OTHER]
    assert account.plan("f4").function_counter == "111122223333/function/f4"
    assert list(account.labels()) == ["f0", "f1"]


@given(
    total=st.integers(0, 50),
    reserved=st.dictionaries(st.sampled_from("abcdef"), st.none() | st.integers(0, 20), max_size=6),
)
def test_no_mix_of_lanes_can_admit_more_than_the_account_has(total: int, reserved: dict[str, int | None]) -> None:
    account = make_account(total, **reserved)
    for name in [*reserved, "unknown"]:
        for lane in account.plan(name).lanes:
            ceilings = {claim.counter: claim.ceiling for claim in lane.claims}
            assert ceilings[account.account_counter] == total
            assert OWN in ceilings
            slots = reserved.get(name)
            assert (account.pool_counter in ceilings) is (slots is None)
            if slots is not None:
                assert ceilings[OWN] == slots


def provision(account_slots: int, reserved: int | None, **configs: ProvisionedConfig) -> AccountLimits:
    return AccountLimits("a", account_slots, {"f": FunctionLimits(reserved)}, provisioned={"f": configs})


def test_a_function_without_provisioned_concurrency_keeps_its_lanes_whatever_its_qualifier() -> None:
    account = provision(10, 5, live=ProvisionedConfig(2, 0.0, "7"))
    assert account.plan("g", "live").lanes is account.plan("h").lanes
    assert account.plan("f", "$LATEST").lanes is account.plan("f").lanes


def test_an_alias_and_the_number_of_its_version_have_the_same_lane() -> None:
    account = provision(10, 5, live=ProvisionedConfig(2, 0.0, "7"), blue=ProvisionedConfig(1, 0.0))
    assert account.plan("f", "live").lanes is account.plan("f", "7").lanes
    first, second = account.plan("f", "live").lanes
    assert [(claim.counter, claim.ceiling) for claim in first.claims] == [
        ("a/provisioned/f/7", 2),
        (OWN, 5),
        ("a/account", 10),
    ]
    assert [(rate.bucket, rate.per_second) for rate in first.rates] == [("a/provisioned/f/7", 20.0)]
    assert [(claim.counter, claim.ceiling) for claim in second.claims] == [
        ("a/on-demand/f", 2),
        (OWN, 5),
        ("a/account", 10),
    ]
    assert account.plan("f", "blue").lanes[0].claims[0].counter == "a/provisioned/f/blue"


def test_the_pool_gives_the_provisioned_concurrency_of_functions_without_a_reservation() -> None:
    configs = {"live": ProvisionedConfig(3, 0.0, "7")}
    assert provision(10, 5, **configs).unreserved_concurrent_executions == 5
    assert provision(10, None, **configs).unreserved_concurrent_executions == 7
    assert provision(10, None, **configs).ceiling("f") == 10


def test_provisioned_concurrency_that_is_not_allocated_has_no_lane_and_counts_already() -> None:
    configs = {"f": {"live": ProvisionedConfig(3, 100.0, "7")}}
    before = AccountLimits("a", 10, provisioned=configs, allocated_until=99.0)
    after = AccountLimits("a", 10, provisioned=configs, allocated_until=100.0)
    assert [lane.name for lane in before.plan("f", "live").lanes] == ["unreserved"]
    assert [lane.name for lane in after.plan("f", "live").lanes] == ["provisioned", "unreserved"]
    assert before.unreserved_concurrent_executions == after.unreserved_concurrent_executions == 7
    assert (before.allocated_slots("f"), after.allocated_slots("f")) == (0, 3)


def test_counters_of_lanes_are_taken_apart_also_where_a_function_is_named_like_one() -> None:
    for name in ("f", "account", "unreserved", "function"):
        account = AccountLimits(
            "a", 9, {name: FunctionLimits(4)}, provisioned={name: {"1": ProvisionedConfig(1, 0.0, "1")}}
        )
        for lane in account.plan(name, "1").lanes:
            for claim in lane.claims:
                counter = claim.counter or account.function_counter(name)
                assert split_counter(counter).account == "a"
                assert split_counter(counter).function == (None if counter == "a/account" else name)
                assert account_counted_by(counter) == ("a" if counter == "a/account" else None)


@given(
    total=st.integers(0, 30),
    functions=st.dictionaries(
        st.sampled_from("abcd"),
        st.tuples(
            st.none() | st.integers(0, 12),
            st.dictionaries(st.sampled_from(("1", "2", "live", "old")), st.integers(1, 6), max_size=4),
        ),
        max_size=4,
    ),
    live=st.sampled_from("123"),
)
def test_what_lanes_leave_to_each_other_is_never_more_than_the_account(
    total: int, functions: dict[str, tuple[int | None, dict[str, int]]], live: str
) -> None:
    """Whatever the lanes' own ceilings, each lane claims the account, and the function's own counter. Where the
    reservations fit the account and contain their provisioned concurrency, the lanes' ceilings add up to at most the
    account, so that no provisioned slot is ever refused in the name of the account."""
    account = AccountLimits(
        "a",
        total,
        {name: FunctionLimits(reserved) for name, (reserved, _) in functions.items()},
        provisioned={
            name: {of: ProvisionedConfig(slots, 0.0, live if of == "live" else of) for of, slots in configs.items()}
            for name, (_, configs) in functions.items()
            if configs
        },
    )
    ceilings: dict[str, int] = {}
    for name in [*functions, "unknown"]:
        for qualifier in (None, "$LATEST", "1", "2", "3", "live", "old", "unknown"):
            plan = account.plan(name, qualifier)
            for lane in plan.lanes:
                of = {claim.counter or plan.function_counter: claim.ceiling for claim in lane.claims}
                assert of.pop(account.account_counter) == total
                assert of.pop(plan.function_counter) == functions.get(name, (None,))[0]
                for counter, ceiling in of.items():
                    assert ceiling is not None
                    assert ceilings.setdefault(counter, ceiling) == ceiling
                if not of:  # the reservation itself
                    ceilings[plan.function_counter] = functions[name][0] or 0
    claimed = sum(sum(configs.values()) if reserved is None else reserved for reserved, configs in functions.values())
    contains = all(reserved is None or sum(configs.values()) <= reserved for reserved, configs in functions.values())
    if claimed <= total and contains:
        assert sum(ceilings.values()) <= total


def test_a_plan_is_renewed_by_the_limits_in_force_and_keeps_its_qualifier_and_the_callers_rate() -> None:
    first = Limits(AccountLimits("000000000000", 10, {"f": FunctionLimits(5, 50.0)}))
    second = Limits(AccountLimits("000000000000", 10, {"f": FunctionLimits(1)}))
    third = Limits(AccountLimits("000000000000", 10, {"f": FunctionLimits(0)}))
    plan = first.default.plan("f")
    second.supersede(first)
    third.supersede(second)
    assert plan.table is first.default
    renewed = first.default.renew(plan)
    assert renewed == third.default.plan("f")
    assert plan.lanes == first.default.plan("f").lanes
    caller = RateClaim("000000000000/caller/k", 3.0, Refusal.CALLER_RATE, "caller_requests_per_second")
    called = replace(first.default.plan("f", "prod"), rates=(*plan.rates, caller))
    renewed = renew_plan(called)
    assert (renewed.rates, renewed.qualifier) == ((caller,), "prod")
    assert renew_plan(renewed) is renewed
    assert renew_plan(first.default.pool_plan()) == third.default.pool_plan()


def test_a_plan_without_tokens_is_renewed_without_them() -> None:
    """An event's run takes no token of a rate, and a hold none at all, also where limits change before their slot."""
    first = Limits(AccountLimits("000000000000", 10, {"f": FunctionLimits(5, 50.0)}, requests_per_second=9.0))
    second = Limits(AccountLimits("000000000000", 10, {"f": FunctionLimits(2, 20.0)}, requests_per_second=9.0))
    run, hold = without_rates(first.default.plan("f")), without_tokens(first.default.plan("f"))
    second.supersede(first)
    for plan in (renew_plan(run), renew_plan(hold)):
        assert plan.lanes == second.default.plan("f").lanes
        assert plan.rates == ()
    third = Limits(AccountLimits("000000000000", 10, {"f": FunctionLimits(2, 20.0)}, requests_per_second=9.0))
    third.supersede(second)
    assert renew_plan(renew_plan(run)).rates == renew_plan(renew_plan(hold)).rates == ()


def test_a_plan_of_an_account_that_is_no_longer_named_is_renewed_by_the_default_one() -> None:
    first = Limits(AccountLimits("000000000000", 10), {"1" * 12: AccountLimits("1" * 12, 3)})
    second = Limits(AccountLimits("000000000000", 7))
    plan = first.of("1" * 12).plan("f")
    second.supersede(first)
    assert first.of("1" * 12).renew(plan) == second.default.plan("f")


def test_the_plan_of_any_caller_is_kept_until_other_limits_are_in_force() -> None:
    limits = Limits(AccountLimits("a", 3, {"f": FunctionLimits(1)}))
    account = limits.default
    kept = account.find_plan("f", None)
    assert kept == account.plan("f")
    assert account.find_plan("f", None) is kept
    assert account.find_plan("f", "7") is not kept
    assert account.find_plan("f", "7") == account.plan("f", "7")
    Limits(AccountLimits("a", 2, {"f": FunctionLimits(2)})).supersede(limits)
    assert account.find_plan("f", None) is not account.find_plan("f", None)
    assert account.renew(kept).lanes[0].claims[0].ceiling == 2


@pytest.mark.parametrize("rate", [None, 5.0])
def test_the_plan_of_a_caller_is_kept_until_other_limits_are_in_force(rate: float | None) -> None:
    callers = {"ALICE": CallerLimits("alice", "a", 1), "BOB": CallerLimits("bob", "a")}
    limits = Limits(AccountLimits("a", 3, caller_requests_per_second=rate, callers=callers))
    account = limits.default
    kept = {key: account.plan_for("f", key) for key in ("ALICE", "BOB", "OTHER", None)}
    assert all(account.plan_for("f", key) is plan for key, plan in kept.items())
    unnamed = [None] * 3 if rate is None else ["bob", "OTHER", None]
    assert [find_caller(plan) for plan in kept.values()] == ["alice", *unnamed]
    assert account.plan_for("f", "ALICE", "7").qualifier == "7"
    assert account.plan_for("g", "ALICE").function_counter != kept["ALICE"].function_counter
    Limits(AccountLimits("a", 3, callers={"ALICE": CallerLimits("alice", "a", 2)})).supersede(limits)
    assert account.plan_for("f", "ALICE") is not account.plan_for("f", "ALICE")
    assert account.renew(kept["ALICE"]).lanes[0].claims[-1].ceiling == 2


def test_callers_without_limits_share_the_plan_of_all() -> None:
    account = AccountLimits("a", 3, callers={"BOB": CallerLimits("bob", "a")})
    assert account.plan_for("f", "BOB") is account.plan_for("f", None) is account.find_plan("f", None)


def test_invented_names_of_functions_and_callers_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_PLANS", 3)
    account = AccountLimits("a", 3, caller_requests_per_second=5.0)
    for number in range(10):
        account.plan_for(f"f{number}", "ALICE")
        assert len(account._plans) <= 3
