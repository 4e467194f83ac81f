"""The events of one seed after the other: handed over, struck, waited for, judged."""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from pathlib import Path
from random import Random
from time import monotonic

from ..loop import allow_many_sockets, run_on_loop
from ..scheduler_lag import Lag
from ..store import Store, store_for
from ..target import Died, Silent
from ..violations import Fault
from .backend import Door, EventBackend
from .checker import Judge
from .clients import Pace, hand_over_all
from .cluster import Gateways, Member
from .dead_letters import Letters
from .ledger import EventLedger
from .nemesis import Blows, Step, plan_blows
from .plan import EventsPlan
from .script import Files, Intent, write_event_settings, write_intents
from .verdict import EventsResult, EventsVerdict

LOOK_SECONDS = 0.1
QUIET_LOOKS = 3  # in a row at which the queue is empty and nothing runs
# Nothing moves for so long, where no delay is above a second: what is in the queue still is not coming out.
STALLED_SECONDS = 20.0
# While events are handed over and gateways start anew, which may take them long.
HANDED_OVER_SECONDS = 90.0
STARVED_SECONDS = 0.5  # of lag above which what depends on time is not judged

Tell = Callable[[str], None]


class Stalled(Exception):
    """Nothing has happened for so long that nothing will."""


def run_events(plan: EventsPlan, tell: Tell) -> EventsVerdict:
    """`prove_events` on an event loop of its own. Raises `asyncio.CancelledError` after SIGTERM."""
    return run_on_loop(lambda: prove_events(plan, tell))


async def prove_events(plan: EventsPlan, tell: Tell) -> EventsVerdict:
    """Run the plan. Raises `Unusable` where it cannot be judged, `Died` where a gateway never comes up."""
    allow_many_sockets()
    results = []
    async with Lag(STARVED_SECONDS) as lag:
        for seed in plan.seeds:
            result = await Seed(plan, seed, lag, tell).run()
            tell(f"seed {seed}: {result.describe()}")
            results.append(result)
            if result.faults.counts[Fault.DIED]:
                break
    return EventsVerdict(plan, results, lag.longest)


class Seed:
    """One seed."""

    def __init__(self, plan: EventsPlan, seed: int, lag: Lag, tell: Tell) -> None:
        self._plan = plan
        self._seed = seed
        self._lag = lag
        self._began = monotonic()
        self._told = tell
        self._ledger = EventLedger(seed)
        self._pace = Pace(plan.events)

    def _tell(self, text: str) -> None:
        self._told(f"{monotonic() - self._began:6.1f} s  seed {self._seed}: {text}")

    async def run(self) -> EventsResult:
        ledger = self._ledger
        async with contextlib.AsyncExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="invoke-gateway-prove-")))
            files = Files(folder / "dead-letters.jsonl", folder / "failures.jsonl")
            backend = await stack.enter_async_context(EventBackend(ledger))
            queue = await stack.enter_async_context(self._queue(folder))
            dead, failed = [await stack.enter_async_context(Letters(file, ledger.clock)) for file in files]
            gateways = await self._build(backend, queue, files, folder)
            for member in gateways.members:
                stack.push_async_callback(member.stop)

            def look() -> None:
                dead.look()
                failed.look()

            blows = Blows(gateways, ledger, self._pace, look, self._tell)
            try:
                await asyncio.gather(*(member.start() for member in gateways.members))
                await self._load(gateways, blows)
                await self._end(gateways)
            except* (Died, Silent) as errors:
                ledger.faults.add(Fault.DIED, find_first(errors))
            look()
            return self._judge(blows, dead, failed)

    @contextlib.asynccontextmanager
    async def _queue(self, folder: Path) -> AsyncIterator[tuple[str, dict[str, object]]]:
        """The queue's URL, and what gateways that share it are told of each other. Raises `Unusable`, or `Died`."""
        sharing = self._plan.sharing
        if sharing is None:
            yield f"sqlite://{folder / 'queue.db'}", {}
            return
        async with store_for(sharing.store) as store:
            url = store.url_through(store.endpoint)
            yield url, sharing.settings(url)
            await _empty(store)

    async def _build(
        self, backend: EventBackend, queue: tuple[str, dict[str, object]], files: Files, folder: Path
    ) -> Gateways:
        url, shared = queue
        members = []
        for number in range(self._plan.gateways):
            own = folder / f"gateway-{number + 1}"
            own.mkdir()
            door = Door(f"gateway {number + 1}")
            await backend.open(door)
            settings = write_event_settings(door.url, url, files) | shared
            members.append(Member(number, door, settings, own, self._plan.serve))
        return Gateways(members)

    async def _load(self, gateways: Gateways, blows: Blows) -> None:
        """Hand all events over while the blows fall, and wait until the queue is empty."""
        plan, dice = self._plan, Random(f"{self._seed}/events")
        intents = list(write_intents(dice, plan.events))
        steps = plan_blows(dice, plan.kills, plan.gateways, plan.lease_seconds)
        try:
            await self._while_it_moves(self._hand_over(gateways, intents, blows, steps), blows)
            self._tell(f"all accepted, {self._ledger.done} done")
            await self._wait_until_empty(gateways)
        except Stalled as error:
            is_starved = bool(self._lag.starved_since(monotonic() - STALLED_SECONDS))
            fault = Fault.NOT_JUDGED if is_starved else Fault.LOST
            self._ledger.faults.add(fault, f"{error}{', and the machine was starved' if is_starved else ''}")

    async def _hand_over(
        self, gateways: Gateways, intents: Sequence[Intent], blows: Blows, steps: Sequence[Step]
    ) -> None:
        end = len(intents) + sum(not intent.function.is_closed for intent in intents)
        dice = [Random(f"{self._seed}/clients/{number}") for number in range(self._plan.clients)]
        async with asyncio.TaskGroup() as group:
            group.create_task(hand_over_all(gateways, self._ledger, self._pace, iter(intents), dice))
            group.create_task(blows.deal(steps, end))

    async def _while_it_moves(self, work: Coroutine[None, None, None], blows: Blows) -> None:
        """Raises `Stalled` where nothing happens at the backend nor to clients for too long."""
        task = asyncio.create_task(work)
        try:
            seen, since = -1, monotonic()
            while not task.done():
                if seen != self._ledger.changes:
                    seen, since = self._ledger.changes, monotonic()
                is_handed_over = self._ledger.accepted == self._plan.events and not blows.is_dealing
                limit = STALLED_SECONDS if is_handed_over else HANDED_OVER_SECONDS
                if monotonic() - since > limit:
                    raise Stalled(
                        f"nothing happened for {limit:g} s, with {self._ledger.accepted} of {self._plan.events} events "
                        f"accepted and {self._ledger.done} done"
                    )
                await asyncio.wait([task], timeout=LOOK_SECONDS)
            await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _wait_until_empty(self, gateways: Gateways) -> None:
        """Raises `Stalled`; `Silent` where a gateway does not tell how many events are left. What a dead gateway had
        claimed is in nobody's count until its lease has ended and a living one has looked, so it must stay empty for
        that long."""
        lease = self._plan.lease_seconds if self._plan.sharing is not None else 0.0
        looks = QUIET_LOOKS + int(2 * lease / LOOK_SECONDS)
        quiet, seen, since = 0, (-1, -1), monotonic()
        while quiet < looks:
            left = await gateways.count_events()
            quiet = quiet + 1 if left == 0 and not self._ledger.running else 0
            if seen != (left, self._ledger.changes):
                seen, since = (left, self._ledger.changes), monotonic()
            if monotonic() - since > STALLED_SECONDS:
                raise Stalled(f"{left} events stay in the queue: nothing moved for {STALLED_SECONDS:g} s")
            await asyncio.sleep(LOOK_SECONDS)

    async def _end(self, gateways: Gateways) -> None:
        """SIGTERM with an empty queue: every gateway must end, and end well."""
        for trouble in await asyncio.gather(*(member.end() for member in gateways.members)):
            if trouble is not None:
                self._ledger.faults.add(Fault.NOT_ENDED, trouble)

    def _judge(self, blows: Blows, dead: Letters, failed: Letters) -> EventsResult:
        ledger = self._ledger
        judge = Judge(ledger.faults, blows.dealt, self._lag.starved_since)
        (dead_letters, torn), (failures, also_torn) = dead.read(), failed.read()
        unreadable = [*torn, *also_torn]
        if len(unreadable) > 2 * sum(blow.kind.explains for blow in blows.dealt):
            ledger.faults.add(Fault.UNTOLD, f"no JSON: {unreadable[0][:200]!r}", len(unreadable))
        tally = judge.judge(ledger.events.values(), dead_letters, failures)
        return EventsResult(self._seed, monotonic() - self._began, tally, ledger.peaks, ledger.faults, blows.dealt)


async def _empty(store: Store) -> None:
    with contextlib.suppress(OSError, ValueError):
        await store.flush()


def find_first(errors: BaseException) -> str:
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return str(errors)
