"""Serves PutFunctionEventInvokeConfig and its companions: the rules of asynchronous invocations.

Each qualifier has rules of its own; `$LATEST` stands where none is given. What the settings name holds for all of them.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from ..policy.control import errors
from ..policy.control.errors import ControlRefusal
from ..policy.control.paths import ControlOperation, find_name_problems, parse_name
from ..policy.control.rules import FileValues
from ..policy.control.state import ControlState, EventInvokeConfig, FunctionControl, with_event_invoke
from ..policy.events.destination_arn import UnreachableDestination
from ..policy.events.destination_url import names_function
from ..policy.requests.validation import check_range, check_text
from .documents import EventInvokeBody, describe_event_invoke, read_body
from .pages import cut_page, find_page_problems
from .parts import LATEST, NO_CONTENT, ControlCall, ControlParts, Operations, Result, answer, refuse_invalid

_DESTINATION = (
    r"$|kafka://([^.]([a-zA-Z0-9\-_.]{0,248}))|arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:"
    r"((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)"
)
_LONGEST_DESTINATION = 350

CheckDestination = Callable[[str], UnreachableDestination | None]


class EventInvokeConfigs:
    """Serves the operations on rules of asynchronous invocations.

    check_destination: returns why outcomes cannot be delivered to an ARN; None where they can
    """

    def __init__(self, parts: ControlParts, *, check_destination: CheckDestination) -> None:
        self._parts = parts
        self._check_destination = check_destination
        self._started_at = parts.now()

    def operations(self) -> Operations:
        return {
            ControlOperation.PUT_EVENT_INVOKE: self._put,
            ControlOperation.UPDATE_EVENT_INVOKE: self._update,
            ControlOperation.GET_EVENT_INVOKE: self._get,
            ControlOperation.LIST_EVENT_INVOKE: self._list,
            ControlOperation.DELETE_EVENT_INVOKE: self._delete,
        }

    async def _put(self, call: ControlCall) -> Result:
        return await self._set(call, merges=False)

    async def _update(self, call: ControlCall) -> Result:
        return await self._set(call, merges=True)

    async def _set(self, call: ControlCall, *, merges: bool) -> Result:
        body = read_body(call.body, EventInvokeBody)
        if isinstance(body, ControlRefusal):
            return body
        problems = [*find_name_problems(call.target), *_find_problems(body)]
        if problems:
            return refuse_invalid(problems)
        if body == EventInvokeBody():
            return ControlRefusal(errors.NOTHING_GIVEN)
        parts, qualifier = self._parts, call.qualifier or LATEST
        if not await parts.has_function(call, call.qualifier):
            return ControlRefusal(errors.NO_SUCH_FUNCTION)
        refusal = await self._check_destinations(call, body) or parts.find_set_elsewhere(call, _list_given(body))
        if refusal is not None:
            return refusal
        if merges and self._find(call, qualifier) is None:
            return self._refuse_missing(call, qualifier)
        now = parts.now()

        def change(state: ControlState, function: FunctionControl) -> FunctionControl:
            in_force = parts.followed.under(state).function(call.account, call.name)
            before = in_force.event_invoke.get(qualifier) if merges else None
            return with_event_invoke(function, qualifier, _merge(before, body, now))

        changed = await parts.change(call, change)
        return changed or answer(self._describe(call, qualifier))

    async def _check_destinations(self, call: ControlCall, body: EventInvokeBody) -> ControlRefusal | None:
        for target in (body.on_success, body.on_failure):
            if not target:
                continue
            if target.split(":")[2:3] == ["lambda"]:
                if names_function(target, call.name, call.shown_account):
                    return ControlRefusal(errors.OWN_DESTINATION)
                if not await self._parts.existence.has_function(parse_name(target), call.account, call.headers):
                    return ControlRefusal(errors.BAD_DESTINATION, arn=target)
            unreachable = self._check_destination(target)
            if unreachable is not None:
                return ControlRefusal(errors.UNREACHABLE_DESTINATION, arn=target, reason=unreachable.reason)
        return None

    async def _get(self, call: ControlCall) -> Result:
        problems = find_name_problems(call.target)
        if problems:
            return refuse_invalid(problems)
        qualifier = call.qualifier or LATEST
        # AWS has one text for a missing function, a missing qualifier and missing rules.
        if self._find(call, qualifier) is None or not await self._parts.has_function(call, call.qualifier):
            return self._refuse_missing(call, qualifier)
        return answer(self._describe(call, qualifier))

    async def _delete(self, call: ControlCall) -> Result:
        problems = find_name_problems(call.target)
        if problems:
            return refuse_invalid(problems)
        qualifier = call.qualifier or LATEST
        if self._find(call, qualifier) is None or not await self._parts.has_function(call, call.qualifier):
            return self._refuse_missing(call, qualifier)
        if qualifier not in self._parts.control(call).event_invoke:  # then the settings alone have set them
            refusal = self._parts.find_set_elsewhere(call, dict.fromkeys(_KEYS, True))
            if refusal is not None:
                return refusal
        elif qualifier not in self._parts.own(call).event_invoke:
            return self._parts.refuse_followed(call, "event_invoke_config")
        return await self._parts.change(call, lambda _, now: with_event_invoke(now, qualifier, None)) or NO_CONTENT

    async def _list(self, call: ControlCall) -> Result:
        problems = [*find_name_problems(call.target), *find_page_problems(call.target.query)]
        if problems:
            return refuse_invalid(problems)
        if not await self._parts.has_function(call):
            return ControlRefusal(errors.NO_SUCH_FUNCTION)
        names = {*self._parts.control(call).event_invoke}
        if self._find(call, LATEST) is not None:
            names.add(LATEST)
        page = cut_page(sorted(names), call.target.query)
        rows = [self._describe(call, name) for name in page.names]
        return answer({"FunctionEventInvokeConfigs": rows, **page.members})

    def _refuse_missing(self, call: ControlCall, qualifier: str) -> ControlRefusal:
        return ControlRefusal(errors.NO_EVENT_INVOKE, arn=self._parts.arn(call, qualifier))

    def _find(self, call: ControlCall, qualifier: str) -> EventInvokeConfig | None:
        """Returns the rules in force: those that an operation has set, under those of the settings."""
        config = self._parts.control(call).event_invoke.get(qualifier)
        in_file = self._parts.file_values(call)
        if all(getattr(in_file, key) is None for key in _KEYS):
            return config
        return _overlay(config or EventInvokeConfig(self._started_at), in_file)

    def _describe(self, call: ControlCall, qualifier: str) -> dict[str, object]:
        config = self._find(call, qualifier)
        assert config is not None  # the caller has looked
        return describe_event_invoke(config, self._parts.arn(call, qualifier))


_KEYS = ("maximum_retry_attempts", "maximum_event_age_seconds", "on_success", "on_failure")


def _find_problems(body: EventInvokeBody) -> list[str]:
    problems = [
        *check_range("maximumRetryAttempts", body.maximum_retry_attempts, 0, 2),
        *check_range("maximumEventAgeInSeconds", body.maximum_event_age_in_seconds, 60, 21_600),
    ]
    for member, target in (("onSuccess", body.on_success), ("onFailure", body.on_failure)):
        if target:
            name = f"destinationConfig.{member}.destination"
            problems += check_text(name, target, _LONGEST_DESTINATION, _DESTINATION)
    return problems


def _list_given(body: EventInvokeBody) -> dict[str, object]:
    """Returns the values of a body by the settings' keys. A destination that is removed counts as given."""
    values = (body.maximum_retry_attempts, body.maximum_event_age_in_seconds, body.on_success, body.on_failure)
    return dict(zip(_KEYS, values, strict=True))


def _merge(before: EventInvokeConfig | None, body: EventInvokeBody, now: float) -> EventInvokeConfig:
    """Returns the rules before with the values of a body over them. Without rules before, the body is all of them."""
    given = {key: value for key, value in _list_given(body).items() if value is not None}
    given = {key: value or None if key.startswith("on_") else value for key, value in given.items()}
    return msgspec.structs.replace(before or EventInvokeConfig(now), **given, modified_at=now)


def _overlay(config: EventInvokeConfig, in_file: FileValues) -> EventInvokeConfig:
    """Returns the rules with the values of the settings over them. Of targets in the settings only ARNs are shown: a
    URL may hold a password."""
    named = {key: value for key in _KEYS if (value := getattr(in_file, key)) is not None}
    shown = {
        key: None if key.startswith("on_") and not str(value).startswith("arn:") else value
        for key, value in named.items()
    }
    return msgspec.structs.replace(config, **shown)
