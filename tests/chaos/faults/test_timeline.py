"""The table of seconds around a fault."""

from __future__ import annotations

from invoke_gateway.chaos.calls import GatewayInstance, PlannedCall
from invoke_gateway.chaos.faults.timeline import FAILED, Timeline
from invoke_gateway.chaos.quotas import AccountQuota

(POOL,) = AccountQuota("000000000000", 3).lanes
ONE, TWO = GatewayInstance("gateway 1"), GatewayInstance("gateway 2")


def call(through: GatewayInstance) -> PlannedCall:
    call = PlannedCall("a", POOL, "prove-one")
    call.through = through
    return call


def test_each_second_has_what_happened_in_it_and_begins_with_the_fault() -> None:
    timeline = Timeline([call(ONE), call(TWO)])
    timeline.record_begin(call(ONE), 95.0)  # before the first row, and after the last one below, only the level counts
    timeline.record_begin(call(TWO), 100.5)
    timeline.record_end(call(ONE), 100.6)
    timeline.record_end(call(ONE), 101.0)
    timeline.record_answer("Full", 99.99)
    timeline.record_answer("Full", 100.0)
    timeline.record_answer(FAILED, 101.9)
    timeline.record_answer(FAILED, 102.5)
    timeline.record_counted(100.1, 4, 3)
    timeline.record_counted(100.9, 5, None)
    table = timeline.table(100.0, 102.3, [ONE], [(100.7, "healed"), (100.0, "killed")])
    assert [row.at for row in table] == [-3, -2, -1, 0, 1]
    before, fault, after = table[2:]
    assert (before.admitted, before.running, before.affected, dict(before.refusals)) == (0, (3, 3), 2, {"Full": 1})
    assert (fault.admitted, fault.running, fault.affected, dict(fault.refusals)) == (1, (3, 4), 2, {"Full": 1})
    assert fault.marks == ["killed at 0.0 s", "healed at 0.7 s"]
    assert (fault.store, fault.gateways) == (5, None), "the last that was told"
    assert (after.admitted, after.running, after.affected, after.answers[FAILED]) == (0, (2, 3), 1, 1)
    assert table[0].running == (3, 3), "one arrived before it"


def test_the_seconds_of_a_fault_are_numbers_for_a_machine_too() -> None:
    timeline = Timeline([])
    timeline.record_answer("Full", 10.0)
    timeline.record_begin(call(ONE), 10.5)
    assert timeline.table(10.0, 11.0, [ONE], [(10.0, "killed")])[-1].as_json() == {
        "second": 0,
        "admitted": 1,
        "refused": {"Full": 1},
        "failed": 0,
        "failed_by_the_backend": 0,
        "unanswered": 0,
        "running": [0, 1],
        "running_of_struck_gateways": 1,
        "in_flight_by_the_store": None,
        "in_flight_by_the_gateways": None,
        "marks": ["killed at 0.0 s"],
    }
