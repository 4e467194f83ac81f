"""Reads the gateway's admin listener: live limits and metrics. Takes holds of all slots."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from threading import Lock
from typing import Any, NamedTuple

from loadtests.load.judging import Ceilings

HOLD_SECONDS = 10


class Silence(Exception):
    """Reports that the admin listener does not answer as one. The text has its response."""


class AdminClient:
    """Holds one keep-alive connection to `address`, host:port."""

    def __init__(self, address: str) -> None:
        self.address = address.removeprefix("http://").rstrip("/")
        self._connection = http.client.HTTPConnection(self.address, timeout=10)
        self._turn = Lock()  # a run may end while its first question is still on its way

    def ask(self, method: str, path: str, document: object = None) -> tuple[int, bytes]:
        """Returns status and body. Raises Silence."""
        body = None if document is None else json.dumps(document).encode()
        headers = {} if body is None else {"Content-Type": "application/json"}
        try:
            with self._turn:
                self._connection.request(method, path, body, headers)
                response = self._connection.getresponse()
                return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise Silence(f"http://{self.address}{path} does not answer: {error!r}") from error
        except BaseException:  # the run has ended meanwhile; the next question must not find this one half asked
            self._connection.close()
            raise

    def account(self) -> dict[str, Any]:
        """Returns the default account's entry of `/limits`. Raises Silence."""
        status, body = self.ask("GET", "/limits")
        try:
            entry: dict[str, Any] = json.loads(body)["accounts"][0]
            Ceilings.read(entry)
        except (ValueError, LookupError, TypeError) as error:
            raise Silence(f"http://{self.address}/limits answered {status}, and not as a gateway does") from error
        return entry

    def metric(self, name: str) -> float:
        """Returns the sum of all samples of one metric; 0 without samples. Raises Silence."""
        _, body = self.ask("GET", "/metrics")
        samples = (line.rpartition(" ") for line in body.decode().splitlines() if not line.startswith("#"))
        return sum(float(value) for series, _, value in samples if series.partition("{")[0] == name)

    def close(self) -> None:
        self._connection.close()


def in_flight_of(account: dict[str, Any]) -> dict[str, int]:
    """Returns slots in use by the names of `Ceilings.by_counter`, and of every other running function."""
    functions = {one["function"]: one["in_flight"] for one in account["functions"]}
    return {"account": account["in_flight"], "unreserved": account["unreserved"]["in_flight"], **functions}


class Quiet(NamedTuple):
    """Reports the state after a run. `leaked`: slots that are taken though nothing runs. `notes`: what could not be
    checked."""

    leaked: int
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def look_for_leaks(admin: AdminClient, seconds: float, sleep: Callable[[float], None] = time.sleep) -> Quiet:
    """Waits, at most so long, until nothing is in flight. Then checks that every slot can be taken."""
    deadline = time.monotonic() + seconds
    while (in_flight := admin.account()["in_flight"]) and time.monotonic() < deadline:
        sleep(0.05)
    if in_flight:
        return Quiet(in_flight, (f"{in_flight} slots are still in flight {seconds:.0f} s after the last call",))
    return _take_everything(admin)


def _take_everything(admin: AdminClient) -> Quiet:
    """Takes all slots, tries to take one more of each limit, then releases all."""
    ceilings = Ceilings.read(admin.account())
    limits = {**ceilings.reserved, None: ceilings.pool or 0}
    leaked, problems, held = 0, [], []
    try:
        for function, slots in limits.items():
            if not slots:
                continue
            status, answer = _hold(admin, function, slots, held)
            if status in (404, 405):
                return Quiet(0, notes=("no /holds: only seen that nothing is in flight",))
            if status != 201:
                leaked += max(1, answer.get("in_use", 1))
                problems.append(f"not all {slots} slots of {function or 'the pool'} can be taken: {answer}")
        for function, slots in limits.items():
            if _hold(admin, function, 1, held)[0] == 201 and not problems:
                problems.append(f"more than the {slots} slots of {function or 'the pool'} can be taken")
    finally:
        for id in held:
            admin.ask("DELETE", f"/holds/{id}")
    left = admin.account()["in_flight"]
    if left:
        problems.append(f"{left} slots are in flight after all holds have been released")
    return Quiet(leaked + left, tuple(problems))


def _hold(admin: AdminClient, function: str | None, slots: int, held: list[str]) -> tuple[int, dict[str, Any]]:
    """Returns status and response. The id of a new hold is added to `held`."""
    wanted = {"function": function, "slots": slots, "seconds": HOLD_SECONDS}
    status, body = admin.ask("POST", "/holds", wanted)
    try:
        answer = json.loads(body)
    except ValueError:
        answer = {}
    if status == 201:
        held.append(answer["id"])
    return status, answer
