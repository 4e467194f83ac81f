"""YAML gives the same values, and the same problems, whichever release of the library and whichever parser reads it.

Expected values are written out, each with its rule's source. Of a parser's own words only the place is expected.
"""

from __future__ import annotations

import datetime
import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.settings.files import yaml_text
from invoke_gateway.settings.files.file import read_text, read_value
from invoke_gateway.settings.files.yaml_text import MOST_REPEATED
from invoke_gateway.settings.problems import Problem

PARSERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if hasattr(yaml, "CSafeLoader") else [])]


@pytest.fixture(params=PARSERS, ids=lambda parser: parser.__name__, autouse=True)
def _parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yaml_text, "PARSER", request.param)


def value_of(text: str) -> Any:
    value, problems = read_value(text.encode())
    assert problems == []
    return value


def problem_of(text: str) -> Problem:
    _, problems = read_value(text.encode())
    (problem,) = problems
    return problem


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # https://yaml.org/type/str.html, int.html, float.html, bool.html, null.html, timestamp.html
        ("[a, \"5\", '5', !!str 5, 1e3]", ["a", "5", "5", "5", "1e3"]),
        ('[5, -5, 0x1F, 1_000, 1.5, .inf, !!int "7"]', [5, -5, 31, 1000, 1.5, float("inf"), 7]),
        ('[yes, off, "off", ~, null, ""]', [True, False, "off", None, None, ""]),
        ("2001-01-01", datetime.date(2001, 1, 1)),
        # YAML 1.1, 9.3 and 10
        ("a: |\n  two\n  lines\n", {"a": "two\nlines\n"}),
        ("a: >-\n  one\n  line\n", {"a": "one line"}),
        ("a: {b: [{c: d}, {e: [f]}]}", {"a": {"b": [{"c": "d"}, {"e": ["f"]}]}}),
        ("- a\n- - b\n  - c\n", ["a", ["b", "c"]]),
        ("\ufeffé: 😀", {"é": "😀"}),
        ("# nothing\n", None),
        # YAML 1.1, 3.2.2.2: an alias stands for the node that had its anchor last
        ("a: &x 1\nb: *x\nc: &x 2\nd: *x\n", {"a": 1, "b": 1, "c": 2, "d": 2}),
    ],
)
def test_values_are_those_of_yaml_1_1(text: str, value: object) -> None:
    assert value_of(text) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("<<: {a: 1, b: 1}\nb: 2\n", {"a": 1, "b": 2}),
        ("b: 2\n<<: {a: 1, b: 1}\n", {"a": 1, "b": 2}),
        ("<<: [{a: 1, b: 1}, {a: 2, c: 2}]", {"a": 1, "b": 1, "c": 2}),
        ("<<: [{a: 1}, {a: 2}, {a: 3, b: 3}]", {"a": 1, "b": 3}),
        ("x: &x {a: 1}\ny: &y {<<: *x, b: 2}\nz: {<<: [*y, {a: 5, b: 5, c: 5}]}\n", "z={'a': 1, 'b': 2, 'c': 5}"),
        ('"<<": {a: 1}', {"<<": {"a": 1}}),
        ("<<: []", {}),
    ],
)
def test_of_merged_mappings_the_earlier_wins_and_the_keys_beside_them_win_over_all(text: str, value: object) -> None:
    """https://yaml.org/type/merge.html: "Keys in mapping nodes earlier in the sequence override keys specified in later
    mapping nodes"; PyYAML 6.0.4 has it the other way round (yaml/pyyaml#953)."""
    found = value_of(text)
    assert (f"z={found['z']}" if "z" in found else found) == value


@pytest.mark.parametrize(
    "text",
    [
        "[" * 33 + "]" * 33,
        "{a: " * 33 + "1" + "}" * 33,
        "a: " + "[" * 32 + "]" * 32,
        "[" * 100,
        "a: " + "[" * 5_000,
        "a: " + "[" * 5_000 + "]" * 5_000,
        "{a: " * 1_500,
        "a: [1, {b: " + "[" * 1_100,
        "a: é😀\nb: " + "[" * 1_100,
        "\ufeffa: " + "[" * 1_100,
        "a: 1\r\nb: " + "[" * 1_100,
        "a: [[[[\n" + "[" * 1_100,
        "- " * 33 + "a",
        "- " * 200 + "a",
        "\n".join(" " * level + "a:" for level in range(100)),
        "a: &a " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 20 + "*a" + "]" * 20,
        "a0: &a0 [1]\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 500)),
    ],
)
def test_what_is_nested_too_deeply_is_said_to_be_in_our_words_before_a_parser_gives_up(text: str) -> None:
    """libyaml 0.2.6 stops at 1,000 brackets, before it has reported the first of them."""
    problem = problem_of(text)
    assert problem.message == "is nested deeper than 32 levels"
    assert problem.cure.startswith("write it with fewer levels")


@pytest.mark.parametrize("text", ["{" * 1_500, "? " * 33 + "a"])
def test_what_is_nested_in_names_is_refused_for_its_depth_or_for_its_names(text: str) -> None:
    assert problem_of(text).message in ("is nested deeper than 32 levels", "has a key on line 1 that is no plain name")


@pytest.mark.parametrize(
    "text",
    [
        "[" * 32 + "]" * 32,
        "a: " + "[" * 31 + "]" * 31,
        "- " * 32 + "a",
        "a: &a " + "[" * 20 + "]" * 20 + "\nb: " + "[" * 11 + "*a" + "]" * 11,
        "a: '" + "[" * 5_000 + "'",
        "a: x" + "[" * 900,
        "a: 1 # " + "[" * 5_000,
        "a: |\n  " + "[" * 5_000,
        "[" + "[]," * 5_000 + "]",
    ],
)
def test_what_only_looks_deep_is_read(text: str) -> None:
    value_of(text)


@pytest.mark.parametrize(
    ("text", "place", "cure"),
    [
        ("listen: [::1]:9001", "(line 1, column 10)", "put a value that begins with [ in quotes"),
        ("a: 1\nlisten: [::1]:9001\nb: 1\n", "(line 2, column 10)", "put a value that begins with [ in quotes"),
        ("é: 1\r\nlisten: [::1]:9001\r\n", "(line 2, column 10)", "put a value that begins with [ in quotes"),
        ("a:\n\tb: 1", "(line 2, column 1)", "indent with spaces"),
        ("a: b\n\tc: 1", "(line 2, column 1)", "indent with spaces"),
        ("a: @x", "(line 1, column 4)", "correct the line there or the one before it"),
        ("a: b: c", "(line 1, column 5)", "correct the line there or the one before it"),
        ("- a\nb: c", "(line 2, column 1)", "correct the line there or the one before it"),
        ("a: 1\nb", "(at its end)", "close what is open: a quote, a bracket, a key"),
        ("a: [1, 2", "(at its end)", "close what is open: a quote, a bracket, a key"),
        ("a: 'x\n\n", "(at its end)", "close what is open: a quote, a bracket, a key"),
        # Errors of other kinds among brackets are not taken for depth.
        ("a: x" + "[" * 40 + ": b: c", "(line 1, column 45)", "correct the line there or the one before it"),
        ("a: '" + "[" * 40, "(at its end)", "close what is open: a quote, a bracket, a key"),
        ("a: " + "[" * 20, "(at its end)", "close what is open: a quote, a bracket, a key"),
    ],
)
def test_a_text_that_is_no_yaml_is_refused_with_its_place_and_our_cure(text: str, place: str, cure: str) -> None:
    problem = problem_of(text)
    assert problem.message.startswith("is no YAML: ")
    assert problem.message.endswith(place)
    assert problem.cure == cure


def test_aliases_may_not_stand_for_more_than_a_bound() -> None:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    problem = problem_of("\n".join(lines))
    assert problem.message.startswith(f"repeats more than {MOST_REPEATED} values with its aliases, the last on line ")
    assert problem.cure == "write fewer aliases (*name) of aliases"


def test_many_functions_may_be_one_mapping() -> None:
    text = "a: &a {reserved_concurrent_executions: 1}\n" + "\n".join(f"f{number}: *a" for number in range(2_000))
    assert len(value_of(text)) == 2_001


def test_a_key_given_twice_is_named_with_its_line_by_every_parser() -> None:
    _, problems = read_text(b"a: {b: 1, c: 2,\n b: 3}\na: 4\n", "x")
    assert [(problem.key, problem.message) for problem in problems] == [
        ("a.b", "is given twice, the second time on line 2"),
        ("a", "is given twice, the second time on line 3"),
    ]


def test_the_words_of_the_parser_are_quoted_and_never_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """A release may call a thing by any name: what we make of it stays the same."""
    texts = ["listen: [::1]:9001", "a:\n\tb: 1", "a: " + "[" * 1_200, "a: [", "\x00"]
    before = [problem_of(text) for text in texts]
    parse = yaml.parse

    def parse_in_other_words(*arguments: Any, **options: Any) -> Any:
        try:
            yield from parse(*arguments, **options)
        except yaml.MarkedYAMLError as error:
            raise type(error)("tab", error.context_mark, "put [ tab exceeded", error.problem_mark) from None

    monkeypatch.setattr(yaml, "parse", parse_in_other_words)
    after = [problem_of(text) for text in texts]

    def ours(problem: Problem) -> tuple[str, str]:
        return re.sub(r"(?<=is no YAML: ).*(?= \()", "", problem.message), problem.cure

    assert [ours(problem) for problem in after] == [ours(problem) for problem in before]


@given(st.text(alphabet="[]{}:,-?&*ab'\"#\n\t |>", max_size=60))
def test_the_parsers_agree_on_what_is_too_deep_and_on_values(text: str) -> None:
    """Whichever parser reads it: the same value, or a problem from both."""
    found = []
    before = yaml_text.PARSER
    try:
        for parser in PARSERS:
            yaml_text.PARSER = parser
            found.append(read_value(text.encode()))
    finally:
        yaml_text.PARSER = before
    for value, problems in found:
        assert problems or value == found[0][0] or found[0][1]
