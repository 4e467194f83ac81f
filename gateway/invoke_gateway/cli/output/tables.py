"""Makes the tables of all commands: text that cannot command the terminal, widths, ages, refreshing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

REFRESH = 1.0  # seconds
_UNFOLDED = 160  # columns in which hardly a row is folded, for those who read the table from a pipe


def printable(value: object, also: str = "") -> str:
    """Replaces characters that could command the terminal: clients have chosen some of the text.

    also: further characters that stay
    """
    shown = "" if value is None else str(value)
    return "".join(letter if letter.isprintable() or letter in also else "?" for letter in shown)


def printable_text(value: object) -> Text:
    """Returns a printable text that is not read as markup."""
    return Text(printable(value))


def count(number: object, thing: str) -> str:
    """Returns a number with its noun: 1 slot, 2 slots."""
    return f"1 {thing}" if number == 1 else f"{number} {thing}s"


def format_seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def make_console() -> Console:
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, _UNFOLDED)
    return console


def make_table(*headings: str, **options: Any) -> Table:
    """Returns a table without frame, whose columns fold long texts."""
    table = Table(box=SIMPLE_HEAD, **options)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def print_json(document: object) -> None:
    click.echo(json.dumps(document, indent=2))


def show_live(
    console: Console, fetch: Callable[[], dict[str, Any]], render: Callable[[dict[str, Any]], RenderableType]
) -> None:
    """Shows what `render` makes of a document and refreshes it until Ctrl-C. Raises what `fetch` raises."""
    shown = render(fetch())
    try:
        with Live(shown, console=console, auto_refresh=False) as live:
            while True:
                time.sleep(REFRESH)
                live.update(render(fetch()), refresh=True)
    except KeyboardInterrupt:
        return
