"""Measures the progress of one client, for the sweep of all connections (`timeouts`)."""

from __future__ import annotations

from collections.abc import Hashable

from ..refusals import Refusal
from .connection_setup import ConnectionSetup
from .rejection import RejectionProtocol
from .unacknowledged import count_unacknowledged

# A body must bring this much within each read time-out, so that dribbling does not count as progress.
PROGRESS_BYTES = 65_536


class ProgressProtocol(RejectionProtocol):
    """Finds a client that has stalled.

    stalled_at, stalled_step: since when it makes no step, and which one is next; kept for the sweep
    """

    __slots__ = (
        "stalled_at",
        "stalled_step",
    )

    def __init__(self, setup: ConnectionSetup) -> None:
        super().__init__(setup)
        self.stalled_at: float | None = None
        self.stalled_step: Hashable = None

    def has_idled(self, now: float) -> bool:
        """Returns whether the connection was kept alive without a request for the whole time."""
        return self._idle_since is not None and now - self._idle_since >= self._keep_alive_seconds

    def waits_for_client(self) -> Hashable:
        """Returns the step for which this connection waits for its client; the value changes with each step."""
        cycle = self._cycle
        if cycle is None or cycle.response_complete:
            return None if self._idle_since is not None else ("head", id(cycle))
        if self.flow.write_paused:
            return ("take", id(cycle), count_unacknowledged(self.transport))
        if cycle.more_body and not self.flow.read_paused:
            body_bytes = self._parser.body_bytes if self._parser is not None else 0
            return ("body", id(cycle), body_bytes // PROGRESS_BYTES)
        return None

    def cut(self, seconds: float) -> None:
        """Closes a connection whose client has stalled for `seconds`, with a refusal if the client can still
        read one."""
        parser = self._parser
        has_begun = parser is not None and parser.bytes_since_progress > 0
        if self.transport.is_closing() or self.flow.write_paused:
            self.transport.abort()
        elif not has_begun and (self._cycle is None or self._cycle.response_complete):
            self.close()  # no request has begun: an answer would be taken for that to the next one
        else:
            self.reject(Refusal.READ_TIMEOUT, seconds=seconds)
