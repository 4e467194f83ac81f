"""Answers the question whether a caller may do something: the decision, and the statements that decided it."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any, NamedTuple

from ...invocation import InvocationType
from ..control.paths import parse_name
from .actions import ask_operation
from .condition_keys import RequestFacts
from .decision import AccessDecision, AccessRequest, describe_denial
from .document import Statement
from .permissions import Permissions
from .routes import INVOKE_OPERATIONS, OPERATIONS

SIGNATURES_OFF = "signatures is off, so no caller is known and nothing is decided. Set signatures: verify."


class AccessQuestion(NamedTuple):
    """Holds a question.

    caller: an access key id, or an ARN
    function: its name or ARN, with a qualifier if the call has one
    """

    caller: str
    function: str
    operation: str = "Invoke"
    source_ip: str | None = None
    invocation_type: str = InvocationType.REQUEST_RESPONSE.value


class BadQuestion(Exception):
    """Reports a question that has no answer. The text has the cause and the action."""


def answer_question(
    permissions: Permissions, question: AccessQuestion, *, now: float, is_secure: bool
) -> dict[str, Any]:
    """Returns the decision as a document. Raises `BadQuestion`.

    is_secure: the gateway serves TLS
    """
    arn = _find_arn(permissions, question.caller)
    caller = permissions.find_caller(arn)
    if caller is None:
        raise BadQuestion(f"{arn!r} is the ARN of no user, role or session.")
    if question.operation not in OPERATIONS:
        close = get_close_matches(question.operation, OPERATIONS, n=1)
        cure = f"Did you mean {close[0]}?" if close else "Give one such as PutFunctionConcurrency."
        raise BadQuestion(f"{question.operation!r} is no operation of Lambda. {cure}")
    function = parse_name(question.function)
    asked = ask_operation(question.operation, function, region=permissions.region, account=caller.principal.account)
    is_invoke = question.operation in INVOKE_OPERATIONS

    def make_facts(request: AccessRequest) -> RequestFacts:
        return RequestFacts(
            request.principal,
            request.resource,
            request.account,
            permissions.region,
            now,
            question.source_ip,
            is_secure,
            question.invocation_type if is_invoke else None,
        )

    request, decision = permissions.decide(caller, asked, make_facts)
    return _describe(request, decision)


def _find_arn(permissions: Permissions, caller: str) -> str:
    known = permissions.access_keys
    if caller in known:
        return known[caller]
    if caller in known.values():
        return caller
    names = [*known, *known.values()]
    close = get_close_matches(caller, names, n=1)
    cure = f"Did you mean {close[0]}?" if close else "Add it to callers."
    raise BadQuestion(f"{caller!r} is no access key and no arn of callers. {cure}")


def _describe(request: AccessRequest, decision: AccessDecision) -> dict[str, Any]:
    document: dict[str, Any] = {
        "allowed": decision.is_allowed,
        "user": request.principal.arn,
        "action": request.action,
        "resource": request.resource,
        "cause": decision.cause.value,
        "statements": [_describe_statement(statement) for statement in decision.statements],
    }
    if not decision.is_allowed:
        document["message"] = describe_denial(request, decision)
    return document


def _describe_statement(statement: Statement) -> dict[str, Any]:
    return {
        "policy": statement.source,
        "kind": statement.kind.value,
        "statement": statement.number,
        "sid": statement.sid,
        "effect": "Allow" if statement.is_allow else "Deny",
    }
