"""Refusals of the listener itself, and real clients."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.support.clients import stream_path
from tests.support.sockets import (
    Closed,
    Gateway,
    Wire,
    calls_under_way,
    chunked,
    gateway,
    invoke,
)
from tests.support.tools import CURL, NODE

from .heads import BAD_HOSTS, CHUNKED, HOLD, PASSED, PATH, VERSIONS, answer_in_chunks, everything, get, lines
from .heads import SETTINGS as SETTINGS

# ---- nothing is half taken -----------------------------------------------------------------------------------------


def test_what_is_refused_here_takes_nothing() -> None:
    """After all of it no call is in flight, and the account's slots can be taken whole."""
    whole = {"concurrent_executions": 3, "unreserved_floor": 0, "requests_per_second": "off"}
    refusals = [
        *(data for data, _ in VERSIONS.values()),
        *(
            lines(f"POST {PATH.format('f')} HTTP/1.1", *headers, "Content-Length: 0")
            for headers, _ in BAD_HOSTS.values()
        ),
        *(invoke("f", path=target) for target in ("/x#y", "ftp://g/x", "http:///x", "*")),
        invoke("f", b"{}", "Expect: x"),
        lines("CONNECT g:80 HTTP/1.1", "Host: g"),
        lines(f"POST {PATH.format('f')} HTTP/1.0", CHUNKED, body=chunked(b"{}")),
    ]
    with gateway(accounts={"default": whole}) as served:
        for data in refusals:
            with Wire(served.port) as wire:
                (answer,) = wire.send(data).answers()
            assert answer.status in (400, 417, 501, 505), data
        assert served.held() == {}
        assert served.forwarded() == []
        with calls_under_way(served, "hold-1", "hold-2", "hold-3"):
            assert served.held()["000000000000/account"] == 3
        served.until_idle()


# ---- HEAD, and the admin listener's bounds -------------------------------------------------------------------------


def test_the_refusal_of_a_head_request_has_no_body(port: int) -> None:
    head, body = everything(port, lines("HEAD /healthz HTTP/1.1"))
    assert head.startswith(b"http/1.1 400 ")
    assert body == b""


def test_a_head_request_gets_no_body_on_the_admin_listener(served: Gateway) -> None:
    with Wire(served.server.admin.port) as wire:
        for target in ("/healthz", "/metrics", "/live", "/limits"):
            wire.send(lines(f"HEAD {target} HTTP/1.1", "Host: localhost"))
            assert wire.answer(of_head_request=True).status == 200
        assert wire.send(get("Host: localhost")).answer().body == b"ok\n"


ADMIN_REFUSALS = {
    "garbage": (b"\0garbage\r\n\r\n", 400),
    "two lengths": (lines("POST /holds HTTP/1.1", "Host: g", "Content-Length: 2, 2", body=b"{}"), 400),
    "a length and chunks": (lines("POST /holds HTTP/1.1", "Host: g", CHUNKED, "Content-Length: 2", body=b"{}"), 400),
    "another coding": (lines("POST /holds HTTP/1.1", "Host: g", "Transfer-Encoding: gzip, chunked"), 400),
    "bare line feeds": (get("Host: g").replace(b"\r\n", b"\n"), 400),
    "a head without end": (get("Host: g", "X: " + "x" * 70_000), 431),
    "too many headers": (get("Host: g", *["X: y"] * 129), 431),
}


@pytest.mark.parametrize(("data", "status"), ADMIN_REFUSALS.values(), ids=ADMIN_REFUSALS)
def test_the_admin_listener_refuses_in_its_own_shape(served: Gateway, data: bytes, status: int) -> None:
    with Wire(served.server.admin.port) as wire:
        (answer,) = wire.send(data).answers()
    assert (answer.status, set(answer.json)) == (status, {"error"})
    assert answer.header("content-type") == "application/json"


def test_slow_heads_are_cut_on_the_admin_listener() -> None:
    with gateway(read_timeout_seconds=0.2) as served, Wire(served.server.admin.port) as wire:
        answer = wire.send(b"GET /healthz HTTP/1.1\r\nX").answer()
        assert answer.status == 408
        assert wire.has_ended()


# ---- real clients --------------------------------------------------------------------------------------------------


def curl(*arguments: str) -> str:
    done = subprocess.run(
        [CURL.require(), "-sS", "--noproxy", "*", "-m", "20", *arguments], capture_output=True, check=True
    )
    return done.stdout.decode()


@pytest.mark.parametrize("version", ["--http1.0", "--http1.1", "--http2"])
def test_curl_is_served_whatever_version_it_begins_with(served: Gateway, version: str) -> None:
    """Body and all, also with a wish to go on in HTTP/2; on both listeners, and when it streams."""
    served.backend.on_head = None
    body = '{"a": "%s"}' % ("x" * 2000)
    assert curl(version, "-d", body, served.url + PATH.format("echo")) == body
    assert curl(version, "-d", body, served.url + PATH.format("echo"), served.url + PASSED) == body * 2
    admin = f"http://{served.server.admin}"
    assert "# HELP" in curl(version, admin + "/metrics")
    answer = curl(version, "-H", "Content-Type: application/json", "-d", HOLD.decode(), admin + "/holds")
    assert "error" not in json.loads(answer)
    served.backend.on_head = answer_in_chunks
    assert curl(version, "-d", "{}", served.url + stream_path("f")) == "first,second"


def test_curl_with_http_2_from_the_first_byte_gets_an_answer_it_can_show(served: Gateway, port: int) -> None:
    """It sends the preface unasked and is refused; nothing hangs."""
    done = subprocess.run(
        [
            CURL.require(),
            "-sS",
            "--noproxy",
            "*",
            "-m",
            "20",
            "--http2-prior-knowledge",
            f"http://127.0.0.1:{port}/healthz",
        ],
        capture_output=True,
        check=False,
    )
    assert done.returncode not in (0, 28)  # neither served nor timed out


NODE_BACKEND = """
const server = require("http").createServer((request, response) => {
  request.on("data", () => {}).on("end", () => response.end(JSON.stringify(request.headers.host)));
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
"""


def test_a_node_backend_serves_http_1_0_clients() -> None:
    """Node answers 400 to a request of HTTP/1.1 without a Host."""
    node = subprocess.Popen([NODE.require(), "-e", NODE_BACKEND], stdout=subprocess.PIPE)
    try:
        assert node.stdout is not None
        url = f"http://127.0.0.1:{int(node.stdout.readline())}"
        with gateway(backend={"url": url}) as served:
            head, body = everything(served.port, lines(f"POST {PATH.format('f')} HTTP/1.0", "Content-Length: 0"))
        assert head.startswith(b"http/1.1 200 ")
        assert json.loads(body) == url.removeprefix("http://")
    finally:
        node.kill()
        node.wait()
        node.stdout.close()


NODE_UPGRADE = """
const [url, body] = process.argv.slice(1);
const headers = { Connection: "Upgrade, HTTP2-Settings", Upgrade: "h2c", "HTTP2-Settings": "AAMAAABkAAQAoAAAAAIAAAAA" };
const request = require("http").request(url, { method: "POST", headers }, (response) => {
  let text = "";
  response.on("data", (data) => (text += data)).on("end", () => console.log(response.statusCode, text));
});
request.on("upgrade", () => console.log("upgraded")).on("error", console.error);
request.end(body);
"""


def test_node_with_a_wish_for_http_2_is_served(served: Gateway) -> None:
    arguments = [NODE.require(), "-e", NODE_UPGRADE, served.url + PATH.format("echo"), '{"a":1}']
    done = subprocess.run(arguments, capture_output=True, check=True, timeout=60)
    assert done.stdout.decode() == '200 {"a":1}\n'


def test_a_closed_connection_is_no_answer(served: Gateway) -> None:
    """The client of these tests distinguishes the two."""
    with Wire(served.port) as wire, pytest.raises(Closed):
        wire.finish_sending().answer()
