"""Where an account is counted, and what the places of a gateway have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from ...background import BackgroundTasks
from ...store.connection import Command, StoreConnection
from .availability import CountersAvailability
from .connecting import Redirect
from .limits_digest import LimitsInWords
from .messages import Answer, Take
from .shared_config import SharedTerms, StoreTotals
from .tally import Tally


class Place(Protocol):
    """Where accounts are counted."""

    availability: CountersAvailability
    tallies: dict[str, AccountTally]

    def make_link(self) -> StoreConnection:
        """Another connection to the server. Raises `StoreUnavailable` where there is none now."""

    def adopt(self, tally: AccountTally) -> None:
        """Count an account here."""

    def ring(self, tally: AccountTally) -> None:
        """There may be something to say."""


class AccountTally(Tally):
    """A tally, and where its account is counted."""

    shard: Place


class Context(NamedTuple):
    """What all shards of a gateway share. `more` lists what else a heartbeat, which is in another thread, tells of
    accounts; `deliver` is told the answer to a take (None: neither yes nor no), `tell`
    that a standing has changed, and `heard` that a heartbeat was answered; `clock` gives monotonic seconds."""

    terms: SharedTerms
    gateway: str
    words: LimitsInWords
    totals: StoreTotals
    more: Callable[[Iterable[str]], list[Command]]
    deliver: Callable[[AccountTally, Take, Answer], None]
    tell: Callable[[], None]
    heard: Callable[[], None]
    clock: Callable[[], float]
    tasks: BackgroundTasks

    def make_availability(self, where: str) -> CountersAvailability:
        return CountersAvailability(
            where, self.gateway, self.terms.on_store_failure, on_change=self.tell, clock=self.clock
        )

    def answer_alone(self, tally: AccountTally) -> None:
        """The store says nothing to those who wait."""
        for take in tally.take_back():
            self.deliver(tally, take, None)


class Guide(Protocol):
    """Who knows which node of a cluster counts an account."""

    def take_in(self, tally: AccountTally, reply: Redirect) -> None:
        """A node does not count this account now, and it was dropped there."""

    def look(self, reply: Redirect) -> None:
        """A node does not count one of its accounts now."""
