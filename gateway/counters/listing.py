"""The oldest calls of this process, put into the store once in a while, so that any gateway can show who holds the
slots, also after this one has died.

The event loop looks at its slots, which are its own; the thread of the lease encodes and sends what it saw.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from time import monotonic
from typing import NamedTuple

import msgspec

from .holders import Row, account_counter, list_rows
from .memory import MemoryCounters
from .script import PUBLISH, base_key

# Rows of one account, and slots that are looked at in all: what a process of many accounts shows of each is less.
MOST_ROWS = 100
_MOST_SLOTS = 500

_SECONDS = 1.0  # between two looks


class _Seen(NamedTuple):
    at: float
    rows: dict[str, list[Row]]


class Listing:
    """`accounts` are those that this process counts, `kept_seconds` how long a list may be found in the store, and
    `clock` gives monotonic seconds to any thread."""

    def __init__(
        self,
        counters: MemoryCounters,
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
        self._seen = self._sent = _Seen(0.0, {})
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look now, and then every second, on the running event loop."""
        self.look()
        self._timer = asyncio.get_running_loop().call_later(_SECONDS, self.start)

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """See what is held. An account of which nothing is held any more gets an empty list, once."""
        held = [account for account in self._accounts() if self._counters.in_use(account_counter(account))]
        held = held[:_MOST_SLOTS]
        most = min(MOST_ROWS, _MOST_SLOTS // max(1, len(held)))
        rows: dict[str, list[Row]] = {account: [] for account, listed in self._seen.rows.items() if listed}
        rows |= {account: list_rows(self._counters, account, None, most) for account in held}
        self._seen = _Seen(self._clock(), rows)

    def commands(self) -> list[tuple[str | bytes | int, ...]]:
        """What there is to tell the store, if it was not told. Any one thread may call it."""
        seen = self._seen
        if seen is self._sent:
            return []
        self._sent = seen  # should it be lost, the next look makes up for it
        age_ms = max(0, int((self._clock() - seen.at) * 1000))
        return [
            ("EVALSHA", PUBLISH.sha, 1, base_key(account), self._encode(age_ms, rows))
            for account, rows in seen.rows.items()
        ]

    def _encode(self, age_ms: int, rows: list[Row]) -> bytes:
        return msgspec.msgpack.encode((self._gateway, age_ms, self._kept_ms, msgspec.json.encode(rows).decode()))

    def __repr__(self) -> str:
        return f"<Listing of {self._gateway}: {sum(map(len, self._seen.rows.values()))} rows>"
