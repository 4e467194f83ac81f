"""The settings file: its form, as YAML and as JSON."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from invoke_gateway.settings import Override, Problem, SettingsError, load
from tests.settings.reading import EVERY_KEY, problem_of, problems_of, write


def test_json_says_the_same_as_yaml(tmp_path: Path) -> None:
    values = yaml.safe_load(EVERY_KEY)
    from_json = load(write(tmp_path, json.dumps({"$schema": "x", **values}), "gateway.json"))
    assert from_json == load(write(tmp_path, EVERY_KEY))


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "accounts:\n  default:\nbackend:\n", "watch:\n"])
def test_an_empty_file_and_empty_keys_mean_the_defaults(tmp_path: Path, text: str) -> None:
    assert load(write(tmp_path, text)) == load()


def test_an_empty_json_file_means_the_defaults(tmp_path: Path) -> None:
    assert load(write(tmp_path, " ", "gateway.json")) == load()


def test_anchors_and_merges_of_yaml_work_and_the_own_key_wins(tmp_path: Path) -> None:
    text = """
accounts:
  default: &small {concurrent_executions: 10, requests_per_second: 5}
  "111122223333": {<<: *small, requests_per_second: off}
  "111122223334": *small
"""
    accounts = load(write(tmp_path, text)).accounts
    assert accounts["111122223333"].concurrent_executions == 10
    assert accounts["111122223333"].requests_per_second == "off"
    assert accounts["111122223334"] == accounts["default"]


def test_a_missing_file_is_one_problem(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as raised:
        load(tmp_path / "none.yaml")
    assert str(raised.value).endswith(
        f"none.yaml: cannot be read: {os.strerror(errno.ENOENT)} (give a file that the gateway may read)"
    )


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=os.strerror(errno.EISDIR)):
        load(tmp_path)


def test_a_key_given_twice_is_refused_with_its_line_and_the_rest_is_still_checked(tmp_path: Path) -> None:
    text = "region: us-east-1\nwatch: 1\nbackend:\n  url: demo\n  url: demo\n"
    problems = problems_of(tmp_path, text)
    assert [(problem.key, problem.line, problem.column) for problem in problems] == [
        ("watch", 2, 8),
        ("backend.url", 5, 3),
    ]
    assert problems[1].message == "is given twice, the second time on line 5"


@pytest.mark.parametrize(
    ("text", "key", "line", "column"),
    [
        ('{"region": "us-east-1",\n "region": "us-east-1"}', "region", 2, 2),
        ('{"quotas": {"request" : 1, "request":2}}', "quotas.request", 1, 28),
        ('{"cors": {"allow_origins": [], "allow_origins":[]}}', "cors.allow_origins", 1, 32),
        ('{"accounts": {"default": {}, "d\\u0065fault": {}}}', "accounts.default", 1, 30),
    ],
)
def test_a_key_given_twice_is_refused_in_json_too(tmp_path: Path, text: str, key: str, line: int, column: int) -> None:
    problem = problem_of(tmp_path, text, "gateway.json")
    assert problem.message == f"is given twice, the second time on line {line}"
    assert (problem.key, problem.line, problem.column) == (key, line, column)


@pytest.mark.parametrize("text", ["5", "[a]", "text", "--- !!set {a}"])
def test_a_file_must_be_a_mapping(tmp_path: Path, text: str) -> None:
    load_error = problems_of(tmp_path, text)
    assert "mapping" in load_error[0].message or load_error[0].message == "is not a setting"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: *b", "uses *b on line 1 before &b is complete"),
        ("a: &b {c: *b}", "uses *b on line 1 before &b is complete"),
        ("a: !!python/object:os.system 1", "uses the tag tag:yaml.org,2002:python/object:os.system on line 1"),
        ("? [1, 2]\n: 3", "has a key on line 1 that is no plain name"),
        ("a: 1\n--- \nb: 2", "holds more than one YAML document"),
        ("a: {<<: 5}", "merges (<<) something that is no mapping"),
        ("\x00", "is no YAML text: it holds the character U+0000 (line 1, column 1)"),
        ("a: é\r\nb: é\x07", "is no YAML text: it holds the character U+0007 (line 2, column 5)"),
    ],
)
def test_a_file_that_is_no_yaml_is_refused_with_the_place(tmp_path: Path, text: str, words: str) -> None:
    assert words in _damage_of(tmp_path, text).message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{\n "a": x}', "is no JSON: unexpected character (line 2, column 7)"),
        ('{"é": x}', "is no JSON: unexpected character (line 1, column 7)"),
        ('{"max_headers": 9', "is no JSON: unexpected end of input (line 1, column 18)"),
        ('{"a": "\t"}', "is no JSON: control character in a string (line 1, column 8)"),
        (r'{"a": "\x"}', "is no JSON: invalid escape (line 1, column 8)"),
        ("[" * 100_000, "is nested deeper than 32 levels"),
        ("[" * 33 + "]" * 33, "is nested deeper than 32 levels"),
        ("[" * 1_500 + "]" * 1_500, "is nested deeper than 32 levels"),
        ("[" * 32 + "]" * 32, "is not a mapping of settings"),
        ('{"read_timeout_seconds": 1e999}', "holds a number that is out of range"),
        (r'{"region": "\ud800"}', r"holds one half of a pair of \u escapes"),
    ],
)
def test_a_file_that_is_no_json_is_refused_with_the_place(tmp_path: Path, text: str, words: str) -> None:
    assert words in problem_of(tmp_path, text, "gateway.json").message


def _damage_of(folder: Path, text: str) -> Problem:
    """The problem of the text, not of a key in the rest of it."""
    (damage,) = [problem for problem in problems_of(folder, text) if not problem.key]
    return damage


def test_a_file_that_is_no_utf_8_is_refused(tmp_path: Path) -> None:
    for name in ("gateway.yaml", "gateway.json"):
        path = tmp_path / name
        path.write_bytes(b'{"region": "\xff"}')
        with pytest.raises(SettingsError, match="UTF-8"):
            load(path)


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.dates()
    | st.datetimes()
    | st.binary(max_size=4)
)

NAMES = st.sampled_from(["listen", "backend", "url", "accounts", "default", "functions", "quotas", "tls", "f"])

SHAPES = st.recursive(
    LEAVES,
    lambda below: (
        st.lists(below, max_size=3)
        | st.dictionaries(NAMES | st.text(max_size=3) | st.integers() | st.none() | st.booleans(), below, max_size=4)
    ),
    max_leaves=12,
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(NAMES, SHAPES, max_size=4))
def test_whatever_yaml_can_say_ends_in_settings_or_in_problems(tmp_path: Path, values: dict[str, Any]) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump(values, allow_unicode=True), encoding="utf-8", errors="replace")
    _settle(path)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=40), st.sampled_from(["yaml", "json"]))
def test_whatever_bytes_a_file_holds_end_in_settings_or_in_problems(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"gateway.{suffix}"
    path.write_bytes(data)
    _settle(path)


def _settle(path: Path) -> None:
    for problem in _problems(path):
        assert problem.source == str(path)
        assert "pydantic" not in str(problem)


def _problems(config: Path | None, **overrides: Override) -> tuple[Problem, ...]:
    """The problems of what may also be right."""
    try:
        load(config, overrides)
    except SettingsError as error:
        return error.problems
    return ()
