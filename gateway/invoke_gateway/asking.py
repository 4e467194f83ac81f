"""Asking the admin listener of a running gateway: for the commands, and for `invoke_gateway.testing`.

The standard library only: this is imported into the test runs of other projects.
"""

from __future__ import annotations

import http.client
import json
import urllib.error
import urllib.request
from typing import Any

ANSWER_TIMEOUT = 10.0  # seconds; a hold of a million slots takes some of them
LIMITS_TIMEOUT = 2.0  # seconds; the gateway answers from memory
# A proxy from the environment must not stand between this machine and a gateway on it.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NoAnswer(Exception):
    """Nothing came from the address; the text says why and what helps."""


class LimitsUnavailable(Exception):
    """The gateway's admin listener gave no usable answer."""


def ask(
    admin: object, path: str, method: str = "GET", body: bytes | None = None, timeout: float = ANSWER_TIMEOUT
) -> tuple[int, Any]:
    """Status and JSON of the answer from host:port, `None` where it is no JSON. Raises `NoAnswer`."""
    request = urllib.request.Request(f"http://{admin}{path}", body, method=method)
    request.add_header("Content-Type", "application/json")
    try:
        try:
            with DIRECT.open(request, timeout=timeout) as answer:
                return answer.status, _read_json(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, _read_json(error.read())
    except (OSError, http.client.HTTPException) as error:
        raise NoAnswer(_describe_silence(admin, error)) from None


def fetch_limits(admin: object) -> dict[str, Any]:
    """The answer of /limits at host:port. Raises LimitsUnavailable."""
    try:
        status, limits = ask(admin, "/limits", timeout=LIMITS_TIMEOUT)
    except NoAnswer as error:
        raise LimitsUnavailable(str(error)) from None
    if status != 200:
        raise LimitsUnavailable(describe_failure(admin, "/limits", status, limits))
    if not isinstance(limits, dict) or not isinstance(limits.get("accounts"), list):
        raise LimitsUnavailable(f"http://{admin}/limits answered something else: is this the admin listener?")
    return limits


def read_error(answer: Any) -> str | None:
    """The gateway's own text of what is wrong; `None` where the answer is none of the gateway's."""
    error = answer.get("error") if isinstance(answer, dict) else None
    return error if isinstance(error, str) else None


def describe_failure(admin: object, path: str, status: int, answer: Any) -> str:
    """Why it was not done: in the gateway's words, or that this seems to be no gateway."""
    return read_error(answer) or f"http://{admin}{path} answered {status}: is this the admin listener?"


def _describe_silence(admin: object, error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    hint = "is the gateway running, and is this its admin listener?"
    return f"no gateway answers at {admin} ({reason}): {hint}"


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError:
        return None
