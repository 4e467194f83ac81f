"""Describes mistakes in the settings in plain words: the key, its source, the problem, the cure."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from invoke_gateway.settings.cures import (
    Correction,
    correct_value,
    find_close,
    is_misspelt,
    is_same,
    is_valid,
    name_bound,
    show_yaml,
)
from invoke_gateway.settings.descriptions import INVALID_VALUE
from invoke_gateway.settings.paths import KeyPlace, Path, all_paths, find_place, join_key, split_key
from invoke_gateway.settings.renamed import renamed_key, renamed_value

if TYPE_CHECKING:
    from invoke_gateway.settings.merge import Merged

UNKNOWN_KEY = frozenset({"extra_forbidden", "unexpected_keyword_argument", "invalid_key"})
NOT_IN_VALUES = UNKNOWN_KEY | {"missing"}  # may concern a key that was not given
LONGEST_SHOWN = 60  # characters of a wrong value that a message repeats
MOST_EXPLAINED = 1000  # a generated file may hold the same mistake a million times
MOST_SHOWN = 50  # problems that a message lists; a generated file shows its pattern in these


@dataclass(frozen=True, slots=True)
class Problem:
    """Describes one mistake.

    key: the dotted key; empty for a whole source
    source: a file, a flag or a variable
    line, column: the place in the file, both from 1; None where the file has no such key
    is_at_key: the place is that of the key's name, not of its value
    correction: the entry that was most likely meant
    """

    key: str
    source: str
    message: str
    cure: str = ""
    line: int | None = None
    column: int | None = None
    is_at_key: bool = field(default=True, compare=False)
    correction: Correction | None = field(default=None, compare=False)

    @property
    def where(self) -> str:
        """Returns the source, with line and column where they are known: file:line:column."""
        return self.source if self.line is None else f"{self.source}:{self.line}:{self.column}"

    def __str__(self) -> str:
        cure = f" ({self.cure})" if self.cure else ""
        return f"{self.where}: {self.key}: {self.message}{cure}" if self.key else f"{self.where}: {self.message}{cure}"


class Finding(NamedTuple):
    """Describes one mistake that no single value shows, by its dotted key; `load` adds where the key was set.

    needs: the keys that it was found from; empty for the key alone
    """

    key: str
    message: str
    cure: str
    needs: tuple[Path, ...] = ()


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
    problems: dict[str, list[Problem]] = {}
    for item in items[:MOST_EXPLAINED]:
        found: dict[str, list[Problem]] = {}
        for problem in _explain_item(item, model, merged):
            found.setdefault(problem.key, []).append(problem)
        for key, explained in found.items():
            # A value that fits no member of a union is reported per member. A validator's own words say most.
            before = problems.setdefault(key, explained)
            if item["type"] == INVALID_VALUE and before[0].correction is None:
                problems[key] = explained
    if (more := len(items) - MOST_EXPLAINED) > 0:
        problems[""] = [Problem("", merged.source_of(()), f"has {more} more mistakes", "correct these first")]
    return [problem for explained in problems.values() for problem in explained]


def _explain_item(item: ErrorDetails, model: type, merged: "Merged") -> Iterator[Problem]:
    path = _path_of(item, merged.values, model)
    if item["type"] != INVALID_VALUE:
        yield _explain_one(item, path, model, merged)
        return
    for message, cure, at in item["ctx"]["mistakes"]:
        below = (*path, *at)
        yield Problem(join_key(below), merged.source_of(below), message, cure, is_at_key=False)


def _explain_one(item: ErrorDetails, path: tuple[object, ...], model: type, merged: "Merged") -> Problem:
    source = merged.source_of(path)
    if item["type"] in UNKNOWN_KEY:
        cure, correction = did_you_mean(path, item["input"], model)
        return Problem(join_key(path), source, "is not a setting", cure, correction=correction)
    if item["loc"][-1:] == ("[key]",):
        table = find_place(model, path[:-1])
        value = _value_at(merged.values, path)
        return replace(_explain_name(path, value, table), key=join_key(path), source=source)
    place = find_place(model, path)
    if item["type"] == "missing":
        return Problem(join_key(path), source, "is missing", _expected(place))
    message = f"must be {place.description.expected if place else 'something else'}; it is {show(item['input'])}"
    cure, correction = _cure(path, _value_at(merged.values, path), place, is_file=merged.is_from_file(path))
    return Problem(join_key(path), source, message, cure, is_at_key=False, correction=correction)


def _value_at(values: Any, path: tuple[object, ...]) -> Any:
    for part in path:
        values = values[part]
    return values


def _path_of(item: ErrorDetails, values: Any, model: type) -> tuple[object, ...]:
    """Returns the location of the error within the settings: below, pydantic names the members of a union."""
    path: list[object] = []
    for part in item["loc"]:
        if isinstance(values, dict) and part in values:
            # YAML reads the name `on` as true, which pydantic gives as 1.
            path.append(next(name for name in values if name == part) if isinstance(part, int) else part)
            values = values[part]
        elif item["type"] == INVALID_VALUE and isinstance(values, list) and isinstance(part, int):
            path.append(part)
            values = values[part]
        elif item["type"] in NOT_IN_VALUES and part != "[key]":
            path.append(part)
        elif item["type"] == INVALID_VALUE and find_place(model, (*path, part)) is not None:
            path.append(part)  # a default that is no valid value
        else:
            break
    return tuple(path)


def _explain_name(path: tuple[object, ...], value: object, table: KeyPlace | None) -> Problem:
    name = path[-1]
    if isinstance(name, int) and not isinstance(name, bool) and _is_name(str(name), table):
        correction = _rename(path, str(name), value, "")
        return Problem("", "", "is a number here, not a name", f'put it in quotes: "{name}"', correction=correction)
    if not isinstance(name, str) and (isinstance(name, bool) or not isinstance(name, int)):
        return Problem("", "", f"is {show(name)} here, not a name", "put the name in quotes")
    words = KeyPlace(table.table[0]).description if table is not None and table.table is not None else None
    if table is None or table.table is None or words is None:
        return Problem("", "", "is no name")
    meant = correct_value((), str(name), KeyPlace(table.table[0]))
    if meant is None or not meant.is_certain:
        return Problem("", "", f"must be {words.expected}", words.cure)
    cure = f"write {show_yaml(meant.value)}: {words.cure}" if words.cure else f"write {show_yaml(meant.value)}"
    return Problem("", "", f"must be {words.expected}", cure, correction=_rename(path, str(meant.value), value, cure))


def _is_name(name: str, table: KeyPlace | None) -> bool:
    return table is None or table.table is None or is_valid(name, KeyPlace(table.table[0]))


def _rename(path: tuple[object, ...], name: str, value: object, cure: str) -> Correction:
    return Correction((*map(str, path[:-1]), name), value, True, cure)


_SELDOM_MEANT = frozenset({"outside_concurrency"})  # who writes `concurrency` means the limit


def did_you_mean(path: tuple[object, ...], value: object, model: type) -> tuple[str, Correction | None]:
    """Returns the most likely meaning of an unknown key: its new name, a neighbour, or the same key elsewhere."""
    around = tuple(map(str, path[:-1]))
    if (renamed := renamed_key(path)) is not None:
        return f"it was renamed: use {renamed}", Correction(split_key(renamed), value, False, "")
    name = str(path[-1])
    place = find_place(model, path[:-1])
    neighbours = list(place.fields or ()) if place is not None else []
    known = list(all_paths(model))
    if place is not None and (close := find_close(name, neighbours)) and is_same(close[0], name):
        return _suggest((*around, close[0]), name, value, place.below(close[0]))
    if not (elsewhere := [path for path in known if is_same(path[-1], name)]):
        if place is not None and close:
            return _suggest((*around, close[0]), name, value, place.below(close[0]))
        close = find_close(name, [path[-1] for path in known if path[-1] not in _SELDOM_MEANT])
        elsewhere = [path for path in known if path[-1] in close]
    if elsewhere:
        cure = f"did you mean {' or '.join(join_key(path) for path in elsewhere[:2])}?"
        return cure, Correction(elsewhere[0], value, False, cure)
    return f"the keys here are {', '.join(neighbours)}" if neighbours else "remove it", None


def _suggest(path: Path, name: str, value: object, place: KeyPlace | None) -> tuple[str, Correction]:
    cure = f"did you mean {path[-1]}?"
    is_certain = place is not None and is_misspelt(path[-1], name) and is_valid(value, place)
    return cure, Correction(path, value, is_certain, cure)


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


def _cure(
    path: tuple[object, ...], value: object, place: KeyPlace | None, *, is_file: bool
) -> tuple[str, Correction | None]:
    if (renamed := renamed_value(path, value)) is not None:
        return f"it was renamed: use {renamed}", Correction(tuple(map(str, path)), renamed, True, "")
    if place is None:
        return "", None
    if value is None and place.fields is not None:
        return "write {} for its defaults", None
    correction = correct_value(tuple(map(str, path)), value, place)
    if correction is not None:
        is_quoted = is_file and isinstance(value, str) and isinstance(correction.value, int | float)
        if is_quoted and str(value).strip() == show_yaml(correction.value):
            return f"{correction.cure} without quotes", correction
        return correction.cure, correction
    return name_bound(value, place) or place.description.cure or _expected(place), None


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
