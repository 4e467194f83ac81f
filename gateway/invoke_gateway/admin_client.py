"""Sends requests to the admin listener of a running gateway, for the commands and for `invoke_gateway.testing`.

Only the standard library is imported: the test runs of other projects import this module.
"""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

TIMEOUT = 10.0  # seconds; a hold of a million slots takes some of them
LIMITS_TIMEOUT = 2.0  # seconds; the gateway responds from memory
_RETRY_SECONDS = 0.05  # between two attempts at a gateway that may be starting
# A proxy from the environment must not stand between this machine and a gateway on it.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class AdminRequestFailed(Exception):
    """Reports a request that the gateway did not fulfil. The text gives the cause and the action.

    status: the HTTP status of the response; None without a response
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


class NoResponse(AdminRequestFailed):
    """Reports an address where nothing responds."""


class LimitsUnavailable(AdminRequestFailed):
    """Reports limits that could not be read."""


class HoldFailed(AdminRequestFailed):
    """Reports a hold that could not be taken, listed or released."""


class FaultFailed(AdminRequestFailed):
    """Reports a fault script that could not be made, listed or ended."""


class QueueFailed(AdminRequestFailed):
    """Reports events that could not be listed, or an action on them that failed."""


class PermissionUndecided(AdminRequestFailed):
    """Reports a question about a permission that the gateway did not answer."""


class ControlFailed(AdminRequestFailed):
    """Reports values of control operations that could not be read, set or dropped.

    mistakes: `key` and `text` of each value that is refused
    """

    mistakes: tuple[dict[str, Any], ...] = ()


def request(
    admin: object,
    path: str,
    method: str = "GET",
    body: bytes | None = None,
    timeout: float = TIMEOUT,
    start_seconds: float = 0.0,
    token: str | None = None,
) -> tuple[int, Any]:
    """Returns status and JSON document of the response; the document is None where the body is no JSON. Raises
    `NoResponse`.

    admin: address of the listener (host:port)
    timeout: for each step of the exchange (seconds)
    start_seconds: how long a refused connection is tried again, because the gateway may be starting (seconds)
    token: the admin token
    """
    until = time.monotonic() + start_seconds
    message = urllib.request.Request(f"http://{admin}{path}", body, method=method)
    message.add_header("Content-Type", "application/json")
    if token is not None:
        message.add_unredirected_header("Authorization", f"Bearer {token}")
    while True:
        try:
            return _send(message, timeout)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            if isinstance(reason, ConnectionRefusedError) and time.monotonic() < until:  # nothing has been sent
                time.sleep(_RETRY_SECONDS)  # a command has nothing else to do
                continue
            tried = f", tried for {start_seconds:g} s" if start_seconds and time.monotonic() >= until else ""
            hint = "is the gateway running, and is this its admin listener?"
            raise NoResponse(f"no gateway answers at {admin} ({reason}{tried}): {hint}") from None


def _send(message: urllib.request.Request, timeout: float) -> tuple[int, Any]:
    try:
        with _DIRECT.open(message, timeout=timeout) as response:
            return response.status, _read_json(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, _read_json(error.read())


class AdminClient:
    """Sends requests to one gateway.

    address: its admin listener (host:port)
    start_seconds: how long the first request waits for a gateway that is just starting (seconds)
    token: its admin token, if it has one
    """

    def __init__(self, address: object, start_seconds: float = 0.0, token: str | None = None) -> None:
        self.address = str(address)
        self._token = token
        self._start_seconds = start_seconds

    def __repr__(self) -> str:
        return f"<AdminClient {self.address}>"

    # Limits and calls in flight.

    def fetch_status(self) -> dict[str, Any]:
        """Returns the document of `/status`. Raises `AdminRequestFailed`."""
        return self._fetch(AdminRequestFailed, "/status", "problems")

    def fetch_limits(self) -> dict[str, Any]:
        """Returns the document of `/limits`. Raises `LimitsUnavailable`."""
        return self._fetch(LimitsUnavailable, "/limits", "accounts", timeout=LIMITS_TIMEOUT)

    def fetch_in_flight(self, **query: object) -> dict[str, Any]:
        """Returns the document of `/in-flight`; keys of the query that are None are left out."""
        return self._fetch(AdminRequestFailed, "/in-flight", "holders", query=query)

    def release_gateway(self, gateway: str, account: str | None, *, force: bool) -> dict[str, Any]:
        """Releases the slots of a dead gateway, of one account or all. Returns what was released."""
        query = {"account": account, "force": "true" if force else None}
        path = f"/in-flight/{_quote(gateway)}"
        return self._fetch(AdminRequestFailed, path, "released", method="DELETE", query=query)

    # Holds.

    def take_hold(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Takes a hold and returns its description. Raises `HoldFailed`."""
        return self._create(HoldFailed, "/holds", wanted, "id", "account", "function", "slots")

    def list_holds(self) -> list[dict[str, Any]]:
        """Returns the descriptions of all holds that last. Raises `HoldFailed`."""
        holds: list[dict[str, Any]] = self._fetch(HoldFailed, "/holds", "holds")["holds"]
        return holds

    def release_hold(self, id: str) -> bool:
        """Releases a hold; False where there is none, because it may have ended by itself. Raises `HoldFailed`."""
        return self._delete(HoldFailed, f"/holds/{_quote(id)}")

    # Fault scripts.

    def make_script(self, wanted: dict[str, Any]) -> dict[str, Any]:
        """Makes a fault script. Returns its description, with the id of the replaced script as `replaced`. Raises
        `FaultFailed`."""
        return self._create(FaultFailed, "/faults", wanted, "id", "account", "function", "steps")

    def list_scripts(self) -> list[dict[str, Any]]:
        """Returns the descriptions of all scripts, also of those that are over. Raises `FaultFailed`."""
        scripts: list[dict[str, Any]] = self._fetch(FaultFailed, "/faults", "faults")["faults"]
        return scripts

    def end_script(self, id: str) -> bool:
        """Ends a script; False where there is none. Raises `FaultFailed`."""
        return self._delete(FaultFailed, f"/faults/{_quote(id)}")

    def end_all_scripts(self) -> None:
        """Ends all scripts. Raises `FaultFailed`."""
        self._delete(FaultFailed, "/faults")

    # Events. Each method raises `QueueFailed`.

    def fetch_queue(self, rows: int) -> dict[str, Any]:
        return self._fetch(QueueFailed, "/queue", "functions", query={"rows": rows})

    def fetch_events(self, **query: object) -> dict[str, Any]:
        return self._fetch(QueueFailed, "/queue/events", "events", query=query)

    def fetch_history(self, **query: object) -> dict[str, Any]:
        return self._fetch(QueueFailed, "/queue/history", "events", query=query)

    def retry_events(self, request_id: str) -> dict[str, Any]:
        return self._fetch(QueueFailed, f"/queue/events/{_quote(request_id)}/retry", "retried", method="POST")

    def drop_events(self, request_id: str) -> dict[str, Any]:
        return self._fetch(QueueFailed, f"/queue/events/{_quote(request_id)}", "dropped", method="DELETE")

    def adopt_events(self, origin: str | None) -> dict[str, Any]:
        body = None if origin is None else {"origin": origin}
        return self._fetch(QueueFailed, "/queue/adopt", "adopted", method="POST", body=body)

    def drop_held_events(self, origin: str | None) -> dict[str, Any]:
        return self._fetch(QueueFailed, "/queue/held", "dropped", method="DELETE", query={"origin": origin})

    def fetch_permission(self, **question: object) -> dict[str, Any]:
        """Returns whether a caller may do something, and why. Raises `PermissionUndecided`."""
        return self._fetch(PermissionUndecided, "/permissions", "allowed", "statements", query=question)

    # What control operations have set. Each method raises `ControlFailed`.

    def export_control(self, account: str | None = None) -> dict[str, Any]:
        return self._fetch(ControlFailed, "/control", "accounts", "settings", query={"account": account})

    def import_control(self, document: dict[str, Any]) -> dict[str, Any]:
        """Sets all values of a document, or none; `mistakes` of the failure has why."""
        status, answer = self._send(ControlFailed, "/control", "POST", json.dumps(document).encode(), TIMEOUT)
        if status == 200 and isinstance(answer, dict) and "changed" in answer:
            return answer
        failure = ControlFailed(self._describe("/control", status, answer), status)
        if isinstance(answer, dict):
            failure.mistakes = tuple(answer.get("mistakes", ()))
        raise failure

    def reset_control(self, function: str, account: str | None = None) -> dict[str, Any]:
        query = {"function": function, "account": account}
        return self._fetch(ControlFailed, "/control", "dropped", method="DELETE", query=query)

    def _fetch(
        self,
        failure: type[AdminRequestFailed],
        path: str,
        *members: str,
        method: str = "GET",
        query: Mapping[str, object] | None = None,
        body: dict[str, Any] | None = None,
        status: int = 200,
        timeout: float = TIMEOUT,
    ) -> dict[str, Any]:
        """Returns the document of the response, which must have `status` and `members`."""
        given = {key: value for key, value in (query or {}).items() if value is not None}
        target = f"{path}?{urlencode(given, errors='replace')}" if given else path
        sent = json.dumps(body).encode() if body is not None else b"" if method == "POST" else None
        received, document = self._send(failure, target, method, sent, timeout)
        if received != status:
            raise failure(self._describe(path, received, document), received)
        if not isinstance(document, dict) or not document.keys() >= set(members):
            raise failure(f"http://{self.address}{path} answered something else: is this the admin listener?", received)
        return document

    def _create(
        self, failure: type[AdminRequestFailed], path: str, wanted: dict[str, Any], *members: str
    ) -> dict[str, Any]:
        return self._fetch(failure, path, *members, method="POST", body=wanted, status=201)

    def _delete(self, failure: type[AdminRequestFailed], path: str) -> bool:
        status, document = self._send(failure, path, "DELETE", None, TIMEOUT)
        if status == 404 and _read_error(document):
            return False
        if status != 204:
            raise failure(self._describe(path, status, document), status)
        return True

    def _send(
        self, failure: type[AdminRequestFailed], target: str, method: str, body: bytes | None, timeout: float
    ) -> tuple[int, Any]:
        start_seconds, self._start_seconds = self._start_seconds, 0.0
        try:
            return request(self.address, target, method, body, timeout, start_seconds, self._token)
        except NoResponse as error:
            raise failure(str(error)) from None

    def _describe(self, path: str, status: int, document: Any) -> str:
        """Returns the gateway's own text of the error; without one, a question for the address."""
        unknown = f"http://{self.address}{path} answered {status}: is this the admin listener?"
        return _read_error(document) or unknown


def _read_error(document: Any) -> str | None:
    error = document.get("error") if isinstance(document, dict) else None
    return error if isinstance(error, str) else None


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _quote(segment: str) -> str:
    return quote(segment, safe="", errors="replace") or "%20"
