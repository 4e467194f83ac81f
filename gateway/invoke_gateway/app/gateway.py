"""Where objects meet: the only file that names concrete classes, and the chain as one list in running order."""

from __future__ import annotations

import asyncio
import platform
import ssl
from collections.abc import Callable
from functools import cached_property, partial
from secrets import token_hex
from socket import gethostname
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from .. import __version__
from ..admin.holder_sources import LocalHolders, SharedHolders
from ..admin.holds import Holds
from ..admin.live.document import LiveView
from ..admin.live.sparklines import Sparklines
from ..admin.live.stream import LiveStream
from ..admin.local_queue import LocalQueue
from ..asgi import App, Scope
from ..background import BackgroundTasks
from ..buffers import Buffers
from ..counters.memory import MemoryCounters
from ..destinations.sqs import missing_extra
from ..destinations.targets import Destinations as Destinations
from ..exchange import Exchange
from ..invocation import Function, Invocation, InvocationType, Operation
from ..middleware.admission import Admission, Precheck
from ..middleware.authenticate import Authenticate
from ..middleware.cors import CorsHeaders
from ..middleware.error_response import ErrorResponse
from ..middleware.fault_injection import DelayedEnqueue, FaultInjection, InjectedDelay
from ..middleware.handoff import Enqueue, Handoff
from ..middleware.identify import Identify
from ..middleware.length import CheckLength
from ..middleware.payload import ReadPayload
from ..middleware.record import Record
from ..middleware.recursion import Recursion
from ..policy.cors import CorsRules
from ..policy.event_rules import Delays, EventRules, EventTargets, RuleBook
from ..policy.fault_script import FaultScripts
from ..policy.function_errors import FunctionErrors
from ..policy.limits import DEFAULT_ACCOUNT, AccountLimits, FunctionLimits, Limits
from ..policy.os_text import printable
from ..policy.payload import PayloadQuotas
from ..policy.recursion import TRACE_HEADER, extend, hash_function, is_loop
from ..queue.adoption import Adoption, log_start
from ..queue.base import CannotOpen, Store
from ..queue.clock import Clock
from ..queue.control import Control
from ..queue.delivery import Deliveries
from ..queue.depths import SCRAPE_SECONDS, QueueGauges, QueueMonitor
from ..queue.dispatcher import Dispatcher
from ..queue.event import Event
from ..queue.from_request import invoke_scope, make_event
from ..queue.location import find_file
from ..queue.origin import Origin, describe_backend
from ..queue.runner import RUN, Admitted, Runner
from ..queue.slot_gate import SlotGate
from ..queue.sqlite.store import SqliteStore
from ..refusals import Refusal
from ..settings import Account, Settings
from ..settings import Function as FunctionSettings
from ..store.store_name import name_store
from ..telemetry.event_metrics import Events
from ..telemetry.event_totals import EventTotals
from ..telemetry.last_refusals import LastRefusals
from ..telemetry.log import DropSummary, RefusalSummary, write_access_line
from ..telemetry.metrics import Facts, GatewayCollector
from ..telemetry.store_metrics import Counters
from ..telemetry.totals import Totals
from ..upstream.forward import Forward, ResponseQuotas
from ..upstream.health import BackendState, BackendWatch
from ..upstream.pool import Pool
from ..write_batcher import WriteBatcher

if TYPE_CHECKING:
    from ..counters.shared.counters import SharedCounters

Stage = Callable[[App], App]


class Tables(NamedTuple):
    """What a reload replaces."""

    limits: Limits
    payload_quotas: PayloadQuotas
    response_quotas: ResponseQuotas
    event_rules: RuleBook


class Gateway:
    """One gateway: the ASGI application `invoke`, and what the admin listener and the server ask it.

    `backend_url` is the origin of the backend, also where the settings say `demo`; `name` is how gateways that share
    counters know it, one that nobody else has unless it is given.
    """

    def __init__(
        self, settings: Settings, *, backend_url: str, name: str | None = None, tasks: BackgroundTasks | None = None
    ) -> None:
        self.settings = settings
        self.clock = Clock()
        self.tasks = tasks or BackgroundTasks()
        self.is_draining = False
        self._drained_by = 0.0
        self.degraded = self.tasks.degraded
        self.degraded |= {"settings_invalid": False, "restart_needed": False}
        if settings.async_.mode == "queue":
            self.degraded |= {"event_store": False, "events_held": False, "backend_refuses_events": False}
        self._has_access_log = settings.access_log
        self.cors = CorsRules(settings.cors.allow_origins) if settings.cors.allow_origins else None
        self.buffers = Buffers(settings.buffer_bytes)
        self.write_batcher = WriteBatcher()
        self.shared = _make_shared(settings, name, lambda: self.tables.limits, self.tasks)
        self.counters: MemoryCounters = self.shared or MemoryCounters()
        self.totals = Totals()
        self.totals.background_task_failures = self.tasks.failures
        self.refusals = RefusalSummary(self.totals)
        self.pool = _make_pool(settings, backend_url, self.buffers, self.write_batcher)
        self.backend = BackendState(backend_url)
        self.backend_watch = BackendWatch(self.backend, self.pool)
        self.pool.on_failure = self.backend_watch.record_failure
        self.tables = self.make_tables(settings)
        place = (name or "").partition(".")[2]  # of a worker
        self.holds = Holds(self.counters, limits=lambda: self.tables.limits, prefix=f"{place}-" if place else "")
        self.holder_source = self._make_holder_source(self.shared)
        self.last_refusals = LastRefusals(self.counters, holds=self.holds.by_counter)
        self.sparklines = Sparklines(self.counters)
        self.live_stream = LiveStream(
            LiveView(
                limits=lambda: self.tables.limits,
                levels=self.counters,
                totals=self.totals,
                sparklines=self.sparklines,
                holds=self.holds.by_counter,
                refusals=self.last_refusals,
                is_draining=lambda: self.is_draining,
                shared=self.shared,
            ),
            tasks=self.tasks,
            read_sums=self.shared.read_sums if self.shared else None,
        )
        backend_host = urlsplit(backend_url).netloc
        backend = settings.backend
        function_errors = FunctionErrors(backend.function_errors, has_function_path=backend.function_path is not None)
        forward = Forward(
            self.pool,
            buffers=self.buffers,
            quotas=lambda: self.tables.response_quotas,
            region=settings.region,
            own_host=backend_host,
            host=None if settings.backend.host_header == "preserve" else backend_host,
            function_path=settings.backend.function_path,
            function_errors=function_errors if function_errors.reads_every_body else None,
        )
        self.fault_scripts = FaultScripts() if settings.faults else None
        last: App = forward if self.fault_scripts is None else InjectedDelay(forward)
        self.event_totals = EventTotals()
        self._targets = Destinations(region=settings.region, invoke=self._invoke_function)
        self.drops = DropSummary(self.event_totals)
        self.events = self._make_events(settings, last, function_errors)
        self.queue = None if self.events is None else self._make_queue(settings, self.events)
        self.collector = GatewayCollector(
            self.totals,
            limits=lambda: self.tables.limits,
            levels=self.counters,
            holds=self.holds.by_counter,
            buffers=self.buffers,
            upstream=self.pool,
            backend=self.backend,
            degraded=self.degraded,
            counters=_describe_counters(settings, self.shared),
            events=None if self.queue is None else Events(self.event_totals, self.queue.gauges),
            facts=Facts(__version__, platform.python_version(), settings.backend.timeout_seconds),
        )
        self.stages = self._list_stages(settings, last)
        self.invoke = _chain(self.stages, last)

    def _list_stages(self, settings: Settings, last: App) -> list[partial[Any]]:
        """The chain in running order. What each stage may rely on is what stands above it."""
        retry = settings.retry
        return [
            partial(Record, tell=self._tell),
            *([] if self.cors is None else [partial(CorsHeaders, rules=self.cors)]),
            partial(
                ErrorResponse,
                retry_after=retry.retry_after,
                x_amz_retry_after=retry.x_amz_retry_after,
                longest_retry_seconds=retry.maximum_seconds,
                decision_header=settings.decision_header,
            ),
            partial(Identify, region=settings.region),
            partial(Authenticate, limits=lambda: self.tables.limits),
            partial(
                Recursion,
                region=settings.region,
                limits=lambda: self.tables.limits,
                tell=self.totals.note_recursive,
                queues_events=self.events is not None,
            ),
            *self._list_injection(settings),
            partial(CheckLength, quotas=lambda: self.tables.payload_quotas),
            partial(Precheck, counters=self.counters),
            partial(ReadPayload, quotas=lambda: self.tables.payload_quotas, buffers=self.buffers),
            partial(
                Handoff,
                unadmitted=last,
                enqueue=self._choose_enqueue(),
                before_runtime=settings.backend.function_path is not None,
            ),
            partial(Admission, counters=self.counters),
        ]

    def _list_injection(self, settings: Settings) -> list[partial[Any]]:
        """Nothing, unless fault scripts are allowed."""
        if self.fault_scripts is None:
            return []
        return [
            partial(
                FaultInjection,
                scripts=self.fault_scripts,
                tell=self.totals.note_injected,
                region=settings.region,
                decision_header=settings.decision_header,
            )
        ]

    def make_tables(self, settings: Settings) -> Tables:
        """The accounts, credentials and quotas of `settings` as tables. They are in force once `tables` is set to
        them; requests under way keep what they have. Touches nothing, so another thread may do it: with a million
        functions it takes a second."""
        quotas = settings.quotas
        return Tables(
            make_limits(settings, labelled=self.settings.metric_functions),
            PayloadQuotas(
                quotas.request, quotas.event_request, as_observed=self.settings.payload_error == "as_observed"
            ),
            ResponseQuotas(quotas.response, quotas.streamed_response),
            make_event_rules(settings),
        )

    def _make_holder_source(self, shared: SharedCounters | None) -> LocalHolders | SharedHolders:
        def find_account(account: str) -> str:
            return self.tables.limits.of(account).account

        if shared is None:
            return LocalHolders(self.counters, find_account=find_account)
        return SharedHolders(
            shared,
            shared.inquiry,
            gateway=shared.gateway,
            accounts=lambda: shared.accounts,
            find_account=find_account,
        )

    async def adopt(self, settings: Settings) -> None:
        """Put the accounts, credentials and quotas of `settings` in force."""
        self.tables = await asyncio.to_thread(self.make_tables, settings)
        if self.events is not None:
            self.events.on_limits_changed()

    def _make_events(self, settings: Settings, last: App, function_errors: FunctionErrors) -> Dispatcher | None:
        """The queue of asynchronous invocations; None where the backend has one."""
        if settings.async_.mode == "forward":
            return None
        events = settings.async_
        delays = Delays(
            events.function_error_delays_seconds, events.shortest_delay_seconds, events.longest_delay_seconds
        )
        gateway = self.shared.gateway if self.shared else f"g-{token_hex(4)}"
        store, self.event_store = _make_store(settings, gateway, self.tasks, self.clock)
        dispatcher = Dispatcher(
            store,
            # The same way to a slot as a call's: it may wait for nothing else.
            runner=Runner(
                Admission(Admitted(last), counters=self.counters),
                on_exchange=self._tell,
                function_errors=function_errors,
                limit=lambda: self.tables.response_quotas.response,
            ),
            slot_gate=SlotGate(self.counters),
            deliveries=Deliveries(self._targets, attempts=events.delivery_attempts, delays=delays),
            limits=lambda: self.tables.limits,
            rules=lambda account, function: self.tables.event_rules.of(account, function),
            recorder=self.event_totals,
            delays=delays,
            now=self.clock,
            wall=self.clock.wall,
            background=self.tasks,
            on_misconfigured=partial(self.degraded.__setitem__, "backend_refuses_events"),
            origin=Origin(
                describe_backend(settings.backend.url, settings.region),
                has_account=lambda account: account == DEFAULT_ACCOUNT or account in self.tables.limits.accounts,
            ),
        )
        self.counters.on_free = dispatcher.on_slots_free
        return dispatcher

    def _choose_enqueue(self) -> Enqueue | None:
        if self.events is None:
            return None
        return self._enqueue_event if self.fault_scripts is None else DelayedEnqueue(self._enqueue_event)

    async def _invoke_function(self, function: Function, payload: bytes, *, account: str, cause: Event) -> None:
        """Keep an event for a function that is the destination of another's. It goes on with that one's chain, so that
        functions which are each other's destinations are a loop as any other."""
        region, limits = self.settings.region, self.tables.limits.of(account)
        came_with = next((value for name, value in cause.headers if name == TRACE_HEADER), b"")
        trace = extend(came_with, hash_function(region, cause.account, cause.function))
        exchange = Exchange(monotonic())
        exchange.invocation = Invocation(Operation.INVOKE, function, InvocationType.EVENT)
        exchange.headers, exchange.body = {TRACE_HEADER: trace}, payload
        exchange.plan = limits.plan(function.name)
        is_over = is_loop(trace, hash_function(region, exchange.plan.account, function.name))
        exchange.is_recursive = is_over and not limits.may_recurse(function.name)
        if exchange.is_recursive:
            self.totals.note_recursive(exchange.plan)
        await self._enqueue_event(exchange, invoke_scope(function, trace))

    def _make_queue(self, settings: Settings, dispatcher: Dispatcher) -> QueueMonitor:
        where = self.event_store
        name = where if "://" in where else f"{where} on {printable(gethostname())}"
        return QueueMonitor(dispatcher, limits=lambda: self.tables.limits, gauges=QueueGauges(name, now=self.clock))

    @cached_property
    def local_queue(self) -> LocalQueue | None:
        """What `/queue` says and does here."""
        if self.queue is None or self.events is None:
            return None
        return LocalQueue(
            self.queue,
            Control(self.events, now=self.clock),
            Adoption(self.events, now=self.clock),
            now=self.clock,
            store=self.event_store,
        )

    async def look_at_queue(self) -> None:
        """Bring what a scrape tells of the queue up to date."""
        if self.queue is not None:
            await self.queue.refresh(at_most_every=SCRAPE_SECONDS)
            self.degraded |= self.queue.degraded

    async def _enqueue_event(self, exchange: Exchange, scope: Scope) -> None:
        assert self.events is not None
        event = make_event(exchange, scope, region=self.settings.region, now=self.clock())
        if exchange.is_recursive:
            message = Refusal.RECURSIVE.message.format(function=event.function)
            await self.events.finish_without_run(event, "RecursiveInvocation", Refusal.RECURSIVE.status, message)
        else:
            await self.events.accept(event)

    def _tell(self, exchange: Exchange, scope: Scope) -> None:
        self.totals.note(exchange)
        if exchange.refusal is not None:
            self.refusals.note()
            if exchange.fault is None:  # else the backend failed, and nothing was refused
                self.last_refusals.note(exchange)
            if self.events is not None and exchange.full is not None and exchange.plan is not None and RUN not in scope:
                self.events.on_call_refused(exchange.full, exchange.plan)
        if self._has_access_log:
            write_access_line(exchange, scope)

    async def start(self) -> None:
        """Open what the calls need. Raises `CannotOpen` where events cannot be kept."""
        if self.shared is not None:
            await self.shared.start()
        if self.events is not None:
            missing = missing_extra(self.tables.event_rules.targets())
            if missing is not None:
                raise CannotOpen(missing)
            await self._start_events(self.events)

    async def _start_events(self, events: Dispatcher) -> None:
        waiting = await events.start()
        log_start(self.event_store, waiting, events.origin, self.clock())
        if self.settings.async_.adopt_events:
            events.spawn(Adoption(events, now=self.clock).adopt_all())

    def drain(self) -> None:
        """Finish what runs, and start nothing else."""
        self.is_draining = True
        self._drained_by = monotonic() + self.settings.drain_seconds
        if self.events is not None:
            self.events.stop()

    def cut_short(self) -> None:
        """Do not wait for what still runs."""
        self._drained_by = 0.0
        if self.events is not None and self.is_draining:
            self.events.cancel_running()

    async def close(self) -> None:
        if self.queue is not None:
            await self.queue.close()
        if self.events is not None:
            await self.events.close(max(self._drained_by - monotonic(), 0.0))
        await self._targets.close()
        self.holds.close()
        self.refusals.report()
        self.drops.report()
        await self.pool.close()
        if self.shared is not None:  # last: until here calls end and slots go back
            await self.shared.close()


def _chain(stages: list[partial[Any]], last: App) -> App:
    app = last
    for stage in reversed(stages):
        app = stage(app)
    return app


def _make_shared(
    settings: Settings, name: str | None, limits: Callable[[], Limits], tasks: BackgroundTasks
) -> SharedCounters | None:
    """The counters on a store; None where they are in memory, and then redis-py is not even imported."""
    if settings.counters == "memory":
        return None
    from ..counters.shared.counters import SharedCounters
    from ..counters.shared.shared_config import SharedTerms

    shared = settings.shared
    terms = SharedTerms(
        settings.counters,
        shared.lease_seconds,
        shared.store_timeout_seconds,
        shared.on_store_failure,
        settings.backend.timeout_seconds if shared.reclaim_after == "timeout" else 0.0,
        name,
    )
    return SharedCounters(terms, limits=limits, degraded=tasks.degraded, tasks=tasks)


def _describe_counters(settings: Settings, shared: SharedCounters | None) -> Counters:
    """With counters in memory a store of its own, by a name that no other gateway has."""
    if shared is None:
        gateway = f"g-{token_hex(4)}"
        return Counters(lambda: [gateway], store=gateway)
    return Counters(lambda: [shared.gateway], name_store(settings.counters), shared, settings.shared.lease_seconds)


def _make_pool(settings: Settings, backend_url: str, buffers: Buffers, write_batcher: WriteBatcher) -> Pool:
    url = urlsplit(backend_url)
    backend = settings.backend
    tls = None
    if url.scheme == "https":
        authority = backend.certificate_authority
        tls = ssl.create_default_context(cafile=str(authority) if authority else None)
    return Pool(
        url.hostname or "127.0.0.1",
        url.port or (443 if tls else 80),
        buffers=buffers,
        write_batcher=write_batcher,
        tls=tls,
        timeout_seconds=backend.timeout_seconds,
        connect_timeout_seconds=backend.connect_timeout_seconds,
        first_byte_timeout_seconds=backend.first_byte_timeout_seconds,
        idle_timeout_seconds=backend.idle_timeout_seconds,
        keep_alive_seconds=backend.keep_alive_seconds,
    )


def make_limits(settings: Settings, *, labelled: int) -> Limits:
    """The table of all accounts; so many functions of each have metric labels of their own."""
    accounts = dict(settings.accounts)
    default = _make_account(DEFAULT_ACCOUNT, accounts.pop("default"), labelled)
    named = {account: _make_account(account, limits, labelled) for account, limits in accounts.items()}
    return Limits(default, named, settings.credentials)


def make_event_rules(settings: Settings) -> RuleBook:
    """The rules of asynchronous invocations, of those functions that have some of their own."""
    usual = EventRules()
    named = {}
    for account, limits in settings.accounts.items():
        functions = limits.functions.items()  # perhaps a million, of which hardly one has rules
        own = {name: _make_rules(function) for name, function in functions if _has_rules(function, usual)}
        if own:
            named[DEFAULT_ACCOUNT if account == "default" else account] = own
    return RuleBook(named)


def _has_rules(function: FunctionSettings, usual: EventRules) -> bool:
    return (
        function.maximum_retry_attempts != usual.maximum_retry_attempts
        or function.maximum_event_age_seconds != usual.maximum_event_age_seconds
        or function.has_targets
    )


def _make_rules(function: FunctionSettings) -> EventRules:
    targets = EventTargets(function.dead_letter_queue, function.on_success, function.on_failure)
    return EventRules(function.maximum_retry_attempts, function.maximum_event_age_seconds, targets)


def _make_store(settings: Settings, gateway: str, tasks: BackgroundTasks, clock: Clock) -> tuple[Store, str]:
    """The store of events, and where it is: a URL without credentials, or the path of a file."""
    url = settings.event_store
    events = settings.async_
    if url is not None and not url.startswith("sqlite:"):
        from ..queue.redis.store import StreamStore  # and redis-py with it

        lease = settings.shared.lease_seconds
        most = events.maximum_events
        shared = StreamStore(url, gateway=gateway, lease_seconds=lease, maximum_events=most, tasks=tasks)
        return shared, name_store(url)
    path, is_temporary = find_file(url, settings.listen.port, is_demo=settings.backend.url == "demo")
    most = events.maximum_events
    return SqliteStore(path, maximum_events=most, is_temporary=is_temporary, clock=clock), printable(str(path))


def _make_account(account: str, settings: Account, labelled: int) -> AccountLimits:
    made: dict[FunctionLimits, FunctionLimits] = {}  # a million functions have few distinct limits
    functions = {}
    for name, function in settings.functions.items():
        reserved = function.reserved_concurrent_executions
        rate = _resolve_rate(function.requests_per_second, reserved)
        limits = FunctionLimits(reserved, rate, function.recursive_loop == "Allow")
        functions[name] = made.setdefault(limits, limits)
    return AccountLimits(
        account,
        settings.concurrent_executions,
        functions,
        requests_per_second=_resolve_rate(settings.requests_per_second, settings.concurrent_executions),
        caller_requests_per_second=_resolve_rate(settings.caller_requests_per_second, None),
        labelled=labelled,
    )


def _resolve_rate(rate: str | float, slots: int | None) -> float | None:
    """AWS's rule for `auto`: ten requests a second for each slot. Without slots there is nothing to refuse twice."""
    if rate == "off" or (rate == "auto" and not slots):
        return None
    return 10.0 * slots if rate == "auto" and slots else float(rate)
