"""The script of blows."""

from __future__ import annotations

from invoke_gateway.chaos.fault_kinds import TOGETHER, Kind, plan
from invoke_gateway.chaos.options import choose_cut_seconds

LEASE_SECONDS = 4.0


def test_a_seed_gives_the_same_blows_again_and_another_gives_others() -> None:
    assert [step[:4] for step in plan("7.1", 3, LEASE_SECONDS)] == [step[:4] for step in plan("7.1", 3, LEASE_SECONDS)]
    assert [step[:4] for step in plan("7.1", 3, LEASE_SECONDS)] != [step[:4] for step in plan("8.1", 3, LEASE_SECONDS)]


def test_each_kind_falls_once_a_round_and_on_every_gateway_in_some_round() -> None:
    rounds = [plan(f"7.{number}", 3, LEASE_SECONDS) for number in range(20)]
    alone = sorted(kind for kind in Kind if kind not in TOGETHER and kind is not Kind.WORKER_KILLED)
    assert all(sorted(step.kind for step in steps if step.kind not in TOGETHER) == alone for steps in rounds)
    assert {step.victim for steps in rounds for step in steps if step.kind is Kind.KILLED} == {0, 1, 2}


def test_of_those_that_fall_together_one_is_in_each_round_where_there_are_gateways_enough() -> None:
    for gateways, kinds in ((3, {*TOGETHER}), (2, {*TOGETHER} - {Kind.TWO_KILLED}), (1, set())):
        rounds = [plan(f"7.{number}", gateways, LEASE_SECONDS) for number in range(30)]
        together = [[step.kind for step in steps if step.kind in TOGETHER] for steps in rounds]
        assert {len(of_round) for of_round in together} == {1 if kinds else 0}
        assert {kind for of_round in together for kind in of_round} == kinds


def test_a_worker_is_killed_where_gateways_have_several() -> None:
    assert Kind.WORKER_KILLED in [step.kind for step in plan("7.1", 3, LEASE_SECONDS, workers=2)]
    assert plan("7.1", 3, LEASE_SECONDS, wanted=[Kind.WORKER_KILLED]) == []


def test_only_those_that_are_wanted_fall() -> None:
    (step,) = plan("7.1", 3, LEASE_SECONDS, wanted=[Kind.KILLED])
    assert step.kind is Kind.KILLED
    assert [step.kind for step in plan("7.1", 3, LEASE_SECONDS, wanted=[Kind.TWO_KILLED])] == [Kind.TWO_KILLED]


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
    long = {Kind.STOPPED, Kind.CUT_OFF, Kind.ALL_CUT_OFF, *TOGETHER} - {Kind.TWO_KILLED}
    for number in range(50):
        for step in plan(f"7.{number}", 3, LEASE_SECONDS):
            if step.kind in long:
                assert step.seconds > LEASE_SECONDS + 1
            elif step.kind is not Kind.RESTARTED:
                assert step.seconds < LEASE_SECONDS * 3 / 4
