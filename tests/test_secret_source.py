"""Secrets are read from where a setting names them, and no error repeats one."""

from __future__ import annotations

from pathlib import Path

import pytest

from invoke_gateway.secret_source import SecretUnavailable, read_secret, read_token


def write(folder: Path, content: bytes, mode: int = 0o600) -> str:
    file = folder / "secret"
    file.write_bytes(content)
    file.chmod(mode)
    return f"file:{file}"


def why_not(source: str, **environ: str) -> str:
    with pytest.raises(SecretUnavailable) as raised:
        read_token(source, environ)
    assert raised.value.cure
    return str(raised.value)


def test_a_secret_of_the_environment_is_read_without_the_line_end_that_a_shell_may_add() -> None:
    assert read_secret("env:ALICE", {"ALICE": "a b/c\n"}) == "a b/c"


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o600, 0o640])
def test_a_file_for_its_owner_and_its_group_is_read(tmp_path: Path, mode: int) -> None:
    assert read_secret(write(tmp_path, b"s3cret\n", mode)) == "s3cret"


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o620, 0o602, 0o601, 0o660, 0o777])
def test_a_file_that_others_may_read_or_change_is_refused_with_its_mode(tmp_path: Path, mode: int) -> None:
    source = write(tmp_path, b"s3cret", mode)
    text = why_not(source)
    assert f"has the mode {mode:04o}" in text
    assert f"chmod 600 {source.removeprefix('file:')}" in text
    assert "s3cret" not in text


def test_a_secret_that_is_not_there_is_an_error_with_its_place(tmp_path: Path) -> None:
    assert why_not("env:ALICE") == "the environment variable ALICE is not set, or empty: set ALICE"
    assert "ALICE is not set, or empty" in why_not("env:ALICE", ALICE=" \n")
    assert "is empty" in why_not(write(tmp_path, b"\n"))
    assert f"cannot read the file {tmp_path}/none: No such file" in why_not(f"file:{tmp_path}/none")
    assert f"cannot read the file {tmp_path}: Is a directory" in why_not(f"file:{tmp_path}")
    assert "longer than 65536 bytes" in why_not(write(tmp_path, b"x" * 65537))
    assert "is not UTF-8 text" in why_not(write(tmp_path, b"\xff"))
    assert "cannot read the file" in why_not("file:/a\0b")


@pytest.mark.parametrize("text", ["s3cret", "env:", "file:", "", "ENV:ALICE", "$ALICE", "cmd:s3cret"])
def test_a_text_that_names_no_place_is_refused_and_not_repeated(text: str) -> None:
    error = why_not(text, ALICE="x")
    assert error.startswith("does not name the place of a secret: write env:NAME or file:/path")
    assert "s3cret" not in error


@pytest.mark.parametrize("token", ["a b", "naïve", "a\nb", "=", "a=b", '"quoted"'])
def test_a_token_that_no_header_could_carry_is_refused_and_not_repeated(token: str) -> None:
    assert "has characters that a bearer token cannot have" in why_not("env:T", T=token)


@pytest.mark.parametrize("token", ["a", "3f2a0c", "a-b._~+/", "YWJj=="])
def test_the_tokens_of_rfc_6750_are_read(token: str) -> None:
    assert read_token("env:T", {"T": token}) == token
