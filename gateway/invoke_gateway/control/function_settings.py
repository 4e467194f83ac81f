"""Serves PutFunctionRecursionConfig, GetFunctionRecursionConfig, PutFunctionScalingConfig, GetFunctionScalingConfig."""

from __future__ import annotations

from ..policy.control import errors
from ..policy.control.errors import ControlRefusal
from ..policy.control.paths import ControlOperation, find_name_problems
from ..policy.control.rules import is_version
from ..policy.control.state import RecursiveLoop, ScalingConfig, with_recursive_loop, with_scaling
from ..policy.requests.validation import check_choice, check_given, check_range
from .documents import RecursionBody, ScalingBody, describe_scaling, read_body
from .parts import ControlCall, ControlParts, Operations, Result, answer, refuse_invalid

_KEY = "recursive_loop"
_LOOPS = ("Terminate", "Allow")
_MOST_ENVIRONMENTS = 15_000


class FunctionOperations:
    """Serves the operations on a function's loops, and on its environments on managed instances."""

    def __init__(self, parts: ControlParts) -> None:
        self._parts = parts

    def operations(self) -> Operations:
        return {
            ControlOperation.PUT_RECURSION: self._put_recursion,
            ControlOperation.GET_RECURSION: self._get_recursion,
            ControlOperation.PUT_SCALING: self._put_scaling,
            ControlOperation.GET_SCALING: self._get_scaling,
        }

    async def _put_recursion(self, call: ControlCall) -> Result:
        body = read_body(call.body, RecursionBody)
        if isinstance(body, ControlRefusal):
            return body
        given, member = body.recursive_loop, "recursiveLoop"
        problems = [
            *find_name_problems(call.target),
            *check_given(member, given),
            *check_choice(member, None if given is None else given.encode(), _LOOPS),
        ]
        loop: RecursiveLoop = "Allow" if given == "Allow" else "Terminate"
        if problems:
            return refuse_invalid(problems)
        parts = self._parts
        refusal = await parts.find_missing(call) or parts.find_set_elsewhere(call, {_KEY: loop})
        if refusal is not None:
            return refusal
        return await parts.change(call, lambda _, now: with_recursive_loop(now, loop)) or answer(
            {"RecursiveLoop": loop}
        )

    async def _get_recursion(self, call: ControlCall) -> Result:
        problems = find_name_problems(call.target)
        refusal = refuse_invalid(problems) if problems else await self._parts.find_missing(call)
        if refusal is not None:
            return refusal
        in_file = self._parts.file_values(call).recursive_loop
        return answer({"RecursiveLoop": in_file or self._parts.control(call).recursive_loop or "Terminate"})

    async def _put_scaling(self, call: ControlCall) -> Result:
        body = read_body(call.body, ScalingBody)
        if isinstance(body, ControlRefusal):
            return body
        given, member = body.function_scaling_config, "functionScalingConfig"
        least = None if given is None else given.min_execution_environments
        most = None if given is None else given.max_execution_environments
        problems = [
            *find_name_problems(call.target),
            *check_range(f"{member}.minExecutionEnvironments", least, 0, _MOST_ENVIRONMENTS),
            *check_range(f"{member}.maxExecutionEnvironments", most, 0, _MOST_ENVIRONMENTS),
        ]
        qualifier = call.qualifier
        if problems or qualifier is None:
            return refuse_invalid(problems)
        refusal = await self._find_missing(call, qualifier)
        if refusal is None and least is not None and most is not None and least > most:
            refusal = ControlRefusal(errors.SCALING_BOUNDS, least=least, most=most)
        if refusal is not None:
            return refusal
        config = ScalingConfig(least, most) if given is not None else None
        changed = await self._parts.change(call, lambda _, now: with_scaling(now, qualifier, config))
        return changed or answer({"FunctionState": "Active"}, 202)

    async def _get_scaling(self, call: ControlCall) -> Result:
        problems = find_name_problems(call.target)
        qualifier = call.qualifier
        if problems or qualifier is None:
            return refuse_invalid(problems)
        refusal = await self._find_missing(call, qualifier)
        if refusal is not None:
            return refusal
        config = self._parts.control(call).scaling.get(qualifier)
        applied = {} if config is None else {"AppliedFunctionScalingConfig": describe_scaling(config)}
        return answer({"FunctionArn": self._parts.arn(call, qualifier), **applied})

    async def _find_missing(self, call: ControlCall, qualifier: str) -> ControlRefusal | None:
        """Refuses a version that does not exist. `$LATEST.PUBLISHED` is checked as the function, for backends that do
        not know the qualifier."""
        if not is_version(qualifier):
            return await self._parts.find_missing(call)
        found = await self._parts.find_qualified(call, qualifier)
        return found if isinstance(found, ControlRefusal) else None
