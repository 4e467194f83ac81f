"""A backend behind https: trusted by the authority that the settings name, refused without."""

from __future__ import annotations

import asyncio
import re
import ssl
from pathlib import Path

import pytest

from tests.support.backends import OK, BackendCall, ScriptedBackend, says, says_and_closes
from tests.support.certificates import make_certificate
from tests.support.clients import call, check_is_service_exception, invoke
from tests.support.gateways import GatewayUnderTest, serving

from .backend_errors import RESET


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return make_certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")


def server_side(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


async def test_an_https_backend_is_reached_with_its_authority(certificate: tuple[Path, Path]) -> None:
    """Everything else is as without TLS: reuse, large bodies both ways, faults."""
    async with ScriptedBackend(tls=server_side(certificate)) as backend:
        settings = {"url": backend.url, "certificate_authority": str(certificate[0]), "timeout_seconds": 10}
        async with serving(backend.url, backend=settings) as gateway:
            body = b'"' + b"x" * 6_000_000 + b'"'

            async def echo(call: BackendCall) -> None:
                call.answer(200, call.body)

            backend.script = echo
            for sent in (b"{}", body):
                answer = await invoke(gateway.listen, body=sent)
                assert (answer.status, answer.body) == (200, sent)
            assert len(backend.connections) == 1
            backend.script = says(b"garbage\r\n")
            check_is_service_exception(await invoke(gateway.listen), "is not valid HTTP/1.1")
            await gateway.settled()


async def test_a_response_without_a_length_counts_as_whole_only_with_tlss_own_goodbye(
    certificate: tuple[Path, Path],
) -> None:
    """Without it anybody on the way could have cut the connection. (asyncio's own loop does not tell the two apart.)"""
    async with ScriptedBackend(tls=server_side(certificate)) as backend:
        settings = {"url": backend.url, "certificate_authority": str(certificate[0]), "timeout_seconds": 3}
        async with serving(backend.url, backend=settings) as gateway:
            backend.script = says_and_closes(OK + b"\r\nwhole")
            assert (await invoke(gateway.listen)).body == b"whole"

            async def cut(call: BackendCall) -> None:
                await call.send(OK + b"\r\nnot wh")
                await asyncio.sleep(0.05)  # for the bytes to leave before the connection does
                call.cut()

            backend.script = cut
            check_is_service_exception(await invoke(gateway.listen), RESET)
            await gateway.settled()


async def check_is_untrusted(gateway: GatewayUnderTest) -> None:
    """With the reason, in OpenSSL's words of its release."""
    for answer in (await invoke(gateway.listen), await call(gateway.listen, "/elsewhere", None, method="GET")):
        check_is_service_exception(answer, "No trusted TLS connection to the backend.")
        assert re.search(r"^No trusted TLS connection to the backend\. .+ \(.+\)$", answer.json()["Message"])
    assert await gateway.metric("upstream_errors_total", kind="tls") == 2
    assert gateway.what_is_held() == {}


async def test_an_unknown_authority_is_refused(certificate: tuple[Path, Path]) -> None:
    async with ScriptedBackend(tls=server_side(certificate)) as backend, serving(backend.url) as gateway:
        await check_is_untrusted(gateway)
        assert backend.requests == []


async def test_a_certificate_for_another_name_is_refused(tmp_path: Path) -> None:
    other = make_certificate(tmp_path, "another.example")
    async with ScriptedBackend(tls=server_side(other)) as backend:
        settings = {"url": backend.url, "certificate_authority": str(other[0])}
        async with serving(backend.url, backend=settings) as gateway:
            await check_is_untrusted(gateway)
            assert backend.requests == []


async def test_a_backend_that_speaks_no_tls_is_refused(certificate: tuple[Path, Path]) -> None:
    async with ScriptedBackend() as backend:

        async def talks_at_once(connection: object) -> None:
            backend.accepted[-1].writer.write(b"220 hello\r\n")

        backend.on_connection = talks_at_once
        async with serving(backend.url.replace("http:", "https:")) as gateway:
            await check_is_untrusted(gateway)
