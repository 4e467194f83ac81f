"""Matches texts against patterns with `*` and `?`, in which policy variables stand for facts about the caller.

A pattern is compiled once. Each part between two asterisks is an atomic group, because the first place where it fits is
as good as any later one: so no pattern takes more than linear time per asterisk. A pattern with variables is compiled
again for each caller, and the last results are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from .mistakes import PolicyMistakes, advise
from .principal import Principal

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_BODY = re.compile(r"\s*([A-Za-z0-9:._-]+)\s*(?:,\s*'([^']*)'\s*)?")
_ARN_COLONS = 5  # in front of the part of an ARN that names the resource
_KEPT = 1024

Matches = Callable[[str, Principal], bool]

_READERS: dict[str, tuple[str, Callable[[Principal], str | None]]] = {
    "aws:username": ("aws:username", lambda principal: principal.user_name),
    "aws:principalaccount": ("aws:PrincipalAccount", lambda principal: principal.account),
    "aws:principalarn": ("aws:PrincipalArn", lambda principal: principal.principal_arn),
    "aws:principaltype": ("aws:PrincipalType", lambda principal: principal.kind),
}
VARIABLES = tuple(name for name, _ in _READERS.values())
"""Lists the keys that may be policy variables: facts that are the same for all requests of a caller."""


class _Part(NamedTuple):
    """Holds one part of a pattern.

    text: characters; of a variable, its default
    is_literal: `*` and `?` in the text are characters like others
    key: the key of a variable, in lower case
    """

    text: str | None
    is_literal: bool = False
    key: str | None = None


class TextPattern:
    """Holds the text of a pattern, with its variables found."""

    __slots__ = ("_parts", "has_variables", "text")

    def __init__(self, text: str, parts: tuple[_Part, ...]) -> None:
        self.text = text
        self._parts = parts
        self.has_variables = any(part.key is not None for part in parts)

    def fill(self, principal: Principal | None) -> tuple[_Part, ...] | None:
        """Returns the parts with the caller's facts; None where the caller has not got one that has no default."""
        if not self.has_variables or principal is None:
            return self._parts
        filled = []
        for part in self._parts:
            if part.key is None:
                filled.append(part)
                continue
            value = _READERS[part.key][1](principal)
            if value is None:
                value = part.text
            if value is None:
                return None
            filled.append(_Part(value, is_literal=True))
        return tuple(filled)


def read_pattern(text: str, where: str, mistakes: PolicyMistakes, *, version: str) -> TextPattern:
    """Reads a pattern. Policies of version 2008-10-17 have no variables, so one in them is a mistake."""
    parts = []
    end = 0
    for found in _VARIABLE.finditer(text):
        if found.start() > end:
            parts.append(_Part(text[end : found.start()]))
        end = found.end()
        parts.append(_read_variable(found[1], where, mistakes, version))
    if "${" in text[end:]:
        mistakes.note(where, f"{text!r} has a variable that does not end", "Add the closing brace.")
    parts.append(_Part(text[end:]))
    return TextPattern(text, tuple(parts))


def _read_variable(body: str, where: str, mistakes: PolicyMistakes, version: str) -> _Part:
    if version != "2012-10-17":
        problem = f"${{{body}}} is no variable in a policy of version {version}"
        mistakes.note(where, problem, 'Set Version to "2012-10-17".')
    elif body in ("*", "?", "$"):
        return _Part(body, is_literal=True)
    else:
        found = _BODY.fullmatch(body)
        if found is not None and found[1].lower() in _READERS:
            return _Part(found[2], key=found[1].lower())
        cure = advise(found[1] if found else body, VARIABLES, f"Supported are {', '.join(VARIABLES)}.")
        mistakes.note(where, f"${{{body}}} is no variable that the gateway can fill", cure)
    return _Part("", is_literal=True)


def match_glob(pattern: TextPattern, *, ignore_case: bool = False) -> Matches:
    """Returns the test of a text against a pattern, in which `*` stands for any characters, also colons."""
    return _make_test(pattern, lambda parts: _compile(parts, ignore_case=ignore_case))


def match_arn(pattern: TextPattern) -> Matches:
    """Returns the test of an ARN. In front of its last part, `*` and `?` do not match a colon."""
    return _make_test(pattern, lambda parts: _compile(parts, is_arn=True))


def match_text(pattern: TextPattern, *, ignore_case: bool = False) -> Matches:
    """Returns the test of a text that must be the same, without wildcards."""

    def compare(parts: tuple[_Part, ...]) -> Callable[[str], bool]:
        wanted = "".join(part.text or "" for part in parts)
        if not ignore_case:
            return wanted.__eq__
        folded = wanted.casefold()
        return lambda text: text.casefold() == folded

    return _make_test(pattern, compare)


def _make_test(pattern: TextPattern, make: Callable[[tuple[_Part, ...]], Callable[[str], object]]) -> Matches:
    if not pattern.has_variables:
        parts = pattern.fill(None)
        assert parts is not None
        test = make(parts)
        return lambda text, _: bool(test(text))

    @lru_cache(_KEPT)
    def find_test(principal: Principal) -> Callable[[str], object] | None:
        filled = pattern.fill(principal)
        return None if filled is None else make(filled)

    def matches(text: str, principal: Principal) -> bool:
        test = find_test(principal)
        return test is not None and bool(test(text))

    return matches


def _compile(
    parts: tuple[_Part, ...], *, is_arn: bool = False, ignore_case: bool = False
) -> Callable[[str], re.Match[str] | None]:
    groups = [""]  # what stands between the asterisks
    gaps = []
    colons = 0
    for part in parts:
        for character in part.text or "":
            inside = "[^:]" if is_arn and colons < _ARN_COLONS else "."
            if character == "*" and not part.is_literal:
                groups.append("")
                gaps.append(inside)
            elif character == "?" and not part.is_literal:
                groups[-1] += inside
            else:
                colons += character == ":"
                groups[-1] += re.escape(character)
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    if not gaps:
        return re.compile(groups[0], flags).fullmatch
    middle = "".join(f"(?>{gap}*?{group})" for gap, group in zip(gaps[:-1], groups[1:-1], strict=True))
    return re.compile(f"{groups[0]}{middle}{gaps[-1]}*{groups[-1]}", flags).fullmatch
