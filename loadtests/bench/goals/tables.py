"""Makes the report of `compare`: the goals, and a table of each measurement."""

from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from loadtests.bench import machine
from loadtests.bench.compare import Row
from loadtests.bench.goals import cores, goal, latency
from loadtests.bench.goals.goal import Verdict, show
from loadtests.bench.goals.whole import Measured, Part
from loadtests.bench.paths import PATHS, SHAPES
from loadtests.bench.peers import COMPILED, EARLIER, GATEWAY, MAKE_COMPILED
from loadtests.bench.report import Report, Table, mebibytes, spread_of


def comparison(found: Measured, command: str) -> Report:
    """Makes the report of a run. Only a run of everything has a table of goals."""
    processor = machine.processor()
    judged = goal.verdicts(processor, *(found.figures(name) for name in (GATEWAY, EARLIER, COMPILED)))
    goals = [_goal_table(judged, processor, found.gateways)] if found.is_whole else []
    is_compiled = COMPILED in found.gateways
    return Report(
        "bench",
        command,
        figures={
            "rounds": found.rounds,
            "seconds": found.seconds,
            "goals": [
                {"goal": one.goal.name, "bound": one.goal.bound(processor), "now": one.now, "verdict": one.word}
                | ({"compiled": one.compiled, "compiled_verdict": one.compiled_word} if is_compiled else {})
                for one in judged
            ],
            "paths": {path: [_figures(rows, row) for row in rows] for path, rows in found.paths.items()},
            **{name: [asdict(one) for one in part.found] for name, part in _parts(found)},
        },
        tables=[
            *goals,
            *(_path_table(path, rows) for path, rows in found.paths.items()),
            *_part_tables(found),
        ],
        lines=[
            *_lines(found),
            *(f"{name}: not measured: {part.problem}" for name, part in _parts(found) if part.problem),
        ],
    )


def _parts(found: Measured) -> list[tuple[str, Part[Any]]]:
    """Returns what a run of everything measures beside CPU time per call."""
    if not found.is_whole:
        return []
    return [
        ("cores", found.cores),
        ("latency", found.latency),
        ("shared", found.shared),
        ("in flight", found.in_flight),
    ]


def _lines(found: Measured) -> list[str]:
    if not found.is_whole:
        return []
    return [cores.METHOD, latency.METHOD]


def _goal_table(judged: Sequence[Verdict], processor: str, gateways: Sequence[str]) -> Table:
    """Makes the table of the goals. Without a compiled build, its verdict is the command that makes one."""
    has_earlier, is_compiled = EARLIER in gateways, COMPILED in gateways
    earlier = ("earlier",) if has_earlier else ()
    return Table(
        f"Goals, on {processor}",
        ("", "goal", *earlier, "now", "verdict", "compiled", "verdict"),
        [
            (
                one.goal.name,
                one.wanted,
                *((show(one.goal, one.earlier),) if has_earlier else ()),
                show(one.goal, one.now),
                one.word,
                show(one.goal, one.compiled),
                one.compiled_word if is_compiled else MAKE_COMPILED,
            )
            for one in judged
        ],
    )


def _part_tables(found: Measured) -> list[Table]:
    tables = []
    if found.cores.found:
        tables.append(cores.table(found.cores.found))
    if found.latency.found:
        tables.append(latency.table(found.latency.found))
    if found.shared.found:
        rows = [
            (name, *(f"{cost.added(path):.1f}" for path in PATHS))
            for name, cost in zip(found.gateways, found.shared.found, strict=True)
        ]
        columns = ("proxy", *(f"CPU µs more per invoke {path}" for path in PATHS))
        tables.append(Table("What shared counters add", columns, rows))
    if found.in_flight.found:
        flights = [
            (
                name,
                str(one.calls),
                mebibytes(one.resident_before),
                mebibytes(one.resident_at_peak),
                f"{one.bytes_per_call:.0f}",
            )
            for name, one in zip(found.gateways, found.in_flight.found, strict=True)
        ]
        columns = ("proxy", "calls in flight", "memory before", "memory at the peak", "bytes per call")
        tables.append(Table("Memory of calls in flight", columns, flights))
    return tables


def _path_table(path: str, rows: Sequence[Row]) -> Table:
    return Table(
        f"CPU time per {SHAPES[path].title}, median of the rounds",
        ("proxy", "version", "µs", "min..max", f"{GATEWAY} ÷ it", "requests/s", "p99 ms", "note"),
        [_cells(rows, row) for row in sorted(rows, key=_cost)],
    )


def _cost(row: Row) -> float:
    return row.microseconds if row.samples else float("inf")


def _cells(rows: Sequence[Row], row: Row) -> tuple[str, ...]:
    if not row.samples:
        return (row.name, row.version, "", "", "", "", "", row.problem)
    figures = _figures(rows, row)
    ratio = figures["gateway_ratio"]
    return (
        row.name,
        row.version,
        f"{figures['median_us']:.1f}",
        spread_of([sample.microseconds for sample in row.samples]),
        f"{ratio:.2f}" if ratio else "",
        f"{figures['requests_per_second']:.0f}",
        f"{figures['p99_ms']:.1f}",
        row.problem or row.note,
    )


def _figures(rows: Sequence[Row], row: Row) -> dict[str, Any]:
    told: dict[str, Any] = {
        "name": row.name,
        "version": row.version,
        "problem": row.problem,
        "note": row.note,
    }
    if row.samples:
        lowest, highest = row.spread
        told |= {
            "median_us": row.microseconds,
            "min_us": lowest,
            "max_us": highest,
            "gateway_ratio": goal.ratio(rows, GATEWAY, row.name),
            "requests_per_second": median(sample.requests_per_second for sample in row.samples),
            "p99_ms": median(sample.p99_ms for sample in row.samples),
            "samples": [asdict(sample) for sample in row.samples],
        }
    return told
