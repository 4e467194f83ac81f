"""Describes valid values, and makes the errors about invalid ones: both texts reach the user unchanged."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pydantic_core import PydanticCustomError

from invoke_gateway.settings.quantities import Unit

INVALID_VALUE = "invalid_value"
"""The type of the errors that `invalid_value` makes."""


@dataclass(frozen=True, slots=True)
class Description:
    """Describes a valid value in messages: "must be {expected}", and the cure for another value.

    unit: the unit of a number
    """

    expected: str
    cure: str = ""
    unit: Unit = ""


class ValueMistake(NamedTuple):
    """Describes what is wrong with a value.

    message: the problem
    cure: the action
    at: the path below the validated value that has the problem
    """

    message: str
    cure: str
    at: tuple[str, ...] = ()


def invalid_value(message: str, cure: str) -> PydanticCustomError:
    """Returns the error that a validator raises about one mistake."""
    return invalid_values([ValueMistake(message, cure)])


def invalid_values(mistakes: Sequence[ValueMistake]) -> PydanticCustomError:
    """Returns the error that a validator raises about all mistakes in a value."""
    text = "; ".join(mistake.message for mistake in mistakes)
    return PydanticCustomError(INVALID_VALUE, "{text}", {"text": text, "mistakes": mistakes})
