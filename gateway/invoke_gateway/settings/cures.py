"""Computes the cure of a wrong value: the value that was most likely meant, checked by the models' own types."""

import difflib
import re
from collections.abc import Iterable, Iterator
from types import UnionType
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from invoke_gateway.settings.paths import KeyPlace, Path, kinds
from invoke_gateway.settings.quantities import compute

TRUE = frozenset({"true", "yes", "y", "on", "1", "enable", "enabled", "t"})
FALSE = frozenset({"false", "no", "n", "off", "0", "disable", "disabled", "f"})
NO_LIMIT = frozenset({"none", "null", "no", "unlimited", "infinite", "infinity", "inf", "disabled", "false", "never"})
CLOSE = 0.8  # a share of equal characters: `concurrent_execution`, not `timeout` for read_timeout_seconds
_QUALIFIED = re.compile(r"(?:arn:aws[a-z-]*:lambda:[a-z0-9-]+:)?(?:[0-9]{12}:)?(?:function:)?([a-zA-Z0-9._-]+)(?::.*)?")
_WORDS = re.compile(r"[a-z]+|[0-9]+")


class Correction(NamedTuple):
    """Holds a correct entry for the place of a wrong one.

    path: its key
    is_certain: the wrong entry can mean nothing else, so the rest of the settings is checked with this value
    cure: the text for the user
    """

    path: Path
    value: object
    is_certain: bool
    cure: str


def correct_value(path: Path, value: object, place: KeyPlace) -> Correction | None:
    """Returns what was meant by a wrong value, None where that cannot be computed."""
    for candidate, note, is_certain in _candidates(value, place):
        if is_valid(candidate, place):
            cure = f"write {show_yaml(candidate)}" if is_certain else f"did you mean {show_yaml(candidate)}?"
            return Correction(path, candidate, is_certain, f"{cure} ({note})" if note else cure)
    return None


def is_valid(value: object, place: KeyPlace) -> bool:
    """Returns whether the models accept the value at this place."""
    metadata = place.field.metadata if place.field is not None else ()
    annotation = place.annotation
    for item in metadata:
        annotation = Annotated[annotation, item]
    try:
        TypeAdapter(annotation).validate_python(value)
    except ValidationError:
        return False
    return True


def show_yaml(value: object) -> str:
    """Returns a value as it is written in the file."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {show_yaml(member)}' for name, member in value.items())}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(show_yaml, value))}]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, str) and (value.isdecimal() or "*" in value):
        return f'"{value}"'
    return str(value)


def _candidates(value: object, place: KeyPlace) -> Iterator[tuple[object, str, bool]]:
    """Yields values that may have been meant, the most likely first, each with a note and whether it is certain."""
    if place.fields is not None and isinstance(value, str):
        # The text is the one that matters, such as the backend's URL.
        texts = (value, f"http://{value}")
        yield from (({name: text}, "", True) for text in texts for name in place.fields if name == "url")
        return
    found = set(kinds(place.annotation))
    choices = [kind for kind in found if isinstance(kind, str)]
    if isinstance(value, list) and len(value) == 1 and tuple not in found:
        yield value[0], "", True
    if isinstance(value, int | float):
        yield from ((candidate, "", True) for candidate in _from_number(value, found))
    if isinstance(value, str):
        yield from _from_text(value.strip(), found, choices, place)
    if tuple in found and value is not None and not isinstance(value, dict):
        yield from ((candidate, "", True) for candidate in _lists(value, place))


def _from_number(value: float, found: set[Any]) -> Iterator[object]:
    if bool in found and not isinstance(value, bool) and value in (0, 1):
        yield bool(value)
    if int in found and isinstance(value, float) and value.is_integer():
        yield int(value)
    if str in found and isinstance(value, int) and not isinstance(value, bool):
        yield str(value)  # an account id without quotes


def _from_text(text: str, found: set[Any], choices: list[str], place: KeyPlace) -> Iterator[tuple[object, str, bool]]:
    lowered = text.lower()
    if bool in found and lowered in TRUE | FALSE:
        yield lowered in TRUE, "", True
    if found & {int, float}:
        quantity = compute(text, place.description.unit)
        if quantity is not None:
            yield quantity.value, quantity.note, True
    if "off" in choices and lowered in NO_LIMIT:
        yield "off", "", True
    yield from ((choice, "", True) for choice in choices if _fold(choice) == _fold(text))
    if str in found:
        yield from ((candidate, "", True) for candidate in _plain_texts(text))
    yield from ((choice, "", False) for choice in find_close(text, choices))
    if bool in found:
        yield from ((close in TRUE, "", False) for close in find_close(lowered, ("true", "false", "yes", "no")))


def _plain_texts(text: str) -> Iterator[str]:
    yield text
    yield text.lower().replace("_", "-")  # a Region
    yield text.lower().rstrip("abcdef")  # a Region for one of its zones
    digits = re.sub(r"[ -]", "", text)
    if digits.isdecimal() and len(digits) == 12:
        yield digits
    if (qualified := _QUALIFIED.fullmatch(text)) is not None:
        yield qualified[1]


def _lists(value: object, place: KeyPlace) -> Iterator[list[Any]]:
    parts = value if isinstance(value, list) else [value]
    yield parts
    if isinstance(value, str):
        parts = [part.strip() for part in value.strip("[]() ").replace(";", ",").split(",")]
        yield parts
    numbers = [compute(part, place.description.unit) if isinstance(part, str) else None for part in parts]
    yield [part if number is None else number.value for part, number in zip(parts, numbers, strict=True)]


def name_bound(value: object, place: KeyPlace) -> str | None:
    """Returns the cure of a number that is too small or too large, None for any other value."""
    number, shown = value, ""
    if isinstance(value, str):
        quantity = compute(value, place.description.unit)
        number, shown = (quantity.value, f" ({value.strip()}: {quantity.value})") if quantity else (None, "")
    if isinstance(number, bool) or not isinstance(number, int | float):
        return None
    for item in _constraints(place.annotation, place.field):
        most, least, above = (getattr(item, name, None) for name in ("le", "ge", "gt"))
        if most is not None and number > most:
            return f"write {most} or less{shown}"
        if least is not None and number < least:
            return f"write {least} or more{shown}"
        if above is not None and number <= above:
            return f"write a number above {above}{shown}"
    return None


def _constraints(annotation: Any, field: FieldInfo | None) -> Iterator[Any]:
    """Yields the bounds of a value; pydantic leaves those of a member of a union at the member."""
    yield from field.metadata if field is not None else ()
    if get_origin(annotation) is Annotated:
        base, *items = get_args(annotation)
        for item in items:
            yield from item.metadata if isinstance(item, FieldInfo) else (item,)
        yield from _constraints(base, None)
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from _constraints(member, None)


def find_close(word: str, known: Iterable[str]) -> list[str]:
    """Returns the best of the known words for a misspelt one: in a list, which is empty where none is close."""
    folded = {_fold(candidate): candidate for candidate in known}
    if (same := folded.get(_fold(word))) is not None:
        return [same]
    if close := difflib.get_close_matches(_fold(word), folded, n=1):
        return [folded[close[0]]]
    wanted = set(_WORDS.findall(_fold(word)))
    within = [candidate for key, candidate in folded.items() if wanted and wanted <= set(_WORDS.findall(key))]
    return within[:1] if len(within) == 1 else []


def is_misspelt(known: str, word: str) -> bool:
    """Returns whether a word can hardly be anything but the known one, misspelt."""
    return difflib.SequenceMatcher(None, _fold(known), _fold(word)).ratio() >= CLOSE


def is_same(known: str, word: str) -> bool:
    """Returns whether two names differ in case and signs only."""
    return _fold(known) == _fold(word)


def _fold(word: str) -> str:
    """Returns a name as the settings write names: AWS's ReservedConcurrentExecutions has underscores here."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word.strip()).lower().replace("-", "_").replace(" ", "_")
