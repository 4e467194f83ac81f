"""Every command's help ends with examples that its own parser takes."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click import Command, Context, Group, UsageError

from invoke_gateway.cli.examples import EXAMPLES
from invoke_gateway.cli.main import COMMANDS, main
from tests.cli.commands import invoke


def list_commands() -> Iterator[str]:
    """Names every command, and every command of a group."""
    for name in COMMANDS:
        yield name
        command = main.get_command(Context(main), name)
        if isinstance(command, Group):
            yield from (f"{name} {inner}" for inner in command.commands)


def parse(line: str) -> Context:
    """Parses the arguments of a command line, up to the command that would run. Raises `UsageError`."""
    program, *words = shlex.split(re.split(r" > | &$", line)[0])
    assert program == "invoke-gateway"
    command: Command = main
    context = Context(main, info_name=program)
    while isinstance(command, Group):
        context = command.make_context(context.info_name, words, parent=context.parent)
        remaining = [*context._protected_args, *context.args]
        if not remaining:
            break
        name, inner, words = command.resolve_command(context, remaining)
        assert inner is not None
        command = inner
        context = Context(command, info_name=name, parent=context)
    if not isinstance(command, Group):
        context = command.make_context(context.info_name, words, parent=context.parent)
    return context


@pytest.mark.parametrize("words", [*list_commands()])
def test_a_commands_help_ends_with_its_examples(words: str) -> None:
    result = invoke(*words.split(), "--help")
    assert result.exit_code == 0
    _, _, end = result.output.partition("\n  Examples:\n")
    assert [line.strip() for line in end.splitlines()] == [*EXAMPLES[words]], "add it to cli/examples.py"


@pytest.mark.parametrize("words", [*EXAMPLES])
def test_an_example_is_one_of_its_command_with_real_flags(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("gateway.yaml", "script.yaml"):
        (tmp_path / name).touch()
    lines = [line for line in EXAMPLES[words] if not line.startswith("#")]
    assert any(line.startswith(f"invoke-gateway {words}") for line in lines)
    for line in lines:
        context = parse(line)
        assert context.command_path.startswith("invoke-gateway "), line


@pytest.mark.parametrize(
    "line", ["invoke-gateway hold --slot 2", "invoke-gateway queue drop --ever", "invoke-gateway x"]
)
def test_a_mistake_in_an_example_would_be_found(line: str) -> None:
    with pytest.raises(UsageError):
        parse(line)
