"""The keys of the settings: their defaults, and the rules between them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from invoke_gateway.settings import Address, Settings, load, restart_needed
from invoke_gateway.settings.paths import settable
from tests.settings.reading import EVERY_KEY, problem_of, write


def test_with_nothing_set_the_demo_backend_is_served_on_loopback() -> None:
    settings = load()
    assert (str(settings.listen), str(settings.admin)) == ("127.0.0.1:9001", "127.0.0.1:9002")
    assert settings.backend.url == "demo"
    assert settings.accounts["default"].concurrent_executions == 1000


def test_every_key_can_be_set_in_the_file(tmp_path: Path) -> None:
    settings = load(write(tmp_path, EVERY_KEY))
    assert settings.admin == Address("::1", 0)
    assert settings.backend.url == "https://localhost:4566"
    default = settings.accounts["default"]
    assert (default.requests_per_second, default.caller_requests_per_second) == ("off", 2.5)
    assert default.functions["legacy-report"].requests_per_second == 3
    assert (default.reserved, default.unreserved, default.floor) == (5, 5, 0)
    assert settings.accounts["111122223333"].floor == 10
    unset = set(restart_needed(Settings(), settings))
    restartable = {".".join(path) for path, _ in settable(Settings) if path[0] not in RELOADED}
    # Files that would have to exist; and several workers, with which fault scripts cannot be.
    restartable = {name for name in restartable if not name.startswith("backend.sign.")} | {"backend.sign"}
    assert restartable - unset == {"tls.certificate", "tls.key", "backend.certificate_authority", "workers"}


RELOADED = {"accounts", "admin_reads", "admin_token", "callers", "credentials", "quotas"}


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError) as raised:
        load().region = "eu-west-1"  # that is the point
    assert [error["type"] for error in raised.value.errors()] == ["frozen_instance"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("ftp://x", "must be an http or https origin"),
        ("127.0.0.1:4566", "must be an http or https origin"),
        ("http://", "must be an http or https origin"),
        ("http://x:99999", "is no URL"),
        ("http://x/path", "has something after the host"),
        ("http://x?q", "has something after the host"),
        ("http://user:secret@x", "carries a user name or password"),
        ("http://localhost:9001", "is http://localhost:9001, which is the gateway's own listen"),
        ("http://127.0.0.1:9002/", "which is the gateway's own admin"),
    ],
)
def test_a_backend_is_an_origin_other_than_the_gateway_itself(tmp_path: Path, url: str, words: str) -> None:
    problem = problem_of(tmp_path, f'backend: {{url: "{url}"}}')
    assert problem.key == "backend.url"
    assert words in problem.message
    assert "secret" not in str(problem)


def test_the_two_listeners_must_differ_unless_both_take_a_free_port(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "listen: 127.0.0.1:9002")
    assert (problem.key, problem.message) == ("admin", "is 127.0.0.1:9002, which is also listen")
    load(write(tmp_path, 'listen: "127.0.0.1:0"\nadmin: "127.0.0.1:0"'))


@pytest.mark.parametrize(
    ("text", "is_on"),
    [
        ("", True),
        ("backend: {url: demo}", True),
        ("faults: auto", True),
        ("faults: false", False),
        ("backend: {url: 'http://127.0.0.1:4566'}", False),
        ("{backend: {url: 'http://127.0.0.1:4566'}, faults: auto}", False),
        ("{backend: {url: 'http://127.0.0.1:4566'}, faults: true}", True),
        ("{workers: 2, counters: 'redis://127.0.0.1:6379/0'}", False),
    ],
)
def test_fault_scripts_are_on_before_the_demo_backend_and_where_they_are_asked_for(
    tmp_path: Path, text: str, is_on: bool
) -> None:
    assert load(write(tmp_path, text)).accepts_faults is is_on


def test_a_wrong_value_of_faults_is_met_with_the_three_there_are(tmp_path: Path) -> None:
    problem = problem_of(tmp_path, "faults: always")
    assert (problem.key, problem.message) == ("faults", "must be auto, true or false; it is the text 'always'")
