"""Finds the function that a request invokes, and checks that Lambda accepts its parameters.

A path that a backend could read as an invocation must be counted as one, or a doubled slash would be a way around
every limit. So a path that is not canonical is read in every way that some backend has (`path_readings`). Where all
ways name one function and one operation, they are counted. If two ways differ, the path is refused: it would be
counted for one function and run for another. The bytes that are forwarded stay as they came.
"""

from __future__ import annotations

import re
import string
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, unquote

from ...invocation import Function, Invocation, InvocationType, Operation
from ...refusals import Refusal
from ..arn import find_partition
from .client_context import is_client_context
from .path_readings import (
    LONGEST_PATH,
    MOST_SEGMENTS,
    OPERATIONS,
    Reading,
    find_long_name,
    is_too_long,
    list_readings,
    may_be_invocation,
)
from .validation import check_choice, check_text, describe, join, too_long

# Nearly every path is of this form. It is read without a regular expression, which would cost more than all the rest.
_PLAIN_START, _PLAIN_END = b"/2015-03-31/functions/", b"/invocations"
_PLAIN_CHARACTERS = string.ascii_letters.encode() + string.digits.encode() + b"-_."
_PATHS = {
    Operation.INVOKE: ("2015-03-31", "invocations"),
    Operation.INVOKE_ASYNC: ("2014-11-13", "invoke-async"),
    Operation.INVOKE_WITH_RESPONSE_STREAM: ("2021-11-15", "response-streaming-invocations"),
}
_DATE_CHARACTERS = frozenset(string.digits + "-")

# The patterns of the Lambda service model, 2015-03-31; they are also quoted in the texts of refusals.
_NAME_PATTERN = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?"
    r"(function:)?([a-zA-Z0-9-_\.]+)(:(\$LATEST(\.PUBLISHED)?|[a-zA-Z0-9-_]+))?"
)
_QUALIFIER_PATTERN = r"\$(LATEST(\.PUBLISHED)?)|[a-zA-Z0-9-_$]+"
_TENANT_PATTERN = r"[a-zA-Z0-9\._:\/=+\-@ ]+"
_DURABLE_NAME_PATTERN = r"[a-zA-Z0-9-_]+"
_NAME = re.compile(_NAME_PATTERN, re.ASCII)
_PARTITION_GROUP, _REGION_GROUP, _ACCOUNT_GROUP, _NAME_GROUP, _QUALIFIER_GROUP = 2, 3, 9, 11, 13

_NAME_LENGTH = 256
_QUALIFIER_LENGTH = 128
_TENANT_LENGTH = 256
_DURABLE_NAME_LENGTH = 64
_CLIENT_CONTEXT_LENGTH = 3583

# Paths that are kept with what they name: so many, up to so many bytes, because clients invent names.
_KNOWN_PATHS = 4096
_LONGEST_KNOWN = 512

_CANONICAL = "Send the path in the form /2015-03-31/functions/{FunctionName}/invocations."
_TWO_READINGS = "1 validation error detected: The path can be read as"
_TOO_LONG_PATH = (
    f"1 validation error detected: The path is longer than {LONGEST_PATH} bytes or {MOST_SEGMENTS} segments. "
    + _CANONICAL
)

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


class BadTarget(NamedTuple):
    """Holds the refusal of a request that names nothing to invoke, with the values of its text."""

    refusal: Refusal
    values: dict[str, object]


def parse_target(
    raw_path: bytes, query: bytes, headers: Mapping[bytes, bytes], region: str
) -> Invocation | BadTarget | None:
    """Returns the invocation that a request is for, `None` when it is none, or the reason why it is a bad one.

    `headers` are the request's, names in lower case. Checks and their order are the contract's: all constraint
    failures in one message, then the qualifiers' agreement, then the Region. The client context is looked at last.
    """
    if (
        not query
        and len(raw_path) <= _LONGEST_KNOWN
        # One by one: `isdisjoint` takes longer.
        and b"x-amz-invocation-type" not in headers
        and b"x-amz-log-type" not in headers
        and b"x-amz-client-context" not in headers
        and b"x-amz-tenant-id" not in headers
        and b"x-amz-durable-execution-name" not in headers
    ):
        return _parse_path(raw_path, region)
    return _parse(raw_path, query, headers, region)


@lru_cache(_KNOWN_PATHS)
def _parse_path(raw_path: bytes, region: str) -> Invocation | BadTarget | None:
    """Returns the target of a request of which nothing but the path matters."""
    return _parse_plain(raw_path) or _parse(raw_path, b"", {}, region)


def _parse(raw_path: bytes, query: bytes, headers: Mapping[bytes, bytes], region: str) -> Invocation | BadTarget | None:
    found = _find_operation(raw_path)
    if found is None or isinstance(found, BadTarget):
        return found
    operation, name = found
    return _parse_invocation(operation, name, query, headers, region)


def _parse_plain(raw_path: bytes) -> Invocation | None:
    """Returns the call of a function by its plain name; None for any other path."""
    if not (raw_path.startswith(_PLAIN_START) and raw_path.endswith(_PLAIN_END)):
        return None
    name = raw_path[len(_PLAIN_START) :][: -len(_PLAIN_END)]  # both may be of the same bytes
    if not 0 < len(name) <= _NAME_LENGTH or name.translate(None, _PLAIN_CHARACTERS):
        return None
    return Invocation(_INVOKE, Function(name.decode("ascii")), _REQUEST_RESPONSE)


def as_call(target: Invocation | BadTarget) -> Invocation | BadTarget:
    """Returns the target of a request by another method than POST: a call that takes a slot, and never an event or a
    dry run.

    AWS has no such request, but some backends run the function (AWS's Runtime Interface Emulator for every method). A
    browser's preflight of InvokeAsync must not be kept as an event.
    """
    if isinstance(target, BadTarget) or target.is_synchronous:
        return target
    if target.operation is not Operation.INVOKE_ASYNC:
        problems = check_choice("invocationType", target.type.encode(), ("RequestResponse",))
        return BadTarget(Refusal.VALIDATION, {"text": join(problems)})
    return Invocation(target.operation, target.function, InvocationType.REQUEST_RESPONSE)


def canonical_path(operation: Operation, name: str) -> bytes:
    """Returns the path of the operation in the service model, for a function's name or ARN."""
    date, suffix = _PATHS[operation]
    return f"/{date}/functions/{quote(name, safe='')}/{suffix}".encode()


def _find_operation(raw_path: bytes) -> Reading | BadTarget | None:
    segments = raw_path.decode("latin-1").split("/")
    match segments:
        case ["", date, "functions", name, suffix] if suffix in OPERATIONS and _DATE_CHARACTERS.issuperset(date):
            return OPERATIONS[suffix], unquote(name)
    return _read_leniently(raw_path) if may_be_invocation(raw_path) else None


def _read_leniently(raw_path: bytes) -> Reading | BadTarget | None:
    """Returns the one function and operation that the path names in every reading."""
    if is_too_long(raw_path):
        return BadTarget(Refusal.VALIDATION, {"text": _TOO_LONG_PATH})
    readings = list_readings(raw_path)
    if not readings:
        return find_long_name(raw_path)
    if len(readings) == 1:
        return readings[0]
    for reading in readings:  # a name that is none is described as such, as AWS does
        if check_text("functionName", reading[1], _NAME_LENGTH, _NAME_PATTERN):
            return reading
    names = " and ".join(f"{operation} of '{name}'" for operation, name in readings[:2])
    return BadTarget(Refusal.VALIDATION, {"text": f"{_TWO_READINGS} {names}. {_CANONICAL}"})


def _parse_invocation(
    operation: Operation, name: str, query: bytes, headers: Mapping[bytes, bytes], region: str
) -> Invocation | BadTarget:
    parameters = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)) if query else {}
    qualifier = parameters.get("Qualifier")
    problems = _find_problems(operation, name, qualifier, headers)
    if problems:
        return BadTarget(Refusal.VALIDATION, {"text": join(problems)})
    parts = _NAME.fullmatch(name)
    assert parts is not None  # _find_problems has matched it
    named_qualifier = parts[_QUALIFIER_GROUP]
    if qualifier is not None and named_qualifier is not None and qualifier != named_qualifier:
        return BadTarget(Refusal.QUALIFIER_CONFLICT, {})
    named_region, account = (parts[group] and parts[group][:-1] for group in (_REGION_GROUP, _ACCOUNT_GROUP))
    if named_region is not None and named_region != region:
        return BadTarget(Refusal.WRONG_REGION, {"region": named_region, "here": region})
    if operation is not Operation.INVOKE_ASYNC and not is_client_context(headers.get(b"x-amz-client-context", b"")):
        return BadTarget(Refusal.INVALID_CLIENT_CONTEXT, {})
    partition = parts[_PARTITION_GROUP]
    if partition == find_partition(region):
        partition = None
    function = Function(parts[_NAME_GROUP], named_qualifier or qualifier, account, named_region, partition or None)
    return Invocation(operation, function, _find_type(operation, headers))


def _find_type(operation: Operation, headers: Mapping[bytes, bytes]) -> InvocationType:
    if operation is Operation.INVOKE_ASYNC:
        return InvocationType.EVENT
    return InvocationType(headers.get(b"x-amz-invocation-type", b"RequestResponse").decode("latin-1"))


def _find_problems(operation: Operation, name: str, qualifier: str | None, headers: Mapping[bytes, bytes]) -> list[str]:
    problems = check_text("functionName", name, _NAME_LENGTH, _NAME_PATTERN)
    if operation is Operation.INVOKE_ASYNC:  # it takes the name and a body, nothing else
        return problems
    problems += check_choice("invocationType", headers.get(b"x-amz-invocation-type"), _TYPE_NAMES[operation])
    problems += check_choice("logType", headers.get(b"x-amz-log-type"), ("None", "Tail"))
    context = headers.get(b"x-amz-client-context")
    if context is not None and len(context) > _CLIENT_CONTEXT_LENGTH:
        problems.append(describe(context.decode("latin-1"), "clientContext", too_long(_CLIENT_CONTEXT_LENGTH)))
    if operation is Operation.INVOKE:
        problems += _check_header(
            "durableExecutionName", headers.get(b"x-amz-durable-execution-name"), _DURABLE_NAME_LENGTH,
            _DURABLE_NAME_PATTERN,
        )  # fmt: skip
    if qualifier is not None:
        problems += check_text("qualifier", qualifier, _QUALIFIER_LENGTH, _QUALIFIER_PATTERN)
    problems += _check_header("tenantId", headers.get(b"x-amz-tenant-id"), _TENANT_LENGTH, _TENANT_PATTERN)
    return problems


def _check_header(member: str, value: bytes | None, longest: int, pattern: str) -> list[str]:
    return [] if value is None else check_text(member, value.decode("latin-1"), longest, pattern)
