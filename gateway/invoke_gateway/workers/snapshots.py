"""Describes a worker as documents for the channel, and adds such documents up in the supervisor."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from ..telemetry.event_totals import AGE_BOUNDS, EventTotals
from ..telemetry.exposition import Family
from ..telemetry.process_metrics import read_process
from ..telemetry.totals import Histogram, Totals

if TYPE_CHECKING:
    from ..app.gateway import Gateway

_FUNCTIONS_AT_ONCE = 250  # about half a millisecond

_NUMBERS = ("client_disconnects", "lost_responses", "passed_through", "log_lines_dropped", "descriptors_used_up")
_COUNTS = (
    "refusals",
    "signature_refusals",
    "credential_loads",
    "identity_refusals",
    "upstream_errors",
    "background_task_failures",
)
_KEYED = (
    "injected_faults",
    "recursive_invocations_dropped",
    "provisioned_invocations",
    "provisioned_spillovers",
)
_HISTOGRAMS = ("admission", "loop_lag")
_EVENT_COUNTS = ("received_events", "retries", "drops", "undelivered")


def describe_snapshot(gateway: Gateway) -> dict[str, Any]:
    """Describes the present state; called about once a second."""
    shared = gateway.shared
    assert shared is not None, "workers share counters"
    keeper = gateway.signing.keeper
    counters = gateway.counters
    return {
        "levels": {name: (slots, counters.oldest_seconds(name)) for name, slots in counters.counts().items()},
        "held": gateway.holds.by_counter(),
        "holds": gateway.holds.describe_all(),
        "throttles": [
            (*key, counts.throttles) for key, counts in list(gateway.totals.functions.items()) if counts.throttles
        ],
        "refused": gateway.totals.refusals,
        "refusals": gateway.last_refusals.newest_first(),
        "degraded": gateway.degraded,
        "buffered": (gateway.buffers.in_use, gateway.buffers.ceiling),
        "connections": (gateway.pool.busy, gateway.pool.idle),
        "backend": (gateway.backend.is_up, gateway.backend.why),
        "event_trouble": gateway.events.problem,
        "store": vars(shared.totals),
        "gateways": shared.gateways,
        "trouble": shared.trouble,
        "why_not_ready": shared.why_not_ready,
        "outside": gateway.outside.watch.slots,
        "credentials": None if keeper is None else (keeper.describe(), keeper.remaining_seconds),
        "control_version": sum(state.version for state in gateway.control_states),
    }


def encode_totals(totals: Totals, events: EventTotals) -> Iterator[bytes]:
    """Encodes all totals, in pieces that are made one by one."""
    head = {
        **{name: getattr(totals, name) for name in (*_NUMBERS, *_COUNTS)},
        **{name: [(*key, count) for key, count in getattr(totals, name).items()] for name in _KEYED},
        **{name: _describe_histogram(getattr(totals, name)) for name in _HISTOGRAMS},
    }
    yield msgspec.msgpack.encode(head)
    functions = list(totals.functions.items())
    for start in range(0, len(functions), _FUNCTIONS_AT_ONCE):
        yield msgspec.msgpack.encode(
            [
                (*key, of.invocations, of.errors, of.retries, of.throttles, _describe_histogram(of.duration))
                for key, of in functions[start : start + _FUNCTIONS_AT_ONCE]
            ]
        )

    rows = list(_list_events(events))
    for start in range(0, len(rows), _FUNCTIONS_AT_ONCE):
        yield msgspec.msgpack.encode({"events": rows[start : start + _FUNCTIONS_AT_ONCE]})


def _list_events(events: EventTotals) -> Iterator[tuple[str, tuple[str, ...], Any]]:
    for name in _EVENT_COUNTS:
        for key, count in list(getattr(events, name).items()):
            yield name, key, count
    for key, ages in list(events.ages.items()):
        yield "ages", key, _describe_histogram(ages)


async def describe_totals(totals: Totals, events: EventTotals) -> list[bytes]:
    """Encodes all totals. Requests are served between two pieces."""
    pieces = []
    for piece in encode_totals(totals, events):
        pieces.append(piece)
        await asyncio.sleep(0)
    return pieces


def read_totals(*encoded: list[bytes]) -> Totals:
    """Sums encoded totals; a list without pieces counts nothing."""
    totals = Totals()
    for pieces in encoded:
        for number, piece in enumerate(pieces):
            decoded = msgspec.msgpack.decode(piece)
            if number == 0:
                _add_head(totals, decoded)
            elif isinstance(decoded, list):
                _add_functions(totals, decoded)
    return totals


def replace_totals(totals: Totals, by: Totals) -> None:
    """Replaces all totals in place. By their names, because a compiled class has no `__dict__`."""
    for name in ("functions", *_NUMBERS, *_COUNTS, *_KEYED, *_HISTOGRAMS):
        setattr(totals, name, getattr(by, name))


def read_event_totals(*encoded: list[bytes]) -> EventTotals:
    """Sums the encoded totals of asynchronous invocations."""
    events = EventTotals()
    for pieces in encoded:
        for piece in pieces[1:]:
            decoded = msgspec.msgpack.decode(piece)
            if isinstance(decoded, dict):
                _add_events(events, decoded["events"])
    return events


def _add_events(events: EventTotals, rows: list[Any]) -> None:
    for name, key, value in rows:
        if name == "ages":
            _add_histogram(events.ages.setdefault(tuple(key), Histogram(AGE_BOUNDS)), value)
        else:
            getattr(events, name)[tuple(key)] += value


def _add_head(totals: Totals, head: dict[str, Any]) -> None:
    for name in _NUMBERS:
        setattr(totals, name, getattr(totals, name) + head[name])
    for name in _COUNTS:
        add_counts(getattr(totals, name), head[name])
    for name in _KEYED:
        add_counts(getattr(totals, name), {tuple(key): count for *key, count in head[name]})
    for name in _HISTOGRAMS:
        _add_histogram(getattr(totals, name), head[name])


def _add_functions(totals: Totals, rows: list[Any]) -> None:
    for account, label, invocations, errors, retries, throttles, duration in rows:
        counts = totals.of(account, label)
        counts.invocations += invocations
        counts.errors += errors
        counts.retries += retries
        add_counts(counts.throttles, throttles)
        _add_histogram(counts.duration, duration)


def add_throttles(totals: Totals, rows: Iterable[tuple[str, str, dict[str, int]]]) -> None:
    """Adds the throttles of a snapshot."""
    for account, label, throttles in rows:
        add_counts(totals.of(account, label).throttles, throttles)


async def describe_process() -> dict[str, tuple[str, str, float]]:
    """Reads the `process_*` metrics: by name, their kind, help and value."""
    families = await asyncio.to_thread(read_process)
    return {
        family.name: (family.kind, family.help, float(value))  # type: ignore[arg-type]  # none is a histogram
        for family in families
        for _, value in family.rows
    }


def sum_processes(own: Mapping[str, tuple[str, str, float]], others: Iterable[Mapping[str, Any]]) -> list[Family]:
    """Sums the metrics of all processes. Their start is that of the first."""
    values = {name: value for name, (_, _, value) in own.items()}
    for other in others:
        for name, (_, _, value) in other.items():
            if name in values and name != "process_start_time_seconds":
                values[name] += value
    return [
        Family(name, "counter" if kind == "counter" else "gauge", help, (), [((), values[name])])
        for name, (kind, help, _) in own.items()
    ]


def _describe_histogram(histogram: Histogram) -> tuple[list[int], float]:
    return histogram.counts, histogram.sum


def _add_histogram(into: Histogram, described: tuple[list[int], float]) -> None:
    counts, seconds = described
    into.counts = [mine + other for mine, other in zip(into.counts, counts, strict=True)]
    into.sum += seconds


def add_counts(into: dict[Any, int], counts: Mapping[Any, int]) -> None:
    for name, count in counts.items():
        into[name] = into.get(name, 0) + count
