"""Counts the calls that the demo backend runs at once: the truth to compare a gateway's own counts with.

A call counts from the end of its request until just before the last bytes of its response are written. In a correct
gateway the call has its slot for all of that time. Event and DryRun take no slot and are not counted. A call counts
also after its client has left.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

# A header must not grow with the names that clients choose.
_MOST_NAMES = 16


class Running(NamedTuple):
    """Records a call that runs. `header` lists the calls at its start; `end` stops counting it, and may be called
    twice."""

    header: tuple[bytes, bytes]
    end: Callable[[], None]


class Overlap:
    """Counts the calls that run now, by function."""

    def __init__(self) -> None:
        self._all = 0
        self._by_name: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Overlap {self._all} {self._by_name}>"

    @contextmanager
    def running(self, name: str) -> Iterator[Running]:
        """Counts a call of the function `name` for the length of the block, or until its `end()`."""
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
        """Returns a text such as `all=7, sleep-checkout=3, echo=4`: the call's own function first, then at most 15
        further ones."""
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
