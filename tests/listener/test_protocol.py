"""Raw bytes against the listener: a well-formed answer or a closed connection, and nothing left."""

from __future__ import annotations

import re

import pytest

from tests.support.backends import BackendCall
from tests.support.sockets import (
    Gateway,
    Wire,
    chunked,
    invoke,
    refusal_of,
)

from .framing import CHUNKED, ENDLESS, LARGEST_EVENT, NOT_HTTP, PASSED, SMUGGLED, SMUGGLING, assert_rejected, head
from .framing import SETTINGS as SETTINGS

# ---- where one request ends and the next begins --------------------------------------------------------------------


@pytest.mark.parametrize("data", SMUGGLING.values(), ids=SMUGGLING)
def test_a_request_whose_end_is_in_doubt_is_refused_and_the_connection_closed(served: Gateway, data: bytes) -> None:
    """Nothing of it reaches the backend, nor what stands behind it."""
    assert_rejected(served, data + SMUGGLED)


@pytest.mark.parametrize("data", NOT_HTTP.values(), ids=NOT_HTTP)
def test_what_is_not_http_1_1_is_refused_in_lambdas_shape(served: Gateway, data: bytes) -> None:
    """The client is told that its request is not valid, and what is wrong with it."""
    text = assert_rejected(served, data + SMUGGLED)
    assert re.fullmatch(r"The request is not valid HTTP/1\.1: .{5,}", text)
    assert "callback" not in text


def test_a_target_in_absolute_form_is_the_invocation_that_its_path_says(served: Gateway) -> None:
    """It is counted like any other, and forwarded in origin form."""
    path = "/2015-03-31/functions/hold/invocations?Qualifier=live"
    with Wire(served.port) as wire:
        wire.send(invoke(path=f"http://elsewhere{path}"))
        served.until_running(1)
        assert served.held()["000000000000/function/hold"] == 1
        served.release()
        assert wire.answer().status == 200
    assert [call.target.decode() for call in served.forwarded()] == [path]


def test_a_trailer_is_no_header(served: Gateway) -> None:
    """A trailer that names another invocation type or caller changes nothing and goes no further."""
    trailers = b"0\r\nX-Amz-Invocation-Type: Event\r\nAuthorization: x\r\nX-Trailer: y\r\n\r\n"
    with Wire(served.port) as wire:
        wire.send(head(CHUNKED, function="hold") + chunked(b"{", b"}", last=trailers))
        served.until_running(1)
        assert served.held()["000000000000/function/hold"] == 1
        served.release()
        assert wire.answer().body == b"{}"
    (call,) = served.forwarded()
    assert [name for name, _ in call.headers] == [b"x-amzn-trace-id", b"host", b"content-length"]


def test_many_zeros_before_a_length_are_only_zeros(served: Gateway) -> None:
    """A length of five thousand digits is still two bytes, and more than the quota is still refused."""
    assert served.send(head(f"Content-Length: {'0' * 5000}2") + b"{}").body == b"{}"
    assert served.send(head(f"Content-Length: {'0' * 5000}6291457")).status == 413


def test_a_request_of_http_1_0_is_served_and_its_connection_closed(served: Gateway) -> None:
    with Wire(served.port) as wire:
        (answer,) = wire.send(invoke().replace(b"HTTP/1.1", b"HTTP/1.0")).answers()
    assert (answer.status, answer.body) == (200, b"{}")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
@pytest.mark.parametrize(("path", "body"), [(PASSED, b"no json"), (None, b'{"is": "json"}')])
def test_any_other_method_is_passed_on_with_its_body(
    served: Gateway, method: str, path: str | None, body: bytes
) -> None:
    """Also on the path of an invocation, where it takes a slot as a POST does."""
    assert served.send(invoke(method=method, body=body, path=path)).status == 200
    assert [(call.method.decode(), call.body) for call in served.forwarded()] == [(method, body)]


def test_the_answer_to_a_head_request_has_no_body_whatever_length_it_names(served: Gateway) -> None:
    """And the next answer begins where it should."""

    async def name_a_length(call: BackendCall) -> None:
        call.end()
        call.write(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")

    served.backend.on_head = name_a_length
    try:
        with Wire(served.port) as wire:
            answer = wire.send(invoke("", b"", path=PASSED, method="HEAD")).answer(of_head_request=True)
            assert (answer.status, answer.header("content-length")) == (200, "500")
            served.backend.on_head = None
            assert wire.send(invoke()).answer().body == b"{}"
    finally:
        served.backend.on_head = None


# ---- heads without end ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", ENDLESS.values(), ids=ENDLESS)
def test_a_head_without_end_is_cut_at_its_bound(served: Gateway, data: bytes) -> None:
    """The client is told so if it still listens; an endless sender may find its connection reset."""
    with Wire(served.port) as wire:
        answers = wire.send(data).answers()
    assert len(answers) <= 1
    for answer in answers:
        status, code, _ = refusal_of(answer)
        assert status in (400, 431)
        assert code == "InvalidRequestContentException"
    assert served.forwarded() == []


@pytest.mark.parametrize(
    ("data", "bound"),
    [
        (head("X: " + "x" * 65_536, "Content-Length: 2"), "65536 bytes"),
        (head(*["A: b"] * 127, "Content-Length: 2"), "128 headers"),
    ],
)
def test_a_head_above_its_bound_is_refused_with_431_that_names_the_bound(
    served: Gateway, data: bytes, bound: str
) -> None:
    text = assert_rejected(served, data, status=431)
    assert text == f"The request's header section is above {bound} (max_header_bytes, max_headers)."


def test_a_head_at_its_bounds_is_served(served: Gateway) -> None:
    """128 headers, and a head of nearly 64 KiB that comes together with a large body."""
    assert served.send(head(*["A: b"] * 126, "Content-Length: 2") + b"{}").status == 200
    large = head("X: " + "x" * 65_000, f"Content-Length: {len(LARGEST_EVENT)}") + LARGEST_EVENT
    assert served.send(large).status == 200
