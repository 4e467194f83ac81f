"""Slots that a test holds."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from invoke_gateway.holding import release_hold


class Hold:
    """Slots that are held: until `release()`, the end of a `with` block, the end of the test, or `seconds`."""

    def __init__(self, admin: str, taken: Mapping[str, Any]) -> None:
        self._admin = admin
        self.id = str(taken["id"])
        self.function: str | None = taken["function"]
        self.slots = int(taken["slots"])
        self.account = str(taken["account"])

    def __repr__(self) -> str:
        return f"<Hold {self.id}: {self.slots} of {self.function or 'the unreserved pool'} in {self.account}>"

    def release(self) -> None:
        """Give the slots back. May be called twice, and after the hold has ended by itself."""
        release_hold(self._admin, self.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
