"""What is said of events that are in the store: what became of claimed ones, which must be said until it is heard, and
questions, which may fail.

Each attempt has a number, and the store takes no attempt after a later one: what was sent before the gateway gave up
waiting may arrive after what it sent then. A claim whose reply was lost is given back by the next attempt.
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
from ...store.connection import Command
from ...store.script import Script
from ..base import StoreError
from .request_channel import RequestChannel
from .script import SETTLE
from .store_errors import read_refusal

log = logging.getLogger("invoke_gateway")

_MOST_REPORTS = 256  # in one batch: the store does nothing else while it takes one
_LONGEST_PAUSE_SECONDS = 2.0

Argument = str | bytes | int


class Report:
    """One thing that became of a claim. `done` gets the store's letter for it (scripts/settle.lua), `then` is
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
    """A script to run. If it `claims`, its number names the claim, and is another for each attempt."""

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
    """`session` is the gateway's name at the store now, `next_number` names claims."""

    def __init__(
        self, channel: RequestChannel, base: str, *, session: Callable[[], str], next_number: Callable[[], int]
    ) -> None:
        self._channel = channel
        self._base = base
        self._session = session
        self._next_number = next_number
        self._reports: deque[Report] = deque()
        self._queries: deque[StoreQuery] = deque()
        self._has_work = asyncio.Event()
        self._attempt = 0
        self._sent: tuple[list[Report], list[StoreQuery], str] = ([], [], "")
        self._task: BackgroundTask | None = None

    def start(self, tasks: BackgroundTasks) -> None:
        self._task = tasks.start(self._keep_working, "work on the store's events")

    async def report(self, *arguments: Argument) -> tuple[str, bool]:
        """Say it until it is heard. The store's letter, and whether it was said before without being answered."""
        done = asyncio.get_running_loop().create_future()
        settle = Report(arguments, done)
        self._reports.append(settle)
        self._has_work.set()
        return chr(await done), settle.times > 1

    def report_soon(self, *arguments: Argument, then: Callable[[], None] | None = None) -> None:
        """The same, and nobody waits; `then` is called when it was heard."""
        self._reports.append(Report(arguments, None, then))
        self._has_work.set()

    async def query(self, script: Script, *arguments: Argument, claims: bool = False) -> tuple[Any, str]:
        """The reply, and the token of what was claimed. Raises `StoreError`."""
        why_away = self._channel.why_away
        if why_away is not None or self._task is None:
            raise StoreError("away", f"the queue's store does not answer: {why_away or 'it is closed'}")
        question = StoreQuery(script, arguments, claims, asyncio.get_running_loop().create_future())
        self._queries.append(question)
        self._has_work.set()
        try:
            return await question.done
        except asyncio.CancelledError:
            if claims and not question.done.cancelled():  # it came when it was too late
                self.report_soon("disown", question.number)
            raise

    async def close(self) -> int:
        """Say what is still to be said, if the store listens. How much it did not hear."""
        task, self._task = self._task, None
        if task is not None:
            loop = asyncio.get_running_loop()
            last = loop.create_future()
            self._reports.append(Report(("disown", 0), last))  # there is no such claim: it is heard after all else
            self._has_work.set()
            ends_at = loop.time() + self._channel.timeout_seconds
            while not last.done() and task.is_running and self._channel.why_away is None and loop.time() < ends_at:
                await asyncio.wait([last], timeout=0.05)
            await task.close()
        self._fail_queries(list(self._queries), StoreError("away", "the gateway ends"))
        return sum(settle.done is not None for settle in self._reports) - (task is not None and bool(self._reports))

    async def _keep_working(self) -> None:
        self._has_work.set()  # an earlier task may have left something
        pause = least = 0.02
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            questions = list(self._queries)
            self._queries.clear()
            try:
                await self._exchange(questions)
                pause = least
                continue
            except asyncio.CancelledError:
                self._fail_queries(questions, StoreError("away", "the gateway ends"))
                raise
            except StoreError as fault:
                self._fail_queries(questions, fault)
            except Exception as error:  # a mistake of ours: nobody may wait for ever
                log.exception("work on the queue's store failed")
                self._fail_queries(questions, StoreError("failed", f"a mistake in the gateway: {error!r}"))
            self._has_work.set()
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _exchange(self, questions: list[StoreQuery]) -> None:
        if not questions and not self._reports:
            return
        self._sent = ([], [], "")
        try:
            replies = await self._channel.exchange(lambda: self._commands(questions))
        except BaseException:
            self._release_claims()
            raise
        settles, _, session = self._sent
        self._sent = ([], [], "")
        if settles:
            self._apply_report_replies(settles, replies.pop(0), bool(questions))
        for question, reply in zip(questions, replies, strict=True):
            self._apply_reply(question, reply, session)
        if self._reports:
            self._has_work.set()

    def _commands(self, questions: list[StoreQuery]) -> list[Command]:
        """All that is to be said, as a new attempt."""
        self._release_claims()
        self._attempt += 1
        session = self._session()
        settles = list(islice(self._reports, _MOST_REPORTS))
        commands: list[Command] = []
        if settles:
            for settle in settles:
                settle.times += 1
            said = [argument for settle in settles for argument in settle.arguments]
            commands.append(("EVALSHA", SETTLE.sha, 1, self._base, session, self._attempt, *said))
        for question in questions:
            head: tuple[Argument, ...] = (session,)
            if question.claims:
                question.number = self._next_number()
                head = (session, self._attempt, question.number)
            commands.append(("EVALSHA", question.script.sha, 1, self._base, *head, *question.arguments))
        self._sent = (settles, questions, session)
        return commands

    def _release_claims(self) -> None:
        """What was asked before may have claimed events of which nobody was told."""
        for question in self._sent[1]:
            if question.claims:
                self._reports.appendleft(Report(("disown", question.number), None))
        self._sent = ([], [], "")

    def _apply_report_replies(self, settles: list[Report], reply: Any, has_questions: bool) -> None:
        if isinstance(reply, ResponseError):
            log.error("what became of events is not written yet: %s", read_refusal(reply))
            if not has_questions:
                raise read_refusal(reply)
            return
        if reply == b"LATE":
            return
        for settle, letter in zip(settles, reply, strict=True):
            taken = self._reports.popleft()
            assert taken is settle, "they are heard in the order in which they were said"
            if settle.done is not None and not settle.done.done():
                settle.done.set_result(letter)
            if settle.then is not None:
                settle.then()

    def _apply_reply(self, question: StoreQuery, reply: Any, session: str) -> None:
        if isinstance(reply, ResponseError):
            if not question.done.done():
                question.done.set_exception(read_refusal(reply))
        elif question.done.done():
            if question.claims:  # its asker is gone
                self.report_soon("disown", question.number)
        else:
            question.done.set_result((reply, f"{session}:{question.number}"))

    def _fail_queries(self, questions: list[StoreQuery], fault: StoreError) -> None:
        for question in questions:
            if not question.done.done():
                question.done.set_exception(StoreError(fault.kind, str(fault)))

    def __repr__(self) -> str:
        return f"<Work {len(self._reports)} to say, {len(self._queries)} to ask>"
