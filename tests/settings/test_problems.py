"""Mistakes: each is named with its key, its source and its cure."""

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.settings import Override, Problem, SettingsError, load
from tests.settings.reading import RESERVED, problem_of, problems_of, write


def test_all_mistakes_of_file_and_flags_are_reported_together_each_with_key_source_and_cure(
    tmp_path: Path,
) -> None:
    text = """
admim: 127.0.0.1:1
watch: "yes"
accounts:
  default:
    functions:
      checkout: {reserved_concurrent_executions: "5"}
  "111122223333": {concurrent_executions: 10, functions: {a: {reserved_concurrent_executions: 11}}}
"""
    problems = problems_of(tmp_path, text, max_headers=Override("many", "--max-headers"))
    file = str(tmp_path / "gateway.yaml")
    found = {(problem.key, problem.source, problem.cure) for problem in problems}
    assert found >= {
        ("admim", file, "did you mean admin?"),
        ("watch", file, "write true"),
        (RESERVED, file, "write 5 without quotes"),
        ("max_headers", "--max-headers", "leave the key out for the default, 128"),
    }
    assert len(problems) == 5


@pytest.mark.parametrize(
    ("text", "key", "words"),
    [
        ("accounts: 5", "accounts", "must be a mapping of names to settings; it is 5"),
        ("backend: [demo]", "backend", "must be a mapping with the keys url, timeout_seconds"),
        ("max_headers: true", "max_headers", "it is true"),
        ("max_headers: 0", "max_headers", "must be a whole number from 1"),
        ("max_headers: 1.5", "max_headers", "it is 1.5"),
        ("buffer_bytes: 6MiB", "buffer_bytes", "must be a whole number of bytes, at least 1; it is the text '6MiB'"),
        ("drain_seconds: .nan", "drain_seconds", "must be a number of seconds from 0"),
        ("drain_seconds: -1", "drain_seconds", "it is -1"),
        ("read_timeout_seconds: 0", "read_timeout_seconds", "must be a number of seconds above 0"),
        ("read_timeout_seconds: 1" + "0" * 400, "read_timeout_seconds", "it is far too large a number"),
        ("read_timeout_seconds: 1" + "0" * 5000, "read_timeout_seconds", "must be a number"),
        ("region: 2001-01-01", "region", "it is the date 2001-01-01"),
        ("region: 2001-99-99", "region", "it is the text '2001-99-99'"),
        ("region: Mars", "region", "must be an AWS Region"),
        ("payload_error: both", "payload_error", "must be modelled or as_observed; it is the text 'both'"),
        ("backend: {function_path: a/b}", "backend.function_path", "must be a plain function name"),
        (
            "credentials: {AKIA: 111122223333}",
            "credentials.AKIA",
            "must be `default` or a 12-digit account id in quotes",
        ),
        ('credentials: {"a/b": "111122223333"}', "credentials.a/b", "must be an access key id"),
        (
            "tls: {certificate: /nope, key: /nope}",
            "tls.certificate",
            f"cannot read '/nope': {os.strerror(errno.ENOENT)}",
        ),
        ("listen: 9001", "listen", "must be host:port"),
    ],
)
def test_a_wrong_value_is_named_by_its_key_with_what_it_must_be_and_what_it_is(
    tmp_path: Path, text: str, key: str, words: str
) -> None:
    problem = problems_of(tmp_path, text)[0]
    assert problem.key == key
    assert words in problem.message
    assert problem.cure


@pytest.mark.parametrize(
    ("text", "cure"),
    [
        ("lisen: 1", "did you mean listen?"),
        ("read-timeout-seconds: 1", "did you mean read_timeout_seconds?"),
        (
            "concurrent_executions: 1",
            "did you mean accounts.<name>.concurrent_executions or callers.<name>.concurrent_executions?",
        ),
        ("quotas: {zzz: 1}", "the keys here are request, event_request, response, streamed_response"),
        (
            "accounts: {default: {functions: {f: {reserved_concurrent_execution: 1}}}}",
            "did you mean reserved_concurrent_executions?",
        ),
    ],
)
def test_an_unknown_key_is_refused_with_what_was_probably_meant(tmp_path: Path, text: str, cure: str) -> None:
    problem = problem_of(tmp_path, text)
    assert (problem.message, problem.cure) == ("is not a setting", cure)


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


def _problems(config: Path | None, **overrides: Override) -> tuple[Problem, ...]:
    """The problems of what may also be right."""
    try:
        load(config, overrides)
    except SettingsError as error:
        return error.problems
    return ()


@given(LEAVES)
def test_whatever_stands_where_a_number_must_is_a_number_or_a_problem(value: object) -> None:
    problems = _problems(None, max_headers=Override(value, "--max-headers"))
    is_usable = type(value) is int and 1 <= value <= 1_000_000_000
    assert [problem.source for problem in problems] == ([] if is_usable else ["--max-headers"])


def test_the_same_mistake_many_times_is_listed_up_to_a_bound(tmp_path: Path) -> None:
    functions = {f"f{number}": {"reserved_concurrent_executions": -1} for number in range(1500)}
    text = json.dumps({"accounts": {"default": {"functions": functions}}})
    with pytest.raises(SettingsError) as raised:
        load(write(tmp_path, text, "gateway.json"))
    assert raised.value.problems[-1].message == "has 500 more mistakes"
    assert str(raised.value).endswith("... and 951 more")
