"""The Prometheus view: reads totals and current levels at scrape time. Help texts say the unit, and the CloudWatch
counterpart where there is one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple, Protocol

from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from ..backend_errors import KINDS
from ..policy.limits import OTHER, AccountLimits, Limits
from .event_metrics import Events, list_events
from .exposition import Family, Row, as_metric
from .families import counter, gauge, histogram
from .store_metrics import Counters, list_counters
from .totals import FunctionCounts, Totals

_BY_ACCOUNT = ("account",)
_BY_FUNCTION = ("account", "function")


class Levels(Protocol):
    """What a store of counters tells about now."""

    def held(self) -> Mapping[str, int]:
        """Every counter that at least one slot holds, with how many do."""

    def oldest_seconds(self, counter: str) -> float:
        """Age of the oldest slot that holds the counter; 0 when none does."""


class Buffered(Protocol):
    """How many bytes of payload are held, and how many may be."""

    @property
    def in_use(self) -> int: ...

    @property
    def ceiling(self) -> int: ...


class Upstream(Protocol):
    """What a pool of backend connections tells about now."""

    @property
    def busy(self) -> int: ...

    @property
    def idle(self) -> int: ...


class BackendSeen(Protocol):
    """Shows whether the last check found the backend up."""

    @property
    def is_up(self) -> bool | None: ...


class Facts(NamedTuple):
    """Versions of the gateway and of Python, and how long a call to the backend may take."""

    version: str
    python: str
    backend_timeout_seconds: float


class GatewayCollector(Collector):
    """`holds` says how many slots of each counter are held on purpose, `degraded` of each cause whether it is so now;
    `facts` are what does not change while the process runs, `counters` where its slots are counted,
    `events` what becomes of asynchronous invocations (None: the backend has the queue), and `workers` gives
    how many processes serve, and how many took the place of one that died."""

    def __init__(
        self,
        totals: Totals,
        *,
        limits: Callable[[], Limits],
        levels: Levels,
        holds: Callable[[], Mapping[str, int]],
        buffers: Buffered,
        upstream: Upstream,
        backend: BackendSeen,
        degraded: Mapping[str, bool],
        facts: Facts,
        counters: Counters,
        workers: Callable[[], tuple[int, int]] = lambda: (1, 0),
        events: Events | None = None,
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

    def collect(self) -> Iterable[Metric]:
        """For prometheus-client, at its price (exposition.py)."""
        return map(as_metric, self.families())

    def families(self) -> Iterator[Family]:
        """Every metric. Rows are read while the text is made, and requests run in between: what must agree is taken
        together, before the first row."""
        yield from self._list_functions(list(self._totals.functions.items()))
        yield from self._list_accounts(self._limits().all(), self._levels.held())
        yield from self._list_ages(self._limits().all(), self._holds())
        if self._events is not None:
            yield from list_events(self._events)
        yield from self._list_process()
        yield from list_counters(self._counters)
        yield from self._list_state()

    def _list_functions(self, functions: list[tuple[tuple[str, str], FunctionCounts]]) -> Iterator[Family]:
        yield counter(
            "invocations",
            "Invocations that ran: success or function error (CloudWatch: Invocations).",
            _BY_FUNCTION,
            ((key, counts.invocations) for key, counts in functions),
        )
        yield counter(
            "errors",
            "Invocations that ended in a function error (CloudWatch: Errors).",
            _BY_FUNCTION,
            ((key, counts.errors) for key, counts in functions),
        )
        yield counter(
            "throttles",
            "Invocations refused with TooManyRequestsException, by its Reason (CloudWatch: Throttles).",
            (*_BY_FUNCTION, "reason"),
            (((*key, reason), count) for key, counts in functions for reason, count in list(counts.throttles.items())),
        )
        yield counter(
            "retry_requests",
            "Invocations, served or refused, that are an SDK's second or later attempt, as amz-sdk-request says.",
            _BY_FUNCTION,
            ((key, counts.retries) for key, counts in functions),
        )
        yield histogram(
            "duration_seconds",
            "Seconds that the backend took for an invocation, cold start included (CloudWatch: Duration, there in ms).",
            _BY_FUNCTION,
            ((key, counts.duration) for key, counts in functions),
        )

    def _list_accounts(self, accounts: list[AccountLimits], held: Mapping[str, int]) -> Iterator[Family]:
        yield gauge(
            "concurrent_executions",
            "Invocations in flight (CloudWatch: ConcurrentExecutions).",
            _BY_FUNCTION,
            (row for account in accounts for row in _count_running(account, held)),
        )
        yield gauge(
            "reserved_concurrent_executions",
            "Slots reserved for a function (its ReservedConcurrentExecutions).",
            _BY_FUNCTION,
            (row for account in accounts for row in _list_reserved(account)),
        )
        yield gauge(
            "concurrent_executions_limit",
            "Slots that the account has in all.",
            _BY_ACCOUNT,
            (((account.account,), account.concurrent_executions) for account in accounts),
        )
        yield gauge(
            "unreserved_concurrent_executions",
            "Invocations in flight of functions without a reservation (CloudWatch: UnreservedConcurrentExecutions).",
            _BY_ACCOUNT,
            (((account.account,), held.get(account.pool_counter, 0)) for account in accounts),
        )
        yield gauge(
            "unreserved_concurrent_executions_limit",
            "Slots that the reservations leave over.",
            _BY_ACCOUNT,
            (((account.account,), account.unreserved_concurrent_executions) for account in accounts),
        )
        yield gauge(
            "claimed_account_concurrency",
            "Slots: unreserved invocations in flight plus all reservations (CloudWatch: ClaimedAccountConcurrency).",
            _BY_ACCOUNT,
            (
                ((account.account,), held.get(account.pool_counter, 0) + account.reserved_concurrent_executions)
                for account in accounts
            ),
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
            "Slots held on purpose by way of /holds; they count as in flight.",
            _BY_ACCOUNT,
            (((account.account,), holds.get(account.account_counter, 0)) for account in accounts),
        )

    def _list_process(self) -> Iterator[Family]:
        totals = self._totals
        yield counter(
            "refusals",
            "Requests refused for another cause than a throttle, by error code.",
            ("error",),
            [((code,), count) for code, count in totals.refusals.items()],
        )
        yield counter(
            "injected_faults",
            "Calls to which a fault script did something: the error code, latency or cut. None of them is a throttle.",
            (*_BY_FUNCTION, "fault"),
            list(totals.injected_faults.items()),
        )
        yield counter(
            "recursive_invocations_dropped",
            "Invocations that are not run, being one turn of a loop (CloudWatch: RecursiveInvocationsDropped).",
            _BY_FUNCTION,
            list(totals.recursive_invocations_dropped.items()),
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
            "Requests whose client left, or was cut off, before the request had arrived whole (request) or the response"
            " was sent whole (response).",
            ("phase",),
            [(("request",), totals.client_disconnects), (("response",), totals.lost_responses)],
        )
        yield counter(
            "passed_through",
            "Requests that are no invocation, handed on as they came.",
            (),
            [((), totals.passed_through)],
        )
        yield histogram(
            "admission_seconds", "Seconds that taking the slots and tokens took.", (), [((), totals.admission)]
        )
        yield histogram(
            "event_loop_lag_seconds",
            "Seconds by which the event loop woke a timer too late, ten times a second: so long requests waited.",
            (),
            [((), totals.loop_lag)],
        )
        yield gauge("buffered_bytes", "Bytes of payload held in memory.", (), [((), self._buffers.in_use)])
        yield gauge(
            "buffered_bytes_limit",
            "Bytes of payload that may be held in memory; beyond it requests are refused.",
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
            "1 while the backend accepts connections, 0 while it does not. Without a sample it was not looked for yet.",
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
        yield counter("worker_replacements", "Workers that took the place of one that had died.", (), [((), replaced)])
        yield gauge(
            "degraded",
            "1 while degraded, by cause. settings_invalid: the settings file has mistakes, old limits stay in force."
            " restart_needed: the settings file has changes that wait for a restart. store_unavailable: the store of"
            " shared counters does not answer. store_recovering: the shared counters are being rebuilt."
            " limits_mismatch: a gateway on the same store has other limits. event_store: the store of events cannot"
            " keep any. events_held: the store has events of another backend. backend_refuses_events: the backend"
            " refuses events until a setting is changed. background_task: a background task has failed and is being"
            " started again.",
            ("cause",),
            [((cause,), int(is_so)) for cause, is_so in self._degraded.items()],
        )
        yield counter(
            "log_lines_dropped",
            "Lines of the log that were not written: its reader stood still until the buffer was full, or was gone.",
            (),
            [((), self._totals.log_lines_dropped)],
        )
        yield counter(
            "descriptors_used_up",
            "Times at which no file descriptor was left, so that new connections were closed.",
            (),
            [((), self._totals.descriptors_used_up)],
        )
        yield counter(
            "background_task_failures",
            "Background tasks that ended unexpectedly, and were started again.",
            ("task",),
            [((task,), count) for task, count in list(self._totals.background_task_failures.items())],
        )
        yield gauge(
            "build_info",
            "1, with the versions of the gateway and of Python as labels.",
            ("python", "version"),
            [((python, version), 1)],
        )


def _count_running(account: AccountLimits, held: Mapping[str, int]) -> Iterator[Row]:
    labelled = 0
    for name in account.labels():
        in_use = held.get(account.function_counter(name), 0)
        labelled += in_use
        yield (account.account, name), in_use
    yield (account.account, OTHER), held.get(account.account_counter, 0) - labelled


def _list_reserved(account: AccountLimits) -> Iterator[Row]:
    for name in account.labels():
        slots = account.functions[name].reserved_concurrent_executions
        if slots is not None:
            yield (account.account, name), slots
