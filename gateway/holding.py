"""What `invoke-gateway hold` and `release` say to a running gateway's operations listener, and the wait between."""

from __future__ import annotations

import http.client
import json
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import quote

import click

from gateway.live_table import DIRECT, describe_silence

ANSWER_TIMEOUT = 10.0  # seconds; a hold of a million slots takes some of them
TICK = 1.0  # seconds between two counts of what is left


class HoldFailed(Exception):
    """The gateway did not do it; the text says why and what helps."""


def take_hold(operations: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Take a hold at the operations listener, host:port; the gateway's description of it. Raises `HoldFailed`."""
    status, hold = _ask(operations, "/holds", "POST", json.dumps(wanted).encode())
    if status != 201 or not isinstance(hold, dict) or not hold.keys() >= {"id", "account", "function", "slots"}:
        raise HoldFailed(_describe_failure(operations, "/holds", status, hold))
    return hold


def describe_hold(hold: dict[str, Any], wanted: dict[str, Any], release: str) -> str:
    """One line: what is held, and the command that ends it."""
    asked = wanted.get("account")
    account = f" in account {hold['account']}" if asked else ""
    if asked and asked != hold["account"]:
        account += f" (which {asked} shares)"
    return (
        f"holding {hold['slots']} of {hold['function'] or 'the unreserved pool'}{account} for {wanted['seconds']:g} s; "
        f"id {hold['id']}; Ctrl-C or `{release}` ends it"
    )


def release_hold(operations: str, id: str) -> bool:
    """End a hold; False where there is none, for it may have ended by itself. Raises `HoldFailed`."""
    path = f"/holds/{quote(id, safe='', errors='replace')}"
    status, answer = _ask(operations, path, "DELETE")
    if status == 404 and _read_error(answer):
        return False
    if status != 204:
        raise HoldFailed(_describe_failure(operations, path, status, answer))
    return True


def wait_for_end(seconds: float, *, is_terminal: bool) -> None:
    """Wait until a hold's time is over, or until Ctrl-C; a terminal shows the seconds that are left."""
    end = time.monotonic() + seconds
    try:
        while (left := end - time.monotonic()) > 0:
            if is_terminal:
                click.echo(f"\r{left:4.0f} s left ", nl=False)
            time.sleep(min(left, TICK))
    except KeyboardInterrupt:
        return
    finally:
        if is_terminal:
            click.echo(f"\r{' ' * 14}\r", nl=False)


def _ask(operations: str, path: str, method: str, body: bytes | None = None) -> tuple[int, Any]:
    """Status and JSON of the answer, `None` where it is no JSON."""
    request = urllib.request.Request(f"http://{operations}{path}", body, method=method)
    request.add_header("Content-Type", "application/json")
    try:
        try:
            with DIRECT.open(request, timeout=ANSWER_TIMEOUT) as answer:
                return answer.status, _read_json(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _read_json(error.read())
    except (OSError, http.client.HTTPException) as error:
        raise HoldFailed(describe_silence(operations, error)) from None


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None


def _read_error(answer: Any) -> str | None:
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, str) else None


def _describe_failure(operations: str, path: str, status: int, answer: Any) -> str:
    return _read_error(answer) or f"http://{operations}{path} answered {status}: is this the operations listener?"
