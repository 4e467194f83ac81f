"""Shows the events of a running gateway, and retries, adopts and drops them: `invoke-gateway queue`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

from invoke_gateway.admin_client import QueueFailed
from invoke_gateway.cli.options import UNREACHABLE, admin_option, give_up, json_option, open_client
from invoke_gateway.cli.output import event_tables
from invoke_gateway.cli.output.tables import count, make_console, print_json, printable, show_live

_ENDS = ("succeeded", "failed", "expired", "dropped", "undelivered")
_STATES = ("waiting", "retrying", "running", "delivering", "undelivered", "held")


@click.group(invoke_without_command=True, subcommand_metavar="[COMMAND] [ARGS]...")
@click.option("--watch", is_flag=True, help="Refresh the table every second, until Ctrl-C.")
@click.option("--rows", type=click.IntRange(0, 100_000), default=100, show_default=True, help="Functions to show.")
@json_option
@admin_option
@click.pass_context
def queue(ctx: click.Context, watch: bool, rows: int, as_json: bool, admin: object) -> None:
    """Show the events (asynchronous invocations) that wait, are retried, run, or could not be delivered."""
    if ctx.invoked_subcommand is not None:
        ctx.default_map = {name: {"admin": str(admin)} for name in queue.commands}
        return
    client, console = open_client(admin), make_console()
    try:
        if watch and console.is_terminal and not as_json:
            show_live(console, lambda: client.fetch_queue(rows), event_tables.render)
        else:
            event_tables.show_queue(client.fetch_queue(rows), as_json=as_json)
    except QueueFailed as error:
        give_up(ctx, error)


@queue.command("list")
@click.argument("function", required=False)
@click.option("--account", metavar="ID", help="Of this account only.")
@click.option("--state", type=click.Choice(_STATES), help="Only those in this state.")
@click.option("--most", type=click.IntRange(1, 100), default=20, show_default=True, help="Events to show.")
@json_option
@admin_option
@click.pass_context
def list_events(
    ctx: click.Context,
    function: str | None,
    account: str | None,
    state: str | None,
    most: int,
    as_json: bool,
    admin: object,
) -> None:
    """List the oldest events, of FUNCTION or of all."""
    try:
        events = open_client(admin).fetch_events(function=function, account=account, state=state, most=most)
        event_tables.show_events(events, as_json=as_json)
    except QueueFailed as error:
        give_up(ctx, error)


@queue.command()
@click.argument("function", required=False)
@click.option("--account", metavar="ID", help="Of this account only.")
@click.option("--end", type=click.Choice(_ENDS), help="Only those with this end.")
@click.option("--failed", is_flag=True, help="Leave out those that succeeded.")
@click.option("--most", type=click.IntRange(1, 100), default=100, show_default=True, help="Events to show.")
@json_option
@admin_option
@click.pass_context
def history(
    ctx: click.Context,
    function: str | None,
    account: str | None,
    end: str | None,
    failed: bool,
    most: int,
    as_json: bool,
    admin: object,
) -> None:
    """Show the last hundred events that ended, of FUNCTION or of all, with their end.

    An ended event is no longer in the queue. The gateway keeps these in memory, since its start; the last
    hundred that did not succeed are kept apart, so that successes do not push them out (--failed).
    """
    only_failed = "true" if failed else None
    try:
        ended = open_client(admin).fetch_history(
            function=function, account=account, end=end, failed=only_failed, most=most
        )
    except QueueFailed as error:
        give_up(ctx, error)
    event_tables.show_history(ended, as_json=as_json)


@queue.command()
@click.argument("request_id", metavar="ID")
@click.option("--payload", is_flag=True, help="Print all of the payload instead of its first KiB.")
@click.option("--json", "as_json", is_flag=True, help="Print the gateway's answer as JSON, with the whole payload.")
@admin_option
@click.pass_context
def show(ctx: click.Context, request_id: str, payload: bool, as_json: bool, admin: object) -> None:
    """Show all members of the events with the request id ID."""
    try:
        document = open_client(admin).fetch_events(request_id=request_id, payload="true")
    except QueueFailed as error:
        give_up(ctx, error)
    if as_json:
        print_json(document)
        return
    described = ["\n".join(event_tables.describe_event(row, whole=payload)) for row in document["events"]]
    click.echo("\n\n".join(described))


@queue.command()
@click.argument("request_ids", metavar="ID...", nargs=-1, required=True)
@admin_option
@click.pass_context
def retry(ctx: click.Context, request_ids: tuple[str, ...], admin: object) -> None:
    """Try events now, instead of when they are due.

    An event in retry is run. An outcome that could not be delivered is delivered, with all attempts again.
    """
    _do_to_all(ctx, request_ids, open_client(admin).retry_events, "retried")


@queue.command()
@click.argument("origin", required=False)
@admin_option
@click.pass_context
def adopt(ctx: click.Context, origin: str | None, admin: object) -> None:
    """Run held events here: those that were accepted for another backend, Region or account.

    `invoke-gateway queue` lists the origins. ORIGIN can be left out where events of only one origin are held.
    """
    _decide(ctx, lambda: open_client(admin).adopt_events(origin), "adopted")


@queue.command()
@click.argument("request_ids", metavar="ID...", nargs=-1)
@click.option("--held", is_flag=True, help="Drop all held events instead, those of another backend.")
@click.option("--origin", help="With --held: drop events of this origin only (`invoke-gateway queue` lists origins).")
@click.option("--yes", is_flag=True, help="Drop without confirmation.")
@admin_option
@click.pass_context
def drop(
    ctx: click.Context, request_ids: tuple[str, ...], held: bool, origin: str | None, yes: bool, admin: object
) -> None:
    """Drop events for good: they are neither run nor delivered."""
    if held == bool(request_ids):
        raise click.UsageError("Give the ids of the events, or --held.")
    if origin is not None and not held:
        raise click.UsageError("--origin goes with --held.")
    if not yes and _is_terminal():
        what = "this event" if len(request_ids) == 1 else f"these {len(request_ids)} events"
        click.confirm(
            f"Drop {'all held events' if held else what} for good, without delivery to any target?", abort=True
        )
    if held:
        _decide(ctx, lambda: open_client(admin).drop_held_events(origin), "dropped")
        return
    _do_to_all(ctx, request_ids, open_client(admin).drop_events, "dropped")


def _decide(ctx: click.Context, do: Callable[[], dict[str, Any]], word: str) -> None:
    try:
        answer = do()
    except QueueFailed as error:
        give_up(ctx, error)
    events = answer[word]
    rest = "" if answer.get("is_whole", True) else " until now; the gateway continues with the rest"
    click.echo(f"{word} {count(events, 'event')}{rest}")


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _do_to_all(
    ctx: click.Context, request_ids: tuple[str, ...], do: Callable[[str], dict[str, Any]], word: str
) -> None:
    """Prints a line for each event; a failure for one event does not stop the rest."""
    has_failed = False
    for request_id in request_ids:
        try:
            answer = do(request_id)
        except QueueFailed as error:
            has_failed = True
            click.echo(f"invoke-gateway: {error}", err=True)
            continue
        line = f"{word} {printable(request_id)}"
        if answer[word] > 1:
            line += f": {answer[word]} events"
        if answer.get("running"):
            line += f"; {answer['running']} with this id run now, and were not changed"
        click.echo(line)
    if has_failed:
        ctx.exit(UNREACHABLE)
