"""Assert what patterns match, and that no pattern takes long."""

from __future__ import annotations

import fnmatch
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from invoke_gateway.policy.permissions.mistakes import PolicyMistakes
from invoke_gateway.policy.permissions.patterns import Matches, match_arn, match_glob, match_text, read_pattern
from invoke_gateway.policy.permissions.principal import Principal, parse_principal

ALICE = parse_principal("arn:aws:iam::111122223333:user/team/alice")
assert ALICE is not None


def glob(text: str) -> Matches:
    mistakes = PolicyMistakes()
    pattern = read_pattern(text, "", mistakes, version="2012-10-17")
    assert not mistakes
    return match_glob(pattern)


@given(st.text("ab*?:", max_size=12), st.text("ab:", max_size=12))
def test_a_glob_matches_as_the_standard_library_has_it(pattern: str, text: str) -> None:
    assert ALICE is not None
    expected = re.fullmatch(fnmatch.translate(pattern), text) is not None
    assert glob(pattern)(text, ALICE) is expected


@given(
    st.lists(st.text("ab*?", max_size=3), min_size=6, max_size=6),
    st.lists(st.text("ab", max_size=3), min_size=6, max_size=7),
)
def test_an_arn_matches_part_by_part(pattern: list[str], text: list[str]) -> None:
    """The last part has the rest, also its colons."""
    assert ALICE is not None
    parts = [*text[:5], ":".join(text[5:])]
    expected = all(
        re.fullmatch(fnmatch.translate(one), part) is not None for one, part in zip(pattern, parts, strict=True)
    )
    read = read_pattern(":".join(pattern), "", PolicyMistakes(), version="2012-10-17")
    assert match_arn(read)(":".join(text), ALICE) is expected


def test_a_pattern_of_many_asterisks_takes_no_longer_than_others() -> None:
    assert ALICE is not None
    assert not glob("a*" * 60 + "b")("a" * 20_000, ALICE)


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("f-${aws:username}", "f-alice", True),
        ("f-${aws:username}", "f-${aws:username}", False),
        ("f-${ AWS:UserName , 'x' }-*", "f-alice-1", True),
        ("${aws:PrincipalAccount}", "111122223333", True),
        ("${aws:PrincipalArn}", "arn:aws:iam::111122223333:user/team/alice", True),
        ("${aws:PrincipalType}", "User", True),
        ("a${*}b${?}c${$}", "a*b?c$", True),
        ("a${*}b", "axb", False),
    ],
)
def test_variables_stand_for_facts_of_the_caller(pattern: str, text: str, matches: bool) -> None:
    assert ALICE is not None
    assert glob(pattern)(text, ALICE) is matches


def test_a_variable_that_the_caller_lacks_matches_nothing_without_a_default() -> None:
    session = parse_principal("arn:aws:sts::111122223333:assumed-role/Deploy/1")
    assert session is not None
    assert not glob("${aws:username}*")("x", session)
    assert glob("${aws:username, 'nobody'}")("nobody", session)


def test_the_value_of_a_variable_has_no_wildcards() -> None:
    starred = Principal("arn", "1", "User", "arn", user_name="*")
    assert not glob("${aws:username}")("x", starred)


def test_a_text_is_compared_whole_with_or_without_letter_case() -> None:
    assert ALICE is not None
    pattern = read_pattern("A*", "", PolicyMistakes(), version="2012-10-17")
    assert match_text(pattern)("A*", ALICE)
    assert not match_text(pattern)("Ab", ALICE)
    assert match_text(pattern, ignore_case=True)("a*", ALICE)
