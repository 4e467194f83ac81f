"""Old names of commands, flags, variables, keys and paths: each error names the new one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from invoke_gateway.cli.main import main
from invoke_gateway.settings import SettingsError, load
from invoke_gateway.settings.models.settings import Settings
from invoke_gateway.settings.paths import find_place
from invoke_gateway.settings.renamed import KEYS
from tests.support.sockets import Gateway, gateway


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    with gateway() as started:
        yield started


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("serve", "--operations", "127.0.0.1:0"), "--operations was renamed: use --admin."),
        (("limits", "--operations=127.0.0.1:0"), "--operations was renamed: use --admin."),
        (("queue", "list", "--operations", "127.0.0.1:0"), "--operations was renamed: use --admin."),
        (("in-flight", "--operations", "127.0.0.1:0"), "--operations was renamed: use --admin."),
        (("holders",), "The command holders was renamed: use invoke-gateway in-flight."),
        (("release", "--gateway", "g-1"), "--gateway was renamed: use invoke-gateway in-flight release --gateway."),
    ],
)
def test_an_old_command_or_flag_names_the_new_one(arguments: tuple[str, ...], text: str) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert text in result.stderr


def test_a_flag_that_never_was_is_only_unknown() -> None:
    result = CliRunner().invoke(main, ["limits", "--watch"])
    assert (result.exit_code, "No such option" in result.stderr, "renamed" in result.stderr) == (2, True, False)


def test_an_old_variable_names_the_new_one() -> None:
    result = CliRunner().invoke(main, ["serve", "--backend", "demo"], env={"INVOKE_GATEWAY_OPERATIONS": "127.0.0.1:0"})
    assert result.exit_code == 2
    assert "it was renamed: set INVOKE_GATEWAY_ADMIN" in result.stderr


def test_an_old_key_names_the_new_one(tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text("backend: {url: demo}\noperations: 127.0.0.1:0\n")
    with pytest.raises(SettingsError) as raised:
        load(file)
    (problem,) = raised.value.problems
    assert (problem.key, problem.message, problem.cure) == (
        "operations",
        "is not a setting",
        "it was renamed: use admin",
    )


@pytest.mark.parametrize(("old", "new"), [("closed", "refuse"), ("share", "local_share"), ("open", "admit")])
def test_an_old_value_names_the_new_one(old: str, new: str, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"backend: {{url: demo}}\nshared: {{on_store_failure: {old}}}\n")
    with pytest.raises(SettingsError) as raised:
        load(file)
    (problem,) = raised.value.problems
    assert (problem.key, problem.cure) == ("shared.on_store_failure", f"it was renamed: use {new}")


def test_each_old_key_is_gone_and_each_new_one_is_there() -> None:
    for old, new in KEYS.items():
        assert find_place(Settings, old) is None
        assert find_place(Settings, new) is not None


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_the_old_path_of_the_calls_in_flight_names_the_new_one(served: Gateway, method: str) -> None:
    path = "/holders" if method == "GET" else "/holders/g-1"
    answer = served.fetch(path, method)
    assert answer.status == 410
    assert answer.json["error"] == f"/holders was renamed: use {path.replace('holders', 'in-flight')}."


@pytest.mark.parametrize("value", ["true", "false"])
def test_the_access_log_was_a_switch(value: str, tmp_path: Path) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"access_log: {value}\n")
    with pytest.raises(SettingsError) as raised:
        load(file)
    new = "- (standard output), or the name of a file" if value == "true" else "null, or leave the key out"
    (problem,) = raised.value.problems
    assert (problem.key, problem.cure) == ("access_log", f"it was renamed: use {new}")


@pytest.mark.parametrize(
    ("arguments", "variables", "text"),
    [
        ([], {"INVOKE_GATEWAY_ACCESS_LOG": "1"}, "is '1', but it is no longer a switch"),
        (["--access-log=true"], {}, "is 'true', but it is no longer a switch"),
        (["--access-log", "--watch"], {}, "is '--watch', which is not the name of a file"),
        (["--no-access-log"], {}, "--no-access-log was renamed: use --access-log FILE, or no flag"),
    ],
)
def test_flag_and_variable_of_the_access_log_were_a_switch(
    arguments: list[str], variables: dict[str, str], text: str
) -> None:
    result = CliRunner().invoke(main, ["serve", "--backend", "demo", *arguments], env=variables)
    assert result.exit_code == 2
    assert text in result.stderr
