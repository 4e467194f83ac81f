"""Composes the admin listener of one process: its live page, its metrics and its endpoints."""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from .. import __version__
from ..admin.access import AdminAccess
from ..admin.app import AdminApp
from ..admin.control import ControlEndpoint
from ..admin.fault_scripts import FaultEndpoint
from ..admin.holder_sources import LocalHolders, SharedHolders
from ..admin.holds import HoldEndpoint, Holds
from ..admin.in_flight import InFlightEndpoint
from ..admin.limits import describe_limits
from ..admin.live.document import LiveView
from ..admin.live.episodes import Episodes
from ..admin.live.gateway_state import GatewayState
from ..admin.live.last_minute import LastMinute
from ..admin.live.queue_watch import QueueWatch
from ..admin.live.sampling import Samples
from ..admin.live.sparklines import Sparklines
from ..admin.live.stream import LiveReader, LiveStream
from ..admin.permissions import PermissionEndpoint
from ..admin.queue import QueueEndpoint
from ..admin.readiness import Readiness
from ..admin.status import StatusEndpoint
from ..aws.credential_keeper import CREDENTIALS_CAUSE, CredentialKeeper
from ..background import BackgroundTasks
from ..buffers import Buffers
from ..control.bulk import BulkOperations
from ..counters.base import Counters
from ..outside.watch import OUTSIDE_CAUSE, OutsideWatch
from ..policy.fault_script import FaultScripts
from ..policy.limits import Limits
from ..policy.permissions.permissions import Permissions
from ..settings import Address, Settings
from ..store.store_name import name_store
from ..telemetry.exposition import Family
from ..telemetry.last_refusals import LastRefusals
from ..telemetry.logs.log import count_dropped_lines
from ..telemetry.metrics import Facts, GatewayMetrics
from ..telemetry.process_metrics import read_process
from ..telemetry.reload_state import ReloadState
from ..telemetry.totals import Totals
from ..upstream.health import BackendWatch
from ..upstream.pool import Pool
from .events import EventQueue, NoEventQueue
from .stores import describe_counters

if TYPE_CHECKING:
    from ..counters.shared.counters import SharedCounters


class GatewayAdmin:
    """Shows one process: what is in force, what runs and what was refused."""

    def __init__(
        self,
        settings: Settings,
        *,
        counters: Counters,
        shared: SharedCounters | None,
        limits: Callable[[], Limits],
        permissions: Callable[[], Permissions | None],
        totals: Totals,
        buffers: Buffers,
        pool: Pool,
        backend_watch: BackendWatch,
        holds: Holds,
        last_refusals: LastRefusals,
        fault_scripts: FaultScripts | None,
        events: EventQueue | NoEventQueue,
        tasks: BackgroundTasks,
        reload_state: ReloadState,
        is_draining: Callable[[], bool],
        bulk: BulkOperations,
        credentials: CredentialKeeper | None,
        outside: OutsideWatch,
    ) -> None:
        self._counters = counters
        self._permissions = PermissionEndpoint(permissions, is_secure=settings.tls is not None)
        self._bulk = bulk
        self._credentials = credentials
        self._shared = shared
        self._limits = limits
        self._totals = totals
        self._backend_watch = backend_watch
        self._holds = holds
        self._last_refusals = last_refusals
        self._fault_scripts = fault_scripts
        self._events = events
        self._reload_state = reload_state
        self._is_draining = is_draining
        self._buffers = buffers
        self._counters_store = None if shared is None else name_store(settings.counters)
        self.holder_source = self._make_holder_source()
        self.last_minute = LastMinute(totals)
        self.samples = Samples(Sparklines(counters), Episodes(totals), self.last_minute)
        queue = None if events.local_queue is None else QueueWatch(events.local_queue)
        state = GatewayState(
            version=__version__,
            backend_url=settings.backend.url,
            backend=backend_watch.state,
            degraded=tasks.degraded,
            describe_causes=lambda: describe_causes(credentials, outside),
            name=shared.gateway if shared else None,
            describe_holds=holds.describe_all,
            fault_scripts=fault_scripts,
            queue=queue,
        )
        self.live_view = LiveView(
            limits=limits,
            levels=counters,
            totals=totals,
            sparklines=self.samples.sparklines,
            episodes=self.samples.episodes,
            activity=self.last_minute,
            holds=holds.by_counter,
            refusals=last_refusals,
            is_draining=is_draining,
            settings_error=lambda: reload_state.error,
            describe_gateway=state.describe,
            shared=shared,
        )
        self.live_stream = LiveStream(
            self.live_view,
            tasks=tasks,
            readers=[
                *([LiveReader("sums of all gateways", shared.read_sums)] if shared else []),
                *([LiveReader("queue of the live page", queue.read)] if queue else []),
            ],
        )
        self.metrics = GatewayMetrics(
            totals,
            limits=limits,
            levels=counters,
            holds=holds.by_counter,
            buffers=buffers,
            upstream=pool,
            backend=backend_watch.state,
            degraded=tasks.degraded,
            counters=describe_counters(settings, shared),
            events=events.metrics,
            reloads=reload_state,
            credentials=credentials,
            outside=outside,
            facts=Facts(__version__, platform.python_version(), settings.backend.timeout_seconds),
        )

    def make_app(self, listen: Address, access: AdminAccess | None = None) -> AdminApp:
        """Makes the application of the admin listener.

        listen: the address at which this process serves the Invoke API
        access: decides which requests reach the application; None in a worker, whose supervisor decides
        """
        faults = FaultEndpoint(self._fault_scripts, find_account=self._find_account, is_draining=self._is_draining)
        readiness = Readiness(
            listen=listen,
            is_draining=self._is_draining,
            backend=self._backend_watch.state,
            shared=self._shared,
            event_trouble=lambda: self._events.problem,
            settings_error=lambda: self._reload_state.error,
            settle=self._backend_watch.settle,
            credentials=self._credentials,
        )
        status = StatusEndpoint(
            self.live_view,
            readiness,
            reload_state=self._reload_state,
            counters_store=self._counters_store,
            shared=self._shared,
            buffers=self._buffers,
            queue=self._events.local_queue,
        )
        return AdminApp(
            metrics=self.metrics,
            describe_limits=self._describe_limits,
            shared=self._shared,
            endpoints=[
                *status.routes(),
                *HoldEndpoint(self._holds, is_draining=self._is_draining).routes(),
                *InFlightEndpoint(self.holder_source).routes(),
                *faults.routes(),
                *QueueEndpoint(self._events.local_queue).routes(),
                *ControlEndpoint(self._bulk, find_account=self._find_account).routes(),
                *self._permissions.routes(),
            ],
            live_stream=self.live_stream,
            refusals=self._last_refusals,
            readiness=readiness,
            read_processes=self._read_processes,
            access=access,
        )

    def _make_holder_source(self) -> LocalHolders | SharedHolders:
        shared = self._shared
        if shared is None:
            return LocalHolders(self._counters, find_account=self._find_account)
        return SharedHolders(
            shared,
            shared.store_admin,
            gateway=shared.gateway,
            accounts=lambda: shared.accounts,
            find_account=self._find_account,
        )

    def _find_account(self, account: str | None) -> str:
        return self._limits().of(account).account

    def _describe_limits(self, rows: int) -> dict[str, object]:
        shared = self._shared
        sums = shared.sums if shared else None
        accounts = describe_limits(self._limits(), self._counters, self._totals, rows, self._holds.by_counter(), sums)
        document: dict[str, object] = {"accounts": accounts, "draining": self._is_draining()}
        if shared is not None:
            document["shared"] = shared.describe()
        return document

    async def _read_processes(self) -> Iterable[Family]:
        await self._events.refresh()
        self._totals.log_lines_dropped = count_dropped_lines()
        return await asyncio.to_thread(read_process)


def describe_causes(credentials: CredentialKeeper | None, outside: OutsideWatch) -> dict[str, str | None]:
    """Describes what is known of causes of `degraded` beyond their texts."""
    return {
        CREDENTIALS_CAUSE: None if credentials is None else credentials.error,
        OUTSIDE_CAUSE: outside.describe(),
    }
