"""The admin token of the commands: `--admin-token`, and the variable of the same name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from invoke_gateway.cli.main import main
from tests.cli.commands import invoke
from tests.support.sockets import Gateway
from tests.support.sockets import gateway as serving

TOKEN = "3f2a0c-right"


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATEWAY_ADMIN_TOKEN", TOKEN)
        with serving(admin_token="env:GATEWAY_ADMIN_TOKEN", admin_reads="token", faults=True) as started:
            yield started


COMMANDS = [
    "limits",
    "status",
    "in-flight list",
    "hold echo --detach",
    "fault echo throttle",
    "queue",
    "queue list",
    "control export",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_sends_the_token_and_names_it_where_it_is_missing(
    served: Gateway, command: str, tmp_path: Path
) -> None:
    arguments = [*command.split(), "--admin", str(served.server.admin)]
    without = invoke(*arguments)
    assert without.exit_code == 1
    assert "needs the admin token" in without.stderr
    assert "--admin-token" in without.stderr
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    file.chmod(0o600)
    for place in ("env:GATEWAY_ADMIN_TOKEN", f"file:{file}"):
        assert invoke(*arguments, "--admin-token", place).exit_code == 0
    for value in (TOKEN, "env:GATEWAY_ADMIN_TOKEN", f"file:{file}"):
        assert invoke(*arguments, ADMIN_TOKEN=value).exit_code == 0


def test_the_flag_wins_over_the_variable(served: Gateway) -> None:
    arguments = ["limits", "--admin", str(served.server.admin), "--admin-token", "env:GATEWAY_ADMIN_TOKEN"]
    assert invoke(*arguments, ADMIN_TOKEN="wrong").exit_code == 0


def test_a_wrong_token_is_an_error_with_its_cure(served: Gateway) -> None:
    result = invoke("limits", "--admin", str(served.server.admin), ADMIN_TOKEN="wrong")
    assert result.exit_code == 1
    assert result.stderr == (
        "invoke-gateway: The admin token is not the right one. Send the token that the setting admin_token names.\n"
    )


def test_a_token_on_the_command_line_is_refused_and_not_repeated() -> None:
    result = invoke("limits", "--admin-token", TOKEN)
    assert result.exit_code == 2
    assert "write env:NAME or file:/path" in result.stderr
    assert TOKEN not in result.output
    result = invoke("limits", "--admin-token", "env:NOT_SET_AT_ALL")
    assert "the environment variable NOT_SET_AT_ALL is not set, or empty" in result.stderr


def test_a_printed_command_has_the_flag_that_the_user_gave(served: Gateway) -> None:
    flags = f"--admin {served.server.admin} --admin-token env:GATEWAY_ADMIN_TOKEN"
    result = invoke("hold", "echo", "--seconds", "0.01", *flags.split())
    assert re.search(rf"`invoke-gateway release \S+ {flags}` ends it", result.output)


def test_every_command_for_a_running_gateway_has_the_option() -> None:
    def walk(group: click.Command, path: str) -> Iterator[tuple[str, set[str]]]:
        if isinstance(group, click.Group):
            with click.Context(group) as ctx:
                for name in group.list_commands(ctx):
                    found = group.get_command(ctx, name)
                    assert found is not None
                    yield from walk(found, f"{path} {name}")
        yield path, {name for parameter in group.params for name in parameter.opts}

    commands = dict(walk(main, ""))
    assert sum("--admin" in options for options in commands.values()) > 10
    assert [path for path, options in commands.items() if ("--admin" in options) != ("--admin-token" in options)] == []
    assert CliRunner().invoke(main, ["serve", "--help"]).output.count("--admin-token") == 1
