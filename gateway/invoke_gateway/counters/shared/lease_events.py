"""What the thread of the lease hears, brought to the event loop and into the tallies of a shard."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from ...policy.counter_names import account_counter
from ...store.connection import StoreConnection
from .availability import CountersAvailability
from .connecting import Redirect
from .lease_thread import Heard, Lease
from .messages import Renewed
from .shard_context import AccountTally, Context, Guide

log = logging.getLogger("invoke_gateway")


def tell_fenced(gateway: str, tally: AccountTally) -> None:
    log.warning(
        "shared counters do not know %s any more: it was not heard for a lease, or they lost it; it runs %d calls "
        "of account %s and tells so before it admits another",
        gateway,
        tally.held[account_counter(tally.account)],
        tally.account,
    )


class Heartbeat:
    """Renews `tallies`, those of a shard. `ring` is told of a tally that has something to say, `look` that there was
    silence, and `leave` that another server has taken over though this one still answers."""

    def __init__(
        self,
        link: StoreConnection,
        context: Context,
        tallies: dict[str, AccountTally],
        availability: CountersAvailability,
        guide: Guide | None,
        *,
        ring: Callable[[AccountTally], None],
        look: Callable[[], None],
        leave: Callable[[], None],
    ) -> None:
        self._context = context
        self._tallies = tallies
        self._standing = availability
        self._guide = guide
        self._has_failed = False
        self._ring = ring
        self._lease = Lease(
            link,
            seconds=context.terms.lease_seconds,
            timeout_seconds=context.terms.timeout_seconds,
            tallies=lambda: list(tallies.values()),
            limits=context.words.of,
            more=lambda: context.more(list(tallies)),
            tell=lambda heard: self._call_soon(self._note_renewals, heard),
            tell_away=lambda why: self._call_soon(look),
            tell_moved=lambda: self._call_soon(leave),
            tell_failed=lambda: self._call_soon(self._note_failure),
        )
        self.hurry = self._lease.hurry
        self.close = self._lease.close
        self._loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lease.start()

    def _call_soon(self, do: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended, and with it this gateway
            self._loop.call_soon_threadsafe(do, *arguments)

    def _note_failure(self) -> None:
        self._has_failed = True
        self._context.tasks.record_failure(self, "heartbeat")

    def _note_renewals(self, heard: list[Heard]) -> None:
        if self._has_failed:
            self._has_failed = False
            self._context.tasks.record_recovery(self)
        for tally, epoch, renewed in heard:
            mine = self._tallies.get(tally.account)
            if mine is None:  # counted elsewhere meanwhile
                continue
            if not isinstance(renewed, Redirect):
                self._note_renewal(mine, epoch, renewed)
            elif self._guide is not None:
                self._guide.look(renewed)
        self._context.heard()

    def _note_renewal(self, tally: AccountTally, epoch: int, renewed: Renewed) -> None:
        was = tally.acknowledged
        tally.note_renewal(epoch, renewed)
        if was is not None and tally.acknowledged is None:
            tell_fenced(self._context.gateway, tally)
        if renewed.refill_ms:
            tally.refill_until = max(tally.refill_until, self._context.clock() + renewed.refill_ms / 1000)
            self._standing.record_recovery(renewed.refill_ms / 1000)
        if tally.acknowledged is None:
            self._ring(tally)
        warning = self._context.words.compare(tally.account, renewed.other, renewed.other_limits)
        if warning:
            log.warning("%s", warning)

    def __repr__(self) -> str:
        return f"<Heartbeat {self._lease!r}>"
