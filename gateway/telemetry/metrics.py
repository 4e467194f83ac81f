"""The Prometheus view: reads totals and current levels at scrape time. Help texts name the CloudWatch counterpart."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Protocol

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from ..buffers import Buffers
from ..policy.limits import OTHER, AccountLimits, Limits
from .record import Histogram, Totals

PREFIX = "invoke_gateway_"


class Levels(Protocol):
    """What a store of counters tells about now."""

    def in_use(self, counter: str) -> int: ...


class Upstream(Protocol):
    """What a pool of backend connections tells about now."""

    @property
    def busy(self) -> int: ...

    @property
    def idle(self) -> int: ...


class GatewayCollector(Collector):
    def __init__(
        self,
        totals: Totals,
        *,
        limits: Callable[[], Limits],
        levels: Levels,
        buffers: Buffers,
        upstream: Upstream,
    ) -> None:
        self._totals = totals
        self._limits = limits
        self._levels = levels
        self._buffers = buffers
        self._upstream = upstream

    def collect(self) -> Iterable[Metric]:
        yield from self._collect_functions()
        yield from self._collect_accounts(self._limits().all())
        yield from self._collect_process()

    def _collect_functions(self) -> Iterator[Metric]:
        by_function = ["account", "function"]
        invocations = _counter(
            "invocations", "Invocations that ran: success or function error (Invocations).", by_function
        )
        errors = _counter("errors", "Invocations that ended in a function error (Errors).", by_function)
        throttles = _counter(
            "throttles",
            "Invocations refused with TooManyRequestsException, by its Reason (Throttles).",
            [*by_function, "reason"],
        )
        duration = HistogramMetricFamily(
            PREFIX + "duration_seconds",
            "Seconds that the backend took for an invocation (Duration, with cold starts).",
            labels=by_function,
        )
        for (account, label), counts in list(self._totals.functions.items()):
            key = [account, label]
            invocations.add_metric(key, counts.invocations)
            errors.add_metric(key, counts.errors)
            for reason, count in list(counts.throttles.items()):
                throttles.add_metric([*key, reason], count)
            _add_histogram(duration, key, counts.duration)
        yield from (invocations, errors, throttles, duration)

    def _collect_accounts(self, accounts: list[AccountLimits]) -> Iterator[Metric]:
        running = _gauge(
            "concurrent_executions", "Invocations in flight (ConcurrentExecutions).", ["account", "function"]
        )
        reserved = _gauge(
            "reserved_concurrent_executions",
            "Slots reserved for a function (ReservedConcurrentExecutions).",
            ["account", "function"],
        )
        limit = _gauge("concurrent_executions_limit", "Slots that the account has in all.", ["account"])
        unreserved = _gauge(
            "unreserved_concurrent_executions",
            "Invocations in flight of functions without a reservation (UnreservedConcurrentExecutions).",
            ["account"],
        )
        unreserved_limit = _gauge(
            "unreserved_concurrent_executions_limit", "Slots that the reservations leave over.", ["account"]
        )
        claimed = _gauge(
            "claimed_account_concurrency",
            "Unreserved invocations in flight plus all reservations (ClaimedAccountConcurrency).",
            ["account"],
        )
        for account in accounts:
            key = [account.account]
            self._add_functions(account, running, reserved)
            in_pool = self._levels.in_use(account.pool_counter)
            limit.add_metric(key, account.concurrent_executions)
            unreserved.add_metric(key, in_pool)
            unreserved_limit.add_metric(key, account.unreserved_concurrent_executions)
            claimed.add_metric(key, in_pool + account.reserved_concurrent_executions)
        yield from (running, reserved, limit, unreserved, unreserved_limit, claimed)

    def _add_functions(self, account: AccountLimits, running: GaugeMetricFamily, reserved: GaugeMetricFamily) -> None:
        labelled = 0
        for name in account.labels():
            in_use = self._levels.in_use(account.function_counter(name))
            labelled += in_use
            running.add_metric([account.account, name], in_use)
            slots = account.functions[name].reserved_concurrent_executions
            if slots is not None:
                reserved.add_metric([account.account, name], slots)
        total = self._levels.in_use(account.account_counter)
        running.add_metric([account.account, OTHER], total - labelled)

    def _collect_process(self) -> Iterator[Metric]:
        totals = self._totals
        refusals = _counter("refusals", "Requests refused for another cause than a throttle.", ["error"])
        for code, count in list(totals.refusals.items()):
            refusals.add_metric([code], count)
        upstream = _counter("upstream_errors", "Requests that the backend did not answer, by kind.", ["kind"])
        for kind, count in list(totals.upstream_errors.items()):
            upstream.add_metric([kind], count)
        gone = _counter("client_disconnects", "Clients that left before their request had arrived.", [])
        gone.add_metric([], totals.client_disconnects)
        passed = _counter("passed_through", "Requests that are no invocation, handed on as they came.", [])
        passed.add_metric([], totals.passed_through)
        admission = HistogramMetricFamily(
            PREFIX + "admission_seconds", "Seconds that taking the slots and tokens took.", labels=[]
        )
        _add_histogram(admission, [], totals.admission)
        buffered = _gauge("buffered_bytes", "Bytes of payload held in memory.", [])
        buffered.add_metric([], self._buffers.in_use)
        connections = _gauge("upstream_connections", "Connections to the backend, by state.", ["state"])
        connections.add_metric(["busy"], self._upstream.busy)
        connections.add_metric(["idle"], self._upstream.idle)
        yield from (refusals, upstream, gone, passed, admission, buffered, connections)


def _counter(name: str, documentation: str, labels: list[str]) -> CounterMetricFamily:
    return CounterMetricFamily(PREFIX + name, documentation, labels=labels)


def _gauge(name: str, documentation: str, labels: list[str]) -> GaugeMetricFamily:
    return GaugeMetricFamily(PREFIX + name, documentation, labels=labels)


def _add_histogram(family: HistogramMetricFamily, key: list[str], histogram: Histogram) -> None:
    bounds = [*map(repr, histogram.bounds), "+Inf"]
    counts: list[float] = list(accumulate(histogram.counts))
    family.add_metric(key, list(zip(bounds, counts, strict=True)), histogram.sum)
