"""Real clients refused for want of a slot: what they parse, what holds a slot and what does not."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from botocore.exceptions import ReadTimeoutError

from tests.live.clients import DEFAULT_ACCESS_KEY, Boto3, Client, JavaScript, NodeProcess, event
from tests.live.scenario import (
    ACCOUNT_REASON,
    DEFAULT_ACCOUNT,
    RESERVED_REASON,
    SMALL_ACCOUNT,
    assert_throttled,
    held_slot,
)
from tests.live.servers import Gateway
from tests.support.processes import wait_until


def test_of_two_overlapping_calls_a_reservation_of_one_admits_one(
    client: Client, gateway: Gateway, tmp_path: Path
) -> None:
    """The first gets its 200, the second a throttle that names the reservation; then there is room again."""
    with held_slot(client, gateway, "checkout", tmp_path / "release") as first:
        second = client.invoke("checkout")

    assert_throttled(second, RESERVED_REASON)
    assert first.result().status == 200
    assert client.invoke("checkout").status == 200


def test_a_full_account_refuses_a_function_without_a_reservation(
    small_client: Client, gateway: Gateway, tmp_path: Path
) -> None:
    """One function holds the account's only slot: another one is refused with the account's reason."""
    with held_slot(small_client, gateway, "probe", tmp_path / "release", SMALL_ACCOUNT) as first:
        second = small_client.invoke("bystander")

    assert_throttled(second, ACCOUNT_REASON)
    assert first.result().status == 200
    assert small_client.invoke("bystander").status == 200


def test_accounts_do_not_share_slots(client: Client, small_client: Client, gateway: Gateway, tmp_path: Path) -> None:
    """While one account is full, another one's function of the same name is admitted."""
    with held_slot(small_client, gateway, "probe", tmp_path / "release", SMALL_ACCOUNT):
        assert client.invoke("probe").status == 200


def test_a_full_reservation_leaves_the_other_functions_alone(client: Client, gateway: Gateway, tmp_path: Path) -> None:
    """A function without a reservation is admitted while another one's reservation is used up."""
    with held_slot(client, gateway, "checkout", tmp_path / "release"):
        assert client.invoke("probe").status == 200


@pytest.mark.parametrize(
    ("name", "qualifier"),
    [
        ("checkout", "$LATEST"),
        ("checkout:live", None),
        ("000000000000:function:checkout", None),
        ("arn:aws:lambda:us-east-1:000000000000:function:checkout", None),
        ("arn:aws:lambda:us-east-1:000000000000:function:checkout:7", None),
    ],
)
def test_every_way_to_name_a_function_meets_the_same_reservation(
    boto3_client: Callable[..., Boto3], gateway: Gateway, tmp_path: Path, name: str, qualifier: str | None
) -> None:
    """Name, alias, version, partial and full ARN are refused alike while the plain name holds the slot."""
    client = boto3_client(gateway.url)

    with held_slot(client, gateway, "checkout", tmp_path / "release"):
        assert gateway.function(DEFAULT_ACCOUNT, "checkout")["in_flight"] == 1
        assert_throttled(client.invoke(name, qualifier=qualifier), RESERVED_REASON)


def test_a_full_arn_holds_the_slot_of_the_plain_name(client: Client, gateway: Gateway, tmp_path: Path) -> None:
    """The other way round: the call that is running came by ARN, whose colons the client percent-encoded."""
    arn = "arn:aws:lambda:us-east-1:000000000000:function:checkout"

    with held_slot(client, gateway, arn, tmp_path / "release"):
        assert_throttled(client.invoke("checkout"), RESERVED_REASON)


def test_a_reservation_of_zero_refuses_every_synchronous_call(client: Client) -> None:
    """Zero is a reservation like any other, not the absence of one."""
    assert_throttled(client.invoke("closed"), RESERVED_REASON, has_pause=False)


def test_an_event_is_accepted_at_a_reservation_of_zero(client: Client) -> None:
    """Storing an asynchronous call takes no slot: 202 and an empty body, as AWS does it."""
    outcome = client.invoke("closed", invocation_type="Event")

    assert (outcome.status, outcome.payload, outcome.error) == (202, b"", None)


def test_a_dry_run_passes_at_a_reservation_of_zero(client: Client) -> None:
    """Nothing is run, so nothing is counted: 204 and an empty body."""
    outcome = client.invoke("closed", invocation_type="DryRun")

    assert (outcome.status, outcome.payload, outcome.error) == (204, b"", None)


def test_a_client_that_hangs_up_leaves_its_slot_taken(
    boto3_client: Callable[..., Boto3], gateway: Gateway, tmp_path: Path
) -> None:
    """boto3 gives up on its own time-out; the function still runs, so its reservation stays used up."""
    client, release = boto3_client(gateway.url), tmp_path / "release"

    with pytest.raises(ReadTimeoutError):
        boto3_client(gateway.url, read_timeout=0.5).invoke("checkout", event(wait_for=str(release)))
    refused = client.invoke("checkout")
    release.touch()
    wait_until(lambda: gateway.in_flight(DEFAULT_ACCOUNT) == 0, "the function's end frees the slot")

    assert_throttled(refused, RESERVED_REASON)
    assert client.invoke("checkout").status == 200


def test_throttles_are_counted_by_reason(boto3_client: Callable[..., Boto3], gateway: Gateway) -> None:
    """/limits tells how often a function was refused, and why."""

    def throttles() -> int:
        return int(gateway.function(DEFAULT_ACCOUNT, "closed")["throttles"].get(RESERVED_REASON, 0))

    before = throttles()
    boto3_client(gateway.url).invoke("closed")

    assert throttles() == before + 1


@contextmanager
def overlong_call(client: Client, gateway: Gateway, function: str, release: Path) -> Iterator[None]:
    """A running call of a function of which no call has ended yet.

    All that is known of it is its age, so the refused are told to wait about as long again: more than a second,
    which is longer than an SDK's own pause before its first retry.
    """
    with held_slot(client, gateway, function, release):
        wait_until(lambda: gateway.function(DEFAULT_ACCOUNT, function)["oldest_seconds"] > 1.4, "a long call")
        yield


def test_boto3_waits_as_long_as_it_was_told_before_it_tries_again(
    boto3_client: Callable[..., Boto3], gateway: Gateway, tmp_path: Path
) -> None:
    """With retries on, x-amz-retry-after paces boto3, and its second attempt finds the slot free."""
    client = boto3_client(gateway.url, attempts=2)
    sent: list[float] = []
    told: list[int] = []
    release = tmp_path / "release"

    def note_answer(response_dict: dict[str, dict[str, str]], **_: object) -> None:
        told.append(int(response_dict["headers"].get("x-amz-retry-after", 0)))  # milliseconds
        release.touch()

    client.sdk.meta.events.register("before-send.lambda.Invoke", lambda **_: sent.append(time.monotonic()))
    client.sdk.meta.events.register("before-parse.lambda.Invoke", note_answer)
    with overlong_call(boto3_client(gateway.url), gateway, "slow", release):
        outcome = client.invoke("slow")

    assert (outcome.status, outcome.attempts) == (200, 2)
    assert told[0] > 1000
    # boto3 waits for what it is told, but at most five seconds longer than its own pause
    assert sent[1] - sent[0] >= min(told[0] / 1000, 5)


def test_the_javascript_sdk_waits_as_long_as_it_was_told_before_it_tries_again(
    boto3_client: Callable[..., Boto3], node: NodeProcess, gateway: Gateway, tmp_path: Path
) -> None:
    """With retries on, Retry-After paces the JavaScript SDK: here, two whole seconds or more."""
    client = JavaScript(node, gateway.url, DEFAULT_ACCESS_KEY, attempts=2)

    with overlong_call(boto3_client(gateway.url), gateway, "slower", tmp_path / "release"):
        outcome = client.invoke("slower")

    assert_throttled(outcome, RESERVED_REASON)
    assert outcome.attempts == 2
    assert outcome.retry_delay_seconds > 1.9  # it counts down to a moment, not from its answer
