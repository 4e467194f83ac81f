"""How many bytes of payload the process holds, and what happens at the ceiling.

New requests are refused. Responses cannot be: their functions have run. They wait instead, all but one, which may
finish whatever it takes; when it has, the next may. So the sum stays below the ceiling plus one response, and
something always moves.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol


class Pausable(Protocol):
    """A source of response bytes that can be told to wait."""

    def pause_for_room(self) -> None: ...

    def resume_for_room(self) -> None: ...


class Buffers:
    """A running sum of bytes with a ceiling."""

    __slots__ = ("_favoured", "_waiting", "ceiling", "in_use")

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.in_use = 0
        self._favoured: Pausable | None = None
        self._waiting: deque[Pausable] = deque()

    def has_room(self, size: int) -> bool:
        return self.in_use + size <= self.ceiling

    def take(self, size: int) -> None:
        self.in_use += size

    def give(self, size: int) -> None:
        self.in_use -= size
        while self._waiting and self.in_use < self.ceiling:
            self._waiting.popleft().resume_for_room()

    def take_response(self, size: int, source: Pausable) -> None:
        """Count bytes that have arrived from a backend, and make `source` wait when the ceiling is reached."""
        self.in_use += size
        if self.in_use < self.ceiling or source is self._favoured:
            return
        if self._favoured is None:
            self._favoured = source
        elif source not in self._waiting:
            self._waiting.append(source)
            source.pause_for_room()

    def end_response(self, source: Pausable) -> None:
        """`source` brings nothing more: whoever waits behind it may go on."""
        if source is self._favoured:
            self._favoured = self._waiting.popleft() if self._waiting else None
            if self._favoured is not None:
                self._favoured.resume_for_room()
        elif self._waiting and source in self._waiting:
            self._waiting.remove(source)

    def __repr__(self) -> str:
        return f"<Buffers {self.in_use}/{self.ceiling} waiting={len(self._waiting)}>"
