"""Defines what the live tests and the transcript share: limits, functions, a call that holds its slot, a throttle."""

import uuid
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.live.clients import DEFAULT_ACCESS_KEY, Boto3, Client, Outcome, event
from tests.live.servers import Gateway
from tests.support.processes import wait_until

DEFAULT_ACCOUNT = "000000000000"
SMALL_ACCOUNT = "111122223333"

# Rates are off: these scenarios are about slots, and ten calls a second is what a single slot would allow.
ACCOUNTS: dict[str, Any] = {
    "default": {
        "concurrent_executions": 10,
        "requests_per_second": "off",
        "functions": {
            "checkout": {"reserved_concurrent_executions": 1, "requests_per_second": "off"},
            "slow": {"reserved_concurrent_executions": 1, "requests_per_second": "off"},
            "slower": {"reserved_concurrent_executions": 1, "requests_per_second": "off"},
            "closed": {"reserved_concurrent_executions": 0},
        },
    },
    SMALL_ACCOUNT: {"concurrent_executions": 1, "requests_per_second": "off"},
}
ACCOUNT_REASON = "ConcurrentInvocationLimitExceeded"
RESERVED_REASON = "ReservedFunctionConcurrentInvocationLimitExceeded"

FUNCTIONS = {
    DEFAULT_ACCESS_KEY: ("probe", "checkout", "slow", "slower", "closed"),
    SMALL_ACCOUNT: ("probe", "bystander"),
}


def create_functions(endpoint: str) -> None:
    """Creates the functions of both accounts; CreateFunction passes the gateway like any other request."""
    for access_key, functions in FUNCTIONS.items():
        client = Boto3(endpoint, access_key)
        try:
            for function in functions:
                client.create(function)
        finally:
            client.close()


@contextmanager
def held_slot(
    client: Client, gateway: Gateway, function: str, release: Path, account: str = DEFAULT_ACCOUNT
) -> Iterator[Future[Outcome]]:
    """Runs a call from the beginning of the block to its end, with its outcome in the future.

    The function waits for the file `release`, and the gateway's /limits shows when the call has its slot. So nothing
    depends on timing.
    """
    before = gateway.in_flight(account)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(client.invoke, function, event(wait_for=str(release)))
        try:
            wait_until(lambda: call.done() or gateway.in_flight(account) > before, f"{function} has a slot")
            assert not call.done(), f"the call that was to hold a slot ended at once: {call.result()}"
            yield call
        finally:
            release.touch()
            call.exception()  # waits; the test looks at the outcome
    wait_until(lambda: gateway.in_flight(account) == before, f"{function} has given its slot back")


def is_uuid(text: str | None) -> bool:
    """Returns True if `text` is a UUID in the one spelling that AWS uses: lower case, with hyphens."""
    return text is not None and str(uuid.UUID(text)) == text


def assert_throttled(outcome: Outcome, reason: str, *, has_pause: bool = True) -> None:
    """Asserts that the client raised its own class for a throttle, with every member that AWS sends, and a pause where
    one helps."""
    seen = (outcome.error, outcome.status, outcome.reason, outcome.type, outcome.message)
    assert seen == ("TooManyRequestsException", 429, reason, "User", "Rate Exceeded."), outcome
    assert outcome.is_modelled is not False, outcome
    assert (int(outcome.retry_after_seconds or 0) >= 1) is has_pause, outcome
    assert is_uuid(outcome.request_id), outcome
