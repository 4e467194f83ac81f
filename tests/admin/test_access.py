"""The admin token: needed for writes, and for reads where the settings want it; counted and logged when it is wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from invoke_gateway.admin.access import LOG_SECONDS, AccessRules, AdminAccess
from tests.support.sockets import Answer, Gateway, Wire, gateway

TOKEN = "3f2a0c-right"
HOLD = b'{"function": "checkout", "slots": 1, "seconds": 30}'
WRITES = [
    ("POST", "/holds", HOLD),
    ("DELETE", "/holds/1", b""),
    ("DELETE", "/in-flight/g-1", b""),
    ("POST", "/faults", b"{}"),
    ("DELETE", "/faults", b""),
    ("POST", "/control", b"{}"),
    ("DELETE", "/control?function=f", b""),
    ("POST", "/queue/adopt", b""),
    ("DELETE", "/queue/held", b""),
    ("POST", "/queue/events/1/retry", b""),
    ("DELETE", "/queue/events/1", b""),
    ("PUT", "/healthz", b""),
    ("OPTIONS", "/readyz", b""),
    ("PATCH", "/", b""),
]
READS = [
    "/limits",
    "/metrics",
    "/status",
    "/refusals",
    "/holds",
    "/in-flight",
    "/queue",
    "/control",
    "/live",
    "/nowhere",
]
PROBES = ["/healthz", "/readyz", "/"]


@pytest.fixture(scope="module", autouse=True)
def _token() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GATEWAY_ADMIN_TOKEN", TOKEN)
        yield


@pytest.fixture(scope="module")
def writes(_token: None) -> Iterator[Gateway]:
    """A gateway whose token is needed for writes."""
    with gateway(admin_token="env:GATEWAY_ADMIN_TOKEN") as started:
        yield started


@pytest.fixture(scope="module")
def reads(_token: None) -> Iterator[Gateway]:
    """A gateway whose token is needed for reads, too."""
    with gateway(admin_token="env:GATEWAY_ADMIN_TOKEN", admin_reads="token") as started:
        yield started


@pytest.fixture(scope="module")
def everywhere() -> Iterator[Gateway]:
    """A gateway without a token, whose admin listener is not on loopback."""
    with gateway(admin="0.0.0.0:0") as started:
        yield started


def ask(served: Gateway, method: str, path: str, *headers: str, body: bytes = b"") -> Answer:
    head = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Content-Type: application/json", *headers]
    with Wire(served.server.admin.port) as wire:
        wire.send("\r\n".join([*head, f"Content-Length: {len(body)}", "", ""]).encode() + body)
        return wire.answer(of_head_request=method == "HEAD")


def bearer(token: str = TOKEN) -> str:
    return f"Authorization: Bearer {token}"


def is_refused(answer: Answer) -> bool:
    if answer.status != 401:
        return False
    assert (answer.header("www-authenticate") or "").startswith("Bearer ")
    assert answer.header("content-type") == "application/json"
    assert answer.json.keys() == {"error"}
    return True


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
def test_every_write_needs_the_token_on_loopback_too(writes: Gateway, method: str, path: str, body: bytes) -> None:
    assert is_refused(ask(writes, method, path, body=body))
    assert not is_refused(ask(writes, method, path, bearer(), body=body))


def test_a_write_with_the_token_is_done(writes: Gateway) -> None:
    taken = ask(writes, "POST", "/holds", bearer(), body=HOLD)
    assert taken.status == 201
    assert ask(writes, "DELETE", f"/holds/{taken.json['id']}", bearer()).status == 204


@pytest.mark.parametrize(
    "headers",
    [
        ("Authorization: Bearer wrong",),
        ("Authorization: Bearer",),
        ("Authorization:",),
        (f"Authorization: {TOKEN}",),
        (f"Authorization: Basic {TOKEN}",),
        (f"Authorization: Bearer {TOKEN}x",),
        (f"Authorization: Bearer {TOKEN[:-1]}",),
        (f"Authorization: Bearer {TOKEN.upper()}",),
        (f"Authorization: Bearer {TOKEN} {TOKEN}",),
        (f"Authorization: Bearer {TOKEN}", "Authorization: Bearer other"),
        ("Authorization: Bearer other", f"Authorization: Bearer {TOKEN}"),
        (f"X-Authorization: Bearer {TOKEN}",),
        (f"Cookie: token={TOKEN}",),
    ],
)
def test_no_other_header_is_the_token(writes: Gateway, headers: tuple[str, ...]) -> None:
    assert is_refused(ask(writes, "POST", "/holds", *headers, body=HOLD))
    assert is_refused(ask(writes, "POST", f"/holds?token={TOKEN}", *headers, body=HOLD))


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
def test_the_scheme_is_read_in_any_case(writes: Gateway, scheme: str) -> None:
    assert ask(writes, "DELETE", "/holds/none", f"Authorization: {scheme} {TOKEN}").status == 404


@pytest.mark.parametrize("path", ["/limits", "/metrics", *PROBES])
def test_reads_are_open_unless_the_settings_want_the_token(writes: Gateway, path: str) -> None:
    assert ask(writes, "GET", path).status == 200
    assert ask(writes, "HEAD", path).status == 200


@pytest.mark.parametrize("path", READS)
def test_with_admin_reads_token_each_read_needs_it(reads: Gateway, path: str) -> None:
    assert is_refused(ask(reads, "GET", path))
    assert ask(reads, "HEAD", path).status == 401
    if path != "/live":  # whose answer has no end
        assert not is_refused(ask(reads, "GET", path, bearer()))


@pytest.mark.parametrize("path", PROBES)
def test_probes_and_the_page_stay_open(reads: Gateway, path: str) -> None:
    assert ask(reads, "GET", path).status == 200
    assert is_refused(ask(reads, "GET", f"{path}x"))
    assert is_refused(ask(reads, "POST", path))


def test_off_loopback_without_a_token_only_reads_are_served_and_the_answer_names_the_setting(
    everywhere: Gateway,
) -> None:
    for method, path, body in WRITES:
        for headers in ((), (bearer(),)):
            answer = ask(everywhere, method, path, *headers, body=body)
            assert answer.status == 403
            assert "Set admin_token to env:NAME or file:/path" in answer.json["error"]
    assert ask(everywhere, "GET", "/limits").status == 200


def test_refusals_are_counted_by_reason(writes: Gateway, everywhere: Gateway) -> None:
    def count(served: Gateway, reason: str) -> float:
        text = ask(served, "GET", "/metrics").body.decode()
        name = f'invoke_gateway_admin_requests_refused_total{{reason="{reason}"}} '
        return next(float(line.removeprefix(name)) for line in text.splitlines() if line.startswith(name))

    for served, reason, headers in (
        (writes, "missing_token", ()),
        (writes, "wrong_token", (bearer("wrong"),)),
        (everywhere, "no_token_set", ()),
    ):
        before = count(served, reason)
        ask(served, "POST", "/holds", *headers, body=HOLD)
        assert count(served, reason) == before + 1


def test_a_connection_serves_on_after_a_refusal(writes: Gateway) -> None:
    """The body of the refused request is not taken for the next request."""
    with Wire(writes.server.admin.port) as wire:
        for _ in range(2):
            head = f"POST /holds HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(HOLD)}\r\n\r\n"
            assert is_refused(wire.send(head.encode() + HOLD).answer())
        assert wire.send(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").answer().status == 200


def test_no_path_can_pass_for_a_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    access = AdminAccess(AccessRules(TOKEN), is_loopback=True)
    access.record_refusal("missing_token", "POST", "/a\nINFO forged", "10.0.0.9", 0.0)
    (line,) = caplog.messages
    assert "\n" not in line


def test_refusals_are_logged_once_a_minute_with_their_number(caplog: pytest.LogCaptureFixture) -> None:
    access = AdminAccess(AccessRules(TOKEN), is_loopback=True)
    with caplog.at_level(logging.WARNING, "invoke_gateway"):
        for second in range(int(LOG_SECONDS) + 1):
            access.record_refusal("wrong_token", "POST", "/" + "x" * 100, "10.0.0.9", float(second))
    first, last = caplog.messages
    assert first == (
        f"admin listener: POST '/{'x' * 63}' from 10.0.0.9 refused: wrong_token (1 refused since the last such line)"
    )
    assert f"({int(LOG_SECONDS)} refused since the last such line)" in last
    assert TOKEN not in caplog.text
