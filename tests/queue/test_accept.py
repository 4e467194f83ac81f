"""What an event keeps of the request that it came with."""

from __future__ import annotations

import pytest

from gateway.policy.limits import AccountLimits
from gateway.queue.accept import make_event
from gateway.queue.event import Event
from tests.middleware.stages import make_exchange

INVOKE_ASYNC = "/2014-11-13/functions/{}/invoke-async"
SIGNATURE = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=111122223333%2F20250101&X-Amz-Signature=0"


def accept(path: str, query: str = "", *, region: str = "us-east-1") -> Event:
    exchange = make_exchange(path, (("x-amz-invocation-type", "Event"),), query)
    assert exchange.invocation is not None
    exchange.plan = AccountLimits("111122223333", 10).plan(exchange.invocation.function.name)
    scope = {"raw_path": path.encode(), "query_string": query.encode(), "headers": []}
    return make_event(exchange, scope, region=region, now=0)


@pytest.mark.parametrize(
    ("query", "kept"), [("", ""), (SIGNATURE, SIGNATURE), (f"Qualifier=live&{SIGNATURE}&x=y", SIGNATURE)]
)
def test_the_run_of_the_old_operation_says_who_calls(query: str, kept: str) -> None:
    """A backend finds the account of a presigned call in its query."""
    assert accept(INVOKE_ASYNC.format("checkout"), query).query == kept.encode()
