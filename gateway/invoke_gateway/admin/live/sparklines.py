"""Samples how many slots of each counter are in use, in coarse steps: the sparklines of the live page."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from itertools import islice

from ...counters.base import SlotCounts

SAMPLE_SECONDS = 1.0
SAMPLES_PER_STEP = 5
STEPS = 60
STEP_SECONDS = SAMPLE_SECONDS * SAMPLES_PER_STEP

# Counters in one step; a busier gateway leaves out the others. 60 steps of so many take about 3 MB.
MOST_COUNTERS = 1000


class Sparklines:
    """Keeps the highest level of each counter and step. An idle counter takes no memory, an idle gateway no time."""

    def __init__(self, levels: SlotCounts) -> None:
        self._levels = levels
        self._steps: deque[dict[str, int]] = deque([{}], maxlen=STEPS)
        self._samples = 0

    def sample(self) -> None:
        """Records the current levels; called every `SAMPLE_SECONDS`."""
        if self._samples == SAMPLES_PER_STEP:
            self._steps.append({})
            self._samples = 0
        self._samples += 1
        step = self._steps[-1]
        held = self._levels.counts()
        if len(step) + len(held) > MOST_COUNTERS:
            held = _choose_busiest(held, known=step)
        for counter, level in held.items():
            if level > step.get(counter, 0):
                step[counter] = level

    def of(self, counter: str) -> list[int]:
        """Returns the highest level of each step, oldest first; a young gateway has fewer than `STEPS`."""
        return [step.get(counter, 0) for step in self._steps]

    def recent(self, steps: int) -> Counter[str]:
        """Returns the sum of each counter's levels in the last `steps`."""
        busy: Counter[str] = Counter()
        for step in islice(reversed(self._steps), steps):
            busy.update(step)
        return busy


def _choose_busiest(held: Mapping[str, int], known: Iterable[str]) -> dict[str, int]:
    """Chooses the counters that the step has already, then the busiest of the others."""
    kept = {counter: held[counter] for counter in known if counter in held}
    others = sorted((counter for counter in held if counter not in kept), key=lambda counter: -held[counter])
    room = max(0, MOST_COUNTERS - len(list(known)))
    return kept | {counter: held[counter] for counter in others[:room]}


async def keep_sampling(sparklines: Sparklines) -> None:
    """Samples until cancelled."""
    while True:
        await asyncio.sleep(SAMPLE_SECONDS)
        sparklines.sample()
