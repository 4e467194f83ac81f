"""Fault scripts as arithmetic: which call meets what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.policy import fault_script
from invoke_gateway.policy.fault_script import FaultScript, FaultScripts, FaultStep, TooManyScripts
from invoke_gateway.policy.invoke_errors import find_error

ACCOUNT = "000000000000"
ERROR = find_error("EC2ThrottledException")
FAILS, LATE, CUT, PASSES = (
    FaultStep(error=ERROR),
    FaultStep(latency_seconds=2.0),
    FaultStep(cut_after_bytes=40_960),
    FaultStep(),
)


def make(*steps: FaultStep, seed: int = 0, loop: bool = False) -> FaultScript:
    return FaultScript("1", ACCOUNT, "checkout", steps, seed=seed, loop=loop)


def run(script: FaultScript, most: int = 1000) -> list[int | None]:
    """The number of the step that did something to each call in turn, `None` where it passed; to the script's end."""
    met: list[int | None] = []
    while not script.is_over and len(met) < most:
        injected = script.take()
        met.append(None if injected is None else injected.number)
    return met


def test_each_call_takes_one_step_and_then_the_script_is_over() -> None:
    script = make(FaultStep(2), FAILS, LATE, CUT)
    assert (script.position, script.is_over) == (1, False)
    assert run(script) == [None, None, 2, 3, 4]
    assert (script.calls, script.injected, script.position, script.is_over) == (5, 3, None, True)


def test_a_step_may_meet_several_calls_in_a_row() -> None:
    script = make(FaultStep(3, error=ERROR), PASSES, LATE)
    assert run(script, 2) == [1, 1]
    assert (script.position, script.calls) == (1, 2)
    assert run(script) == [1, None, 3]


def test_a_script_that_loops_is_never_over() -> None:
    script = make(FaultStep(2), FAILS, loop=True)
    assert run(script, 7) == [None, None, 2, None, None, 2, None]
    assert (script.position, script.is_over) == (1, False)


def test_a_probability_that_does_not_hit_lets_the_call_pass_and_uses_the_step_up() -> None:
    script = make(FaultStep(200, 0.25, error=ERROR), LATE)
    met = run(script)
    assert len(met) == 201
    assert 25 < met.count(1) < 75
    assert met[-1] == 2


def test_the_same_seed_gives_the_same_row_for_ever() -> None:
    """Written down, for it must be so in every version: somebody's test relies on it."""
    row = run(make(FaultStep(16, 0.5, error=ERROR), seed=1))
    assert row == [1, None, None, 1, 1, 1, None, None, 1, 1, None, 1, None, 1, 1, None]


def test_what_is_done_is_named_for_metrics_and_described_for_clients() -> None:
    injected = make(PASSES, FaultStep(latency_seconds=1, cut_after_bytes=0)).take()
    assert injected is None
    script = make(FaultStep(latency_seconds=1.0, error=ERROR), FaultStep(latency_seconds=1, cut_after_bytes=0))
    first, second = script.take(), script.take()
    assert first is not None
    assert second is not None
    assert (first.step.faults, second.step.faults) == (("latency", "EC2ThrottledException"), ("latency", "cut"))
    assert second.describe() == 'fault-script="1", step=2'


steps = st.builds(
    FaultStep,
    calls=st.integers(1, 5),
    probability=st.floats(0, 1, exclude_min=True),
    error=st.sampled_from([None, ERROR]),
    latency_seconds=st.sampled_from([0.0, 2.0]),
)
scripts = st.lists(steps, min_size=1, max_size=8)
seeds = st.integers(0, 2**53)


@given(scripts, seeds, st.booleans())
def test_two_runs_of_one_script_are_the_same(steps: list[FaultStep], seed: int, loop: bool) -> None:
    first, second = (run(make(*steps, seed=seed, loop=loop), 60) for _ in range(2))
    assert first == second


@given(scripts, seeds)
def test_every_call_takes_exactly_one_turn_of_its_own_step(steps: list[FaultStep], seed: int) -> None:
    owners = [number for number, step in enumerate(steps, 1) for _ in range(step.calls)]
    script = make(*steps, seed=seed)
    met = run(script)
    assert len(met) == len(owners) == script.calls
    assert all(number in (None, owner) for number, owner in zip(met, owners, strict=True))
    assert script.injected == sum(number is not None for number in met)
    certain = {number for number, step in enumerate(steps, 1) if step.probability == 1 and not step.passes}
    assert all(number is not None for number, owner in zip(met, owners, strict=True) if owner in certain)
    assert all(steps[number - 1].passes is False for number in met if number is not None)


@given(scripts, seeds, st.data())
def test_a_change_to_one_step_moves_no_other_steps_luck(steps: list[FaultStep], seed: int, data: st.DataObject) -> None:
    """As long as it is as many calls long."""
    index = data.draw(st.integers(0, len(steps) - 1))
    changed = [*steps]
    error = data.draw(st.sampled_from([None, ERROR]))
    changed[index] = FaultStep(steps[index].calls, data.draw(st.floats(0, 1, exclude_min=True)), error)
    before, after = run(make(*steps, seed=seed)), run(make(*changed, seed=seed))
    start = sum(step.calls for step in steps[:index])
    end = start + steps[index].calls
    assert before[:start] + before[end:] == after[:start] + after[end:]


# ---- all scripts of a gateway ---------------------------------------------------------------------------------


def number_of(scripts: FaultScripts, function: str = "checkout", account: str = ACCOUNT) -> str | None:
    """The script that did something to the next call."""
    injected = scripts.take(account, function)
    return None if injected is None else injected.script


def test_a_script_concerns_its_own_function_and_account_only() -> None:
    scripts = FaultScripts()
    scripts.add(ACCOUNT, "checkout", [FAILS])
    assert number_of(scripts, "report") is None
    assert number_of(scripts, account="111122223333") is None
    assert number_of(scripts) == "1"
    assert number_of(scripts) is None


def test_a_second_script_for_a_function_replaces_the_first() -> None:
    scripts = FaultScripts()
    first, nothing = scripts.add(ACCOUNT, "checkout", [FaultStep(5, error=ERROR)])
    second, replaced = scripts.add(ACCOUNT, "checkout", [FAILS])
    assert (nothing, replaced) == (None, first)
    assert scripts.all() == [second]
    assert [number_of(scripts), number_of(scripts)] == ["2", None]
    assert not scripts.end(first.id)


def test_a_script_for_all_functions_is_for_those_whose_own_is_over_or_missing() -> None:
    scripts = FaultScripts()
    scripts.add(ACCOUNT, None, [FaultStep(3, error=ERROR)])
    scripts.add(ACCOUNT, "checkout", [PASSES, FAILS])
    assert [number_of(scripts) for _ in range(3)] == [None, "2", "1"]
    assert [number_of(scripts, "report") for _ in range(3)] == ["1", "1", None]


def test_a_script_that_was_ended_does_nothing_and_can_be_ended_once() -> None:
    scripts = FaultScripts()
    script, _ = scripts.add(ACCOUNT, "checkout", [FAILS])
    scripts.add(ACCOUNT, None, [PASSES])
    assert scripts.end(script.id)
    assert not scripts.end(script.id)
    assert number_of(scripts) is None
    scripts.end_all()
    assert scripts.all() == []


def test_scripts_that_are_over_make_room_and_others_do_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fault_script, "MOST_SCRIPTS", 2)
    scripts = FaultScripts()
    for function in ("a", "b"):
        scripts.add(ACCOUNT, function, [FAILS])
    with pytest.raises(TooManyScripts):
        scripts.add(ACCOUNT, "c", [FAILS])
    scripts.add(ACCOUNT, "a", [FAILS])
    assert number_of(scripts, "b") == "2"
    scripts.add(ACCOUNT, "c", [FAILS])
    assert [script.function for script in scripts.all()] == ["a", "c"]
