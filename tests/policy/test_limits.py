"""The tables of limits and the plans that follow from them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.invocation import Caller
from invoke_gateway.policy.concurrency import OWN
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
