"""Defines what all operations share: the parsed call, and the parts that they work with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, Protocol

from ..invocation import Function
from ..policy.arn import make_prefix
from ..policy.control import errors
from ..policy.control.errors import ControlRefusal
from ..policy.control.paths import ControlOperation, ControlTarget
from ..policy.control.rules import AccountFacts, AccountSlots, FileValues, find_set_elsewhere, is_version
from ..policy.control.state import ControlState, FunctionControl, ProvisionedConfig
from ..policy.requests.validation import join
from ..refusals import Refusal
from .base import ControlAnswer, ControlStore
from .documents import encode
from .existence import Alias, Existence
from .followed import Followed

LATEST = "$LATEST"


class ControlCall(NamedTuple):
    """Holds a request whose name and qualifier are valid.

    function: the function as the caller named it
    account: the account whose limits apply, and under which values are kept
    shown_account: the account in ARNs
    headers: the client's, names in lower case
    """

    target: ControlTarget
    function: Function
    account: str
    shown_account: str
    headers: Mapping[bytes, bytes]
    body: bytes

    @property
    def name(self) -> str:
        return self.function.name

    @property
    def qualifier(self) -> str | None:
        return self.function.qualifier


Result = ControlAnswer | ControlRefusal
Operation = Callable[[ControlCall], Awaitable[Result]]
Operations = Mapping[ControlOperation, Operation]


class ConfiguredFunctions(Protocol):
    """Reads the settings in force."""

    def facts(self, account: str) -> AccountFacts:
        """Returns the limits of an account."""

    def file_values(self, account: str, name: str) -> FileValues:
        """Returns what the settings name for a function."""

    def source(self, account: str, name: str, key: str) -> str:
        """Returns the file, flag or variable that set a key of a function."""


class ControlParts:
    """Joins the store, the backend's answers and the settings.

    followed: the backend's own values
    now: seconds since the epoch
    """

    def __init__(
        self,
        *,
        store: ControlStore,
        existence: Existence,
        settings: ConfiguredFunctions,
        followed: Followed,
        region: str,
        now: Callable[[], float],
    ) -> None:
        self.store = store
        self.existence = existence
        self.settings = settings
        self.followed = followed
        self.region = region
        self.now = now

    def arn(self, call: ControlCall, qualifier: str | None = None) -> str:
        """Returns the function's ARN, with a qualifier if one is given."""
        arn = make_prefix(call.function, self.region, call.shown_account) + call.name
        return f"{arn}:{qualifier}" if qualifier else arn

    async def has_function(self, call: ControlCall, qualifier: str | None = None) -> bool:
        return await self.existence.has_function(call.function, call.account, call.headers, qualifier)

    async def find_missing(self, call: ControlCall, *, shown_qualifier: str | None = None) -> ControlRefusal | None:
        """Refuses a call for a function that does not exist."""
        if await self.has_function(call):
            return None
        return ControlRefusal(errors.FUNCTION_NOT_FOUND, arn=self.arn(call, shown_qualifier))

    async def find_qualified(self, call: ControlCall, qualifier: str) -> Alias | ControlRefusal:
        """Returns what a published qualifier points to: an alias as the backend has it, or a version as itself."""
        if is_version(qualifier):
            if await self.has_function(call, qualifier):
                return Alias(qualifier, {})
            return ControlRefusal(errors.FUNCTION_NOT_FOUND, arn=self.arn(call, qualifier))
        alias = await self.existence.find_alias(call.function, qualifier, call.headers)
        return alias or ControlRefusal(errors.ALIAS_NOT_FOUND, arn=self.arn(call, qualifier))

    def control(self, call: ControlCall) -> FunctionControl:
        """Returns what the operations have set for the function, over what the backend has."""
        return self.followed.under(self.store.state).function(call.account, call.name)

    def provisioned(self, call: ControlCall) -> Mapping[str, ProvisionedConfig]:
        """Returns the provisioned concurrency in force of the function, by qualifier."""
        in_file = self.file_values(call).provisioned_concurrent_executions
        return self.control(call).provisioned if in_file is None else in_file

    def own(self, call: ControlCall) -> FunctionControl:
        """Returns what the operations have set for the function."""
        return self.store.state.function(call.account, call.name)

    async def forget_followed(self, account: str, name: str) -> None:
        """Drops what the backend had for a function that was deleted."""
        if self.followed.forget(account, name):
            await self.store.put_in_force(self.store.state)

    def refuse_followed(self, call: ControlCall, key: str) -> ControlRefusal:
        """Refuses to delete a value that only the backend has: it would be followed still."""
        return ControlRefusal(errors.SET_ELSEWHERE, key=key, function=call.name, source="the backend")

    def file_values(self, call: ControlCall) -> FileValues:
        return self.settings.file_values(call.account, call.name)

    def find_set_elsewhere(self, call: ControlCall, given: Mapping[str, object]) -> ControlRefusal | None:
        """Refuses values that the settings name."""
        account, name = call.account, call.name
        return find_set_elsewhere(
            self.file_values(call), given, name, lambda key: self.settings.source(account, name, key)
        )

    def slots(self, call: ControlCall, state: ControlState) -> AccountSlots:
        """Returns the division of the account's slots by a state."""
        account = call.account
        return AccountSlots(
            self.settings.facts(account),
            self.followed.under(state).functions(account),
            lambda name: self.settings.file_values(account, name),
        )

    async def change(
        self, call: ControlCall, make: Callable[[ControlState, FunctionControl], FunctionControl | ControlRefusal]
    ) -> ControlRefusal | None:
        """Changes the values of the function, or returns the refusal of `make`."""

        def change(state: ControlState) -> ControlState | ControlRefusal:
            present = state.function(call.account, call.name)
            made = make(state, present)
            if isinstance(made, ControlRefusal):
                return made
            return state if made == present else state.with_function(call.account, call.name, made)

        changed = await self.store.change(change)
        return changed if isinstance(changed, ControlRefusal) else None


def answer(document: object, status: int = 200) -> ControlAnswer:
    return ControlAnswer(status, encode(document))


NO_CONTENT = ControlAnswer(204)


def refuse_invalid(problems: list[str]) -> ControlRefusal:
    return ControlRefusal(Refusal.VALIDATION, text=join(problems))
