"""A page in a real browser calls the gateway with fetch, from another origin."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.page.browser import watched_page
from tests.support.sockets import Gateway, calls_under_way, gateway

CALL = """
async ([url, type, body]) => {
  const headers = { "content-type": "application/json", "authorization": "x", "x-amz-invocation-type": type };
  try {
    const answer = await fetch(url, { method: "POST", body, headers });
    const names = ["x-amzn-errortype", "retry-after", "x-amz-retry-after", "x-amzn-requestid", "date"];
    const read = Object.fromEntries(names.map((name) => [name, answer.headers.get(name)]));
    return { status: answer.status, text: await answer.text(), headers: read };
  } catch (error) {
    return { error: String(error) };
  }
}
"""


class _Blank(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>page</title>")

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """Where a page comes from that is not the gateway's."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Blank)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def page(browser: Browser, origin: str) -> Iterator[Page]:
    with watched_page(browser) as watched:
        watched.page.goto(origin)
        yield watched.page


def call(page: Page, served: Gateway, function: str, type: str = "RequestResponse", body: str = "{}") -> Any:
    url = f"{served.url}/2015-03-31/functions/{function}/invocations"
    return page.evaluate(CALL, [url, type, body])


ONE_SLOT = {"concurrent_executions": 1, "unreserved_floor": 0, "requests_per_second": "off"}


@pytest.mark.parametrize("allowed", ["the page's", "every"])
def test_a_page_of_an_allowed_origin_reads_every_answer(page: Page, origin: str, allowed: str) -> None:
    """The status and text of a throttle and of what is refused before a slot is taken, and its hints."""
    origins = ["*"] if allowed == "every" else [origin]
    with gateway(accounts={"default": ONE_SLOT}, cors={"allow_origins": origins}) as served:
        assert call(page, served, "echo", body='{"a":1}')["text"] == '{"a":1}'
        with calls_under_way(served, "hold"):
            answer = call(page, served, "echo")
        assert (answer["status"], answer["headers"]["x-amzn-errortype"]) == (429, "TooManyRequestsException")
        assert "ConcurrentInvocationLimitExceeded" in answer["text"]
        assert all(answer["headers"].values()), answer
        answer = call(page, served, "echo", body="{")
        assert (answer["status"], answer["headers"]["x-amzn-errortype"]) == (400, "InvalidRequestContentException")
        assert call(page, served, "no%20name")["status"] == 400
        served.until_idle()


def test_an_event_of_a_page_runs_once(page: Page, origin: str) -> None:
    """The page reads the 202, and so has no reason to send the event again."""
    with gateway(cors={"allow_origins": [origin]}) as served:
        assert call(page, served, "echo", "Event", '{"once":1}')["status"] == 202
        served.until(lambda: served.backend.requests, "the event is run")
        served.until_no_events()
        assert [request.body for request in served.forwarded()] == [b'{"once":1}']


@pytest.mark.parametrize("origins", [[], ["https://elsewhere.example"]], ids=["off", "another origin"])
def test_a_page_of_no_allowed_origin_sees_a_failed_request(page: Page, origins: list[str]) -> None:
    """And its browser sends nothing but the preflight, so nothing runs."""
    with gateway(cors={"allow_origins": origins}) as served:
        assert call(page, served, "echo") == {"error": "TypeError: Failed to fetch"}
        assert b"POST" not in [request.method for request in served.forwarded()]
