"""Turns YAML into plain values, from the parser's events.

The YAML library's own loader crashes the process on deep nesting, keeps the last of two equal keys silently,
merges by a rule of its release, and needs several times the time and the memory, which a million functions make felt.

The same text gives the same values with every release of the library. The library's error texts are quoted
and never parsed: the mistake is found from the place of an error and from the text there.
"""

import codecs
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml

from invoke_gateway.settings.files.parse_errors import (
    DEEPEST,
    LINE_BREAK,
    NotReadable,
    Position,
    explain_characters,
    find_position,
    given_twice,
    too_deep,
)
from invoke_gateway.settings.problems import Problem

MOST_REPEATED = 1_000_000  # values that aliases may stand for together; a few short lines could stand for billions
PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # where PyYAML was built without libyaml: ten times slower
TEXT_TAG = "tag:yaml.org,2002:str"
MERGE_TAG = "tag:yaml.org,2002:merge"
ACCOUNT_ID = re.compile(r"0[0-7]{11}")  # by YAML's rules an octal number
# What a parser reads ahead before it reports a value: a key of a line may have 1,024 characters (YAML 1.1, 7.3.2).
LONGEST_READ_AHEAD = 4_096


class Anchored(NamedTuple):
    """Holds a value with a name.

    size: values in it, itself included
    height: its levels of nesting, 0 for a scalar
    """

    value: Any
    size: int
    height: int


class YamlText:
    """Builds one YAML document from the parser's events."""

    def __init__(self, data: bytes, problems: list[Problem]) -> None:
        self._data = data
        self._problems = problems
        self._path: list[object] = []
        self._open: list[bool] = []  # the collections that are being read, the innermost last: is it in brackets?
        self._last: Any = None  # the last event that the parser has reported
        self._anchors: dict[str, Anchored] = {}
        self._size = 0
        self._repeated = 0
        self._deepest = 0
        self._scalars = yaml.SafeLoader("")  # resolves the meaning of a bare word
        self._meanings: dict[str, Any] = {}

    def read(self) -> Any:
        """Returns the document's value, None when there is none."""
        try:
            return self._document(self._follow(yaml.parse(self._data, Loader=PARSER)))
        except yaml.MarkedYAMLError as error:
            raise self._explain(error) from None
        except (yaml.YAMLError, UnicodeError):
            raise explain_characters(self._data) from None

    def _follow(self, events: Iterator[Any]) -> Iterator[Any]:
        for event in events:
            self._last = event
            yield event

    def _document(self, events: Iterator[Any]) -> Any:
        value, documents = None, 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    cure = "remove the line --- and what follows it"
                    raise NotReadable("holds more than one YAML document", cure, _position(event))
                value = self._value(next(events), events)
        return value

    def _value(self, event: Any, events: Iterator[Any]) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._repeat(event)
        if event.anchor is None:
            return self._build(event, events)
        size, deepest, self._deepest = self._size, self._deepest, len(self._open)
        value = self._build(event, events)
        self._anchors[event.anchor] = Anchored(value, self._size - size, self._deepest - len(self._open))
        self._deepest = max(deepest, self._deepest)
        return value

    def _build(self, event: Any, events: Iterator[Any]) -> Any:
        self._size += 1
        if isinstance(event, yaml.ScalarEvent):
            return self.scalar(event)
        self._open.append(event.flow_style)
        self._check_depth(len(self._open))
        value = self._mapping(events) if isinstance(event, yaml.MappingStartEvent) else self._sequence(events)
        self._open.pop()
        return value

    def _check_depth(self, levels: int) -> None:
        if levels > DEEPEST:
            raise too_deep()
        self._deepest = max(self._deepest, levels)

    def _repeat(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            words = f"uses *{event.anchor} on {_line(event)} before &{event.anchor} is complete"
            raise NotReadable(words, "move it", _position(event))
        value, size, height = self._anchors[event.anchor]
        self._check_depth(len(self._open) + height)
        self._size += size
        self._repeated += size
        if self._repeated > MOST_REPEATED:
            raise NotReadable(
                f"repeats more than {MOST_REPEATED} values with its aliases, the last on {_line(event)}",
                "write fewer aliases (*name) of aliases",
                _position(event),
            )
        return value

    def _sequence(self, events: Iterator[Any]) -> list[Any]:
        values: list[Any] = []
        self._path.append("[]")
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            values.append(self._value(event, events))
        self._path.pop()
        return values

    def _mapping(self, events: Iterator[Any]) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        inherited: list[Any] = []
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            if not isinstance(event, yaml.ScalarEvent):
                words = f"has a key on {_line(event)} that is no plain name"
                raise NotReadable(words, "write name: value", _position(event))
            name = self.scalar(event)
            self._path.append(name)
            value = self._value(next(events), events)
            if name == "<<" and event.implicit[0]:
                inherited += value if isinstance(value, list) else [value]
            else:
                if name in values:
                    self._problems.append(given_twice(tuple(self._path), _position(event)))
                    value = _join(values[name], value)
                values[name] = value
            self._path.pop()
        return self._inherit(values, inherited) if inherited else values

    def _inherit(self, values: dict[Any, Any], inherited: list[Any]) -> dict[Any, Any]:
        merged: dict[Any, Any] = {}
        for parent in reversed(inherited):
            if not isinstance(parent, dict):
                raise NotReadable("merges (<<) something that is no mapping", "merge an anchored mapping")
            merged |= parent
        return merged | values

    def scalar(self, event: Any) -> Any:
        """Returns the meaning of a word of YAML, or its text."""
        text: str = event.value
        if event.tag is None and not event.implicit[0]:
            return text  # in quotes
        if event.tag is None and text in self._meanings:
            return self._meanings[text]
        tag = event.tag or self._scalars.resolve(yaml.ScalarNode, text, event.implicit)  # type: ignore[no-untyped-call]  # its stubs
        if tag in (TEXT_TAG, MERGE_TAG) or (event.tag is None and ACCOUNT_ID.fullmatch(text)):
            return text
        try:
            value = self._scalars.construct_object(yaml.ScalarNode(tag, text))
        except yaml.YAMLError:
            words = f"uses the tag {tag} on {_line(event)}"
            raise NotReadable(words, "remove the tag", _position(event)) from None
        except ValueError:
            return text  # has the form of a date or a number but is none; the setting's own check reports the text
        if event.tag is None:
            self._meanings[text] = value
        return value

    def _explain(self, error: yaml.MarkedYAMLError) -> NotReadable:
        mark, words = error.problem_mark or error.context_mark, error.problem or error.context
        if mark is None:
            return NotReadable(f"is no YAML: {words}", "correct it")
        text = _decode(self._data)
        read_to = self._last.end_mark.index if self._last is not None else 0
        if self._is_too_deep(text[read_to : min(mark.index, read_to + LONGEST_READ_AHEAD)]):
            return too_deep()
        if not text[mark.index :].strip():  # parsers differ in where a text ends
            cure = "close what is open: a quote, a bracket, a key"
            return NotReadable(f"is no YAML: {words} (at its end)", cure, find_position(text))
        position = Position(mark.line + 1, mark.column + 1)
        cure = _yaml_cure(LINE_BREAK.split(text)[mark.line], mark.column)
        return NotReadable(f"is no YAML: {words} ({position})", cure, position)

    def _is_too_deep(self, ahead: str) -> bool:
        """Returns whether the text between the last event and an error opens too many brackets.

        A parser reads ahead, and stops at a depth of its own before it has reported any of them.
        """
        levels = len(self._open)
        brackets = "[" * sum(self._open)  # the scanner must see the brackets around the text
        try:
            for number, token in enumerate(yaml.scan(brackets + ahead, Loader=yaml.SafeLoader)):
                if number <= len(brackets):  # the stream's start, and our own brackets
                    continue
                opens = isinstance(token, yaml.FlowSequenceStartToken | yaml.FlowMappingStartToken)
                closes = isinstance(token, yaml.FlowSequenceEndToken | yaml.FlowMappingEndToken)
                levels += opens - closes
                if levels > DEEPEST:
                    return True
        except yaml.YAMLError:
            pass
        return False


def _decode(data: bytes) -> str:
    """Returns the text as the parser counts its characters: without a byte order mark."""
    coding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    return data.decode(coding, errors="replace")


def _join(first: Any, second: Any) -> Any:
    """Returns the value of a key that is given twice: of mappings both, so that mistakes in both are found."""
    return {**first, **second} if isinstance(first, dict) and isinstance(second, dict) else second


def _line(event: Any) -> str:
    return f"line {event.start_mark.line + 1}"


def _position(event: Any) -> Position:
    return Position(event.start_mark.line + 1, event.start_mark.column + 1)


def _yaml_cure(line: str, column: int) -> str:
    if "\t" in line[: len(line) - len(line.lstrip())]:
        return "indent with spaces"
    if re.search(r"(^|[:\-,] +)\[", line[:column]):
        return "put a value that begins with [ in quotes"
    return "correct the line there or the one before it"


def write_yaml(values: Any) -> str:
    """Returns plain values as YAML, with the keys in their order."""
    text: str = yaml.safe_dump(values, sort_keys=False, allow_unicode=True, default_flow_style=False)
    return text
