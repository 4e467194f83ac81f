"""Gateways under every kind of load that the metrics tell of, for as long as somebody looks.

One gateway has the demo backend, and an account for each limit that is to be reached; a second shares its counters and
verifies its callers, who are few; a third counts by itself and has a backend that is not there. The functions are the
demo backend's own.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.support import processes
from tests.support.signing import sign
from tests.support.sockets import Answer, Wire, invoke
from tests.support.stores import running_store

from .expressions import ROOT

ACCOUNT = "000000000000"
FULL = "111122223333"
CALLER = "444455556666"
LIMITED = "arn:aws:iam::777788889999:user/limited"  # of the default account, as each account that is not named
_LIMITED_KEY, _LIMITED_SECRET = "AKIALIMITED", "secret of the limited caller"

_NOBODY = "http://127.0.0.1:1/"  # a target that cannot be told anything

# Of the default account: `sleep` uses up its reservation, `blob` and `echo` their rates; `fail` fails.
_FUNCTIONS: dict[str, dict[str, Any]] = {
    "sleep": {"reserved_concurrent_executions": 2, "requests_per_second": "off"},
    "blob": {"reserved_concurrent_executions": 5, "requests_per_second": 2},
    "echo": {"requests_per_second": 4},
    "fail": {"maximum_retry_attempts": 1, "dead_letter_queue": _NOBODY, "on_failure": _NOBODY},
}
SETTINGS: dict[str, Any] = {
    "backend": {"url": "demo", "timeout_seconds": 30},
    "accounts": {
        "default": {"concurrent_executions": 200, "requests_per_second": "off", "functions": _FUNCTIONS},
        FULL: {"concurrent_executions": 2, "requests_per_second": "off"},
        CALLER: {"concurrent_executions": 20, "requests_per_second": "off", "caller_requests_per_second": 2},
    },
    "async": {
        "function_error_delays_seconds": [1],
        "shortest_delay_seconds": 0.5,
        "longest_delay_seconds": 1,
        "delivery_attempts": 2,
    },
    "credentials": {f"AKIA{FULL}": FULL, f"AKIA{CALLER}": CALLER},
    "callers": {_LIMITED_KEY: {"arn": LIMITED, "concurrent_executions": 3}},
}
_ECHO_ALONE = {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "arn:aws:lambda:*:*:function:echo"}
REASONS = {
    "ReservedFunctionConcurrentInvocationLimitExceeded",
    "ConcurrentInvocationLimitExceeded",
    "ReservedFunctionInvocationRateLimitExceeded",
    "FunctionInvocationRateLimitExceeded",
    "CallerRateLimitExceeded",
}
_EVENT = "X-Amz-Invocation-Type: Event"
_RETRY = "amz-sdk-request: attempt=2; max=3"


class Load:
    """Calls, some forty in each round, one round after the other in a thread of its own. `reasons` are those of the
    refusals so far."""

    def __init__(self, gateway: Process, sharing: Process, broken: Process) -> None:
        self.gateway = gateway
        self.targets = [gateway.target, sharing.target, broken.target]
        self.sharing = sharing
        self.broken = broken
        self.reasons: set[str] = set()
        self._is_over = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def until_all_is_refused(self) -> None:
        """Wait until there has been a refusal for each reason."""
        processes.wait_until(lambda: self._failure or self.reasons == REASONS, f"refusals, not only {self.reasons}")

    def stop(self) -> None:
        self._is_over.set()
        self._thread.join(30)
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        try:
            while not self._is_over.wait(0.2):
                self._call_all()
        except BaseException as error:
            self._failure = error

    def _call_all(self) -> None:
        with ExitStack() as stack:
            wires = [stack.enter_context(Wire(self.gateway.port)) for _ in range(4)]
            for wire, account in zip(wires, (ACCOUNT, ACCOUNT, FULL, FULL), strict=True):
                wire.send(invoke("sleep", b'{"seconds": 0.5}', *_of(account)))
            for _ in range(2):
                self._call("sleep")
                self._call("sleep", _RETRY)
                self._call("sleep", _RETRY, *_of(FULL))
                for _ in range(3):
                    self._call("echo", *_of(CALLER))
                for function in ("echo", "echo", "echo", "blob", "blob", "fail"):
                    self._call(function, _RETRY)
            for function in ("fail", "sleep"):
                self._call(function, _EVENT, body=b'{"seconds": 0.3}')
            self._call("echo", body=b"{bad")
            self._send(self.gateway, invoke(path="/2015-03-31/functions", method="GET", body=b""))
            self._leave(invoke("echo", b"{", "Content-Length: 9", length=False))
            self._leave(invoke("stream", b'{"chunks": 3, "bytes": 100, "seconds": 0.1}'))
            self._send(self.broken, invoke())
            self._send(self.sharing, invoke())  # without a signature
            for function in ("echo", "fail"):  # no policy allows the second
                self._send(self.sharing, _sign(function))
            for wire in wires:
                self._note(wire.answer())

    def _call(self, function: str, *headers: str, body: bytes = b'{"seconds": 0}') -> None:
        self._note(self._send(self.gateway, invoke(function, body, *headers)))

    def _send(self, gateway: Process, data: bytes) -> Answer:
        with Wire(gateway.port) as wire:
            return wire.send(data).answer()

    def _note(self, answer: Answer) -> None:
        if answer.status == 429:
            self.reasons.add(answer.json["Reason"])

    def _leave(self, data: bytes) -> None:
        """Send it, and be gone while the gateway works on it."""
        with Wire(self.gateway.port) as wire:
            wire.send(data).is_open(0.02)  # it may be refused meanwhile: the other calls of a slow machine still run
            wire.reset()


def _of(account: str) -> tuple[str, ...]:
    """The header that says that the caller is of this account."""
    if account == ACCOUNT:
        return ()
    credential = f"AKIA{account}/20260101/us-east-1/lambda/aws4_request"
    return (f"Authorization: AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders=host, Signature=0",)


def _sign(function: str) -> bytes:
    path = f"/2015-03-31/functions/{function}/invocations"
    return sign(path=path, key_id=_LIMITED_KEY, secret=_LIMITED_SECRET, at=datetime.now(UTC)).to_bytes()


def _verify_callers(folder: Path) -> dict[str, Any]:
    """The settings of a gateway that verifies its callers, beside `SETTINGS`."""
    secret = folder / "secret"
    secret.write_text(_LIMITED_SECRET)
    secret.chmod(0o600)
    policy = {"Version": "2012-10-17", "Statement": [_ECHO_ALONE]}
    caller = {**SETTINGS["callers"][_LIMITED_KEY], "secret": f"file:{secret}", "policies": [policy]}
    return {"signatures": "verify", "callers": {_LIMITED_KEY: caller}, "credentials": {}}


class Process:
    """A gateway in a process of its own. `port` is that of the Invoke API."""

    def __init__(self, folder: Path, name: str, settings: dict[str, Any]) -> None:
        self.port, self.admin_port = processes.free_port(), processes.free_port()
        self.target = f"127.0.0.1:{self.admin_port}"
        self.file = folder / f"{name}.json"
        listeners = {"listen": f"127.0.0.1:{self.port}", "admin": self.target}
        self.file.write_text(json.dumps({**settings, **listeners, "watch": True}))

    @contextmanager
    def run(self) -> Iterator[Process]:
        """It runs for the length of the block."""
        arguments = [sys.executable, "-m", "invoke_gateway", "serve", f"--config={self.file}"]
        folder = self.file.parent
        log = self.file.with_suffix(".log")
        with processes.running(arguments, log, processes.bare_environment(folder), ROOT) as process:
            ports = (self.port, self.admin_port)
            process.wait_until(lambda: all(map(processes.listens, ports)), "it listens")
            yield self

    def hold_a_slot(self) -> None:
        body = b'{"seconds": 600}'
        with Wire(self.admin_port) as wire:
            wire.send(invoke("", body, "Content-Type: application/json", path="/holds"))
            assert wire.answer().status == 201

    def become_degraded(self) -> None:
        """Its settings file has mistakes from now on."""
        self.file.write_text("{")


@contextmanager
def under_load(folder: Path) -> Iterator[Load]:
    """The gateways and the load on them, for the length of the block. A slot is held, and the gateway whose backend is
    not there is degraded as well."""
    nowhere = {"backend": {"url": f"http://127.0.0.1:{processes.free_port()}"}}
    with running_store("valkey") as store, ExitStack() as stack:
        store.clear(ACCOUNT, FULL, CALLER)
        # A busy machine is no store that is away.
        shared = {**SETTINGS, "counters": store.url, "shared": {"store_timeout_seconds": 1}}
        gateway, sharing, broken = (
            stack.enter_context(Process(folder, name, settings).run())
            for name, settings in (
                ("gateway", shared),
                ("sharing", {**shared, **_verify_callers(folder)}),
                ("broken", nowhere),
            )
        )
        gateway.hold_a_slot()
        broken.become_degraded()
        load = Load(gateway, sharing, broken)
        load.start()
        try:
            yield load
        finally:
            load.stop()
