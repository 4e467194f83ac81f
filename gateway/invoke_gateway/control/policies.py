"""Serves AddPermission, PutResourcePolicy and their companions, where the gateway verifies signatures.

Each ARN has a policy of its own: that of the function, of a version or of an alias. A policy of the settings holds for
all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import NAMESPACE_OID, uuid4, uuid5

from ..policy.control import errors
from ..policy.control.errors import ControlRefusal
from ..policy.control.paths import ControlOperation, find_name_problems
from ..policy.control.state import ControlState, FunctionControl, FunctionPolicy, with_policy
from ..policy.permissions.document import PolicyKind, parse_policy
from ..policy.permissions.grants import LONGEST_POLICY, AddedGrant, encode_policy, encode_statement, make_statement
from ..policy.permissions.mistakes import BadPolicy
from ..policy.requests.validation import check_choice, check_given, check_text
from .documents import PermissionBody, ResourcePolicyBody, read_body, read_object
from .parts import LATEST, NO_CONTENT, ControlCall, ControlParts, Operations, Result, answer, refuse_invalid

_KEY = "resource_policy"
_NO_STATEMENTS = FunctionPolicy((), "")

# Members of AddPermission: length and pattern by the service model.
_MEMBERS = {
    "statementId": (100, r"[a-zA-Z0-9-_]+"),
    "action": (10_000, r"lambda:[*]|lambda:[a-zA-Z]+|[*]"),
    "principal": (2048, r"[^\s]+"),
    "sourceArn": (
        10_000,
        r"arn:(aws[a-zA-Z0-9-]*):([a-zA-Z0-9\-])+:((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1})?:(\d{12})?:(.*)",
    ),
    "sourceAccount": (12, r"\d{12}"),
    "eventSourceToken": (256, r"[a-zA-Z0-9._\-]+"),
    "principalOrgID": (34, r"o-[a-z0-9]{10,32}"),
}
_REMOVED = (100, r"[a-zA-Z0-9-_.]+")
_AUTH_TYPES = ("NONE", "AWS_IAM")


class ResourcePolicies:
    """Serves the operations on policies of functions.

    make_revision: makes the id of a new revision
    """

    def __init__(self, parts: ControlParts, *, make_revision: Callable[[], str] = lambda: str(uuid4())) -> None:
        self._parts = parts
        self._make_revision = make_revision

    def operations(self) -> Operations:
        return {
            ControlOperation.ADD_PERMISSION: self._add,
            ControlOperation.REMOVE_PERMISSION: self._remove,
            ControlOperation.GET_POLICY: self._get,
            ControlOperation.PUT_RESOURCE_POLICY: self._put,
            ControlOperation.GET_RESOURCE_POLICY: self._get,
            ControlOperation.DELETE_RESOURCE_POLICY: self._delete,
        }

    async def _add(self, call: ControlCall) -> Result:
        body = read_body(call.body, PermissionBody)
        if isinstance(body, ControlRefusal):
            return body
        problems = [*find_name_problems(call.target), *_find_problems(body)]
        if problems or body.statement_id is None or body.action is None or body.principal is None:
            return refuse_invalid(problems)
        if call.qualifier == LATEST:
            return ControlRefusal(errors.POLICY_ON_LATEST)
        refusal = await self._find_missing(call) or self._parts.find_set_elsewhere(call, {_KEY: body.statement_id})
        if refusal is not None:
            return refusal
        arn = self._parts.arn(call, call.qualifier)
        grant = AddedGrant(
            body.statement_id, body.action, body.principal, body.source_arn, body.source_account,
            body.event_source_token, body.function_url_auth_type, body.invoked_via_function_url, body.principal_org_id,
        )  # fmt: skip
        made = make_statement(grant, arn, call.function.region or self._parts.region)
        statement = None if made is None else encode_statement(made)
        revision = self._make_revision()

        def change(_: ControlState, function: FunctionControl) -> FunctionControl | ControlRefusal:
            policy = function.policies.get(arn, _NO_STATEMENTS)
            if body.revision_id is not None and body.revision_id != policy.revision:
                return ControlRefusal(errors.OTHER_REVISION)
            if grant.statement_id in _list_ids(policy.statements):
                return ControlRefusal(errors.STATEMENT_EXISTS, statement=grant.statement_id)
            if statement is None:
                return ControlRefusal(errors.BAD_PRINCIPAL)
            statements = (*policy.statements, statement)
            size = len(encode_policy(statements).encode())
            if size > LONGEST_POLICY:
                return ControlRefusal(errors.POLICY_TOO_LONG, size=size, limit=LONGEST_POLICY)
            return with_policy(function, arn, FunctionPolicy(statements, revision))

        return await self._parts.change(call, change) or answer({"Statement": statement}, status=201)

    async def _remove(self, call: ControlCall) -> Result:
        wanted = call.target.statement
        problems = [*find_name_problems(call.target), *check_text("statementId", wanted, *_REMOVED)]
        if problems:
            return refuse_invalid(problems)
        refusal = await self._find_missing(call) or self._parts.find_set_elsewhere(call, {_KEY: wanted})
        if refusal is not None:
            return refusal
        arn = self._find_arn(call)
        given = call.target.query.get("RevisionId")
        revision = self._make_revision()

        def change(_: ControlState, function: FunctionControl) -> FunctionControl | ControlRefusal:
            policy = function.policies.get(arn)
            if policy is None:
                return ControlRefusal(errors.NO_POLICY)
            ids = _list_ids(policy.statements)
            if wanted not in ids:
                return ControlRefusal(errors.NO_STATEMENT, statement=wanted)
            if given is not None and given != policy.revision:
                return ControlRefusal(errors.OTHER_REVISION)
            kept = tuple(one for one, name in zip(policy.statements, ids, strict=True) if name != wanted)
            return with_policy(function, arn, FunctionPolicy(kept, revision) if kept else None)

        return await self._parts.change(call, change) or NO_CONTENT

    async def _put(self, call: ControlCall) -> Result:
        """Replaces all statements, also those of AddPermission."""
        body = read_body(call.body, ResourcePolicyBody)
        if isinstance(body, ControlRefusal):
            return body
        problems = [*find_name_problems(call.target), *check_given("policy", body.policy)]
        if problems or body.policy is None:
            return refuse_invalid(problems)
        refusal = await self._find_missing(call) or self._parts.find_set_elsewhere(call, {_KEY: body.policy})
        if refusal is not None:
            return refusal
        statements = _read_statements(body.policy)
        if isinstance(statements, ControlRefusal):
            return statements
        arn = self._find_arn(call)
        revision = self._make_revision()

        def change(_: ControlState, function: FunctionControl) -> FunctionControl | ControlRefusal:
            policy = function.policies.get(arn, _NO_STATEMENTS)
            if body.revision_id is not None and body.revision_id != policy.revision:
                return ControlRefusal(errors.OTHER_REVISION)
            if policy.statements == statements:
                return function
            return with_policy(function, arn, FunctionPolicy(statements, revision))

        return await self._parts.change(call, change) or self._describe(call, arn)

    async def _delete(self, call: ControlCall) -> Result:
        problems = find_name_problems(call.target)
        if problems:
            return refuse_invalid(problems)
        refusal = await self._find_missing(call) or self._parts.find_set_elsewhere(call, {_KEY: call.name})
        if refusal is not None:
            return refusal
        arn = self._find_arn(call)
        given = call.target.query.get("RevisionId")

        def change(_: ControlState, function: FunctionControl) -> FunctionControl | ControlRefusal:
            policy = function.policies.get(arn)
            if policy is None:
                return ControlRefusal(errors.POLICY_NOT_FOUND)
            if given is not None and given != policy.revision:
                return ControlRefusal(errors.OTHER_REVISION)
            return with_policy(function, arn, None)

        return await self._parts.change(call, change) or NO_CONTENT

    async def _get(self, call: ControlCall) -> Result:
        problems = find_name_problems(call.target)
        if problems:
            return refuse_invalid(problems)
        refusal = await self._find_missing(call)
        if refusal is not None:
            return refusal
        in_file = self._parts.file_values(call).resource_policy
        if in_file is not None:
            return answer({"Policy": in_file, "RevisionId": str(uuid5(NAMESPACE_OID, in_file))})
        return self._describe(call, self._find_arn(call))

    def _find_arn(self, call: ControlCall) -> str:
        """Returns the ARN of the policy. That of `$LATEST` is the function's."""
        return self._parts.arn(call, None if call.qualifier == LATEST else call.qualifier)

    def _describe(self, call: ControlCall, arn: str) -> Result:
        policy = self._parts.own(call).policies.get(arn)
        if policy is None:
            return ControlRefusal(errors.POLICY_NOT_FOUND)
        return answer({"Policy": encode_policy(policy.statements), "RevisionId": policy.revision})

    async def _find_missing(self, call: ControlCall) -> ControlRefusal | None:
        qualifier = None if call.qualifier == LATEST else call.qualifier
        if qualifier is not None:
            found = await self._parts.find_qualified(call, qualifier)
            return found if isinstance(found, ControlRefusal) else None
        return await self._parts.find_missing(call)


def _list_ids(statements: Iterable[str]) -> list[str]:
    return [str(read_object(statement.encode()).get("Sid", "")) for statement in statements]


def _read_statements(text: str) -> tuple[str, ...] | ControlRefusal:
    """Returns the statements of a policy, each as a JSON text."""
    size = len(text.encode())
    if size > LONGEST_POLICY:
        return ControlRefusal(errors.POLICY_TOO_LONG, size=size, limit=LONGEST_POLICY)
    try:
        parse_policy(text, "The policy", PolicyKind.RESOURCE)
    except BadPolicy as error:
        return ControlRefusal(errors.BAD_POLICY, text=str(error))
    given = read_object(text.encode())["Statement"]
    return tuple(encode_statement(one) for one in (given if isinstance(given, list) else [given]))


def _find_problems(body: PermissionBody) -> list[str]:
    given = {
        "statementId": body.statement_id,
        "action": body.action,
        "principal": body.principal,
        "sourceArn": body.source_arn,
        "sourceAccount": body.source_account,
        "eventSourceToken": body.event_source_token,
        "principalOrgID": body.principal_org_id,
    }
    problems = []
    for member in ("statementId", "action", "principal"):
        problems += check_given(member, given[member])
    for member, text in given.items():
        if text is not None:
            problems += check_text(member, text, *_MEMBERS[member])
    kind = body.function_url_auth_type
    return problems + check_choice("functionUrlAuthType", None if kind is None else kind.encode(), _AUTH_TYPES)
