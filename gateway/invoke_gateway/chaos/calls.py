"""Describes one call, from its plan to its end."""

from __future__ import annotations

import asyncio
from enum import StrEnum

from .quotas import QuotaLane


class GatewayInstance:
    """One gateway process; its successor in the same place is another. `is_affected`: True once a fault has hit it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.killed_at: float | None = None
        self.is_affected = False

    def __repr__(self) -> str:
        return f"<GatewayInstance {self.name}{'' if self.killed_at is None else ' killed'}>"


class CallEnding(StrEnum):
    """Lists the ends that the backend gives to a call."""

    ANSWERS = "answers"
    TRICKLES = "trickles"
    RESETS = "resets"
    BREAKS_OFF = "breaks off"
    GARBAGE = "garbage"
    HANGS = "hangs"
    LATE_ANSWER = "late answer"
    LATE_GARBAGE = "late garbage"
    WAITS = "waits"

    @property
    def is_fault(self) -> bool:
        return self not in (CallEnding.ANSWERS, CallEnding.TRICKLES, CallEnding.WAITS)

    @property
    def takes_long(self) -> bool:
        """True where the gateway's own time-out ends the call."""
        return self in (CallEnding.HANGS, CallEnding.LATE_ANSWER, CallEnding.LATE_GARBAGE)


class PlannedCall:
    """One call as its client plans it. `seconds`: how long its function runs; `padding`: bytes of its request. Where
    there are several gateways, `home`: the number of the one it goes to while that is up; `through`: the one it went
    to."""

    def __init__(
        self,
        id: str,
        lane: QuotaLane,
        function: str,
        *,
        ending: CallEnding = CallEnding.ANSWERS,
        seconds: float = 0.0,
        is_large: bool = False,
        is_streamed: bool = False,
        padding: int = 0,
    ) -> None:
        self.id = id
        self.lane = lane
        self.function = function
        self.ending = ending
        self._seconds = seconds
        self.is_large = is_large
        self.is_streamed = is_streamed
        self.padding = padding
        self.home: int | None = None
        self.through: GatewayInstance | None = None
        self.opened_at = 0.0
        self.sent_at: float | None = None
        self.arrivals = 0
        self.arrived = asyncio.Event()
        self.is_refused = False
        self.opened_index = 0
        self.opened_indices: dict[str, int] = {}
        self.opened_at_change = 0
        self.sent_index: int | None = None
        self.has_left = False
        self.is_let_go = False

    @property
    def seconds(self) -> float:
        """Returns how long its function runs, at least as long as calls of its lane must."""
        return max(self._seconds, self.lane.least_seconds)

    @seconds.setter
    def seconds(self, seconds: float) -> None:
        self._seconds = seconds

    def __repr__(self) -> str:
        return f"<{self.id} {self.lane.account}/{self.function} {self.ending}{' streamed' if self.is_streamed else ''}>"


class CallRun:
    """A call that arrived at the backend."""

    __slots__ = ("call", "is_over")

    def __init__(self, call: PlannedCall) -> None:
        self.call = call
        self.is_over = False
