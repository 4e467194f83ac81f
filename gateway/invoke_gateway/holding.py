"""What is said of holds to a running gateway's admin listener, and how `invoke-gateway hold` waits."""

from __future__ import annotations

import json
import time
from typing import Any
from urllib.parse import quote

import click

from invoke_gateway.asking import NoAnswer, ask, describe_failure, read_error

TICK = 1.0  # seconds between two counts of what is left


class HoldFailed(Exception):
    """The gateway did not do it; the text says why and what helps."""


def take_hold(admin: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Take a hold at the admin listener, host:port; the gateway's description of it. Raises `HoldFailed`."""
    status, hold = _ask(admin, "/holds", "POST", json.dumps(wanted).encode())
    if status != 201 or not isinstance(hold, dict) or not hold.keys() >= {"id", "account", "function", "slots"}:
        raise HoldFailed(describe_failure(admin, "/holds", status, hold))
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


def release_hold(admin: str, id: str) -> bool:
    """End a hold; False where there is none, for it may have ended by itself. Raises `HoldFailed`."""
    path = f"/holds/{quote(id, safe='', errors='replace')}"
    status, answer = _ask(admin, path, "DELETE")
    if status == 404 and read_error(answer):
        return False
    if status != 204:
        raise HoldFailed(describe_failure(admin, path, status, answer))
    return True


def list_holds(admin: str) -> list[dict[str, Any]]:
    """The gateway's descriptions of all holds that last. Raises `HoldFailed`."""
    status, answer = _ask(admin, "/holds")
    if status != 200 or not isinstance(answer, dict) or not isinstance(answer.get("holds"), list):
        raise HoldFailed(describe_failure(admin, "/holds", status, answer))
    holds: list[dict[str, Any]] = answer["holds"]
    return holds


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


def _ask(admin: str, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, Any]:
    try:
        return ask(admin, path, method, body)
    except NoAnswer as error:
        raise HoldFailed(str(error)) from None
