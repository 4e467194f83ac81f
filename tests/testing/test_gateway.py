"""A gateway for tests, without pytest: what it says of itself, and what one can do to it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from invoke_gateway.testing import FaultFailed, GatewayNotStarted, HoldFailed, InvokeGateway, running_gateway
from tests.support.processes import fetch_json, wait_until

ONE_ATTEMPT = Config(retries={"total_max_attempts": 1})
OTHER = "111122223333"


@pytest.fixture(scope="module")
def shared() -> Iterator[InvokeGateway]:
    accounts = {OTHER: {"concurrent_executions": 3}}
    with running_gateway(concurrent_executions=10, reserve={"echo": 2}, accounts=accounts, region="eu-west-1") as made:
        yield made


@pytest.fixture
def gateway(shared: InvokeGateway) -> Iterator[InvokeGateway]:
    yield shared
    shared.reset()


def why_throttled(gateway: InvokeGateway, function: str) -> str | None:
    """The reason with which a call of the function is throttled."""
    client = boto3.client("lambda", **gateway.client_settings, config=ONE_ATTEMPT)
    try:
        client.invoke(FunctionName=function, Payload=b"{}")["Payload"].read()
    except client.exceptions.TooManyRequestsException as error:
        return str(error.response["Reason"])
    finally:
        client.close()
    return None


def test_a_hold_throttles_until_its_block_ends(gateway: InvokeGateway) -> None:
    with gateway.hold("echo", slots=2) as hold:
        assert (hold.function, hold.slots, hold.account) == ("echo", 2, "000000000000")
        assert why_throttled(gateway, "echo") == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert why_throttled(gateway, "echo") is None


def test_a_gateway_with_an_admin_token_is_controlled_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_ADMIN_TOKEN", "3f2a0c")
    with running_gateway(admin_token="env:GATEWAY_ADMIN_TOKEN", admin_reads="token") as gateway:
        with gateway.hold("echo"):
            assert gateway.in_flight("echo") == 1
        gateway.fault("echo", {"error": "TooManyRequestsException"})
        gateway.settle_events()
        gateway.reset()
        assert gateway.in_flight("echo") == 0


def test_a_hold_may_be_released_twice(gateway: InvokeGateway) -> None:
    hold = gateway.hold("echo", slots=2)
    assert gateway.in_flight("echo") == 2
    hold.release()
    hold.release()
    assert gateway.in_flight("echo") == 0


def test_a_hold_lasts_as_long_as_any_test_unless_told_otherwise(gateway: InvokeGateway) -> None:
    gateway.hold("echo")
    gateway.hold("echo", seconds=7)
    left = [hold["seconds_left"] for hold in fetch_json(f"{gateway.admin_url}/holds")["holds"]]
    assert 3590 < left[0] <= 3600
    assert 0 < left[1] <= 7


def test_an_old_attribute_names_the_new_one(gateway: InvokeGateway) -> None:
    with pytest.raises(AttributeError, match=r"^operations_url was renamed: use admin_url\.$"):
        gateway.operations_url  # noqa: B018
    assert not hasattr(gateway, "no_such_attribute")


def test_all_free_slots_of_a_function_are_held_at_once(gateway: InvokeGateway) -> None:
    gateway.hold("echo")
    assert gateway.hold_all("echo").slots == 1
    assert why_throttled(gateway, "echo") == "ReservedFunctionConcurrentInvocationLimitExceeded"


@pytest.mark.parametrize("function", ["blob", None])
def test_all_free_slots_of_what_has_no_reservation_are_the_pools(gateway: InvokeGateway, function: str | None) -> None:
    assert gateway.hold_all(function).slots == 8
    assert why_throttled(gateway, "blob") == "ConcurrentInvocationLimitExceeded"
    assert why_throttled(gateway, "echo") is None


def test_a_hold_of_another_account_is_its_own(gateway: InvokeGateway) -> None:
    hold = gateway.hold_all(account=OTHER)
    assert (hold.account, hold.slots) == (OTHER, 3)
    assert (gateway.in_flight(account=OTHER), gateway.in_flight()) == (3, 0)


def test_a_hold_without_room_is_the_gateways_own_text(gateway: InvokeGateway) -> None:
    with pytest.raises(
        HoldFailed, match=r"^reserved_concurrent_executions leaves no room for 3 slots of echo: 0 of 2 in use"
    ):
        gateway.hold("echo", slots=3)
    with gateway.hold_all("echo"), pytest.raises(HoldFailed, match="2 of 2 in use"):
        gateway.hold_all("echo")
    assert gateway.in_flight() == 0


def test_a_hold_that_makes_no_sense_is_the_gateways_own_text(gateway: InvokeGateway) -> None:
    with pytest.raises(HoldFailed, match=r"^slots must be a whole number"):
        gateway.hold("echo", slots=0)


def test_calls_meet_the_steps_of_a_fault_one_after_the_other(gateway: InvokeGateway) -> None:
    throttled = {"error": "TooManyRequestsException", "reason": "CallerRateLimitExceeded"}
    fault = gateway.fault("echo", {"pass": 1}, throttled)
    assert (fault.function, fault.account, fault.calls, fault.is_over) == ("echo", "000000000000", 0, False)
    assert [why_throttled(gateway, "echo") for _ in range(3)] == [None, "CallerRateLimitExceeded", None]
    assert (fault.calls, fault.is_over) == (2, True)


def test_a_fault_ends_with_its_block_and_may_be_ended_twice(gateway: InvokeGateway) -> None:
    fault = gateway.fault("echo", {"error": "ServiceException"}, loop=True)
    with fault:
        for _ in range(3):
            with pytest.raises(ClientError, match="ServiceException"):
                why_throttled(gateway, "echo")
    assert why_throttled(gateway, "echo") is None
    fault.end()
    assert (fault.calls, fault.is_over) == (0, True)


def test_a_fault_of_no_function_is_for_all(gateway: InvokeGateway) -> None:
    gateway.fault(None, {"error": "EC2ThrottledException", "repeat": 2})
    for function in ("echo", "blob"):
        with pytest.raises(ClientError, match="EC2ThrottledException"):
            why_throttled(gateway, function)


def test_chance_is_the_same_for_the_same_seed(gateway: InvokeGateway) -> None:
    step = {"error": "TooManyRequestsException", "reason": "CallerRateLimitExceeded", "probability": 0.5, "repeat": 12}

    def hits(seed: int) -> list[bool]:
        with gateway.fault("echo", step, seed=seed):
            return [why_throttled(gateway, "echo") is not None for _ in range(12)]

    first = hits(7)
    assert any(first)
    assert not all(first)
    assert hits(7) == first
    assert hits(8) != first


def test_a_fault_of_another_account_is_its_own(gateway: InvokeGateway) -> None:
    fault = gateway.fault("echo", {"error": "ServiceException"}, account=OTHER)
    assert fault.account == OTHER
    assert why_throttled(gateway, "echo") is None
    assert fault.calls == 0


def test_a_step_that_makes_no_sense_is_the_gateways_own_text(gateway: InvokeGateway) -> None:
    with pytest.raises(FaultFailed, match=r"^steps\[0\].error is 'Wrong', which Invoke does not have"):
        gateway.fault("echo", {"error": "Wrong"})


def test_faults_that_are_switched_off_say_how_to_switch_them_on() -> None:
    with running_gateway(faults=False) as gateway:
        gateway.hold()
        gateway.reset()
        assert gateway.in_flight() == 0
        with pytest.raises(FaultFailed, match="Fault scripts are off"):
            gateway.fault("echo", {"pass": 1})


def test_reset_ends_every_fault(gateway: InvokeGateway) -> None:
    gateway.fault("echo", {"error": "ServiceException"}, loop=True)
    gateway.reset()
    assert why_throttled(gateway, "echo") is None
    assert fetch_json(f"{gateway.admin_url}/faults") == {"faults": []}


def test_reset_ends_every_hold_whoever_took_it(gateway: InvokeGateway) -> None:
    gateway.hold("echo")
    command = [sys.executable, "-m", "invoke_gateway", "hold", "--slots", "3", "--detach"]
    admin = gateway.admin_url.removeprefix("http://")
    subprocess.run([*command, "--admin", admin], check=True, capture_output=True)
    assert gateway.in_flight() == 4
    gateway.reset()
    assert gateway.in_flight() == 0


def test_limits_are_the_document_of_the_admin_listener(gateway: InvokeGateway) -> None:
    account = gateway.limits()["accounts"][0]
    assert account["concurrent_executions"] == 10
    assert account["unreserved"]["ceiling"] == 8


def test_the_environment_is_enough_for_a_client(gateway: InvokeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in gateway.environment.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("lambda", config=ONE_ATTEMPT)
    assert client.invoke(FunctionName="echo", Payload=b'"hello"')["Payload"].read() == b'"hello"'
    assert client.meta.region_name == "eu-west-1"
    client.close()


def test_settings_of_the_environment_are_for_other_gateways(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVOKE_GATEWAY_CONCURRENT_EXECUTIONS", "7")
    monkeypatch.setenv("INVOKE_GATEWAY_LISTEN", "wrong")
    with running_gateway() as gateway:
        assert gateway.limits()["accounts"][0]["concurrent_executions"] == 1000


@pytest.mark.parametrize("log", [{"format": "json"}, {"level": "error"}])
def test_a_gateway_is_found_whatever_its_log_is(log: dict[str, str]) -> None:
    with running_gateway(log=log) as gateway:
        assert gateway.limits()["accounts"]


def test_a_file_in_the_current_directory_does_not_stand_in_for_the_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "invoke_gateway.py").write_text("raise SystemExit('not this one')")
    monkeypatch.chdir(tmp_path)
    with running_gateway() as gateway:
        assert gateway.in_flight() == 0


def test_a_gateway_that_cannot_start_says_what_it_printed_with_the_cure() -> None:
    with pytest.raises(GatewayNotStarted) as caught, running_gateway(drain_second=1):
        pass
    first, *printed = str(caught.value).splitlines()
    assert first == "invoke-gateway ended with status 2:"
    assert [line.strip() for line in printed][-2:] == ["is not a setting", "-> did you mean drain_seconds?"]


def test_an_address_that_is_taken_is_said(gateway: InvokeGateway) -> None:
    taken = gateway.url.removeprefix("http://")
    with pytest.raises(GatewayNotStarted, match=f"cannot listen on {taken}"), running_gateway(listen=taken):
        pass


def test_a_gateway_that_has_ended_is_said_by_check() -> None:
    with running_gateway() as gateway:
        pid = pid_of(gateway)
        os.kill(pid, signal.SIGKILL)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(GatewayNotStarted, match="ended before its time"):
            gateway.check()
        with pytest.raises(HoldFailed, match="no gateway answers"):
            gateway.reset()


def test_a_gateway_ends_when_who_started_it_is_killed(tmp_path: Path) -> None:
    program = tmp_path / "starts_and_waits.py"
    program.write_text(
        "import time\n"
        "from invoke_gateway.testing import running_gateway\n"
        "with running_gateway() as gateway:\n"
        "    print(gateway._process.pid, gateway._process._folder.name, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid, folder = parent.stdout.readline().split()
        assert Path(folder).exists()
        parent.kill()
    wait_until(lambda: not exists(int(pid)), "the gateway has ended")
    assert not Path(folder).exists()


def test_nothing_of_it_is_left_after_the_block() -> None:
    with running_gateway() as gateway:
        pid, folder = pid_of(gateway), Path(gateway._process._folder.name)
        assert exists(pid)
        assert folder.exists()
    assert not exists(pid)
    assert not folder.exists()


def pid_of(gateway: InvokeGateway) -> int:
    pid = gateway._process.pid
    assert pid is not None
    return pid


def exists(pid: int) -> bool:
    """Whether the process runs; one that has ended and that nobody has asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
