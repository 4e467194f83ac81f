"""Holds the backend's own concurrency settings, which stand below those of the operations."""

from __future__ import annotations

from ..policy.control.state import NOTHING, ControlState, overlay


class Followed:
    """Holds the backend's values.

    state: as they were read last, without what does not fit into the account
    """

    def __init__(self) -> None:
        self.state = ControlState()
        self._joined: tuple[ControlState, ControlState, ControlState] | None = None

    def under(self, own: ControlState) -> ControlState:
        """Returns what the operations have set, over the backend's values."""
        if not self.state.accounts:
            return own
        if self._joined is None or self._joined[0] is not own or self._joined[1] is not self.state:
            self._joined = own, self.state, overlay(own, self.state)
        return self._joined[2]

    def forget(self, account: str, name: str) -> bool:
        """Drops the values of a function that was deleted. Returns whether it had any."""
        if self.state.function(account, name) == NOTHING:
            return False
        self.state = self.state.with_function(account, name, NOTHING)
        return True
