"""File descriptors that are used up are logged once, and counted."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from invoke_gateway.background import BackgroundTasks
from invoke_gateway.telemetry import file_descriptors as files
from invoke_gateway.telemetry.file_descriptors import keep_watching_files
from invoke_gateway.telemetry.totals import Totals
from tests.support.gateways import eventually
from tests.support.served import served
from tests.support.sockets import LOOPBACK


@pytest.mark.parametrize(("number", "why"), [(errno.EMFILE, "ulimit -n"), (errno.ENFILE, "fs.file-max")])
async def test_each_time_is_one_line(
    number: int, why: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "PAUSE_SECONDS", 0)
    caplog.set_level("INFO", "invoke_gateway")
    totals, tries, is_full = Totals(), 0, True

    def open_one() -> None:
        nonlocal tries
        tries += 1
        if is_full:
            raise OSError(number, "no")

    async with BackgroundTasks().running(lambda: keep_watching_files(totals, open_one=open_one), "files"):
        await eventually(lambda: tries > 5, "it is tried")
        assert [record.levelname for record in caplog.records] == ["ERROR"]
        assert why in caplog.text
        is_full = False
        await eventually(lambda: "file descriptors are free again" in caplog.text, "its end is logged")
        is_full = True
        await eventually(lambda: totals.descriptors_used_up == 2, "it is counted again")


def test_a_gateway_without_a_descriptor_says_so_and_recovers(tmp_path: Path) -> None:
    with served(tmp_path, prefix=["sh", "-c", 'ulimit -n 64; exec "$@"', "sh"]) as gateway:
        gateway.until_up()
        with ExitStack() as clients:
            for _ in range(80):
                client = clients.enter_context(socket.socket())
                client.connect((LOOPBACK, gateway.port))
            gateway.until_logged(r"ERROR no file descriptor is left: .*ulimit -n")
        gateway.until_logged("file descriptors are free again")
        assert gateway.metric("descriptors_used_up_total") >= 1
        assert gateway.stop() == 0
