"""The heartbeat: renews the leases from a thread and a connection of its own, so that an event loop which is busy with
bodies does not lose what its calls hold."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable

from ...store.connection import Command, StoreConnection
from ...store.errors import StoreUnavailable, describe_failure
from .connecting import Redirect, run_of
from .messages import Renewed, read_renewal
from .script import RENEW, base_key
from .tally import Tally

log = logging.getLogger("invoke_gateway")

_BEATS = 4  # renewals in one lease: one may be lost, and another, and the lease still lives


Heard = tuple[Tally, int, Renewed | Redirect]
"""The answer to a renewal of a tally in an epoch."""


class Lease:
    """`tallies` lists what has to be renewed, `limits` tells of an account in words what it may, `more` is what else
    there is to tell the store. All are called in the thread, as are `tell` with the answers, `tell_away` when there
    are none, `tell_moved` when another server has taken over though this one still answers, and `tell_failed` when the
    heartbeat had to be started again."""

    def __init__(
        self,
        link: StoreConnection,
        *,
        seconds: float,
        timeout_seconds: float,
        tallies: Callable[[], list[Tally]],
        limits: Callable[[str], str],
        more: Callable[[], list[Command]],
        tell: Callable[[list[Heard]], None],
        tell_away: Callable[[str], None],
        tell_moved: Callable[[], None],
        tell_failed: Callable[[], None],
    ) -> None:
        self._link = link
        self._pause = seconds / _BEATS
        self._timeout = timeout_seconds
        self._tallies = tallies
        self._limits = limits
        self._more = more
        self._tell = tell
        self._tell_away = tell_away
        self._tell_moved = tell_moved
        self._tell_failed = tell_failed
        self._loop: asyncio.AbstractEventLoop | None = None
        self._bell: asyncio.Event | None = None
        self._is_ending = False
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lease", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def hurry(self) -> None:
        """There is a new lease: do not wait for the next beat."""
        loop, bell = self._loop, self._bell
        if loop is not None and bell is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                loop.call_soon_threadsafe(bell.set)

    async def close(self) -> None:
        """End the thread and wait for it, which takes no longer than one call to the store."""
        self._is_ending = True
        self._ends.set()
        self.hurry()
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while not self._is_ending:
            try:
                asyncio.run(self._keep_renewing())
            except BaseException:  # whatever it is: without this thread the store forgets every call after a lease
                log.exception("the heartbeat failed, and is started again in %g s", self._pause / _BEATS)
                self._tell_failed()
                self._ends.wait(self._pause / _BEATS)

    async def _keep_renewing(self) -> None:
        self._bell = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        try:
            while not self._is_ending:
                pause = self._pause if await self._renew() else self._pause / _BEATS
                try:
                    async with asyncio.timeout(pause):
                        await self._bell.wait()
                    self._bell.clear()
                except TimeoutError:
                    pass
        finally:
            await self._link.close(self._timeout)

    async def _renew(self) -> bool:
        """Renew what there is; whether the store answered."""
        try:
            async with asyncio.timeout(max(self._timeout, self._pause)):
                if self._link.is_open and await self._link.has_moved():
                    await self._link.close()
                    self._tell_moved()
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
            self._tell_away(describe_failure(error, self._timeout))
            return False
        except Exception:  # a mistake of ours must not end the heartbeat
            log.exception("renewing the leases failed")
            await self._link.close()
            return False
        heard = zip(asked, replies, strict=False)  # what it says to `more` is no matter
        self._tell([(tally, epoch, _read(reply)) for (tally, epoch, _), reply in heard])
        return True

    def __repr__(self) -> str:
        return f"<Lease every {self._pause:g} s, {'ending' if self._is_ending else 'running'}>"


def _read(reply: bytes | Redirect) -> Renewed | Redirect:
    return reply if isinstance(reply, Redirect) else read_renewal(reply)
