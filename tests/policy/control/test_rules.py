"""Checks of control operations: no order of accepted ones breaks a rule of the account."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.policy.control import errors
from invoke_gateway.policy.control.errors import ControlRefusal
from invoke_gateway.policy.control.rules import (
    NO_FILE_VALUES,
    AccountFacts,
    AccountSlots,
    FileValues,
    check_alias,
    check_provisioned,
    check_reservation,
    check_version,
    find_set_elsewhere,
)
from invoke_gateway.policy.control.state import (
    NOTHING,
    ControlState,
    FunctionControl,
    ProvisionedConfig,
    with_provisioned,
    with_reserved,
)

IN_FILE = {"file": FileValues(reserved_concurrent_executions=7)}


def make_slots(state: ControlState, total: int = 100, floor: int = 10) -> AccountSlots:
    facts = AccountFacts("a", total, floor, claimed=7)
    return AccountSlots(facts, state.functions("a"), lambda name: IN_FILE.get(name, NO_FILE_VALUES))


def reserve(state: ControlState, name: str, slots: int | None) -> ControlState | ControlRefusal:
    function = state.function("a", name)
    if slots is not None:
        provisioned = function.provisioned_concurrent_executions
        refusal = check_reservation(make_slots(state), name, slots, provisioned)
        if refusal is not None:
            return refusal
    return state.with_function("a", name, with_reserved(function, slots))


def provision(state: ControlState, name: str, version: str, slots: int | None) -> ControlState | ControlRefusal:
    function = state.function("a", name)
    if slots is None:
        return state.with_function("a", name, with_provisioned(function, version, None))
    others = function.provisioned_concurrent_executions
    others -= function.provisioned[version].requested if version in function.provisioned else 0
    refusal = check_provisioned(make_slots(state), name, slots, others)
    if refusal is not None:
        return refusal
    return state.with_function("a", name, with_provisioned(function, version, ProvisionedConfig(slots, 0.0)))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just(reserve), st.sampled_from("fg"), st.integers(0, 100) | st.none()),
        st.tuples(
            st.just(provision),
            st.sampled_from(["f", "g", "file"]),
            st.sampled_from("12"),
            st.integers(1, 100) | st.none(),
        ),
    ),
    max_size=20,
)


@given(STEPS)
def test_no_order_of_accepted_operations_leaves_less_than_the_floor_or_less_than_is_provisioned(steps: Any) -> None:
    """But a deleted reservation: its provisioned concurrency then counts in the unreserved pool, as large as before."""
    state = ControlState()
    for operation, *arguments in steps:
        made = operation(state, *arguments)
        if isinstance(made, ControlRefusal):
            continue
        assert made.version == state.version + 1
        state = made
        slots = make_slots(state)
        unreserved = slots.unreserved()
        assert unreserved >= 10
        taken = 7
        for name in state.functions("a"):
            function, reserved = state.function("a", name), slots.reservation(name)
            provisioned = function.provisioned_concurrent_executions
            assert reserved is None or provisioned <= reserved
            if name != "file":
                taken += provisioned if reserved is None else reserved
        assert unreserved == 100 - taken


def test_the_refusals_name_the_numbers() -> None:
    slots = make_slots(ControlState())
    assert check_reservation(slots, "f", 83, 0) is None
    refused = check_reservation(slots, "f", 84, 0)
    assert refused is not None
    assert (refused.error, refused.values) == (errors.BELOW_FLOOR, {"floor": 10})
    refused = check_reservation(slots, "f", 2, 3)
    assert refused is not None
    assert (refused.error, refused.values) == (errors.BELOW_PROVISIONED, {"slots": 2, "provisioned": 3})
    assert check_reservation(slots, "f", 3, 3) is None
    for wanted, others, error in ((93, 0, errors.PROVISIONED_BELOW_FLOOR), (94, 0, errors.ABOVE_UNRESERVED)):
        refused = check_provisioned(slots, "f", wanted, others)
        assert refused is not None
        assert refused.error is error
    assert check_provisioned(slots, "f", 80, 3) is None
    assert check_provisioned(slots, "file", 5, 2) is None  # the reservation is the settings'
    refused = check_provisioned(slots, "file", 5, 3)
    assert refused is not None
    assert refused.error is errors.ABOVE_RESERVATION


def test_a_value_of_an_operation_that_the_settings_name_now_counts_nothing() -> None:
    state = ControlState().with_function("a", "file", with_reserved(NOTHING, 50))
    assert make_slots(state).unreserved() == 93
    assert make_slots(state).reservation("file") == 7


def test_alias_and_version_exclude_each_other() -> None:
    function = FunctionControl(provisioned={"1": ProvisionedConfig(1, 0.0)})
    refused = [check_alias(function, "1", {}), check_alias(function, "2", {"3": 0.5}), check_version("1", [None, "1"])]
    assert [each.error for each in refused if each is not None] == [
        errors.VERSION_IS_PROVISIONED,
        errors.WEIGHTED_ALIAS,
        errors.ALIAS_IS_PROVISIONED,
    ]
    assert check_alias(function, "2", {}) is None
    assert check_alias(function, None, {}) is None
    assert check_version("1", [None, "2"]) is None


def test_only_a_value_that_is_given_and_named_is_refused() -> None:
    named = FileValues(maximum_retry_attempts=0)
    given: dict[str, object] = {"maximum_retry_attempts": None, "maximum_event_age_seconds": 60}
    assert find_set_elsewhere(named, given, "f", lambda key: "gateway.yaml") is None
    refused = find_set_elsewhere(named, {"maximum_retry_attempts": 0}, "f", lambda key: "gateway.yaml")
    assert refused is not None
    assert refused.text == "maximum_retry_attempts of f is set in gateway.yaml. Change it there."
