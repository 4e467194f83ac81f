"""Finds the knee of a ramp: the last step at which nothing was refused."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

from loadtests.load.outcome import Sample


class Step(NamedTuple):
    """Holds the time with so many users, and its end, in seconds. The rates are calls a second."""

    users: int
    seconds: float
    end: float
    admitted: float
    refused: float

    @classmethod
    def find_all(cls, samples: Sequence[Sample]) -> list[Step]:
        """Returns the steps of a run, from its samples. Steps with fewer than two samples are left out."""
        found = []
        for users, group in groupby(samples, key=lambda sample: sample.users):
            looks = list(group)
            first, last = looks[0], looks[-1]
            seconds = last.seconds - first.seconds
            if users and seconds > 0:
                refused = sum(last.refused.values()) - sum(first.refused.values())
                found.append(
                    cls(users, seconds, last.seconds, (last.admitted - first.admitted) / seconds, refused / seconds)
                )
        return found


def find_knee(steps: Sequence[Step]) -> Step | None:
    """Returns the last step before the first refusal; None if the first step already had one."""
    knee = None
    for step in steps:
        if step.refused:
            return knee
        knee = step
    return knee


def describe_knee(steps: Sequence[Step]) -> str:
    knee = find_knee(steps)
    if not steps or knee is None:
        return "no knee: calls were refused from the first step on, start with fewer users"
    text = f"knee at {knee.users} users: {knee.admitted:.0f} calls/s admitted"
    if knee is steps[-1]:
        return f"{text}; nothing was ever refused, so add steps or users"
    last = steps[-1]
    return f"{text}; at {last.users} users {last.admitted:.0f} admitted and {last.refused:.0f} refused"
