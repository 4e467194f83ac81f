"""The settings file, read into plain mappings, with every mistake of its form as a Problem.

YAML is built here from the parser's events, not by the YAML library's loader. That loader crashes the
process on deep nesting, keeps the last of two equal keys without a word, and needs several times the time and
the memory, which a million functions make felt.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from gateway.settings.keys import join_key
from gateway.settings.problems import Problem

DEEPEST = 32  # levels of nesting; the settings have six
PARSER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # where PyYAML was built without libyaml: ten times slower
TEXT_TAG = "tag:yaml.org,2002:str"
MERGE_TAG = "tag:yaml.org,2002:merge"
# A key's closing quote is followed by a colon or by white space.
JSON_KEY_ENDS = (b'":', b'" ', b'"\n', b'"\r', b'"\t')


class NotReadable(Exception):
    """The text cannot be read as a settings file."""

    def __init__(self, message: str, cure: str) -> None:
        super().__init__(message)
        self.problem = Problem(key="", source="", message=message, cure=cure)


def read_settings_file(path: Path) -> tuple[dict[Any, Any], list[Problem]]:
    """What the file says, and what is wrong with its form. JSON if the name ends in .json, else YAML."""
    try:
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        problem = Problem("", str(path), f"cannot be read: {reason}", "give a file that the gateway may read")
        return {}, [problem]
    return read_text(data, str(path), is_json=path.suffix == ".json")


def read_text(data: bytes, source: str, *, is_json: bool = False) -> tuple[dict[Any, Any], list[Problem]]:
    """The mapping in a JSON or YAML text; an empty text is an empty mapping."""
    problems: list[Problem] = []
    try:
        values = _read_json(data, problems) if is_json else YamlText(data, problems).read()
    except NotReadable as error:
        problems.append(error.problem)
        values = None
    if values is not None and not isinstance(values, dict):
        problems.append(
            Problem("", "", "is not a mapping of settings", "write key: value lines, such as region: us-east-1")
        )
    named = [Problem(problem.key, source, problem.message, problem.cure) for problem in problems]
    return values if isinstance(values, dict) else {}, named


def _read_json(data: bytes, problems: list[Problem]) -> Any:
    if not data.strip():
        return None
    try:
        values = msgspec.json.decode(data)
        # Never fewer than the keys in the text: when no more than the keys we got, none was given twice.
        if sum(map(data.count, JSON_KEY_ENDS)) > _count_keys(values):
            json.loads(data, object_pairs_hook=lambda pairs: _find_twice(pairs, problems))
    except RecursionError:
        raise _too_deep() from None
    except UnicodeDecodeError as error:
        raise NotReadable(f"is not UTF-8 text: byte {error.start + 1}", "save it as UTF-8") from None
    except (msgspec.DecodeError, ValueError) as error:
        raise NotReadable(f"is no JSON: {_with_line(str(error), data)}", "correct the JSON there") from None
    if isinstance(values, dict):
        values.pop("$schema", None)  # for editors
    return values


def _count_keys(values: Any) -> int:
    count, waiting = 0, [values]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            count += len(value)
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return count


def _find_twice(pairs: list[tuple[str, Any]], problems: list[Problem]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            problems.append(_twice((name,)))
        values[name] = value
    return values


def _with_line(message: str, data: bytes) -> str:
    """The decoder's message with line and column in place of its byte offset."""
    text, _, offset = message.rpartition(" (byte ")
    if not text or not offset.rstrip(")").isdecimal():
        return message
    lines = data[: int(offset.rstrip(")"))].split(b"\n")
    return f"{text} (line {len(lines)}, column {len(lines[-1]) + 1})"


def _twice(path: tuple[object, ...], lines: str = "") -> Problem:
    return Problem(join_key(path), "", f"is given twice{lines}", "keep one of the two")


def _too_deep() -> NotReadable:
    return NotReadable(f"is nested deeper than {DEEPEST} levels", "settings have six levels at most")


class YamlText:
    """One YAML document, built from the parser's events."""

    def __init__(self, data: bytes, problems: list[Problem]) -> None:
        self._data = data
        self._problems = problems
        self._path: list[object] = []
        self._anchors: dict[str, Any] = {}
        self._scalars = yaml.SafeLoader("")  # knows what a bare word means
        self._meanings: dict[str, Any] = {}

    def read(self) -> Any:
        """The document's value, None when there is none."""
        try:
            events = yaml.parse(self._data, Loader=PARSER)
            return self._document(events)
        except yaml.MarkedYAMLError as error:
            raise NotReadable(f"is no YAML: {_explain_yaml(error)}", _yaml_cure(self._data, error)) from None
        except yaml.YAMLError as error:
            first = str(error).splitlines()[0]
            raise NotReadable(f"is no YAML text: {first}", "save it as plain UTF-8 text") from None

    def _document(self, events: Iterator[Any]) -> Any:
        value, documents = None, 0
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise NotReadable("holds more than one YAML document", "remove the line --- and what follows it")
                value = self._value(next(events), events)
        return value

    def _value(self, event: Any, events: Iterator[Any]) -> Any:
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            return self._anchored(event)
        elif len(self._path) >= DEEPEST:
            raise _too_deep()
        elif isinstance(event, yaml.MappingStartEvent):
            value = self._mapping(events)
        else:
            value = self._sequence(events)
        if event.anchor is not None:
            self._anchors[event.anchor] = value
        return value

    def _anchored(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            raise NotReadable(f"uses *{event.anchor} on {_line(event)} before &{event.anchor} is complete", "move it")
        return self._anchors[event.anchor]

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
                raise NotReadable(f"has a key on {_line(event)} that is no plain name", "write name: value")
            name = self._scalar(event)
            self._path.append(name)
            value = self._value(next(events), events)
            if name == "<<" and event.implicit[0]:
                inherited += value if isinstance(value, list) else [value]
            else:
                if name in values:
                    self._problems.append(_twice(tuple(self._path), f", the second time on {_line(event)}"))
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

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if event.tag is None and not event.implicit[0]:
            return text  # in quotes
        if event.tag is None and text in self._meanings:
            return self._meanings[text]
        tag = event.tag or self._scalars.resolve(yaml.ScalarNode, text, event.implicit)  # type: ignore[no-untyped-call]  # its stubs
        if tag in (TEXT_TAG, MERGE_TAG):
            return text
        try:
            value = self._scalars.construct_object(yaml.ScalarNode(tag, text))
        except yaml.YAMLError:
            raise NotReadable(f"uses the tag {tag} on {_line(event)}", "remove the tag") from None
        except ValueError:
            return text  # looks like a date or a number but is none; the setting's own check will say so
        if event.tag is None:
            self._meanings[text] = value
        return value


def _line(event: Any) -> str:
    return f"line {event.start_mark.line + 1}"


def _explain_yaml(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    place = f" (line {mark.line + 1}, column {mark.column + 1})" if mark is not None else ""
    return f"{error.problem or error.context}{place}"


def _yaml_cure(data: bytes, error: yaml.MarkedYAMLError) -> str:
    if "tab" in (error.problem or ""):
        return "indent with spaces"
    line = data.splitlines()[error.problem_mark.line : error.problem_mark.line + 1] if error.problem_mark else []
    if line and b"[" in line[0]:
        return "put a value that begins with [ in quotes"
    return "correct the line there or the one before it"
