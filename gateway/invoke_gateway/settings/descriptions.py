"""Describes valid values, and makes the errors about invalid ones: both texts reach the user unchanged."""

from dataclasses import dataclass

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


def invalid_value(message: str, cure: str, at: str = "") -> PydanticCustomError:
    """Returns the error that a validator raises.

    message: the problem
    cure: the action
    at: the key below the validated one that has the problem, if any
    """
    return PydanticCustomError(INVALID_VALUE, "{message}", {"message": message, "cure": cure, "at": at})
