"""The log of a real gateway as JSON: a start, a reload, a burst of refusals, a drain. Its access log is rotated."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from invoke_gateway.telemetry.logs.keys import ACCESS, COMMON, FIELDS
from tests.support.processes import free_port, listens, wait_until
from tests.support.served import Served, served
from tests.support.sockets import Wire, fetch, invoke
from tests.support.stores import Store, running_store

RESERVED = "ReservedFunctionConcurrentInvocationLimitExceeded"


def functions(**reserved: int) -> dict[str, Any]:
    limits = {name: {"reserved_concurrent_executions": slots} for name, slots in reserved.items()}
    return {"default": {"functions": limits}}


def lines_of(text: str) -> list[dict[str, Any]]:
    """Every line, each of which is one object."""
    return [json.loads(line) for line in text.splitlines()]


def of_kind(gateway: Served, kind: str) -> dict[str, Any]:
    (line,) = [line for line in lines_of(gateway.log) if line.get("kind") == kind]
    return line


def until_kind(gateway: Served, kind: str) -> dict[str, Any]:
    gateway.until_logged(rf'"kind":"{kind}".*\n')
    return of_kind(gateway, kind)


def test_a_start_a_reload_a_burst_of_refusals_and_a_drain_are_objects_with_documented_keys(tmp_path: Path) -> None:
    accounts = functions(checkout=3, legacy=1, off=0, shut=0, closed=0, idle=0)
    with served(tmp_path, "--log-format", "json", accounts=accounts) as gateway:
        gateway.until_up()
        assert until_kind(gateway, "ready")["degraded"] == []
        start = of_kind(gateway, "start")
        assert (start["version"], start["settings_file"]) == (version("invoke-gateway"), str(gateway.file))
        assert start["process"] == gateway.process.pid
        assert of_kind(gateway, "backend")["is_up"] is True
        assert of_kind(gateway, "limits")["message"] == (
            "limits in the settings: 1000 concurrent executions, of which 4 reserved "
            "(checkout 3, closed 0, idle 0, legacy 1, off 0, 1 more)"
        )
        assert of_kind(gateway, "counters")["store"] == "memory"
        events = of_kind(gateway, "events")
        assert (events["waiting"], events["store"].endswith(".db")) == (0, True)

        gateway.write(accounts=functions(checkout=5, search=1, off=0, shut=0, closed=0, idle=0), max_headers=100)
        gateway.process.send_signal(signal.SIGHUP)
        reload = until_kind(gateway, "reload")
        assert reload["changes"] == ["checkout 3 -> 5", "-legacy", "+search"]
        assert (reload["changed"], reload["restart_needed"]) == (3, ["max_headers"])

        with Wire(gateway.port) as wire:
            for name, times in (("off", 4), ("shut", 3), ("closed", 2), ("idle", 1)):
                for _ in range(times):
                    assert wire.send(invoke(name)).answer().status == 429
        assert gateway.stop() == 0
        refusals = of_kind(gateway, "refusals")
        assert (refusals["refused"], refusals["reasons"], refusals["level"]) == (10, {RESERVED: 10}, "warning")
        assert [(one["function"], one["refused"]) for one in refusals["functions"]] == [
            ("off", 4),
            ("shut", 3),
            ("closed", 2),
        ]
        assert of_kind(gateway, "draining")["in_flight"] == 0
        lines = lines_of(gateway.log)
        assert lines[-1]["kind"] == "stopped"
        for line in lines:
            assert set(line) <= {*COMMON, *FIELDS}
            assert datetime.fromisoformat(line["time"]).tzinfo is not None


def is_ready_by_http(gateway: Served) -> bool:
    return fetch(gateway.admin, "/readyz").status == 200


@pytest.mark.parametrize(
    ("policy", "workers", "is_ready", "begins"),
    [
        ("refuse", 1, False, "not ready: store_unavailable. The shared counters are unavailable: "),
        ("refuse", 2, False, "not ready: store_unavailable. The shared counters are unavailable: "),
        ("local_share", 1, True, "ready, but degraded: store_unavailable. "),
    ],
)
def test_a_start_without_its_store_logs_what_readyz_says(
    policy: str, workers: int, is_ready: bool, begins: str, tmp_path: Path
) -> None:
    store = f"redis://127.0.0.1:{free_port()}/0"
    shared = {"on_store_failure": policy}
    with served(tmp_path, "--log-format", "json", counters=store, shared=shared, workers=workers) as gateway:
        gateway.until_up()
        ready = until_kind(gateway, "ready")
        assert (ready["level"], ready["degraded"]) == ("warning", ["store_unavailable"])
        assert (ready["is_ready"], is_ready_by_http(gateway)) == (is_ready, is_ready)
        assert ready["message"].startswith(begins)
        assert all(line["reason"] for line in lines_of(gateway.log) if line.get("kind") == "store_unavailable")
        assert gateway.stop() == 0


def test_a_start_on_a_new_store_logs_that_it_recovers(tmp_path: Path) -> None:
    with (
        running_store("valkey", is_tcp=True) as store,
        served(tmp_path, "--log-format", "json", counters=store.url) as gateway,
    ):
        gateway.until_up()
        ready = until_kind(gateway, "ready")
        assert (ready["is_ready"], ready["degraded"]) == (False, ["store_recovering"])
        assert ready["message"].startswith("not ready: store_recovering. ")
        assert gateway.stop() == 0


def test_functions_that_the_settings_do_not_name_go_by_their_own_names(tmp_path: Path) -> None:
    """Metrics count them as `other`."""
    accounts = {"default": {"concurrent_executions": 0, "requests_per_second": "off"}}
    with served(tmp_path, "--log-format", "json", "--metric-functions", "0", accounts=accounts) as gateway:
        gateway.until_up()
        with Wire(gateway.port) as wire:
            for number in range(30):
                wire.send(invoke("search" if number % 3 else f"invented-{number}")).answer()
        assert gateway.metric('throttles_total{account="000000000000",function="search",reason="x"}') == -1
        assert gateway.stop() == 0
        refusals = of_kind(gateway, "refusals")
        assert refusals["functions"][0] == {"account": "000000000000", "function": "search", "refused": 20}
        assert "most refused: search 20, invented-" in refusals["message"]


def test_a_settings_file_with_mistakes_and_an_address_that_is_taken_are_objects(tmp_path: Path) -> None:
    with served(tmp_path, "--log-format", "json") as gateway:
        gateway.until_up()
        gateway.file.write_text("listen: 5\nnonsense: 1\n")
        gateway.process.send_signal(signal.SIGHUP)
        refused = until_kind(gateway, "reload_refused")
        assert (refused["level"], refused["problems"]) == ("error", 2)
        assert "nonsense" in refused["message"]
        assert "\n" in refused["message"]  # within the object
        (tmp_path / "other").mkdir()
        with served(tmp_path / "other", "--log-format", "json", admin=f"127.0.0.1:{gateway.admin}") as second:
            assert second.process.wait(60) == 2
            assert lines_of(second.log)[-1]["level"] == "error"


@pytest.mark.parametrize(
    ("level", "levels"), [("error", set()), ("warning", {"warning"}), ("info", {"info", "warning"})]
)
def test_the_level_leaves_out_what_is_below_it(level: str, levels: set[str], tmp_path: Path) -> None:
    accounts = functions(off=0)
    access = tmp_path / "access.log"
    flags = ("--log-format", "json", "--log-level", level, "--access-log", str(access))
    port = free_port()
    with served(tmp_path, *flags, accounts=accounts, listen=f"127.0.0.1:{port}") as gateway:
        wait_until(lambda: listens(port), "it listens")
        with Wire(port) as wire:
            assert wire.send(invoke("off")).answer().status == 429
        assert gateway.stop() == 0
        assert {line["level"] for line in lines_of(gateway.log)} == levels
        assert [line["status"] for line in lines_of(access.read_text())] == [429]


# ---- the access log -----------------------------------------------------------------------------------------------


def test_the_access_log_follows_a_rotation_at_sigusr1(tmp_path: Path) -> None:
    access = tmp_path / "access.log"
    with served(tmp_path, "--access-log", str(access)) as gateway:
        gateway.until_up()
        with Wire(gateway.port) as wire:
            wire.send(invoke("echo", path="/one")).answer()
            wait_until(lambda: "/one" in access.read_text(), "the line is there")
            old = access.rename(tmp_path / "access.log.1")
            gateway.process.send_signal(signal.SIGUSR1)
            gateway.until_logged("the access log .*access.log was opened again")
            wire.send(invoke("echo", path="/two")).answer()
            wait_until(lambda: "/two" in access.read_text(), "the line is in the new file")
        assert gateway.stop() == 0
        assert [line["path"] for line in lines_of(old.read_text() + access.read_text())] == ["/one", "/two"]
        assert all(set(line) <= set(ACCESS) for line in lines_of(access.read_text()))
        assert "is ignored" not in gateway.log
        assert "{" not in gateway.log


def test_a_path_that_cannot_be_written_is_a_mistake_of_the_settings(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "access.log"
    with served(tmp_path, "--access-log", str(missing)) as gateway:
        assert gateway.process.wait(60) == 2
        assert "access_log" in gateway.log
        assert f"the folder {missing.parent} does not exist" in gateway.log


# ---- workers ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    with running_store("redis") as started:
        yield started


def test_lines_of_workers_are_objects_with_their_number_and_their_access_log_is_one_file(
    tmp_path: Path, store: Store
) -> None:
    access = tmp_path / "access.log"
    flags = ("--log-format", "json", "--access-log", str(access), "--workers", "2", "--counters", store.url)
    accounts = functions(off=0)
    with served(tmp_path, *flags, "--shared-lease-seconds", "1", accounts=accounts) as gateway:
        gateway.until_up()
        old = tmp_path / "access.log.1"

        def send(times: int) -> None:
            for _ in range(times):  # connections, which the kernel spreads over both
                with Wire(gateway.port) as wire:
                    wire.send(invoke("off")).answer()

        send(40)
        wait_until(lambda: access.read_text().count("\n") == 40, "the lines are there")
        access.rename(old)
        gateway.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: gateway.log.count("was opened again") == 3, "every process has opened it")
        send(40)
        wait_until(lambda: access.read_text().count("\n") == 40, "the lines are in the new file")
        document = fetch(gateway.admin, "/workers").json
        os.kill(document["workers"][0]["pid"], signal.SIGKILL)
        ended = until_kind(gateway, "worker_ended")
        assert (ended["worker"], ended["status"], ended["level"]) == (1, -9, "error")
        until_kind(gateway, "worker_replaced")
        assert gateway.stop() == 0
        assert {line["worker"] for line in lines_of(old.read_text() + access.read_text())} == {1, 2}
        lines = lines_of(gateway.log)
        assert sum(line["refused"] for line in lines if line.get("kind") == "refusals") <= 80
        assert {line.get("worker") for line in lines} == {None, 1, 2}
        assert of_kind(gateway, "start")["workers"] == 2
        assert " on " in of_kind(gateway, "counters")["store"]
        assert all(set(line) <= {*COMMON, *FIELDS} for line in lines)
