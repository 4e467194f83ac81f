"""How many slots of each counter were in use during the last minutes, in coarse steps: the page's sparklines."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Protocol

LOOK_SECONDS = 1.0
LOOKS_PER_STEP = 5
STEPS = 60
STEP_SECONDS = LOOK_SECONDS * LOOKS_PER_STEP

# Counters in one step; what is beyond them in a busier gateway is left out. 60 steps of so many take about 3 MB.
MOST_COUNTERS = 1000


class Levels(Protocol):
    def held(self) -> Mapping[str, int]: ...


class History:
    """Of each step the highest level that was seen. A counter that nothing held takes no room, and a gateway that does
    nothing no time."""

    def __init__(self, levels: Levels) -> None:
        self._levels = levels
        self._steps: deque[dict[str, int]] = deque([{}], maxlen=STEPS)
        self._looks = 0

    def look(self) -> None:
        """To be called every `LOOK_SECONDS`."""
        if self._looks == LOOKS_PER_STEP:
            self._steps.append({})
            self._looks = 0
        self._looks += 1
        step = self._steps[-1]
        held = self._levels.held()
        if len(step) + len(held) > MOST_COUNTERS:
            held = _busiest(held, known=step)
        for counter, level in held.items():
            if level > step.get(counter, 0):
                step[counter] = level

    def of(self, counter: str) -> list[int]:
        """The highest level of each step, the oldest first. Shorter than `STEPS` while the gateway is young."""
        return [step.get(counter, 0) for step in self._steps]

    def recent(self, steps: int) -> Counter[str]:
        """How busy each counter was in the last `steps`: the sum of their levels."""
        busy: Counter[str] = Counter()
        for step in islice(reversed(self._steps), steps):
            busy.update(step)
        return busy

    def counters(self) -> int:
        """How many levels are remembered, for tests and debugging."""
        return sum(map(len, self._steps))


def _busiest(held: Mapping[str, int], known: Iterable[str]) -> dict[str, int]:
    """Those that have a place already, and of the others the busiest that there is room for."""
    kept = {counter: held[counter] for counter in known if counter in held}
    others = sorted((counter for counter in held if counter not in kept), key=lambda counter: -held[counter])
    room = max(0, MOST_COUNTERS - len(list(known)))
    return kept | {counter: held[counter] for counter in others[:room]}


async def keep_looking(history: History) -> None:
    """Fill `history` for as long as the server runs."""
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        history.look()
