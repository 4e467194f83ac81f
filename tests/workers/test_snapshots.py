"""What workers tell of themselves adds up."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.telemetry.event_totals import EventTotals
from invoke_gateway.telemetry.totals import Histogram, Totals
from invoke_gateway.workers.snapshots import (
    add_throttles,
    encode_totals,
    read_event_totals,
    read_totals,
    replace_totals,
    sum_processes,
)

NAMES = st.sampled_from(["checkout", "report", "other"])
COUNTS = st.dictionaries(st.sampled_from(["a", "b"]), st.integers(0, 9))
SECONDS = st.lists(st.floats(0, 1000), max_size=5)


def observed(histogram: Histogram, seconds: list[float]) -> None:
    for one in seconds:
        histogram.observe(one)


@st.composite
def some_totals(draw: st.DrawFn) -> Totals:
    totals = Totals()
    totals.client_disconnects, totals.lost_responses, totals.passed_through = draw(st.tuples(*[st.integers(0, 9)] * 3))
    totals.refusals, totals.upstream_errors = draw(COUNTS), draw(COUNTS)
    totals.credential_loads, totals.identity_refusals = draw(COUNTS), draw(COUNTS)
    totals.injected_faults = draw(st.dictionaries(st.tuples(st.just("1"), NAMES, st.just("cut")), st.integers(0, 9)))
    totals.recursive_invocations_dropped = draw(st.dictionaries(st.tuples(st.just("1"), NAMES), st.integers(0, 9)))
    observed(totals.admission, draw(SECONDS))
    observed(totals.loop_lag, draw(SECONDS))
    for name in draw(st.sets(NAMES)):
        counts = totals.of("1", name)
        counts.invocations, counts.errors, counts.retries = draw(st.tuples(*[st.integers(0, 9)] * 3))
        counts.throttles = draw(COUNTS)
        observed(counts.duration, draw(SECONDS))
    return totals


@st.composite
def some_events(draw: st.DrawFn) -> EventTotals:
    events = EventTotals()
    for name in draw(st.lists(NAMES, max_size=5)):
        events.received("1", name)
        events.retried("1", name, draw(st.sampled_from(["error", "system"])))
        events.dropped("1", name, draw(st.sampled_from(["RetriesExhausted", "DroppedByHand"])))
        events.not_delivered("1", name, "on_failure")
        for seconds in draw(SECONDS):
            events.started("1", name, seconds)
    return events


def encoded(totals: Totals, events: EventTotals | None = None) -> list[bytes]:
    return list(encode_totals(totals, events or EventTotals()))


def flat(totals: Totals | EventTotals) -> dict[Any, float]:
    """Every number in it, by where it stands."""
    found: dict[Any, float] = {}

    def walk(value: Any, where: tuple[Any, ...]) -> None:
        if isinstance(value, int | float):
            found[where] = value
        elif isinstance(value, dict):
            for key, below in value.items():
                walk(below, (*where, key))
        elif isinstance(value, list):
            for index, below in enumerate(value):
                walk(below, (*where, index))
        elif isinstance(value, Histogram):
            walk(value.counts, (*where, "counts"))
            walk(value.sum, (*where, "sum"))
        elif value is not None:
            names = getattr(type(value), "__slots__", None) or vars(value)
            for name in names:
                walk(getattr(value, name), (*where, name))

    walk(totals, ())
    return found


def test_all_totals_are_replaced_in_place() -> None:
    totals, by = Totals(), Totals()
    for name in vars(by):
        setattr(by, name, object())
    replace_totals(totals, by)
    assert vars(totals) == vars(by)


@given(some_totals(), some_totals())
def test_the_totals_of_two_workers_add_up_number_by_number(one: Totals, other: Totals) -> None:
    added = flat(read_totals(encoded(one), encoded(other)))
    parts = flat(one), flat(other)
    for where in added.keys() | parts[0].keys() | parts[1].keys():
        assert abs(added.get(where, 0) - sum(part.get(where, 0) for part in parts)) < 1e-6, where


@given(some_totals(), some_events(), some_events())
def test_what_became_of_the_events_of_two_workers_adds_up_beside_their_other_totals(
    totals: Totals, one: EventTotals, other: EventTotals
) -> None:
    pieces = encoded(totals, one), encoded(totals, other)
    added, parts = flat(read_event_totals(*pieces)), (flat(one), flat(other))
    for where in added.keys() | parts[0].keys() | parts[1].keys():
        assert abs(added.get(where, 0) - sum(part.get(where, 0) for part in parts)) < 1e-6, where
    assert flat(read_totals(pieces[0])) == flat(totals)


def test_many_functions_go_in_several_pieces() -> None:
    totals = Totals()
    for number in range(1201):
        totals.of("1", f"f{number}").invocations = number
    pieces = encoded(totals)
    assert len(pieces) == 6
    assert flat(read_totals(pieces)) == flat(totals)


def test_throttles_are_added_to_those_that_are_known() -> None:
    totals = Totals()
    totals.of("1", "f").throttles["why"] = 2
    add_throttles(totals, [("1", "f", {"why": 3, "other": 1}), ("1", "g", {"why": 1})])
    assert totals.of("1", "f").throttles == {"why": 5, "other": 1}
    assert totals.of("1", "g").throttles == {"why": 1}


def test_processes_add_up_but_for_their_start() -> None:
    own = {
        "process_cpu_seconds": ("counter", "h", 1.0),
        "process_start_time_seconds": ("gauge", "h", 100.0),
        "process_open_fds": ("gauge", "h", 5.0),
    }
    worker = {name: (kind, help, value * 2) for name, (kind, help, value) in own.items()}
    retired = {"process_cpu_seconds": ("counter", "h", 10.0)}
    families = {family.name: (family.kind, list(family.rows)) for family in sum_processes(own, [worker, retired])}
    assert families == {
        "process_cpu_seconds": ("counter", [((), 13.0)]),
        "process_start_time_seconds": ("gauge", [((), 100.0)]),
        "process_open_fds": ("gauge", [((), 15.0)]),
    }
