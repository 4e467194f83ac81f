"""What a fault explains, for how long, and when it counts as healed."""

from __future__ import annotations

import json

import pytest

from invoke_gateway.chaos.calls import CallEnding, GatewayInstance, PlannedCall
from invoke_gateway.chaos.faults.fault_log import GRACE_SECONDS, LEASE, TIMEOUT, FaultLog
from invoke_gateway.chaos.faults.timeline import FAILED, FAILED_BY_BACKEND, UNANSWERED, Timeline
from invoke_gateway.chaos.judging.checker import check_answer
from invoke_gateway.chaos.judging.history import RELEASE_SECONDS, CallHistory
from invoke_gateway.chaos.judging.violations import Violation
from invoke_gateway.chaos.quotas import POOL, WHOLE, AccountQuota, QuotaLane
from invoke_gateway.chaos.scheduler_lag import SchedulerLag
from invoke_gateway.chaos.wire import HttpAnswer

LEASE_SECONDS, FUNCTION_SECONDS, TIMEOUT_SECONDS = 2.0, 9.0, 10.0
ACCOUNT = AccountQuota("000000000000", 3, {"checkout": 1})
POOL_LANE, CHECKOUT = ACCOUNT.lanes
AWAY = HttpAnswer(500, {"x-amzn-errortype": "ServiceException"}, b"{}")
FULL = HttpAnswer(
    429,
    {"x-amzn-errortype": "TooManyRequestsException"},
    json.dumps({"Reason": "ConcurrentInvocationLimitExceeded"}).encode(),
)


class Scene:
    """Two gateways, a history, and a clock that stands at 0."""

    def __init__(self, reclaim_after: str = LEASE) -> None:
        self.now = 0.0
        self.fault_log = FaultLog([ACCOUNT], LEASE_SECONDS, TIMEOUT_SECONDS, reclaim_after)
        self.history = CallHistory([ACCOUNT], FUNCTION_SECONDS, TIMEOUT_SECONDS, lambda: self.now, self.fault_log)
        self.one, self.two = GatewayInstance("gateway 1"), GatewayInstance("gateway 2")
        self.count = 0

    def call(self, through: GatewayInstance, lane: QuotaLane = POOL_LANE) -> PlannedCall:
        self.count += 1
        call = PlannedCall(f"call {self.count}", lane, lane.functions[0], ending=CallEnding.ANSWERS)
        call.through = through
        self.history.open(call)
        self.history.send(call)
        return call

    def runs(self, through: GatewayInstance, lane: QuotaLane = POOL_LANE) -> PlannedCall:
        call = self.call(through, lane)
        self.history.begin(call)
        return call

    @property
    def overshoot(self) -> int:
        return self.history.violations.counts[Violation.OVERSHOOT]

    @property
    def peaks(self) -> tuple[int, int]:
        track = self.history.tracks[ACCOUNT.account, POOL]
        return track.highest, track.highest_with_lost


@pytest.fixture
def scene() -> Scene:
    return Scene()


def kill(scene: Scene) -> None:
    scene.fault_log.begin_fault("killed", [scene.one], scene.now, is_cut=True)
    scene.one.killed_at = scene.now


def test_calls_of_a_killed_worker_need_not_count_from_then_on_but_those_sent_since_must(scene: Scene) -> None:
    scene.runs(scene.one)
    scene.now = 1.0
    waiting = scene.call(scene.one)
    scene.fault_log.begin_fault("worker killed", [scene.one], scene.now, is_cut=True, is_partial=True)
    assert scene.fault_log.excuses_silence(waiting)
    scene.runs(scene.two)
    scene.runs(scene.two)
    assert (scene.overshoot, scene.peaks) == (0, (2, 3))
    scene.now = 2.0
    assert not scene.fault_log.excuses_silence(scene.runs(scene.one))
    assert scene.overshoot == 1


def test_calls_of_a_killed_gateway_need_not_count_once_its_lease_can_have_ended(scene: Scene) -> None:
    scene.runs(scene.one)
    scene.runs(scene.one)
    scene.now = 1.0
    kill(scene)
    scene.now = 1.9
    scene.runs(scene.two)
    assert scene.overshoot == 1, "less than half a lease: nobody may have its slots yet"
    scene.now = 3.1
    scene.runs(scene.two)
    assert scene.overshoot == 1
    assert scene.peaks == (3, 4)
    scene.runs(scene.two)
    assert scene.overshoot > 1, "more than the limit without the lost ones"


def test_a_call_of_a_killed_gateway_may_arrive_after_its_death(scene: Scene) -> None:
    late = scene.call(scene.one)
    scene.now = 1.0
    kill(scene)
    scene.now = 3.5
    scene.runs(scene.two)
    scene.runs(scene.two)
    scene.history.begin(late)
    assert scene.overshoot == 0
    assert scene.history.tracks[ACCOUNT.account, WHOLE].highest_with_lost == 3


def test_with_the_promise_to_wait_for_the_time_out_no_call_is_ever_lost() -> None:
    scene = Scene(TIMEOUT)
    scene.runs(scene.one)
    scene.runs(scene.one)
    kill(scene)
    scene.now = 5.0
    scene.runs(scene.two)
    assert scene.overshoot == 1
    assert scene.fault_log.deadline_for_lost == LEASE_SECONDS + TIMEOUT_SECONDS + 1


def test_slots_of_a_killed_gateway_are_kept_until_the_time_out_also_when_its_calls_have_ended() -> None:
    scene = Scene(TIMEOUT)
    run = scene.history.begin(scene.call(scene.one))
    fault = scene.fault_log.begin_fault("killed", [scene.one], scene.now, is_cut=True)
    scene.fault_log.keep(fault, scene.history.running)
    scene.history.end(run)
    scene.now = LEASE_SECONDS / 2 + TIMEOUT_SECONDS - 0.1
    scene.runs(scene.two, CHECKOUT)
    kept = scene.history.begin(scene.call(scene.two))
    assert scene.history.violations.counts == {}, "one of two, and one is kept"
    scene.runs(scene.two)
    assert dict(scene.history.violations.counts) == {Violation.GIVEN_AWAY: 1}
    scene.history.end(kept)
    scene.now += 0.2
    scene.runs(scene.two)
    assert dict(scene.history.violations.counts) == {Violation.GIVEN_AWAY: 1}, "the time is over"


def test_a_call_of_the_dead_that_still_runs_is_not_another_beside_its_slot() -> None:
    scene = Scene(TIMEOUT)
    scene.runs(scene.one)
    fault = scene.fault_log.begin_fault("killed", [scene.one], scene.now, is_cut=True)
    scene.fault_log.keep(fault, scene.history.running)
    scene.now = 1.0
    scene.runs(scene.two)
    assert scene.history.violations.counts == {}


def test_an_error_counts_for_the_fault_that_affected_its_gateway_when_two_fall_at_once(scene: Scene) -> None:
    one = scene.fault_log.begin_fault("cut off", [scene.one], scene.now)
    two = scene.fault_log.begin_fault("killed", [scene.two], scene.now)
    check_answer(scene.history, scene.call(scene.one), AWAY)
    assert (one.failed, two.failed) == (1, 0)


def test_with_the_promise_of_the_lease_nothing_is_kept_beyond_it(scene: Scene) -> None:
    run = scene.history.begin(scene.call(scene.one))
    fault = scene.fault_log.begin_fault("killed", [scene.one], scene.now, is_cut=True)
    scene.fault_log.keep(fault, scene.history.running)
    scene.history.end(run)
    scene.now = LEASE_SECONDS
    scene.runs(scene.two)
    scene.runs(scene.two)
    assert scene.history.violations.counts == {}


@pytest.mark.parametrize(("lasted", "lost"), [(0.9, False), (3.0, True)])
def test_a_stop_shorter_than_half_a_lease_loses_nothing_and_a_long_one_does(lasted: float, lost: bool) -> None:
    scene = Scene()
    scene.runs(scene.one)
    scene.runs(scene.one)
    fault = scene.fault_log.begin_fault("stopped", [scene.one], scene.now, is_cut=True)
    fault.ended = scene.now = lasted
    scene.runs(scene.two)
    assert (scene.overshoot == 0) is lost


def test_after_its_return_and_a_lease_the_calls_of_a_gateway_count_again(scene: Scene) -> None:
    scene.runs(scene.one)
    scene.runs(scene.one)
    fault = scene.fault_log.begin_fault("stopped", [scene.one], scene.now, is_cut=True)
    fault.ended = 3.0
    scene.now = 3.0 + LEASE_SECONDS + 1.1
    scene.runs(scene.two)
    assert scene.overshoot == 1


def test_what_a_gateway_admits_while_it_is_cut_off_is_not_lost(scene: Scene) -> None:
    scene.fault_log.begin_fault("cut off", [scene.one], scene.now, is_cut=True)
    scene.now = 1.5
    for _ in range(3):
        scene.runs(scene.one)
    assert scene.overshoot == 1


def test_a_fault_without_a_cut_loses_nothing(scene: Scene) -> None:
    scene.runs(scene.one)
    scene.runs(scene.one)
    scene.fault_log.begin_fault("emptied", [scene.one, scene.two], scene.now)
    scene.now = 1.5
    scene.runs(scene.two)
    assert scene.overshoot == 1


def test_healed_is_when_calls_sent_since_have_filled_every_lane_at_every_gateway(scene: Scene) -> None:
    scene.runs(scene.one)
    early = scene.call(scene.one)
    scene.now = 1.0
    recovery = scene.fault_log.expect("emptied", [scene.one, scene.two], scene.now)
    scene.history.begin(early)  # it fills the pool, but was under way before
    assert recovery.missing.split(", ") == [
        "000000000000/checkout was never full",
        "000000000000/unreserved was never full",
        "gateway 1 admitted nothing",
        "gateway 2 admitted nothing",
    ]
    for run in list(scene.history.tracks[ACCOUNT.account, POOL].runs):
        scene.history.end(run)
    scene.now = 2.0
    scene.runs(scene.one)
    assert "unreserved" in recovery.missing, "one of two"
    scene.runs(scene.one)
    scene.now = 2.5
    scene.runs(scene.one, CHECKOUT)
    assert recovery.missing == "gateway 2 admitted nothing"
    assert recovery.seconds is None
    for run in list(scene.history.tracks[ACCOUNT.account, "checkout"].runs):
        scene.history.end(run)
    scene.now = 3.0
    scene.runs(scene.two, CHECKOUT)
    assert recovery.seconds == 2.0
    assert recovery.within_deadline


def test_calls_of_a_gateway_that_is_away_fill_nothing(scene: Scene) -> None:
    scene.runs(scene.one)
    kill(scene)
    recovery = scene.fault_log.expect("killed", [scene.two], scene.now, 2.0)
    scene.now = 1.0
    scene.runs(scene.two, CHECKOUT)
    scene.runs(scene.two)
    assert recovery.missing == "000000000000/unreserved was never full"
    scene.now = 2.1
    scene.runs(scene.two)
    assert recovery.seconds == 2.1
    assert not recovery.within_deadline


def test_what_happens_during_a_fault_is_its_own_and_nothing_of_it_after(scene: Scene) -> None:
    scene.runs(scene.one)
    scene.runs(scene.one)
    fault = scene.fault_log.begin_fault("killed", [scene.one], scene.now, is_cut=True)
    scene.one.killed_at = scene.now
    scene.now = 1.5
    free = scene.call(scene.two, CHECKOUT)
    check_answer(scene.history, free, FULL)
    check_answer(scene.history, scene.call(scene.one), AWAY)
    check_answer(scene.history, scene.call(scene.one), None)
    scene.runs(scene.two)
    assert (fault.overshoot, fault.overshoot_with_lost) == (0, 1)
    assert (fault.refused_while_free, fault.failed, fault.unanswered) == (1, 1, 1)
    fault.over = scene.now
    scene.now = 4.0
    scene.runs(scene.two)
    scene.runs(scene.two)
    assert scene.overshoot == 1
    assert (fault.overshoot, fault.overshoot_with_lost) == (0, 1)


def test_an_overshoot_is_of_the_fault_during_which_it_was_seen(scene: Scene) -> None:
    fault = scene.fault_log.begin_fault("emptied", [scene.one, scene.two], scene.now)
    for _ in range(4):
        scene.runs(scene.one)
    assert fault.overshoot == 2
    assert fault.refused_while_free == 0


def test_what_clients_get_is_recorded_by_what_it_was(scene: Scene) -> None:
    scene.history.timeline = timeline = Timeline(scene.history.running)
    scene.fault_log.begin_fault("emptied", [scene.one], scene.now)
    run = scene.history.begin(scene.call(scene.one))
    check_answer(scene.history, scene.call(scene.one), FULL)
    check_answer(scene.history, scene.call(scene.one), AWAY)
    broken = scene.call(scene.one)
    broken.ending = CallEnding.RESETS
    check_answer(scene.history, broken, AWAY)
    check_answer(scene.history, scene.call(scene.one), None)
    check_answer(scene.history, scene.call(scene.one), HttpAnswer(200, {}, b"{", is_whole=False))
    scene.now = 0.5
    scene.history.end(run)
    (second,) = timeline.table(0.0, 1.0, [], [])[3:]
    assert second.answers == {
        "ConcurrentInvocationLimitExceeded": 1,
        FAILED: 1,
        FAILED_BY_BACKEND: 1,
        UNANSWERED: 2,
    }
    assert (second.admitted, second.running) == (1, (0, 1))


def test_a_refusal_while_the_lane_is_full_strands_nothing(scene: Scene) -> None:
    fault = scene.fault_log.begin_fault("emptied", [scene.one], scene.now)
    scene.runs(scene.two)
    refused = scene.call(scene.one)
    scene.history.end(scene.history.begin(scene.call(scene.two)))
    check_answer(scene.history, refused, FULL)
    assert fault.refused_while_free == 0, "for a moment both slots were taken"
    check_answer(scene.history, scene.call(scene.one), FULL)
    assert fault.refused_while_free == 1


def test_the_moments_of_a_fault_are_its_begin_the_end_of_the_lease_its_end_and_its_recoveries(scene: Scene) -> None:
    fault = scene.fault_log.begin_fault("gateway 1 stopped", [scene.one], 1.0, is_cut=True)
    others = scene.fault_log.expect("gateway 1 stopped: the others", [scene.two], 1.0, fault=fault)
    back = scene.fault_log.expect("gateway 1 stopped", [scene.two], 7.0, fault=fault)
    fault.ended, others.recovered_at, back.recovered_at = 7.0, 3.5, 7.5
    assert scene.fault_log.marks(fault) == [
        (1.0, "stopped"),
        (3.0, "lease over"),
        (7.0, "it is over"),
        (3.5, "the others recovered"),
        (7.5, "recovered"),
    ]


class Lagging(SchedulerLag):
    """This process was late by so many seconds, all the time."""

    def __init__(self, seconds: float, calm: float = 0.0) -> None:
        super().__init__(0.1)
        self.seconds = seconds
        self.calm = calm

    def overloaded_since(self, since: float) -> float:
        return self.seconds

    def longest_calm(self, since: float, until: float) -> float:
        return self.calm


@pytest.mark.parametrize(("lag", "violation"), [(0.0, Violation.NO_FAULT), (0.3, Violation.NOT_JUDGED)])
def test_an_error_of_a_gateway_is_not_judged_where_the_store_may_have_been_too_slow(
    lag: float, violation: Violation
) -> None:
    scene = Scene()
    scene.history.lag = Lagging(lag)
    assert violations_of(scene, scene.call(scene.one), AWAY) == {violation}


class LaggedOnce(SchedulerLag):
    """This process was late by half a second, until `at`."""

    def __init__(self, at: float) -> None:
        super().__init__(0.1)
        self.at = at

    def overloaded_since(self, since: float) -> float:
        return 0.5 if self.at >= since else 0.0


@pytest.mark.parametrize(("at", "violation"), [(6.9, Violation.NO_FAULT), (7.0, Violation.NOT_JUDGED)])
def test_an_error_is_not_judged_while_a_gateway_may_recover_from_the_machines_lag(
    scene: Scene, at: float, violation: Violation
) -> None:
    """A gateway that loses its lease by a lag recovers within the lease and a second, as after any fault."""
    scene.history.lag = LaggedOnce(at)
    scene.now = 7.0 + LEASE_SECONDS + GRACE_SECONDS
    assert violations_of(scene, scene.call(scene.one), AWAY) == {violation}


def test_an_error_that_no_slow_store_explains_is_a_fault_on_any_machine(scene: Scene) -> None:
    scene.history.lag = Lagging(5.0)
    assert violations_of(scene, scene.call(scene.one), HttpAnswer(502, {}, b"")) == {Violation.NO_FAULT}


@pytest.mark.parametrize(("lag", "violation"), [(0.4, Violation.WAS_FREE), (0.6, Violation.NOT_JUDGED)])
def test_a_refusal_while_slots_are_free_is_not_judged_where_the_release_may_be_late(
    lag: float, violation: Violation
) -> None:
    scene = Scene()
    scene.history.lag = Lagging(lag)
    assert violations_of(scene, scene.call(scene.one), FULL) == {violation}


def test_an_overshoot_is_one_on_any_machine(scene: Scene) -> None:
    scene.history.lag = Lagging(60.0)
    for _ in range(3):
        scene.runs(scene.one)
    assert scene.overshoot == 1


@pytest.mark.parametrize(
    ("recovered_at", "calm", "violation"),
    [
        (7.1, 3.1, Violation.NOT_HEALED),
        (7.1, 3.0, Violation.NOT_JUDGED),
        (3.5, 2.9, Violation.NOT_JUDGED),
        (None, 1.0, Violation.NOT_HEALED),
    ],
)
def test_a_recovery_is_late_only_where_the_machine_kept_its_time_for_as_long_as_the_deadline(
    scene: Scene, recovered_at: float | None, calm: float, violation: Violation
) -> None:
    scene.history.lag = Lagging(0.6, calm)
    recovery = scene.fault_log.expect("killed", [scene.one], 0.0)
    recovery.recovered_at = recovered_at
    scene.history.add_late_recovery(recovery)
    assert dict(scene.history.violations.counts) == {violation: 1}
    assert recovery.lag == (0.6 if violation is Violation.NOT_JUDGED else 0.0)
    (example,) = scene.history.violations.examples[violation]
    assert ("the machine was overloaded (lag 0.6 s)" in example) is (violation is Violation.NOT_JUDGED)


def violations_of(scene: Scene, call: PlannedCall, answer: HttpAnswer | None) -> set[Violation]:
    check_answer(scene.history, call, answer)
    return {violation for violation, count in scene.history.violations.counts.items() if count}


def test_only_a_gateway_that_was_affected_may_answer_with_a_service_exception_and_only_until_it_has_recovered(
    scene: Scene,
) -> None:
    fault = scene.fault_log.begin_fault("cut off", [scene.one], scene.now)
    assert violations_of(scene, scene.call(scene.one), AWAY) == set()
    fault.over = scene.now = 1.0
    scene.now = 1.5
    assert violations_of(scene, scene.call(scene.one), AWAY) == {Violation.NO_FAULT}


def test_a_gateway_that_was_not_affected_must_answer(scene: Scene) -> None:
    scene.fault_log.begin_fault("cut off", [scene.one], scene.now)
    assert violations_of(scene, scene.call(scene.two), AWAY) == {Violation.NO_FAULT}


def test_also_a_affected_gateway_fails_in_lambdas_shape(scene: Scene) -> None:
    scene.fault_log.begin_fault("cut off", [scene.one], scene.now)
    assert violations_of(scene, scene.call(scene.one), HttpAnswer(503, {}, b"")) == {Violation.UNEXPECTED}


def test_only_a_killed_gateway_may_stay_silent(scene: Scene) -> None:
    killed, other = scene.call(scene.one), scene.call(scene.two)
    kill(scene)
    assert violations_of(scene, killed, None) == set()
    assert violations_of(scene, other, None) == {Violation.UNANSWERED}


def test_a_refusal_while_slots_are_free_is_wrong_only_in_calm_times(scene: Scene) -> None:
    fault = scene.fault_log.begin_fault("emptied", [scene.one, scene.two], scene.now)
    assert violations_of(scene, scene.call(scene.one), FULL) == set()
    fault.over = 0.5
    scene.now = 5.0
    assert violations_of(scene, scene.call(scene.one), FULL) == {Violation.WAS_FREE}


def test_the_account_may_be_full_before_a_reservation_only_while_calls_come_back_beyond_the_limit(scene: Scene) -> None:
    fault = scene.fault_log.begin_fault("cut off", [scene.one], scene.now)
    assert violations_of(scene, scene.call(scene.two, CHECKOUT), FULL) == set()
    fault.over = 0.5
    scene.now = 5.0
    assert Violation.REASON in violations_of(scene, scene.call(scene.two, CHECKOUT), FULL)


def test_a_slot_is_known_to_be_free_only_when_its_release_has_had_time(scene: Scene) -> None:
    for call in [scene.call(scene.one), scene.call(scene.one)]:
        scene.history.answered(call)
    assert not scene.history.was_free(scene.call(scene.two))
    scene.history.release_all()
    for call in [scene.call(scene.one), scene.call(scene.one)]:
        scene.history.answered(call)
    scene.now += RELEASE_SECONDS
    assert scene.history.was_free(scene.call(scene.two))


def test_a_call_that_was_under_way_when_all_was_quiet_gives_back_no_slot_twice(scene: Scene) -> None:
    stray = scene.call(scene.one)
    scene.history.left(stray)
    scene.history.release_all()
    scene.history.end(scene.history.begin(stray))
    scene.now += RELEASE_SECONDS
    for _ in range(POOL_LANE.ceiling):
        scene.call(scene.two)
    assert not scene.history.was_free(scene.call(scene.two))


def test_a_call_whose_client_left_holds_no_slot_when_its_function_has_ended_a_while_ago(scene: Scene) -> None:
    left = [scene.call(scene.one), scene.call(scene.one)]
    runs = [scene.history.begin(call) for call in left]
    for call in left:
        scene.history.left(call)
    scene.now = 5.0
    assert not scene.history.was_free(scene.call(scene.two))
    for run in runs:
        scene.history.end(run)
    scene.now += RELEASE_SECONDS
    free = scene.call(scene.two)
    assert scene.history.track(POOL_LANE).possible[-1] == 2, "itself, and the one that was asked about before"
    assert scene.history.was_free(free)
