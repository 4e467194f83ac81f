"""Defines the fault script that a test has put in force."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from invoke_gateway.admin_client import AdminClient


class Fault:
    """Keeps a fault script in force until `end()`, the end of a `with` block, or the end of the test."""

    def __init__(self, admin: AdminClient, script: Mapping[str, Any]) -> None:
        self._admin = admin
        self.id = str(script["id"])
        self.function: str | None = script["function"]
        self.account = str(script["account"])

    def __repr__(self) -> str:
        return f"<Fault {self.id}: {self.function or 'all functions'} in {self.account}>"

    @property
    def calls(self) -> int:
        """Returns the number of calls that have taken a step: every attempt of an SDK is one. 0 after the script has
        been ended."""
        return int(self._describe().get("calls", 0))

    @property
    def is_over(self) -> bool:
        """Returns whether all steps have been taken, or the script has been ended."""
        return bool(self._describe().get("is_over", True))

    def end(self) -> None:
        """Lets the function's calls pass again. May be called twice."""
        self._admin.end_script(self.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    def _describe(self) -> dict[str, Any]:
        return next((script for script in self._admin.list_scripts() if script["id"] == self.id), {})
