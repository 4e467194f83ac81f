"""What a blow explains, for how long, and when it counts as healed."""

from __future__ import annotations

import json
import math

import pytest

from invoke_gateway.chaos.calls import Call, Ending, Gateway
from invoke_gateway.chaos.checker import judge
from invoke_gateway.chaos.fault_log import LEASE, TIMEOUT, Damage
from invoke_gateway.chaos.history import RELEASE_SECONDS, Ledger
from invoke_gateway.chaos.quotas import POOL, WHOLE, Account, Lane
from invoke_gateway.chaos.scheduler_lag import Lag
from invoke_gateway.chaos.timeline import FAILED, FAILED_BY_BACKEND, UNANSWERED, Recording
from invoke_gateway.chaos.violations import Fault
from invoke_gateway.chaos.wire import Answer

LEASE_SECONDS, FUNCTION_SECONDS, TIMEOUT_SECONDS = 2.0, 9.0, 10.0
ACCOUNT = Account("000000000000", 3, {"checkout": 1})
POOL_LANE, CHECKOUT = ACCOUNT.lanes
AWAY = Answer(500, {"x-amzn-errortype": "ServiceException"}, b"{}")
FULL = Answer(
    429,
    {"x-amzn-errortype": "TooManyRequestsException"},
    json.dumps({"Reason": "ConcurrentInvocationLimitExceeded"}).encode(),
)


class Scene:
    """Two gateways, a ledger, and a clock that stands at 0."""

    def __init__(self, heal_after: str = LEASE) -> None:
        self.now = 0.0
        self.damage = Damage([ACCOUNT], LEASE_SECONDS, TIMEOUT_SECONDS, heal_after)
        self.ledger = Ledger([ACCOUNT], FUNCTION_SECONDS, TIMEOUT_SECONDS, lambda: self.now, self.damage)
        self.one, self.two = Gateway("gateway 1"), Gateway("gateway 2")
        self.count = 0

    def call(self, through: Gateway, lane: Lane = POOL_LANE) -> Call:
        self.count += 1
        call = Call(f"call {self.count}", lane, lane.functions[0], ending=Ending.ANSWERS)
        call.through = through
        self.ledger.open(call)
        self.ledger.send(call)
        return call

    def runs(self, through: Gateway, lane: Lane = POOL_LANE) -> Call:
        call = self.call(through, lane)
        self.ledger.begin(call)
        return call

    @property
    def overshoot(self) -> int:
        return self.ledger.faults.counts[Fault.OVERSHOOT]

    @property
    def peaks(self) -> tuple[int, int]:
        level = self.ledger.levels[ACCOUNT.account, POOL]
        return level.highest, level.highest_with_lost


@pytest.fixture
def scene() -> Scene:
    return Scene()


def kill(scene: Scene) -> None:
    scene.damage.strike("killed", [scene.one], scene.now, is_cut=True)
    scene.one.killed_at = scene.now


def test_calls_of_a_killed_worker_need_not_count_from_then_on_but_those_sent_since_must(scene: Scene) -> None:
    scene.runs(scene.one)
    scene.now = 1.0
    waiting = scene.call(scene.one)
    scene.damage.strike("worker killed", [scene.one], scene.now, is_cut=True, is_partial=True)
    assert scene.damage.explains_silence(waiting)
    scene.runs(scene.two)
    scene.runs(scene.two)
    assert (scene.overshoot, scene.peaks) == (0, (2, 3))
    scene.now = 2.0
    assert not scene.damage.explains_silence(scene.runs(scene.one))
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
    scene.ledger.begin(late)
    assert scene.overshoot == 0
    assert scene.ledger.levels[ACCOUNT.account, WHOLE].highest_with_lost == 3


def test_with_the_promise_to_wait_for_the_time_out_no_call_is_ever_lost() -> None:
    scene = Scene(TIMEOUT)
    scene.runs(scene.one)
    scene.runs(scene.one)
    kill(scene)
    scene.now = 5.0
    scene.runs(scene.two)
    assert scene.overshoot == 1
    assert scene.damage.promise_for_lost == LEASE_SECONDS + TIMEOUT_SECONDS + 1


def test_slots_of_a_killed_gateway_are_kept_until_the_time_out_also_when_its_calls_have_ended() -> None:
    scene = Scene(TIMEOUT)
    run = scene.ledger.begin(scene.call(scene.one))
    blow = scene.damage.strike("killed", [scene.one], scene.now, is_cut=True)
    scene.damage.keep(blow, scene.ledger.running)
    scene.ledger.end(run)
    scene.now = LEASE_SECONDS / 2 + TIMEOUT_SECONDS - 0.1
    scene.runs(scene.two, CHECKOUT)
    kept = scene.ledger.begin(scene.call(scene.two))
    assert scene.ledger.faults.counts == {}, "one of two, and one is kept"
    scene.runs(scene.two)
    assert dict(scene.ledger.faults.counts) == {Fault.GIVEN_AWAY: 1}
    scene.ledger.end(kept)
    scene.now += 0.2
    scene.runs(scene.two)
    assert dict(scene.ledger.faults.counts) == {Fault.GIVEN_AWAY: 1}, "the time is over"


def test_a_call_of_the_dead_that_still_runs_is_not_another_beside_its_slot() -> None:
    scene = Scene(TIMEOUT)
    scene.runs(scene.one)
    blow = scene.damage.strike("killed", [scene.one], scene.now, is_cut=True)
    scene.damage.keep(blow, scene.ledger.running)
    scene.now = 1.0
    scene.runs(scene.two)
    assert scene.ledger.faults.counts == {}


def test_an_error_counts_for_the_blow_that_struck_its_gateway_when_two_fall_at_once(scene: Scene) -> None:
    one = scene.damage.strike("cut off", [scene.one], scene.now)
    two = scene.damage.strike("killed", [scene.two], scene.now)
    judge(scene.ledger, scene.call(scene.one), AWAY)
    assert (one.failed, two.failed) == (1, 0)


def test_with_the_promise_of_the_lease_nothing_is_kept_beyond_it(scene: Scene) -> None:
    run = scene.ledger.begin(scene.call(scene.one))
    blow = scene.damage.strike("killed", [scene.one], scene.now, is_cut=True)
    scene.damage.keep(blow, scene.ledger.running)
    scene.ledger.end(run)
    scene.now = LEASE_SECONDS
    scene.runs(scene.two)
    scene.runs(scene.two)
    assert scene.ledger.faults.counts == {}


@pytest.mark.parametrize(("lasted", "lost"), [(0.9, False), (3.0, True)])
def test_a_stop_shorter_than_half_a_lease_loses_nothing_and_a_long_one_does(lasted: float, lost: bool) -> None:
    scene = Scene()
    scene.runs(scene.one)
    scene.runs(scene.one)
    blow = scene.damage.strike("stopped", [scene.one], scene.now, is_cut=True)
    blow.ended = scene.now = lasted
    scene.runs(scene.two)
    assert (scene.overshoot == 0) is lost


def test_after_its_return_and_a_lease_the_calls_of_a_gateway_count_again(scene: Scene) -> None:
    scene.runs(scene.one)
    scene.runs(scene.one)
    blow = scene.damage.strike("stopped", [scene.one], scene.now, is_cut=True)
    blow.ended = 3.0
    scene.now = 3.0 + LEASE_SECONDS + 1.1
    scene.runs(scene.two)
    assert scene.overshoot == 1


def test_what_a_gateway_admits_while_it_is_cut_off_is_not_lost(scene: Scene) -> None:
    scene.damage.strike("cut off", [scene.one], scene.now, is_cut=True)
    scene.now = 1.5
    for _ in range(3):
        scene.runs(scene.one)
    assert scene.overshoot == 1


def test_a_blow_without_a_cut_loses_nothing(scene: Scene) -> None:
    scene.runs(scene.one)
    scene.runs(scene.one)
    scene.damage.strike("emptied", [scene.one, scene.two], scene.now)
    scene.now = 1.5
    scene.runs(scene.two)
    assert scene.overshoot == 1


def test_healed_is_when_calls_sent_since_have_filled_every_lane_at_every_gateway(scene: Scene) -> None:
    scene.runs(scene.one)
    early = scene.call(scene.one)
    scene.now = 1.0
    healing = scene.damage.expect("emptied", [scene.one, scene.two], scene.now)
    scene.ledger.begin(early)  # it fills the pool, but was under way before
    assert healing.missing.split(", ") == [
        "000000000000/checkout was never full",
        "000000000000/unreserved was never full",
        "gateway 1 admitted nothing",
        "gateway 2 admitted nothing",
    ]
    for run in list(scene.ledger.levels[ACCOUNT.account, POOL].runs):
        scene.ledger.end(run)
    scene.now = 2.0
    scene.runs(scene.one)
    assert "unreserved" in healing.missing, "one of two"
    scene.runs(scene.one)
    scene.now = 2.5
    scene.runs(scene.one, CHECKOUT)
    assert healing.missing == "gateway 2 admitted nothing"
    assert healing.seconds is None
    for run in list(scene.ledger.levels[ACCOUNT.account, "checkout"].runs):
        scene.ledger.end(run)
    scene.now = 3.0
    scene.runs(scene.two, CHECKOUT)
    assert healing.seconds == 2.0
    assert healing.is_kept


def test_calls_of_a_gateway_that_is_away_fill_nothing(scene: Scene) -> None:
    scene.runs(scene.one)
    kill(scene)
    healing = scene.damage.expect("killed", [scene.two], scene.now, 2.0)
    scene.now = 1.0
    scene.runs(scene.two, CHECKOUT)
    scene.runs(scene.two)
    assert healing.missing == "000000000000/unreserved was never full"
    scene.now = 2.1
    scene.runs(scene.two)
    assert healing.seconds == 2.1
    assert not healing.is_kept


def test_what_happens_during_a_blow_is_its_own_and_nothing_of_it_after(scene: Scene) -> None:
    scene.runs(scene.one)
    scene.runs(scene.one)
    blow = scene.damage.strike("killed", [scene.one], scene.now, is_cut=True)
    scene.one.killed_at = scene.now
    scene.now = 1.5
    free = scene.call(scene.two, CHECKOUT)
    judge(scene.ledger, free, FULL)
    judge(scene.ledger, scene.call(scene.one), AWAY)
    judge(scene.ledger, scene.call(scene.one), None)
    scene.runs(scene.two)
    assert (blow.overshoot, blow.overshoot_with_lost) == (0, 1)
    assert (blow.refused_while_free, blow.failed, blow.unanswered) == (1, 1, 1)
    blow.over = scene.now
    scene.now = 4.0
    scene.runs(scene.two)
    scene.runs(scene.two)
    assert scene.overshoot == 1
    assert (blow.overshoot, blow.overshoot_with_lost) == (0, 1)


def test_an_overshoot_is_of_the_blow_during_which_it_was_seen(scene: Scene) -> None:
    blow = scene.damage.strike("emptied", [scene.one, scene.two], scene.now)
    for _ in range(4):
        scene.runs(scene.one)
    assert blow.overshoot == 2
    assert blow.refused_while_free == 0


def test_what_clients_get_is_recorded_by_what_it_was(scene: Scene) -> None:
    scene.ledger.recording = recording = Recording(scene.ledger.running)
    scene.damage.strike("emptied", [scene.one], scene.now)
    run = scene.ledger.begin(scene.call(scene.one))
    judge(scene.ledger, scene.call(scene.one), FULL)
    judge(scene.ledger, scene.call(scene.one), AWAY)
    broken = scene.call(scene.one)
    broken.ending = Ending.RESETS
    judge(scene.ledger, broken, AWAY)
    judge(scene.ledger, scene.call(scene.one), None)
    judge(scene.ledger, scene.call(scene.one), Answer(200, {}, b"{", is_whole=False))
    scene.now = 0.5
    scene.ledger.end(run)
    (second,) = recording.table(0.0, 1.0, [], [])[3:]
    assert second.answers == {
        "ConcurrentInvocationLimitExceeded": 1,
        FAILED: 1,
        FAILED_BY_BACKEND: 1,
        UNANSWERED: 2,
    }
    assert (second.admitted, second.running) == (1, (0, 1))


def test_a_refusal_while_the_lane_is_full_strands_nothing(scene: Scene) -> None:
    blow = scene.damage.strike("emptied", [scene.one], scene.now)
    scene.runs(scene.two)
    refused = scene.call(scene.one)
    scene.ledger.end(scene.ledger.begin(scene.call(scene.two)))
    judge(scene.ledger, refused, FULL)
    assert blow.refused_while_free == 0, "for a moment both slots were taken"
    judge(scene.ledger, scene.call(scene.one), FULL)
    assert blow.refused_while_free == 1


def test_the_moments_of_a_blow_are_its_begin_the_end_of_the_lease_its_end_and_its_healings(scene: Scene) -> None:
    blow = scene.damage.strike("gateway 1 stopped", [scene.one], 1.0, is_cut=True)
    others = scene.damage.expect("gateway 1 stopped: the others", [scene.two], 1.0, blow=blow)
    back = scene.damage.expect("gateway 1 stopped", [scene.two], 7.0, blow=blow)
    blow.ended, others.healed_at, back.healed_at = 7.0, 3.5, 7.5
    assert scene.damage.marks(blow) == [
        (1.0, "stopped"),
        (3.0, "lease over"),
        (7.0, "it is over"),
        (3.5, "the others healed"),
        (7.5, "healed"),
    ]


class Lagging(Lag):
    """This process was late by so many seconds, all the time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(0.1)
        self.seconds = seconds

    def starved_since(self, since: float) -> float:
        return self.seconds


@pytest.mark.parametrize(("lag", "fault"), [(0.0, Fault.NO_FAULT), (0.3, Fault.NOT_JUDGED)])
def test_an_error_of_a_gateway_is_not_judged_where_the_store_may_have_been_too_slow(lag: float, fault: Fault) -> None:
    scene = Scene()
    scene.ledger.lag = Lagging(lag)
    assert faults_of(scene, scene.call(scene.one), AWAY) == {fault}


def test_an_error_that_no_slow_store_explains_is_a_fault_on_any_machine(scene: Scene) -> None:
    scene.ledger.lag = Lagging(5.0)
    assert faults_of(scene, scene.call(scene.one), Answer(502, {}, b"")) == {Fault.NO_FAULT}


@pytest.mark.parametrize(("lag", "fault"), [(0.4, Fault.WAS_FREE), (0.6, Fault.NOT_JUDGED)])
def test_a_refusal_while_slots_are_free_is_not_judged_where_the_release_may_be_late(lag: float, fault: Fault) -> None:
    scene = Scene()
    scene.ledger.lag = Lagging(lag)
    assert faults_of(scene, scene.call(scene.one), FULL) == {fault}


def test_an_overshoot_is_one_on_any_machine(scene: Scene) -> None:
    scene.ledger.lag = Lagging(60.0)
    for _ in range(3):
        scene.runs(scene.one)
    assert scene.overshoot == 1


@pytest.mark.parametrize(
    ("beyond", "lag", "fault"),
    [
        (0.5, 0.0, Fault.NOT_HEALED),
        (0.5, 0.4, Fault.NOT_HEALED),
        (0.5, 0.6, Fault.NOT_JUDGED),
        (math.inf, 60.0, Fault.NOT_HEALED),
    ],
)
def test_a_healing_is_not_judged_only_when_it_was_late_by_less_than_the_machine(
    beyond: float, lag: float, fault: Fault
) -> None:
    scene = Scene()
    scene.ledger.lag = Lagging(lag)
    told = scene.ledger.add_unless_starved(Fault.NOT_HEALED, "killed: healed late", 0.0, beyond)
    assert dict(scene.ledger.faults.counts) == {fault: 1}
    assert told == (lag if fault is Fault.NOT_JUDGED else 0.0)
    (example,) = scene.ledger.faults.examples[fault]
    assert ("the machine was starved (lag 0.6 s)" in example) is (fault is Fault.NOT_JUDGED)


def faults_of(scene: Scene, call: Call, answer: Answer | None) -> set[Fault]:
    judge(scene.ledger, call, answer)
    return {fault for fault, count in scene.ledger.faults.counts.items() if count}


def test_only_a_gateway_that_was_struck_may_answer_with_a_service_exception_and_only_until_it_is_healed(
    scene: Scene,
) -> None:
    blow = scene.damage.strike("cut off", [scene.one], scene.now)
    assert faults_of(scene, scene.call(scene.one), AWAY) == set()
    blow.over = scene.now = 1.0
    scene.now = 1.5
    assert faults_of(scene, scene.call(scene.one), AWAY) == {Fault.NO_FAULT}


def test_a_gateway_that_was_not_struck_must_answer(scene: Scene) -> None:
    scene.damage.strike("cut off", [scene.one], scene.now)
    assert faults_of(scene, scene.call(scene.two), AWAY) == {Fault.NO_FAULT}


def test_also_a_struck_gateway_fails_in_lambdas_shape(scene: Scene) -> None:
    scene.damage.strike("cut off", [scene.one], scene.now)
    assert faults_of(scene, scene.call(scene.one), Answer(503, {}, b"")) == {Fault.UNEXPECTED}


def test_only_a_killed_gateway_may_stay_silent(scene: Scene) -> None:
    killed, other = scene.call(scene.one), scene.call(scene.two)
    kill(scene)
    assert faults_of(scene, killed, None) == set()
    assert faults_of(scene, other, None) == {Fault.UNANSWERED}


def test_a_refusal_while_slots_are_free_is_wrong_only_in_calm_times(scene: Scene) -> None:
    blow = scene.damage.strike("emptied", [scene.one, scene.two], scene.now)
    assert faults_of(scene, scene.call(scene.one), FULL) == set()
    blow.over = 0.5
    scene.now = 5.0
    assert faults_of(scene, scene.call(scene.one), FULL) == {Fault.WAS_FREE}


def test_the_account_may_be_full_before_a_reservation_only_while_calls_come_back_beyond_the_limit(scene: Scene) -> None:
    blow = scene.damage.strike("cut off", [scene.one], scene.now)
    assert faults_of(scene, scene.call(scene.two, CHECKOUT), FULL) == set()
    blow.over = 0.5
    scene.now = 5.0
    assert Fault.REASON in faults_of(scene, scene.call(scene.two, CHECKOUT), FULL)


def test_a_slot_is_known_to_be_free_only_when_its_release_has_had_time(scene: Scene) -> None:
    for call in [scene.call(scene.one), scene.call(scene.one)]:
        scene.ledger.answered(call)
    assert not scene.ledger.was_free(scene.call(scene.two))
    scene.ledger.quiet()
    for call in [scene.call(scene.one), scene.call(scene.one)]:
        scene.ledger.answered(call)
    scene.now += RELEASE_SECONDS
    assert scene.ledger.was_free(scene.call(scene.two))


def test_a_call_whose_client_left_holds_no_slot_when_its_function_has_ended_a_while_ago(scene: Scene) -> None:
    left = [scene.call(scene.one), scene.call(scene.one)]
    runs = [scene.ledger.begin(call) for call in left]
    for call in left:
        scene.ledger.left(call)
    scene.now = 5.0
    assert not scene.ledger.was_free(scene.call(scene.two))
    for run in runs:
        scene.ledger.end(run)
    scene.now += RELEASE_SECONDS
    free = scene.call(scene.two)
    assert scene.ledger.level(POOL_LANE).possible[-1] == 2, "itself, and the one that was asked about before"
    assert scene.ledger.was_free(free)
