"""Tests the plan of faults of a seed of events."""

from __future__ import annotations

from random import Random

import pytest

from invoke_gateway.chaos.events.event import EventFaultKind
from invoke_gateway.chaos.events.nemesis import choose_moment, plan_event_faults
from invoke_gateway.chaos.events.script import write_intents


def test_a_seed_says_which_events_there_are_and_when_what_falls() -> None:
    def script(seed: int) -> object:
        rng = Random(seed)
        return list(write_intents(rng, 50)), plan_event_faults(rng, 5, 1, 3.0)

    assert script(1) == script(1)
    assert script(1) != script(2)


def test_several_gateways_are_killed_stopped_and_told_to_end() -> None:
    steps = plan_event_faults(Random(1), 5, 3, 3.0)
    assert {step.kind for step in steps} == set(EventFaultKind)
    seconds = {step.kind: step.seconds for step in steps}
    assert seconds[EventFaultKind.STOPPED] > 3.0
    assert 0 < seconds[EventFaultKind.STOPPED_SHORTLY] < 1.5


@pytest.mark.parametrize("part", [0.0, 0.5, 1.0])
def test_every_fault_falls_while_something_is_left_to_do(part: float) -> None:
    now = 0
    for left in range(6, 0, -1):
        moment = choose_moment(part, now, 20_000, left)
        assert now <= moment < 20_000
        now = moment
