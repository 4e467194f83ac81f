"""Explains why a text cannot be read as settings."""

import codecs
import re
from typing import NamedTuple

from invoke_gateway.settings.paths import join_key
from invoke_gateway.settings.problems import Problem

BYTE_ORDER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
DEEPEST = 32  # levels of nesting; the settings have six
LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
# YAML 1.1, 5.1. (The set of all others would take `re` ten times as long to compile, at each start.)
NOT_IN_YAML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]")


class Position(NamedTuple):
    """Names a place in a text: line and column in characters, both from 1."""

    line: int
    column: int

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}"


def find_position(text: str) -> Position:
    """Returns the position behind `text`."""
    lines = LINE_BREAK.split(text)
    return Position(len(lines), len(lines[-1]) + 1)


class NotReadable(Exception):
    """Reports a text that cannot be read as a settings file."""

    def __init__(self, message: str, cure: str, position: Position | None = None) -> None:
        super().__init__(message)
        line, column = position or (None, None)
        self.problem = Problem(key="", source="", message=message, cure=cure, line=line, column=column)


def find_utf_16(data: bytes) -> str | None:
    """Returns the coding of a text that is UTF-16, with a byte order mark or without one; None for any other."""
    if data.startswith(BYTE_ORDER_MARKS):
        return "utf-16"
    if len(data) % 2 or len(data) < 4:
        return None
    return {(False, True): "utf-16-le", (True, False): "utf-16-be"}.get((data[0] == 0, data[1] == 0))


def explain_characters(data: bytes) -> NotReadable:
    """Returns the problem of a text that cannot be read because of its characters."""
    if find_utf_16(data) is not None:
        return NotReadable("is UTF-16 text", "save it as UTF-8", Position(1, 1))
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        position = find_position(data[: error.start].decode())
        return NotReadable(f"is not UTF-8 text: byte {error.start + 1}", "save it as UTF-8", position)
    found = NOT_IN_YAML.search(text)
    if found is None:
        return NotReadable("is no YAML text", "save it as plain UTF-8 text")
    position = find_position(text[: found.start()])
    words = f"is no YAML text: it holds the character U+{ord(found[0]):04X} ({position})"
    return NotReadable(words, "remove it", position)


def given_twice(path: tuple[object, ...], position: Position | None = None) -> Problem:
    """Returns the problem of a key that a mapping has twice; `position`: that of the second one."""
    if position is None:
        return Problem(join_key(path), "", "is given twice", "keep one of the two")
    message = f"is given twice, the second time on line {position.line}"
    return Problem(join_key(path), "", message, "keep one of the two", position.line, position.column)


def too_deep() -> NotReadable:
    return NotReadable(
        f"is nested deeper than {DEEPEST} levels",
        "write it with fewer levels: settings have six at most, fault scripts three",
    )
