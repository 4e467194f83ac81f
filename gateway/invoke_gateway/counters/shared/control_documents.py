"""Keeps what control operations have set in the store, beside the counters of each account.

A document has a revision, `number:writer`. The number rises with each change, and the writer distinguishes two changes
of one number. The takes of calls carry the revision of their limits (take.lua), so a change is in force on all
gateways as soon as the store has it. This file reads and changes documents, and has nothing to do with their content.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from secrets import token_hex

from ...policy.control.state import ControlDocument
from ...store.errors import StoreUnavailable
from ...store.resp import Command
from .connecting import Redirect
from .messages import OK, REFILLING, encode_control, read_control_reply
from .script import CONTROL, base_key, control_key
from .shard import Shard
from .shard_context import AccountOwner, AccountTally

_TRIES = 5
_PAUSE_SECONDS = 0.1  # between two tries, in which a connection is opened again


class ControlDocuments:
    """Reads and changes the documents. Its methods raise `StoreUnavailable`.

    where: returns the owner of an account
    refuse_pending: answers the waiting calls of an account by the policy for an unavailable store
    on_stale: called when calls of an account wait for newer limits
    """

    def __init__(
        self,
        tallies: Mapping[str, AccountTally],
        *,
        where: Callable[[str], AccountOwner],
        lease_seconds: float,
        refuse_pending: Callable[[str], None],
    ) -> None:
        self._tallies = tallies
        self._where = where
        self._lease_ms = int(lease_seconds * 1000)
        self.refuse_pending = refuse_pending
        self.on_stale: Callable[[], None] = _ignore

    @property
    def accounts(self) -> list[str]:
        """Lists the accounts that this gateway counts."""
        return list(self._tallies)

    def note_stale(self, tally: AccountTally) -> None:
        self.on_stale()

    async def read_revisions(self, accounts: Iterable[str]) -> dict[str, str]:
        """Returns the revision of each account, in one round trip to each server. An account of a server that does not
        reply is left out; it raises `StoreUnavailable` where none replies."""
        by_shard: dict[Shard, list[str]] = {}
        failure: StoreUnavailable | None = None
        for account in accounts:
            try:
                by_shard.setdefault(self._find_shard(account), []).append(account)
            except StoreUnavailable as error:
                failure = error
        found: dict[str, str] = {}
        for shard, named in by_shard.items():
            try:
                replies = await shard.ask(partial(_ask_revisions, named))
            except StoreUnavailable as error:
                failure = error
                continue
            found |= {
                account: _read_text(reply)
                for account, reply in zip(named, replies, strict=True)
                if not isinstance(reply, Redirect)  # its owner changes now
            }
        if failure is not None and not found:
            raise failure
        return found

    async def read(self, account: str) -> ControlDocument:
        """Returns what the store has."""
        command: Command = ("HMGET", control_key(account), "revision", "document")
        (reply,) = await self._find_shard(account).ask(lambda _: [command])
        if isinstance(reply, Redirect):
            raise StoreUnavailable(reply.reason)
        revision, document = map(_read_text, reply)
        return ControlDocument(revision, document)

    async def replace(self, account: str, known: ControlDocument, document: str) -> ControlDocument:
        """Replaces the document, unless another gateway was first: then it returns that one. A request whose reply was
        lost is sent again, and takes effect once."""
        following = ControlDocument(f"{known.number + 1}:{token_hex(4)}", document)
        for tried in range(1, _TRIES + 1):
            try:
                return await self._send(account, known.revision, following, is_copy=False)
            except _Recovering:
                raise
            except StoreUnavailable:
                if tried == _TRIES:
                    raise
                await asyncio.sleep(_PAUSE_SECONDS)
        raise AssertionError("the last try returns or raises")

    async def restore(self, account: str, kept: ControlDocument) -> ControlDocument:
        """Writes a copy back into a store that has lost it. Returns what the store has then."""
        return await self._send(account, "", kept, is_copy=True)

    def keep(self, account: str, kept: ControlDocument) -> None:
        """Keeps the newest document for a store that may lose it: a registration brings it."""
        if account in self._tallies:
            self._tallies[account].kept = kept

    def confirm(self, account: str, revision: str) -> None:
        """Sends the waiting calls of an account whose limits have this revision: the store has it, too."""
        tally = self._tallies.get(account)
        if tally is not None and tally.is_stale:
            tally.confirm(revision)
            tally.shard.mark_dirty(tally)

    async def _send(self, account: str, known: str, following: ControlDocument, *, is_copy: bool) -> ControlDocument:
        def make_commands(run: str) -> list[Command]:
            argument = encode_control(run, self._lease_ms, known, *following, is_copy=is_copy)
            return [("EVALSHA", CONTROL.sha, 1, base_key(account), argument)]

        (reply,) = await self._find_shard(account).ask(make_commands)
        if isinstance(reply, Redirect):
            raise StoreUnavailable(reply.reason)
        status, refill_ms, revision, document = read_control_reply(reply)
        if status == REFILLING and not is_copy:
            raise _Recovering(
                "they are being rebuilt after a store restart, from every gateway's running calls, for another "
                f"{refill_ms / 1000:.1f} s"
            )
        return following if status == OK else ControlDocument(revision, document)

    def _find_shard(self, account: str) -> Shard:
        shard = self._where(account)
        if isinstance(shard, Shard):
            return shard
        raise StoreUnavailable(shard.availability.unavailable_reason or "no node of the cluster counts the account now")


class _Recovering(StoreUnavailable):
    """The store takes no change until the gateways have written their copies back."""


def _ask_revisions(accounts: list[str], run: str) -> list[Command]:
    return [("HGET", control_key(account), "revision") for account in accounts]


def _read_text(reply: bytes | Redirect | None) -> str:
    if isinstance(reply, Redirect):
        raise StoreUnavailable(reply.reason)
    return "" if reply is None else reply.decode()


def _ignore() -> None:
    """Ignores that calls wait: no operation changes limits."""
