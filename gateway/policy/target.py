"""Which function a request invokes, and whether its parameters are ones that Lambda accepts.

A path that a backend could read as an invocation must be counted as one, or a doubled slash would be a way around
every limit. So a path that is not canonical is also looked at the way a lenient backend would: decoded, its
slashes collapsed, dot segments resolved, anything accepted for the API's date and whatever follows the operation
ignored (MiniStack does both). The bytes that are forwarded stay as they came.
"""

from __future__ import annotations

import posixpath
import re
import string
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote

from ..invocation import Function, Invocation, InvocationType, Operation
from ..refusals import Refusal

_OPERATIONS = {
    "invocations": Operation.INVOKE,
    "invoke-async": Operation.INVOKE_ASYNC,
    "response-streaming-invocations": Operation.INVOKE_WITH_RESPONSE_STREAM,
}
# Nearly every path is of this form. It is read without a regular expression, which would cost more than all the rest.
_PLAIN_START, _PLAIN_END = b"/2015-03-31/functions/", b"/invocations"
_PLAIN_CHARACTERS = string.ascii_letters.encode() + string.digits.encode() + b"-_."
_INVOKE_PATH = re.compile(
    r"/[^/]+/functions/(.*)/(invocations|invoke-async|response-streaming-invocations)(?:/.*)?", re.DOTALL
)

# The patterns of the Lambda service model, 2015-03-31; they are also quoted in the texts of refusals.
_NAME_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?"
    r"(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
_QUALIFIER_PATTERN = r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"
_TENANT_PATTERN = r"[a-zA-Z0-9\._:\/=+\-@ ]+"
_DURABLE_NAME_PATTERN = r"[a-zA-Z0-9-_]+"
_NAME = re.compile(_NAME_PATTERN, re.ASCII)
_REGION_GROUP, _ACCOUNT_GROUP, _NAME_GROUP, _QUALIFIER_GROUP = 3, 9, 11, 13

_NAME_LENGTH = 256
_QUALIFIER_LENGTH = 128
_TENANT_LENGTH = 256
_DURABLE_NAME_LENGTH = 64
_CLIENT_CONTEXT_LENGTH = 3583

_new = tuple.__new__  # a named tuple's own constructor takes twice the time
_INVOKE, _REQUEST_RESPONSE = Operation.INVOKE, InvocationType.REQUEST_RESPONSE
_TYPES = tuple(InvocationType)
_TYPE_NAMES = {
    Operation.INVOKE: ("Event", "RequestResponse", "DryRun"),
    Operation.INVOKE_WITH_RESPONSE_STREAM: ("RequestResponse", "DryRun"),
}

# Headers that a stage reads. Each may come only once, because a backend that takes the
# other copy would run something else than what was counted.
READ_HEADERS = frozenset(
    {
        b"authorization",
        b"connection",
        b"content-length",
        b"expect",
        b"host",
        b"transfer-encoding",
        b"x-amz-client-context",
        b"x-amz-durable-execution-name",
        b"x-amz-invocation-type",
        b"x-amz-log-type",
        b"x-amz-tenant-id",
        b"x-amzn-requestid",
        b"x-amzn-trace-id",
    }
)
_PARAMETER_HEADERS = frozenset(
    {
        b"x-amz-client-context",
        b"x-amz-durable-execution-name",
        b"x-amz-invocation-type",
        b"x-amz-log-type",
        b"x-amz-tenant-id",
    }
)


class BadTarget(NamedTuple):
    """Why the request names nothing that can be invoked, with the values that fill the refusal's text."""

    refusal: Refusal
    values: dict[str, object]


def parse_target(
    raw_path: bytes, query: bytes, headers: Mapping[bytes, bytes], region: str
) -> Invocation | BadTarget | None:
    """The invocation that a POST asks for, `None` when it is no invocation, or why it is a bad one.

    `headers` are the request's, names in lower case. Checks and their order are the contract's: all constraint
    failures in one message, then the qualifiers' agreement, then the Region.
    """
    if raw_path.startswith(_PLAIN_START) and raw_path.endswith(_PLAIN_END) and not query:
        plain = raw_path[len(_PLAIN_START) : -len(_PLAIN_END)]
        if (
            0 < len(plain) <= _NAME_LENGTH
            and not plain.translate(None, _PLAIN_CHARACTERS)
            and headers.keys().isdisjoint(_PARAMETER_HEADERS)
        ):
            function = _new(Function, (plain.decode("ascii"), None, None, None))
            return Invocation(_INVOKE, function, _REQUEST_RESPONSE)
    found = _find_operation(raw_path)
    if found is None:
        return None
    operation, name = found
    return _parse_invocation(operation, name, query, headers, region)


def _find_operation(raw_path: bytes) -> tuple[Operation, str] | None:
    segments = raw_path.decode("latin-1").split("/")
    match segments:
        case ["", date, "functions", name, suffix] if suffix in _OPERATIONS and date[:1].isdigit():
            return _OPERATIONS[suffix], unquote(name)
    lenient = posixpath.normpath(re.sub("/+", "/", unquote(raw_path.decode("latin-1"))))
    found = _INVOKE_PATH.fullmatch(lenient)
    return (_OPERATIONS[found[2]], found[1]) if found else None


def _parse_invocation(
    operation: Operation, name: str, query: bytes, headers: Mapping[bytes, bytes], region: str
) -> Invocation | BadTarget:
    parameters = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {}
    qualifier = parameters.get("Qualifier")
    problems = _find_problems(operation, name, qualifier, headers)
    if problems:
        return BadTarget(Refusal.VALIDATION, {"text": _join(problems)})
    parts = _NAME.fullmatch(name)
    assert parts is not None  # _find_problems has matched it
    named_qualifier = parts[_QUALIFIER_GROUP]
    if qualifier is not None and named_qualifier is not None and qualifier != named_qualifier:
        return BadTarget(Refusal.QUALIFIER_CONFLICT, {})
    named_region, account = (parts[group] and parts[group][:-1] for group in (_REGION_GROUP, _ACCOUNT_GROUP))
    if named_region is not None and named_region != region:
        return BadTarget(Refusal.WRONG_REGION, {"region": named_region, "here": region})
    function = Function(parts[_NAME_GROUP], named_qualifier or qualifier, account, named_region)
    return Invocation(operation, function, _find_type(operation, headers))


def _find_type(operation: Operation, headers: Mapping[bytes, bytes]) -> InvocationType:
    if operation is Operation.INVOKE_ASYNC:
        return InvocationType.EVENT
    return InvocationType(headers.get(b"x-amz-invocation-type", b"RequestResponse").decode("latin-1"))


def _find_problems(operation: Operation, name: str, qualifier: str | None, headers: Mapping[bytes, bytes]) -> list[str]:
    problems = _check_text("functionName", name, _NAME_LENGTH, _NAME_PATTERN)
    if operation is Operation.INVOKE_ASYNC:  # it takes the name and a body, nothing else
        return problems
    problems += _check_choice("invocationType", headers.get(b"x-amz-invocation-type"), _TYPE_NAMES[operation])
    problems += _check_choice("logType", headers.get(b"x-amz-log-type"), ("None", "Tail"))
    context = headers.get(b"x-amz-client-context")
    if context is not None and len(context) > _CLIENT_CONTEXT_LENGTH:
        problems.append(_describe(context.decode("latin-1"), "clientContext", _too_long(_CLIENT_CONTEXT_LENGTH)))
    if operation is Operation.INVOKE:
        problems += _check_header(
            "durableExecutionName", headers.get(b"x-amz-durable-execution-name"), _DURABLE_NAME_LENGTH,
            _DURABLE_NAME_PATTERN,
        )  # fmt: skip
    if qualifier is not None:
        problems += _check_text("qualifier", qualifier, _QUALIFIER_LENGTH, _QUALIFIER_PATTERN)
    problems += _check_header("tenantId", headers.get(b"x-amz-tenant-id"), _TENANT_LENGTH, _TENANT_PATTERN)
    return problems


def _check_header(member: str, value: bytes | None, longest: int, pattern: str) -> list[str]:
    return [] if value is None else _check_text(member, value.decode("latin-1"), longest, pattern)


def _check_text(member: str, value: str, longest: int, pattern: str) -> list[str]:
    problems = []
    if not value:
        problems.append(_describe(value, member, "Member must have length greater than or equal to 1"))
    if len(value) > longest:
        problems.append(_describe(value, member, _too_long(longest)))
    if value and re.fullmatch(pattern, value, re.ASCII) is None:
        problems.append(_describe(value, member, f"Member must satisfy regular expression pattern: {pattern}"))
    return problems


def _check_choice(member: str, value: bytes | None, choices: tuple[str, ...]) -> list[str]:
    if value is None or value.decode("latin-1") in choices:
        return []
    text = f"Member must satisfy enum value set: [{', '.join(choices)}]"
    return [_describe(value.decode("latin-1"), member, text)]


def _too_long(longest: int) -> str:
    return f"Member must have length less than or equal to {longest}"


def _describe(value: str, member: str, constraint: str) -> str:
    return f"Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"


def _join(problems: list[str]) -> str:
    count = len(problems)
    return f"{count} validation error{'s' if count > 1 else ''} detected: {'; '.join(problems)}"
