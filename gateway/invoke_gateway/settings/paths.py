"""Lists the keys of the settings from the models, so that flags, help and messages cannot disagree with the models."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo

from invoke_gateway.settings.descriptions import Description

Path = tuple[str, ...]
SEGMENT = re.compile(r'"([^"]*)"|([^."]+)')  # a name with a dot in it is written in double quotes


def split_key(key: str) -> Path:
    """Returns the path of a dotted key."""
    return tuple(match[1] if match[1] is not None else match[2] for match in SEGMENT.finditer(key))


def join_key(path: tuple[object, ...]) -> str:
    """Returns the dotted key of a path."""
    return ".".join(f'"{part}"' if "." in part or not part else part for part in map(str, path))


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Names the end of a path in the models: its type, and its field unless it is an entry of a table."""

    annotation: Any
    field: FieldInfo | None = None

    @property
    def fields(self) -> dict[str, FieldInfo] | None:
        """Returns the keys below, where a model stands here; a key that is a word of Python goes by its alias."""
        members = () if self.table is not None else get_args(self.annotation)
        for candidate in (self.annotation, *members):
            if isinstance(candidate, type) and hasattr(candidate, "__pydantic_fields__"):
                fields: dict[str, FieldInfo] = candidate.__pydantic_fields__
                return {field.alias or name: field for name, field in fields.items()}
        return None

    @property
    def table(self) -> tuple[Any, Any] | None:
        """Returns the types of name and entry, where a table of named entries stands here."""
        if get_origin(self.annotation) is not dict:
            return None
        name, entry = get_args(self.annotation)
        return name, entry

    @property
    def description(self) -> Description:
        """Returns the description of a valid value."""
        if (fields := self.fields) is not None:
            return Description(f"a mapping with the keys {', '.join(fields)}")
        if self.table is not None:
            return Description("a mapping of names to settings")
        metadata = self.field.metadata if self.field is not None else []
        return next((m for m in metadata if isinstance(m, Description)), None) or describe_type(self.annotation)

    def below(self, part: str) -> "KeyPlace | None":
        """Returns the place one key further, None where there is no such key."""
        if (fields := self.fields) is not None:
            field = fields.get(part)
            return None if field is None else KeyPlace(field.annotation, field)
        return KeyPlace(self.table[1]) if self.table is not None else None


def find_place(model: type, path: tuple[object, ...]) -> KeyPlace | None:
    """Returns the end of `path` in the models; None where there is no such key."""
    place: KeyPlace | None = KeyPlace(model)
    for part in path:
        place = None if place is None else place.below(str(part))
    return place


def settable(model: type, path: Path = ()) -> Iterator[tuple[Path, FieldInfo]]:
    """Yields every key that takes a value, in the models' order; a table of named entries counts as one."""
    for name, field in (KeyPlace(model).fields or {}).items():
        place = KeyPlace(field.annotation, field)
        if place.fields is None:
            yield (*path, name), field
        else:
            yield from settable(place.annotation, (*path, name))


def all_paths(model: type, path: Path = ()) -> Iterator[Path]:
    """Yields every key, with `<name>` where the user chooses one; the place of a misplaced key is looked up in them."""
    place = KeyPlace(model)
    if place.table is not None:
        yield from all_paths(place.table[1], (*path, "<name>"))
    for name, field in (place.fields or {}).items():
        yield (*path, name)
        yield from all_paths(field.annotation, (*path, name))  # type: ignore[arg-type]  # any annotation will do


def describe_type(annotation: Any) -> Description:
    """Returns the description attached to a type, or to a member of a union."""
    for marker in getattr(annotation, "__metadata__", ()):
        if isinstance(marker, Description):
            return marker
    if get_origin(annotation) is Literal:
        *most, last = map(str, get_args(annotation))
        return Description(f"{', '.join(most)} or {last}" if most else last)
    if get_origin(annotation) in (Union, UnionType):
        return describe_type(get_args(annotation)[0])
    return Description("something else")


def kinds(annotation: Any) -> Iterator[Any]:
    """Returns the plain types that a value may have: bool, int, float, str, dict, tuple (a list), or the texts of a
    choice."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from kinds(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for member in get_args(annotation):
            yield from kinds(member)
    elif origin is Literal:
        yield from get_args(annotation)
    elif annotation is not type(None):
        yield origin or annotation
