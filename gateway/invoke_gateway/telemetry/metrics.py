"""Lists the metrics of a gateway, read from totals and current levels at scrape time.

A help text has the unit, and the CloudWatch counterpart where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple, Protocol

from ..backend_errors import KINDS
from ..counters.base import SlotCounts
from ..policy.limits import AccountLimits, Limits
from .credential_metrics import SigningState, list_credentials
from .event_metrics import Events, list_events
from .exposition import Family, counter, gauge, histogram
from .function_metrics import list_accounts, list_functions
from .outside_metrics import OutsideAges, list_outside
from .reload_state import ReloadState
from .store_metrics import CounterStore, list_counters
from .totals import Totals

_BY_ACCOUNT = ("account",)
_BY_FUNCTION = ("account", "function")


class BufferUsage(Protocol):
    """Reads the bytes of payload in memory, and their ceiling."""

    @property
    def in_use(self) -> int: ...

    @property
    def ceiling(self) -> int: ...


class ConnectionUsage(Protocol):
    """Reads the connections to the backend."""

    @property
    def busy(self) -> int: ...

    @property
    def idle(self) -> int: ...


class BackendHealth(Protocol):
    """Reads the result of the last check of the backend."""

    @property
    def is_up(self) -> bool | None: ...


class Facts(NamedTuple):
    """Holds what does not change while the process runs."""

    version: str
    python: str
    backend_timeout_seconds: float


class GatewayMetrics:
    """Lists all metrics of one gateway.

    holds: returns the slots of each counter that are held by way of /holds
    degraded: the state of each cause
    counters: the store of counters
    events: asynchronous invocations; None where the backend queues them
    credentials: the credentials that sign for the backend; None where the gateway does not sign
    outside: the ages of the slots that callers beside the gateway use
    reloads: the result of the last reload of the settings
    workers: returns the number of serving processes, and of replacements
    """

    def __init__(
        self,
        totals: Totals,
        *,
        limits: Callable[[], Limits],
        levels: SlotCounts,
        holds: Callable[[], Mapping[str, int]],
        buffers: BufferUsage,
        upstream: ConnectionUsage,
        backend: BackendHealth,
        degraded: Mapping[str, bool],
        facts: Facts,
        counters: CounterStore,
        reloads: ReloadState,
        workers: Callable[[], tuple[int, int]] = lambda: (1, 0),
        events: Events | None = None,
        credentials: SigningState | None = None,
        outside: OutsideAges | None = None,
    ) -> None:
        self._totals = totals
        self._limits = limits
        self._levels = levels
        self._holds = holds
        self._buffers = buffers
        self._upstream = upstream
        self._backend = backend
        self._degraded = degraded
        self._facts = facts
        self._counters = counters
        self._workers = workers
        self._events = events
        self._credentials = credentials
        self._outside = outside
        self._reloads = reloads

    def families(self) -> Iterator[Family]:
        """Lists every metric. Requests run between rows, so values that must agree are read before the first row."""
        yield from list_functions(list(self._totals.functions.items()))
        yield from self._list_provisioned()
        yield from list_accounts(self._limits().all(), self._levels.counts())
        yield from self._list_ages(self._limits().all(), self._holds())
        if self._events is not None:
            yield from list_events(self._events)
        yield from self._list_process()
        yield from list_counters(self._counters)
        yield from list_credentials(self._totals, self._credentials)
        yield from list_outside(self._limits().all(), self._outside)
        yield from self._list_state()

    def _list_provisioned(self) -> Iterator[Family]:
        totals = self._totals
        yield counter(
            "provisioned_concurrency_invocations",
            "Invocations that ran on provisioned concurrency (CloudWatch: ProvisionedConcurrencyInvocations).",
            _BY_FUNCTION,
            list(totals.provisioned_invocations.items()),
        )
        yield counter(
            "provisioned_concurrency_spillover_invocations",
            "Invocations of provisioned versions that ran on standard concurrency, because all provisioned concurrency"
            " was in use (CloudWatch: ProvisionedConcurrencySpilloverInvocations).",
            _BY_FUNCTION,
            list(totals.provisioned_spillovers.items()),
        )

    def _list_ages(self, accounts: list[AccountLimits], holds: Mapping[str, int]) -> Iterator[Family]:
        yield gauge(
            "oldest_execution_age_seconds",
            "Seconds for which the oldest invocation in flight has held its slot; 0 when none is.",
            _BY_ACCOUNT,
            (((account.account,), self._levels.oldest_seconds(account.account_counter)) for account in accounts),
        )
        yield gauge(
            "held_concurrent_executions",
            "Slots held by way of /holds; they count as in flight.",
            _BY_ACCOUNT,
            (((account.account,), holds.get(account.account_counter, 0)) for account in accounts),
        )

    def _list_process(self) -> Iterator[Family]:
        totals = self._totals
        yield counter(
            "refusals",
            "Requests refused for a cause other than a throttle, by error code.",
            ("error",),
            [((code,), count) for code, count in totals.refusals.items()],
        )
        yield counter(
            "injected_faults",
            "Calls that a fault script changed, by fault: the error code, latency or cut. None counts as a throttle.",
            (*_BY_FUNCTION, "fault"),
            list(totals.injected_faults.items()),
        )
        yield counter(
            "recursive_invocations_dropped",
            "Invocations that were stopped as part of a loop (CloudWatch: RecursiveInvocationsDropped).",
            _BY_FUNCTION,
            list(totals.recursive_invocations_dropped.items()),
        )
        yield counter(
            "signature_refusals",
            "Requests without a valid signature (signatures: verify), by cause.",
            ("cause",),
            [((cause,), count) for cause, count in totals.signature_refusals.items()],
        )
        yield counter(
            "upstream_errors",
            "Requests that the backend did not answer, by kind.",
            ("kind",),
            # Also those that have not happened: of a series that begins at 1, Prometheus cannot see the rise.
            [((kind,), totals.upstream_errors.get(kind, 0)) for kind in KINDS],
        )
        yield counter(
            "client_disconnects",
            "Requests whose client disconnected, or was disconnected, before the request had arrived (request) or"
            " before the response was sent (response).",
            ("phase",),
            [(("request",), totals.client_disconnects), (("response",), totals.lost_responses)],
        )
        yield counter(
            "passed_through",
            "Requests that are no invocation: forwarded, or Lambda's operations on concurrency.",
            (),
            [((), totals.passed_through)],
        )
        yield histogram(
            "admission_seconds", "Seconds that it took to take slots and tokens.", (), [((), totals.admission)]
        )
        yield histogram(
            "event_loop_lag_seconds",
            "Seconds by which the event loop woke a timer too late, ten times a second. Requests waited as long.",
            (),
            [((), totals.loop_lag)],
        )
        yield gauge("buffered_bytes", "Bytes of payload held in memory.", (), [((), self._buffers.in_use)])
        yield gauge(
            "buffered_bytes_limit",
            "Bytes of payload that may be held in memory; requests beyond it are refused (buffer_bytes).",
            (),
            [((), self._buffers.ceiling)],
        )
        yield gauge(
            "upstream_connections",
            "Connections to the backend, by state.",
            ("state",),
            [(("busy",), self._upstream.busy), (("idle",), self._upstream.idle)],
        )

    def _list_state(self) -> Iterator[Family]:
        version, python, backend_timeout_seconds = self._facts
        is_up = self._backend.is_up
        yield gauge(
            "backend_up",
            "1 while the backend accepts connections, 0 while it does not; no sample before the first check.",
            (),
            [] if is_up is None else [((), int(is_up))],
        )
        yield gauge(
            "backend_timeout_seconds",
            "Seconds that a call to the backend may take.",
            (),
            [((), backend_timeout_seconds)],
        )
        serving, replaced = self._workers()
        yield gauge("workers", "Processes that serve the Invoke API.", (), [((), serving)])
        yield counter("worker_replacements", "Workers that replaced a dead one.", (), [((), replaced)])
        yield gauge(
            "degraded",
            "1 while degraded, by cause. settings_invalid: the settings file has mistakes, old limits stay in force."
            " restart_needed: the settings file has changes that wait for a restart. store_unavailable: the store of"
            " shared counters does not answer. store_recovering: the shared counters are being rebuilt."
            " limits_mismatch: a gateway on the same store has other limits. event_store: the store of events cannot"
            " keep any. events_held: the store has events of another backend. backend_refuses_events: the backend"
            " refuses events until a setting is changed. backend_not_followed: the backend's concurrency settings could"
            " not be read, or do not fit. backend_credentials: the credentials that sign for the backend are missing,"
            " refused or about to expire. secrets_unreadable: secrets of callers could not be read again."
            " outside_concurrency: the slots of callers beside the gateway are old, or could not be read."
            " background_task: a background task has failed and is being started again.",
            ("cause",),
            [((cause,), int(is_so)) for cause, is_so in self._degraded.items()],
        )
        yield gauge(
            "config_last_reload_successful",
            "1 while the last start or reload of the settings was accepted, 0 while a refused file leaves the old"
            " settings in force.",
            (),
            [((), int(self._reloads.is_successful))],
        )
        yield gauge(
            "config_last_reload_success_timestamp_seconds",
            "Time of the last start or reload of the settings that was accepted, in seconds since 1970.",
            (),
            [((), self._reloads.loaded_at)],
        )
        yield counter(
            "log_lines_dropped",
            "Log lines dropped, because the reader of the log did not read, or was gone.",
            (),
            [((), self._totals.log_lines_dropped)],
        )
        yield counter(
            "descriptors_used_up",
            "Times that no file descriptor was left, so that new connections were closed.",
            (),
            [((), self._totals.descriptors_used_up)],
        )
        yield counter(
            "background_task_failures",
            "Background tasks that ended unexpectedly and were restarted, by task.",
            ("task",),
            [((task,), count) for task, count in list(self._totals.background_task_failures.items())],
        )
        yield gauge(
            "build_info",
            "1, with the versions of the gateway and of Python as labels.",
            ("python", "version"),
            [((python, version), 1)],
        )
