"""Shows the state of a running gateway on one screen: `invoke-gateway status`, from the document of /status."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from invoke_gateway.admin_client import AdminRequestFailed
from invoke_gateway.cli.options import admin_option, give_up, json_option, open_client
from invoke_gateway.cli.output.event_tables import describe_end
from invoke_gateway.cli.output.tables import count, format_seconds, make_console, print_json, printable, show_live
from invoke_gateway.settings import Address

PROBLEM = 1  # exit status, also where no gateway responds: a script needs no more than that

_USED_UP = {
    "concurrent_executions": "account full",
    "unreserved_concurrent_executions": "pool full",
    "reserved_concurrent_executions": "reservation full",
}


@click.command()
@admin_option
@click.option("--watch", is_flag=True, help="Refresh it every second, until Ctrl-C.")
@json_option
@click.pass_context
def status(ctx: click.Context, admin: Address, watch: bool, as_json: bool) -> None:
    """Show one gateway on one screen: its state, its problems, and what to do about each.

    Exit status: 0 where the gateway has no problem, 1 where it has one or does not respond. Throttled calls and
    full limits are no problem: enforcing limits is what the gateway is for.
    """
    client, console = open_client(admin), make_console()
    try:
        if watch and console.is_terminal and not as_json:
            show_live(console, client.fetch_status, render)
            return
        document = client.fetch_status()
    except AdminRequestFailed as error:
        give_up(ctx, error)
    if as_json:
        print_json(document)
    else:
        console.print(render(document))
    if document["problems"]:
        ctx.exit(PROBLEM)


def render(document: dict[str, Any]) -> Group:
    """Returns the screen: a head line, one row for each part of the gateway, then the problems."""
    rows = Table.grid(padding=(0, 2, 0, 0))
    rows.add_column(no_wrap=True, style="dim")
    rows.add_column(overflow="fold")
    for label, text, style in _describe_parts(document):
        rows.add_row(label, Text(printable(text), style=style))
    parts: list[Any] = [_describe_head(document), _indent(rows)]
    for problem in document["problems"]:
        parts.append(Text(printable(f"{problem['cause']}: {problem['problem']}"), style="bold red"))
        if problem.get("detail"):
            parts.append(_indent(Text(printable(problem["detail"]))))
        parts.append(_indent(Text(printable(f"To do: {problem['action']}"))))
    return Group(*parts)


def _indent(what: RenderableType) -> Padding:
    return Padding(what, (0, 0, 0, 2), expand=False)


def _describe_head(document: dict[str, Any]) -> Text:
    problems = document["problems"]
    if not document.get("ready"):
        state, style = "not ready", "bold red"
    elif problems:
        state, style = f"ready, with {count(len(problems), 'problem')}", "bold yellow"
    else:
        state, style = "ready", "bold green"
    name = f" {document['gateway']}" if document.get("gateway") else ""
    head = f"invoke-gateway {document.get('version')}{name} on {document.get('listen')}: "
    return Text.assemble(printable(head), (state, style))


def _describe_parts(document: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yields the label, the text and the style of each row."""
    up, since = format_seconds(document.get("uptime_seconds")), _format_time(document.get("started_at"))
    yield "up", f"{up}, since {since}", ""
    yield "backend", *_describe_backend(document.get("backend") or {})
    yield "counters", *_describe_counters(document.get("counters") or {})
    if (workers := document.get("workers")) is not None:
        silent = sum(worker.get("silent_seconds") is not None for worker in workers)
        yield "workers", f"{len(workers)} serve" + (f", {silent} of them do not reply" if silent else ""), ""
    yield "settings", *_describe_settings(document.get("settings") or {})
    full = document.get("nearly_full", ())
    has_accounts = len({row["account"] for row in full if row["account"] is not None}) > 1
    rows = [(_describe_full(row, has_accounts=has_accounts), "") for row in full]
    yield from _label("limits", rows or [("none is nearly full", "")])
    if left_out := document.get("nearly_full_left_out"):
        yield "", f"and {left_out} more; `invoke-gateway limits` shows all", "dim"
    refusing = [(_describe_refusing(row), "yellow") for row in document.get("refusing_now", ())]
    yield from _label("refused now", refusing or [("nothing", "")])
    if left_out := document.get("refusing_now_left_out"):
        yield "", f"and {left_out} more; the live page shows them", "dim"
    yield from _label("events", list(_describe_queue(document.get("queue"))))
    on_purpose = [
        count(document[key], noun)
        for key, noun in (("holds", "hold"), ("fault_scripts", "fault script"))
        if document.get(key)
    ]
    if on_purpose:
        yield "on purpose", ", ".join(on_purpose), ""


def _label(label: str, rows: list[tuple[str, str]]) -> Iterator[tuple[str, str, str]]:
    """Yields the rows of one part; the first has the label."""
    for number, (text, style) in enumerate(rows):
        yield ("" if number else label), text, style


def _describe_backend(backend: dict[str, Any]) -> tuple[str, str]:
    state, error = backend.get("state"), backend.get("error")
    url = backend.get("url")
    text = f"{'demo (embedded)' if url == 'demo' else url}: {state}{f': {error}' if error else ''}"
    return text, "bold red" if state == "down" else ""


def _describe_counters(counters: dict[str, Any]) -> tuple[str, str]:
    if counters.get("store") is None:
        return "in memory, of this gateway alone", ""
    gateways = counters.get("gateways", 1)
    # Each worker registers at the store like a gateway of its own.
    who = count(gateways, "gateway") if counters.get("workers") is None else f"{gateways} processes"
    text = f"{counters['store']}: shared by {who}"
    trouble = counters.get("trouble")
    return (f"{text}; {trouble}", "bold red") if trouble else (text, "")


def _describe_settings(settings: dict[str, Any]) -> tuple[str, str]:
    text = f"in force since {_format_time(settings.get('loaded_at'))}"
    if (error := settings.get("error")) is not None:
        mistakes = count(error.get("problems", 1), "mistake")
        return f"{text}; the file of {_format_time(error.get('at'))} was refused: {mistakes}", "bold red"
    if keys := settings.get("restart_needed"):
        return f"{text}; waiting for a restart: {', '.join(keys)}", "yellow"
    return text, ""


def _describe_full(row: dict[str, Any], *, has_accounts: bool) -> str:
    in_use, ceiling, account = row["in_use"], row["ceiling"], row["account"]
    names = {
        "concurrent_executions": f"account {account}",
        "unreserved_concurrent_executions": f"unreserved pool of account {account}",
        "caller_concurrent_executions": f"caller {row.get('caller')}{f' in account {account}' if has_accounts else ''}",
        "reserved_concurrent_executions": f"{row['function']}{f' of account {account}' if has_accounts else ''}",
    }
    share = "full" if in_use >= ceiling else f"{in_use * 100 // ceiling} %"
    return f"{names.get(row['limit'], row['limit'])}: {in_use} of {ceiling}, {share}"


def _describe_refusing(row: dict[str, Any]) -> str:
    function, rate = row.get("function") or "all functions", row.get("per_second")
    cause = "off (reservation 0)" if row.get("is_switched_off") else _USED_UP.get(str(row.get("limit")))
    reason = row.get("reason") or row.get("error")
    text = f"{function} {rate:g}/s" if isinstance(rate, int | float) else str(function)
    text += f", {cause} ({reason})" if cause else f", {reason}"
    if row.get("injected"):
        text += ", by a fault script"
    users = [f"{user.get('function') or 'a hold'} {user.get('slots')}" for user in row.get("occupied_by") or ()]
    return text + (f"; in use by {', '.join(users)}" if users else "")


def _describe_queue(queue: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    if queue is None:
        yield "forwarded to the backend (async.mode: forward)", ""
        return
    states = (("waiting", "waiting"), ("retrying", "in retry"), ("running", "running"), ("delivering", "delivering"))
    numbers = [f"{queue[state]} {word}" for state, word in states if queue.get(state)]
    numbers += [f"{queue[state]} {state}" for state in ("undelivered", "held") if queue.get(state)]
    oldest = queue.get("oldest_seconds")
    if numbers and oldest is not None:
        numbers.append(f"the oldest {format_seconds(oldest)} old")
    yield f"{', '.join(numbers) or 'none wait'}, in {queue.get('store')}", ""
    ended = queue.get("last_failed") or queue.get("last_ended")
    if ended is not None:
        word = "last that did not succeed" if queue.get("last_failed") else "last ended"
        error = f": {ended['error']}" if ended.get("error") else ""
        ago = format_seconds(ended.get("ended_seconds_ago"))
        yield f"{word}: {ended.get('function')} {describe_end(ended)}, {ago} ago{error}", ""


def _format_time(seconds: float | None) -> str:
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(seconds))
