"""Reads policies: a JSON file that the settings name, or a policy in the settings themselves.

The text of a file becomes the value of the setting. So a reload finds a changed file as it finds a changed value, and
worker processes get the text that was checked.
"""

import json
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import PlainValidator

from invoke_gateway.policy.permissions.document import PolicyKind, parse_policy
from invoke_gateway.policy.permissions.mistakes import BadPolicy
from invoke_gateway.settings.descriptions import Description, ValueMistake, invalid_value, invalid_values

_LARGEST_FILE = 1_048_576  # bytes; AWS's largest policy has 20480
_MOST_SHOWN = 20
_IN_SETTINGS = "the policy"


@dataclass(frozen=True, slots=True)
class PolicyText:
    """Holds a policy that has no mistake.

    file: the name of its file; empty for a policy in the settings
    """

    text: str
    file: str = ""

    def __str__(self) -> str:
        return self.file or "a policy in the settings"


def read_identity_policy(value: object) -> PolicyText:
    """Accepts the identity-based policy of a caller."""
    return _read(value, PolicyKind.IDENTITY)


def read_resource_policy(value: object) -> PolicyText:
    """Accepts the resource-based policy of a function."""
    return _read(value, PolicyKind.RESOURCE)


def _read(value: object, kind: PolicyKind) -> PolicyText:
    if isinstance(value, PolicyText):
        return value
    if isinstance(value, str) and value:
        policy = PolicyText(_read_file(value), value)
    elif isinstance(value, dict) and value:
        policy = PolicyText(_write_text(value))
    else:
        what = "is empty" if value in ("", {}) else "must be the name of a JSON file, or a policy as a mapping"
        raise invalid_value(what, "give the name of a JSON file, or a mapping with Version and Statement")
    source = policy.file or _IN_SETTINGS
    try:
        parse_policy(policy.text, source, kind)
    except BadPolicy as error:
        raise _explain(error) from None
    return policy


def _read_file(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise invalid_value(f"cannot read {name!r}: {reason}", "give a file that the gateway may read") from None
    if len(data) > _LARGEST_FILE:
        raise invalid_value(f"{name!r} has more than {_LARGEST_FILE} bytes", "divide the policy into several files")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise invalid_value(f"{name!r} is not in UTF-8 (byte {error.start})", "save the file in UTF-8") from None


def _write_text(value: dict[str, Any]) -> str:
    def write_date(found: object) -> str:
        if isinstance(found, date):  # YAML reads 2012-10-17 without quotes as a date
            return found.isoformat()
        raise invalid_value(f"{_IN_SETTINGS} has a value that JSON cannot hold: {found!r}", "put it in quotes")

    return json.dumps(value, default=write_date)


def _explain(error: BadPolicy) -> Exception:
    found = [
        ValueMistake(f"{error.source}: {each.placed_problem}", each.cure[:1].lower() + each.cure[1:].removesuffix("."))
        for each in error.mistakes[:_MOST_SHOWN]
    ]
    if (more := len(error.mistakes) - _MOST_SHOWN) > 0:
        found.append(ValueMistake(f"{error.source} has {more} more mistakes", "correct these first"))
    return invalid_values(found)


_DESCRIPTION = Description("the name of a JSON file, or a policy as a mapping")
IdentityPolicy = Annotated[
    PolicyText,
    PlainValidator(read_identity_policy, json_schema_input_type=str | dict[str, Any]),
    _DESCRIPTION,
]
ResourcePolicy = Annotated[
    PolicyText,
    PlainValidator(read_resource_policy, json_schema_input_type=str | dict[str, Any]),
    _DESCRIPTION,
]
