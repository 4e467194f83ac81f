"""Runs `invoke-gateway prove --events`."""

from __future__ import annotations

import click
from click.core import ParameterSource
from rich.console import Console

from ..report.console import Output, run_and_show
from .plan import EventsPlan
from .run import run_events
from .tables import list_event_tables, render_events
from .verdict import EventsVerdict

# What means nothing here: the time is that of the events, and the gateways are our own.
FOREIGN = (
    "minutes",
    "gateway",
    "admin",
    "admin_token",
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
    """Refuses the options that are only about calls whose clients wait. Raises `click.UsageError`."""
    sources = ((name, ctx.get_parameter_source(name)) for name in FOREIGN)
    given = [f"--{name.replace('_', '-')}" for name, source in sources if source is ParameterSource.COMMANDLINE]
    if given:
        raise click.UsageError(f"--events takes no {' and no '.join(given)}: leave that out.")


def run_events_command(plan: EventsPlan, output: Output) -> int:
    """Returns the exit status."""

    def run(errors: Console) -> EventsVerdict:
        return run_events(plan, lambda text: errors.print(text, markup=False, highlight=False, soft_wrap=True))

    return run_and_show(plan.seeds, run, list_event_tables, render_events, output)
