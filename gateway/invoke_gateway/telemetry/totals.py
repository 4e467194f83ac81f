"""Counts what became of finished requests, as plain numbers.

A request costs a few additions; names, labels and text are made at scrape time. Functions without a label are counted
under `other`, so names that clients invent take no memory.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from math import ceil, log

from ..exchange import Exchange
from ..policy.concurrency import PROVISIONED, Plan
from ..policy.fault_script import CUT, LATENCY, Injected

# Seconds. The upper end is Lambda's longest time-out; the lower end a function that only returns.
DURATION_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0)
ADMISSION_BOUNDS = (0.000_005, 0.000_01, 0.000_025, 0.000_05, 0.000_1, 0.000_5, 0.001, 0.005, 0.025, 0.1, 0.5)
_FINEST_STEP = 1.25  # of two bounds: a quantile is wrong by at most a quarter, and mostly by a tenth
_SHORTEST = 0.000_5
LOOP_LAG_BOUNDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.5)

# SDKs write `attempt=2; max=3`, some with `ttl=20260101T000000Z; ` before it.
_ATTEMPT = re.compile(rb"(?:\A|;)[ \t]*attempt=([1-9][0-9]{0,8})[ \t]*(?:;|\Z)")


class Histogram:
    """Counts observed seconds by the first bound that is not below them."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.sum += seconds


def _divide(bounds: tuple[float, ...]) -> Iterator[float]:
    """Yields the bounds, and bounds between them, each at most `_FINEST_STEP` times the one before."""
    yield _SHORTEST
    for low, high in pairwise((_SHORTEST, *bounds)):
        parts = ceil(log(high / low, _FINEST_STEP))
        yield from (low * (high / low) ** (part / parts) for part in range(1, parts))
        yield high


FINE_BOUNDS = tuple(_divide(DURATION_BOUNDS))
_COARSE_ENDS = tuple(FINE_BOUNDS.index(bound) + 1 for bound in DURATION_BOUNDS)


class DurationHistogram(Histogram):
    """Counts durations by `FINE_BOUNDS`, for quantiles. The metric has the sums by `DURATION_BOUNDS`.

    One search among five times as many bounds takes 0.15 µs longer than among few. A second histogram would take 0.4.
    """

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__(FINE_BOUNDS)

    def to_coarse(self) -> Histogram:
        """Returns the histogram of the metric."""
        coarse = Histogram(DURATION_BOUNDS)
        ends = (0, *_COARSE_ENDS, len(self.counts))
        coarse.counts = [sum(self.counts[start:end]) for start, end in pairwise(ends)]
        coarse.sum = self.sum
        return coarse


class FunctionCounts:
    """Holds the totals of one labelled function since the start."""

    __slots__ = ("duration", "errors", "invocations", "retries", "throttles")

    def __init__(self) -> None:
        self.invocations = 0
        self.errors = 0
        self.retries = 0
        self.throttles: dict[str, int] = {}
        self.duration = DurationHistogram()


class Totals:
    """Holds everything that is counted per request, and the lag of the event loop.

    functions, recursive_invocations_dropped: by account and label
    provisioned_invocations, provisioned_spillovers: by account and label, of versions with provisioned concurrency
    injected_faults: by account, label and fault
    signature_refusals: by cause
    credential_loads: attempts to load the credentials that sign, by result; empty where nothing is signed
    identity_refusals: requests of which the backend refused the gateway's own identity, by error code
    client_disconnects: clients that disconnected before their request had arrived
    lost_responses: clients that disconnected before their response was sent
    """

    def __init__(self) -> None:
        self.functions: dict[tuple[str, str], FunctionCounts] = {}
        self.refusals: dict[str, int] = {}
        self.signature_refusals: dict[str, int] = {}
        self.credential_loads: dict[str, int] = {}
        self.identity_refusals: dict[str, int] = {}
        self.upstream_errors: dict[str, int] = {}
        self.background_task_failures: dict[str, int] = {}
        self.injected_faults: dict[tuple[str, str, str], int] = {}
        self.recursive_invocations_dropped: dict[tuple[str, str], int] = {}
        self.provisioned_invocations: dict[tuple[str, str], int] = {}
        self.provisioned_spillovers: dict[tuple[str, str], int] = {}
        self.client_disconnects = 0
        self.lost_responses = 0
        self.passed_through = 0
        self.log_lines_dropped = 0
        self.descriptors_used_up = 0
        self.admission = Histogram(ADMISSION_BOUNDS)
        self.loop_lag = Histogram(LOOP_LAG_BOUNDS)

    def of(self, account: str, label: str) -> FunctionCounts:
        counts = self.functions.get((account, label))
        if counts is None:
            counts = self.functions[account, label] = FunctionCounts()
        return counts

    def refused(self) -> Counter[str]:
        """Returns the refusals since the start: throttles by reason, others by error code."""
        refused = Counter(self.refusals)
        for (_, _, fault), count in self.injected_faults.items():
            if fault not in (LATENCY, CUT):
                refused[f"injected {fault}"] += count
        for counts in self.functions.values():
            for reason, count in counts.throttles.items():
                refused[reason] += count
        return refused

    def record_injected(self, plan: Plan, injected: Injected) -> None:
        """Counts a call that a fault script changes."""
        for fault in injected.step.faults:
            key = (plan.account, plan.label, fault)
            self.injected_faults[key] = self.injected_faults.get(key, 0) + 1

    def record_unverified(self, cause: str) -> None:
        """Counts a request whose signature is not valid."""
        _increment(self.signature_refusals, cause)

    def record_recursive(self, plan: Plan) -> None:
        """Counts an invocation that is stopped as part of a loop."""
        key = (plan.account, plan.label)
        self.recursive_invocations_dropped[key] = self.recursive_invocations_dropped.get(key, 0) + 1

    def record(self, exchange: Exchange) -> None:
        """Counts one finished request as CloudWatch does: a throttle is neither an invocation nor an error."""
        if exchange.admission_seconds is not None:
            self.admission.observe(exchange.admission_seconds)
        if exchange.error_kind is not None:
            _increment(self.upstream_errors, exchange.error_kind)
        if exchange.client_is_gone:
            self.client_disconnects += 1
        elif exchange.response_is_lost and (exchange.refusal is None or exchange.body_is_read):
            self.lost_responses += 1  # a client that stops its upload at a refusal has read the response
        refusal = exchange.refusal
        plan = exchange.plan
        attempt = exchange.headers.get(b"amz-sdk-request")
        # Nearly always the first attempt, which is found without a search.
        if attempt is not None and not attempt.startswith(b"attempt=1;") and plan is not None and _is_retry(attempt):
            self.of(plan.account, plan.label).retries += 1
        if refusal is not None:
            if plan is not None and refusal.is_throttle:
                _increment(self.of(plan.account, plan.label).throttles, refusal.reason or "")
            elif not refusal.is_injected:  # those have been counted
                _increment(self.refusals, refusal.code)
        elif plan is None:
            self.passed_through += 1
        elif exchange.slot is not None and (exchange.status == 200 or exchange.function_error):
            counts = self.of(plan.account, plan.label)
            counts.invocations += 1
            counts.errors += exchange.function_error
            if exchange.backend_seconds is not None:
                counts.duration.observe(exchange.backend_seconds)
            if len(plan.lanes) > 1:
                is_spillover = exchange.slot.lane.name != PROVISIONED
                by_lane = self.provisioned_spillovers if is_spillover else self.provisioned_invocations
                key = (plan.account, plan.label)
                by_lane[key] = by_lane.get(key, 0) + 1


def _is_retry(header: bytes) -> bool:
    """Returns whether `amz-sdk-request` names an attempt after the first; False where it cannot be parsed."""
    found = _ATTEMPT.search(header)
    return found is not None and found[1] != b"1"


def _increment(counts: dict[str, int], name: str) -> None:
    counts[name] = counts.get(name, 0) + 1
