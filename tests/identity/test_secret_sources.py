"""Secrets from variables, files and commands: what is read, and what is refused with its cure, without the secret."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from invoke_gateway.identity import secret_sources
from invoke_gateway.identity.secret_sources import Secret, SecretReader, UnreadableSecret

KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI"


def write(folder: Path, text: str | bytes, mode: int = 0o600) -> str:
    path = folder / "secret"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    path.chmod(mode)
    return f"file:{path}"


def command(folder: Path, printed: str, status: int = 0) -> str:
    """Return a command that prints a text, and its number of runs into a file."""
    script = folder / "print.py"
    script.write_text(
        f"import sys\nopen({str(folder / 'runs')!r}, 'a').write('x')\nprint({printed!r})\nsys.exit({status})\n"
    )
    return f"command:{sys.executable} '{script}'"


def problem_of(source: str, *, reader: SecretReader | None = None) -> UnreadableSecret:
    with pytest.raises(UnreadableSecret) as raised:
        (reader or SecretReader()).read(source, KEY)
    assert raised.value.cure
    assert SECRET not in str(raised.value)
    return raised.value


def test_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALICE_SECRET", SECRET)
    assert SecretReader().read("env:ALICE_SECRET", KEY) == Secret(SECRET)
    monkeypatch.setenv("ALICE_SECRET", "")
    assert problem_of("env:ALICE_SECRET").message == "the variable ALICE_SECRET is empty"
    monkeypatch.delenv("ALICE_SECRET")
    assert problem_of("env:ALICE_SECRET").message == "the variable ALICE_SECRET is not set"


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o640])
def test_a_file_that_others_may_not_read(tmp_path: Path, mode: int) -> None:
    assert SecretReader().read(write(tmp_path, f"{SECRET}\n", mode), KEY).secret == SECRET


@pytest.mark.parametrize("mode", [0o644, 0o604, 0o602, 0o666])
def test_a_file_that_others_may_read_or_write_is_refused(tmp_path: Path, mode: int) -> None:
    found = problem_of(write(tmp_path, SECRET, mode))
    assert "may be read or written by every user" in found.message
    assert found.cure == f"run chmod o= {tmp_path / 'secret'}"


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "is empty"), (b" \n", "is empty"), (b"x" * 70_000, "larger than 64 KiB"), (b"\xff", "UTF-8")],
)
def test_a_file_without_a_secret(tmp_path: Path, content: bytes, words: str) -> None:
    assert words in problem_of(write(tmp_path, content)).message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "No such file or directory" in problem_of(f"file:{tmp_path}/none").message


def test_a_command_prints_the_secrets_of_several_keys_and_is_run_once(tmp_path: Path) -> None:
    expires = "2026-01-31T23:59:59Z"
    printed = {KEY: {"secret": SECRET}, "AKIB": {"secret": "b", "session_token": "t", "expires": expires}}
    source, reader = command(tmp_path, json.dumps(printed)), SecretReader()
    assert reader.read(source, KEY) == Secret(SECRET)
    assert reader.read(source, "AKIB") == Secret("b", "t", 1_769_903_999.0)
    assert reader.read_token(source, "AKIB") == "t"
    assert (tmp_path / "runs").read_text() == "x"


def test_a_command_may_print_the_form_of_credential_process(tmp_path: Path) -> None:
    printed = {"Version": 1, "AccessKeyId": KEY, "SecretAccessKey": SECRET, "SessionToken": "t", "Expiration": 1.5}
    assert SecretReader().read(command(tmp_path, json.dumps(printed)), KEY) == Secret(SECRET, "t", 1.5)


def test_a_file_may_have_the_same_json(tmp_path: Path) -> None:
    source = write(tmp_path, json.dumps({KEY: {"secret": SECRET, "expires": 5}}))
    assert SecretReader().read(source, KEY) == Secret(SECRET, None, 5.0)


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        ("", "gives no secret of AKIAIOSFODNN7EXAMPLE"),
        (SECRET, "gives text that is not JSON"),
        (f'["{SECRET}"]', "gives JSON that is no object"),
        (f'{{"AKIAOTHER": {{"secret": "{SECRET}"}}}}', "gives no secret of AKIAIOSFODNN7EXAMPLE"),
        (f'{{"{KEY}": "{SECRET}"}}', "gives no secret of AKIAIOSFODNN7EXAMPLE"),
        (f'{{"{KEY}": {{"secret": ""}}}}', "gives no secret of AKIAIOSFODNN7EXAMPLE"),
        (f'{{"{KEY}": {{"secret": "{SECRET}", "session_token": 5}}}}', "a session_token of"),
        (f'{{"{KEY}": {{"secret": "{SECRET}", "expires": "soon"}}}}', "a time of expiry that cannot be read"),
    ],
)
def test_what_a_command_prints_is_checked_and_never_repeated(tmp_path: Path, printed: str, words: str) -> None:
    assert words in problem_of(command(tmp_path, printed)).message


def test_a_command_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "failed with exit status 3" in problem_of(command(tmp_path, SECRET, status=3)).message
    assert "is not found" in problem_of("command:no-such-program-of-ours --all").message
    assert "cannot be split" in problem_of("command:print 'x").message
    monkeypatch.setattr(secret_sources, "COMMAND_SECONDS", 0.05)
    sleep = f"command:{sys.executable} -c 'import time; time.sleep(60)'"
    assert "did not end within" in problem_of(sleep).message


def test_check_looks_for_the_program_and_does_not_run_it(tmp_path: Path) -> None:
    reader = SecretReader(runs_commands=False)
    assert reader.read(command(tmp_path, "{}"), KEY) == Secret("")
    assert not (tmp_path / "runs").exists()
    assert "is not found" in problem_of("command:no-such-program-of-ours", reader=reader).message


def test_a_session_token_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOKEN", "abc/+=")
    assert SecretReader().read_token("env:TOKEN", KEY) == "abc/+="
    with pytest.raises(UnreadableSecret) as raised:
        SecretReader().read_token(write(tmp_path, json.dumps({KEY: {"secret": SECRET}})), KEY)
    assert raised.value.is_of_token


def test_no_text_shows_a_secret() -> None:
    assert SECRET not in f"{Secret(SECRET, SECRET)} {Secret(SECRET)!r}"
