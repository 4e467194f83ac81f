"""Renders the results of `queue` and `queue million` as tables and lines."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from statistics import median

from loadtests.bench.queue import disk
from loadtests.bench.queue.accept import ONLY_ACCEPTS, Accepted, Row
from loadtests.bench.queue.backlog import AT_MOST_MIB, Backlog
from loadtests.bench.queue.drain import AT_LEAST, Drained
from loadtests.bench.queue.kept import Kept
from loadtests.bench.report import Report, Table, mebibytes

GOAL_PER_SECOND, GOAL_CLIENTS = 5_000, 64


def comparison(accepted: Accepted, drained: Sequence[Drained], kept: Sequence[Kept], command: str) -> Report:
    """Makes the report of `queue`."""
    figures = {
        "file_system": accepted.file_system,
        "fsyncs_per_second": median(accepted.fsyncs or [0.0]),
        "accepted": [asdict(row) for row in accepted.rows],
        "drained": [asdict(one) for one in drained],
        "kept": [asdict(one) for one in kept],
    }
    tables = [_accepted_table(accepted, {one.name: one.word for one in kept})]
    tables += [_drained_table(drained)] if drained else []
    tables += [_kept_table(kept)] if kept else []
    return Report(
        "queue",
        command,
        figures,
        tables,
        [*_about(accepted), *_disk_lines(accepted), goal(accepted), *map(bound, drained)],
    )


def goal(accepted: Accepted) -> str:
    """Judges the goal: the number of events that the gateway accepts."""
    text = f"at least {GOAL_PER_SECOND:,} accepted a second with {GOAL_CLIENTS} clients on one core"
    row = accepted.row(ONLY_ACCEPTS, GOAL_CLIENTS)
    if row is None or not row.samples or row.problem:
        return f"{text}: not measured"
    if row.failed:
        return f"{text}: NOT MET: {row.failed} were not answered 202"
    return f"{text}: {'met' if row.per_second >= GOAL_PER_SECOND else 'NOT MET'} ({row.per_second:,.0f})"


def bound(one: Drained) -> str:
    """Judges the run of a backlog against the rate that the backend allows."""
    text = f"a backlog before a backend that {one.name} runs at {one.ratio:.2f} × the rate of synchronous calls"
    if not one.is_exact:
        return f"{text}: NOT EXACT: {one.filling.accepted} accepted, {one.calls} runs"
    if one.ceiling is None:
        return f"{text}; the gateway's core is the bound of both"
    return f"{text}, at least {AT_LEAST} wanted: {'met' if one.is_bounded_by_the_backend else 'NOT MET'}"


def is_good(accepted: Accepted, drained: Sequence[Drained], kept: Sequence[Kept]) -> bool:
    """Returns True if all of the gateway was measured, and no accepted event was lost or run twice."""
    rows = [row for row in accepted.rows if row.name.startswith("gateway")]
    measured = all(row.samples and not row.problem and not row.failed for row in rows)
    whole = all(one.word == "yes" for one in kept if one.name == "gateway")
    return measured and whole and all(one.is_exact for one in drained)


def _about(accepted: Accepted) -> list[str]:
    """Describes each row once."""
    return [f"{name}: {about}" for name, about in {row.name: row.about for row in accepted.rows if row.about}.items()]


def _disk_lines(accepted: Accepted) -> list[str]:
    if not accepted.fsyncs:
        return []
    rates = f"{median(accepted.fsyncs):,.0f} ({min(accepted.fsyncs):,.0f}..{max(accepted.fsyncs):,.0f})"
    lines = [f"bare fsyncs a second in the same folder ({accepted.file_system}), before each flood: {rates}"]
    if not disk.has_durable_disk(accepted.file_system):
        lines.append("on this file system an fsync does nothing: set TMPDIR to a folder on a disk")
    return lines


def _accepted_table(accepted: Accepted, durable: Mapping[str, str]) -> Table:
    columns = ("", "clients", "events/s", "min..max", "CPU µs", "÷ bare fsync", "per flush", "p99 ms", "not 202")
    return Table(
        "Events of 1 KiB accepted on one core, and CPU time of each, median of the rounds",
        (*columns, "ran", "durable", "note"),
        [_accepted_cells(row, durable.get(row.subject, "")) for row in accepted.rows],
    )


def _accepted_cells(row: Row, durable: str) -> tuple[str, ...]:
    if not row.samples or row.problem:
        return (row.name, f"{row.clients}", *[""] * 9, row.problem)
    rates = [sample.per_second for sample in row.samples]
    return (
        row.name,
        f"{row.clients}",
        f"{row.per_second:.0f}",
        f"{min(rates):.0f}..{max(rates):.0f}",
        f"{row.microseconds:.0f}",
        f"{row.per_fsync:.2f}",
        _flushes(row),
        f"{row.p99_ms:.1f}",
        f"{row.failed}",
        "" if row.ran is None else f"{100 * row.ran:.0f} %",
        durable,
        row.trouble,
    )


def _flushes(row: Row) -> str:
    """Returns events per flush; `none` below one flush for a thousand events."""
    if row.per_flush is None:
        return "none" if any(sample.flushes == 0 for sample in row.samples) else ""
    return "none" if row.per_flush > 1_000 else f"{row.per_flush:.1f}"


def _drained_table(drained: Sequence[Drained]) -> Table:
    columns = ("", "events", "filled/s", "run/s", "synchronous/s", "run ÷ synchronous", "ceiling/s")
    rows = [
        (
            f"backend {one.name}",
            f"{one.events:,}",
            f"{one.filling.accepted / one.filling.seconds:.0f}",
            f"{one.per_second:.0f}",
            f"{one.synchronous:.0f}",
            f"{one.ratio:.2f}",
            "" if one.ceiling is None else f"{one.ceiling:.0f}",
            f"{one.microseconds:.0f}",
            f"{one.synchronous_microseconds:.0f}",
        )
        for one in drained
    ]
    return Table("A backlog run, beside synchronous calls at the same limit", (*columns, "CPU µs", "synchronous"), rows)


def _kept_table(kept: Sequence[Kept]) -> Table:
    rows = [
        (one.name, "", "", "", one.problem)
        if one.problem
        else (one.name, f"{one.accepted}", f"{one.ran}", one.word, "")
        for one in kept
    ]
    return Table("Accepted, killed with SIGKILL, started again", ("", "accepted", "ran then", "durable", "note"), rows)


def million(found: Backlog, command: str) -> Report:
    """Makes the report of `queue million`."""
    *growing, after = found.levels
    levels = [(f"memory with {level.events:,} waiting", mebibytes(level.resident_bytes)) for level in growing]
    rows = [
        ("seconds to accept them", f"{found.accepting_seconds:.1f}"),
        ("accepted a second", f"{found.accepted / found.accepting_seconds:.0f}"),
        *levels,
        ("the file", mebibytes(found.file_bytes)),
        ("its write-ahead log", mebibytes(found.log_bytes)),
        ("bytes of the file per event", f"{found.file_bytes / found.accepted:.0f}"),
        ("seconds to stop", f"{found.stop_seconds:.2f}"),
        ("seconds to start with it, until ready", f"{found.start_seconds:.2f}"),
        ("memory after that start", mebibytes(found.restarted_bytes)),
        ("seconds until all had run", f"{found.drain_seconds:.1f}"),
        ("events run a second", f"{found.drained_per_second:.0f}"),
        ("memory when all had run", mebibytes(after.resident_bytes)),
    ]
    timed = [
        (one.when, f"{one.count}", f"{one.p50_ms:.2f}", f"{one.p99_ms:.2f}", f"{one.failed}") for one in found.calls
    ]
    word = "met" if found.grown_mib <= AT_MOST_MIB else "NOT MET"
    flat = f"from a quarter of the backlog to all of it memory grew by {found.grown_mib:.1f} MiB"
    return Report(
        "queue-million",
        command,
        figures=asdict(found) | {"grown_mib": found.grown_mib},
        tables=[
            Table(f"A backlog of {found.accepted:,} events of 1 KiB", ("", "seen"), rows),
            Table(
                "Synchronous calls meanwhile, one after the other", ("", "calls", "p50 ms", "p99 ms", "failed"), timed
            ),
        ],
        lines=[
            f"{flat}, at most {AT_MOST_MIB:.0f} wanted: {word}",
            *(f"{'yes' if is_true else 'NO'}: {sentence}" for sentence, is_true in found.checks),
        ],
    )
