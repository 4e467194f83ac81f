"""Finds the line and the column of keys in the text of a settings file.

The text is read a second time, event by event, and only if there are mistakes. So a file without mistakes costs
nothing, and a million functions are never held in memory with their places.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import yaml

from invoke_gateway.settings.files.parse_errors import Position
from invoke_gateway.settings.files.yaml_text import PARSER, YamlText
from invoke_gateway.settings.paths import Path

MOST_ALIASES = 20  # that are followed; each is one more reading of the text
_TOKEN = re.compile(r'[ \t\r\n]*(?:("(?:[^"\\]|\\.)*")|([\[\]{}])|[,:]|([^ \t\r\n\[\]{},:"]+))', re.DOTALL)
_STRING, _PUNCTUATION = 1, 2  # groups of a token
_OPENING = ("{", "[")


class Place(NamedTuple):
    """Names the places of one entry of a mapping.

    is_exact: whether the key itself stands there, or only a key around it
    """

    key: Position
    value: Position
    is_exact: bool = True


class _Event(NamedTuple):
    """Describes one event of YAML or JSON.

    kind: { or [ where a collection begins, } where one ends, * for an alias, empty for a scalar
    text: of a scalar
    number: grows within the text
    yaml: the event of the YAML library, if the text is YAML
    """

    kind: str
    position: Position
    number: int
    text: str = ""
    anchor: str = ""
    yaml: Any = None


class _Wanted:
    """Holds a key whose place is wanted, or a key above one."""

    __slots__ = ("below", "place")

    def __init__(self) -> None:
        self.below: dict[str, _Wanted] = {}
        self.place: Place | None = None

    def add(self, path: Path) -> None:
        wanted = self
        for part in path:
            wanted = wanted.below.setdefault(part, _Wanted())

    def find(self, path: Path) -> Place | None:
        """Returns the place of the longest part of `path` that has one."""
        wanted, found = self, None
        for length, part in enumerate(path, 1):
            wanted = wanted.below[part]
            if wanted.place is not None:
                found = wanted.place._replace(is_exact=length == len(path))
        return found


class _Alias(NamedTuple):
    """Names an alias that stands for wanted keys."""

    anchor: str
    number: int
    wanted: _Wanted


def find_places(data: bytes, paths: Iterable[Path], *, is_json: bool) -> dict[Path, Place]:
    """Returns the place of each path in the text, or of the innermost key around it that is there."""
    root, paths = _Wanted(), list(paths)
    for path in paths:
        root.add(path)
    walk = _Walk(data, is_json=is_json)
    walk.run(lambda _: root)
    for _ in range(MOST_ALIASES):
        if not walk.aliases:
            break
        walk.follow(walk.aliases.pop(0))
    found = ((path, root.find(path)) for path in paths)
    return {path: place for path, place in found if place is not None}


class _Walk:
    """Visits the wanted keys of a text, and skips all others."""

    def __init__(self, data: bytes, *, is_json: bool) -> None:
        self._data = data
        self._is_json = is_json
        self._events: Iterator[_Event] = iter(())
        self._meanings = YamlText(b"", [])
        self.aliases: list[_Alias] = []

    def run(self, select: Callable[[_Event], _Wanted | None]) -> None:
        """Visits the first value for which `select` returns wanted keys."""
        try:
            self._events = self._read()
            for event in self._events:
                wanted = select(event)
                if wanted is not None:
                    self._value(event, wanted)
                    return
        except (yaml.YAMLError, UnicodeError, StopIteration):
            return  # behind an error in the text there is no place; the error is reported as what it is

    def follow(self, alias: _Alias) -> None:
        """Visits what an alias stands for: the last collection before it that has its anchor."""
        alias.wanted.below = {name: below for name, below in alias.wanted.below.items() if below.place is None}
        before = [-1]

        def note(event: _Event) -> None:
            if event.anchor == alias.anchor and event.kind in _OPENING and event.number < alias.number:
                before.append(event.number)

        self.run(note)
        self.run(lambda event: alias.wanted if event.number == before[-1] else None)

    def _read(self) -> Iterator[_Event]:
        return _read_json(self._data.decode()) if self._is_json else _read_yaml(self._data)

    def _value(self, event: _Event, wanted: _Wanted) -> None:
        if event.kind == "*":
            if wanted.below:
                self.aliases.append(_Alias(event.anchor, event.number, wanted))
        elif event.kind == "{" and wanted.below:
            self._mapping(wanted)
        elif event.kind == "[" and wanted.below:
            self._list(wanted)
        else:
            self._skip(event)

    def _skip(self, event: _Event) -> None:
        depth = 0
        while True:
            depth += (event.kind in _OPENING) - (event.kind == "}")
            if depth <= 0:
                return
            event = next(self._events)

    def _mapping(self, wanted: _Wanted) -> None:
        inherited: list[_Event] = []
        for key in self._events:
            if key.kind == "}":
                break
            value = next(self._events)
            below = wanted.below.get(self._name(key, wanted))
            if below is not None:
                below.place = Place(key.position, value.position)
                self._value(value, below)
            elif key.text == "<<":
                inherited += self._aliases_in(value)
            else:
                self._skip(value)
        missing = _Wanted()
        missing.below = {name: below for name, below in wanted.below.items() if below.place is None}
        if missing.below:
            self.aliases += [_Alias(alias.anchor, alias.number, missing) for alias in inherited]

    def _list(self, wanted: _Wanted) -> None:
        """Visits the members of a list: paths have their numbers."""
        for number, member in enumerate(self._events):
            if member.kind == "}":
                return
            below = wanted.below.get(str(number))
            if below is None:
                self._skip(member)
            else:
                below.place = Place(member.position, member.position)
                self._value(member, below)

    def _name(self, key: _Event, wanted: _Wanted) -> str:
        """Returns the name of a key in paths: YAML reads the name `on` as true."""
        if key.text in wanted.below or key.yaml is None or not key.yaml.implicit[0]:
            return key.text
        return str(self._meanings.scalar(key.yaml))

    def _aliases_in(self, event: _Event) -> list[_Event]:
        if event.kind == "*":
            return [event]
        if event.kind != "[":
            self._skip(event)
            return []
        found = []
        for member in self._events:
            if member.kind == "}":
                break
            found += self._aliases_in(member)
        return found


def _read_yaml(data: bytes) -> Iterator[_Event]:
    for number, event in enumerate(yaml.parse(data, Loader=PARSER)):
        mark: Any = event.start_mark
        position = Position(mark.line + 1, mark.column + 1)
        if isinstance(event, yaml.ScalarEvent):
            yield _Event("", position, number, event.value, yaml=event)
        elif isinstance(event, yaml.AliasEvent):
            yield _Event("*", position, number, anchor=event.anchor or "")
        elif isinstance(event, yaml.CollectionStartEvent):
            kind = "{" if isinstance(event, yaml.MappingStartEvent) else "["
            yield _Event(kind, position, number, anchor=event.anchor or "")
        elif isinstance(event, yaml.CollectionEndEvent):
            yield _Event("}", position, number)


def _read_json(text: str) -> Iterator[_Event]:
    line, line_start, at = 1, 0, 0
    while (token := _TOKEN.match(text, at)) is not None:
        group = token.lastindex
        start = token.start(group) if group is not None else token.end()
        line += text.count("\n", at, start)
        line_start = max(line_start, text.rfind("\n", at, start) + 1)
        at = token.end()
        if group is None:
            continue
        shown = token[group]
        kind = "" if group != _PUNCTUATION else "}" if shown in "]}" else shown
        yield _Event(
            kind, Position(line, start - line_start + 1), start, json.loads(shown) if group == _STRING else shown
        )


def find_repeated_keys(text: str) -> Iterator[tuple[Path, Position]]:
    """Yields each key that a mapping of a JSON text has already had, with the place of its name."""
    names: dict[int, set[str]] = {}  # the names so far, by depth of the mapping
    path: list[str | None] = []  # the key that is being read at each depth; None before it, and in a list
    open_kinds: list[str] = []
    for event in _read_json(text):
        depth = len(open_kinds)
        if event.kind == "}":
            open_kinds.pop()
            path.pop()
        elif depth and open_kinds[-1] == "{" and path[-1] is None:
            if event.text in names[depth]:
                yield (*(name for name in path[:-1] if name is not None), event.text), event.position
            names[depth].add(event.text)
            path[-1] = event.text
            continue
        if event.kind in _OPENING:
            open_kinds.append(event.kind)
            path.append(None)
            names[depth + 1] = set()
        elif path:
            path[-1] = None
