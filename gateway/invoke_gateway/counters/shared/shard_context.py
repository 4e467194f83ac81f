"""Declares what the shards of a gateway share, and who counts an account."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from ...background import BackgroundTasks
from ...store.connection import StoreConnection
from ...store.errors import StoreUnavailable
from ...store.resp import Command
from .availability import CountersAvailability
from .connecting import Redirect
from .limits_digest import LimitsDigest
from .messages import Take
from .shared_config import SharedConfig, StoreTotals
from .tally import Answer, Tally


class AccountOwner:
    """Counts accounts: the base of a shard, and of the list of those that no shard counts now. (A compiled module finds
    the attributes of a class by their places, and those of a `Protocol` by their names.)"""

    availability: CountersAvailability
    tallies: dict[str, AccountTally]

    def make_link(self) -> StoreConnection:
        """Returns another connection to the server. Raises `StoreUnavailable` where there is no server now."""
        raise NotImplementedError  # each owner has its own

    def assign(self, tally: AccountTally) -> None:
        """Counts the account here from now on."""
        raise NotImplementedError  # each owner has its own

    def mark_dirty(self, tally: AccountTally) -> None:
        """Schedules an exchange for the tally."""
        raise NotImplementedError  # each owner has its own

    def enqueue(self, tally: AccountTally, take: Take) -> None:
        """Adds a take to the next exchange."""
        raise NotImplementedError  # each owner has its own


class AccountTally(Tally):
    """Adds the owner of its account to a tally."""

    shard: AccountOwner


class ShardContext(NamedTuple):
    """Holds what all shards of a gateway share.

    more: returns other commands about accounts, for the thread of a heartbeat.
    deliver: called with the answer to a take; None where the store gave none.
    on_change: called when an availability has changed.
    on_renewed: called when a heartbeat had a reply.
    on_stale: called with a tally whose limits are not the newest.
    clock: returns monotonic seconds.
    """

    config: SharedConfig
    gateway: str
    limits_digest: LimitsDigest
    totals: StoreTotals
    more: Callable[[Iterable[str]], list[Command]]
    deliver: Callable[[AccountTally, Take, Answer], None]
    on_change: Callable[[], None]
    on_renewed: Callable[[], None]
    on_stale: Callable[[AccountTally], None]
    clock: Callable[[], float]
    tasks: BackgroundTasks

    def make_availability(self, where: str) -> CountersAvailability:
        return CountersAvailability(
            where,
            self.gateway,
            self.config.on_store_failure,
            expected_gateways=self.config.expected_gateways,
            on_change=self.on_change,
            clock=self.clock,
        )

    def refuse_pending(self, tally: AccountTally) -> None:
        """Delivers no answer to each pending take: the policy decides over it."""
        for take in tally.cancel_pending():
            self.deliver(tally, take, None)


class Unassigned(AccountOwner):
    """Holds the accounts that no node of a cluster counts now."""

    def __init__(self, context: ShardContext, where: str) -> None:
        self.availability = context.make_availability(where)
        self.tallies: dict[str, AccountTally] = {}
        self._context = context

    def make_link(self) -> StoreConnection:
        raise StoreUnavailable(self.availability.unavailable_reason or "no node of the cluster counts the account now")

    def assign(self, tally: AccountTally) -> None:
        """Waits at the start; later the account is unavailable at once."""
        tally.shard = self
        self.tallies[tally.account] = tally
        if self.availability.unavailable_reason is None:
            self.reassign(tally, "the node that has its slot is not known")

    def reassign(self, tally: AccountTally, reason: str) -> None:
        tally.shard = self
        self.tallies[tally.account] = tally
        self.availability.record_failure(f"account {tally.account}: {reason}")
        self._context.refuse_pending(tally)

    def mark_dirty(self, tally: AccountTally) -> None:
        """Does nothing: the next owner sends what is due."""

    def enqueue(self, tally: AccountTally, take: Take) -> None:
        tally.enqueue(take)


class SlotMap(Protocol):
    """Assigns the accounts of a cluster to its nodes."""

    def reassign(self, tally: AccountTally, reply: Redirect) -> None:
        """Assigns an account again that its node does not count now. The node's shard has dropped it."""

    def refresh(self, reply: Redirect) -> None:
        """Reads the assignment of slots again, after a node's redirect."""
