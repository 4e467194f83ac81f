"""Asynchronous invocations before AWS's Runtime Interface Emulator, which reports no error by a header."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import fetch_rie, servers
from tests.live.clients import Boto3, event
from tests.support.processes import wait_until
from tests.support.tools import EMULATOR

TIMEOUT_SECONDS = 2
Lines = Callable[[str], dict[str, Any]]
Send = Callable[[bytes], Lines]
TARGETS = ("dead_letter_queue", "on_success", "on_failure")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("emulator-events")


@pytest.fixture(scope="module")
def emulator(folder: Path) -> Iterator[servers.RuntimeInterfaceEmulator]:
    if fetch_rie.build() is None:
        EMULATOR.skip()
    if not servers.RIE_BINARY.exists():
        pytest.fail("the Runtime Interface Emulator is not there: `make live` fetches it")
    with servers.runtime_interface_emulator(folder / "rie", TIMEOUT_SECONDS) as started:
        yield started


@pytest.fixture(scope="module", params=["with backend.function_path", "by its own name"])
def gateway(
    request: pytest.FixtureRequest, folder: Path, emulator: servers.RuntimeInterfaceEmulator
) -> Iterator[servers.Gateway]:
    has_path = request.param.startswith("with")
    here = folder / ("path" if has_path else "name")
    function = {kind: f"file://{here}/{kind}.jsonl" for kind in TARGETS}
    settings: dict[str, Any] = {
        "accounts": {"default": {"concurrent_executions": 1, "functions": {"function": function}}},
        "async": {
            "store": f"sqlite://{here}/queue.db",
            "function_error_delays_seconds": [0.1],
            "shortest_delay_seconds": 0.1,
            "longest_delay_seconds": 0.2,
        },
    }
    path = ("--backend-function-path", "function") if has_path else ()
    with servers.gateway(here, emulator.url, *path, **settings) as started:
        yield started


@pytest.fixture
def send(gateway: servers.Gateway, boto3_client: Callable[..., Boto3]) -> Send:
    """Sends an event; returns what waits for the line that a target is given for it."""
    folder = gateway.process.log.parent

    def find(kind: str, request_id: str) -> dict[str, Any] | None:
        file = folder / f"{kind}.jsonl"
        lines = file.read_text().splitlines(keepends=True) if file.exists() else []
        return next((json.loads(line) for line in lines if request_id in line and line.endswith("\n")), None)

    def send_one(payload: bytes) -> Lines:
        client = boto3_client(gateway.url).sdk
        answer = client.invoke(FunctionName="function", InvocationType="Event", Payload=payload)
        request_id = answer["ResponseMetadata"]["RequestId"]

        def line_of(kind: str) -> dict[str, Any]:
            wait_until(lambda: find(kind, request_id), f"a line of {kind}", timeout=60)
            found = find(kind, request_id)
            assert found is not None
            return found

        return line_of

    return send_one


def check_failed(line_of: Lines, text: str, kind: str) -> None:
    attributes = line_of("dead_letter_queue")["attributes"]
    assert attributes["ErrorCode"] == 200
    assert text in attributes["ErrorMessage"]
    record = line_of("on_failure")["record"]
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["requestContext"]["approximateInvokeCount"] == 3
    assert record["responseContext"] == {
        "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled",
    }  # fmt: skip
    assert record["responsePayload"]["errorType"] == kind
    assert text in record["responsePayload"]["errorMessage"]


def test_a_function_that_raises_is_run_three_times_and_fails(send: Send) -> None:
    check_failed(send(event(fail="no such report")), "no such report", "RuntimeError")


def test_a_function_that_takes_too_long_is_run_three_times_and_fails(send: Send) -> None:
    waits = send(event(wait_for="/nowhere/at/all"))
    check_failed(waits, f"Task timed out after {TIMEOUT_SECONDS}.00 seconds", "Sandbox.Timedout")


def test_a_function_that_exits_is_run_three_times_and_fails(send: Send) -> None:
    check_failed(send(event(exit=3)), "exit status 3", "Runtime.ExitError")


def test_a_success_is_one_also_where_it_is_about_an_error(send: Send) -> None:
    given = {"errorMessage": "none", "errorType": "none", "reports": 7}
    record = send(event(give=given))("on_success")["record"]
    assert record["responsePayload"] == given
    assert record["requestContext"]["approximateInvokeCount"] == 1


def test_an_event_without_a_payload_is_an_empty_object_for_the_function_too(send: Send) -> None:
    record = send(b"")("on_success")["record"]
    assert record["requestPayload"] == {}
    assert record["responsePayload"]["padding"] == 0
