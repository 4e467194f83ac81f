"""The oldest calls of this process, put into the store once in a while, so that any gateway can show who holds the
slots, also after this one has died.

The event loop looks at its slots, which are its own, and writes down what it saw; the thread of the lease sends that.
Nothing that may fail is left to the thread, for leases must not depend on it.
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

# Rows of one account, and slots that are looked at in all: what a process of many accounts shows of each is less.
MOST_ROWS = 100
_MOST_SLOTS = 500

_SECONDS = 1.0  # between two looks
_NOTHING = "[]"


class _Seen(NamedTuple):
    """What was seen, as JSON of each account."""

    at: float
    lists: dict[str, str]


class Listing:
    """`accounts` are those of which this process may hold slots, `kept_seconds` how long a list may be found in the
    store, and `clock` gives monotonic seconds to any thread."""

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
        self._seen = _Seen(0.0, {})
        self._sent: dict[str, _Seen] = {}  # what was told of an account last
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Look now, and then every second, on the running event loop."""
        self._timer = asyncio.get_running_loop().call_later(_SECONDS, self.start)
        self.look()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def look(self) -> None:
        """See what is held. An account of which nothing is held any more gets an empty list, once."""
        held = [account for account in self._accounts() if self._counters.in_use(account_counter(account))]
        held = held[:_MOST_SLOTS]
        most = min(MOST_ROWS, _MOST_SLOTS // max(1, len(held)))
        lists = {account: _NOTHING for account, listed in self._seen.lists.items() if listed != _NOTHING}
        for account in held:
            rows = list_rows(self._counters, account, None, most)
            lists[account] = msgspec.json.encode(rows).decode()
        self._seen = _Seen(self._clock(), lists)

    def commands(self, accounts: Iterable[str]) -> list[tuple[str | bytes | int, ...]]:
        """What there is to tell of these accounts, if it was not told. Called by the threads of leases, of which each
        has accounts of its own."""
        seen, sent = self._seen, self._sent
        age_ms = max(0, int((self._clock() - seen.at) * 1000))
        commands: list[tuple[str | bytes | int, ...]] = []
        for account in accounts:
            listed = seen.lists.get(account)
            if listed is None or sent.get(account) is seen:
                continue
            sent[account] = seen  # should it be lost, the next look makes up for it
            argument = msgspec.msgpack.encode((self._gateway, age_ms, self._kept_ms, listed))
            commands.append(("EVALSHA", PUBLISH.sha, 1, base_key(account), argument))
        return commands

    def __repr__(self) -> str:
        return f"<Listing of {self._gateway}: {list(self._seen.lists)}>"
