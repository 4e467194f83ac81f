"""The operations listener: health, readiness, metrics, limits; and that it is a world of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote

import pytest

from tests.support.sockets import Gateway, gateway, invoke

PATHS = ("/metrics", "/healthz", "/readyz", "/limits")


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    with gateway() as started:
        yield started


def test_health_says_that_the_process_serves(served: Gateway) -> None:
    answer = served.fetch("/healthz")
    assert (answer.status, answer.body) == (200, b"ok\n")


def test_ready_when_the_backend_takes_connections(served: Gateway) -> None:
    answer = served.fetch("/readyz")
    assert (answer.status, answer.json) == (200, {"ready": True})


def test_not_ready_without_a_backend_and_it_says_why() -> None:
    """Health is another matter."""
    with gateway(backend={"url": "http://127.0.0.1:1"}) as alone:
        answer = alone.fetch("/readyz")
        assert answer.status == 503
        assert answer.json["ready"] is False
        assert answer.json["why"].startswith("The backend refused the connection.")
        assert alone.fetch("/healthz").status == 200


def test_not_ready_while_it_drains(served: Gateway) -> None:
    served.server.gateway.is_draining = True
    try:
        answer = served.fetch("/readyz")
        assert (answer.status, answer.json) == (503, {"ready": False, "why": "The gateway is draining."})
        assert served.fetch("/limits").json["draining"] is True
    finally:
        served.server.gateway.is_draining = False


def test_metrics_come_in_the_format_that_was_asked_for(served: Gateway) -> None:
    plain = served.fetch("/metrics")
    assert (plain.header("content-type") or "").startswith("text/plain")
    openmetrics = served.fetch("/metrics", "GET", "Accept: application/openmetrics-text; version=1.0.0")
    assert (openmetrics.header("content-type") or "").startswith("application/openmetrics-text")
    assert openmetrics.body.endswith(b"# EOF\n")


@pytest.mark.parametrize("number", ["x", "-1", "1.5", "", "²", "1e3", "9" * 5000])
def test_a_number_of_rows_that_is_none_is_refused(served: Gateway, number: str) -> None:
    answer = served.fetch(f"/limits?functions={quote(number)}")
    assert answer.status == 400
    assert "is not a number. Say how many rows you want." in answer.json["error"]


@pytest.mark.parametrize("path", ["/", "/metrics/", "/limits/x", "/2015-03-31/functions/echo/invocations"])
def test_there_is_nothing_else(served: Gateway, path: str) -> None:
    served.forget()
    assert served.fetch(path).status in (307, 404)
    assert served.forwarded() == []


@pytest.mark.parametrize("path", PATHS)
def test_nothing_of_it_is_reached_through_the_invoke_listener(served: Gateway, path: str) -> None:
    """There such a path is the backend's, like any other."""
    served.forget()
    body = served.send(invoke(path=path, method="GET", body=b"from the backend")).body
    assert body == b"from the backend"
    assert [call.target.decode() for call in served.forwarded()] == [path]


@pytest.mark.parametrize("path", PATHS)
def test_only_reading_is_allowed(served: Gateway, path: str) -> None:
    assert served.fetch(path, "POST").status == 405
    assert served.fetch(path, "HEAD").status == 200


def test_the_limits_document_is_json_all_through(served: Gateway) -> None:
    document = json.loads(served.fetch("/limits").body)
    assert list(document) == ["accounts", "draining"]
    assert [account["account"] for account in document["accounts"]] == ["000000000000"]
