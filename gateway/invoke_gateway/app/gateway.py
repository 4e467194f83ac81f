"""Composes one gateway: objects meet here, and the chain is one list in running order."""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic, time

from ..admin.holds import Holds
from ..asgi import App
from ..background import BackgroundTask, BackgroundTasks
from ..buffers import Buffers
from ..control.base import ControlStore
from ..control.followed import Followed
from ..counters.base import Counters
from ..counters.memory import MemoryCounters
from ..counters.tenant_environments import TenantEnvironments
from ..middleware.admission import Admission, Precheck
from ..middleware.announced_length import CheckLength
from ..middleware.authenticate import Authenticate
from ..middleware.cors import CorsHeaders
from ..middleware.error_response import ErrorResponse
from ..middleware.fault_injection import InjectedDelay
from ..middleware.handoff import Handoff
from ..middleware.identify import Identify
from ..middleware.payload import ReadPayload
from ..middleware.record import Record
from ..middleware.recursion import Recursion
from ..policy.control.state import ControlState
from ..policy.fault_script import FaultScripts
from ..policy.requests.cors import CorsRules
from ..settings import Settings
from ..telemetry.last_refusals import LastRefusals
from ..telemetry.reload_state import ReloadState
from ..telemetry.totals import Totals
from ..upstream.health import BackendState, BackendWatch
from ..write_batcher import WriteBatcher
from .admin import GatewayAdmin
from .allocation import Allocation
from .backend import make_forward, make_function_errors, make_pool
from .chain import Stages, inject_faults, link_stages
from .control import GatewayControl, make_control_store
from .current_tables import CurrentTables
from .events import EventParts, make_events
from .identity import Identity
from .limits import NOTHING_SET, Tables, find_next_allocation, make_tables
from .outside import OutsideCallers
from .recorder import ExchangeRecorder
from .signing import make_signing
from .stores import make_shared_counters


class Gateway:
    """Runs one gateway: `invoke` is its ASGI application, `admin` the parts of its admin listener.

    backend_url: the origin of the backend, also where the settings name the demo backend
    name: the name of this process at the store of shared counters; None: a new one
    tasks: the owner of its background tasks; None: a new one
    """

    def __init__(
        self, settings: Settings, *, backend_url: str, name: str | None = None, tasks: BackgroundTasks | None = None
    ) -> None:
        self.settings = settings
        self.tasks = tasks or BackgroundTasks()
        self.degraded = self.tasks.degraded
        self.degraded |= {"settings_invalid": False, "restart_needed": False}
        self.reload_state = ReloadState()
        self.is_draining = False
        self._drained_by = 0.0

        self._in_force = settings
        self._control = NOTHING_SET
        self._followed = Followed()
        self._following: BackgroundTask | None = None
        self._adopting = asyncio.Lock()
        self._allocation = Allocation(self._make_tables_again, self.tasks)
        self._tables = CurrentTables(make_tables(settings, at_start=settings))
        self.buffers = Buffers(settings.buffer_bytes)
        self.write_batcher = WriteBatcher()
        self.totals = Totals()
        self.totals.background_task_failures = self.tasks.failures
        self.identity = Identity(settings, self.tasks, self._tables.all, self.buffers, self.totals)
        self.shared = make_shared_counters(settings, name, self._tables.limits, self.tasks)
        self.counters: Counters = self.shared or MemoryCounters()
        self.outside = OutsideCallers(settings, self.counters, self.shared, self.tasks, self._make_tables_again)
        self.tenant_environments = TenantEnvironments(self.counters)
        self.control_store = make_control_store(settings, self.shared, self.tasks)

        self.pool = make_pool(settings, backend_url, self.buffers, self.write_batcher)
        self.backend = BackendState(backend_url)
        self.backend_watch = BackendWatch(self.backend, self.pool)
        self.pool.on_failure = self.backend_watch.record_failure

        worker = (name or "").partition(".")[2]
        self.holds = Holds(self.counters, limits=self._tables.limits, prefix=f"{worker}-" if worker else "")
        self.last_refusals = LastRefusals(self.counters, holds=self.holds.by_counter)
        self._recorder = ExchangeRecorder(
            self.totals,
            self.last_refusals,
            has_access_log=settings.access_log is not None,
            names_callers=settings.signatures == "verify",
        )

        function_errors = make_function_errors(settings)
        self.signing = make_signing(settings, backend_url, self.tasks, self.totals)
        last = self.signing.wrap(
            make_forward(settings, backend_url, self.pool, self.buffers, self._tables.response_quotas, function_errors),
            self.buffers,
        )
        self.fault_scripts = FaultScripts() if settings.accepts_faults else None
        if self.fault_scripts is not None:
            last = InjectedDelay(last)
        self.events = make_events(
            settings,
            EventParts(
                counters=self.counters,
                environments=self.tenant_environments,
                tables=self._tables.all,
                tasks=self.tasks,
                last=last,
                function_errors=function_errors,
                record=self._recorder.record,
                on_recursive=self.totals.record_recursive,
                gateway=self.shared.gateway if self.shared else None,
            ),
        )
        self._recorder.on_call_refused = self.events.on_call_refused
        control = self._make_control(self.control_store, last)
        self._follower = control.follower
        self.admin = GatewayAdmin(
            settings,
            bulk=control.bulk,
            credentials=self.signing.keeper,
            outside=self.outside.watch,
            counters=self.counters,
            shared=self.shared,
            limits=self._tables.limits,
            permissions=self._tables.permissions,
            totals=self.totals,
            buffers=self.buffers,
            pool=self.pool,
            backend_watch=self.backend_watch,
            holds=self.holds,
            last_refusals=self.last_refusals,
            fault_scripts=self.fault_scripts,
            events=self.events,
            tasks=self.tasks,
            reload_state=self.reload_state,
            is_draining=lambda: self.is_draining,
        )
        self.cors = CorsRules(settings.cors.allow_origins) if settings.cors.allow_origins else None
        self.stages = self._list_stages(settings, last, others=control.stage)
        self.invoke = link_stages(self.stages, last)

    def _make_control(self, store: ControlStore, last: App) -> GatewayControl:
        store.put_in_force = self._adopt_control
        return GatewayControl(
            store,
            last,
            at_start=self.settings,
            settings=lambda: self._in_force,
            limits=self._tables.limits,
            followed=self._followed,
            degraded=self.degraded,
        )

    def _list_stages(self, settings: Settings, last: App, *, others: App) -> Stages:
        """Lists the chain in running order. A stage may rely on the stages above it.

        others: the stage for requests that are no invocation
        """
        retry = settings.retry
        judging: Stages = [
            partial(
                Recursion,
                region=settings.region,
                limits=self._tables.limits,
                on_recursive=self.totals.record_recursive,
                queues_events=self.events.dispatcher is not None,
            ),
            *inject_faults(settings, self.fault_scripts, self.totals),
        ]
        reading: Stages = [
            partial(CheckLength, quotas=self._tables.payload_quotas),
            partial(Precheck, counters=self.counters),
            partial(ReadPayload, quotas=self._tables.payload_quotas, buffers=self.buffers),
        ]
        return [
            partial(Record, on_end=self._recorder.record),
            *([] if self.cors is None else [partial(CorsHeaders, rules=self.cors)]),
            partial(
                ErrorResponse,
                retry_after=retry.retry_after,
                x_amz_retry_after=retry.x_amz_retry_after,
                longest_retry_seconds=retry.maximum_seconds,
                decision_header=settings.decision_header,
            ),
            partial(Identify, region=settings.region),
            *self.identity.arrange(partial(Authenticate, limits=self._tables.limits), judging, reading),
            partial(
                Handoff,
                unadmitted=last,
                others=others,
                enqueue=self.events.make_enqueue(with_faults=settings.accepts_faults),
                before_runtime=settings.backend.function_path is not None,
            ),
            partial(Admission, counters=self.counters, environments=self.tenant_environments),
        ]

    async def adopt(self, settings: Settings) -> None:
        """Puts the accounts, callers and quotas of `settings` in force, and keeps what control operations have set.
        Requests under way keep theirs."""
        async with self._adopting:
            self._in_force = settings
            await self.identity.adopt(settings)
            await self.outside.adopt(settings)
            await self._replace_tables()

    async def _adopt_control(self, state: ControlState) -> None:
        """Puts a new state of the control store in force."""
        async with self._adopting:
            self._control = state
            await self._replace_tables()

    async def _replace_tables(self) -> None:
        allocated_until = time() - self.settings.provisioned.allocation_seconds
        made = await asyncio.to_thread(
            make_tables,
            self._in_force,
            self._control,
            self._followed.state,
            at_start=self.settings,
            allocated_until=allocated_until,
            outside=self.outside.watch.slots,
        )
        made.limits.supersede(self.tables.limits)
        self._tables.tables = made
        if self.shared is not None:
            self.shared.on_limits_changed()
        self.events.on_limits_changed()
        self._allocation.wait(find_next_allocation(self._followed.under(self._control), allocated_until))

    async def _make_tables_again(self) -> None:
        async with self._adopting:
            await self._replace_tables()

    @property
    def tables(self) -> Tables:
        """Returns the tables in force."""
        return self._tables.tables

    @property
    def control_states(self) -> tuple[ControlState, ControlState]:
        """Returns what the operations have set, and what the backend has."""
        return self._control, self._followed.state

    async def start(self) -> None:
        """Opens the stores. Raises `CannotOpen` if events cannot be kept, and `CannotOpenControl` if the control state
        cannot be read."""
        if self.shared is not None:
            await self.shared.start()
        await self.signing.start()
        await self.control_store.start()
        if self.control_store.state != self._control:
            await self._adopt_control(self.control_store.state)
        await self.identity.start(self._in_force)
        await self.outside.adopt(self._in_force)
        await self.events.start()
        if self._follower is not None:
            self._following = self.tasks.start(self._follower.run, "following the backend", may_end=True)

    def drain(self) -> None:
        """Finishes what runs, and starts nothing else."""
        self.is_draining = True
        self._drained_by = monotonic() + self.settings.drain_seconds
        self.events.drain()

    def cut_short(self) -> None:
        """Ends the wait for what still runs."""
        self._drained_by = 0.0
        if self.is_draining:
            self.events.cancel_running()

    async def close(self) -> None:
        await self.events.close(max(self._drained_by - monotonic(), 0.0))
        self._allocation.wait(None)
        await self.outside.close()
        if self._following is not None:
            await self._following.close()
        self.holds.close()
        await self.identity.close()
        self._recorder.close()
        await self.control_store.close()
        await self.signing.close()
        await self.pool.close()
        if self.shared is not None:  # last: until here calls end and slots go back
            await self.shared.close()
