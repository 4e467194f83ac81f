"""Defines the slots that a test holds."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from invoke_gateway.admin_client import AdminClient


class Hold:
    """Holds slots until `release()`, the end of a `with` block, the end of the test, or `seconds`."""

    def __init__(self, admin: AdminClient, taken: Mapping[str, Any]) -> None:
        self._admin = admin
        self.id = str(taken["id"])
        self.function: str | None = taken["function"]
        self.slots = int(taken["slots"])
        self.account = str(taken["account"])

    def __repr__(self) -> str:
        return f"<Hold {self.id}: {self.slots} of {self.function or 'the unreserved pool'} in {self.account}>"

    def release(self) -> None:
        """Releases the slots. May be called twice, and after the hold has ended by itself."""
        self._admin.release_hold(self.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()
