"""Certificates, keys and authorities."""

import subprocess
from pathlib import Path

import pytest

from invoke_gateway.settings import (
    load,
)
from tests.settings.reading import problem_of, write
from tests.support.tools import OPENSSL


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("tls")
    made, key = folder / "certificate.pem", folder / "key.pem"
    command = [OPENSSL.require(), "req", "-x509", "-newkey", "rsa:2048", "-nodes"]
    command += ["-subj", "/CN=localhost", "-days", "1"]
    subprocess.run([*command, "-keyout", key, "-out", made], check=True, capture_output=True)
    return made, key


def test_a_certificate_is_accepted_with_its_own_key(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    made, key = certificate
    settings = load(write(tmp_path, f"tls: {{certificate: {made}, key: {key}}}"))
    assert settings.tls is not None


def test_files_that_are_no_certificate_and_key_are_refused(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    made, _ = certificate
    problem = problem_of(tmp_path, f"tls: {{certificate: {made}, key: {made}}}")
    assert problem.key == "tls"
    assert "cannot be used" in problem.message


def test_a_key_behind_a_passphrase_is_refused_without_asking_for_it(
    certificate: tuple[Path, Path], tmp_path: Path
) -> None:
    made, key = certificate
    locked = tmp_path / "locked.pem"
    command = [OPENSSL.require(), "rsa", "-aes128", "-passout", "pass:secret", "-in", key, "-out", locked]
    subprocess.run(command, check=True, capture_output=True)
    problem = problem_of(tmp_path, f"tls: {{certificate: {made}, key: {locked}}}")
    assert "passphrase" in problem.message


def test_authorities_must_be_certificates(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    made, key = certificate
    assert load(write(tmp_path, f"backend: {{certificate_authority: {made}}}"))
    assert "holds no PEM certificate" in problem_of(tmp_path, f"backend: {{certificate_authority: {key}}}").message


def test_the_place_of_a_token_is_checked_and_the_token_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ADMIN_TOKEN", "3f2a0c")
    settings = load(write(tmp_path, "admin_token: env:ADMIN_TOKEN"))
    assert settings.admin_token == "env:ADMIN_TOKEN"
    assert "3f2a0c" not in repr(settings)


@pytest.mark.parametrize(
    ("text", "message", "cure"),
    [
        ("admin_token: s3cret", "does not name the place of a secret", "write env:NAME or file:/path"),
        ("admin_token: 31415926", "does not name the place of a secret", "write env:NAME or file:/path"),
        ("admin_token: ''", "does not name the place of a secret", "write env:NAME or file:/path"),
        ("admin_token: [s3cret]", "does not name the place of a secret", "write env:NAME or file:/path"),
        ("admin_token: env:UNSET_TOKEN", "variable UNSET_TOKEN is not set, or empty", "set UNSET_TOKEN"),
        ("admin_token: file:/nowhere", "cannot read the file /nowhere: No such file or directory", "may read"),
    ],
)
def test_a_token_that_cannot_be_read_is_a_mistake_and_never_repeated(
    tmp_path: Path, text: str, message: str, cure: str
) -> None:
    problem = problem_of(tmp_path, text)
    assert (problem.key, problem.line) == ("admin_token", 1)
    assert message in problem.message
    assert cure in problem.cure
    assert not any(secret in str(problem) for secret in ("s3cret", "31415926"))
