"""Serves `/faults`: adds, lists and ends fault scripts (`policy/fault_script.py` applies them)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ..policy.fault_script import MOST_SCRIPTS, FaultScript, FaultScripts, FaultStep, TooManyScripts
from ..policy.invoke_errors import (
    ERROR_NAMES,
    THROTTLE_REASONS,
    InjectedError,
    find_error,
    suggest_errors,
    suggest_reasons,
    takes_reason,
)
from .json_documents import (
    ACCOUNT,
    FUNCTION,
    FUNCTION_WORDS,
    MOST_REPEATED,
    BadDocument,
    Keys,
    answer_error,
    answer_json,
    read_body,
    read_object,
    read_values,
)

MOST_STEPS = 500
MOST_CALLS = 1_000_000  # of one step
LONGEST_SECONDS = 900  # Lambda's longest time-out
MOST_BYTES = 209_715_200  # Lambda's longest streamed response

_EXAMPLE = 'Send an object such as {"function": "checkout", "steps": [{"pass": 1}, {"error": "ServiceException"}]}.'
_OFF = (
    "Fault scripts are off. Start the gateway with --faults (or INVOKE_GATEWAY_FAULTS=true, or faults: true in its "
    "settings file). Only before the demo backend are they on without it."
)
OFF_FOR_WORKERS = (
    "Fault scripts are off, because a script counts its calls in one process, and this gateway has several workers. "
    "Start the gateway with --workers 1 and --faults."
)

_COUNT = Annotated[int, msgspec.Meta(ge=1, le=MOST_CALLS)]

KEYS: Keys = {
    "function": (FUNCTION | None, f"{FUNCTION_WORDS}, or null for all functions of the account"),
    "account": ACCOUNT,
    "seed": (Annotated[int, msgspec.Meta(ge=0, le=2**53)], "a whole number from 0 to 2^53; leave it out for 0"),
    "loop": (bool, "true or false; leave it out for false"),
    "steps": (
        Annotated[list[dict[str, Any]], msgspec.Meta(min_length=1, max_length=MOST_STEPS)],
        f'a list of 1 to {MOST_STEPS} objects, such as [{{"pass": 1}}, {{"error": "ServiceException"}}]',
    ),
}

STEP_KEYS: Keys = {
    "pass": (_COUNT, f"a whole number of calls from 1 to {MOST_CALLS}"),
    "error": (str, "the name of an exception, such as TooManyRequestsException"),
    "reason": (str, f"one of {', '.join(THROTTLE_REASONS)}; leave it out for the function's own"),
    "latency_seconds": (
        Annotated[float, msgspec.Meta(gt=0, le=LONGEST_SECONDS)],
        f"a number above 0, at most {LONGEST_SECONDS}",
    ),
    "cut_after_bytes": (
        Annotated[int, msgspec.Meta(ge=0, le=MOST_BYTES)],
        f"a whole number of bytes from 0 to {MOST_BYTES}",
    ),
    "repeat": (_COUNT, f"a whole number of calls from 1 to {MOST_CALLS}; leave it out for 1"),
    "probability": (Annotated[float, msgspec.Meta(gt=0, le=1)], "a number above 0, at most 1; leave it out for 1"),
}

_FAULTS = ("error", "latency_seconds", "cut_after_bytes")


class ScriptRequest(msgspec.Struct, frozen=True):
    """Describes a requested script; without a function it is for all functions of the account."""

    steps: list[FaultStep]
    function: str | None = None
    account: str | None = None
    seed: int = 0
    loop: bool = False


def read_script(body: bytes) -> ScriptRequest:
    """Parses a requested script. Raises `BadDocument`."""
    values = read_values(read_object(body, _EXAMPLE), KEYS, "A fault script")
    if "steps" not in values:
        raise BadDocument(f"steps is missing. {_EXAMPLE}")
    steps = [_read_step(step, f"steps[{index}].") for index, step in enumerate(values.pop("steps"))]
    return ScriptRequest(steps, **values)


def _read_step(document: dict[str, Any], where: str) -> FaultStep:
    step = read_values(document, STEP_KEYS, "A step", where)
    place = where.removesuffix(".")
    if "pass" in step:
        if step.keys() - {"pass", "repeat"}:
            raise BadDocument(f"{place} has pass and another key. Make two steps of it.")
        return FaultStep(step["pass"] * step.get("repeat", 1))
    if not any(key in step for key in _FAULTS):
        raise BadDocument(f"{place} does nothing. Give it one of pass, {', '.join(_FAULTS)}.")
    if "error" in step and "cut_after_bytes" in step:
        raise BadDocument(f"{place} has error and cut_after_bytes. Errors are not cut: make two steps of it.")
    return FaultStep(
        step.get("repeat", 1),
        step.get("probability", 1.0),
        _read_error(step, where),
        step.get("latency_seconds", 0.0),
        step.get("cut_after_bytes"),
    )


def _read_error(step: dict[str, Any], where: str) -> InjectedError | None:
    name, reason = step.get("error"), step.get("reason")
    if name is not None and name not in ERROR_NAMES:
        cure = _suggest(suggest_errors(name)) or f"It has {', '.join(ERROR_NAMES)}."
        raise BadDocument(f"{where}error is {name[:MOST_REPEATED]!r}, which Invoke does not have. {cure}")
    if name is None or not takes_reason(name):
        if reason is not None:
            raise BadDocument(f"{where}reason belongs to TooManyRequestsException alone. Leave it out.")
        return find_error(name) if name is not None else None
    error = find_error(name, reason)
    if error is None:
        assert reason is not None, "a throttle without a reason has the function's own"
        words, cure = STEP_KEYS["reason"][1], _suggest(suggest_reasons(reason))
        raise BadDocument(f"{where}reason must be {words}. {cure}".rstrip())
    return error


def _suggest(names: list[str]) -> str:
    """Returns a question for the names that may have been meant; empty without one."""
    return f"Did you mean {' or '.join(names)}?" if names else ""


def describe_step(step: FaultStep) -> dict[str, object]:
    """Describes a step as the document that requests it."""
    if step.passes:
        return {"pass": step.calls}
    error = step.error
    values: dict[str, object] = {
        "error": error.code if error is not None else None,
        "reason": error.reason if error is not None else None,
        "latency_seconds": step.latency_seconds or None,
        "cut_after_bytes": step.cut_after_bytes,
        "repeat": step.calls if step.calls > 1 else None,
        "probability": step.probability if step.probability < 1 else None,
    }
    return {key: value for key, value in values.items() if value is not None}


def describe_script(script: FaultScript) -> dict[str, object]:
    return {
        "id": script.id,
        "account": script.account,
        "function": script.function,
        "seed": script.seed,
        "loop": script.loop,
        "steps": [describe_step(step) for step in script.steps],
        "calls": script.calls,
        "injected": script.injected,
        "position": script.position,
        "is_over": script.is_over,
    }


class FaultEndpoint:
    """Serves `/faults`.

    scripts: None where fault scripts are off
    find_account: returns the account whose limits apply to a requested account
    why_off: the text of the error where scripts are off, with how to switch them on
    """

    def __init__(
        self,
        scripts: FaultScripts | None,
        *,
        find_account: Callable[[str | None], str],
        is_draining: Callable[[], bool],
        why_off: str = _OFF,
    ) -> None:
        self._why_off = why_off
        self._scripts = scripts
        self._find_account = find_account
        self._is_draining = is_draining

    def routes(self) -> list[Route]:
        return [
            Route("/faults", self.all, methods=["GET", "POST", "DELETE"]),
            Route("/faults/{id}", self.end, methods=["DELETE"]),
        ]

    async def all(self, request: Request) -> Response:
        if self._scripts is None:
            return answer_error(self._why_off, 403)
        if request.method == "POST":
            return await self._add(request, self._scripts)
        if request.method == "DELETE":
            self._scripts.end_all()
            return Response(status_code=204)
        return answer_json({"faults": [describe_script(script) for script in self._scripts.all()]})

    async def _add(self, request: Request, scripts: FaultScripts) -> Response:
        wanted = read_script(await read_body(request, "A fault script", "fewer steps"))
        if self._is_draining():
            return answer_error("The gateway is draining. Send the script to the one that takes its place.", 503)
        account = self._find_account(wanted.account)
        try:
            script, replaced = scripts.add(account, wanted.function, wanted.steps, seed=wanted.seed, loop=wanted.loop)
        except TooManyScripts:
            text = f"{MOST_SCRIPTS} fault scripts are running, the maximum. End some: DELETE /faults ends all."
            return answer_error(text, 409)
        document = {**describe_script(script), "replaced": replaced.id if replaced is not None else None}
        return answer_json(document, 201, {"location": f"/faults/{script.id}"})

    async def end(self, request: Request) -> Response:
        if self._scripts is None:
            return answer_error(self._why_off, 403)
        id = request.path_params["id"]
        if self._scripts.end(id):
            return Response(status_code=204)
        shown = id[:MOST_REPEATED]
        text = f"There is no fault script {shown!r}: it was ended or replaced, or never existed. GET /faults lists all."
        return answer_error(text, 404)
