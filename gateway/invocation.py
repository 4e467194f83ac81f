"""The vocabulary: what is invoked, how, and by whom."""

from __future__ import annotations

from dataclasses import dataclass, field
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


class Function(NamedTuple):
    """A function as the caller named it. `account` and `region` are set only where an ARN said them."""

    name: str
    qualifier: str | None = None
    account: str | None = None
    region: str | None = None


@dataclass(slots=True)  # not frozen: one is made for nearly every request, and freezing triples its price
class Invocation:
    """`is_synchronous`: the caller waits for the function, so that the call occupies concurrency."""

    operation: Operation
    function: Function
    type: InvocationType
    is_synchronous: bool = field(init=False)
    is_streamed: bool = field(init=False)

    def __post_init__(self) -> None:
        self.is_synchronous = self.type is InvocationType.REQUEST_RESPONSE
        self.is_streamed = self.operation is Operation.INVOKE_WITH_RESPONSE_STREAM


class Caller(NamedTuple):
    """Who calls, as parsed from `Authorization`. Nothing of it has been verified."""

    access_key_id: str | None
    account: str | None


ANONYMOUS = Caller(None, None)
