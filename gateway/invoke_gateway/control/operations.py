"""Dispatches requests for control operations, and follows those that the backend answers."""

from __future__ import annotations

import logging
from collections.abc import Callable

from ..policy.control import errors
from ..policy.control.errors import ControlRefusal
from ..policy.control.paths import ControlOperation, find_function, find_name_problems
from ..policy.control.state import (
    NOTHING,
    FunctionControl,
    with_alias,
    with_provisioned,
    without_policies,
    without_qualifier,
)
from .base import BackendReply, ControlAnswer, ControlRequest, ControlStoreError
from .documents import read_object, replace_members
from .event_invoke import CheckDestination, EventInvokeConfigs
from .existence import BackendHasNoAnswer, read_alias
from .function_settings import FunctionOperations
from .parts import ControlCall, ControlParts, Operations, Result, refuse_invalid
from .policies import ResourcePolicies
from .provisioned import ProvisionedConcurrency
from .reservations import Reservations, describe_concurrency

log = logging.getLogger("invoke_gateway")


class ControlPlaneOperations:
    """Serves the operations on what `parts` join.

    find_account: returns the account whose limits apply to a caller of an account, or to an unnamed one
    check_destination: returns why outcomes of events cannot be delivered to an ARN; None where they can
    allocation_seconds: the time for which new provisioned concurrency is not allocated
    """

    def __init__(
        self,
        parts: ControlParts,
        *,
        find_account: Callable[[str | None], str],
        check_destination: CheckDestination,
        allocation_seconds: float,
    ) -> None:
        self._parts = parts
        self._find_account = find_account
        self._operations: Operations = {
            **Reservations(parts).operations(),
            **ProvisionedConcurrency(parts, allocation_seconds=allocation_seconds).operations(),
            **EventInvokeConfigs(parts, check_destination=check_destination).operations(),
            **FunctionOperations(parts).operations(),
            **ResourcePolicies(parts).operations(),
        }

    async def answer(self, request: ControlRequest) -> ControlAnswer:
        """Serves one operation of the gateway's own."""
        result = await self._answer(request)
        if isinstance(result, ControlRefusal):
            return ControlAnswer(result.error.status, result.render().body, result.error.code)
        return result

    async def _answer(self, request: ControlRequest) -> Result:
        call = self._read(request)
        if isinstance(call, ControlRefusal):
            return call
        await self._parts.store.refresh()
        try:
            return await self._operations[request.target.operation](call)
        except BackendHasNoAnswer as error:
            return ControlRefusal(
                errors.CANNOT_CHECK, function=call.name, operation=error.operation, status=error.status
            )
        except ControlStoreError as error:
            return ControlRefusal(errors.NOT_KEPT, text=str(error))

    def _read(self, request: ControlRequest) -> ControlCall | ControlRefusal:
        """Returns the call, or a refusal of what its name has, but for failed constraints: an operation joins them with
        those of its body."""
        target, caller = request.target, request.caller
        function = find_function(target, self._parts.region)
        if isinstance(function, ControlRefusal):
            problems = find_name_problems(target)
            return refuse_invalid(problems) if problems else function
        named = function.account or caller.account
        account = self._find_account(named)
        return ControlCall(target, function, account, named or account, request.headers, request.body)

    async def read_reply(self, request: ControlRequest, reply: BackendReply) -> BackendReply:
        """Follows an operation that the backend has answered, and returns the response for the client."""
        operation = request.target.operation
        if not 200 <= reply.status < 300:
            return reply
        if operation is ControlOperation.CREATE_FUNCTION:
            return await self._follow_creation(request, reply)
        call = self._read(request)
        if isinstance(call, ControlRefusal):
            return reply
        if operation is ControlOperation.GET_FUNCTION:
            await self._parts.store.refresh()
            return self._edit(call, reply)
        self._parts.existence.forget(call.account, call.name)
        if operation is ControlOperation.DELETE_FUNCTION:
            qualifier = call.qualifier
            if qualifier is None:
                await self._parts.forget_followed(call.account, call.name)
            await self._change(call, lambda now: without_qualifier(now, qualifier) if qualifier else NOTHING)
        elif operation is ControlOperation.DELETE_ALIAS:
            alias = request.target.alias
            await self._change(
                call,
                lambda now: with_alias(with_provisioned(without_policies(now, alias), alias, None), alias, None),
            )
        elif operation in (ControlOperation.CREATE_ALIAS, ControlOperation.UPDATE_ALIAS):
            name, found = read_alias(reply)
            if name is not None:
                await self._change(
                    call, lambda now: with_alias(now, name, found.version, has_weights=bool(found.weights))
                )
        return reply

    async def _follow_creation(self, request: ControlRequest, reply: BackendReply) -> BackendReply:
        """Drops the values of an earlier function of the same name."""
        name = read_object(reply.body).get("FunctionName")
        if isinstance(name, str) and name:
            call = self._read(request._replace(target=request.target._replace(name=name)))
            if not isinstance(call, ControlRefusal):
                await self._change(call, lambda _: NOTHING)
        return reply

    async def _change(self, call: ControlCall, make: Callable[[FunctionControl], FunctionControl]) -> None:
        try:
            await self._parts.change(call, lambda _, function: make(function))
        except ControlStoreError as error:  # the backend has carried out its part, and its answer is true
            log.error("the control state of %s is kept, though the backend changed it: %s", call.name, error)

    def _edit(self, call: ControlCall, reply: BackendReply) -> BackendReply:
        """Returns GetFunction's reply with the gateway's `Concurrency`. With a qualifier AWS sends none."""
        concurrency = None if call.qualifier else describe_concurrency(self._parts, call)
        body = replace_members(reply.body, {"Concurrency": concurrency})
        return reply if body is None else reply._replace(body=body)
