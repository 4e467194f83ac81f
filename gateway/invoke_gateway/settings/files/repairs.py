"""Repairs a settings file that cannot be read, so that the mistakes in the rest of it are found in the same pass.

A repair never makes a file valid: the error stays a mistake. Each repair keeps lines and columns, or notes their shift.
"""

import codecs
import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import NamedTuple

from invoke_gateway.settings.files.parse_errors import BYTE_ORDER_MARKS, LINE_BREAK, NOT_IN_YAML, Position, find_utf_16

MOST_REPAIRS = 20  # of one file; each is one more reading
_TAB_WIDTHS = (2, 4, 8, 1)  # spaces
_TABS = re.compile(r"^[ ]*\t[ \t]*", re.MULTILINE)
_SPACES = re.compile(r"^ +(?=[^\s#])", re.MULTILINE)
_MOST_QUOTES = 5  # lines that are tried
_LONGEST_MEMBER = 1000  # characters before an error
_MEMBER = re.compile(r'"(?:[^"\\]|\\.)*"\s*:\s*[^\s,{}\[\]"]*$')  # of JSON, up to the error in its value
_WORD = re.compile(r'[^\s,{}\[\]"]*')
_COMMENT = re.compile(r"//[^\r\n]*|/\*.*?\*/", re.DOTALL)


class Repaired(NamedTuple):
    """Holds a repaired text.

    is_complete: nothing was left out
    shifts: columns that the text of a line has moved to the right, by line
    """

    data: bytes
    is_complete: bool = True
    shifts: Mapping[int, int] = {}


def list_repairs(data: bytes, position: Position | None, *, is_json: bool) -> Iterator[Repaired]:
    """Yields repaired texts, the likeliest first. Each has to be read before it is known whether it is one.

    position: the place of the error
    """
    coding = find_utf_16(data)
    text = data.decode(coding or "utf-8", errors="replace")
    if text.encode() != data and (coding is None or not data.startswith(BYTE_ORDER_MARKS)):
        yield Repaired(text.encode())
        return
    if is_json and data.startswith((codecs.BOM_UTF8, *BYTE_ORDER_MARKS)):
        yield Repaired(text.lstrip("\ufeff").encode())
    if position is None:
        return
    at = _find_offset(text, position, is_json=is_json)
    if is_json:
        yield from _repair_json(text, at)
    elif NOT_IN_YAML.match(text, at):
        yield Repaired(f"{text[:at]} {text[at + 1 :]}".encode())
    else:
        yield from _expand_tabs(text)
        yield from _leave_out_line(text, position.line)
        if not text[at:].strip():
            yield from _leave_out_open_quote(text)


def _find_offset(text: str, position: Position, *, is_json: bool) -> int:
    start = 0
    for number, line_break in enumerate(re.finditer("\n" if is_json else LINE_BREAK, text), 2):
        if number > position.line:
            break
        start = line_break.end()
    return start + position.column - 1


def _repair_json(text: str, at: int) -> Iterator[Repaired]:
    if (comment := _COMMENT.match(text, at)) is not None:
        blank = re.sub(r"[^\r\n]", " ", comment[0])
        yield Repaired(f"{text[:at]}{blank}{text[comment.end() :]}".encode())
    before = text[:at].rstrip()
    if text[at : at + 1] in ("}", "]") and before.endswith(","):
        yield Repaired(f"{before[:-1]} {text[len(before) :]}".encode())
    if text[at : at + 1] == '"' and len(before) < at and before[-1:] not in ("{", "[", ",", ":"):
        yield Repaired(f"{text[: at - 1]},{text[at:]}".encode())
    if (member := _MEMBER.search(text, max(0, at - _LONGEST_MEMBER), at)) is not None:
        yield from _leave_out_member(text, member.start(), _WORD.match(text, at).end())  # type: ignore[union-attr]  # or ""
    if not text[at:].strip() and (missing := _find_open_brackets(text)):
        yield Repaired(f"{before.removesuffix(',')}{missing}".encode(), is_complete=False)


def _leave_out_member(text: str, start: int, end: int) -> Iterator[Repaired]:
    """Yields the JSON text without a member whose value is none, and without the comma beside it. All else stays in its
    place."""
    comma = re.compile(r"\s*,").match(text, end)
    if comma is not None:
        end = comma.end()
    elif (before := text[:start].rstrip()).endswith(","):
        start = len(before) - 1
    blank = re.sub(r"[^\r\n]", " ", text[start:end])
    yield Repaired(f"{text[:start]}{blank}{text[end:]}".encode(), is_complete=False)


def _find_open_brackets(text: str) -> str:
    """Returns the brackets that close what is open at the end of a JSON text."""
    missing: list[str] = []
    for mark in re.findall(r"[{}\[\]]", re.sub(r'"(?:[^"\\]|\\.)*"', "", text)):
        if mark in "{[":
            missing.append("}" if mark == "{" else "]")
        elif missing and missing[-1] == mark:
            missing.pop()
    return "".join(reversed(missing))


def _expand(width: int, tabs: re.Match[str]) -> str:
    return tabs[0].replace("\t", " " * width)


def _expand_tabs(text: str) -> Iterator[Repaired]:
    """Yields the text with the tabs of its indentation as spaces."""
    if _TABS.search(text) is None:
        return
    # A tab most likely stands for one level of the lines that are indented with spaces.
    levels = [len(found[0]) for found in _SPACES.finditer(text)]
    for width in dict.fromkeys([min(levels, default=_TAB_WIDTHS[0]), *_TAB_WIDTHS]):
        shifts = {
            text.count("\n", 0, found.start()) + 1: found[0].count("\t") * (width - 1) for found in _TABS.finditer(text)
        }
        expanded = _TABS.sub(partial(_expand, width), text)
        yield Repaired(expanded.encode(), shifts=shifts)


def _leave_out_line(text: str, line: int) -> Iterator[Repaired]:
    """Yields the text without the line of the error, and without the line before it. A line with others below it that
    belong to it is kept, because they would belong to another."""
    lines = text.splitlines(keepends=True)
    for number in (line, line - 1):
        if not 1 <= number <= len(lines) or not lines[number - 1].strip():
            continue
        following = next((each for each in lines[number:] if each.strip()), "")
        if _indent(following) <= _indent(lines[number - 1]):
            yield Repaired("".join([*lines[: number - 1], "\n", *lines[number:]]).encode(), is_complete=False)


def _leave_out_open_quote(text: str) -> Iterator[Repaired]:
    """Yields the text without a line whose quote may be the one that is not closed, the last one first."""
    lines = text.splitlines(keepends=True)
    odd = [number for number, line in enumerate(lines) if line.count('"') % 2 or line.count("'") % 2]
    for number in odd[: -_MOST_QUOTES - 1 : -1]:
        yield Repaired("".join([*lines[:number], "\n", *lines[number + 1 :]]).encode(), is_complete=False)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())
