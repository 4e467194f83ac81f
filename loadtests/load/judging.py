"""Classifies one response of the gateway: admitted, refused by a `Reason`, or unexpected.

The shapes are those of Lambda's service model. A throttle is a 429 with `x-amzn-ErrorType: TooManyRequestsException`, a
request id, and a JSON body with `Reason`, `Type` and `message`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

THROTTLE = "TooManyRequestsException"
CONCURRENCY = "ConcurrentInvocationLimitExceeded"
RESERVED_CONCURRENCY = "ReservedFunctionConcurrentInvocationLimitExceeded"
RATE = "FunctionInvocationRateLimitExceeded"
RESERVED_RATE = "ReservedFunctionInvocationRateLimitExceeded"
CALLER_RATE = "CallerRateLimitExceeded"

ADMITTED, REFUSED, UNEXPECTED = "admitted", "refused", "unexpected"

# So much of an unexpected body is shown.
_SHOWN = 160


class Answer(NamedTuple):
    """Holds one response, its header names in lower case. Status 0: none arrived, and the body has the reason."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Verdict(NamedTuple):
    """Judges one response. `row`: its line in Locust's tables. `what`: the short name of its outcome (`200`, or a
    `Reason`). `problem`: what is wrong with it, in words."""

    row: str
    kind: str
    what: str
    problem: str | None = None


@dataclass(frozen=True)
class Ceilings:
    """Holds the limits of one account in slots, from `/limits`. `account` is None without `/limits`."""

    account: int | None = None
    pool: int | None = None
    reserved: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def read(cls, account: Mapping[str, Any]) -> Ceilings:
        """Reads one entry of `/limits`."""
        functions = account["functions"]
        reserved = {one["function"]: one["ceiling"] for one in functions if one["reserved"]}
        return cls(account["concurrent_executions"], account["unreserved"]["ceiling"], reserved)

    def by_counter(self) -> dict[str, int]:
        """Returns every ceiling by its name in tables and pictures."""
        if self.account is None or self.pool is None:
            return {}
        return {"account": self.account, "unreserved": self.pool, **self.reserved}


@dataclass(frozen=True)
class Expected:
    """Lists the allowed responses to a call. The right `Reason` depends on the function's reservation."""

    admitted: bool = True
    """Whether it may be admitted at all."""
    throttled: bool = True
    """Whether it may be refused because its slots are taken."""
    rated: bool = False
    """Whether it may be refused by a request rate."""
    has_retry_after: bool = True
    """Whether a refusal must say when to come back."""
    status: int = 200
    """The status of a success."""
    function_error: bool = False
    """Whether a success must be a function error."""
    error: tuple[int, str] | None = None
    """Status and code of the one refusal that is right beside throttles."""

    def reasons(self, function: str, ceilings: Ceilings) -> frozenset[str]:
        concurrency = (CONCURRENCY, RESERVED_CONCURRENCY)
        rates = (RATE, RESERVED_RATE)
        if ceilings.account is not None:
            is_reserved = function in ceilings.reserved
            concurrency, rates = (concurrency[is_reserved],), (rates[is_reserved],)
        return frozenset((*(concurrency if self.throttled else ()), *((*rates, CALLER_RATE) if self.rated else ())))


def judge(answer: Answer, function: str, expected: Expected, ceilings: Ceilings) -> Verdict:
    """Judges this response to a call of `function`."""
    if 200 <= answer.status < 300:
        problem = _find_problem_of_success(answer, expected)
        kind = UNEXPECTED if problem else ADMITTED
        return Verdict(f"{function} {answer.status}", kind, str(answer.status), problem)
    if answer.status == 429:
        return _judge_throttle(answer, function, expected.reasons(function, ceilings), expected.has_retry_after)
    if expected.error is not None and answer.status == expected.error[0]:
        what = f"{answer.status} {expected.error[1]}"
        problem = find_problem_of_error(answer, expected.error[1])
        return Verdict(f"{function} {what}", UNEXPECTED if problem else REFUSED, what, problem)
    what = f"{answer.status} {answer.headers.get('x-amzn-errortype', '')}".strip() if answer.status else "no answer"
    return Verdict(f"{function} {what}", UNEXPECTED, what, f"{what}: {show(answer.body)}")


def find_problem_of_error(answer: Answer, code: str) -> str | None:
    """Names the part of the shape that an error of the caller lacks; None when it is complete."""
    members = _members(answer.body)
    if members is None:
        return f"the body is no JSON object: {show(answer.body)}"
    if answer.headers.get("x-amzn-errortype") != code:
        return f"x-amzn-ErrorType is {answer.headers.get('x-amzn-errortype')!r} where {code!r} should be"
    if members.get("Type") != "User":
        return f"Type is {members.get('Type')!r} where 'User' should be"
    if not isinstance(members.get("message"), str):
        return f"there is no text under `message`: {show(answer.body)}"
    return None if answer.headers.get("x-amzn-requestid") else "there is no x-amzn-RequestId"


def show(body: bytes) -> str:
    """Returns the beginning of a body, for a person."""
    return body[:_SHOWN].decode(errors="replace") + ("…" if len(body) > _SHOWN else "")


def _judge_throttle(answer: Answer, function: str, reasons: frozenset[str], has_retry_after: bool) -> Verdict:
    members = _members(answer.body) or {}
    reason = str(members.get("Reason", "without Reason"))
    problem = find_problem_of_error(answer, THROTTLE)
    if problem is None and reason not in reasons:
        allowed = ", ".join(sorted(reasons)) or "no refusal at all"
        problem = f"{reason} where {allowed} should be"
    if problem is None and has_retry_after and not _is_positive(answer.headers.get("retry-after")):
        problem = f"Retry-After is {answer.headers.get('retry-after')!r} where whole seconds should be"
    return Verdict(f"{function} 429 {reason}", UNEXPECTED if problem else REFUSED, reason, problem)


def _find_problem_of_success(answer: Answer, expected: Expected) -> str | None:
    if not expected.admitted:
        return f"a {answer.status} that should not be: {show(answer.body)}"
    if answer.status != expected.status:
        return f"{answer.status} where {expected.status} should be: {show(answer.body)}"
    if not answer.headers.get("x-amzn-requestid"):
        return "there is no x-amzn-RequestId"
    if ("x-amz-function-error" in answer.headers) != expected.function_error:
        word = "no function error where one" if expected.function_error else "a function error where none"
        return f"{word} should be: {show(answer.body)}"
    return None


def _members(body: bytes) -> dict[str, Any] | None:
    try:
        members = json.loads(body)
    except ValueError:
        return None
    return members if isinstance(members, dict) else None


def _is_positive(text: str | None) -> bool:
    return text is not None and text.isascii() and text.isdigit() and int(text) > 0
