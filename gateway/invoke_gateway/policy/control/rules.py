"""Checks control operations in AWS's order, on the values of one account. Existence is checked before.

A reservation is cut out of the account. The provisioned concurrency of a function without a reservation is cut out of
the unreserved pool; that of a function with one is part of the reservation, and is not counted twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from . import errors
from .errors import ControlRefusal
from .state import FunctionControl, ProvisionedConfig


class FileValues(NamedTuple):
    """Holds the values of one function that the settings name. They win over those of the operations."""

    reserved_concurrent_executions: int | None = None
    maximum_retry_attempts: int | None = None
    maximum_event_age_seconds: int | None = None
    on_success: str | None = None
    on_failure: str | None = None
    recursive_loop: str | None = None
    provisioned_concurrent_executions: Mapping[str, ProvisionedConfig] | None = None
    resource_policy: str | None = None

    @property
    def provisioned_slots(self) -> int | None:
        """Returns the provisioned concurrency of all versions and aliases; None where the settings name none."""
        configs = self.provisioned_concurrent_executions
        return None if configs is None else sum(config.requested for config in configs.values())


NO_FILE_VALUES = FileValues()


class AccountFacts(NamedTuple):
    """Holds the limits of an account by its settings.

    floor: slots that must stay unreserved
    claimed: slots that the settings reserve, or provision without a reservation
    """

    account: str
    concurrent_executions: int
    floor: int
    claimed: int = 0


FindFileValues = Callable[[str], FileValues]


class AccountSlots:
    """Computes how an account's slots are divided, from its settings and from what the operations have set.

    find_file_values: returns what the settings name for a function
    """

    def __init__(
        self, facts: AccountFacts, functions: Mapping[str, FunctionControl], find_file_values: FindFileValues
    ) -> None:
        self.facts = facts
        self._functions = functions
        self._find = find_file_values

    def reservation(self, name: str) -> int | None:
        """Returns the reservation in force of a function."""
        in_file = self._find(name).reserved_concurrent_executions
        control = self._functions.get(name)
        if in_file is not None or control is None:
            return in_file
        return control.reserved_concurrent_executions

    def unreserved(self, *, without: str | None = None) -> int:
        """Returns the slots that functions without a reservation share, less their provisioned concurrency.

        without: a function whose reservation and provisioned concurrency do not count
        """
        taken = self.facts.claimed + sum(self._taken(name) for name in self._functions if name != without)
        if without is not None:
            taken -= self._claimed_in_file(without)
        return self.facts.concurrent_executions - taken

    def provisioned(self, name: str) -> int:
        """Returns the provisioned concurrency in force of a function."""
        in_file = self._find(name).provisioned_slots
        control = self._functions.get(name)
        if in_file is not None or control is None:
            return in_file or 0
        return control.provisioned_concurrent_executions

    def _claimed_in_file(self, name: str) -> int:
        in_file = self._find(name)
        reserved = in_file.reserved_concurrent_executions
        return (in_file.provisioned_slots or 0) if reserved is None else reserved

    def _taken(self, name: str) -> int:
        """Returns the slots of a function that the settings have not counted."""
        control = self._functions[name]
        if self._find(name).reserved_concurrent_executions is not None:
            return 0  # counted, and its provisioned concurrency is part of it
        reserved = control.reserved_concurrent_executions
        claimed = self.provisioned(name) if reserved is None else reserved
        return claimed - self._claimed_in_file(name)


def check_reservation(slots: AccountSlots, name: str, wanted: int, provisioned: int) -> ControlRefusal | None:
    """Checks PutFunctionConcurrency. The function's present reservation is given back first.

    provisioned: the function's provisioned concurrency of all versions and aliases
    """
    if slots.unreserved(without=name) - wanted < slots.facts.floor:
        return ControlRefusal(errors.BELOW_FLOOR, floor=slots.facts.floor)
    if wanted < provisioned:
        return ControlRefusal(errors.BELOW_PROVISIONED, slots=wanted, provisioned=provisioned)
    return None


def check_provisioned(slots: AccountSlots, name: str, wanted: int, others: int) -> ControlRefusal | None:
    """Checks the number of PutProvisionedConcurrencyConfig.

    others: the provisioned concurrency of the function's other versions and aliases
    """
    reserved = slots.reservation(name)
    if reserved is not None:
        return ControlRefusal(errors.ABOVE_RESERVATION) if others + wanted > reserved else None
    unreserved = slots.unreserved(without=name) - others
    if wanted > unreserved:
        return ControlRefusal(errors.ABOVE_UNRESERVED, unreserved=unreserved)
    if unreserved - wanted < slots.facts.floor:
        return ControlRefusal(errors.PROVISIONED_BELOW_FLOOR, floor=slots.facts.floor)
    return None


def check_alias(function: FunctionControl, version: str | None, weights: Mapping[str, float]) -> ControlRefusal | None:
    """Checks that an alias may be provisioned.

    version: the version that it points to; None where the backend has not named one
    weights: the weights of further versions
    """
    if weights:
        return ControlRefusal(errors.WEIGHTED_ALIAS)
    if version is not None and version in function.provisioned:
        return ControlRefusal(errors.VERSION_IS_PROVISIONED)
    return None


def check_version(version: str, provisioned_aliases: Iterable[str | None]) -> ControlRefusal | None:
    """Checks that a version may be provisioned.

    provisioned_aliases: the versions that provisioned aliases of the function point to
    """
    return ControlRefusal(errors.ALIAS_IS_PROVISIONED) if version in provisioned_aliases else None


def is_version(qualifier: str) -> bool:
    """Returns whether a qualifier is the number of a published version; else it is an alias or `$LATEST`."""
    return qualifier.isascii() and qualifier.isdecimal()


def find_set_elsewhere(
    in_file: FileValues, given: Mapping[str, object], function: str, find_source: Callable[[str], str]
) -> ControlRefusal | None:
    """Refuses values that the settings name.

    given: the values that an operation sets, by the settings' keys; None is not given
    find_source: returns the file, flag or variable that set a key of the function
    """
    for key, value in given.items():
        if value is not None and getattr(in_file, key) is not None:
            return ControlRefusal(errors.SET_ELSEWHERE, key=key, function=function, source=find_source(key))
    return None
