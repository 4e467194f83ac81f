"""A command that prints the slots of callers beside the gateway."""

from __future__ import annotations

import shlex
import sys

import pytest

from invoke_gateway.outside.base import CannotRead
from invoke_gateway.outside.command import CommandConcurrency

PYTHON = shlex.quote(sys.executable)


def command(program: str, **options: float) -> CommandConcurrency:
    return CommandConcurrency(f"{PYTHON} -c {shlex.quote(program)}", now=lambda: 5.0, **options)


@pytest.mark.parametrize(("printed", "slots"), [("40", 40), (" 12.2\\n", 13), ("0", 0), ("1e2", 100)])
async def test_a_number_is_read(printed: str, slots: int) -> None:
    assert await command(f"print('{printed}')").read() == (slots, 5.0)


@pytest.mark.parametrize(
    ("program", "text"),
    [
        ("print('many')", "printed 'many', which is no number of slots"),
        ("print(-1)", "printed '-1', which is no number"),
        ("print('nan')", "no number"),
        ("pass", "printed ''"),
        ("print(4); raise SystemExit(3)", "ended with status 3"),
    ],
)
async def test_anything_else_is_an_error(program: str, text: str) -> None:
    with pytest.raises(CannotRead, match=text):
        await command(program).read()


async def test_a_command_that_hangs_is_ended() -> None:
    with pytest.raises(CannotRead, match=r"did not end within 0\.2 s"):
        await command("import time; time.sleep(600)", seconds=0.2).read()


async def test_a_command_that_is_not_there_is_an_error() -> None:
    with pytest.raises(CannotRead, match="cannot be run: No such file"):
        await CommandConcurrency("/nowhere/at-all").read()


async def test_no_shell_runs_it() -> None:
    with pytest.raises(CannotRead, match="printed"):
        await CommandConcurrency("echo 4; exit 3").read()
