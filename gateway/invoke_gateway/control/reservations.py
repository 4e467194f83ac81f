"""Serves PutFunctionConcurrency, GetFunctionConcurrency, DeleteFunctionConcurrency and GetAccountSettings."""

from __future__ import annotations

from ..policy.control import errors
from ..policy.control.errors import ControlRefusal
from ..policy.control.paths import ControlOperation, find_name_problems
from ..policy.control.rules import AccountSlots, check_reservation
from ..policy.control.state import ControlState, FunctionControl, with_reserved
from ..policy.requests.validation import check_given, check_range
from .documents import ConcurrencyBody, read_body, read_object
from .parts import LATEST, NO_CONTENT, ControlCall, ControlParts, Operations, Result, answer, refuse_invalid

_KEY = "reserved_concurrent_executions"

# AWS's defaults, for a backend that has no account settings (Lambda's quotas, developer guide).
_ACCOUNT_LIMIT = {
    "TotalCodeSize": 80_530_636_800,
    "CodeSizeUnzipped": 262_144_000,
    "CodeSizeZipped": 52_428_800,
}
_ACCOUNT_USAGE = {"TotalCodeSize": 0, "FunctionCount": 0}


class Reservations:
    """Serves the operations on reserved concurrency, and those on the account."""

    def __init__(self, parts: ControlParts) -> None:
        self._parts = parts

    def operations(self) -> Operations:
        return {
            ControlOperation.PUT_FUNCTION_CONCURRENCY: self._put,
            ControlOperation.GET_FUNCTION_CONCURRENCY: self._get,
            ControlOperation.DELETE_FUNCTION_CONCURRENCY: self._delete,
            ControlOperation.GET_ACCOUNT_SETTINGS: self._get_account_settings,
        }

    async def _put(self, call: ControlCall) -> Result:
        body = read_body(call.body, ConcurrencyBody)
        if isinstance(body, ControlRefusal):
            return body
        wanted = body.reserved_concurrent_executions
        member = "reservedConcurrentExecutions"
        problems = [
            *find_name_problems(call.target),
            *check_given(member, wanted),
            *check_range(member, wanted, 0),
        ]
        if problems or wanted is None:
            return refuse_invalid(problems)
        if call.qualifier is not None:
            return ControlRefusal(errors.QUALIFIED)
        parts = self._parts
        refusal = await parts.find_missing(call, shown_qualifier=LATEST) or parts.find_set_elsewhere(
            call, {_KEY: wanted}
        )
        if refusal is not None:
            return refusal

        def change(state: ControlState, function: FunctionControl) -> FunctionControl | ControlRefusal:
            slots = parts.slots(call, state)
            refused = check_reservation(slots, call.name, wanted, slots.provisioned(call.name))
            return refused or with_reserved(function, wanted)

        return await parts.change(call, change) or answer({"ReservedConcurrentExecutions": wanted})

    async def _get(self, call: ControlCall) -> Result:
        refusal = await self._find_refusal(call, shown_qualifier=None)
        if refusal is not None:
            return refusal
        return answer(describe_concurrency(self._parts, call) or {})

    async def _delete(self, call: ControlCall) -> Result:
        parts = self._parts
        refusal = await self._find_refusal(call, shown_qualifier=LATEST) or parts.find_set_elsewhere(call, {_KEY: True})
        if refusal is not None:
            return refusal
        if parts.own(call).reserved_concurrent_executions is None and describe_concurrency(parts, call) is not None:
            return parts.refuse_followed(call, _KEY)
        return await parts.change(call, lambda _, function: with_reserved(function, None)) or NO_CONTENT

    async def _find_refusal(self, call: ControlCall, shown_qualifier: str | None) -> ControlRefusal | None:
        problems = find_name_problems(call.target)
        if problems:
            return refuse_invalid(problems)
        if call.qualifier is not None:
            return ControlRefusal(errors.QUALIFIED)
        return await self._parts.find_missing(call, shown_qualifier=shown_qualifier)

    async def _get_account_settings(self, call: ControlCall) -> Result:
        parts = self._parts
        slots = parts.slots(call, parts.store.state)
        reply = await parts.existence.ask("/2016-08-19/account-settings", "", call.headers)
        document = read_object(reply.body) if reply.status == 200 else {}
        limit, usage = document.get("AccountLimit"), document.get("AccountUsage")
        return answer(
            {
                "AccountLimit": {
                    **(limit if isinstance(limit, dict) else _ACCOUNT_LIMIT),
                    **_describe_slots(slots),
                },
                "AccountUsage": usage if isinstance(usage, dict) else _ACCOUNT_USAGE,
            }
        )


def _describe_slots(slots: AccountSlots) -> dict[str, int]:
    return {
        "ConcurrentExecutions": slots.facts.concurrent_executions,
        "UnreservedConcurrentExecutions": max(0, slots.unreserved()),
    }


def describe_concurrency(parts: ControlParts, call: ControlCall) -> dict[str, int] | None:
    """Returns the member `Concurrency` of GetFunction, also for a reservation of 0; None without a reservation."""
    reserved = parts.slots(call, parts.store.state).reservation(call.name)
    return None if reserved is None else {"ReservedConcurrentExecutions": reserved}
