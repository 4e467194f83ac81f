"""Bounds the bytes of payload that the process holds.

At the ceiling new requests are refused. Responses cannot be refused, because their functions have run; they wait. One
favoured response may finish, whatever its size. When it has finished, the next one may. If much of the held memory is
on its way to clients or to the backend, the next response waits for that first. Else finished responses would pile up
before slow clients.

So the sum stays below the ceiling and an eighth, plus one response, plus the bytes that each other response brought
before its pause. Something always moves: bytes leave, or the favoured response goes on.
"""

from __future__ import annotations

from typing import Protocol


class Pausable(Protocol):
    """Names a source of response bytes that can pause."""

    def pause_for_room(self) -> None: ...

    def resume_for_room(self) -> None: ...


class Buffers:
    """Keeps a running sum of bytes, with a ceiling."""

    __slots__ = ("_arriving", "_arriving_bytes", "_favoured", "_waiting", "ceiling", "in_use")

    def __init__(self, ceiling: int) -> None:
        self.ceiling = ceiling
        self.in_use = 0
        self._favoured: Pausable | None = None
        self._waiting: dict[Pausable, None] = {}  # in the order of their coming
        self._arriving: dict[Pausable, int] = {}
        self._arriving_bytes = 0  # the sum of `_arriving`: bytes that cannot leave before their response is whole

    def try_reserve(self, size: int) -> bool:
        """Reserves `size` bytes if there is room for them, and returns whether there was."""
        in_use = self.in_use + size
        if in_use > self.ceiling:
            return False
        self.in_use = in_use
        return True

    def reserve(self, size: int) -> None:
        self.in_use += size

    def release(self, size: int) -> None:
        self.in_use -= size
        if self._waiting:
            self._resume_waiting()

    def reserve_response(self, size: int, source: Pausable, *, stays: bool = True) -> None:
        """Counts bytes that have arrived from a backend, and pauses `source` at the ceiling.

        stays: the bytes stay until the response is whole; else they are on their way out already
        """
        self.in_use += size
        if stays:
            self._arriving[source] = self._arriving.get(source, 0) + size
            self._arriving_bytes += size
        if self.in_use >= self.ceiling and source is not self._favoured and source not in self._waiting:
            self._waiting[source] = None
            source.pause_for_room()
            self._resume_waiting()

    def end_response(self, source: Pausable) -> None:
        """Resumes the responses behind `source`, which brings no more bytes for now."""
        self._arriving_bytes -= self._arriving.pop(source, 0)
        self._waiting.pop(source, None)
        if source is self._favoured:
            self._favoured = None
        if self._waiting:
            self._resume_waiting()

    def _resume_waiting(self) -> None:
        while self._waiting and self.in_use < self.ceiling:
            self._resume_first()
        on_its_way_out = self.in_use - self._arriving_bytes
        if self._waiting and self._favoured is None and on_its_way_out <= self.ceiling // 8:
            self._favoured = self._resume_first()

    def _resume_first(self) -> Pausable:
        source = next(iter(self._waiting))
        del self._waiting[source]
        source.resume_for_room()
        return source

    def __repr__(self) -> str:
        return f"<Buffers {self.in_use}/{self.ceiling} waiting={len(self._waiting)}>"
