"""The vocabulary: what is invoked, how, and by whom."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Operation(StrEnum):
    """The operations of the invoke family, by the names that the service model gives them."""

    INVOKE = "Invoke"
    INVOKE_ASYNC = "InvokeAsync"
    INVOKE_WITH_RESPONSE_STREAM = "InvokeWithResponseStream"


class InvocationType(StrEnum):
    """Values of `X-Amz-Invocation-Type`; absent means `RequestResponse`."""

    REQUEST_RESPONSE = "RequestResponse"
    EVENT = "Event"
    DRY_RUN = "DryRun"


# To find a member of an enumeration by its class takes several times as long, before Python 3.12.
_WITH_RESPONSE_STREAM = Operation.INVOKE_WITH_RESPONSE_STREAM
_REQUEST_RESPONSE = InvocationType.REQUEST_RESPONSE


class Function(NamedTuple):
    """Names a function as the caller did. `account`, `region` and `partition` are set only where an ARN said them; the
    partition only where it is not its Region's."""

    name: str
    qualifier: str | None = None
    account: str | None = None
    region: str | None = None
    partition: str | None = None


@dataclass(slots=True, init=False)
class Invocation:
    """`is_synchronous`: the caller waits for the function, so that the call occupies concurrency."""

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
    """Names the caller, as parsed from `Authorization` or the query. No part of it has been verified."""

    access_key_id: str | None
    account: str | None


ANONYMOUS = Caller(None, None)
