"""The command itself: help, version, and that it loads no more than the command that runs."""

import subprocess
import sys

import pytest

import invoke_gateway
from tests.cli.commands import invoke


def test_the_module_is_the_command_and_without_arguments_helps_with_an_example() -> None:
    process = subprocess.run([sys.executable, "-m", "invoke_gateway"], capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert process.stderr.startswith("Usage: invoke-gateway ")
    assert "invoke-gateway serve --backend demo" in process.stderr


def test_the_version_is_the_distributions() -> None:
    assert invoke("--version").output == f"invoke-gateway, version {invoke_gateway.__version__}\n"


LOADED = "import sys; from invoke_gateway.entry import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"


@pytest.mark.parametrize(
    ("arguments", "unwanted"),
    [
        (("--version",), ("pydantic", "rich", "yaml", "msgspec")),
        (("serve", "--listen", "nowhere"), ("rich", "invoke_gateway.chaos")),
        (("hold", "--slots", "none"), ("rich", "invoke_gateway.server", "invoke_gateway.chaos")),
    ],
)
def test_a_command_loads_only_what_it_needs(arguments: tuple[str, ...], unwanted: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", LOADED, *arguments]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    loaded = process.stderr.splitlines()[-1].split()
    assert "click" in loaded
    assert set(unwanted) & set(loaded) == set()
