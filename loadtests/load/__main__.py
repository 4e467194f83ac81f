"""Runs `python -m loadtests.load [SCENARIO…]`: load tests one after another, judged, as a table and as pictures."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from loadtests.bench.processes import Trouble
from loadtests.load import table
from loadtests.load.outcome import Outcome
from loadtests.load.picture import draw
from loadtests.load.scenarios import SCENARIOS, Scenario, choose
from loadtests.load.stage import ROOT, Target, run_scenario

console = Console(width=None if sys.stdout.isatty() else 160)
SCENARIO_LIST = "\n".join(f"  {scenario.name:16} {scenario.question}" for scenario in SCENARIOS)


def leave(number: int, frame: object) -> None:
    """Leaves on SIGTERM as an exception does: through every block that ends a process."""
    raise SystemExit(128 + number)


@click.command(epilog=f"\b\nScenarios:\n{SCENARIO_LIST}")
@click.argument("names", nargs=-1, metavar="[SCENARIO]...")
@click.option(
    "--length", default=1.0, show_default=True, type=click.FloatRange(0.1, 100), help="Of timed runs, a factor."
)
@click.option("--host", help="Origin of a gateway that runs already; otherwise each scenario gets one of its own.")
@click.option("--admin", default="127.0.0.1:9002", show_default=True, help="host:port of its admin listener.")
@click.option(
    "--results",
    default=ROOT / "loadtests" / "results",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where reports and pictures go.  [default: loadtests/results]",
)
def main(names: tuple[str, ...], length: float, host: str | None, admin: str, results: Path) -> None:
    """Puts load on a gateway and judges every response. Exits with 1 on anything unexpected."""
    signal.signal(signal.SIGTERM, leave)
    try:
        chosen = choose(names)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="SCENARIO") from error
    results.mkdir(parents=True, exist_ok=True)
    target = Target(host.rstrip("/"), admin) if host else None
    outcomes = run_all(chosen, results, target, length)
    table.show(outcomes, console)
    for scenario, outcome in zip(chosen, outcomes, strict=True):
        draw(outcome, scenario.question, results)
    console.print(f"reports and pictures: {results}", highlight=False)
    sys.exit(0 if all(outcome.is_good for outcome in outcomes) else 1)


def run_all(chosen: Sequence[Scenario], results: Path, target: Target | None, length: float) -> list[Outcome]:
    outcomes = []
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not sys.stdout.isatty()) as progress:
        total = progress.add_task("all", total=sum(scenario.seconds * length for scenario in chosen))
        for scenario in chosen:
            seconds = scenario.seconds * length
            bar = progress.add_task(scenario.name, total=seconds)
            began = time.monotonic()
            try:
                outcome = run_scenario(scenario, results, target, seconds, partial(progress.advance, bar))
            except Trouble as error:
                outcome = Outcome(scenario.name, failures={str(error): 1})
            progress.remove_task(bar)
            progress.advance(total, seconds)
            style = "green" if outcome.is_good else "red"
            verdict = f"{scenario.name:16} {time.monotonic() - began:4.0f} s  {table.describe_verdict(outcome)}"
            console.print(verdict, style=style, highlight=False, soft_wrap=True)
            outcomes.append(outcome)
    return outcomes


if __name__ == "__main__":
    main(prog_name="python -m loadtests.load")
