"""The script of blows."""

from __future__ import annotations

from gateway.proving.kinds import Kind, plan
from gateway.proving.options import choose_cut_seconds

LEASE_SECONDS = 4.0


def test_a_seed_gives_the_same_blows_again_and_another_gives_others() -> None:
    assert [step[:4] for step in plan("7.1", 3, LEASE_SECONDS)] == [step[:4] for step in plan("7.1", 3, LEASE_SECONDS)]
    assert [step[:4] for step in plan("7.1", 3, LEASE_SECONDS)] != [step[:4] for step in plan("8.1", 3, LEASE_SECONDS)]


def test_each_kind_falls_once_a_round_and_on_every_gateway_in_some_round() -> None:
    rounds = [plan(f"7.{number}", 3, LEASE_SECONDS) for number in range(20)]
    assert all(sorted(step.kind for step in steps) == sorted(Kind) for steps in rounds)
    assert {step.victim for steps in rounds for step in steps if step.kind is Kind.KILLED} == {0, 1, 2}


def test_a_gateway_is_stopped_for_three_leases_and_cut_off_for_as_long_as_was_said() -> None:
    seconds = {step.kind: step.seconds for step in plan("7.1", 3, LEASE_SECONDS, cut_seconds=30.0)}
    assert seconds[Kind.STOPPED] == 3 * LEASE_SECONDS
    assert seconds[Kind.CUT_OFF] == 30.0
    assert seconds[Kind.ALL_CUT_OFF] < 10.0
    shortest = {step.kind: step.seconds for step in plan("7.1", 3, LEASE_SECONDS, cut_seconds=1.0)}
    assert shortest[Kind.CUT_OFF] > LEASE_SECONDS + 1


def test_with_two_minutes_for_a_seed_a_gateway_is_cut_off_for_thirty_seconds() -> None:
    assert [choose_cut_seconds(None, seconds) for seconds in (0.0, 119.0, 120.0)] == [0.0, 0.0, 30.0]
    assert choose_cut_seconds(5.0, 120.0) == 5.0


def test_what_is_to_outlast_a_lease_does_so_by_more_than_the_promise_and_the_rest_never_comes_near_it() -> None:
    long = {Kind.STOPPED, Kind.CUT_OFF, Kind.ALL_CUT_OFF}
    for number in range(50):
        for step in plan(f"7.{number}", 3, LEASE_SECONDS):
            if step.kind in long:
                assert step.seconds > LEASE_SECONDS + 1
            elif step.kind is not Kind.RESTARTED:
                assert step.seconds < LEASE_SECONDS * 3 / 4
