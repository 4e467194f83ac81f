"""Exchanges everything about stored events with the store: reports on claimed ones, and queries.

A report is repeated until the store has replied; a query may fail. Each attempt has a number, and the store refuses an
attempt after a later one, because a request that was given up may arrive late. A claim whose reply was lost is released
by the next attempt.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

from redis.exceptions import ResponseError

from ...background import BackgroundTask, BackgroundTasks
from ...store.resp import Command
from ...store.script import Script
from ..base import StoreError
from .request_channel import RequestChannel
from .script import SETTLE
from .store_errors import read_refusal

log = logging.getLogger("invoke_gateway")

_MOST_REPORTS = 256  # in one batch, which blocks the server
_LONGEST_PAUSE_SECONDS = 2.0

Argument = str | bytes | int


class ClaimReport:
    """Holds one change of a claim. `done` receives the store's letter for it (scripts/settle.lua), then `then` is
    called."""

    __slots__ = ("arguments", "done", "then", "times")

    def __init__(
        self,
        arguments: tuple[Argument, ...],
        done: asyncio.Future[int] | None,
        then: Callable[[], None] | None = None,
    ) -> None:
        self.arguments = arguments
        self.done = done
        self.then = then
        self.times = 0


class StoreQuery:
    """Holds a script to run. If it `claims`, its number names the claim, and differs for each attempt."""

    __slots__ = ("arguments", "claims", "done", "number", "script")

    def __init__(
        self, script: Script, arguments: tuple[Argument, ...], claims: bool, done: asyncio.Future[tuple[Any, str]]
    ) -> None:
        self.script = script
        self.arguments = arguments
        self.claims = claims
        self.number = 0
        self.done = done


class ClaimWork:
    """Sends reports and queries. `session` returns the gateway's present name at the store, `next_number` names
    claims."""

    def __init__(
        self, channel: RequestChannel, base: str, *, session: Callable[[], str], next_number: Callable[[], int]
    ) -> None:
        self._channel = channel
        self._base = base
        self._session = session
        self._next_number = next_number
        self._reports: deque[ClaimReport] = deque()
        self._queries: deque[StoreQuery] = deque()
        self._has_work = asyncio.Event()
        self._attempt = 0
        self._sent: tuple[list[ClaimReport], list[StoreQuery], str] = ([], [], "")
        self._task: BackgroundTask | None = None

    def start(self, tasks: BackgroundTasks) -> None:
        self._task = tasks.start(self._keep_working, "work on stored events")

    async def report(self, *arguments: Argument) -> tuple[str, bool]:
        """Repeats a report until the store replies. Returns the store's letter, and whether an earlier attempt had no
        reply."""
        done = asyncio.get_running_loop().create_future()
        report = ClaimReport(arguments, done)
        self._reports.append(report)
        self._has_work.set()
        return chr(await done), report.times > 1

    def report_soon(self, *arguments: Argument, then: Callable[[], None] | None = None) -> None:
        """Sends a report without a wait; `then` is called after the reply."""
        self._reports.append(ClaimReport(arguments, None, then))
        self._has_work.set()

    async def query(self, script: Script, *arguments: Argument, claims: bool = False) -> tuple[Any, str]:
        """Returns the reply, and the token of what was claimed. Raises `StoreError`."""
        why_unavailable = self._channel.why_unavailable
        if why_unavailable is not None or self._task is None:
            raise StoreError("unavailable", f"The event store is unavailable: {why_unavailable or 'it is closed'}.")
        query = StoreQuery(script, arguments, claims, asyncio.get_running_loop().create_future())
        self._queries.append(query)
        self._has_work.set()
        try:
            return await query.done
        except asyncio.CancelledError:
            if claims and not query.done.cancelled():  # the reply came too late
                self.report_soon("release_claims", query.number)
            raise

    async def close(self) -> int:
        """Sends pending reports while the store replies. Returns how many are left."""
        task, self._task = self._task, None
        if task is not None:
            loop = asyncio.get_running_loop()
            last = loop.create_future()
            self._reports.append(ClaimReport(("release_claims", 0), last))  # of no claim: its reply is the last
            self._has_work.set()
            ends_at = loop.time() + self._channel.timeout_seconds
            while (
                not last.done() and task.is_running and self._channel.why_unavailable is None and loop.time() < ends_at
            ):
                await asyncio.wait([last], timeout=0.05)
            await task.close()
        self._fail_queries(list(self._queries), StoreError("unavailable", "The gateway stops."))
        return sum(report.done is not None for report in self._reports) - (task is not None and bool(self._reports))

    async def _keep_working(self) -> None:
        self._has_work.set()  # an earlier task may have left something
        pause = least = 0.02
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            queries = list(self._queries)
            self._queries.clear()
            try:
                await self._exchange(queries)
                pause = least
                continue
            except asyncio.CancelledError:
                self._fail_queries(queries, StoreError("unavailable", "The gateway stops."))
                raise
            except StoreError as fault:
                self._fail_queries(queries, fault)
            except Exception as error:  # a bug: no request may wait for ever
                log.exception("an exchange with the event store failed by a bug in the gateway")
                self._fail_queries(queries, StoreError("failed", f"A bug in the gateway: {error!r}. ClaimReport it."))
            self._has_work.set()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _exchange(self, queries: list[StoreQuery]) -> None:
        if not queries and not self._reports:
            return
        self._sent = ([], [], "")
        try:
            replies = await self._channel.exchange(lambda: self._commands(queries))
        except BaseException:
            self._release_claims()
            raise
        reports, _, session = self._sent
        self._sent = ([], [], "")
        if reports:
            self._apply_report_replies(reports, replies.pop(0), bool(queries))
        for query, reply in zip(queries, replies, strict=True):
            self._apply_reply(query, reply, session)
        if self._reports:
            self._has_work.set()

    def _commands(self, queries: list[StoreQuery]) -> list[Command]:
        """Returns all reports and queries as the commands of a new attempt."""
        self._release_claims()
        self._attempt += 1
        session = self._session()
        reports = list(islice(self._reports, _MOST_REPORTS))
        commands: list[Command] = []
        if reports:
            for report in reports:
                report.times += 1
            arguments = [argument for report in reports for argument in report.arguments]
            commands.append(("EVALSHA", SETTLE.sha, 1, self._base, session, self._attempt, *arguments))
        for query in queries:
            head: tuple[Argument, ...] = (session,)
            if query.claims:
                query.number = self._next_number()
                head = (session, self._attempt, query.number)
            commands.append(("EVALSHA", query.script.sha, 1, self._base, *head, *query.arguments))
        self._sent = (reports, queries, session)
        return commands

    def _release_claims(self) -> None:
        """Releases the claims that an earlier attempt may have made without a reply."""
        for query in self._sent[1]:
            if query.claims:
                self._reports.appendleft(ClaimReport(("release_claims", query.number), None))
        self._sent = ([], [], "")

    def _apply_report_replies(self, reports: list[ClaimReport], reply: Any, has_queries: bool) -> None:
        if isinstance(reply, ResponseError):
            log.error("the outcomes of events are not written yet: %s", read_refusal(reply))
            if not has_queries:
                raise read_refusal(reply)
            return
        if reply == b"LATE":
            return
        for report, letter in zip(reports, reply, strict=True):
            taken = self._reports.popleft()
            assert taken is report, "replies come in the order of the reports"
            if report.done is not None and not report.done.done():
                report.done.set_result(letter)
            if report.then is not None:
                report.then()

    def _apply_reply(self, query: StoreQuery, reply: Any, session: str) -> None:
        if isinstance(reply, ResponseError):
            if not query.done.done():
                query.done.set_exception(read_refusal(reply))
        elif query.done.done():
            if query.claims:  # its caller was cancelled
                self.report_soon("release_claims", query.number)
        else:
            query.done.set_result((reply, f"{session}:{query.number}"))

    def _fail_queries(self, queries: list[StoreQuery], fault: StoreError) -> None:
        for query in queries:
            if not query.done.done():
                query.done.set_exception(StoreError(fault.kind, str(fault)))

    def __repr__(self) -> str:
        return f"<ClaimWork {len(self._reports)} reports, {len(self._queries)} queries>"
