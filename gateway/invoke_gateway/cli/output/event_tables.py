"""Shows the events of a running gateway as tables and lines, for `invoke-gateway queue`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click
from rich.console import Group
from rich.text import Text

from invoke_gateway.cli.output.row_table import Column, RowTable
from invoke_gateway.cli.output.tables import count, format_seconds, make_console, print_json, printable, printable_text

PAYLOAD_SHOWN = 1024  # characters
_STATES = {
    "waiting": "waiting",
    "retrying": "in retry",
    "running": "running",
    "delivering": "delivering",
    "undelivered": "undelivered",
    "held": "held",
}


# All functions


def show_queue(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    else:
        make_console().print(render(document))


def render(document: dict[str, Any]) -> Group:
    """Returns the table of functions, and below it the sums, the store, and what is wrong."""
    parts: list[RowTable | Text] = []
    if document["functions"]:
        parts.append(queue_table(document["functions"]))
    parts += [Text(line, style=style) for line, style in _describe_whole(document)]
    return Group(*parts)


def queue_table(rows: list[dict[str, Any]]) -> RowTable:
    """Returns one row for each function. Accounts and held events are shown where there are any to tell apart."""
    has_held = any(row.get("held") for row in rows)
    has_accounts = len({row.get("account") for row in rows}) > 1
    table = RowTable(
        *((Column("account", below="named"),) if has_accounts else ()),
        Column("function", folds=True),
        *(Column(heading, "right") for heading in list(_STATES.values())[: None if has_held else -1]),
        Column("oldest", "right", below="named"),
        Column("next in", "right", below="named"),
    )
    for row in rows:
        undelivered, held = row.get("undelivered", 0), row.get("held", 0)
        table.add_row(
            *((printable_text(row.get("account")),) if has_accounts else ()),
            printable_text(row.get("function")),  # Text: a name is never read as markup
            *(str(row.get(state, 0)) for state in list(_STATES)[:-2]),
            Text(str(undelivered), style="bold red" if undelivered else ""),
            *((Text(str(held), style="bold yellow" if held else ""),) if has_held else ()),
            format_seconds(row.get("oldest_seconds")),
            format_seconds(row.get("next_due_seconds")),
        )
    return table


def _describe_whole(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if document.get("mode") == "forward":
        yield "Events are forwarded to the backend (async.mode: forward): none are stored here.", ""
        return
    if left_out := document.get("left_out"):
        yield f"and {left_out} more functions; --rows shows more", "dim"
    events = document.get("events", 0)
    yield (
        f"{count(events, 'event')} in {printable(document.get('store'))}"
        if events
        else (f"No events wait in {printable(document.get('store'))}."),
        "",
    )
    if undelivered := document.get("undelivered"):
        shows = "`invoke-gateway queue list --state undelivered` shows them"
        yield (
            f"{count(undelivered, 'event')} could not be delivered: {shows}, `queue retry` and `queue drop` decide",
            "",
        )
    for held in document.get("held_origins", ()):
        origin, age = printable(held.get("origin")), format_seconds(held.get("oldest_seconds"))
        cure = "`invoke-gateway queue adopt` runs them here, `queue drop --held` drops them"
        yield f"{count(held.get('events', 0), 'event')} held for {origin}, the oldest {age} ago: {cure}", "bold yellow"
    yield from _describe_last(document.get("last_ended"), document.get("last_failed"))
    if trouble := document.get("trouble"):
        yield printable(trouble), "bold red"


def _describe_last(ended: dict[str, Any] | None, failed: dict[str, Any] | None) -> Iterator[tuple[str, str]]:
    """Describes the last event that ended, and the last that did not succeed where that is another one."""
    if ended is None:
        return
    is_failure = ended.get("end") != "succeeded"
    yield f"last ended: {_describe_end_of(ended)}", "yellow" if is_failure else ""
    if failed is not None and not is_failure:
        yield f"last that did not succeed: {_describe_end_of(failed)}", ""
    if failed is not None:
        yield "`invoke-gateway queue history` shows the last that ended", "dim"


def _describe_end_of(row: dict[str, Any]) -> str:
    ago = format_seconds(row.get("ended_seconds_ago"))
    error = f": {row['error']}" if row.get("error") else ""
    return printable(f"{row.get('function')} {describe_end(row)}, {ago} ago{error}")


# Single events


def show_events(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
        return
    if not document["events"]:
        click.echo("No events match.")
        return
    make_console().print(events_table(document["events"]))
    if document.get("has_more"):
        click.echo("and more; --most shows up to 100")


def events_table(rows: list[dict[str, Any]]) -> RowTable:
    table = RowTable(
        Column("request id", below="plain"),
        Column("function", folds=True),
        Column("state"),
        *(Column(heading, "right") for heading in ("age", "due in", "runs", "returns")),
        Column("why", below="plain"),
    )
    for row in rows:
        table.add_row(
            printable_text(row.get("request_id")),
            printable_text(row.get("function")),
            printable(row.get("state")),
            format_seconds(row.get("age_seconds")),
            format_seconds(row.get("due_in_seconds")),
            str(row.get("runs", 0)),
            str(row.get("returns", 0)),
            Text(_describe_why(row)),
        )
    return table


# Ended events


def show_history(document: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(document)
    elif not document["events"]:
        click.echo("No such event has ended since the gateway started.")
    else:
        make_console().print(history_table(document["events"]))


def history_table(rows: list[dict[str, Any]]) -> RowTable:
    """Returns one row for each ended event. Accounts are shown where there are any to tell apart."""
    has_accounts = len({row.get("account") for row in rows}) > 1
    table = RowTable(
        Column("ended"),
        *((Column("account", below="named"),) if has_accounts else ()),
        Column("function", folds=True),
        Column("end"),
        Column("age", "right"),
        Column("run", "right"),
        Column("request id, error", below="plain"),
    )
    for row in rows:
        error = f"\n{printable(row['error'])}" if row.get("error") else ""
        table.add_row(
            f"{format_seconds(row.get('ended_seconds_ago'))} ago",
            *((printable_text(row.get("account")),) if has_accounts else ()),
            printable_text(row.get("function")),  # Text: a name is never read as markup
            Text(describe_end(row), style="" if row.get("end") == "succeeded" else "bold red"),
            format_seconds(row.get("age_seconds")),
            format_seconds(row.get("run_seconds")),
            Text(f"{printable(row.get('request_id'))}{error}"),
        )
    return table


def describe_end(row: dict[str, Any]) -> str:
    """Returns the end of an event in words, such as `failed after 3 attempts`."""
    end, attempts = str(row.get("end")), row.get("attempts", 0)
    words = {
        "succeeded": "succeeded" if attempts == 1 else f"succeeded at attempt {attempts}",
        "failed": f"failed after {count(attempts, 'attempt')}" if attempts else "failed, refused by the backend",
        "expired": "expired" + (f" after {count(attempts, 'attempt')}" if attempts else ", never run"),
        "dropped": f"dropped ({row.get('condition')})",
        "undelivered": f"undelivered ({row.get('condition')})",
    }
    return printable(words.get(end, end))


def _describe_why(row: dict[str, Any]) -> str:
    outcome = row.get("outcome")
    if outcome is None:
        return ""
    return printable(": ".join(part for part in (outcome.get("condition"), outcome.get("trouble")) if part))


def describe_event(row: dict[str, Any], *, whole: bool) -> list[str]:
    """Returns all members of an event, one a line; of the payload the first KiB, or all of it if `whole`."""
    received = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.get("received_at") or 0))
    lines = {
        "request id": row.get("request_id"),
        "function": row.get("function"),
        "ARN": row.get("arn"),
        "account": row.get("account"),
        "state": _describe_state(row),
        "received": f"{received}, {format_seconds(row.get('age_seconds'))} ago",
        "due in": format_seconds(row.get("due_in_seconds")),
        "runs": f"{row.get('runs', 0)} that failed",
        "returns": f"{row.get('returns', 0)}, throttled or by an error of the system",
        **_describe_outcome(row.get("outcome")),
        "path": row.get("path"),
    }
    described = [f"{name + ':':<12} {printable(value)}" for name, value in lines.items() if value not in (None, "")]
    described += [f"{'header:':<12} {printable(name)}: {printable(value)}" for name, value in row.get("headers", ())]
    if answer := row.get("answer"):
        error = printable(answer.get("function_error") or "no error")
        described += [
            f"{'answer:':<12} {error}, {answer.get('size', 0)} bytes",
            *_describe_payload(answer, whole=whole),
        ]
    return [*described, f"{'payload:':<12} {row.get('size', 0)} bytes", *_describe_payload(row, whole=whole)]


def _describe_state(row: dict[str, Any]) -> str:
    state = str(row.get("state"))
    return f"{state}, now" if row.get("is_running") and state == "delivering" else state


def _describe_outcome(outcome: dict[str, Any] | None) -> dict[str, Any]:
    if outcome is None:
        return {}
    ended = format_seconds(outcome.get("ended_seconds_ago"))
    pending = ", ".join(map(str, outcome.get("pending", ())))
    return {
        "outcome": f"{outcome.get('condition')}, {ended} ago; error code {outcome.get('error_code')}",
        "message": outcome.get("error_message"),
        "pending": f"{pending}, not delivered {outcome.get('tries', 0)} times",
        "trouble": outcome.get("trouble"),
    }


def _describe_payload(row: dict[str, Any], *, whole: bool) -> list[str]:
    text, is_base64 = row.get("payload"), False
    if text is None:
        text, is_base64 = row.get("payload_base64"), True
    if text is None:
        return ["(left out, for it is too long)"] if row.get("payload_left_out") else []
    shown = text if whole else text[:PAYLOAD_SHOWN]
    cut = [] if len(shown) == len(text) else [f"… and {len(text) - len(shown)} characters more: --payload shows all"]
    return [*(["(as base64)"] if is_base64 else []), printable(shown, also="\n\t"), *cut]
