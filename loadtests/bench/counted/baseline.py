"""Compares the counted work of a call with the committed baseline, and writes the baseline.

A count is exactly the same on every machine with the same version of Python and of the packages that a call passes.
"""

import importlib.metadata
import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtests.bench.counted.driven import COUNTED_PATHS
from loadtests.bench.counted.instructions import Work

FILE = Path(__file__).parents[2] / "results" / "counted.json"
CURE = "Take out what is not needed by each call, or accept the counts: python -m loadtests.bench counted --write"

MOST_INSTRUCTIONS = 1.01
"""Is the greatest ratio to the baseline. Of function calls and system calls not one more is accepted: a stage that only
calls the next one executes 0.5 % more instructions."""

_PACKAGES = ("aiolimiter", "httptools", "msgspec", "uvicorn", "uvloop")


@dataclass(frozen=True)
class Counted:
    """Holds what was counted for one path. system_calls: by name; None: they could not be counted"""

    work: Work
    system_calls: Counter[str] | None


def python_version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def packages() -> dict[str, str]:
    """Returns the versions of the packages whose code a call passes."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def read() -> dict[str, Any]:
    baseline: dict[str, Any] = json.loads(FILE.read_text())
    return baseline


def find_obstacle(baseline: Mapping[str, Any]) -> str | None:
    """Returns the reason why counts of this environment cannot be compared with the baseline; None if they can."""
    if python_version() not in baseline["work"]:
        return f"the baseline has no counts of Python {python_version()}"
    here, there = packages(), baseline["packages"]
    other = [f"{name} {here[name]} (not {there[name]})" for name in _PACKAGES if here[name] != there.get(name)]
    return f"the baseline is of other versions: {', '.join(other)}" if other else None


def find_excess(baseline: Mapping[str, Any], path: str, counted: Counted) -> list[str]:
    """Returns a sentence for each count of `path` that is above the baseline; none for a path that it does not have."""
    found: list[str] = []
    counts = baseline["work"][python_version()].get(path)
    if counts is None:
        return found
    before = Work(**counts)
    if counted.work.instructions > before.instructions * MOST_INSTRUCTIONS:
        found.append(_describe(path, "bytecode instructions", counted.work.instructions, before.instructions))
    if counted.work.calls > before.calls:
        found.append(_describe(path, "functions", counted.work.calls, before.calls))
    calls = counted.system_calls
    if calls is None:
        return found
    allowed = Counter(baseline["system_calls"][path])
    if calls.total() > allowed.total():
        more = ", ".join(f"{count} more {name}" for name, count in (calls - allowed).items())
        found.append(f"{_describe(path, 'system calls', calls.total(), allowed.total())} {more}.")
    return found


def _describe(path: str, what: str, now: int, before: int) -> str:
    verb = "executes" if what == "bytecode instructions" else "makes" if what == "system calls" else "calls"
    return f"A {path} call {verb} {now} {what}; the baseline has {before} ({now / before - 1:+.1%})."


def write(counted: Mapping[str, Counted]) -> None:
    """Writes the counts as the baseline of this version of Python. Counts of other versions of Python stay if they are
    of the same packages."""
    before = read() if FILE.exists() else {"packages": None, "work": {}, "system_calls": {}}
    kept = before["work"] if before["packages"] == packages() else {}
    work = kept | {python_version(): {path: counted[path].work._asdict() for path in COUNTED_PATHS}}
    counts = {path: calls for path in COUNTED_PATHS if (calls := counted[path].system_calls) is not None}
    document = {
        "packages": packages(),
        "work": dict(sorted(work.items())),
        "system_calls": before["system_calls"] | {path: dict(sorted(calls.items())) for path, calls in counts.items()},
    }
    FILE.write_text(json.dumps(document, indent=2) + "\n")
