"""Reads the options of `invoke-gateway prove`, and makes a plan of them."""

from __future__ import annotations

from pathlib import Path

import click

from .cluster import LEASE_SECONDS
from .events.command import check_options_of_events, is_default, run_events_command
from .events.plan import CLIENTS as CLIENTS_OF_EVENTS
from .events.plan import FAULT_COUNT, EventsPlan
from .faults.fault_log import LEASE, TIMEOUT
from .faults.kinds import FaultKind
from .options import (
    PARTITION_SECONDS,
    ProveCommand,
    check_is_writable,
    choose_partition_seconds,
    choose_seeds,
    read_endpoint,
    read_fault_kinds,
    read_seeds,
    read_sharing,
    read_token,
)
from .plan import ANY_PORT, CLIENTS, LONGEST_TIMEOUT_SECONDS, ProvePlan
from .report.calls import list_tables
from .report.console import Output, run_and_show
from .report.html import render
from .report.progress import Progress
from .run import run
from .wire import HostPort


@click.command(cls=ProveCommand)
@click.option(
    "--seed", "named", multiple=True, callback=read_seeds, metavar="N,…", help="Seeds to run; may be repeated."
)
@click.option("--seeds", type=click.IntRange(1, 10_000), help="Run so many seeds, counted up from a random one.")
@click.option("--first", type=int, help="The first of --seeds, in place of a random one.")
@click.option(
    "--minutes",
    type=click.FloatRange(0, 24 * 60),
    default=0,
    help="Time for all seeds together; each does as many whole rounds as come nearest to its share. Without it, one.",
)
@click.option(
    "--clients", type=click.IntRange(10, 5000), default=CLIENTS, show_default=True, help="Clients of a burst at once."
)
@click.option("--gateway", callback=read_endpoint, metavar="URL", help="Invoke API of a running gateway to judge.")
@click.option("--admin", callback=read_endpoint, metavar="HOST:PORT", help="Its admin listener.")
@click.option(
    "--admin-token",
    callback=read_token,
    envvar="INVOKE_GATEWAY_ADMIN_TOKEN",
    metavar="PLACE",
    help="Its admin token: env:NAME or file:/path.",
)
@click.option(
    "--backend-listen",
    callback=read_endpoint,
    metavar="HOST:PORT",
    help="Where prove's backend listens; the gateway to judge must forward to it.",
)
@click.option(
    "--backend-timeout",
    type=click.FloatRange(1, LONGEST_TIMEOUT_SECONDS),
    metavar="SECONDS",
    help="The judged gateway's backend.timeout_seconds, 1 to 30. Without it no backend hangs (it may be 900).",
)
@click.option("--gateways", type=click.IntRange(1, 16), default=1, show_default=True, help="So many share a store.")
@click.option(
    "--workers", type=click.IntRange(1, 8), default=1, show_default=True, help="Worker processes of each of them."
)
@click.option(
    "--redis",
    "store",
    metavar="spawn|URL",
    help="Their store: `spawn` starts a Redis or Valkey server; redis://HOST:PORT/0 is one for this only, as it is "
    "emptied several times.",
)
@click.option(
    "--lease",
    type=click.FloatRange(1, 60),
    metavar="SECONDS",
    help=f"Lease of the gateways on a store.  [default: {LEASE_SECONDS:g}]",
)
@click.option(
    "--reclaim-after",
    type=click.Choice([LEASE, TIMEOUT]),
    help=f"When they give the slots of a dead gateway to others.  [default: {LEASE}]",
)
@click.option(
    "--faults",
    callback=read_fault_kinds,
    metavar="FAULT,...",
    help=f"Inject these faults only: {', '.join(kind.word for kind in FaultKind)}.",
)
@click.option(
    "--timeline",
    callback=read_fault_kinds,
    metavar="FAULT,...",
    help="Show these faults second by second.  [default: killed]",
)
@click.option(
    "--partition-seconds",
    type=click.FloatRange(0, 600),
    metavar="SECONDS",
    help=f"How long one gateway is cut off from the store.  [default: {PARTITION_SECONDS:g} where a seed has 2 "
    "minutes, else just longer than its lease]",
)
@click.option(
    "--events",
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Prove asynchronous invocations instead: send so many during faults; none may be lost.",
)
@click.option(
    "--fault-count",
    type=click.IntRange(0, 100),
    help=f"So many faults for each seed of --events.  [default: {FAULT_COUNT}]",
)
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write an HTML report.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
@click.pass_context
def prove(
    ctx: click.Context,
    named: list[int],
    seeds: int | None,
    first: int | None,
    minutes: float,
    clients: int,
    gateway: HostPort | None,
    admin: HostPort | None,
    admin_token: str | None,
    backend_listen: HostPort | None,
    backend_timeout: float | None,
    gateways: int,
    workers: int,
    store: str | None,
    lease: float | None,
    reclaim_after: str | None,
    faults: list[FaultKind] | None,
    timeline: list[FaultKind] | None,
    partition_seconds: float | None,
    events: int | None,
    fault_count: int | None,
    report: Path | None,
    as_json: bool,
) -> None:
    """Judge from outside if a gateway holds its limits.

    Starts a gateway, or calls yours with --gateway, --admin and --backend-listen. Sends it hostile clients, puts a
    failing backend behind it, and counts at the backend what truly ran at once. A gateway that it starts has
    reservations and provisioned versions, and Lambda's own operations change them under load. Exit status: 0 if no
    limit was overshot, no slot lost and nothing else went wrong; 1 if something did; 2 if there is no result.
    """
    if named and (seeds is not None or first is not None):
        raise click.UsageError("--seed names each seed; --seeds and --first count them: give one or the other.")
    if events is not None:
        check_options_of_events(ctx)
    pointed = {"--gateway": gateway, "--admin": admin, "--backend-listen": backend_listen}
    missing = [name for name, value in pointed.items() if value is None]
    if missing and (len(missing) < len(pointed) or backend_timeout is not None):
        raise click.UsageError(
            f"To judge a running gateway, also give {' and '.join(missing)}; for one that prove starts, none of "
            "--gateway, --admin, --backend-listen, --backend-timeout."
        )
    sharing = read_sharing(gateways, workers, store, lease, reclaim_after)
    seeds_to_run = named or choose_seeds(seeds, first)
    if report is not None:
        check_is_writable(report)
    output = Output(report, as_json)
    if events is not None:
        count = CLIENTS_OF_EVENTS if is_default(ctx, "clients") else clients
        events_plan = EventsPlan(
            seeds_to_run, events, FAULT_COUNT if fault_count is None else fault_count, count, sharing
        )
        ctx.exit(run_events_command(events_plan, output))
    if fault_count is not None:
        raise click.UsageError("--fault-count needs --events: also give --events N.")
    if sharing is None and any(option is not None for option in (faults, timeline, partition_seconds)):
        raise click.UsageError(
            "--faults, --timeline and --partition-seconds need gateways that share a store: give --redis spawn."
        )
    if sharing is not None and len(missing) < len(pointed):
        raise click.UsageError("--redis starts gateways, and --gateway is one that runs: give one or the other.")
    plan = ProvePlan(
        seeds=seeds_to_run,
        seconds=minutes * 60,
        clients=clients,
        gateway=gateway,
        admin=admin,
        token=admin_token,
        backend_listen=backend_listen or ANY_PORT,
        timeout_seconds=backend_timeout,
        sharing=sharing,
        kinds=tuple(FaultKind) if faults is None else faults,
        timeline=[FaultKind.KILLED] if timeline is None else timeline,
        partition_seconds=choose_partition_seconds(partition_seconds, minutes * 60 / len(seeds_to_run)),
    )
    ctx.exit(
        run_and_show(
            plan.seeds, lambda errors: run(plan, Progress(errors, len(plan.seeds))), list_tables, render, output
        )
    )
