"""Renews the leases from a thread and a connection of its own, so that a busy event loop loses no lease."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable

from ...store.connection import StoreConnection
from ...store.errors import StoreUnavailable, describe_failure
from ...store.resp import Command
from .connecting import Redirect, run_of
from .messages import Renewed, read_renewal
from .script import RENEW, base_key
from .tally import Tally

log = logging.getLogger("invoke_gateway")

_BEATS = 4  # renewals in one lease: it survives the loss of two in a row


Heard = tuple[Tally, int, Renewed | Redirect]
"""Holds the reply to a renewal of a tally in an epoch."""


class LeaseThread:
    """Runs the heartbeat. Its callbacks run in the thread.

    seconds: of a lease. timeout_seconds: the bound on a reply.
    tallies: returns the tallies whose leases are renewed.
    limits: returns the digest of an account's limits.
    more: returns other commands for the store.
    on_replies: called with the replies to the renewals.
    on_unavailable: called with the cause where there were none.
    on_moved: called when another server has taken over, though this one still replies.
    on_failed: called when the heartbeat had to be restarted.
    """

    def __init__(
        self,
        link: StoreConnection,
        *,
        seconds: float,
        timeout_seconds: float,
        tallies: Callable[[], list[Tally]],
        limits: Callable[[str], str],
        more: Callable[[], list[Command]],
        on_replies: Callable[[list[Heard]], None],
        on_unavailable: Callable[[str], None],
        on_moved: Callable[[], None],
        on_failed: Callable[[], None],
    ) -> None:
        self._link = link
        self._pause = seconds / _BEATS
        self._timeout = timeout_seconds
        self._tallies = tallies
        self._limits = limits
        self._more = more
        self._on_replies = on_replies
        self._on_unavailable = on_unavailable
        self._on_moved = on_moved
        self._on_failed = on_failed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bell: asyncio.Event | None = None
        self._is_ending = False
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def renew_now(self) -> None:
        """Renews without waiting for the next beat: there is a new lease."""
        loop, bell = self._loop, self._bell
        if loop is not None and bell is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(bell.set)

    async def close(self) -> None:
        """Ends the thread and waits for it, no longer than one call to the store takes."""
        self._is_ending = True
        self._ends.set()
        self.renew_now()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while not self._is_ending:
            try:
                asyncio.run(self._keep_renewing())
            except BaseException:  # of any kind: without this thread the store releases every slot after a lease
                log.exception("The heartbeat of the shared counters failed; it restarts in %g s.", self._pause / _BEATS)
                self._on_failed()
                self._ends.wait(self._pause / _BEATS)

    async def _keep_renewing(self) -> None:
        self._bell = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        try:
            while not self._is_ending:
                pause = self._pause if await self._renew() else self._pause / _BEATS
                if any(tally.may_end_recovery for tally in self._tallies()):
                    pause = min(pause, self._pause / _BEATS**2)
                try:
                    async with asyncio.timeout(pause):
                        await self._bell.wait()
                    self._bell.clear()
                except TimeoutError:
                    pass
        finally:
            await self._link.close(self._timeout)

    async def _renew(self) -> bool:
        """Renews every lease. Returns True where the store replied."""
        try:
            async with asyncio.timeout(max(self._timeout, self._pause)):
                if self._link.is_open and await self._link.has_moved():
                    await self._link.close()
                    self._on_moved()
                if not self._link.is_open:
                    await self._link.open()
            async with asyncio.timeout(self._timeout):
                asked = []
                for tally in self._tallies():
                    renewal = tally.make_renewal(run_of(self._link), self._limits(tally.account))
                    if renewal is not None:
                        asked.append((tally, *renewal))
                renewals: list[Command] = [
                    ("EVALSHA", RENEW.sha, 1, base_key(tally.account), argument) for tally, _, argument in asked
                ]
                replies = await self._link.call([*renewals, *self._more()])
        except (StoreUnavailable, TimeoutError) as error:
            self._on_unavailable(describe_failure(error, self._timeout))
            return False
        except Exception:  # a bug must not end the heartbeat
            log.exception("Renewing the leases failed.")
            await self._link.close()
            return False
        renewed = zip(asked, replies, strict=False)  # replies to `more` are not needed
        self._on_replies([(tally, epoch, _read(reply)) for (tally, epoch, _), reply in renewed])
        return True

    def __repr__(self) -> str:
        return f"<Lease every {self._pause:g} s, {'ending' if self._is_ending else 'running'}>"


def _read(reply: bytes | Redirect) -> Renewed | Redirect:
    return reply if isinstance(reply, Redirect) else read_renewal(reply)
