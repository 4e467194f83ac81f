"""How many calls the demo backend runs at once: the truth that a gateway's own word can be held against.

A call counts from when its request is whole until just before the last bytes of its response are written, so within
the time for which a gateway that counts right has its slot taken. Event and DryRun take no slot and are not counted.
Whether somebody still waits for a call does not matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

# A header must not grow with the names that clients think of.
_MOST_NAMES = 16


class Running(NamedTuple):
    """`header` says what ran when the call began; `end` makes it count no longer, and may be called twice."""

    header: tuple[bytes, bytes]
    end: Callable[[], None]


class Overlap:
    """The calls that run now, by function."""

    def __init__(self) -> None:
        self._all = 0
        self._by_name: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Overlap {self._all} {self._by_name}>"

    @contextmanager
    def running(self, name: str) -> Iterator[Running]:
        """Count a call of the function `name` for the length of the block, or until its `end()`."""
        self._all += 1
        self._by_name[name] = self._by_name.get(name, 0) + 1
        has_ended = False

        def end() -> None:
            nonlocal has_ended
            if not has_ended:
                has_ended = True
                self._end(name)

        try:
            yield Running((b"x-demo-running", self._describe(name)), end)
        finally:
            end()

    def _describe(self, name: str) -> bytes:
        """Such as `all=7, sleep-checkout=3, echo=4`; the call's own function comes first, then at most 15 others."""
        counts = {name: self._by_name[name], **self._by_name}
        shown = [f"{one}={count}" for one, count in counts.items()][:_MOST_NAMES]
        return ", ".join([f"all={self._all}", *shown]).encode()

    def _end(self, name: str) -> None:
        self._all -= 1
        left = self._by_name[name] - 1
        if left:
            self._by_name[name] = left
        else:
            del self._by_name[name]
