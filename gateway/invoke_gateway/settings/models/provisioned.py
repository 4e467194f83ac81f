"""Defines the type of the provisioned concurrency of a function: slots by version and alias."""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, PlainValidator

from invoke_gateway.settings.descriptions import Description, ValueMistake, invalid_value, invalid_values
from invoke_gateway.settings.models.types import MOST, PositiveCount
from invoke_gateway.settings.quantities import compute

_QUALIFIER = re.compile(r"[a-zA-Z0-9_-]{1,128}", re.ASCII)
_EXAMPLE = '{"7": 2, prod: {version: "7", slots: 5}}'


class ProvisionedSlots(NamedTuple):
    """Holds the provisioned concurrency of one version or alias.

    version: the version that it serves; None: only calls that name the alias
    """

    slots: int
    version: str | None


class AliasSlots(BaseModel):
    """Describes the provisioned concurrency of an alias in the file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    slots: PositiveCount
    """Slots of the version."""
    version: Annotated[str, Field(pattern="^[0-9]{1,20}$")] | Annotated[int, Field(ge=1)] | None = None
    """Version that the alias points to. Not set: only calls that name the alias take the slots."""


def read_provisioned(value: object) -> Mapping[str, ProvisionedSlots]:
    """Reads a mapping by version and alias."""
    if not isinstance(value, Mapping):
        raise invalid_value("is no mapping of versions and aliases to slots", f"write it as {_EXAMPLE}")
    found: dict[str, ProvisionedSlots] = {}
    mistakes: list[ValueMistake] = []
    for name, wanted in value.items():
        slots = _read_slots(str(name), wanted)
        if isinstance(slots, ValueMistake):
            mistakes.append(slots._replace(at=(str(name),)))
        else:
            found[str(name)] = slots
    for name, slots in found.items():
        if not _is_version(name) and slots.version in found:
            text = f"is the alias of version {slots.version}, which has provisioned concurrency of its own"
            mistakes.append(ValueMistake(text, "give it to the version or to the alias, as on AWS", (name,)))
    if mistakes:
        raise invalid_values(mistakes)
    return found


def _read_slots(name: str, wanted: object) -> ProvisionedSlots | ValueMistake:
    if _QUALIFIER.fullmatch(name) is None:
        return ValueMistake("is no version and no alias", "name a published version, such as 7, or an alias")
    version: str | None = name if _is_version(name) else None
    if isinstance(wanted, Mapping):
        if version is not None or not {"slots"} <= wanted.keys() <= {"slots", "version"}:
            return ValueMistake("has other keys than slots and version of an alias", f"write it as {_EXAMPLE}")
        given = str(wanted.get("version", ""))
        if "version" in wanted and not _is_version(given):
            return ValueMistake(f"names the version {given}", "give the number of a published version")
        version, wanted = given or None, wanted["slots"]
    if isinstance(wanted, bool) or not isinstance(wanted, int) or not 1 <= wanted <= MOST:
        return ValueMistake("has no number of slots", _find_cure(wanted))
    return ProvisionedSlots(wanted, version)


def _find_cure(wanted: object) -> str:
    quantity = compute(wanted, "") if isinstance(wanted, str) else None
    if quantity is not None and isinstance(quantity.value, int) and 1 <= quantity.value <= MOST:
        return f"write {quantity.value}" + (" without quotes" if str(wanted).strip() == str(quantity.value) else "")
    return f"give it a whole number from 1 to {MOST}"


def _is_version(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) <= 20


def find_provisioned_sums(functions: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Returns the functions with provisioned concurrency, and the sum of its slots."""
    for name, function in functions.items():
        provisioned = function.provisioned_concurrent_executions
        if provisioned:
            yield name, sum(config.slots for config in provisioned.values())


Provisioned = Annotated[
    Mapping[str, ProvisionedSlots],
    PlainValidator(read_provisioned, json_schema_input_type=dict[str, PositiveCount | AliasSlots]),
    Description(f"a mapping of versions and aliases to slots, such as {_EXAMPLE}"),
]
