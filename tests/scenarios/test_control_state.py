"""What Lambda's operations have set survives the gateway, and a damaged file stops its start.

The long version of the kill, with 200 of them during a thousand Puts, is run by `make soak`.
"""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from invoke_gateway.control.file_store import encode_state
from invoke_gateway.policy.control.state import ControlState
from tests.support.processes import free_port
from tests.support.served import Served, served

PATH = "/2017-10-31/functions/{}/concurrency"
GET = "/2019-09-30/functions/{}/concurrency"


def settings(folder: Path, **more: Any) -> dict[str, Any]:
    return {"control": {"store": f"file://{folder}/control.json"}, "accounts": {"default": {}}, **more}


def call(port: int, method: str, path: str, body: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        connection.request(method, path, json.dumps(body) if body is not None else None)
        answer = connection.getresponse()
        data = answer.read()
        return answer.status, json.loads(data) if data else {}
    finally:
        connection.close()


def put(port: int, slots: int, function: str = "echo") -> tuple[int, dict[str, Any]]:
    return call(port, "PUT", PATH.format(function), {"ReservedConcurrentExecutions": slots})


def test_a_limit_survives_kill_9_and_is_in_force_before_the_first_call(tmp_path: Path) -> None:
    with served(tmp_path, **settings(tmp_path)) as gateway:
        gateway.until_up()
        assert put(gateway.port, 0) == (200, {"ReservedConcurrentExecutions": 0})
        gateway.process.kill()
        gateway.process.wait()
    with served(tmp_path, **settings(tmp_path)) as gateway:
        gateway.until_up()
        status, refusal = call(gateway.port, "POST", "/2015-03-31/functions/echo/invocations", {})
        assert (status, refusal["Reason"]) == (429, "ReservedFunctionConcurrentInvocationLimitExceeded")
        assert call(gateway.port, "GET", GET.format("echo")) == (200, {"ReservedConcurrentExecutions": 0})
        assert gateway.stop() == 0


def test_the_refusal_names_the_file_or_the_flag_that_sets_the_value(tmp_path: Path) -> None:
    functions = {"echo": {"reserved_concurrent_executions": 5}}
    given = settings(tmp_path, accounts={"default": {"functions": functions}})
    with served(tmp_path, "--reserve", "sleep=3", **given) as gateway:
        gateway.until_up()
        for function, source in (("echo", str(gateway.file)), ("sleep", "--reserve")):
            status, refusal = put(gateway.port, 1, function)
            key = f"reserved_concurrent_executions of {function}"
            assert (status, refusal["message"]) == (409, f"{key} is set in {source}. Change it there.")
        gateway.write(accounts={"default": {}})
        gateway.process.send_signal(1)
        gateway.until_logged("settings reloaded")
        assert put(gateway.port, 1)[0] == 200


def test_a_damaged_file_ends_the_start_with_2_and_a_text_that_names_it(tmp_path: Path) -> None:
    file = tmp_path / "control.json"
    damaged = encode_state(ControlState(1))[:-9]
    file.write_bytes(damaged)
    with served(tmp_path, **settings(tmp_path)) as gateway:
        assert gateway.process.wait(60) == 2
        assert f"ERROR The control state {file} is damaged" in gateway.log
        assert "Traceback" not in gateway.log
    assert file.read_bytes() == damaged


def test_a_second_gateway_on_one_file_does_not_start(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    with served(tmp_path, **settings(tmp_path)) as gateway:
        gateway.until_up()
        with served(other, **settings(tmp_path)) as second:
            assert second.process.wait(60) == 2
            assert f"The process {gateway.process.pid} owns the control state" in second.log


KILLS = 200
MOST_SLOTS = 800  # then 0 follows


@pytest.mark.soak
def test_after_200_kills_during_a_thousand_puts_the_state_is_the_last_or_the_one_under_way(tmp_path: Path) -> None:
    rng = random.Random(15)
    port = free_port()
    puts = 0
    acknowledged, under_way = 0, 1
    for _ in range(KILLS):
        with served(tmp_path, **settings(tmp_path, listen=f"127.0.0.1:{port}")) as gateway:
            gateway.until_up()
            _, found = call(port, "GET", GET.format("echo"))
            acknowledged_or_next = (acknowledged, under_way)
            acknowledged = found.get("ReservedConcurrentExecutions", 0)
            assert acknowledged in acknowledged_or_next, f"after {puts} puts"
            killing = _kill_soon(gateway, rng)
            try:
                while True:
                    under_way = acknowledged + 1 if acknowledged < MOST_SLOTS else 0
                    assert put(port, under_way)[0] == 200
                    acknowledged, puts = under_way, puts + 1
            except (OSError, http.client.HTTPException):  # killed
                pass
            killing.join()
            gateway.process.wait()
    print(f"{KILLS} kills during {puts} Puts")
    assert puts >= 5 * KILLS


def _kill_soon(gateway: Served, rng: random.Random) -> threading.Thread:
    def kill() -> None:
        time.sleep(rng.uniform(0.01, 0.25))
        gateway.process.kill()

    thread = threading.Thread(target=kill)
    thread.start()
    return thread
