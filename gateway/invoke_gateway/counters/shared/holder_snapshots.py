"""Copies the oldest calls of this process to the store once a second, so that any gateway can list who holds the slots,
also after this process has died.

The event loop takes the snapshot of its slots; the thread of the lease sends it. The thread does nothing that may
fail: leases must not depend on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic
from typing import NamedTuple

import msgspec

from ...policy.counter_names import account_counter
from ..base import Counters
from ..holders import list_rows
from .script import PUBLISH, base_key

# Rows of one account, and slots that are read in all: a process of many accounts shows fewer of each.
MOST_ROWS = 100
_MOST_SLOTS = 500

_SECONDS = 1.0  # between two snapshots
_NOTHING = "[]"


class _Snapshot(NamedTuple):
    """Holds the rows of each account as JSON."""

    at: float
    lists: dict[str, str]


class HolderSnapshots:
    """Takes and sends snapshots.

    accounts: returns those of which this process may hold slots.
    kept_seconds: time for which a snapshot stays in the store.
    clock: returns monotonic seconds, to any thread.
    """

    def __init__(
        self,
        counters: Counters,
        *,
        gateway: str,
        accounts: Callable[[], Iterable[str]],
        kept_seconds: float,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._counters = counters
        self._gateway = gateway
        self._accounts = accounts
        self._kept_ms = int(kept_seconds * 1000)
        self._clock = clock
        self._snapshot = _Snapshot(0.0, {})
        self._sent: dict[str, _Snapshot] = {}  # the snapshot of each account that was sent last
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Takes a snapshot now, and then every second, on the running event loop."""
        self._timer = asyncio.get_running_loop().call_later(_SECONDS, self.start)
        self.refresh()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def refresh(self) -> None:
        """Takes a snapshot. An account of which nothing is held any more gets an empty list, once."""
        held = [account for account in self._accounts() if self._counters.in_use(account_counter(account))]
        held = held[:_MOST_SLOTS]
        most = min(MOST_ROWS, _MOST_SLOTS // max(1, len(held)))
        lists = {account: _NOTHING for account, listed in self._snapshot.lists.items() if listed != _NOTHING}
        for account in held:
            rows = list_rows(self._counters, account, None, most)
            lists[account] = msgspec.json.encode(rows).decode()
        self._snapshot = _Snapshot(self._clock(), lists)

    def commands(self, accounts: Iterable[str]) -> list[tuple[str | bytes | int, ...]]:
        """Returns the commands that send what was not sent of these accounts. Called by the threads of leases, of which
        each has accounts of its own."""
        seen, sent = self._snapshot, self._sent
        age_ms = max(0, int((self._clock() - seen.at) * 1000))
        commands: list[tuple[str | bytes | int, ...]] = []
        for account in accounts:
            listed = seen.lists.get(account)
            if listed is None or sent.get(account) is seen:
                continue
            sent[account] = seen  # the next snapshot replaces one that is lost
            argument = msgspec.msgpack.encode((self._gateway, age_ms, self._kept_ms, listed))
            commands.append(("EVALSHA", PUBLISH.sha, 1, base_key(account), argument))
        return commands

    def __repr__(self) -> str:
        return f"<Listing of {self._gateway}: {list(self._snapshot.lists)}>"
