"""Shows what a running gateway counts: `invoke-gateway limits`, from the document of /limits."""

from __future__ import annotations

from typing import Any

import click
from rich.text import Text

from invoke_gateway.admin_client import LimitsUnavailable
from invoke_gateway.cli.options import admin_option, give_up, open_client
from invoke_gateway.cli.output.row_table import Column, RowTable
from invoke_gateway.cli.output.tables import make_console, print_json, show_live
from invoke_gateway.settings import Address

_OLD = 3.0  # seconds: the store is read for every request, so older sums mean that it did not reply


@click.command()
@admin_option
@click.option("--once", is_flag=True, help="Print the table once instead of refreshing it every second.")
@click.option("--json", "as_json", is_flag=True, help="Print the gateway's answer as JSON, once.")
@click.pass_context
def limits(ctx: click.Context, admin: Address, once: bool, as_json: bool) -> None:
    """Watch what a running gateway counts.

    Of each account: all, the unreserved pool, then its functions with their provisioned versions, and the callers
    that have a limit; in flight, ceiling, who set it, the age of the oldest call, and throttles by reason.
    """
    client, console = open_client(admin), make_console()
    try:
        if as_json:
            print_json(client.fetch_limits())
        elif once or not console.is_terminal:
            console.print(render(client.fetch_limits()))
        else:
            show_live(console, client.fetch_limits, render)
    except LimitsUnavailable as error:
        give_up(ctx, error)


def render(limits: dict[str, Any]) -> RowTable:
    """Returns the table: of each account a row for the whole, a row for its unreserved pool, then its functions.

    Where counters are shared, the slots in flight are those of all gateways, with this gateway's part beside them.
    """
    title = "draining: no new calls are admitted" if limits.get("draining") else None
    shared = limits.get("shared")
    caption = None if shared is None else _describe_sharing(shared, limits["accounts"])
    table = RowTable(
        Column("account"),
        Column("function", folds=True),
        Column("in flight", "right"),
        *((Column("here", "right"),) if shared is not None else ()),
        Column("ceiling", "right"),
        Column("set by"),
        Column("oldest call", "right"),
        Column("throttles by reason", below="plain"),
        title=title,
        caption=caption,
    )
    for account in limits["accounts"]:
        _add_account(table, account, is_shared=shared is not None)
    return table


def _describe_sharing(shared: dict[str, Any], accounts: list[dict[str, Any]]) -> Text:
    """Describes the number of gateways, the part of this one, and the problems of the store."""
    gateways, age = shared.get("gateways", 1), shared.get("sums_age_seconds")
    everywhere = sum(account.get("in_flight", 0) for account in accounts)
    here = sum(account.get("in_flight_here", 0) for account in accounts)
    who = "no other gateway shares these counters now"
    workers = shared.get("workers")
    if workers:
        who = f"{gateways} processes share these counters, {workers} of them workers of this gateway"
    elif gateways > 1:
        who = f"{gateways} gateways share these counters"
    elif everywhere > here:  # the number of gateways arrives with the heartbeat, later than their calls
        who = "other gateways share these counters"
    caption = Text(f"{who}; here {here} of {everywhere}", style="dim")
    caption.append(f"\nages and throttles are of this gateway, {shared.get('gateway', '')}")
    if trouble := shared.get("trouble"):
        caption.append(f"\n{trouble}", style="bold red")
    if age is None:
        caption.append("\nthe calls of other gateways are not known yet", style="bold red")
    elif age > _OLD:
        caption.append(f"\nthe calls of other gateways are {age:.0f} s old", style="bold red")
    return caption


def _add_account(table: RowTable, account: dict[str, Any], *, is_shared: bool) -> None:
    pool = account.get("unreserved", {})
    name = Text(str(account.get("account", "")))  # Text: a name is never read as markup
    rows = [
        (name, Text("all", style="bold"), account, account.get("concurrent_executions")),
        (Text(), Text("unreserved", style="italic"), pool, pool.get("ceiling")),
    ]
    if outside := account.get("outside_concurrency"):
        rows.append((Text(), Text("outside the gateway", style="italic"), {"in_flight": outside}, ""))
    for function in account.get("functions", ()):
        rows.append((Text(), Text(str(function.get("function", ""))), function, function.get("ceiling")))
        rows += [
            (Text(), _name_version(version), version, version.get("ceiling"))
            for version in function.get("provisioned", ())
        ]
    for caller in account.get("callers", ()):
        rows.append(
            (Text(), Text(f"caller: {caller.get('caller', '')}", style="italic"), caller, caller.get("ceiling"))
        )
    for row in rows:
        _add_row(table, *row, is_shared=is_shared)
    if left_out := account.get("functions_left_out", 0):
        table.add_row("", Text(f"and {left_out} more", style="dim"))
    if left_out := account.get("callers_left_out", 0):
        table.add_row("", Text(f"and {left_out} more callers", style="dim"))
    table.add_section()


def _name_version(version: dict[str, Any]) -> Text:
    aliases = ", ".join(map(str, version.get("aliases", ())))
    named = f"{version.get('version', '')} ({aliases})" if aliases else str(version.get("version", ""))
    return Text(f"  provisioned: {named}", style="italic")


def _add_row(
    table: RowTable, account: Text, name: Text, counts: dict[str, Any], ceiling: object, *, is_shared: bool
) -> None:
    in_flight, holds = counts.get("in_flight", 0), counts.get("holds", 0)
    shown = f"{in_flight} ({holds} held)" if holds else str(in_flight)
    shared = "" if counts.get("reserved", True) else " shared"
    age = counts.get("oldest_seconds") if counts.get("in_flight_here", in_flight) else None
    throttles = counts.get("throttles") or {}
    table.add_row(
        account,
        name,
        Text(shown, style="bold red" if isinstance(ceiling, int) and in_flight >= ceiling else ""),
        *((str(counts.get("in_flight_here", 0)),) if is_shared else ()),
        f"{ceiling}{shared}",
        str(counts.get("set_by", "")),
        "" if age is None else f"{age:.1f} s",
        Text("\n".join(f"{reason} {count}" for reason, count in throttles.items())),
    )
