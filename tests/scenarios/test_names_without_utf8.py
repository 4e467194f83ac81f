"""Paths and names of the operating system whose bytes are no UTF-8, in everything that the gateway writes."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from invoke_gateway.admin.json_documents import encode
from invoke_gateway.cli.main import main
from invoke_gateway.policy.events.destination_url import FileTarget, parse_destination_url
from invoke_gateway.policy.os_text import printable, printable_document
from invoke_gateway.policy.store_url import find_file_path
from invoke_gateway.queue.base import CannotOpen, StoreError
from invoke_gateway.queue.location import find_file
from invoke_gateway.telemetry.exposition import Family, render
from tests.support import clients
from tests.support.backends import ScriptedBackend
from tests.support.gateways import GatewayUnderTest, serving
from tests.support.processes import free_port

EVENT = {"x-amz-invocation-type": "Event"}
NAMES = [b"a\xffb", b"caf\xe9", "ä€😀".encode(), b"\xed\xa0\x80", b'quote"and\\back']


@pytest.fixture(params=NAMES, ids=map(repr, NAMES))
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / os.fsdecode(request.param)
    try:
        path.mkdir()
    except OSError as error:
        pytest.skip(f"the file system has no such names: {error}")
    return path


async def get(gateway: GatewayUnderTest, path: str) -> clients.Response:
    return await clients.call(gateway.admin, path, None, method="GET", host="localhost")


async def check_answers(gateway: GatewayUnderTest, folder: Path) -> None:
    shown = printable(str(folder))
    metrics = await get(gateway, "/metrics")
    assert (metrics.status, len(metrics.body) > 1_000) == (200, True)
    label = shown.replace("\\", "\\\\").replace('"', '\\"')
    assert f'async_store_info{{store="{label}/' in metrics.body.decode()
    queue = await get(gateway, "/queue")
    assert (queue.status, queue.json()["store"].startswith(shown)) == (200, True)
    command = await asyncio.to_thread(CliRunner().invoke, main, ["queue", "--admin", str(gateway.admin)])
    assert command.exit_code == 0, command.output
    assert "No events wait in" in command.output
    for path in ("/live", "/readyz", "/limits"):
        assert (await clients.call(gateway.admin, path, None, method="HEAD", host="localhost")).status < 500


async def test_a_state_folder_may_have_any_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    async with ScriptedBackend() as backend, serving(backend.url, listen=f"127.0.0.1:{free_port()}") as gateway:
        await check_answers(gateway, folder)
        assert [path.suffix for path in (folder / "invoke-gateway").iterdir()].count(".db") == 1


async def test_a_store_whose_url_has_any_byte_is_that_file(folder: Path) -> None:
    """And what is wrong with it is said in the answers as everything is."""
    url = "sqlite://" + "".join(f"%{byte:02X}" if byte != ord("/") else "/" for byte in os.fsencode(folder / "state"))
    async with ScriptedBackend() as backend, serving(backend.url, **{"async": {"store": f"{url}/q.db"}}) as gateway:
        await check_answers(gateway, folder)
        assert (folder / "state" / "q.db").exists()
        assert list(folder.parent.iterdir()) == [folder]
        shutil.move(folder / "state", folder / "moved")
        answer = await clients.invoke(gateway.listen, "report", b"{}", EVENT)
        said = json.loads(answer.body)["Message"]
        assert (answer.status, printable(f"{folder}/moved") in said) == (500, True)
        assert printable(str(folder)) in (await get(gateway, "/queue")).json()["trouble"]
        shutil.move(folder / "moved", folder / "state")


@pytest.mark.parametrize("broken", ["at once", "later"])
async def test_metrics_that_cannot_be_written_are_an_error(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    def families() -> Iterator[Family]:
        if broken == "later":
            yield Family("a", "gauge", "It is large.", ("l",), [((f"{row:0100d}",), row) for row in range(10_000)])
        raise RuntimeError("no numbers")

    async with ScriptedBackend() as backend, serving(backend.url) as gateway:
        with monkeypatch.context() as patch:
            patch.setattr(gateway.app.admin.metrics, "families", families)
            answer = await get(gateway, "/metrics")
            assert answer.status == 500
            assert answer.json() == {"error": "The metrics cannot be written. The gateway's log has the error."}
        assert (await get(gateway, "/metrics")).status == 200


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("ä€😀", "ä€😀"),
        ("a\udcffb", r"a\xffb"),
        ("\udcc3\udca4", "ä"),
        ("\ud800", r"\ud800"),
        ("\ud800\udcff", r"\ud800\udcff"),
    ],
)
def test_a_text_of_the_operating_system_can_be_written(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable_document({"a": [text, 1, None, {text: (text,)}]}) == {"a": [shown, 1, None, {shown: [shown]}]}
    assert json.loads(encode({"a": text})) == {"a": shown}
    for fault in (StoreError("failed", text), CannotOpen(text)):
        assert str(fault) == shown
    label = shown.replace("\\", "\\\\")
    lines = b"".join(render([Family("m", "gauge", "Help.", ("l",), [((text,), 1)])], is_openmetrics=False)).decode()
    assert f'm{{l="{label}"}} 1\n' in lines


def test_a_url_of_a_file_is_the_file_with_these_bytes() -> None:
    assert find_file_path("sqlite:///a%FF/b%C3%A4%20c.db") == "/a\udcff/bä c.db"
    assert os.fsencode(find_file("sqlite:///a%FF/b.db", 1)[0]) == b"/a\xff/b.db"
    target = parse_destination_url("file:///a%FF/b.jsonl")
    assert isinstance(target, FileTarget)
    assert os.fsencode(target.path) == b"/a\xff/b.jsonl"
    for url in ("sqlite:///a%00b", "sqlite:///a?b", "sqlite:///a#b"):
        with pytest.raises(CannotOpen, match="names no file"):
            find_file(url, 1)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("sqlite:///a%00b", "no file's name has a %00"),
        ("sqlite:///a#b/q.db", "is written as %3F or %23"),
        ("sqlite:///a?b", "is written as %3F or %23"),
        ("sqlite:///a%2F", "by its absolute path"),
    ],
)
def test_a_url_that_would_mean_another_file_is_a_mistake_in_the_settings(
    url: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INVOKE_GATEWAY_ASYNC_STORE", url)
    result = CliRunner().invoke(main, ["serve"])
    assert (result.exit_code, text in result.output) == (2, True), result.output


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_a_settings_file_may_have_any_name(name: bytes, tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(name + b".yaml")
    for text, status, said in (("region: eu-west-1\n", 0, "ok"), ("regio: x\n", 2, "is not a setting")):
        path.write_text(text)
        result = CliRunner().invoke(main, ["check", str(path)])
        assert result.exit_code == status, result.output
        assert said in result.output
