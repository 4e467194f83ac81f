"""Which events are claimed. The event loop alone changes it.

Claims are in memory only: one process owns the file, so when it dies nobody claims anything.

A lane's position is how far its events have been handed out: in front of it, every event is claimed or gone. A fetch
begins there, so that it does not go through what is running. Whatever comes in front of it moves it back.

A fetch reads a state of the file that may be older than the claims when it ends. So what became free during a fetch
is noted: the fetch may have read it as it was before, and must not hand it out.
"""

from __future__ import annotations

from typing import NamedTuple

from .reader import START, EventPage, Position, StoredEvent


class _Claim(NamedTuple):
    """Where the table has the event."""

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
        self._reading: str | None = None  # the lane that is being read
        self._freed: set[int] = set()  # keys, since the read began
        self._added: list[Position] = []  # what came into that lane since the read began

    @property
    def keys(self) -> dict[int, _Claim]:
        """For membership tests and copies."""
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
        """The event is gone, or about to be free."""
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
        """A claimed event has been written elsewhere."""
        if self.remove(seq) is not None:
            self.add(seq, lane, due_at)

    def add_free(self, seq: int, lane: str, due_at: float) -> None:
        """A free event has come into the lane."""
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
        """A fetch of the lane begins, and has to begin behind this position. One fetch at a time."""
        self._reading = lane
        self._freed.clear()
        self._added.clear()
        state = self._lanes.get(lane)
        return START if state is None else state.position

    def end(self) -> None:
        self._reading = None

    def claim(self, lane: str, page: EventPage) -> tuple[list[StoredEvent], float | None]:
        """Claims what a fetch has read and may hand out, and when the lane's next event is due."""
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
        """The same of single events, whatever their lane."""
        taken = [one for one in found if one.seq not in self._claims and one.seq not in self._freed]
        for one in taken:
            self.add(one.seq, one.lane, one.due_at)
        return taken
