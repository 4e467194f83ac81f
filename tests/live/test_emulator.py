"""AWS's Runtime Interface Emulator behind one slot: alone it breaks on the second call at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.live.clients import Boto3, event
from tests.live.paths import send
from tests.live.scenario import ACCOUNT_REASON, DEFAULT_ACCOUNT, assert_throttled, held_slot
from tests.live.servers import Gateway, RuntimeInterfaceEmulator
from tests.support.processes import wait_until

BURST = 30  # calls at once


def test_any_name_reaches_the_one_function_of_the_emulator(
    boto3_client: Callable[..., Boto3], one_at_a_time: Gateway
) -> None:
    """backend.function_path rewrites the path: the emulator itself knows only `function`."""
    outcome = boto3_client(one_at_a_time.url).invoke("checkout", event(padding="four"))

    assert (outcome.status, outcome.error) == (200, None)
    assert outcome.json["padding"] == 4


def test_a_burst_meets_a_busy_emulator_and_leaves_it_alone(
    boto3_client: Callable[..., Boto3],
    one_at_a_time: Gateway,
    emulator: RuntimeInterfaceEmulator,
    tmp_path: Path,
) -> None:
    """While one call runs, each of thirty others is throttled; the running one ends well."""
    client = boto3_client(one_at_a_time.url)

    with (
        held_slot(client, one_at_a_time, "checkout", tmp_path / "release") as first,
        ThreadPoolExecutor(BURST) as pool,
    ):
        others = list(pool.map(lambda _: client.invoke("checkout"), range(BURST)))

    assert first.result().status == 200
    for outcome in others:
        assert_throttled(outcome, ACCOUNT_REASON)
    assert emulator.process.is_running


def test_exactly_the_admitted_calls_of_a_burst_run(
    boto3_client: Callable[..., Boto3],
    one_at_a_time: Gateway,
    emulator: RuntimeInterfaceEmulator,
    tmp_path: Path,
) -> None:
    """Each 200 is one run of the function, every other call a throttle; then it answers still."""
    client = boto3_client(one_at_a_time.url)

    with ThreadPoolExecutor(BURST) as pool:
        burst = pool.map(lambda _: client.invoke("checkout", event(tally=str(tmp_path))), range(BURST))
        outcomes = list(burst)

    admitted = [outcome for outcome in outcomes if outcome.status == 200]
    assert len(admitted) == len(list(tmp_path.iterdir())) >= 1
    assert {outcome.error for outcome in outcomes if outcome not in admitted} <= {"TooManyRequestsException"}
    assert not any(outcome.function_error for outcome in admitted)
    wait_until(lambda: one_at_a_time.in_flight(DEFAULT_ACCOUNT) == 0, "the slot is free")
    assert client.invoke("checkout").status == 200
    assert emulator.process.is_running


def test_the_emulator_runs_one_call_whatever_its_method(
    boto3_client: Callable[..., Boto3], one_at_a_time: Gateway, emulator: RuntimeInterfaceEmulator, tmp_path: Path
) -> None:
    """It runs the function for every method, so every method takes the slot."""
    port = int(one_at_a_time.url.rpartition(":")[2])
    client = boto3_client(one_at_a_time.url)
    path = "/2015-03-31/functions/checkout/invocations"
    with held_slot(client, one_at_a_time, "checkout", tmp_path / "release"):
        for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
            assert send(port, path, method).startswith(b"HTTP/1.1 429 "), method
    for method in ("GET", "HEAD", "PUT", "DELETE", "OPTIONS"):
        assert send(port, path, method).startswith(b"HTTP/1.1 200 "), method
    assert one_at_a_time.in_flight(DEFAULT_ACCOUNT) == 0
    assert emulator.process.is_running


def test_a_dry_run_runs_nothing(
    boto3_client: Callable[..., Boto3], one_at_a_time: Gateway, emulator: RuntimeInterfaceEmulator, tmp_path: Path
) -> None:
    """The emulator itself does not look at the type, so the gateway answers."""
    outcome = boto3_client(one_at_a_time.url).invoke("checkout", event(tally=str(tmp_path)), invocation_type="DryRun")

    assert (outcome.status, outcome.error) == (204, None)
    assert list(tmp_path.iterdir()) == []
    assert one_at_a_time.in_flight(DEFAULT_ACCOUNT) == 0
