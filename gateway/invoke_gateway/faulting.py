"""What is said of fault scripts to a running gateway's admin listener."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from invoke_gateway.asking import NoAnswer, ask, describe_failure, read_error


class FaultFailed(Exception):
    """The gateway did not do it; the text says why and what helps."""


def make_script(admin: str, wanted: dict[str, Any]) -> dict[str, Any]:
    """Make a fault script at the admin listener, host:port; the gateway's description of it, with `replaced`, the
    id of the one that it replaces. Raises `FaultFailed`."""
    status, script = _ask(admin, "/faults", "POST", json.dumps(wanted).encode())
    if status != 201 or not isinstance(script, dict) or not script.keys() >= {"id", "account", "function", "steps"}:
        raise FaultFailed(describe_failure(admin, "/faults", status, script))
    return script


def list_scripts(admin: str) -> list[dict[str, Any]]:
    """The gateway's descriptions of all scripts, also of those that are over. Raises `FaultFailed`."""
    status, answer = _ask(admin, "/faults")
    if status != 200 or not isinstance(answer, dict) or not isinstance(answer.get("faults"), list):
        raise FaultFailed(describe_failure(admin, "/faults", status, answer))
    scripts: list[dict[str, Any]] = answer["faults"]
    return scripts


def end_script(admin: str, id: str) -> bool:
    """End a script; False where there is none. Raises `FaultFailed`."""
    path = f"/faults/{quote(id, safe='', errors='replace')}"
    status, answer = _ask(admin, path, "DELETE")
    if status == 404 and read_error(answer):
        return False
    if status != 204:
        raise FaultFailed(describe_failure(admin, path, status, answer))
    return True


def end_all_scripts(admin: str) -> None:
    """End all scripts. Raises `FaultFailed`."""
    status, answer = _ask(admin, "/faults", "DELETE")
    if status != 204:
        raise FaultFailed(describe_failure(admin, "/faults", status, answer))


def _ask(admin: str, path: str, method: str = "GET", body: bytes | None = None) -> tuple[int, Any]:
    try:
        return ask(admin, path, method, body)
    except NoAnswer as error:
        raise FaultFailed(str(error)) from None
