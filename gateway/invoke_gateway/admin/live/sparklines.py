"""Samples how many slots of each counter are in use, in coarse steps: the sparklines of the live page."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping
from itertools import islice

from ...counters.base import SlotCounts

SAMPLE_SECONDS = 1.0
SAMPLES_PER_STEP = 5
STEPS_PER_LONG_STEP = 12
STEPS = 60
STEP_SECONDS = SAMPLE_SECONDS * SAMPLES_PER_STEP
LONG_STEP_SECONDS = STEP_SECONDS * STEPS_PER_LONG_STEP

# Counters in one step; a busier gateway leaves out the others. 120 steps of so many take about 6 MB.
MOST_COUNTERS = 1000

Step = dict[str, int]


class Sparklines:
    """Keeps the highest level of each counter and step: of 5 minutes, and in longer steps of an hour. An idle counter
    takes no memory, an idle gateway no time."""

    def __init__(self, levels: SlotCounts) -> None:
        self._levels = levels
        self._steps: deque[Step] = deque([{}], maxlen=STEPS)
        self._long_steps: deque[Step] = deque([{}], maxlen=STEPS)
        self._samples = 0
        self._ended_steps = 0

    def sample(self) -> None:
        """Records the current levels; called every `SAMPLE_SECONDS`."""
        if self._samples == SAMPLES_PER_STEP:
            self._end_step()
        self._samples += 1
        _raise_to(self._steps[-1], self._levels.counts())

    def _end_step(self) -> None:
        if self._ended_steps == STEPS_PER_LONG_STEP:
            self._long_steps.append({})
            self._ended_steps = 0
        _raise_to(self._long_steps[-1], self._steps[-1])
        self._ended_steps += 1
        self._steps.append({})
        self._samples = 0

    def of(self, counter: str) -> list[int]:
        """Returns the highest level of each step, oldest first; a young gateway has fewer than `STEPS`, an idle counter
        none."""
        return _drop_idle([step.get(counter, 0) for step in self._steps])

    def of_hour(self, counter: str) -> list[int]:
        """Returns the highest level of each long step, likewise. The step that goes on is part of the last one."""
        levels = [step.get(counter, 0) for step in self._long_steps]
        now = self._steps[-1].get(counter, 0)
        if self._ended_steps == STEPS_PER_LONG_STEP:
            levels = [*levels, now][-STEPS:]
        else:
            levels[-1] = max(levels[-1], now)
        return _drop_idle(levels)

    def recent(self, steps: int) -> Counter[str]:
        """Returns the sum of each counter's levels in the last `steps`."""
        busy: Counter[str] = Counter()
        for step in islice(reversed(self._steps), steps):
            busy.update(step)
        return busy


def _raise_to(step: Step, levels: Mapping[str, int]) -> None:
    """Raises each level of a step to at least the given one."""
    if len(step) + len(levels) > MOST_COUNTERS:
        levels = _choose_busiest(levels, known=step)
    for counter, level in levels.items():
        if level > step.get(counter, 0):
            step[counter] = level


def _drop_idle(levels: list[int]) -> list[int]:
    return levels if any(levels) else []


def _choose_busiest(held: Mapping[str, int], known: Iterable[str]) -> dict[str, int]:
    """Chooses the counters that the step has already, then the busiest of the others."""
    kept = {counter: held[counter] for counter in known if counter in held}
    others = sorted((counter for counter in held if counter not in kept), key=lambda counter: -held[counter])
    room = max(0, MOST_COUNTERS - len(list(known)))
    return kept | {counter: held[counter] for counter in others[:room]}
