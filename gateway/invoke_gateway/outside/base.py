"""Names what a source of outside concurrency does."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class CannotRead(Exception):
    """Reports why a source has no number, with the action."""


class OutsideReading(NamedTuple):
    """Holds one reading.

    slots: the slots that callers beside the gateway use
    at: the time for which the number holds (seconds since the epoch)
    """

    slots: int
    at: float


class OutsideSource(Protocol):
    """Reads the number of one account.

    needs_samples: it subtracts the gateway's own calls, so `sample` is called twice a second
    """

    needs_samples: bool

    async def read(self) -> OutsideReading | None:
        """Returns the newest number; None where there is none yet. Raises `CannotRead`."""

    def sample(self, own: int) -> None:
        """Records the slots that calls through the gateway use now."""
