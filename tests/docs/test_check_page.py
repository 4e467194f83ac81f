"""What docs/reference/check.md shows is what `check` prints."""

import json
import re
from pathlib import Path

import pytest

from invoke_gateway.server import startup_checks
from tests.cli.commands import invoke

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "check.md").read_text()


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


CONSOLE = re.split(r"^\$ .*\n", _blocks("console")[0], flags=re.MULTILINE)
"""The outputs of the page's two commands, behind an empty text."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the page's file, on a machine where no port is taken."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(startup_checks, "_find_taken", lambda settings: iter(()))
    (tmp_path / "gateway.yaml").write_text(CONSOLE[1])
    return tmp_path


def test_the_report_of_the_page_is_the_one_that_check_prints() -> None:
    result = invoke("check", "gateway.yaml")
    assert result.stderr == CONSOLE[2]
    assert result.exit_code == 2


def test_the_json_of_the_page_has_a_problem_that_check_prints() -> None:
    shown = json.loads(_blocks("json")[0])
    document = json.loads(invoke("check", "--format", "json", "gateway.yaml").stdout)
    assert shown["problems"][0] in document["problems"]
    assert list(shown) == list(document)


def test_the_page_lists_every_key_of_the_json_and_no_other() -> None:
    document = json.loads(invoke("check", "--format", "json", "gateway.yaml").stdout)
    keys = {*document, *(f"problems[].{key}" for key in document["problems"][0])}
    rows = re.findall(r"^\| (`(?:problems|ok|file|mistakes|accounts)[^|]*) \|", PAGE, re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == keys
    (Path("gateway.yaml")).write_text("")
    accounts = json.loads(invoke("check", "--format", "json", "gateway.yaml").stdout)["accounts"]
    row = next(line for line in PAGE.splitlines() if line.startswith("| `accounts`"))
    assert set(re.findall(r"`([^`]+)`", row)) == {"accounts", *accounts[0]}


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("buffer_bytes", "6MB", "6000000"),
        ("buffer_bytes", "6MiB", "6291456"),
        ("drain_seconds", "30s", "30"),
        ("drain_seconds", "1h30m", "5400"),
        ("drain_seconds", "PT15M", "900"),
        ("drain_seconds", '"1:30:00"', "5400"),
        ("accounts.default.requests_per_second", "600/min", "10"),
        ("accounts.default.requests_per_second", "10 rps", "10"),
        ("max_headers", '"200"', "200"),
        ("max_headers", "1,000", "1000"),
        ("max_headers", "1k", "1000"),
        ("watch", '"yes"', "true"),
        ("watch", "1", "true"),
        ("listen", "9001", "127.0.0.1:9001"),
        ("backend", "localhost:4566", "{url: http://localhost:4566}"),
        ("backend.function_path", "arn:aws:lambda:us-east-1:111122223333:function:resize:live", "resize"),
        ("credentials.AKIA", "111122223333", '"111122223333"'),
        ("credentials.AKIA", "1111-2222-3333", '"111122223333"'),
    ],
)
def test_the_cure_is_the_value_to_write(key: str, text: str, value: str) -> None:
    lines = [f"{'  ' * depth}{part}:" for depth, part in enumerate(key.split("."))]
    Path("gateway.yaml").write_text("\n".join(lines) + f" {text}\n")
    (problem,) = json.loads(invoke("check", "--format", "json", "gateway.yaml").stdout)["problems"]
    assert problem["key"] == key
    assert re.match(rf"write {re.escape(value)}(?![\w.:])", problem["cure"]), problem
