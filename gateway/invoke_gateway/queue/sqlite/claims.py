"""Holds the claimed events in memory. Only the event loop changes it.

Claims are in memory alone: one process owns the file, so its death releases them all.

The position of a lane is how far its events have been claimed: in front of it every event is claimed or gone. A claim
begins there, so that it does not read the running events. An event that comes in front of the position moves it back.

A claim reads a state of the file that may be older than the claims at its end. So events that became free meanwhile are
recorded: the claim may have read them in their earlier state, and must not return them.
"""

from __future__ import annotations

from typing import NamedTuple

from .reader import START, EventPage, Position, StoredEvent


class _Claim(NamedTuple):
    """Holds the position of an event in the table."""

    lane: str
    due_at: float


class _LanePosition:
    __slots__ = ("claims", "position")

    def __init__(self) -> None:
        self.claims = 0
        self.position = START


class FileClaims:
    def __init__(self) -> None:
        self._claims: dict[int, _Claim] = {}
        self._lanes: dict[str, _LanePosition] = {}
        self._reading: str | None = None  # the lane of the present read
        self._freed: set[int] = set()  # keys, since the read began
        self._added: list[Position] = []  # the events that came into that lane since the read began

    @property
    def keys(self) -> dict[int, _Claim]:
        """Returns the claims, for membership tests and copies."""
        return self._claims

    def __contains__(self, seq: int) -> bool:
        return seq in self._claims

    def add(self, seq: int, lane: str, due_at: float) -> None:
        self._claims[seq] = _Claim(lane, due_at)
        state = self._lanes.get(lane)
        if state is None:
            state = self._lanes[lane] = _LanePosition()
        state.claims += 1

    def remove(self, seq: int) -> _Claim | None:
        """Removes the claim of an event that is gone, or about to be free."""
        claim = self._claims.pop(seq, None)
        if claim is None:
            return None
        if self._reading is not None:
            self._freed.add(seq)
        state = self._lanes[claim.lane]
        state.claims -= 1
        if not state.claims:
            del self._lanes[claim.lane]
        return claim

    def move(self, seq: int, lane: str, due_at: float) -> None:
        """Moves the claim of an event that was written to another position."""
        if self.remove(seq) is not None:
            self.add(seq, lane, due_at)

    def add_free(self, seq: int, lane: str, due_at: float) -> None:
        """Adds a free event to the lane."""
        if lane == self._reading:
            self._added.append((due_at, seq))
        state = self._lanes.get(lane)
        if state is not None and (due_at, seq) <= state.position:
            state.position = (due_at, seq - 1)

    def release(self, seq: int) -> None:
        claim = self.remove(seq)
        if claim is not None:
            self.add_free(seq, *claim)

    def begin(self, lane: str) -> Position:
        """Begins a read of the lane, and returns the position behind which it must start. One read at a time."""
        self._reading = lane
        self._freed.clear()
        self._added.clear()
        state = self._lanes.get(lane)
        return START if state is None else state.position

    def end(self) -> None:
        self._reading = None

    def claim(self, lane: str, page: EventPage) -> tuple[list[StoredEvent], float | None]:
        """Claims the events of a page that are still free. Returns them, and when the lane's next event is due."""
        taken = []
        for found in page.found:
            if found.seq not in self._claims and found.seq not in self._freed:
                self.add(found.seq, lane, found.due_at)
                taken.append(found)
        came = min((position for position in self._added if position[1] not in self._claims), default=None)
        if taken:
            state = self._lanes[lane]
            state.position = max(state.position, (taken[-1].due_at, taken[-1].seq))
            if came is not None and came <= state.position:
                state.position = (came[0], came[1] - 1)
        due = [at for at in (page.next_due_at, came and came[0]) if at is not None]
        return taken, min(due, default=None)

    def claim_any(self, found: list[StoredEvent]) -> list[StoredEvent]:
        """Claims single events that are still free, whatever their lane. Returns them."""
        taken = [one for one in found if one.seq not in self._claims and one.seq not in self._freed]
        for one in taken:
            self.add(one.seq, one.lane, one.due_at)
        return taken
