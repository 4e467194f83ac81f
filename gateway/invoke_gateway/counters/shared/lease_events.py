"""Applies lease replies on the event loop."""

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
from .lease_thread import Heard, LeaseThread
from .messages import Renewed
from .shard_context import AccountTally, ShardContext, SlotMap

log = logging.getLogger("invoke_gateway")


def log_fenced(gateway: str, tally: AccountTally) -> None:
    log.warning(
        "Shared counters dropped gateway %s: its lease ended, or the store lost it. Its running calls of account %s "
        "(%d) are reported before it admits another.",
        gateway,
        tally.account,
        tally.held[account_counter(tally.account)],
    )


class LeaseEvents:
    """Renews the leases of a shard's tallies.

    mark_dirty: called with a tally that must send something.
    check_now: called where the store did not reply.
    reconnect: called when another server has taken over, though this one still replies.
    """

    def __init__(
        self,
        link: StoreConnection,
        context: ShardContext,
        tallies: dict[str, AccountTally],
        availability: CountersAvailability,
        slot_map: SlotMap | None,
        *,
        mark_dirty: Callable[[AccountTally], None],
        check_now: Callable[[], None],
        reconnect: Callable[[], None],
    ) -> None:
        self._context = context
        self._tallies = tallies
        self._standing = availability
        self._slot_map = slot_map
        self._has_failed = False
        self._most_gateways = 0
        self._mark_dirty = mark_dirty
        self._lease = LeaseThread(
            link,
            seconds=context.config.lease_seconds,
            timeout_seconds=context.config.timeout_seconds,
            tallies=lambda: list(tallies.values()),
            limits=context.limits_digest.of,
            more=lambda: context.more(list(tallies)),
            on_replies=lambda replies: self._call_soon(self._apply_renewals, replies),
            on_unavailable=lambda why: self._call_soon(check_now),
            on_moved=lambda: self._call_soon(reconnect),
            on_failed=lambda: self._call_soon(self._record_failure),
        )
        self.renew_now = self._lease.renew_now
        self.close = self._lease.close
        self._loop: asyncio.AbstractEventLoop

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._lease.start()

    def _call_soon(self, do: Callable[..., None], *arguments: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the event loop has ended
            self._loop.call_soon_threadsafe(do, *arguments)

    def _record_failure(self) -> None:
        self._has_failed = True
        self._context.tasks.record_failure(self, "heartbeat")

    def _apply_renewals(self, replies: list[Heard]) -> None:
        if self._has_failed:
            self._has_failed = False
            self._context.tasks.record_recovery(self)
        for tally, epoch, renewed in replies:
            mine = self._tallies.get(tally.account)
            if mine is None:  # another server counts it meanwhile
                continue
            if not isinstance(renewed, Redirect):
                self._apply_renewal(mine, epoch, renewed)
            elif self._slot_map is not None:
                self._slot_map.refresh(renewed)
        self._context.on_renewed()

    def _apply_renewal(self, tally: AccountTally, epoch: int, renewed: Renewed) -> None:
        was = tally.acknowledged
        tally.apply_renewal(epoch, renewed, self._context.clock())
        if was is not None and tally.acknowledged is None:
            log_fenced(self._context.gateway, tally)
        if renewed.refill_ms:
            self._standing.record_recovery(renewed.refill_ms / 1000)
        elif self._standing.is_recovering and epoch == tally.epoch:
            self._end_recovery()
        if tally.acknowledged is None:
            self._mark_dirty(tally)
        self._compare_number(renewed.gateways)
        warning = self._context.limits_digest.compare(tally.account, renewed.other, renewed.other_limits)
        if warning:
            log.warning("%s", warning)

    def _compare_number(self, processes: list[str]) -> None:
        expected = self._context.config.expected_gateways
        if expected is None:
            return
        gateways = len({process.partition(".")[0] for process in processes})
        if gateways > max(expected, self._most_gateways):
            log.warning(
                "%d gateways are on the store at %s, more than shared.expected_gateways (%d). If the store loses its "
                "data, a gateway that the others do not know yet is not waited for. Raise shared.expected_gateways.",
                gateways,
                self._standing.where,
                expected,
            )
            self._most_gateways = gateways

    def _end_recovery(self) -> None:
        """Ends the server's recovery where it has ended for each of its accounts."""
        now = self._context.clock()
        if all(tally.recovers_until <= now for tally in self._tallies.values()):
            self._standing.end_recovery()

    def __repr__(self) -> str:
        return f"<Heartbeat {self._lease!r}>"
