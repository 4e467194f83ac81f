"""Reads the settings file into plain mappings, with every mistake of its form as a Problem."""

import codecs
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from invoke_gateway.policy.payloads.json_scan import INVALID_UTF_8, scan
from invoke_gateway.settings.files.parse_errors import (
    DEEPEST,
    NotReadable,
    Position,
    explain_characters,
    given_twice,
    too_deep,
)
from invoke_gateway.settings.files.places import find_repeated_keys
from invoke_gateway.settings.files.repairs import MOST_REPAIRS, Repaired, list_repairs
from invoke_gateway.settings.files.yaml_text import YamlText
from invoke_gateway.settings.problems import Problem

_LARGE = 1_000_000  # bytes; each repair is one more reading
_MOST_REPAIRS_OF_LARGE = 3
HALF_OF_A_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")
# A key's closing quote is followed by a colon or by white space.
JSON_KEY_ENDS = (b'":', b'" ', b'"\n', b'"\r', b'"\t')


@dataclass(frozen=True, slots=True)
class SettingsText:
    """Holds the text of a settings file.

    name: the file in messages
    """

    name: str
    data: bytes
    is_json: bool = False

    def read(self) -> "Reading":
        """Returns the mapping in the text, and the mistakes in its form. What cannot be read is repaired as far as that
        is possible, so that the mistakes in the rest are found, too."""
        text, problems = Repaired(self.data), list[Problem]()
        for _ in range(MOST_REPAIRS if len(self.data) <= _LARGE else _MOST_REPAIRS_OF_LARGE):
            values, found, error = _try_text(text.data, self)
            problems += [_shift_back(problem, text) for problem in found]
            if error is None:
                break
            problems.append(_shift_back(error, text))
            better = _find_repair(text, error, self)
            if better is None:
                break
            text = better
        return Reading(values, problems, text, self.is_json)


class Reading(NamedTuple):
    """Holds what a settings file says.

    problems: the mistakes in its form
    text: the text that was read in the end
    """

    values: dict[Any, Any]
    problems: list[Problem]
    text: Repaired
    is_json: bool = False


def _try_text(data: bytes, text: SettingsText) -> tuple[dict[Any, Any], list[Problem], Problem | None]:
    """Returns the mapping in `data`, the mistakes in its form, and the error that ends the reading."""
    problems: list[Problem] = []
    try:
        values = _read(data, problems, is_json=text.is_json)
    except NotReadable as error:
        # Keys that are given twice before an error are found again behind its repair.
        return {}, [], replace(error.problem, source=text.name)
    return _expect_mapping(values, problems, text.name)


def _find_repair(text: Repaired, error: Problem, source: SettingsText) -> Repaired | None:
    """Returns the best repair: one that can be read, or else the one whose next error stands furthest down."""
    position = Position(error.line, error.column) if error.line is not None and error.column is not None else None
    furthest, best = Position(0, 0), None
    for repaired in list_repairs(text.data, position, is_json=source.is_json):
        candidate = repaired._replace(
            is_complete=text.is_complete and repaired.is_complete, shifts={**text.shifts, **repaired.shifts}
        )
        values, _, left = _try_text(candidate.data, source)
        if left is None:
            if values:
                return candidate
            continue
        reached = Position(left.line or 0, left.column or 0)
        if repaired.is_complete:
            is_better = (reached, left.message) != (position, error.message)
        elif source.is_json:  # what was left out is one member, whose end is known
            is_better = position is not None and reached > position
        else:  # just behind a line that was left out, the line itself may be what is missing
            is_better = position is not None and reached.line > position.line + 1
        if is_better and reached > furthest:
            furthest, best = reached, candidate
    return best


def _shift_back(problem: Problem, text: Repaired) -> Problem:
    if problem.line is None or problem.column is None:
        return problem
    return replace(problem, column=max(1, problem.column - text.shifts.get(problem.line, 0)))


def open_settings_file(path: Path) -> tuple[SettingsText, list[Problem]]:
    """Returns the text of a file, and the problem of one that cannot be read. The file is JSON if its name ends in
    .json, else YAML."""
    try:
        return SettingsText(str(path), path.read_bytes(), path.suffix == ".json"), []
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problem = Problem("", str(path), f"cannot be read: {reason}", "give a file that the gateway may read")
        return SettingsText(str(path), b""), [problem]


def read_text(data: bytes, source: str, *, is_json: bool = False) -> tuple[dict[Any, Any], list[Problem]]:
    """Returns the mapping in a JSON or YAML text; an empty text is an empty mapping."""
    values, problems = read_value(data, is_json=is_json)
    mapping, problems, _ = _expect_mapping(values, problems, source)
    return mapping, problems


def _expect_mapping(
    values: Any, problems: list[Problem], source: str
) -> tuple[dict[Any, Any], list[Problem], Problem | None]:
    if values is not None and not isinstance(values, dict):
        problems.append(
            Problem("", "", "is not a mapping of settings", "write key: value lines, such as region: us-east-1")
        )
    named = [replace(problem, source=source) for problem in problems]
    return values if isinstance(values, dict) else {}, named, None


def read_value(data: bytes, *, is_json: bool = False) -> tuple[Any, list[Problem]]:
    """Returns the value of a JSON or YAML text; None for an empty text, and for an unreadable one."""
    problems: list[Problem] = []
    try:
        return _read(data, problems, is_json=is_json), problems
    except NotReadable as error:
        problems.append(error.problem)
        return None, problems


def _read(data: bytes, problems: list[Problem], *, is_json: bool) -> Any:
    return _read_json(data, problems) if is_json else YamlText(data, problems).read()


def _read_json(data: bytes, problems: list[Problem]) -> Any:
    if not data.strip():
        return None
    try:
        values = msgspec.json.decode(data)
    except RecursionError:
        raise too_deep() from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _explain_json(data) from None
    # Never fewer than the keys in the text: when no more than the keys we got, none was given twice.
    if sum(map(data.count, JSON_KEY_ENDS)) > _count_keys(values):
        problems += [given_twice(path, position) for path, position in find_repeated_keys(data.decode())]
    if isinstance(values, dict):
        values.pop("$schema", None)  # for editors
    return values


def _explain_json(data: bytes) -> NotReadable:
    if data.startswith(codecs.BOM_UTF8):
        return NotReadable("begins with a byte order mark", "save it as UTF-8 without one", Position(1, 1))
    error = scan(data)
    if error is None:
        if (half := HALF_OF_A_PAIR.search(data)) is not None:
            words, cure = "holds one half of a pair of \\u escapes", "write both, or the character itself"
            return NotReadable(words, cure, _find_position(data[: half.start()]))
        return NotReadable("holds a number that is out of range", "write a smaller one")
    if error.words == INVALID_UTF_8:
        return explain_characters(data)
    position = _find_position(data[: error.at])
    return NotReadable(f"is no JSON: {error.words} ({position})", "correct the JSON there", position)


def _find_position(before: bytes) -> Position:
    lines = before.decode().split("\n")
    return Position(len(lines), len(lines[-1]) + 1)


def _count_keys(values: Any) -> int:
    """Returns the keys of all mappings, level by level. Raises `NotReadable` where there are too many levels."""
    count, level = 0, [values]
    for _ in range(DEEPEST):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                count += len(value)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
        level = below
    if any(isinstance(value, dict | list) for value in level):
        raise too_deep()
    return count
