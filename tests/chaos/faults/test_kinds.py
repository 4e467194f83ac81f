"""The script of faults."""

from __future__ import annotations

from invoke_gateway.chaos.faults.kinds import COMBINED, FaultKind, plan_faults

LEASE_SECONDS = 4.0


def test_a_seed_gives_the_same_faults_again_and_another_gives_others() -> None:
    assert [step[:4] for step in plan_faults("7.1", 3, LEASE_SECONDS)] == [
        step[:4] for step in plan_faults("7.1", 3, LEASE_SECONDS)
    ]
    assert [step[:4] for step in plan_faults("7.1", 3, LEASE_SECONDS)] != [
        step[:4] for step in plan_faults("8.1", 3, LEASE_SECONDS)
    ]


def test_each_kind_falls_once_a_round_and_on_every_gateway_in_some_round() -> None:
    rounds = [plan_faults(f"7.{number}", 3, LEASE_SECONDS) for number in range(20)]
    alone = sorted(kind for kind in FaultKind if kind not in COMBINED and kind is not FaultKind.WORKER_KILLED)
    assert all(sorted(step.kind for step in steps if step.kind not in COMBINED) == alone for steps in rounds)
    assert {step.victim for steps in rounds for step in steps if step.kind is FaultKind.KILLED} == {0, 1, 2}


def test_of_those_that_fall_together_one_is_in_each_round_where_there_are_gateways_enough() -> None:
    for gateways, kinds in ((3, {*COMBINED}), (2, {*COMBINED} - {FaultKind.TWO_KILLED}), (1, set())):
        rounds = [plan_faults(f"7.{number}", gateways, LEASE_SECONDS) for number in range(30)]
        combined = [[step.kind for step in steps if step.kind in COMBINED] for steps in rounds]
        assert {len(of_round) for of_round in combined} == {1 if kinds else 0}
        assert {kind for of_round in combined for kind in of_round} == kinds


def test_a_worker_is_killed_where_gateways_have_several() -> None:
    assert FaultKind.WORKER_KILLED in [step.kind for step in plan_faults("7.1", 3, LEASE_SECONDS, workers=2)]
    assert plan_faults("7.1", 3, LEASE_SECONDS, wanted=[FaultKind.WORKER_KILLED]) == []


def test_only_those_that_are_wanted_fall() -> None:
    (step,) = plan_faults("7.1", 3, LEASE_SECONDS, wanted=[FaultKind.KILLED])
    assert step.kind is FaultKind.KILLED
    assert [step.kind for step in plan_faults("7.1", 3, LEASE_SECONDS, wanted=[FaultKind.TWO_KILLED])] == [
        FaultKind.TWO_KILLED
    ]


def test_a_gateway_is_stopped_for_three_leases_and_cut_off_for_as_long_as_was_said() -> None:
    seconds = {step.kind: step.seconds for step in plan_faults("7.1", 3, LEASE_SECONDS, partition_seconds=30.0)}
    assert seconds[FaultKind.STOPPED] == 3 * LEASE_SECONDS
    assert seconds[FaultKind.CUT_OFF] == 30.0
    assert seconds[FaultKind.ALL_CUT_OFF] < 10.0
    shortest = {step.kind: step.seconds for step in plan_faults("7.1", 3, LEASE_SECONDS, partition_seconds=1.0)}
    assert shortest[FaultKind.CUT_OFF] > LEASE_SECONDS + 1


def test_what_is_to_outlast_a_lease_does_so_by_more_than_the_promise_and_the_rest_never_comes_near_it() -> None:
    long = {FaultKind.STOPPED, FaultKind.CUT_OFF, FaultKind.ALL_CUT_OFF, *COMBINED} - {FaultKind.TWO_KILLED}
    for number in range(50):
        for step in plan_faults(f"7.{number}", 3, LEASE_SECONDS):
            if step.kind in long:
                assert step.seconds > LEASE_SECONDS + 1
            elif step.kind is not FaultKind.RESTARTED:
                assert step.seconds < LEASE_SECONDS * 3 / 4
