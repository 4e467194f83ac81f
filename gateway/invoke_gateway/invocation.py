"""Defines the vocabulary of an invocation: operation, type, function and caller."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

TENANT_HEADER = b"x-amz-tenant-id"


class Operation(StrEnum):
    """Lists the operations of the invoke family, by their names in the service model."""

    INVOKE = "Invoke"
    INVOKE_ASYNC = "InvokeAsync"
    INVOKE_WITH_RESPONSE_STREAM = "InvokeWithResponseStream"


class InvocationType(StrEnum):
    """Lists the values of `X-Amz-Invocation-Type`; absent means `RequestResponse`."""

    REQUEST_RESPONSE = "RequestResponse"
    EVENT = "Event"
    DRY_RUN = "DryRun"


# To find a member of an enumeration by its class takes several times as long, before Python 3.12.
_WITH_RESPONSE_STREAM = Operation.INVOKE_WITH_RESPONSE_STREAM
_REQUEST_RESPONSE = InvocationType.REQUEST_RESPONSE


class Function(NamedTuple):
    """Names a function as the caller named it. `account`, `region` and `partition` come from an ARN, else they are
    None. The partition is None if it is the partition of the Region."""

    name: str
    qualifier: str | None = None
    account: str | None = None
    region: str | None = None
    partition: str | None = None


@dataclass(slots=True, init=False)
class Invocation:
    """Holds the operation, the function and the type of one invocation.

    is_synchronous: the caller waits for the function, so the call occupies concurrency
    """

    operation: Operation
    function: Function
    type: InvocationType
    is_synchronous: bool
    is_streamed: bool

    # One is made for each request. The constructor that a dataclass writes cannot work out the last two without a
    # second call, and freezing would triple the price.
    def __init__(self, operation: Operation, function: Function, type_: InvocationType) -> None:
        self.operation = operation
        self.function = function
        self.type = type_
        self.is_synchronous = type_ is _REQUEST_RESPONSE
        self.is_streamed = operation is _WITH_RESPONSE_STREAM


class Caller(NamedTuple):
    """Names the caller, as parsed from `Authorization` or the query.

    arn: the caller's ARN, known only where the signature is verified; None: no part of the caller has been verified
    """

    access_key_id: str | None
    account: str | None
    arn: str | None = None


ANONYMOUS = Caller(None, None)
