"""Merges file, environment and flags into one mapping, and records the source of each value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from invoke_gateway.settings.paths import KeyPlace, Path


@dataclass(frozen=True, slots=True)
class Override:
    """Holds a value that replaces the file's, and its source: `--flag` or `INVOKE_GATEWAY_VARIABLE`."""

    value: object
    source: str


@dataclass(frozen=True, slots=True)
class Sources:
    """Names where values were set. Settings are equal whatever their sources are."""

    file: str = field(default="", compare=False)
    overridden: dict[tuple[object, ...], str] = field(default_factory=dict, compare=False)

    def of(self, path: tuple[object, ...]) -> str:
        """Returns the flag, variable or file that set the value at `path`."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.overridden:
                return self.overridden[path[:length]]
        return self.file or "the settings"


@dataclass(frozen=True, slots=True)
class Merged:
    """Holds the values, not yet checked, and their sources."""

    values: dict[Any, Any]
    file: str
    overridden: dict[tuple[object, ...], str] = field(default_factory=dict)

    def source_of(self, path: tuple[object, ...]) -> str:
        """Returns the flag, variable or file that set the value at `path`; all of them where parts differ."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.overridden:
                return self.overridden[path[:length]]
        below = [source for key, source in self.overridden.items() if key[: len(path)] == path]
        return ", ".join(dict.fromkeys([self.file, *below] if self.file else below)) or "defaults"

    def is_overridden(self, path: tuple[object, ...]) -> bool:
        """Returns whether the value at `path` as a whole came from a flag or variable."""
        return any(path[:length] in self.overridden for length in range(1, len(path) + 1))

    def is_from_file(self, path: tuple[object, ...]) -> bool:
        return not self.is_overridden(path)


def merge(in_file: dict[Any, Any], overrides: Mapping[Path, Override], file: str, model: type) -> Merged:
    """Returns the file's values with each override set over them, in the order given."""
    values = _without_empty(in_file, KeyPlace(model))
    overridden: dict[tuple[object, ...], str] = {}
    for path, override in overrides.items():
        if _put(values, path, override.value):
            overridden = {key: source for key, source in overridden.items() if key[: len(path)] != path}
            overridden[path] = override.source
    return Merged(values, file, overridden)


def _put(values: dict[Any, Any], path: Path, value: object) -> bool:
    """Sets the value, and copies the mappings on the way: in YAML one mapping may stand in two places."""
    for part in path[:-1]:
        below = values.get(part)
        if below is not None and not isinstance(below, dict):
            return False  # reported as the wrong type that it is
        values[part] = {**below} if below else {}
        values = values[part]
    values[path[-1]] = value
    return True


def _without_empty(values: dict[Any, Any], place: KeyPlace) -> dict[Any, Any]:
    """Leaves out keys that have no value after the colon. Functions, which may be a million, are left unchanged."""
    kept: dict[Any, Any] = {}
    for name, value in values.items():
        below = place.below(str(name))
        if below is None or (below.fields is None and below.table is None):
            if below is None or value is not None:
                kept[name] = value
        elif isinstance(value, dict):
            kept[name] = value if name == "functions" else _without_empty(value, below)
        elif value is not None:
            kept[name] = value
        elif place.table is not None:
            kept[name] = {}
    return kept


class Draft:
    """Changes values without a change of the mappings that hold them: a mapping is copied once, before its first
    change."""

    def __init__(self, values: dict[Any, Any]) -> None:
        self.values = dict(values)
        self._copied: dict[tuple[str, ...], dict[Any, Any]] = {(): self.values}

    def remove(self, path: Path) -> None:
        """Removes the value at `path`. Where there is no such key, as for a member of a list, what is around it is
        removed."""
        for length in range(len(path), 0, -1):
            around = self._open(path[: length - 1])
            name = _find_name(around, path[length - 1]) if around is not None else ""
            if around is not None and name in around:
                del around[name]
                self._copied = {key: value for key, value in self._copied.items() if key[:length] != path[:length]}
                return

    def put(self, path: Path, value: object) -> None:
        """Sets the value at `path`, where the mapping around it is there and has no such key."""
        around = self._open(path[:-1])
        if around is not None:
            around.setdefault(path[-1], value)

    def _open(self, path: Path) -> dict[Any, Any] | None:
        """Returns the copy of the mapping at `path`, None where there is none."""
        if path in self._copied:
            return self._copied[path]
        around = self._open(path[:-1])
        name = _find_name(around, path[-1]) if around is not None else None
        if around is None or not isinstance(around.get(name), dict):
            return None
        around[name] = self._copied[path] = dict(around[name])
        return self._copied[path]


def _find_name(mapping: dict[Any, Any], part: str) -> object:
    """Returns the key whose text is `part`: YAML reads the name `on` as true."""
    if part in mapping:
        return part
    return next((name for name in mapping if str(name) == part), part)
