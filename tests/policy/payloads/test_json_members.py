"""Single members of an object, also of one that a parser refuses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.policy.payloads.json_members import find_string, read_members, read_string

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@given(st.dictionaries(st.text(max_size=5), VALUES), st.sampled_from([None, 2]), st.booleans())
def test_every_object_has_the_members_that_a_parser_finds(
    members: dict[str, object], indent: int | None, is_ascii: bool
) -> None:
    body = json.dumps(members, indent=indent, ensure_ascii=is_ascii).encode()
    read = read_members(body)
    assert read is not None
    assert {name.decode(): json.loads(value) for name, value in read.items()} == members


@given(st.text())
def test_a_string_is_read_as_a_parser_reads_it(text: str) -> None:
    assert read_string(json.dumps(text).encode()) == text


@given(st.binary(max_size=60))
def test_whatever_comes_is_read_without_an_error(body: bytes) -> None:
    members = read_members(body)
    for value in (members or {}).values():
        read_string(value)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (rb'{"m": "\ud800 bad \ud83d\ude00"}', "\ufffd bad 😀"),
        (rb'{"m": "\\ud800"}', "\\ud800"),
        (b'{"m": "caf\xe9"}', "caf\ufffd"),
        (b'{"n": NaN, "m": "x"}', "x"),
        (b'{"n": 1e999999, "d": 00, "m": "x",}', "x"),
        (b'{"m": "x", "deep": %b' % (b"[" * 200_000), "x"),
        (b'{"deep": %b, "m": "x"}' % (b"[" * 20_000 + b"]" * 20_000), "x"),
        (b'{"m": "first", "m": "last"}', "last"),
        (b'{"m": "x", "cut": "of', "x"),
        (b'{"m": "two\nlines\x00"}', "two\nlines\x00"),
        (b'{"in": {"m": "inner"}, "m": "outer"}', "outer"),
        (b'{"m": ""}', None),
        (b'{"m": 5}', None),
        (b'{"in": {"m": "inner"}}', None),
        (b'["m", "x"]', None),
        (b'"m"', None),
        (b"", None),
    ],
)
def test_a_text_is_found_in_a_damaged_object(body: bytes, text: str | None) -> None:
    assert find_string(body, (b"m",)) == text


def test_the_first_name_that_has_a_text_wins() -> None:
    assert find_string(b'{"message": "", "Message": "b", "other": "c"}', (b"message", b"Message", b"other")) == "b"
