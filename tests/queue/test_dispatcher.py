"""Checks that every event runs under the limits, is retried by the rules, and is never lost."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from invoke_gateway.asgi import EXCHANGE
from invoke_gateway.backend_errors import BackendReset, BackendTimeout, BackendUnreachable
from invoke_gateway.counters.local_slots import LocalSlot
from invoke_gateway.counters.memory import MemoryCounters
from invoke_gateway.counters.pending_slot import PendingSlot
from invoke_gateway.exchange import Exchange
from invoke_gateway.invocation import Function, Invocation, InvocationType, Operation
from invoke_gateway.middleware.admission import Admission
from invoke_gateway.policy.concurrency import LimitReached, Plan
from invoke_gateway.policy.control.state import ProvisionedConfig
from invoke_gateway.policy.events.event_rules import Delays, EventRules, EventTargets
from invoke_gateway.policy.limits import AccountLimits, FunctionLimits, Limits
from invoke_gateway.queue.base import DeliveryFailed, StoreError
from invoke_gateway.queue.dispatcher import Dispatcher
from invoke_gateway.queue.event import Event
from invoke_gateway.queue.from_request import make_event
from invoke_gateway.queue.outcomes.delivery import Deliveries
from invoke_gateway.queue.runner import Admitted, Runner
from invoke_gateway.queue.scheduling.slot_gate import SlotGate
from invoke_gateway.telemetry.event_totals import EventTotals
from tests.support.dispatching import Clock, MemoryStore, settle

Answer = tuple[int, bytes, dict[bytes, bytes]] | Exception
OK: Answer = (200, b'"done"', {b"x-amz-executed-version": b"$LATEST"})
ERROR: Answer = (200, b'{"errorMessage": "no", "errorType": "E"}', {b"x-amz-function-error": b"Unhandled"})
DLQ, SUCCESS, FAILURE = "file:///dlq", "file:///success", "file:///failure"


class World:
    """A dispatcher with everything around it. Functions answer what `answers` says, in order, then OK; where `gate` has
    a function's name they run until they are let go."""

    def __init__(
        self,
        concurrent: int = 10,
        reserve: Mapping[str, int] | None = None,
        rules: EventRules | None = None,
        store: MemoryStore | None = None,
    ) -> None:
        self.store = store or MemoryStore()
        self.clock = Clock()
        self.counters = MemoryCounters(self.clock)
        self.set_limits(concurrent, reserve or {})
        self.rules = rules or EventRules()
        self.totals = EventTotals()
        self.answers: dict[str, list[Answer]] = {}
        self.held: set[str] = set()
        self.gates: dict[str, list[asyncio.Future[None]]] = {}
        self.runs: list[tuple[float, str, str]] = []
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.told: list[tuple[str, str, Event]] = []
        self.failing: set[str] = set()
        self.room = SlotGate(self.counters, clock=self.clock)
        self.dispatcher = self._make()

    def set_limits(self, concurrent: int, reserve: Mapping[str, int]) -> None:
        functions = {name: FunctionLimits(slots) for name, slots in reserve.items()}
        self.limits = Limits(AccountLimits("a", concurrent, functions, requests_per_second=0.001))

    def _make(self) -> Dispatcher:
        delays = Delays()
        dispatcher = Dispatcher(
            self.store,
            runner=Runner(Admission(Admitted(self._backend), counters=self.counters), on_exchange=lambda e, s: None),
            slot_gate=self.room,
            deliveries=Deliveries(self._deliver, attempts=3, delays=delays, rng=lambda: 0.0),
            limits=lambda: self.limits,
            rules=lambda event: self.rules,
            recorder=self.totals,
            delays=delays,
            now=self.clock,
            call_later=self.clock.call_later,
            rng=lambda: 0.0,
        )
        self.counters.on_free = dispatcher.on_slots_free
        return dispatcher

    async def _backend(self, scope: Any, receive: Any, send: Any) -> None:
        exchange: Exchange = scope[EXCHANGE]
        assert exchange.invocation is not None
        name = exchange.invocation.function.name
        self.runs.append((self.clock.now, name, exchange.request_id))
        self.running[name] += 1
        self.most[name] = max(self.most[name], self.running[name])
        self.most["all"] = max(self.most["all"], sum(self.running.values()))
        try:
            if name in self.held:
                gate = asyncio.get_running_loop().create_future()
                self.gates.setdefault(name, []).append(gate)
                await gate
        finally:
            self.running[name] -= 1
        answers = self.answers.get(name)
        answer = answers.pop(0) if answers else OK
        if isinstance(answer, Exception):
            raise answer
        status, body, headers = answer
        await send({"type": "http.response.start", "status": status, "headers": list(headers.items())})
        await send({"type": "http.response.body", "body": body})

    async def _deliver(self, kind: str, target: str, event: Event) -> None:
        await asyncio.sleep(0)
        if target in self.failing:
            raise DeliveryFailed("nobody is there")
        self.told.append((kind, target, event))

    async def __aenter__(self) -> World:
        await self.dispatcher.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.dispatcher.close(0)

    def make(
        self,
        name: str = "f",
        body: bytes = b"{}",
        operation: Operation = Operation.INVOKE,
        qualifier: str | None = None,
    ) -> Event:
        exchange = Exchange(0.0)
        exchange.invocation = Invocation(operation, Function(name, qualifier), InvocationType.EVENT)
        exchange.plan = self.limits.default.plan(name)
        exchange.body = body
        scope = {
            "raw_path": b"/2015-03-31/functions/%b/invocations" % name.encode(),
            "query_string": b"",
            "headers": [],
        }
        return make_event(exchange, scope, region="us-east-1", now=self.clock.now)

    async def send(self, name: str = "f", body: bytes = b"{}", times: int = 1, qualifier: str | None = None) -> Event:
        for _ in range(times):
            event = self.make(name, body, qualifier=qualifier)
            await self.dispatcher.accept(event)
        await settle()
        return event

    async def let_go(self, name: str, how_many: int = 1) -> None:
        for _ in range(how_many):
            self.gates[name].pop(0).set_result(None)
        await settle()

    def when(self, name: str = "f") -> list[float]:
        """Seconds after the start at which the function was run."""
        return [at - 1_000_000.0 for at, ran, _ in self.runs if ran == name]

    @property
    def conditions(self) -> dict[str, int]:
        return {condition: events for (_, _, condition), events in self.totals.drops.items()}


async def test_an_event_is_run_at_once_and_then_gone() -> None:
    async with World() as world:
        event = await world.send()
        assert world.runs == [(world.clock.now, "f", event.request_id)]
        assert world.store.events == {}
        assert world.conditions == {}


# The tables of the contract: seconds after which the function ran, and how the event ended.
@pytest.mark.parametrize(
    ("attempts", "age", "runs", "condition"),
    [
        (2, 21_600, [0, 60, 180], "RetriesExhausted"),
        (1, 21_600, [0, 60], "RetriesExhausted"),
        (0, 21_600, [0], "RetriesExhausted"),
        (2, 60, [0], "EventAgeExceeded"),
        (2, 61, [0, 60], "EventAgeExceeded"),
        (2, 90, [0, 60], "EventAgeExceeded"),
        (2, 180, [0, 60], "EventAgeExceeded"),
        (2, 181, [0, 60, 180], "RetriesExhausted"),
    ],
)
async def test_a_function_that_fails_is_run_again_by_the_table(
    attempts: int, age: int, runs: list[int], condition: str
) -> None:
    async with World(rules=EventRules(attempts, age, EventTargets(DLQ, SUCCESS, FAILURE))) as world:
        world.answers["f"] = [ERROR] * 9
        event = await world.send()
        await world.clock.advance(30_000)
        assert world.when() == runs
        assert world.conditions == {condition: 1}
        assert [(kind, target) for kind, target, _ in world.told] == [
            ("dead_letter_queue", DLQ),
            ("on_failure", FAILURE),
        ]
        told = world.told[0][2]
        assert told.request_id == event.request_id
        assert {request_id for _, _, request_id in world.runs} == {event.request_id}
        assert told.runs == len(runs)
        assert told.outcome is not None
        assert told.outcome.answer is not None
        assert json.loads(told.outcome.answer.payload)["errorMessage"] == "no"
        assert world.store.events == {}


@pytest.mark.parametrize("answer", [(429, b"{}", {}), (500, b"{}", {}), (503, b"{}", {}), BackendReset()])
async def test_throttles_and_system_errors_of_the_backend_use_up_no_attempt(answer: Answer) -> None:
    async with World(rules=EventRules(0, 21_600)) as world:
        world.answers["f"] = [answer] * 12
        await world.send()
        await world.clock.advance(3_000)
        assert world.when() == [0, 1, 3, 7, 15, 31, 63, 127, 255, 511, 811, 1111, 1411]
        assert world.conditions == {}
        assert world.store.events == {}


async def test_a_retry_that_would_come_too_late_is_not_scheduled() -> None:
    async with World(rules=EventRules(2, 60)) as world:
        world.answers["f"] = [(500, b'{"Message": "later"}', {})] * 99
        await world.send()
        await world.clock.advance(100)
        assert world.when() == [0, 1, 3, 7, 15, 31]  # the next would be at 63
        assert world.conditions == {"EventAgeExceeded": 1}


async def test_a_call_that_took_too_long_is_an_error_of_the_function() -> None:
    async with World() as world:
        world.answers["f"] = [BackendTimeout()] * 9
        await world.send()
        await world.clock.advance(500)
        assert world.when() == [0, 60, 180]


async def test_what_the_backend_will_never_run_ends_at_once() -> None:
    async with World(rules=EventRules(targets=EventTargets(dead_letter_queue=DLQ))) as world:
        world.answers["f"] = [(404, b'{"Message": "Function not found: f"}', {})]
        await world.send()
        assert world.conditions == {"RetriesExhausted": 1}
        outcome = world.told[0][2].outcome
        assert outcome is not None
        assert (outcome.error_code, outcome.error_message) == (404, "Function not found: f")


async def test_a_reservation_of_0_ends_an_event_at_once_and_unrun() -> None:
    rules = EventRules(targets=EventTargets(dead_letter_queue=DLQ, on_failure=FAILURE))
    async with World(reserve={"f": 0}, rules=rules) as world:
        await world.send()
        assert world.runs == []
        assert world.conditions == {"ZeroReservedConcurrency": 1}
        assert [kind for kind, _, _ in world.told] == ["dead_letter_queue", "on_failure"]
        outcome = world.told[0][2].outcome
        assert outcome is not None
        assert outcome.answer is None


async def test_success_is_told_where_it_is_wanted() -> None:
    async with World(rules=EventRules(targets=EventTargets(DLQ, SUCCESS, FAILURE))) as world:
        await world.send()
        assert [(kind, target) for kind, target, _ in world.told] == [("on_success", SUCCESS)]
        assert world.store.events == {}


async def test_events_never_run_above_a_limit_and_a_freed_slot_wakes_the_next() -> None:
    async with World(concurrent=5, reserve={"f": 2}) as world:
        world.held |= {"f", "g"}
        await world.send("f", times=10)
        await world.send("g", times=10)
        assert (world.running["f"], world.running["g"]) == (2, 3)
        for _ in range(4):
            await world.let_go("f", 2)
        await world.let_go("g", 3)
        assert (world.running["f"], world.running["g"]) == (2, 3)
        await world.let_go("f", 2)
        await world.let_go("g", 3)
        await world.let_go("g", 3)
        await world.let_go("g", 1)
        assert (world.most["f"], world.most["g"], world.most["all"]) == (2, 3, 5)
        assert world.clock.now == 1_000_000.0  # nothing had to wait for a time
        assert world.store.events == {}


async def test_a_slot_that_a_call_gives_back_goes_to_a_waiting_event() -> None:
    async with World(concurrent=1) as world:
        slot = await world.counters.acquire(world.limits.default.pool_plan())
        assert not isinstance(slot, LimitReached)
        await world.send()
        assert world.runs == []
        slot.release()
        await settle()
        assert len(world.runs) == 1


async def test_a_throttled_lane_tries_ever_more_seldom_and_counts_each_throttle_and_no_attempt() -> None:
    async with World(concurrent=1, rules=EventRules(0, 21_600)) as world:
        slot = await world.counters.acquire(world.limits.default.pool_plan())
        await world.send()
        await world.clock.advance(20)
        assert world.totals.retries[("a", "other", "throttle")] == 5  # at 0, 1, 3, 7 and 15
        await world.clock.advance(1_000)
        assert world.runs == []
        slot.release()
        await settle()
        assert len(world.runs) == 1
        assert world.conditions == {}


async def test_events_that_are_throttled_until_they_are_too_old_are_dropped() -> None:
    async with World(concurrent=1, rules=EventRules(2, 60, EventTargets(dead_letter_queue=DLQ))) as world:
        await world.counters.acquire(world.limits.default.pool_plan())
        await world.send(times=3)
        await world.clock.advance(30)
        assert world.conditions == {}
        await world.clock.advance(100)
        assert world.conditions == {"EventAgeExceeded": 3}
        outcome = world.told[0][2].outcome
        assert outcome is not None
        assert (outcome.error_code, outcome.answer) == (429, None)


async def test_a_backend_that_cannot_be_reached_makes_the_lane_wait_and_loses_nothing() -> None:
    async with World(rules=EventRules(0, 21_600)) as world:
        world.answers["f"] = [BackendUnreachable("refused")] * 8
        await world.send(times=20)
        await world.clock.advance(1_000)
        assert len(world.runs) == 28
        assert world.conditions == {}
        assert world.store.events == {}


async def test_one_functions_backlog_does_not_delay_anothers_first_event() -> None:
    async with World(concurrent=2) as world:
        world.held |= {"busy", "rare"}
        await world.send("busy", times=300)
        await world.send("rare")
        assert world.running["busy"] == 2
        await world.let_go("busy")
        await world.let_go("busy")
        assert world.running["rare"] == 1


async def test_lanes_take_turns_one_event_each() -> None:
    async with World(concurrent=1) as world:
        slot = await world.counters.acquire(world.limits.default.pool_plan())
        for name in ("a", "b", "c"):
            await world.send(name, times=4)
        slot.release()
        await settle()
        await world.clock.advance(10)
        order = "".join(name for _, name, _ in world.runs)
        assert len(order) == 12
        assert all(set(order[turn : turn + 3]) == {"a", "b", "c"} for turn in (0, 3, 6, 9))


async def test_while_calls_are_refused_a_backlog_leaves_half_of_the_limit_to_them() -> None:
    async with World(concurrent=4) as world:
        world.held.add("f")
        await world.send(times=100)
        assert world.running["f"] == 4
        plan = world.limits.default.plan("f")
        full = await world.counters.acquire(plan)
        assert isinstance(full, LimitReached)
        world.dispatcher.on_call_refused(full, plan)
        await world.let_go("f", 2)
        assert world.running["f"] == 2
        await world.let_go("f")
        assert world.running["f"] == 2  # its half it keeps: a backlog does not starve
        await world.clock.advance(11)
        assert world.running["f"] == 4  # nobody was refused for ten seconds


async def test_of_a_limit_of_one_slot_a_backlog_has_half_of_the_time_while_calls_are_refused() -> None:
    async with World(concurrent=1) as world:
        world.held.add("f")
        await world.send(times=3)
        plan = world.limits.default.plan("f")
        world.dispatcher.on_call_refused(await world.counters.acquire(plan), plan)
        await world.clock.advance(3)
        await world.let_go("f")
        assert world.running["f"] == 0
        await world.clock.advance(2.9)
        assert world.running["f"] == 0
        await world.clock.advance(0.2)
        assert world.running["f"] == 1


async def test_a_large_backlog_is_on_disk_and_not_in_memory() -> None:
    async with World(concurrent=1) as world:
        world.held.add("f")
        await world.send(times=2_000)
        assert sum(len(lane.ready) for lane in world.dispatcher.prefetch.lanes.values()) <= 300
        world.held.clear()
        await world.let_go("f")
        for _ in range(200):
            await settle()
        assert len(world.runs) == 2_000
        assert world.store.events == {}


async def test_what_cannot_be_stored_is_refused_and_not_run() -> None:
    async with World() as world:
        world.store.fault = StoreError("full", "The disk is full.")
        with pytest.raises(StoreError):
            await world.dispatcher.accept(world.make())
        await settle()
        assert world.runs == []


async def test_a_target_that_fails_is_tried_again_then_counted_and_the_event_is_kept() -> None:
    async with World(rules=EventRules(targets=EventTargets(on_success=SUCCESS))) as world:
        world.failing.add(SUCCESS)
        event = await world.send()
        await world.clock.advance(100)
        assert world.told == []
        assert world.totals.undelivered == {("a", "other", "on_success"): 1}
        assert len(world.runs) == 1
        [kept] = world.store.events.values()
        assert (kept.lane, kept.request_id) == ("a/undelivered/f", event.request_id)
        assert kept.outcome is not None
        assert kept.outcome.problem == "nobody is there"


async def test_of_two_targets_only_the_one_that_failed_is_tried_again() -> None:
    async with World(rules=EventRules(targets=EventTargets(dead_letter_queue=DLQ, on_failure=FAILURE))) as world:
        world.answers["f"] = [(404, b"{}", {})]
        world.failing.add(FAILURE)
        await world.send()
        world.failing.clear()
        await world.clock.advance(5)
        assert [kind for kind, _, _ in world.told] == ["dead_letter_queue", "on_failure"]
        assert world.store.events == {}


async def test_shutdown_starts_nothing_and_the_next_start_runs_what_was_left() -> None:
    store = MemoryStore()
    async with World(concurrent=1, store=store) as world:
        world.held.add("f")
        await world.send(times=5)
        world.dispatcher.stop()
        await world.let_go("f")
        assert len(world.runs) == 1
        await world.dispatcher.accept(world.make())  # a request that was under way
    assert len(store.events) == 5
    async with World(store=store) as after:
        await settle()
        assert len(after.runs) == 5
        assert store.events == {}


async def test_a_run_that_is_cut_off_by_the_shutdown_runs_again_after_the_next_start() -> None:
    store = MemoryStore()
    async with World(store=store) as world:
        world.held.add("f")
        await world.send()
    assert len(store.events) == 1
    async with World(store=store) as after:
        await settle()
        assert len(after.runs) == 1


async def test_an_outcome_that_was_stored_is_told_after_a_crash_and_the_function_not_run_again() -> None:
    store = MemoryStore()
    rules = EventRules(targets=EventTargets(on_success=SUCCESS))
    async with World(store=store, rules=rules) as world:
        world.failing.add(SUCCESS)
        await world.send()
    async with World(store=store, rules=rules) as after:
        await after.clock.advance(5)
        assert after.runs == []
        assert [kind for kind, _, _ in after.told] == ["on_success"]


async def test_new_limits_wake_what_waited() -> None:
    async with World(concurrent=1, reserve={"f": 1}) as world:
        world.held.add("f")
        await world.send(times=3)
        assert world.running["f"] == 1
        world.set_limits(10, {"f": 3})
        world.dispatcher.on_limits_changed()
        await settle()
        assert world.running["f"] == 3


PROVISIONED = {"f": {"live": ProvisionedConfig(1, 0.0, "7")}}


def provision(concurrent: int, reserved: int | None) -> Limits:
    return Limits(AccountLimits("a", concurrent, {"f": FunctionLimits(reserved)}, provisioned=PROVISIONED))


@pytest.mark.parametrize("reserved", [None, 2])
@pytest.mark.parametrize("freed", ["provisioned", "on demand"])
async def test_a_slot_of_any_lane_of_its_version_wakes_an_event_at_once(reserved: int | None, freed: str) -> None:
    async with World() as world:
        world.limits = provision(3, reserved)
        account = world.limits.default
        plans = [account.plan("f", "live"), account.plan("f"), account.pool_plan()]
        first, second, _ = [await world.counters.acquire(plan) for plan in plans]
        assert not isinstance(first, LimitReached)
        assert not isinstance(second, LimitReached)
        if reserved is None:
            assert isinstance(await world.counters.acquire(account.pool_plan()), LimitReached)
        await world.send(qualifier="live", times=2)
        assert world.runs == []
        (first if freed == "provisioned" else second).release()
        await settle()
        assert len(world.runs) == 2, "and no timer has run"


@pytest.mark.parametrize("change", ["pool", "provisioned"])
async def test_limits_that_make_room_wake_an_event_of_a_version_at_once(change: str) -> None:
    async with World() as world:
        world.limits = before = provision(2, None)
        plans = [world.limits.default.plan("f", "live"), world.limits.default.pool_plan()]
        taken = [await world.counters.acquire(plan) for plan in plans]
        assert not any(isinstance(slot, LimitReached) for slot in taken)
        await world.send(qualifier="live", times=2)
        assert world.runs == []
        more = {"f": {"live": ProvisionedConfig(2, 0.0, "7")}}
        world.limits = provision(3, None) if change == "pool" else Limits(AccountLimits("a", 3, {}, provisioned=more))
        world.limits.supersede(before)
        world.dispatcher.on_limits_changed()
        await settle()
        assert len(world.runs) == 2


async def test_an_event_that_was_refused_by_limits_which_were_replaced_meanwhile_is_tried_again_at_once() -> None:
    async with World(concurrent=1, reserve={"f": 1}) as world:
        before = world.limits
        full = await world.counters.acquire(before.default.plan("f"))
        assert not isinstance(full, LimitReached)
        acquire, acquire_now = world.counters.acquire, world.counters.acquire_now

        async def acquire_late(plan: Plan) -> LocalSlot | LimitReached:
            """Refuses by the old limits, as a store does whose reply is on its way while the limits change."""
            refused = acquire_now(plan)
            world.counters.acquire = acquire  # type: ignore[method-assign]  # the store's answer comes once
            world.counters.acquire_now = acquire_now  # type: ignore[method-assign]  # as above
            world.set_limits(2, {"f": 2})
            world.limits.supersede(before)
            world.dispatcher.on_limits_changed()
            await settle()
            return refused

        def ask(plan: Plan) -> PendingSlot[LocalSlot]:
            pending: PendingSlot[LocalSlot] = PendingSlot(asyncio.get_running_loop())
            asking = asyncio.create_task(acquire_late(plan))
            asking.add_done_callback(lambda asked: pending.end(asked.result()))
            return pending

        world.counters.acquire = acquire_late  # type: ignore[method-assign]  # its answer comes late
        world.counters.acquire_now = ask  # type: ignore[method-assign, assignment]  # it has to be asked
        await world.send()
        await settle()
        assert len(world.runs) == 1


async def test_many_lanes_behind_one_limit_all_get_on() -> None:
    async with World(concurrent=3) as world:
        slots = [await world.counters.acquire(world.limits.default.pool_plan()) for _ in range(3)]
        for number in range(120):
            await world.send(f"f{number}")
        for slot in slots:
            slot.release()
        for _ in range(50):
            await settle()
        assert len(world.runs) == 120
        assert world.most["all"] <= 3
        assert world.dispatcher.prefetch.lanes == {}


async def test_what_others_may_have_by_now_waits_until_that_is_known() -> None:
    async with World(concurrent=1) as world:
        slot = await world.counters.acquire(world.limits.default.pool_plan())
        await world.send(times=5)
        world.store.holding = None  # this process stood still
        slot.release()
        await world.clock.advance(5)
        assert world.runs == []
        world.store.holding = True
        await world.clock.advance(5)
        assert len(world.runs) == 5


async def test_what_others_have_by_now_is_let_go_of_unrun_and_unsettled() -> None:
    async with World(concurrent=1) as world:
        slot = await world.counters.acquire(world.limits.default.pool_plan())
        await world.send(times=5)
        world.store.holding = False
        slot.release()
        await world.clock.advance(5)
        assert world.runs == []
        assert len(world.store.events) == 5
