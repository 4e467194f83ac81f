"""Checks parameters as Lambda's front end does, and writes its text: all failures of a request in one message."""

from __future__ import annotations

import re


def check_text(member: str, value: str, longest: int, pattern: str) -> list[str]:
    """Returns the constraints that a text fails: its length (characters) and its pattern."""
    problems = []
    if not value:
        problems.append(describe(value, member, "Member must have length greater than or equal to 1"))
    if len(value) > longest:
        problems.append(describe(value, member, too_long(longest)))
    if value and re.fullmatch(pattern, value, re.ASCII) is None:
        problems.append(describe(value, member, f"Member must satisfy regular expression pattern: {pattern}"))
    return problems


def check_choice(member: str, value: bytes | None, choices: tuple[str, ...]) -> list[str]:
    """Returns the constraint that a value fails which is none of the choices."""
    if value is None or value.decode("latin-1") in choices:
        return []
    text = f"Member must satisfy enum value set: [{', '.join(choices)}]"
    return [describe(value.decode("latin-1"), member, text)]


def check_range(member: str, value: int | None, least: int, most: int | None = None) -> list[str]:
    """Returns the constraint that a number fails; None passes."""
    if value is None:
        return []
    if value < least:
        return [describe(str(value), member, f"Member must have value greater than or equal to {least}")]
    if most is not None and value > most:
        return [describe(str(value), member, f"Member must have value less than or equal to {most}")]
    return []


def check_given(member: str, value: object) -> list[str]:
    """Returns the constraint that a missing member fails."""
    return [f"Value null at '{member}' failed to satisfy constraint: Member must not be null"] if value is None else []


def too_long(longest: int) -> str:
    return f"Member must have length less than or equal to {longest}"


def describe(value: str, member: str, constraint: str) -> str:
    return f"Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"


def join(problems: list[str]) -> str:
    """Returns the message of a ValidationException."""
    count = len(problems)
    return f"{count} validation error{'s' if count > 1 else ''} detected: {'; '.join(problems)}"
