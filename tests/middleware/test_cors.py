"""Web pages of allowed origins read every answer of the gateway; their browsers' preflights take nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.backends import BackendCall
from tests.support.clients import stream_path
from tests.support.sockets import Answer, Gateway, Wire, calls_under_way, gateway, invoke, refusal_of

PAGE = "http://localhost:3000"
OTHER = "https://elsewhere.example"
ORIGIN = f"Origin: {PAGE}"
ALLOW = "access-control-allow-origin"
EXPOSE = "access-control-expose-headers"
ACCOUNT = {"concurrent_executions": 1, "requests_per_second": "off", "unreserved_floor": 0}
SETTINGS = {"accounts": {"default": ACCOUNT}, "cors": {"allow_origins": [PAGE, "https://app.example"]}}
# What the JavaScript SDK reads of answers: members of the service model, errors, retries, its clock.
READ_BY_SDKS = {
    "date",
    "retry-after",
    "x-amz-executed-version",
    "x-amz-function-error",
    "x-amz-log-result",
    "x-amz-retry-after",
    "x-amzn-errortype",
    "x-amzn-requestid",
}


@pytest.fixture(scope="module")
def shared() -> Iterator[Gateway]:
    with gateway(read_timeout_seconds=1, **SETTINGS) as started:
        yield started


@pytest.fixture
def served(shared: Gateway) -> Iterator[Gateway]:
    shared.forget()
    yield shared
    shared.backend.on_head = None
    shared.release()
    shared.until_idle()


def preflight(
    *headers: str, path: str = "/2015-03-31/functions/echo/invocations", origin: str = PAGE, method: str = "POST"
) -> bytes:
    lines = [f"OPTIONS {path} HTTP/1.1", "Host: g", f"Origin: {origin}", f"Access-Control-Request-Method: {method}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1")


def values(answer: Answer, name: str) -> list[str]:
    return [value for known, value in answer.headers if known == name]


def assert_readable(answer: Answer, origin: str = PAGE) -> None:
    """The page of that origin reads the answer, with every header that an SDK needs, and a cache keeps it apart."""
    assert values(answer, ALLOW) == [origin]
    (exposed,) = values(answer, EXPOSE)
    assert {name.strip().lower() for name in exposed.split(",")} >= READ_BY_SDKS
    assert any("origin" in value.lower() for value in values(answer, "vary"))
    assert values(answer, "access-control-allow-credentials") == []


# ---- preflights -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/2015-03-31/functions/echo/invocations", stream_path("f"), "/2015-03-31/functions"])
def test_a_preflight_is_answered_by_the_gateway(served: Gateway, path: str) -> None:
    """With what the browser wants to send, for whatever path, and without the backend."""
    wanted = "authorization,content-type,x-amz-date,amz-sdk-invocation-id"
    answer = served.send(preflight(f"Access-Control-Request-Headers: {wanted}", path=path))
    assert (answer.status, answer.body) == (204, b"")
    assert values(answer, ALLOW) == [PAGE]
    assert values(answer, "access-control-allow-headers") == [wanted]
    assert "POST" in values(answer, "access-control-allow-methods")[0]
    assert int(values(answer, "access-control-max-age")[0]) > 0
    assert "Origin" in values(answer, "vary")[0]
    assert values(answer, "content-length") == []
    assert served.forwarded() == []


def test_a_preflight_takes_no_slot_and_no_token() -> None:
    """It is answered while the one slot is taken; a hundred of them leave the account's rate whole."""
    account = {**ACCOUNT, "requests_per_second": 10}
    with gateway(accounts={"default": account}, cors=SETTINGS["cors"]) as served:
        with calls_under_way(served, "hold"), Wire(served.port) as wire:
            assert [wire.send(preflight()).answer().status for _ in range(100)] == [204] * 100
            assert served.held()["000000000000/account"] == 1
        served.until_idle()
        assert served.send(invoke()).status == 200


def test_the_preflight_of_an_unknown_origin_is_refused_in_words(served: Gateway) -> None:
    """The browser's console and its list of requests show why; the connection stays open."""
    with Wire(served.port) as wire:
        for origin in (OTHER, "null", PAGE + ".evil.example", PAGE.upper(), "http://localhost", f"{PAGE}/"):
            answer = wire.send(preflight(origin=origin)).answer()
            status, code, text = refusal_of(answer)
            assert (status, code) == (403, "InvalidRequestContentException")
            assert "cors.allow_origins" in text
            assert values(answer, ALLOW) == []
            assert values(answer, "vary") == ["Origin"]
    assert served.forwarded() == []


def test_names_that_are_none_are_not_allowed(served: Gateway) -> None:
    for wanted in ("a b", "a,", "a;b", "(x)", "\xe9"):
        answer = served.send(preflight(f"Access-Control-Request-Headers: {wanted}"))
        assert values(answer, "access-control-allow-headers") == []


@pytest.mark.parametrize("missing", ["Origin", "Access-Control-Request-Method"])
def test_other_options_requests_are_the_backends_business(served: Gateway, missing: str) -> None:
    lines = preflight(path="/2015-03-31/functions").split(b"\r\n")
    data = b"\r\n".join(line for line in lines if not line.startswith(missing.encode() + b":"))
    answer = served.send(data)
    assert answer.status == 200
    assert [call.method for call in served.forwarded()] == [b"OPTIONS"]


def test_a_page_reaches_a_private_network_only_if_its_origin_is_named(served: Gateway) -> None:
    asks = "Access-Control-Request-Private-Network: true"
    name = "access-control-allow-private-network"
    assert values(served.send(preflight(asks)), name) == ["true"]
    assert values(served.send(preflight()), name) == []
    with gateway(cors={"allow_origins": ["*"]}) as everyone:
        assert values(everyone.send(preflight(asks)), name) == []


# ---- answers --------------------------------------------------------------------------------------------------


def test_the_backends_answer_is_readable(served: Gateway) -> None:
    assert_readable(served.send(invoke("echo", b"{}", ORIGIN)))
    assert_readable(served.send(invoke("", b"{}", ORIGIN, path=stream_path("echo"))))
    assert_readable(served.send(invoke("", b"", ORIGIN, path="/2015-03-31/functions", method="GET")))
    assert_readable(served.send(invoke("echo", b"{}", "Origin: https://app.example")), "https://app.example")


def test_an_accepted_event_is_readable(served: Gateway) -> None:
    answer = served.send(invoke("echo", b"{}", ORIGIN, "X-Amz-Invocation-Type: Event"))
    assert answer.status == 202
    assert_readable(answer)
    answer = served.send(invoke("", b"{}", ORIGIN, path="/2014-11-13/functions/echo/invoke-async/"))
    assert answer.status == 202
    assert_readable(answer)
    served.until_no_events()


def test_a_throttle_is_readable(served: Gateway) -> None:
    """With its hints when to come back, which an SDK waits for."""
    with calls_under_way(served, "hold"):
        answer = served.send(invoke("echo", b"{}", ORIGIN))
    assert refusal_of(answer)[0] == 429
    assert answer.header("retry-after")
    assert_readable(answer)


def test_a_dead_backend_is_readable() -> None:
    with gateway(backend={"url": "http://127.0.0.1:1"}, cors=SETTINGS["cors"]) as served:
        answer = served.send(invoke("echo", b"{}", ORIGIN))
    assert answer.status == 500
    assert_readable(answer)


REFUSED = {
    "no JSON": (400, invoke("echo", b"{", ORIGIN)),
    "a bad name": (400, invoke("no%20name", b"{}", ORIGIN)),
    "another Region": (404, invoke("arn:aws:lambda:eu-west-1:111122223333:function:f", b"{}", ORIGIN)),
    "too large": (413, invoke("echo", b"", ORIGIN, "Content-Length: 6291457", length=False)),
    "too large and expected": (
        413,
        invoke("echo", b"", ORIGIN, "Expect: 100-continue", "Content-Length: 6291457", length=False),
    ),
    "a fragment": (400, invoke("echo", b"{}", ORIGIN, path="/x#y")),
    "no host": (400, invoke("echo", b"{}", ORIGIN).replace(b"Host: gateway\r\n", b"")),
    "an unknown expectation": (417, invoke("echo", b"{}", ORIGIN, "Expect: x")),
    "too many headers": (431, invoke("echo", b"{}", ORIGIN, *["X: y"] * 200)),
    "a large head": (431, invoke("echo", b"{}", ORIGIN, "X: " + "x" * 70_000)),
    "a bad header behind it": (400, invoke("echo", b"{}", ORIGIN, "X: y", "X : y")),
    "another version": (505, invoke("echo", b"{}", ORIGIN).replace(b"HTTP/1.1", b"HTTP/2.0")),
    "a broken chunk": (400, invoke("echo", b"", ORIGIN, "Transfer-Encoding: chunked", length=False) + b"zz\r\n"),
    "half a body": (408, invoke("echo", b"{", ORIGIN, "Content-Length: 10", length=False)),
    "half a chunked body": (
        408,
        invoke("echo", b"", ORIGIN, "Transfer-Encoding: chunked", length=False) + b"2\r\n{}\r\n0\r\nX: y\r\n",
    ),
    "half a head": (408, invoke("echo", b"{}", ORIGIN, "X: y")[:-8]),
}


@pytest.mark.parametrize(("status", "data"), REFUSED.values(), ids=REFUSED)
def test_every_refusal_is_readable(served: Gateway, status: int, data: bytes) -> None:
    """Also those of the listener, before there is a request."""
    with Wire(served.port) as wire:
        if status == 413 and b"Expect" not in data:
            wire.send(data + b"x" * 6_291_457)
        else:
            wire.send(data)
        answer = wire.answer()
    assert answer.status == status
    assert_readable(answer)
    assert served.forwarded() == []


def test_too_many_connections_are_readable() -> None:
    with gateway(max_connections=1, cors=SETTINGS["cors"]) as served, Wire(served.port) as first:
        assert first.send(invoke()).answer().status == 200
        answer = served.send(invoke("echo", b"{}", ORIGIN))
    assert answer.status == 503
    assert_readable(answer)


def test_an_unknown_origin_gets_no_leave_and_is_served_all_the_same(served: Gateway) -> None:
    """A page that the backend serves through the gateway has the gateway's own origin, which is in no list."""
    for headers in ((f"Origin: {OTHER}",), ("Origin: null",), ()):
        answer = served.send(invoke("echo", b"{}", *headers))
        assert answer.status == 200
        assert values(answer, ALLOW) == []
        assert values(answer, "vary") == ["Origin"]  # a cache must not give this answer to the page


def test_every_origin_may_be_allowed() -> None:
    """Without a list the answers are the same for all, and caches need not keep them apart."""
    with gateway(cors={"allow_origins": ["*"]}) as served:
        for origin in (PAGE, OTHER, "null"):
            answer = served.send(invoke("echo", b"{}", f"Origin: {origin}"))
            assert values(answer, ALLOW) == ["*"]
            assert values(answer, "vary") == []
            assert values(served.send(preflight(origin=origin)), ALLOW) == ["*"]


OWN = (
    b"Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Credentials: true\r\n"
    b"Access-Control-Expose-Headers: X-Mine, ETag\r\nVary: Accept\r\n"
)


async def answer_with_own_rules(call: BackendCall) -> None:
    await call.read_body()
    call.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + OWN + b"\r\n{}")
    call.end()


def test_the_backends_own_rules_are_replaced(served: Gateway) -> None:
    """Two Access-Control-Allow-Origin make a browser refuse the answer. What the backend exposes stays exposed."""
    served.backend.on_head = answer_with_own_rules
    answer = served.send(invoke("echo", b"{}", ORIGIN))
    assert_readable(answer)
    assert {"x-mine", "etag"} <= {name.strip().lower() for name in values(answer, EXPOSE)[0].split(",")}
    assert values(answer, "vary") == ["Accept", "Origin"]
    answer = served.send(invoke("echo", b"{}", f"Origin: {OTHER}"))
    assert [name for name, _ in answer.headers if name.startswith("access-control")] == []


def test_off_the_gateway_adds_nothing_and_the_backends_rules_pass(behind_no_rules: Gateway) -> None:
    """A refusal has no such header, so a page cannot read it; the backend answers its own preflights."""
    served = behind_no_rules
    served.backend.on_head = answer_with_own_rules
    answer = served.send(invoke("echo", b"{}", ORIGIN))
    assert values(answer, ALLOW) == ["*"]
    assert values(answer, "access-control-allow-credentials") == ["true"]
    assert served.send(preflight()).status == 200
    assert served.forwarded()[-1].method == b"OPTIONS"
    refused = served.send(invoke("no%20name", b"{}", ORIGIN))
    assert refused.status == 400
    assert [name for name, _ in refused.headers if name.startswith("access-control") or name == "vary"] == []


@pytest.fixture
def behind_no_rules() -> Iterator[Gateway]:
    with gateway() as started:
        yield started


def test_the_admin_listener_allows_no_origin(served: Gateway) -> None:
    """Pages of other origins neither read it nor take holds."""
    answer = served.fetch("/limits", "GET", ORIGIN)
    assert [name for name, _ in answer.headers if name.startswith("access-control")] == []
