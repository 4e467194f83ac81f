"""Lists the calls in flight, and releases the slots of dead gateways: `in-flight` and `in-flight release`."""

from __future__ import annotations

from typing import Any

import click
from rich.text import Text

from invoke_gateway.admin_client import AdminRequestFailed
from invoke_gateway.cli.options import admin_option, give_up, json_option, open_client
from invoke_gateway.cli.output.row_table import Column, RowTable
from invoke_gateway.cli.output.tables import count, make_console, print_json, printable_text


class InFlight(click.Group):
    """Runs `in-flight list [FUNCTION]` for `in-flight [FUNCTION]`, unless the next word names a command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or (args[0] not in self.commands and args[0] not in ctx.help_option_names):
            args = ["list", *args]
        return super().parse_args(ctx, args)


@click.group(cls=InFlight, name="in-flight", subcommand_metavar="[FUNCTION | COMMAND] [OPTIONS]")
def in_flight() -> None:
    """Show the calls that hold the slots of FUNCTION, or all of them.

    `in-flight checkout` stands for `in-flight list checkout`.
    """


@in_flight.command("list")
@click.argument("function", required=False)
@click.option("--account", metavar="ID", help="Show the slots of this account only.")
@click.option("--most", type=click.IntRange(1, 1000), default=100, show_default=True, help="Rows to show.")
@json_option
@admin_option
@click.pass_context
def list_calls(
    ctx: click.Context, function: str | None, account: str | None, most: int, as_json: bool, admin: object
) -> None:
    """List the calls that hold slots, of FUNCTION or all; the oldest first.

    Each row is one call: the gateway, its worker, the request id, the age of its slot, and the caller's access key id.
    Where gateways share counters, the calls of all gateways are listed.
    """
    try:
        document = open_client(admin).fetch_in_flight(function=function, account=account, most=most)
    except AdminRequestFailed as error:
        give_up(ctx, error)
    show_holders(document, as_json=as_json)


@in_flight.command()
@click.option("--gateway", metavar="ID", required=True, help="The gateway that has died, or one worker of it.")
@click.option("--account", metavar="ID", help="Release the slots of this account only.")
@click.option("--force", is_flag=True, help="Release also if the gateway lives; it then counts its calls again.")
@admin_option
@click.pass_context
def release(ctx: click.Context, gateway: str, account: str | None, force: bool, admin: object) -> None:
    """Release the slots of a dead gateway.

    The id of a gateway stands for all of its workers, an id such as g-7f3a2b1c.2 for one of them.

    The slots of a dead gateway are released when its lease has ended, and with `reclaim_after: timeout`
    the backend's time-out later. Release them at once where you know that its calls are over. Any gateway on the same
    store takes this command; `invoke-gateway in-flight` lists the ids.
    """
    if not gateway:
        raise click.BadParameter("give the id of a gateway.", param_hint="--gateway")
    try:
        released = open_client(admin).release_gateway(gateway, account, force=force)
    except AdminRequestFailed as error:
        give_up(ctx, error)
    click.echo("\n".join(describe_released(released)))


def show_holders(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    if document["holders"]:
        make_console().print(holders_table(document["holders"]))
    for line in describe_rest(document):
        click.echo(line)


def holders_table(rows: list[dict[str, Any]]) -> RowTable:
    """Returns one row for each call, oldest first, with only those columns in which rows differ."""
    columns = [key for key in ("gateway", "worker") if any(row.get(key) for row in rows)]
    if len({row.get("account") for row in rows}) > 1:
        columns.append("account")
    table = RowTable(
        *map(Column, columns),
        Column("function", folds=True),
        Column("request id", below="plain"),
        Column("age", "right"),
        Column("caller", below="named"),
    )
    for row in rows:
        cells = [printable_text(row.get(key)) for key in columns]
        function = printable_text(row.get("function")) if row.get("function") else Text("unreserved", style="italic")
        age = f"{float(row.get('age_seconds') or 0):.1f} s"
        table.add_row(*cells, function, _describe_request(row), age, printable_text(row.get("caller")))
    return table


def _describe_request(row: dict[str, Any]) -> Text:
    if row.get("hold") is None:
        return printable_text(row.get("request_id"))
    return Text(f"hold {row['hold']} ({count(row.get('slots', 1), 'slot')})", style="italic")


def describe_rest(document: dict[str, Any]) -> list[str]:
    """Returns lines about slots outside the table: rows left out, unknown calls of a gateway, dead gateways."""
    lines = []
    if not document["holders"]:
        lines.append("The calls that hold slots are not known." if document.get("gateways") else "No slot is in use.")
    elif left_out := document.get("left_out", 0):
        lines.append(f"and {count(left_out, 'slot')} more")
    lines += [line for gateway in document.get("gateways", ()) if (line := _describe_gateway(gateway))]
    if document.get("trouble"):
        lines.append(str(document["trouble"]))
    return lines


def _describe_gateway(gateway: dict[str, Any]) -> str | None:
    is_alive, is_known = gateway.get("is_alive", True), gateway.get("listed_seconds_ago") is not None
    if is_alive and is_known:
        return None
    id = join_id(gateway)
    line = f"{id} holds {count(gateway.get('slots', 0), 'slot')} of account {gateway.get('account')}"
    if not is_known:
        line += ", whose calls are not known"
    if not is_alive:
        left = gateway.get("seconds_left") or 0.0
        when = f"in {left:.1f} s" if left > 0 else "now"
        cure = f"`invoke-gateway in-flight release --gateway {id}`"
        line += f"; the gateway does not renew its lease. Its slots are released {when}, or by {cure}"
    return line


def join_id(row: dict[str, Any]) -> str:
    """Returns the id of a process in the store."""
    return ".".join(str(printable_text(row[key])) for key in ("gateway", "worker") if row.get(key))


def describe_released(document: dict[str, Any]) -> list[str]:
    """Returns a line for each process and account, with the number of released slots."""
    lines = []
    for row in document["released"]:
        slots = row.get("slots", 0)
        line = f"{join_id(row)}: released {count(slots, 'slot')} of account {row.get('account')}"
        if row.get("is_alive"):
            line += "; the gateway lives, and counts its running calls again, also above the limit"
        lines.append(line)
    return lines
