"""The last reload of the settings: accepted, or refused with the settings of before in force."""

from __future__ import annotations

from invoke_gateway.telemetry.reload_state import ReloadState


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_refusal_names_its_time_its_first_problem_and_the_settings_in_force() -> None:
    clock = Clock()
    state = ReloadState(clock)
    assert (state.error, state.is_successful, state.loaded_at) == (None, True, 1000.0)
    clock.now = 1010.25
    state.record_refusal("gateway.yaml: accounts: must be a mapping", 3)
    assert not state.is_successful
    assert state.error == {
        "at": 1010.25,
        "problem": "gateway.yaml: accounts: must be a mapping",
        "problems": 3,
        "in_force_since": 1000.0,
    }


def test_the_next_accepted_reload_clears_the_refusal() -> None:
    clock = Clock()
    state = ReloadState(clock)
    state.record_refusal("wrong")
    clock.now = 1020.0
    state.record_success(["listen"])
    assert (state.error, state.is_successful, state.loaded_at) == (None, True, 1020.0)
    assert state.restart_needed == ("listen",)
    clock.now = 1030.0
    state.record_refusal("wrong again")
    assert state.error is not None
    assert state.error["in_force_since"] == 1020.0
    assert state.restart_needed == ("listen",), "the settings in force are those of before"


def test_a_key_of_any_length_does_not_make_a_document_of_any_length() -> None:
    state = ReloadState(Clock())
    state.record_refusal("x" * 1_000_000)
    assert state.error is not None
    assert len(str(state.error["problem"])) == 1003
