"""Whatever happens in whatever order: no limit is exceeded, and every event that was accepted ends."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from invoke_gateway.backend_errors import BackendReset, BackendUnreachable
from invoke_gateway.policy.concurrency import LimitReached
from invoke_gateway.policy.events.event_rules import EventRules, EventTargets
from invoke_gateway.queue.base import StoreError
from tests.queue.test_dispatcher import DLQ, ERROR, FAILURE, OK, SUCCESS, Answer, World
from tests.support.dispatching import MemoryStore, settle

FUNCTIONS = ("a", "b", "c", "reserved", "closed")
LATER: list[Answer] = [(429, b"{}", {}), (500, b"{}", {}), BackendReset(), BackendUnreachable("refused")]
ANSWERS: list[Answer] = [OK, OK, OK, ERROR, *LATER]


class Course:
    """One random course of things, by its seed; a crash puts another dispatcher on the same store."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.store = MemoryStore()
        targets = EventTargets(*(self.random.choice([None, target]) for target in (DLQ, SUCCESS, FAILURE)))
        self.rules = EventRules(self.random.choice([0, 1, 2]), self.random.choice([60, 300, 21_600]), targets)
        self.accepted: Counter[str] = Counter()
        self.limits = (self.random.randint(1, 6), {"reserved": 1, "closed": 0})
        self.now = 1_000_000.0
        self.runs: Counter[str] = Counter()
        self.told: Counter[str] = Counter()

    async def live(self, steps: int) -> None:
        """One dispatcher, from its start to its end by a crash."""
        async with self._world() as world:
            for _ in range(steps):
                await self._step(world)
                self._check(world)
            self._keep(world)

    async def end(self) -> None:
        """Nothing fails any more, and nobody else wants a slot: in the end everything has ended."""
        async with self._world() as world:
            for _ in range(400):
                for name, gates in world.gates.items():
                    if gates:
                        await world.let_go(name, len(gates))
                await world.clock.advance(97)
                self._check(world)
                if not self.store.events:
                    break
            assert self.store.events == {}
            assert not any(world.counters.counts().values())
            assert all(lane.running == 0 for lane in world.dispatcher.prefetch.lanes.values())
            self._keep(world)

    def _world(self) -> World:
        concurrent, reserve = self.limits
        world = World(concurrent, reserve, self.rules, self.store)
        world.clock.now = self.now
        self.slots: list[object] = []
        return world

    def _keep(self, world: World) -> None:
        self.now = world.clock.now
        self.runs.update(request_id for _, _, request_id in world.runs)
        self.told.update(event.request_id for _, _, event in world.told)

    async def _step(self, world: World) -> None:
        dice = self.random
        match dice.randrange(9):
            case 0 | 1 | 2:
                for _ in range(dice.choice([1, 1, 5, 40])):
                    await self._send(world, dice.choice(FUNCTIONS))
            case 3:
                name = dice.choice(FUNCTIONS[:4])
                world.answers.setdefault(name, []).extend(dice.choices(ANSWERS, k=5))
            case 4:
                name = dice.choice(FUNCTIONS[:4])
                (world.held.discard if name in world.held else world.held.add)(name)
            case 5:
                waiting = [name for name, gates in world.gates.items() if gates]
                if waiting:
                    name = dice.choice(waiting)
                    await world.let_go(name, dice.randint(1, len(world.gates[name])))
            case 6:
                await self._call(world)
            case 7:
                self.limits = (dice.randint(1, 6), {"reserved": dice.randint(0, 1), "closed": 0})
                world.set_limits(*self.limits)
                world.dispatcher.on_limits_changed()
            case 8:
                await world.clock.advance(dice.choice([0.1, 1, 20, 130]))
        await settle()

    async def _send(self, world: World, name: str) -> None:
        world.store.fault = StoreError("full", "full") if self.random.random() < 0.05 else None
        event = world.make(name)
        try:
            await world.dispatcher.accept(event)
        except StoreError:
            return
        self.accepted[event.request_id] += 1

    async def _call(self, world: World) -> None:
        """Somebody's synchronous call begins, or one ends."""
        if self.slots and self.random.random() < 0.6:
            self.slots.pop().release()  # type: ignore[attr-defined]  # they are slots
            return
        plan = world.limits.default.plan(self.random.choice(FUNCTIONS))
        plan.rates = ()
        taken = await world.counters.acquire(plan)
        if isinstance(taken, LimitReached):
            world.dispatcher.on_call_refused(taken, plan)
        else:
            self.slots.append(taken)

    def _check(self, world: World) -> None:
        """The counters have refused what is too much; that the dispatcher has not gone around them is seen here."""
        account = world.limits.default
        held = world.counters.in_use(account.account_counter)
        assert sum(world.running.values()) <= held
        assert world.running["closed"] == 0
        assert world.most["all"] <= 6
        assert world.most["reserved"] <= 1


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=() if seed < 30 else pytest.mark.soak) for seed in range(300)]
)
async def test_no_limit_is_exceeded_and_every_event_ends(seed: int) -> None:
    course = Course(seed)
    for _ in range(3):
        await course.live(60)
    await course.end()
    assert course.accepted
    ended = course.runs.keys() | course.told.keys()
    if course.rules.targets.dead_letter_queue or course.rules.targets.on_failure:
        assert course.accepted.keys() <= ended  # each has run, or somebody was told why not
    assert ended <= course.accepted.keys()
