"""What is asked of a running gateway's queue of events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from invoke_gateway.asking import NoAnswer, ask, describe_failure


class QueueFailed(Exception):
    """The gateway did not do it; the text says why and what helps. `status` is that of its answer, None without one."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


def _fetch(
    admin: object,
    path: str,
    holds: str,
    wanted: Mapping[str, object] | None = None,
    method: str = "GET",
    body: bytes = b"",
) -> dict[str, Any]:
    """The answer, which must have a member `holds`; what is None is not asked for. Raises `QueueFailed`."""
    query = urlencode({key: value for key, value in (wanted or {}).items() if value is not None}, errors="replace")
    sent = body if method == "POST" else None
    try:
        status, document = ask(admin, f"{path}?{query}" if query else path, method, sent)
    except NoAnswer as error:
        raise QueueFailed(str(error)) from None
    if status != 200 or not isinstance(document, dict) or holds not in document:
        raise QueueFailed(describe_failure(admin, path, status, document), status)
    return document


def fetch_queue(admin: object, rows: int) -> dict[str, Any]:
    return _fetch(admin, "/queue", "functions", {"rows": rows})


def fetch_events(admin: object, **wanted: object) -> dict[str, Any]:
    return _fetch(admin, "/queue/events", "events", wanted)


def retry(admin: object, request_id: str) -> dict[str, Any]:
    return _fetch(admin, f"/queue/events/{_quote(request_id)}/retry", "retried", method="POST")


def drop(admin: object, request_id: str) -> dict[str, Any]:
    return _fetch(admin, f"/queue/events/{_quote(request_id)}", "dropped", method="DELETE")


def adopt(admin: object, origin: str | None) -> dict[str, Any]:
    body = b"" if origin is None else json.dumps({"origin": origin}).encode()
    return _fetch(admin, "/queue/adopt", "adopted", method="POST", body=body)


def drop_held(admin: object, origin: str | None) -> dict[str, Any]:
    return _fetch(admin, "/queue/held", "dropped", {"origin": origin}, method="DELETE")


def _quote(request_id: str) -> str:
    return quote(request_id, safe="", errors="replace") or "%20"
