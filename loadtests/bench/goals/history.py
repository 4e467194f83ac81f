"""Keeps the figures of each commit and machine, one line of JSON each, in `loadtests/results/history.jsonl`."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from loadtests.bench import machine
from loadtests.bench.goals.goal import GOALS, show
from loadtests.bench.goals.whole import Measured
from loadtests.bench.peers import COMPILED, GATEWAY
from loadtests.bench.processes import Trouble
from loadtests.bench.report import RESULTS, Table

FILE = RESULTS / "history.jsonl"
ROOT = RESULTS.parents[1]
WRITTEN = ("loadtests/results", "docs/explanation/numbers.md")
DIRTY = "+ changes"
LAST = 4
# What a figure of the compiled build has after its name.
IN_COMPILED = ", compiled"


@dataclass(frozen=True)
class Entry:
    """Holds one run. `commit`: short, and with a mark where files other than results were changed since."""

    commit: str
    date: str
    processor: str
    cores: int
    python: str
    figures: Mapping[str, float]

    @property
    def machine(self) -> str:
        return f"{self.processor}, {self.cores} cores, Python {self.python}"

    def replaces(self, other: "Entry") -> bool:
        """Returns True for an entry of the same commit and machine."""
        return (self.commit, self.machine) == (other.commit, other.machine)


def entry(figures: Mapping[str, float], commit: str | None = None) -> Entry:
    """Makes the entry of a run that has just ended, of the commit of this checkout. Raises Trouble."""
    facts = machine.description()
    rounded = {name: round(figure, 3) for name, figure in figures.items()}
    commit = commit or commit_of(ROOT)
    return Entry(commit, facts["date"], facts["processor"], machine.count_cores(), facts["python"], rounded)


def commit_of(root: Path) -> str:
    """Returns the commit of a checkout, marked if a file is changed that no run writes. Raises Trouble."""
    commit = _git(root, "rev-parse", "--short=10", "HEAD").strip()
    written = [f":(exclude){file}" for file in WRITTEN]
    changes = _git(root, "status", "--porcelain", "--", ".", *written).strip()
    return f"{commit} {DIRTY}" if changes else commit


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise Trouble(f"the history has the commit, but git does not give it: {error}") from error
    return done.stdout


def read(file: Path | None = None) -> list[Entry]:
    """Returns all entries, the oldest first. Raises Trouble for a line that is none."""
    file = file or FILE
    lines = file.read_text().splitlines() if file.exists() else []
    try:
        return [Entry(**json.loads(line)) for line in lines]
    except (ValueError, TypeError) as error:
        raise Trouble(f"{file.name} has a line that is not an entry: {error}") from error


def append(new: Entry, file: Path | None = None) -> None:
    """Adds the entry at the end. It takes the place of the one of the same commit and machine."""
    file = file or FILE
    kept = [one for one in read(file) if not new.replaces(one)]
    file.write_text("".join(json.dumps(asdict(one)) + "\n" for one in (*kept, new)))


def tables(entries: Sequence[Entry], last: int = LAST) -> list[Table]:
    """Makes a table of each machine: the last runs, and the change from the last but one to the last."""
    machines = dict.fromkeys(one.machine for one in entries)
    return [_table(name, [one for one in entries if one.machine == name][-last:]) for name in machines]


def _table(name: str, shown: Sequence[Entry]) -> Table:
    names = dict.fromkeys(name for one in shown for name in one.figures)
    columns = ("", *(f"{one.commit}\n{one.date[:10]}" for one in shown), "change")
    return Table(name, columns, [(figure, *_row(figure, shown)) for figure in names])


def _row(name: str, shown: Sequence[Entry]) -> list[str]:
    goal = next((goal for goal in GOALS if goal.name == name.removesuffix(IN_COMPILED)), None)
    figures = [one.figures.get(name) for one in shown]
    texts = [show(goal, one) if goal else _plain(one) for one in figures]
    return [*texts, _change(figures)]


def _plain(figure: float | None) -> str:
    return "" if figure is None else f"{figure:.1f}"


def _change(figures: Sequence[float | None]) -> str:
    """Returns the change from the last figure but one; empty where one of the two is missing."""
    before, after = (*([None] * 2), *figures)[-2:]
    return f"{100 * (after / before - 1):+.1f} %" if before and after is not None else ""


def figures_of(found: Measured) -> dict[str, float]:
    """Returns all figures of a whole run: those of the gateway, then those of the compiled build if it was measured."""
    compiled = _figures_of(found, COMPILED) if COMPILED in found.gateways else {}
    return _figures_of(found, GATEWAY) | {f"{name}{IN_COMPILED}": figure for name, figure in compiled.items()}


def _figures_of(found: Measured, gateway: str) -> dict[str, float]:
    """Returns CPU time in microseconds first, then the figures of the goals in their order."""
    measured = found.figures(gateway)
    ordered = {goal.name: measured[goal.name] for goal in GOALS if goal.name in measured}
    return found.microseconds(gateway) | ordered
