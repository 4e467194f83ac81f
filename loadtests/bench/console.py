"""Holds what all commands share: their output, their end, and their common options."""

import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import click
from rich.console import Console

from loadtests.bench import report

console = Console(width=None if sys.stdout.isatty() else 140)

# Start-up, readiness and the end of all proxies of one path, at most.
STARTING_SECONDS = 180


class OutOfTime(Exception):
    """Reports that the run took longer than a successful run. Everything that it started is ended."""


class CompareByDefault(click.Group):
    """Runs `compare` when the arguments name no command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        named = args and (args[0] in self.commands or args[0] in ctx.help_option_names)
        return super().parse_args(ctx, args if named else ["compare", *args])


@contextmanager
def bounded(seconds: float) -> Iterator[None]:
    """Raises OutOfTime in the block after that long."""

    def mark_dirty(number: int, frame: FrameType | None) -> None:
        raise OutOfTime(f"not done after {seconds:.0f} s")

    signal.signal(signal.SIGALRM, mark_dirty)
    signal.alarm(max(1, round(seconds)))
    try:
        yield
    finally:
        signal.alarm(0)


def leave(number: int, frame: FrameType | None) -> None:
    """Leaves on SIGTERM and SIGHUP as an exception does: through every block that ends a process."""
    raise SystemExit(128 + number)


def tell(text: str) -> None:
    console.print(text, style="dim", highlight=False)


def publish(found: report.Report, is_whole: bool) -> None:
    """Prints the report. Writes it too after a whole run of this checkout's gateway."""
    found.show(console)
    if is_whole:
        found.write(console)


def command_line() -> str:
    return shlex.join(["python", "-m", "loadtests.bench", *sys.argv[1:]])


program_option = click.option(
    "--gateway", "program", help="The invoke-gateway to measure; otherwise the one beside this Python."
)
