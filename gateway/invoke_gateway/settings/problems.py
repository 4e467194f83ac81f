"""Describes mistakes in the settings in plain words: the key, its source, the problem, the cure."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from invoke_gateway.settings.descriptions import INVALID_VALUE
from invoke_gateway.settings.paths import KeyPlace, all_paths, find_place, join_key, split_key
from invoke_gateway.settings.renamed import renamed_key, renamed_value

if TYPE_CHECKING:
    from invoke_gateway.settings.merge import Merged

UNKNOWN_KEY = frozenset({"extra_forbidden", "unexpected_keyword_argument", "invalid_key"})
NOT_IN_VALUES = UNKNOWN_KEY | {"missing", INVALID_VALUE}  # may concern a key that was not given
LONGEST_SHOWN = 60  # characters of a wrong value that a message repeats
MOST_EXPLAINED = 1000  # a generated file may hold the same mistake a million times
MOST_SHOWN = 50  # problems that a message lists; a generated file shows its pattern in these


@dataclass(frozen=True, slots=True)
class Problem:
    """Describes one mistake.

    key: the dotted key; empty for a whole source
    source: a file, a flag or a variable
    """

    key: str
    source: str
    message: str
    cure: str = ""

    def __str__(self) -> str:
        cure = f" ({self.cure})" if self.cure else ""
        return (
            f"{self.source}: {self.key}: {self.message}{cure}" if self.key else f"{self.source}: {self.message}{cure}"
        )


class Finding(NamedTuple):
    """Describes one mistake that the values alone do not show, by its dotted key; `load` adds where the key was set."""

    key: str
    message: str
    cure: str


class SettingsError(Exception):
    """Reports unusable settings: `problems` lists every mistake; `str()` gives them one a line."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(self.problems)

    def __str__(self) -> str:
        more = len(self.problems) - MOST_SHOWN
        lines = [str(problem) for problem in self.problems[:MOST_SHOWN]]
        return "\n".join([*lines, f"... and {more} more"] if more > 0 else lines)


def explain(error: ValidationError, model: type, merged: "Merged") -> list[Problem]:
    """Returns one problem for each key that the models refused; beyond `MOST_EXPLAINED`, one for all further keys."""
    items = error.errors(include_url=False)
    problems: dict[str, Problem] = {}
    for item in items[:MOST_EXPLAINED]:
        problem = _explain_one(item, model, merged)
        problems.setdefault(problem.key, problem)  # a value that fits no member of a union is reported per member
    if (more := len(items) - MOST_EXPLAINED) > 0:
        problems[""] = Problem("", merged.source_of(()), f"has {more} more mistakes", "correct these first")
    return list(problems.values())


def _explain_one(item: ErrorDetails, model: type, merged: "Merged") -> Problem:
    path = _path_of(item, merged.values)
    source = merged.source_of(path)
    if item["type"] == INVALID_VALUE:
        context = item["ctx"]
        below = (*path, *split_key(context["at"]))
        return Problem(join_key(below), merged.source_of(below), context["message"], context["cure"])
    if item["type"] in UNKNOWN_KEY:
        return Problem(join_key(path), source, "is not a setting", did_you_mean(path, model))
    if item["loc"][-1:] == ("[key]",):
        table = find_place(model, path[:-1])
        return replace(_explain_name(path[-1], table), key=join_key(path), source=source)
    place = find_place(model, path)
    if item["type"] == "missing":
        return Problem(join_key(path), source, "is missing", _expected(place))
    message = f"must be {place.description.expected if place else 'something else'}; it is {show(item['input'])}"
    if (renamed := renamed_value(path, item["input"])) is not None:
        return Problem(join_key(path), source, message, f"it was renamed: use {renamed}")
    return Problem(join_key(path), source, message, _cure(item["input"], place, is_file=merged.is_from_file(path)))


def _path_of(item: ErrorDetails, values: Any) -> tuple[object, ...]:
    """Returns the location of the error within the settings: below, pydantic names the members of a union."""
    path: list[object] = []
    for part in item["loc"]:
        if isinstance(values, dict) and part in values:
            # YAML reads the name `on` as true, which pydantic gives as 1.
            path.append(next(name for name in values if name == part) if isinstance(part, int) else part)
            values = values[part]
        elif item["type"] in NOT_IN_VALUES and part != "[key]":
            path.append(part)
        else:
            break
    return tuple(path)


def _explain_name(name: object, table: KeyPlace | None) -> Problem:
    if isinstance(name, int) and not isinstance(name, bool):
        return Problem("", "", "is a number here, not a name", f'put it in quotes: "{name}"')
    if not isinstance(name, str):
        return Problem("", "", f"is {show(name)} here, not a name", "put the name in quotes")
    words = KeyPlace(table.table[0]).description if table is not None and table.table is not None else None
    if words is None:
        return Problem("", "", "is no name")
    return Problem("", "", f"must be {words.expected}", words.cure)


def did_you_mean(path: tuple[object, ...], model: type) -> str:
    """Returns the most likely meaning of an unknown key: its new name, a neighbour, or the same key elsewhere."""
    if (renamed := renamed_key(path)) is not None:
        return f"it was renamed: use {renamed}"
    name = str(path[-1])
    place = find_place(model, path[:-1])
    neighbours = list(place.fields or ()) if place is not None else []
    if elsewhere := [join_key(known) for known in all_paths(model) if known[-1] == name]:
        return f"did you mean {' or '.join(elsewhere[:2])}?"
    if close := difflib.get_close_matches(name.replace("-", "_").lower(), neighbours, n=1):
        return f"did you mean {close[0]}?"
    return f"the keys here are {', '.join(neighbours)}" if neighbours else "remove it"


def show(value: object) -> str:
    """Returns a wrong value as a message repeats it."""
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if isinstance(value, date):
        return f"the date {value}"
    if isinstance(value, int) and abs(value) > 10**LONGEST_SHOWN:
        return "far too large a number"  # printing it may itself be refused
    text = repr(value) if isinstance(value, str) else str(value)
    shortened = text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
    return f"the text {shortened}" if isinstance(value, str) else shortened


def _cure(value: object, place: KeyPlace | None, *, is_file: bool) -> str:
    if place is None:
        return ""
    if value is None and place.fields is not None:
        return "write {} for its defaults"
    if is_file and isinstance(value, str) and "number" in place.description.expected and _is_number(value):
        return f"write {value.strip()} without quotes" if value.strip().isdecimal() else "write a plain number"
    return place.description.cure or _expected(place)


def _expected(place: KeyPlace | None) -> str:
    if place is None or place.field is None or place.field.is_required():
        return f"give {place.description.expected}" if place is not None else ""
    default = place.field.get_default(call_default_factory=False)
    if default in (None, ()) or isinstance(default, dict) or place.fields is not None or place.table is not None:
        return "correct it, or leave the key out"
    shown = list(default) if isinstance(default, tuple) else default
    if isinstance(default, bool):
        shown = str(default).lower()
    return f"leave the key out for the default, {shown}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
