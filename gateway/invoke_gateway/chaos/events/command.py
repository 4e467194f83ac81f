"""`invoke-gateway prove --events`."""

from __future__ import annotations

import json
from pathlib import Path

import click
from click.core import ParameterSource

from ..console import announce, name_command, open_console, try_to_judge
from .plan import EventsPlan
from .run import run_events
from .tables import print_events_verdict, write_events_report

# What means nothing here: the time is that of the events, and the gateways are our own.
FOREIGN = (
    "minutes",
    "gateway",
    "admin",
    "backend_listen",
    "backend_timeout",
    "workers",
    "reclaim_after",
    "faults",
    "timeline",
    "partition_seconds",
)


def is_default(ctx: click.Context, name: str) -> bool:
    return ctx.get_parameter_source(name) is ParameterSource.DEFAULT


def check_options_of_events(ctx: click.Context) -> None:
    """Raises `click.UsageError` for options that are about calls that somebody waits for."""
    given = [f"--{name.replace('_', '-')}" for name in FOREIGN if not is_default(ctx, name)]
    if given:
        raise click.UsageError(f"--events takes no {' and no '.join(given)}: leave that out.")


def run_events_and_tell(plan: EventsPlan, report: Path | None, *, as_json: bool) -> int:
    """The exit status."""
    errors = announce(plan.seeds)

    def tell(text: str) -> None:
        errors.print(text, markup=False, highlight=False, soft_wrap=True)

    verdict = try_to_judge(lambda: run_events(plan, tell))
    if isinstance(verdict, int):
        return verdict
    if report is not None:
        write_events_report(report, verdict, name_command())
    if as_json:
        click.echo(json.dumps(verdict.as_json(), indent=2))
    else:
        print_events_verdict(open_console(), verdict)
    return verdict.status
