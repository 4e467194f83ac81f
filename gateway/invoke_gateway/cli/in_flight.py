"""`invoke-gateway holders`: who holds the slots; and `release --gateway`, which gives back those of a dead one."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote, urlencode

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from invoke_gateway.asking import NoAnswer, ask, describe_failure

_UNFOLDED = 160  # columns in which hardly a row is folded, for those who read them from a pipe


class HoldersFailed(Exception):
    """The gateway did not do it; the text says why and what helps."""


def fetch_holders(admin: str, **wanted: object) -> dict[str, Any]:
    """The answer of /holders at host:port; what is None is not asked for. Raises `HoldersFailed`."""
    query = urlencode({key: value for key, value in wanted.items() if value is not None}, errors="replace")
    path = f"/holders?{query}" if query else "/holders"
    status, document = _ask(admin, path, "GET")
    if status != 200 or not isinstance(document, dict) or not isinstance(document.get("holders"), list):
        raise HoldersFailed(describe_failure(admin, "/holders", status, document))
    return document


def show_holders(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(document, indent=2))
        return
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _UNFOLDED)
    if document["holders"]:
        console.print(holders_table(document["holders"]))
    for line in describe_rest(document):
        click.echo(line)


def holders_table(rows: list[dict[str, Any]]) -> Table:
    """One row for each call, oldest first; only those columns in which rows differ or say something."""
    columns = [key for key in ("gateway", "worker") if any(row.get(key) for row in rows)]
    if len({row.get("account") for row in rows}) > 1:
        columns.append("account")
    table = Table(box=SIMPLE_HEAD)
    for heading in (*columns, "function", "request id"):
        table.add_column(heading, overflow="fold")
    table.add_column("age", justify="right")
    table.add_column("caller", overflow="fold")
    for row in rows:
        cells = [_printable(row.get(key)) for key in columns]
        function = _printable(row.get("function")) if row.get("function") else Text("unreserved", style="italic")
        age = f"{float(row.get('age_seconds') or 0):.1f} s"
        table.add_row(*cells, function, _describe_request(row), age, _printable(row.get("caller")))
    return table


def _describe_request(row: dict[str, Any]) -> Text:
    if row.get("hold") is None:
        return _printable(row.get("request_id"))
    return Text(f"hold {row['hold']} ({_count(row.get('slots', 1))})", style="italic")


def describe_rest(document: dict[str, Any]) -> list[str]:
    """What the table does not say: slots that are not in it, gateways whose calls are not known, and dead ones."""
    lines = []
    if not document["holders"]:
        lines.append("No call is known to hold a slot." if document.get("gateways") else "Nobody holds a slot.")
    elif left_out := document.get("left_out", 0):
        lines.append(f"and {_count(left_out)} more")
    lines += [line for gateway in document.get("gateways", ()) if (line := _describe_gateway(gateway))]
    if document.get("trouble"):
        lines.append(str(document["trouble"]))
    return lines


def _describe_gateway(gateway: dict[str, Any]) -> str | None:
    is_alive, is_known = gateway.get("is_alive", True), gateway.get("listed_seconds_ago") is not None
    if is_alive and is_known:
        return None
    id = join_id(gateway)
    line = f"{id} holds {_count(gateway.get('slots', 0))} of account {gateway.get('account')}"
    if not is_known:
        line += ", its calls are not known"
    if not is_alive:
        left = gateway.get("seconds_left") or 0.0
        when = f"in {left:.1f} s" if left > 0 else "now"
        line += f"; it is not heard any more, and they go back {when}, or by `invoke-gateway release --gateway {id}`"
    return line


def join_id(row: dict[str, Any]) -> str:
    """The id by which the store knows a process."""
    return ".".join(str(_printable(row[key])) for key in ("gateway", "worker") if row.get(key))


def _count(slots: object) -> str:
    return "1 slot" if slots == 1 else f"{slots} slots"


def _printable(value: object) -> Text:
    """Text, so that nothing is read as markup; and clients have chosen some of it, so nothing commands the terminal."""
    shown = "" if value is None else str(value)
    return Text("".join(letter if letter.isprintable() else "?" for letter in shown))


def release_gateway(admin: str, gateway: str, account: str | None, *, force: bool) -> dict[str, Any]:
    """Give back what a gateway holds; the answer of the one at host:port. Raises `HoldersFailed`."""
    query = urlencode({"account": account or "", "force": "true" if force else ""}, errors="replace")
    path = f"/holders/{quote(gateway, safe='', errors='replace')}"
    status, document = _ask(admin, f"{path}?{query}", "DELETE")
    if status != 200 or not isinstance(document, dict) or not isinstance(document.get("released"), list):
        raise HoldersFailed(describe_failure(admin, path, status, document))
    return document


def describe_released(document: dict[str, Any]) -> list[str]:
    """A line for each process and account: how many slots were given back."""
    lines = []
    for row in document["released"]:
        slots = row.get("slots", 0)
        line = f"{join_id(row)}: gave back {_count(slots)} of account {row.get('account')}"
        if row.get("is_alive"):
            line += "; it lives, and counts its running calls again, also above the limit"
        lines.append(line)
    return lines


def check_release(hold: str | None, gateway: str | None, *, has_more: bool) -> None:
    """Raises `UsageError` unless one of HOLD and --gateway is given, and what belongs to the latter only with it."""
    if hold is not None and gateway is not None:
        raise click.UsageError("HOLD and --gateway are two things: a hold that ends, or a dead gateway. Give one.")
    if hold is None and not gateway:
        raise click.UsageError("Which slots? Give HOLD, the id of a hold, or --gateway ID, a gateway that has died.")
    if hold is not None and has_more:
        raise click.UsageError("--account and --force belong to --gateway.")


def _ask(admin: str, path: str, method: str) -> tuple[int, Any]:
    try:
        return ask(admin, path, method)
    except NoAnswer as error:
        raise HoldersFailed(str(error)) from None
