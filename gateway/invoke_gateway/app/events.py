"""Composes the queue of asynchronous invocations, and its null twin for `async.mode: forward`.

`EventQueue` and `NoEventQueue` have the same attributes and methods, so that nothing else checks which one there is.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from secrets import token_hex
from socket import gethostname
from time import monotonic
from typing import NamedTuple

from ..admin.local_queue import LocalQueue
from ..asgi import App, Scope
from ..background import BackgroundTasks
from ..counters.base import Counters
from ..counters.tenant_environments import TenantEnvironments
from ..destinations.sqs import missing_extra
from ..destinations.targets import Destinations
from ..exchange import Exchange
from ..invocation import Function, Invocation, InvocationType, Operation
from ..middleware.admission import Admission
from ..middleware.fault_injection import DelayedEnqueue
from ..middleware.handoff import Enqueue
from ..policy.concurrency import Plan
from ..policy.events.event_rules import Delays
from ..policy.events.function_errors import FunctionErrors
from ..policy.limits import DEFAULT_ACCOUNT
from ..policy.os_text import printable
from ..policy.recursion import TRACE_HEADER, extend, hash_function, is_loop
from ..queue.adoption import Adoption, log_start
from ..queue.base import CannotOpen
from ..queue.clock import Clock
from ..queue.depths import SCRAPE_SECONDS, QueueGauges, QueueMonitor
from ..queue.dispatcher import Dispatcher
from ..queue.event import Event
from ..queue.from_request import invoke_scope, make_event
from ..queue.operator_actions import OperatorActions
from ..queue.origin import Origin, describe_backend
from ..queue.outcomes.delivery import Deliveries
from ..queue.runner import Admitted, Runner
from ..queue.scheduling.slot_gate import SlotGate
from ..refusals import Refusal
from ..settings import Settings
from ..telemetry.event_metrics import Events
from ..telemetry.event_totals import EventTotals
from ..telemetry.logs.summaries import DropSummary
from .limits import Tables
from .stores import make_event_store


class EventParts(NamedTuple):
    """Names what the queue needs of the rest of the gateway.

    last: the stage behind admission, which runs of events share with calls
    record: records the exchange of each run
    on_recursive: records a call that closes a loop of functions
    gateway: the name of this gateway at the store; None: a new one
    """

    counters: Counters
    environments: TenantEnvironments
    tables: Callable[[], Tables]
    tasks: BackgroundTasks
    last: App
    function_errors: FunctionErrors
    record: Callable[[Exchange, Scope], None]
    on_recursive: Callable[[Plan], None]
    gateway: str | None


class EventQueue:
    """Keeps events in a store, and runs them through the tail of the chain."""

    def __init__(self, settings: Settings, parts: EventParts) -> None:
        self.totals = EventTotals()
        self._settings = settings
        self._parts = parts
        self._degraded = parts.tasks.degraded
        self._degraded |= {"event_store": False, "events_held": False, "backend_refuses_events": False}
        self._drops = DropSummary(self.totals)
        self._clock = Clock()
        self._destinations = Destinations(region=settings.region, invoke=self._invoke_function)
        gateway = parts.gateway or f"g-{token_hex(4)}"
        store, self._location = make_event_store(settings, gateway, parts.tasks, self._clock)
        delays = Delays(
            settings.async_.function_error_delays_seconds,
            settings.async_.shortest_delay_seconds,
            settings.async_.longest_delay_seconds,
        )
        tables = parts.tables
        self.dispatcher = Dispatcher(
            store,
            # An event takes its slot as a call does: it may wait for nothing else.
            runner=Runner(
                Admission(Admitted(parts.last), counters=parts.counters, environments=parts.environments),
                on_exchange=parts.record,
                function_errors=parts.function_errors,
                limit=lambda: tables().response_quotas.response,
            ),
            slot_gate=SlotGate(parts.counters),
            deliveries=Deliveries(self._destinations, attempts=settings.async_.delivery_attempts, delays=delays),
            limits=lambda: tables().limits,
            rules=lambda event: tables().event_rules.of(event.account, event.function, event.qualifier),
            recorder=self.totals,
            delays=delays,
            now=self._clock,
            wall=self._clock.wall,
            background=parts.tasks,
            on_misconfigured=partial(self._degraded.__setitem__, "backend_refuses_events"),
            origin=Origin(
                describe_backend(settings.backend.url, settings.region),
                has_account=lambda account: account == DEFAULT_ACCOUNT or account in tables().limits.accounts,
            ),
        )
        parts.counters.on_free = self.dispatcher.on_slots_free
        self.on_call_refused = self.dispatcher.on_call_refused
        self.on_limits_changed = self.dispatcher.on_limits_changed
        self.drain = self.dispatcher.stop
        self.cancel_running = self.dispatcher.cancel_running
        where = self._location
        name = where if "://" in where else f"{where} on {printable(gethostname())}"
        self.monitor = QueueMonitor(
            self.dispatcher, limits=lambda: tables().limits, gauges=QueueGauges(name, now=self._clock)
        )
        self.metrics = Events(self.totals, self.monitor.gauges)

    @property
    def problem(self) -> str | None:
        """Returns the reason why events are not kept or not run; None while they are."""
        return self.monitor.problem

    def make_enqueue(self, *, with_faults: bool) -> Enqueue:
        """Returns the function that stores an event before its 202. With fault scripts it can be late."""
        return DelayedEnqueue(self._enqueue) if with_faults else self._enqueue

    @cached_property
    def local_queue(self) -> LocalQueue:
        """Returns the queue of this process, as `/queue` shows and changes it."""
        return LocalQueue(
            self.monitor,
            OperatorActions(self.dispatcher, now=self._clock),
            Adoption(self.dispatcher, now=self._clock),
            self.dispatcher.history,
            now=self._clock,
            store=self._location,
        )

    async def refresh(self) -> None:
        """Updates the depths that a scrape reads, at most every `SCRAPE_SECONDS`."""
        await self.monitor.refresh(at_most_every=SCRAPE_SECONDS)
        self._degraded |= self.monitor.degraded

    async def start(self) -> None:
        """Opens the store, and runs what waits in it. Raises `CannotOpen`."""
        missing = missing_extra(self._parts.tables().event_rules.targets())
        if missing is not None:
            raise CannotOpen(missing)
        waiting = await self.dispatcher.start()
        log_start(self._location, waiting, self.dispatcher.origin, self._clock())
        if self._settings.async_.adopt_events:
            self.dispatcher.spawn(Adoption(self.dispatcher, now=self._clock).adopt_all())

    async def close(self, seconds: float) -> None:
        """Ends the runs, and closes the store and the destinations.

        seconds: time left for runs under way
        """
        await self.monitor.close()
        await self.dispatcher.close(seconds)
        await self._destinations.close()
        self._drops.report()

    async def _enqueue(self, exchange: Exchange, scope: Scope) -> None:
        event = make_event(exchange, scope, region=self._settings.region, now=self._clock())
        if exchange.is_recursive:
            message = Refusal.RECURSIVE.message.format(function=event.function)
            status = Refusal.RECURSIVE.status
            await self.dispatcher.finish_without_run(event, "RecursiveInvocation", status, message)
        else:
            await self.dispatcher.accept(event)

    async def _invoke_function(self, function: Function, payload: bytes, *, account: str, cause: Event) -> None:
        """Enqueues an event for a function that is the destination of another. The event continues the chain of its
        cause, so that two functions which are destinations of each other are a loop."""
        region, limits = self._settings.region, self._parts.tables().limits.of(account)
        came_with = next((value for name, value in cause.headers if name == TRACE_HEADER), b"")
        trace = extend(came_with, hash_function(region, cause.account, cause.function))
        exchange = Exchange(monotonic())
        exchange.invocation = Invocation(Operation.INVOKE, function, InvocationType.EVENT)
        exchange.headers, exchange.body = {TRACE_HEADER: trace}, payload
        exchange.plan = limits.plan(function.name, function.qualifier)
        is_over = is_loop(trace, hash_function(region, exchange.plan.account, function.name))
        exchange.is_recursive = is_over and not limits.may_recurse(function.name)
        if exchange.is_recursive:
            self._parts.on_recursive(exchange.plan)
        await self._enqueue(exchange, invoke_scope(function, trace))


class NoEventQueue:
    """Does nothing: the backend queues events itself (`async.mode: forward`)."""

    dispatcher = monitor = local_queue = metrics = on_call_refused = problem = None

    def __init__(self) -> None:
        self.totals = EventTotals()

    def make_enqueue(self, *, with_faults: bool) -> None:
        """Returns None: events go on to the backend."""

    def on_limits_changed(self) -> None:
        """Does nothing."""

    def drain(self) -> None:
        """Does nothing."""

    def cancel_running(self) -> None:
        """Does nothing."""

    async def refresh(self) -> None:
        """Does nothing."""

    async def start(self) -> None:
        """Does nothing."""

    async def close(self, seconds: float) -> None:
        """Does nothing."""


def make_events(settings: Settings, parts: EventParts) -> EventQueue | NoEventQueue:
    """Makes the queue, or its null twin."""
    return NoEventQueue() if settings.async_.mode == "forward" else EventQueue(settings, parts)
