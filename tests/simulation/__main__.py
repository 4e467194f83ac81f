"""`python -m tests.simulation [--seeds N] [--first N] [--minutes M] [--processes P] [--broken]`, from the root."""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from os import cpu_count

import click

from .broken import BREAKS, find
from .course import Summary, run
from .world import Violation

_CHUNK = 20


def _run_chunk(seeds: list[int]) -> list[Summary | str]:
    """What each seed came to, or what was violated."""
    found: list[Summary | str] = []
    for seed in seeds:
        try:
            found.append(run(seed))
        except Violation as violation:
            found.append(str(violation))
    return found


def _run_all(first: int, seeds: int, minutes: float | None, processes: int) -> Iterator[Summary | str]:
    end = time.monotonic() + minutes * 60 if minutes else float("inf")
    chunks = (range(at, min(at + _CHUNK, first + seeds)) for at in range(first, first + seeds, _CHUNK))
    with ProcessPoolExecutor(processes) as pool:
        running = deque(pool.submit(_run_chunk, list(chunk)) for chunk in islice(chunks, 2 * processes))
        while running:
            yield from running.popleft().result()
            chunk = next(chunks, None)
            if chunk is not None and time.monotonic() < end:
                running.append(pool.submit(_run_chunk, list(chunk)))


def _tell_broken(seeds: range) -> None:
    unseen = []
    for breakage in BREAKS:
        found = find(breakage, seeds)
        if found is None:
            unseen.append(breakage.name)
        words = found[1].splitlines()[0][:150] if found else f"NOT SEEN by seeds {seeds.start} to {seeds.stop - 1}"
        print(f"{breakage.name} ({breakage.file}): {words}", flush=True)
    if unseen:
        sys.exit(f"not seen: {', '.join(unseen)}")


@click.command()
@click.option("--seeds", default=5000, show_default=True, type=click.IntRange(1))
@click.option("--first", default=0, show_default=True, type=click.IntRange(0), help="The first seed.")
@click.option("--minutes", type=float, help="Stop after that long.")
@click.option("--processes", default=cpu_count() or 1, show_default=True, type=click.IntRange(1))
@click.option("--broken", is_flag=True, help="Break scripts and tally in many ways, one at a time: each must be seen.")
def main(seeds: int, first: int, minutes: float | None, processes: int, broken: bool) -> None:
    """Simulate gateways that share a store, with faults: one course of events for each seed."""
    if broken:
        _tell_broken(range(first, first + seeds))
        return
    began = told_at = time.monotonic()
    totals: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    violations: list[str] = []
    for found in _run_all(first, seeds, minutes, processes):
        totals["seeds"] += 1
        if isinstance(found, str):
            violations.append(found)
            print(found, flush=True)
        else:
            faults.update(found.faults)
            totals.update(
                calls=found.calls,
                scripts=found.scripts,
                fenced=found.fenced,
                again=found.again,
                excused=found.excused,
                early=found.early,
            )
        if time.monotonic() - told_at > 5:
            told_at = time.monotonic()
            print(f"{totals['seeds']:,} of {seeds:,} seeds, {len(violations)} violations", file=sys.stderr, flush=True)
    seconds = time.monotonic() - began
    print(
        f"{totals['seeds']:,} seeds in {seconds:.0f} s ({totals['seeds'] / seconds * 60:,.0f} a minute):"
        f" {totals['calls']:,} calls ({totals['excused']:,} excused), {totals['scripts']:,} scripts"
        f" ({totals['fenced']:,} fenced, {totals['again']:,} answered again)"
        f", {totals['early']:,} recoveries ended early"
    )
    print("faults: " + ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in sorted(faults.items())))
    if violations:
        sys.exit(f"{len(violations)} violations; the first: {violations[0].splitlines()[0]}")
    print("violations: none")


if __name__ == "__main__":
    main(prog_name="python -m tests.simulation")
