"""Checks what an event keeps of its request."""

from __future__ import annotations

from urllib.parse import quote, unquote

import pytest

from invoke_gateway.invocation import Invocation
from invoke_gateway.policy.limits import AccountLimits
from invoke_gateway.policy.requests.request_target import parse_target
from invoke_gateway.queue.event import Event
from invoke_gateway.queue.from_request import make_event
from tests.middleware.stages import make_exchange

INVOKE_ASYNC = "/2014-11-13/functions/{}/invoke-async"
SIGNATURE = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=111122223333%2F20250101&X-Amz-Signature=0"


def accept(path: str, query: str = "", *, region: str = "us-east-1", body: bytes | bytearray = b"") -> Event:
    exchange = make_exchange(path, (("x-amz-invocation-type", "Event"),), query)
    target = parse_target(path.encode(), query.encode(), exchange.headers, region)
    assert isinstance(target, Invocation)
    exchange.invocation = target
    exchange.body = body
    exchange.plan = AccountLimits("111122223333", 10).plan(exchange.invocation.function.name)
    scope = {"raw_path": path.encode(), "query_string": query.encode(), "headers": []}
    return make_event(exchange, scope, region=region, now=0)


@pytest.mark.parametrize(
    ("query", "kept"), [("", ""), (SIGNATURE, SIGNATURE), (f"Qualifier=live&{SIGNATURE}&x=y", SIGNATURE)]
)
def test_the_run_of_the_old_operation_says_who_calls(query: str, kept: str) -> None:
    """A backend finds the account of a presigned call in its query."""
    assert accept(INVOKE_ASYNC.format("checkout"), query).query == kept.encode()


OF_CHINA = "arn:aws-cn:lambda:cn-north-1:444455556666:function:checkout"
NAMES = {
    "checkout": ("checkout", "arn:aws-cn:lambda:cn-north-1:111122223333:function:checkout:$LATEST"),
    "444455556666:checkout": ("444455556666:function:checkout", f"{OF_CHINA}:$LATEST"),
    "cn-north-1:444455556666:function:checkout": (OF_CHINA, f"{OF_CHINA}:$LATEST"),
    f"{OF_CHINA}:live": (f"{OF_CHINA}:live", f"{OF_CHINA}:live"),
    f"{OF_CHINA.replace('aws-cn', 'aws')}:live": (
        f"{OF_CHINA.replace('aws-cn', 'aws')}:live",
        f"{OF_CHINA.replace('aws-cn', 'aws')}:live",
    ),
    OF_CHINA.replace("aws-cn", ""): (OF_CHINA, f"{OF_CHINA}:$LATEST"),
}


@pytest.mark.parametrize(("name", "run", "arn"), [(name, *expected) for name, expected in NAMES.items()])
def test_an_event_stays_in_its_partition(name: str, run: str, arn: str) -> None:
    """In its records, and in the run that follows InvokeAsync."""
    event = accept(INVOKE_ASYNC.format(quote(name, safe="")), region="cn-north-1")
    assert event.arn == arn
    assert unquote(event.path.decode()) == f"/2015-03-31/functions/{run}/invocations"
    sent = f"/2015-03-31/functions/{quote(name, safe='')}/invocations"
    event = accept(sent, region="cn-north-1")
    assert (event.arn, event.path.decode()) == (arn, sent)


def test_the_body_of_an_event_is_bytes() -> None:
    """The listener reads a large one into a buffer, which no store would take."""
    event = accept("/2015-03-31/functions/checkout/invocations", body=bytearray(b"[1]"))
    assert (type(event.body), event.body) == (bytes, b"[1]")
