"""Starting, reloading and stopping a gateway: as a process of its own with signals, and in a thread."""

from __future__ import annotations

import asyncio
import errno
import http.client
import json
import os
import re
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from invoke_gateway.server.run import CannotListen, serve_in_process
from tests.support import forking
from tests.support.gateways import make_settings
from tests.support.processes import bare_environment, free_port, wait_until
from tests.support.served import EXECUTED
from tests.support.sockets import (
    LOOPBACK,
    PATIENCE,
    Backend,
    Gateway,
    Wire,
    calls_under_way,
    fetch,
    gateway,
    invoke,
)
from tests.support.tools import OPENSSL

RESERVED = "ReservedFunctionConcurrentInvocationLimitExceeded"
UNRESERVED = "ConcurrentInvocationLimitExceeded"


class Process:
    """`python -m invoke_gateway serve` on free ports. `settings` are its file, which a test may write again.
    `prefix`: as that of `Served`."""

    def __init__(self, folder: Path, *flags: str, prefix: Sequence[str] = (), **settings: Any) -> None:
        self.file = folder / "gateway.yaml"
        self._log = folder / "log"
        self._values = {"listen": f"{LOOPBACK}:0", "admin": f"{LOOPBACK}:0", **settings}
        self.write()
        command = [*prefix, sys.executable, "-m", "invoke_gateway", "serve", "--config", str(self.file), *flags]
        with self._log.open("wb") as output:
            self._process = forking.Popen(
                command, cwd=folder, env=bare_environment(folder), stdin=subprocess.DEVNULL, stderr=output
            )

    def write(self, **changes: Any) -> None:
        """Write the settings file anew, changed."""
        self._values |= changes
        self.file.write_text(yaml.safe_dump(self._values))

    @property
    def log(self) -> str:
        return self._log.read_text()

    def until_logged(self, pattern: str) -> re.Match[str]:
        """Wait for a line in its log."""

        def is_there() -> bool:
            assert self._process.poll() is None or re.search(pattern, self.log), f"it has ended:\n{self.log}"
            return re.search(pattern, self.log) is not None

        wait_until(is_there, f"{pattern!r} in the log", timeout=15)
        found = re.search(pattern, self.log)
        assert found is not None
        return found

    def until_up(self) -> Process:
        self.port = int(self.until_logged(r"Invoke API on https?://127\.0\.0\.1:(\d+)")[1])
        self.admin_port = int(self.until_logged(r"admin on http://127\.0\.0\.1:(\d+)")[1])
        return self

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit status, once it has ended."""
        return self._process.wait(PATIENCE + 3)

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def limits(self) -> dict[str, Any]:
        document: dict[str, Any] = fetch(self.admin_port, "/limits").json["accounts"][0]
        return document

    def causes_of_degradation(self) -> list[str]:
        """Those that the metrics tell of."""
        text = fetch(self.admin_port, "/metrics").body.decode()
        return re.findall(r'^invoke_gateway_degraded{cause="(\w+)"} 1$', text, re.MULTILINE)

    def metric(self, name: str) -> float:
        text = fetch(self.admin_port, "/metrics").body.decode()
        found = re.search(rf"^invoke_gateway_{name} (\S+)$", text, re.MULTILINE)
        assert found is not None, name
        return float(found[1])

    def end(self) -> None:
        if not self.has_ended:
            self._process.kill()
        self._process.wait()


def live_document(port: int) -> dict[str, Any]:
    """Returns the first document of the live page's stream."""
    with closing(http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE)) as connection:
        connection.request("GET", "/live")
        stream = connection.getresponse()
        line = next(line for line in iter(stream.readline, b"") if line.startswith(b"data:"))
        document: dict[str, Any] = json.loads(line.removeprefix(b"data:"))
        return document


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def make(*flags: str, prefix: Sequence[str] = (), **settings: Any) -> Process:
        started.append(Process(tmp_path, *flags, prefix=prefix, **settings))
        return started[-1]

    yield make
    for process in started:
        process.end()


# ---- start ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["listen", "admin"])
def test_a_taken_port_is_one_clear_message_and_exit_status_2(start: Callable[..., Process], key: str) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        address = f"{LOOPBACK}:{taken.getsockname()[1]}"
        process = start(prefix=EXECUTED, **{key: address})
        assert process.wait() == 2
    start, line = process.log.splitlines()
    assert re.search(r" INFO Invoke Gateway \S+ starts \(process \d+\), settings file /.*gateway\.yaml$", start)
    assert line.endswith(
        f"cannot listen on {address} ({key}): {os.strerror(errno.EADDRINUSE)}. Choose another address with --{key}, "
        f"or end the process that has it."
    )


@pytest.mark.parametrize(
    ("address", "reason"),
    # What a resolver says of a name that is not there is its own affair.
    [("nowhere.invalid:0", ".+"), ("192.0.2.1:0", re.escape(os.strerror(errno.EADDRNOTAVAIL)))],
)
async def test_an_address_that_is_not_ours_is_told_with_its_reason(address: str, reason: str) -> None:
    with pytest.raises(CannotListen, match=rf"cannot listen on {re.escape(address)} \(listen\): {reason}\. "):
        async with serve_in_process(make_settings("http://127.0.0.1:1", listen=address)):
            pass


async def test_what_was_opened_before_the_failure_is_closed_again() -> None:
    """A second try on the same address succeeds."""
    port = free_port()
    with socket.create_server((LOOPBACK, 0)) as taken:
        settings = {"listen": f"{LOOPBACK}:{port}", "admin": f"{LOOPBACK}:{taken.getsockname()[1]}"}
        with pytest.raises(CannotListen):
            async with serve_in_process(make_settings("http://127.0.0.1:1", **settings)):
                pass
    async with serve_in_process(make_settings("http://127.0.0.1:1", listen=f"{LOOPBACK}:{port}")) as server:
        assert server.listen.port == port


async def test_two_gateways_run_side_by_side_and_share_nothing() -> None:
    async with serve_in_process(make_settings("demo")) as first, serve_in_process(make_settings("demo")) as second:
        reader, writer = await asyncio.open_connection(first.listen.host, first.listen.port)
        writer.write(invoke("echo"))
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        await writer.wait_closed()
        assert first.gateway.totals.functions
        assert not second.gateway.totals.functions


def test_without_a_backend_it_warns_and_serves_is_ready_and_logs_when_the_backend_is_there(
    start: Callable[..., Process],
) -> None:
    port = free_port()
    process = start("--backend", f"http://{LOOPBACK}:{port}").until_up()
    process.until_logged(r"WARNING serving without the backend: The backend refused the connection\.")
    answer = fetch(process.admin_port, "/readyz")
    assert (answer.status, answer.json["ready"], answer.json["backend"]) == (200, True, "down")
    assert "backend.url" in answer.json["backend_error"]
    assert fetch(process.admin_port, "/healthz").status == 200
    with Wire(process.port) as wire:
        assert wire.send(invoke()).answer().header("x-amzn-errortype") == "ServiceException"
        with socket.create_server((LOOPBACK, port)):
            process.until_logged(r"INFO backend \S+ is up again, after")
            assert fetch(process.admin_port, "/readyz").json["backend"] == "up"
    process.until_logged(r"WARNING backend \S+ is down: The backend refused the connection\.")
    assert "Traceback" not in process.log


# ---- stop -----------------------------------------------------------------------------------------------------


def is_refused(port: int) -> bool:
    try:
        Wire(port).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_what_was_admitted_finish(
    start: Callable[..., Process], behind: Backend, number: signal.Signals
) -> None:
    """New connections are refused at once, an idle one is closed, /readyz says that it drains; the end is a 0."""
    process = start("--backend", behind.backend.url, prefix=EXECUTED).until_up()
    with Wire(process.port) as running_call, Wire(process.port) as idle:
        idle.send(invoke()).answer()
        running_call.send(invoke("hold", b'"admitted"'))
        behind.until_running(1)
        process.signal(number)
        wait_until(lambda: is_refused(process.port), "new connections are refused")
        assert idle.has_ended()
        answer = fetch(process.admin_port, "/readyz")
        assert (answer.status, answer.json["why"]) == (503, "The gateway is draining.")
        assert not process.has_ended
        behind.release()
        answer = running_call.answer()
        assert (answer.status, answer.body, answer.header("connection")) == (200, b'"admitted"', "close")
        assert running_call.has_ended()
    assert process.wait() == 0
    assert re.search(r"draining: 1 invocations in flight\n.*INFO stopped\n\Z", process.log)


def test_draining_takes_no_longer_than_drain_seconds(start: Callable[..., Process], behind: Backend) -> None:
    """What still runs then is cut, and the exit status is 0 all the same."""
    process = start("--backend", behind.backend.url, "--drain-seconds", "0.3").until_up()
    with Wire(process.port) as wire:
        wire.send(invoke("hold"))
        behind.until_running(1)
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert wire.has_ended()
    assert "Traceback" not in process.log


def test_a_second_signal_does_not_wait(start: Callable[..., Process], behind: Backend) -> None:
    process = start("--backend", behind.backend.url, "--drain-seconds", "600").until_up()
    with Wire(process.port) as wire:
        wire.send(invoke("hold"))
        behind.until_running(1)
        process.signal(signal.SIGTERM)
        process.until_logged("draining: 1 invocations in flight")
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
    assert "Traceback" not in process.log


def test_a_second_signal_does_not_wait_for_events_either_and_they_stay_in_the_queue(
    start: Callable[..., Process], behind: Backend, tmp_path: Path
) -> None:
    file = tmp_path / "queue.db"
    flags = ("--backend", behind.backend.url, "--drain-seconds", "600", "--async-store", f"sqlite://{file}")
    process = start(*flags).until_up()
    with Wire(process.port) as wire:
        wire.send(invoke("hold", b"{}", "X-Amz-Invocation-Type: Event"))
        behind.until_running(1)
    process.signal(signal.SIGTERM)
    process.until_logged("draining: 1 invocations in flight")
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert "Traceback" not in process.log
    with closing(sqlite3.connect(file)) as queue:
        ((lane,),) = queue.execute("SELECT lane FROM events").fetchall()
        assert lane.endswith("|000000000000/function/hold"), "before it stands the origin that the event was kept for"


def test_an_upload_under_way_is_finished_too(start: Callable[..., Process], behind: Backend) -> None:
    process = start("--backend", behind.backend.url).until_up()
    with Wire(process.port) as wire:
        wire.send(invoke("echo", b'"half', "Content-Length: 10", length=False))
        wait_until(lambda: b"buffered_bytes 10\n" in fetch(process.admin_port, "/metrics").body, "it has begun")
        process.signal(signal.SIGTERM)
        wait_until(lambda: is_refused(process.port), "new connections are refused")
        assert wire.send(b' way"').answer().body == b'"half way"'
    assert process.wait() == 0


# ---- reload ---------------------------------------------------------------------------------------------------


def limits(total: int, **reserved: int) -> dict[str, Any]:
    functions = {name: {"reserved_concurrent_executions": slots} for name, slots in reserved.items()}
    rates = {"requests_per_second": "off"}
    return {"concurrent_executions": total, "unreserved_floor": 0, "functions": functions, **rates}


def test_sighup_puts_new_limits_in_force_without_dropping_a_request(
    start: Callable[..., Process], behind: Backend
) -> None:
    """The call that runs is counted against the reservation that has just appeared, and ends as if nothing were."""
    process = start("--backend", behind.backend.url, accounts={"default": limits(10)}).until_up()
    with Wire(process.port) as running_call, Wire(process.port) as other:
        running_call.send(invoke("hold"))
        behind.until_running(1)
        process.write(accounts={"default": limits(20, hold=1)}, listen=f"{LOOPBACK}:{free_port()}")
        process.signal(signal.SIGHUP)
        process.until_logged(r"settings reloaded: accounts.default.concurrent_executions 10 -> 20, \+hold\n")
        process.until_logged("WARNING changed, but applied only by a restart: listen")
        assert process.causes_of_degradation() == ["restart_needed"]
        assert process.limits()["concurrent_executions"] == 20
        assert other.send(invoke("hold")).answer().json["Reason"] == RESERVED
        assert other.send(invoke("echo")).answer().status == 200
        behind.release()
        assert running_call.answer().status == 200
        other.send(invoke("hold"))
        behind.until_running(1)
        behind.release()
        assert other.answer().status == 200


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("accounts: {default: {concurrent_executions: -1}}", "accounts.default.concurrent_executions"),
        ("accounts: {default: {concurent_executions: 1}}", "concurent_executions"),
        ("accounts: [", "is no YAML"),
        ("", None),
    ],
)
def test_an_invalid_file_leaves_the_old_limits_in_force_and_says_why(
    start: Callable[..., Process], text: str, why: str | None
) -> None:
    """And the next good one is taken. (An empty file is no mistake: it asks for the defaults.)"""
    process = start(accounts={"default": limits(7)}).until_up()
    process.file.write_text(text)
    process.signal(signal.SIGHUP)
    if why is None:
        process.until_logged("settings reloaded")
        assert process.limits()["concurrent_executions"] == 1000
        return
    process.until_logged(r"ERROR settings not reloaded, so the old settings stay in force:\n[^$]*" + re.escape(why))
    assert process.limits()["concurrent_executions"] == 7
    assert process.causes_of_degradation() == ["settings_invalid"]
    ready, page = fetch(process.admin_port, "/readyz"), live_document(process.admin_port)
    assert (ready.status, ready.json["ready"]) == (200, True), "the old settings serve"
    error = ready.json["settings_error"]
    assert page["settings_error"] == error
    assert why in error["problem"]
    assert str(process.file) in error["problem"]
    assert error["problems"] >= 1
    assert error["in_force_since"] < error["at"] <= time.time()
    assert process.metric("config_last_reload_successful") == 0
    assert process.metric("config_last_reload_success_timestamp_seconds") < error["at"]
    process.write(accounts={"default": limits(8)})
    process.signal(signal.SIGHUP)
    process.until_logged("settings reloaded")
    assert process.limits()["concurrent_executions"] == 8
    assert process.causes_of_degradation() == []
    assert "settings_error" not in fetch(process.admin_port, "/readyz").json
    assert live_document(process.admin_port)["settings_error"] is None
    assert process.metric("config_last_reload_successful") == 1
    assert process.metric("config_last_reload_success_timestamp_seconds") > error["at"]
    assert "Traceback" not in process.log


def test_a_file_that_is_gone_leaves_the_old_limits_in_force(start: Callable[..., Process]) -> None:
    process = start(accounts={"default": limits(7)}).until_up()
    process.file.unlink()
    process.signal(signal.SIGHUP)
    why = re.escape(os.strerror(errno.ENOENT))
    process.until_logged(f"settings not reloaded, so the old settings stay in force:\n.*cannot be read: {why}")
    assert process.limits()["concurrent_executions"] == 7


def test_with_watch_a_change_of_the_file_is_enough(start: Callable[..., Process]) -> None:
    """Whether it is written in place or replaced, as editors and mounts do; a bad one in between changes nothing."""
    process = start("--watch", accounts={"default": limits(5)}).until_up()
    wait_until(lambda: touch(process.file) and "settings reloaded" in process.log, "the watch has begun")
    process.write(accounts={"default": limits(6)})
    wait_until(lambda: process.limits()["concurrent_executions"] == 6, "the file written in place is in force")
    process.file.write_text("accounts: [")
    process.until_logged("settings not reloaded")
    made = process.file.with_suffix(".new")
    made.write_text(yaml.safe_dump({"accounts": {"default": limits(7)}}))
    os.replace(made, process.file)
    wait_until(lambda: process.limits()["concurrent_executions"] == 7, "the file put in its place is in force")


def touch(file: Path) -> bool:
    """Change a file's bytes and nothing of what they say."""
    with file.open("a") as opened:
        opened.write("#\n")
    return True


def reason_of(served: Gateway, function: str) -> str | None:
    """Why a call is throttled, `None` where it is not."""
    answer = served.send(invoke(function))
    assert answer.status in (200, 429)
    reason: str | None = answer.json.get("Reason")
    return reason


@pytest.fixture(scope="module")
def reloaded() -> Iterator[Gateway]:
    with gateway() as started:
        yield started


@pytest.mark.parametrize(
    ("before", "calls", "after", "function", "reason"),
    [
        (limits(4), 2, limits(4, hold=2), "hold", RESERVED),
        (limits(4), 2, limits(4, hold=3), "hold", None),
        (limits(4), 2, limits(5, hold=2), "echo", None),
        (limits(4), 2, limits(4, hold=2), "echo", UNRESERVED),  # until one of the two ends, they still fill the pool
        (limits(4), 4, limits(4, hold=2), "echo", UNRESERVED),
        (limits(4, hold=3), 3, limits(4, hold=1), "hold", RESERVED),
        (limits(4, hold=3), 3, limits(4, hold=1), "echo", None),
        (limits(4, hold=4), 4, limits(4, hold=1), "echo", UNRESERVED),
        (limits(4, hold=2), 2, limits(4), "hold", None),
        (limits(4, hold=4), 4, limits(4), "hold", UNRESERVED),
        (limits(4, hold=4), 4, limits(4), "echo", UNRESERVED),
        (limits(4), 3, limits(3), "hold", UNRESERVED),
        (limits(4, hold=3), 3, limits(3, hold=3), "echo", UNRESERVED),
        (limits(4), 3, limits(8, hold=0), "hold", RESERVED),
        (limits(4, hold=1), 1, limits(4, other=4), "hold", UNRESERVED),
        (limits(4, hold=1), 1, limits(8, hold=2), "hold", None),
    ],
)
def test_what_runs_stays_counted_through_a_reload(
    reloaded: Gateway, before: dict[str, Any], calls: int, after: dict[str, Any], function: str, reason: str | None
) -> None:
    """A reservation that appears, shrinks or vanishes lets neither the account nor the function exceed its limit; and
    when the calls have ended, everything is as after a fresh start."""
    reloaded.reload(accounts={"default": before})
    with calls_under_way(reloaded, *["hold"] * calls):
        reloaded.reload(accounts={"default": after})
        if reason is None and function == "hold":
            with Wire(reloaded.port) as wire:
                wire.send(invoke("hold"))
                reloaded.until_running(calls + 1)
                reloaded.release()
                assert wire.answer().status == 200
        else:
            assert reason_of(reloaded, function) == reason
    reloaded.until_idle()
    reserved = sum(function["reserved_concurrent_executions"] for function in after["functions"].values())
    has_pool = reserved < after["concurrent_executions"]
    assert reason_of(reloaded, "echo") == (None if has_pool else UNRESERVED)


def test_a_reload_also_changes_quotas_and_credentials() -> None:
    with gateway() as served:
        account = "111122223333"
        served.reload(
            quotas={"request": 2},
            credentials={"AKIAEXAMPLE": account},
            accounts={account: {"concurrent_executions": 0}},
        )
        assert served.send(invoke(body=b"[1]")).status == 413
        authorization = "Authorization: AWS4-HMAC-SHA256 Credential=AKIAEXAMPLE/x"
        assert served.send(invoke("echo", b"{}", authorization)).status == 429
        assert served.send(invoke()).status == 200


# ---- TLS ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("tls")
    made = {"certificate": str(folder / "certificate.pem"), "key": str(folder / "key.pem")}
    command = [OPENSSL.require(), "req", "-x509", "-newkey", "rsa:2048", "-nodes"]
    command += ["-subj", "/CN=localhost", "-days", "1"]
    command += ["-addext", "subjectAltName=DNS:localhost", "-out", made["certificate"], "-keyout", made["key"]]
    subprocess.run(command, check=True, capture_output=True)
    return made


def test_the_invoke_listener_speaks_tls_where_it_is_told_to(certificate: dict[str, str]) -> None:
    """Also with a body of the full quota both ways; whoever speaks plainly gets nothing and hurts nobody."""
    trusting = ssl.create_default_context(cafile=certificate["certificate"])
    largest = b'"' + b"x" * (6_291_456 - 2) + b'"'
    with gateway(tls=certificate, read_timeout_seconds=0.4) as served, ExitStack() as stack:
        plain = stack.enter_context(Wire(served.port))
        assert plain.send(invoke()).rest() is not None
        wire = stack.enter_context(Wire(served.port, tls=trusting))
        for body in (b"{}", largest):
            assert wire.send(invoke(body=body)).answer().body == body
        assert wire.send(b"\0").answer().status == 400
        slow = stack.enter_context(Wire(served.port, tls=trusting))
        assert slow.send(b"POST /").answer().status == 408
        served.until_idle()
