"""Makes an event of a request: the synchronous invocation that will run it."""

from __future__ import annotations

from ..asgi import Scope
from ..exchange import Exchange
from ..invocation import Function, Operation
from ..policy.arn import make_arn, make_prefix
from ..policy.recursion import TRACE_HEADER
from ..policy.requests.caller import keep_signature
from ..policy.requests.request_target import canonical_path
from .event import NO_PAYLOAD, Event, Headers
from .scheduling.lanes import QueueKind, name_lane

# Headers of this one request. An asynchronous invocation has neither log tail nor client context. The gateway counts
# its attempts, and makes the other headers again when it runs.
_NOT_KEPT = frozenset(
    {
        b"amz-sdk-request",
        b"content-length",
        b"expect",
        b"transfer-encoding",
        b"x-amz-client-context",
        b"x-amz-invocation-type",
        b"x-amz-log-type",
        b"x-amzn-requestid",
    }
)


def make_event(exchange: Exchange, scope: Scope, *, region: str, now: float) -> Event:
    """Makes the event of an `Event` invocation whose body is read and whose plan is known. `now`: seconds since the
    epoch."""
    invocation, plan = exchange.invocation, exchange.plan
    assert invocation is not None
    assert plan is not None
    function = invocation.function
    body, exchange.body = bytes(exchange.body or NO_PAYLOAD), b""
    path, query = scope["raw_path"], scope["query_string"]
    if invocation.operation is Operation.INVOKE_ASYNC:
        path, query = _invoke_path(function), keep_signature(query)
    return Event(
        request_id=exchange.request_id,
        account=plan.account,
        function=function.name,
        arn=make_arn(function, region=region, account=plan.account),
        path=path,
        query=query,
        headers=_keep_headers(exchange, scope),
        body=body,
        received_at=now,
        due_at=now,
        lane=name_lane(plan.account, QueueKind.RUN, function.name),
    )


def invoke_scope(function: Function, trace: bytes) -> Scope:
    """Returns the scope of an invocation that no client has sent, with its trace header."""
    return {"raw_path": _invoke_path(function), "query_string": b"", "headers": [(TRACE_HEADER, trace)]}


def _keep_headers(exchange: Exchange, scope: Scope) -> Headers:
    kept = [header for header in scope["headers"] if header[0] not in _NOT_KEPT]
    kept.append((b"x-amzn-requestid", exchange.request_id.encode()))
    return kept


def _invoke_path(function: Function) -> bytes:
    """Returns the path of `Invoke` for a function. The path of `InvokeAsync` would not wait for the run."""
    name = function.name
    if function.account is not None:
        if function.region is not None:
            name = make_prefix(function, function.region, function.account) + name
        else:
            name = f"{function.account}:function:{name}"
    if function.qualifier is not None:
        name = f"{name}:{function.qualifier}"
    return canonical_path(Operation.INVOKE, name)
