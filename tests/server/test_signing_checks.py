"""What `check` reports about signing for the backend, and about callers beside the gateway."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from invoke_gateway.cli.main import main
from tests.support.processes import LOOPBACK

AWS = {"url": "https://lambda.us-east-1.amazonaws.com"}
FREE = {"listen": f"{LOOPBACK}:0", "admin": f"{LOOPBACK}:0", "async": {"mode": "forward"}}


@pytest.fixture(autouse=True)
def no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Removes the credentials of this machine."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def without_botocore(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "botocore" else find(name))


def check(folder: Path, **settings: Any) -> Result:
    file = folder / "gateway.yaml"
    file.write_text(yaml.safe_dump({**FREE, **settings}))
    return CliRunner().invoke(main, ["check", str(file)])


def account(outside: object) -> dict[str, Any]:
    return {"accounts": {"default": {"outside_concurrency": outside}}}


@pytest.mark.usefixtures("without_botocore")
def test_signing_without_the_extra_is_a_mistake_unless_the_environment_has_the_keys(tmp_path: Path) -> None:
    result = check(tmp_path, backend=AWS)
    assert result.exit_code == 2
    assert "backend.sign" in result.stderr
    assert "pip install botocore" in result.stderr
    assert check(tmp_path, backend={**AWS, "sign": {"credentials": "env"}}).exit_code == 0
    assert check(tmp_path, backend={**AWS, "sign": False}).exit_code == 0
    result = check(tmp_path, **account("cloudwatch"))
    assert "accounts.default.outside_concurrency" in result.stderr
    assert "pip install botocore" in result.stderr


@pytest.mark.parametrize(
    ("credentials", "words"),
    [
        ("default", "botocore finds none in its chain of providers"),
        ("profile:ops", "The config profile (ops) could not be found"),
        ("env", "the environment has no AWS_ACCESS_KEY_ID"),
    ],
)
def test_credentials_that_are_not_here_are_a_note(tmp_path: Path, credentials: str, words: str) -> None:
    """The gateway may run on another machine than the check."""
    result = check(tmp_path, backend={**AWS, "sign": {"credentials": credentials}})
    assert result.exit_code == 0
    assert words in result.output
    assert f"backend.sign.credentials ({credentials})" in result.output


def test_credentials_that_are_here_are_no_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    assert "backend.sign" not in check(tmp_path, backend=AWS).output


@pytest.mark.parametrize(
    ("outside", "words"),
    [
        (1001, "is 1001, and the account has 1000 unreserved slots"),
        ("command:/nowhere/at-all --x", "names the command /nowhere/at-all, which is not found"),
        ("command:", "names no command"),
        ("command:'x", "cannot be split into words"),
        ("statsd", "is no number of slots, and no source of one"),
    ],
)
def test_mistakes_in_outside_concurrency(tmp_path: Path, outside: object, words: str) -> None:
    result = check(tmp_path, **account(outside))
    assert result.exit_code == 2
    assert words in result.stderr
    assert "accounts.default.outside_concurrency" in result.stderr


@pytest.mark.parametrize("outside", [0, 1000, "cloudwatch", "command:echo 4"])
def test_values_of_outside_concurrency(tmp_path: Path, outside: object) -> None:
    result = check(tmp_path, **account(outside))
    assert result.exit_code == 0, result.output
