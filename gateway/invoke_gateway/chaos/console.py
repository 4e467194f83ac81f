"""What a proof says on a terminal beside its verdict."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import click
from rich.console import Console

from .quotas import Unusable
from .target import Died
from .verdict import FAILED, MISUSED

UNFOLDED = 130  # columns of the tables in a pipe

T = TypeVar("T")


def announce(seeds: Sequence[int]) -> Console:
    """Where progress is told, now that the seeds are."""
    errors = Console(stderr=True)
    names = [str(seed) for seed in seeds]
    shown = ", ".join(names) if len(names) <= 10 else f"{names[0]} to {names[-1]}"
    errors.print(f"seed{'s' if len(names) > 1 else ''} {shown}", markup=False, highlight=False)
    return errors


def open_console() -> Console:
    """Where the verdict is told."""
    console = Console()
    if not console.is_terminal:
        console.width = max(console.width, UNFOLDED)
    return console


def name_command() -> str:
    return " ".join(["invoke-gateway", *sys.argv[1:]])


def try_to_judge(check_answer: Callable[[], T]) -> T | int:
    """The verdict; where there is none the exit status, after the reason was told."""
    try:
        return check_answer()
    except Unusable as error:
        click.echo(f"invoke-gateway: {error}", err=True)
        return MISUSED
    except asyncio.CancelledError:
        click.echo("invoke-gateway: ended before there was a verdict", err=True)
        return FAILED
    except Died as error:
        click.echo(f"invoke-gateway: {error}", err=True)
        return FAILED
