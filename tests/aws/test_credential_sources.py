"""Where credentials come from: the environment, and botocore's chain."""

from __future__ import annotations

import json
import os
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from invoke_gateway.aws.credential_sources import (
    BotocoreCredentials,
    CannotLoad,
    EnvironmentCredentials,
    find_missing_extra,
    make_source,
)
from invoke_gateway.policy.identity.request_signer import SigningCredentials


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Removes all credentials of this machine, and returns a folder of which the files are botocore's."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return tmp_path


def write_keys(folder: Path, key: str, profile: str = "default") -> None:
    text = f"[{profile}]\naws_access_key_id = {key}\naws_secret_access_key = secret of {key}\n"
    new = folder / "new"
    new.write_text(text)
    new.replace(folder / "credentials")


def test_the_environment_needs_both_names() -> None:
    environ = {"AWS_ACCESS_KEY_ID": "A"}
    with pytest.raises(CannotLoad, match="the environment has no AWS_SECRET_ACCESS_KEY"):
        EnvironmentCredentials(environ).load()
    environ["AWS_SECRET_ACCESS_KEY"] = "s"
    assert EnvironmentCredentials(environ).load() == SigningCredentials("A", "s")
    environ["AWS_SESSION_TOKEN"] = "t"
    assert EnvironmentCredentials(environ).load() == SigningCredentials("A", "s", "t")


def test_the_chain_is_botocores(monkeypatch: pytest.MonkeyPatch, files: Path) -> None:
    with pytest.raises(CannotLoad, match="finds none in its chain of providers"):
        BotocoreCredentials().load()
    write_keys(files, "AKIAFILE")
    assert make_source("default").load() == SigningCredentials("AKIAFILE", "secret of AKIAFILE")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    assert make_source("default").load().access_key_id == "AKIAENV"


def test_a_profile_is_taken_by_its_name(files: Path) -> None:
    write_keys(files, "AKIAOPS", "ops")
    assert make_source("profile:ops").load().access_key_id == "AKIAOPS"
    with pytest.raises(CannotLoad, match="other"):
        make_source("profile:other").load()


def test_a_changed_file_is_read_again(files: Path) -> None:
    write_keys(files, "AKIAOLD")
    source = BotocoreCredentials()
    assert source.load().access_key_id == "AKIAOLD"
    write_keys(files, "AKIAROTATED")
    assert source.load().access_key_id == "AKIAROTATED"


def test_credentials_that_expire_have_their_time_and_are_renewed(files: Path) -> None:
    """A program provides them, which is asked again when the first ones are about to expire."""
    counted = files / "count"
    soon = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    late = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    program = files / "program.py"
    program.write_text(
        "import json, pathlib\n"
        f"counted = pathlib.Path({str(counted)!r})\n"
        "number = int(counted.read_text()) + 1 if counted.exists() else 1\n"
        "counted.write_text(str(number))\n"
        f"times = {json.dumps([soon, late])}\n"
        "print(json.dumps({'Version': 1, 'AccessKeyId': f'ASIA{number}', 'SecretAccessKey': 's',"
        " 'SessionToken': 't', 'Expiration': times[min(number, 2) - 1]}))\n"
    )
    (files / "config").write_text(f"[default]\ncredential_process = {sys.executable} {program}\n")
    source = BotocoreCredentials()
    first = source.load()
    assert first.expires_at is not None
    renewed = first if first.access_key_id == "ASIA2" else source.load()
    assert renewed.access_key_id == "ASIA2"
    assert renewed.expires_at is not None
    assert -2 <= renewed.expires_at - datetime.fromisoformat(late).timestamp() <= 0
    assert source.load() == renewed
    source.forget()
    assert source.load().access_key_id == "ASIA3"


def test_without_botocore_only_the_environment_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setitem(sys.modules, "botocore.exceptions", None)
    assert find_missing_extra("env") is None
    missing = find_missing_extra("default")
    assert missing is not None
    assert "pip install botocore" in missing
    with pytest.raises(CannotLoad, match="pip install botocore"):
        BotocoreCredentials().load()
