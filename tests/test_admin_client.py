"""The client of the admin listener: what it sends, and how it reports what it cannot use."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

import pytest

from invoke_gateway.admin_client import (
    AdminClient,
    FaultFailed,
    HoldFailed,
    LimitsUnavailable,
    NoResponse,
    QueueFailed,
    request,
)


class Server:
    """Sends one response to everything, and keeps the requests."""

    def __init__(self) -> None:
        self.status, self.document = 200, '{"error": "no."}'
        self.requests: list[tuple[str, str, bytes]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def respond(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                server.requests.append((self.command, self.path, body))
                self.send_response(server.status)
                self.send_header("Content-Length", str(len(server.document)))
                self.end_headers()
                self.wfile.write(server.document.encode())

            do_GET = do_POST = do_DELETE = respond

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.client = AdminClient(f"127.0.0.1:{self.http.server_port}")


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def test_keys_without_a_value_are_left_out_of_a_query(server: Server) -> None:
    server.document = '{"events": []}'
    server.client.fetch_events(function="a b", account=None, most=5)
    assert server.requests == [("GET", "/queue/events?function=a+b&most=5", b"")]


def test_ids_are_quoted_as_one_segment_of_the_path(server: Server) -> None:
    server.document = '{"retried": 1}'
    server.client.retry_events("a/b")
    server.client.retry_events("")
    assert [path for _, path, _ in server.requests] == ["/queue/events/a%2Fb/retry", "/queue/events/%20/retry"]


def test_what_is_gone_already_is_no_failure(server: Server) -> None:
    server.status = 404
    assert server.client.release_hold("1") is False
    assert server.client.end_script("1") is False


def test_an_error_has_the_text_of_the_gateway_and_its_status(server: Server) -> None:
    server.status = 409
    with pytest.raises(QueueFailed, match=r"^no\.$") as raised:
        server.client.drop_events("1")
    assert raised.value.status == 409


@pytest.mark.parametrize(("document", "status"), [("<html>", 201), ("[]", 201), ('{"id": "1"}', 201)])
def test_a_response_of_another_server_is_a_failure_that_doubts_the_address(
    server: Server, document: str, status: int
) -> None:
    server.document, server.status = document, status
    with pytest.raises(HoldFailed, match=r"/holds answered something else: is this the admin listener\?"):
        server.client.take_hold({"function": "a"})
    assert json.loads(server.requests[0][2]) == {"function": "a"}


def test_an_address_where_nothing_responds_is_named(server: Server) -> None:
    with pytest.raises(NoResponse, match=r"^no gateway answers at 127\.0\.0\.1:1 "):
        request("127.0.0.1:1", "/")
    nowhere = AdminClient("127.0.0.1:1")
    with pytest.raises(LimitsUnavailable, match="no gateway answers"):
        nowhere.fetch_limits()
    with pytest.raises(FaultFailed, match="no gateway answers"):
        nowhere.end_all_scripts()


def test_no_proxy_of_the_environment_stands_between(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    server.document = '{"holds": []}'
    assert server.client.list_holds() == []


def test_a_gateway_that_is_just_starting_is_waited_for(server: Server) -> None:
    """The command was started first: its connections are refused until the gateway listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
        client = AdminClient(f"127.0.0.1:{address[1]}", start_seconds=60)
        replies: list[dict[str, Any]] = []
        command = Thread(target=lambda: replies.append(client.take_hold({"slots": 1})))
        command.start()
        command.join(0.2)
        assert command.is_alive(), "a refused connection is tried again"
    with HTTPServer(address, server.http.RequestHandlerClass) as late:
        server.status, server.document = 201, '{"id": "1", "account": "0", "function": "f", "slots": 1}'
        late.handle_request()
    command.join()
    with pytest.raises(HoldFailed) as gone:  # at once: it was there
        client.list_holds()
    assert "tried for" not in str(gone.value)
    assert [reply["id"] for reply in replies] == ["1"]
    assert [(method, path) for method, path, _ in server.requests] == [("POST", "/holds")], "sent once"


def test_a_gateway_that_does_not_start_is_an_error_which_has_the_wait() -> None:
    with pytest.raises(NoResponse, match=r"Connection refused, tried for 0\.1 s\): is the gateway running"):
        request("127.0.0.1:1", "/limits", start_seconds=0.1)


def test_what_is_no_refused_connection_is_not_tried_again(server: Server) -> None:
    server.status = 503
    assert request(server.client.address, "/limits", start_seconds=60)[0] == 503
    with pytest.raises(NoResponse) as failed:
        request("no-such-host.invalid:1", "/limits", start_seconds=60)
    assert "tried for" not in str(failed.value)
    assert len(server.requests) == 1
