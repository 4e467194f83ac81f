"""Runs the events of one seed after the other: sends them, injects faults, waits, checks."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from random import Random
from time import monotonic

from ..calls import GatewayInstance
from ..judging.violations import Violation
from ..loop import allow_many_sockets, run_on_loop
from ..scheduler_lag import SchedulerLag
from ..store import SharedStore, store_for
from ..target import Died, Silent
from .backend import BackendPort, EventBackend
from .checker import EventChecker
from .clients import Pace, hand_over_all
from .cluster import EventCluster, EventNode
from .dead_letters import DeadLetterFile
from .history import EventHistory
from .nemesis import EventNemesis, PlannedEventFault, plan_event_faults
from .plan import EventsPlan
from .script import Intent, OutcomeFiles, write_event_settings, write_intents
from .verdict import EventsResult, EventsVerdict

POLL_SECONDS = 0.1
EMPTY_POLLS = 3  # in a row at which the queue is empty and nothing runs
# No delay is above a second: after this time without a change the rest of the queue does not move any more.
STALLED_SECONDS = 20.0
# The same while events are sent and gateways start again, which may take long.
HANDED_OVER_SECONDS = 90.0
OVERLOADED_SECONDS = 0.5  # of lag above which checks that depend on time come to no result

Log = Callable[[str], None]


class Stalled(Exception):
    """Nothing has happened for the longest time that it may take."""


def run_events(plan: EventsPlan, log: Log) -> EventsVerdict:
    """Runs `prove_events` on an event loop of its own. Raises `asyncio.CancelledError` after SIGTERM."""
    return run_on_loop(lambda: prove_events(plan, log))


async def prove_events(plan: EventsPlan, log: Log) -> EventsVerdict:
    """Runs the plan. Raises `Unusable` where it cannot be judged, `Died` where a gateway never comes up."""
    allow_many_sockets()
    results = []
    async with SchedulerLag(OVERLOADED_SECONDS) as lag:
        for seed in plan.seeds:
            result = await SeedRun(plan, seed, lag, log).run()
            log(f"seed {seed}: {result}")
            results.append(result)
            if result.violations.counts[Violation.DIED]:
                break
    notes = ["Longest lag: {:.2f} s of prove's event loop, {:.2f} s of a thread.".format(*lag.longest)]
    if left := len(plan.seeds) - len(results):
        notes.append(f"A gateway died: {left} seed{'s were' if left > 1 else ' was'} not run.")
    return EventsVerdict(plan.target, results, notes, plan.options, lag.longest)


class SeedRun:
    """One seed."""

    def __init__(self, plan: EventsPlan, seed: int, lag: SchedulerLag, log: Log) -> None:
        self._plan = plan
        self._seed = seed
        self._lag = lag
        self._began = monotonic()
        self._write = log
        self._history = EventHistory(seed)
        self._pace = Pace(plan.events)

    def _log(self, text: str) -> None:
        self._write(f"{monotonic() - self._began:6.1f} s  seed {self._seed}: {text}")

    async def run(self) -> EventsResult:
        history = self._history
        async with contextlib.AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="invoke-gateway-prove-")))
            files = OutcomeFiles(folder / "dead-letters.jsonl", folder / "failures.jsonl")
            backend = EventBackend(history)
            stack.push_async_callback(backend.stop)
            queue = await stack.enter_async_context(self._queue(folder))
            dead, failed = [await stack.enter_async_context(DeadLetterFile(file, history.clock)) for file in files]
            cluster = await self._build(backend, queue, files, folder)
            for node in cluster.nodes:
                stack.push_async_callback(asyncio.to_thread, node.stop)

            def poll() -> None:
                dead.poll()
                failed.poll()

            faults = EventNemesis(cluster, history, self._pace, poll, self._log)
            try:
                await asyncio.gather(*(node.start() for node in cluster.nodes))
                await self._load(cluster, faults)
                await self._end(cluster)
            except* (Died, Silent) as errors:
                history.violations.add(Violation.DIED, find_first(errors))
            poll()
            return self._check(faults, dead, failed)

    @contextlib.asynccontextmanager
    async def _queue(self, folder: Path) -> AsyncIterator[tuple[str, dict[str, object]]]:
        """Yields the queue's URL, and the settings of gateways that share it. Raises `Unusable`, or `Died`."""
        sharing = self._plan.sharing
        if sharing is None:
            yield f"sqlite://{folder / 'queue.db'}", {}
            return
        async with store_for(sharing.store) as store:
            url = store.url_through(store.endpoint)
            yield url, sharing.settings(url)
            await _empty(store)

    async def _build(
        self, backend: EventBackend, queue: tuple[str, dict[str, object]], files: OutcomeFiles, folder: Path
    ) -> EventCluster:
        url, shared = queue
        nodes = []
        for number in range(self._plan.gateways):
            own = folder / f"gateway-{number + 1}"
            own.mkdir()
            port = BackendPort(GatewayInstance(f"gateway {number + 1}"))
            await backend.open(port)
            settings = write_event_settings(port.url, url, files) | shared
            nodes.append(EventNode(number, port, settings, own, self._plan.serve))
        return EventCluster(nodes)

    async def _load(self, cluster: EventCluster, faults: EventNemesis) -> None:
        """Sends all events while faults are injected, and waits until the queue is empty."""
        plan, rng = self._plan, Random(f"{self._seed}/events")
        intents = list(write_intents(rng, plan.events))
        steps = plan_event_faults(rng, plan.fault_count, plan.gateways, plan.lease_seconds)
        try:
            await self._while_it_moves(self._hand_over(cluster, intents, faults, steps), faults)
            self._log(f"all accepted, {self._history.done} done")
            await self._wait_until_empty(cluster)
        except Stalled as error:
            is_overloaded = bool(self._lag.overloaded_since(monotonic() - STALLED_SECONDS))
            violation = Violation.NOT_JUDGED if is_overloaded else Violation.LOST
            self._history.violations.add(
                violation, f"{error}{', and the machine was overloaded' if is_overloaded else ''}"
            )

    async def _hand_over(
        self, cluster: EventCluster, intents: Sequence[Intent], faults: EventNemesis, steps: Sequence[PlannedEventFault]
    ) -> None:
        end = len(intents) + sum(not intent.function.is_closed for intent in intents)
        rng = [Random(f"{self._seed}/clients/{number}") for number in range(self._plan.clients)]
        async with asyncio.TaskGroup() as group:
            group.create_task(hand_over_all(cluster, self._history, self._pace, iter(intents), rng))
            group.create_task(faults.inject(steps, end))

    async def _while_it_moves(self, work: Coroutine[None, None, None], faults: EventNemesis) -> None:
        """Raises `Stalled` where nothing happens at the backend nor to clients for too long."""
        task = asyncio.create_task(work)
        try:
            seen, since = -1, monotonic()
            while not task.done():
                if seen != self._history.changes:
                    seen, since = self._history.changes, monotonic()
                is_handed_over = self._history.accepted == self._plan.events and not faults.is_injecting
                limit = STALLED_SECONDS if is_handed_over else HANDED_OVER_SECONDS
                if monotonic() - since > limit:
                    raise Stalled(
                        f"nothing happened for {limit:g} s, with {self._history.accepted} of {self._plan.events} "
                        f"events accepted and {self._history.done} done"
                    )
                await asyncio.wait([task], timeout=POLL_SECONDS)
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _wait_until_empty(self, cluster: EventCluster) -> None:
        """Waits until the queue is empty. Claims of a dead gateway are counted by none until its lease has ended,
        so the queue must stay empty for that long. Raises `Stalled`; `Silent` where a gateway does not return its
        count."""
        lease = self._plan.lease_seconds if self._plan.sharing is not None else 0.0
        looks = EMPTY_POLLS + int(2 * lease / POLL_SECONDS)
        quiet, seen, since = 0, (-1, -1), monotonic()
        while quiet < looks:
            left = await cluster.count_events()
            quiet = quiet + 1 if left == 0 and not self._history.running else 0
            if seen != (left, self._history.changes):
                seen, since = (left, self._history.changes), monotonic()
            if monotonic() - since > STALLED_SECONDS:
                raise Stalled(f"{left} events stay in the queue: nothing moved for {STALLED_SECONDS:g} s")
            await asyncio.sleep(POLL_SECONDS)

    async def _end(self, cluster: EventCluster) -> None:
        """Sends SIGTERM with an empty queue. Every gateway must end well."""
        for trouble in await asyncio.gather(*(node.end() for node in cluster.nodes)):
            if trouble is not None:
                self._history.violations.add(Violation.NOT_ENDED, trouble)

    def _check(self, faults: EventNemesis, dead: DeadLetterFile, failed: DeadLetterFile) -> EventsResult:
        history = self._history
        check = EventChecker(history.violations, faults.injected, self._lag.overloaded_since)
        (dead_letters, torn), (failures, also_torn) = dead.read(), failed.read()
        unreadable = [*torn, *also_torn]
        if len(unreadable) > 2 * sum(fault.kind.excuses for fault in faults.injected):
            history.violations.add(Violation.UNTOLD, f"no JSON: {unreadable[0][:200]!r}", len(unreadable))
        tally = check.check(history.sent.values(), dead_letters, failures)
        seconds = monotonic() - self._began
        return EventsResult(self._seed, seconds, history.peaks, history.violations, tally, faults.injected)


async def _empty(store: SharedStore) -> None:
    with contextlib.suppress(OSError, ValueError):
        await store.flush()


def find_first(errors: BaseException) -> str:
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return str(errors)
