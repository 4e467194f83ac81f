"""The table of `invoke-gateway limits`: what a running gateway counts, from the JSON of its /limits."""

import time
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.asking import fetch_limits

REFRESH = 1.0  # seconds


def show_live(console: Console, operations: object) -> None:
    """Show the table and refresh it until Ctrl-C. Raises LimitsUnavailable when the gateway is gone."""
    limits = fetch_limits(operations)
    try:
        with Live(render(limits), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(REFRESH)
                live.update(render(fetch_limits(operations)), refresh=True)
    except KeyboardInterrupt:
        return


def render(limits: dict[str, Any]) -> Table:
    """The table: of each account a row for the whole, a row for its unreserved pool, then its functions."""
    title = "draining: no new calls are admitted" if limits.get("draining") else None
    table = Table(title=title, box=SIMPLE_HEAD)
    for heading in ("account", "function"):
        table.add_column(heading, overflow="fold")
    for heading in ("in flight", "ceiling", "oldest call"):
        table.add_column(heading, justify="right")
    table.add_column("throttles by reason", overflow="fold")
    for account in limits["accounts"]:
        _add_account(table, account)
    return table


def _add_account(table: Table, account: dict[str, Any]) -> None:
    pool = account.get("unreserved", {})
    name = Text(str(account.get("account", "")))  # Text: a name is never read as markup
    _add_row(table, name, Text("all", style="bold"), account, account.get("concurrent_executions"))
    _add_row(table, Text(), Text("unreserved", style="italic"), pool, pool.get("ceiling"))
    for function in account.get("functions", ()):
        _add_row(table, Text(), Text(str(function.get("function", ""))), function, function.get("ceiling"))
    if left_out := account.get("functions_left_out", 0):
        table.add_row("", Text(f"and {left_out} more", style="dim"))
    table.add_section()


def _add_row(table: Table, account: Text, name: Text, counts: dict[str, Any], ceiling: object) -> None:
    in_flight, holds = counts.get("in_flight", 0), counts.get("holds", 0)
    shown = f"{in_flight} ({holds} held)" if holds else str(in_flight)
    shared = "" if counts.get("reserved", True) else " shared"
    age = counts.get("oldest_seconds") if in_flight else None
    throttles = counts.get("throttles") or {}
    table.add_row(
        account,
        name,
        Text(shown, style="bold red" if isinstance(ceiling, int) and in_flight >= ceiling else ""),
        f"{ceiling}{shared}",
        "" if age is None else f"{age:.1f} s",
        Text("\n".join(f"{reason} {count}" for reason, count in throttles.items())),
    )
