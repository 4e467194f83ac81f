"""Verified callers through a gateway as a process: two workers on one store, and a secret that is rotated."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import wait_until
from tests.support.served import Served, served
from tests.support.signing import ACCOUNT, ARN, KEY_ID, sign
from tests.support.sockets import Wire, fetch

FIRST, SECOND = "0first/of+two0", "0second/of+two0"
PAGES = ("/status", "/limits", "/metrics", "/readyz", "/workers", "/in-flight", "/refusals", "/control", "/")
REFUSED = 'signature_refusals_total{cause="mismatch"}'


def write_secret(path: Path, secret: str) -> None:
    path.write_text(secret)
    path.chmod(0o600)


def settings(folder: Path) -> dict[str, Any]:
    write_secret(folder / "secret", FIRST)
    callers = {KEY_ID: {"secret": f"file:{folder / 'secret'}", "arn": ARN}}
    return {"signatures": "verify", "callers": callers, "accounts": {ACCOUNT: {"concurrent_executions": 200}}}


def call(gateway: Served, secret: str) -> int:
    with Wire(gateway.port) as wire:
        raw = sign(path="/2015-03-31/functions/echo/invocations", secret=secret, at=datetime.now(UTC)).to_bytes()
        return wire.send(raw).answer().status


def test_workers_verify_count_together_and_take_a_new_secret_at_a_reload(tmp_path: Path) -> None:
    own = ["env", "AWS_ACCESS_KEY_ID=AKIAGATEWAY", "AWS_SECRET_ACCESS_KEY=secret of the gateway"]
    backend = {"url": "demo", "sign": {"credentials": "env"}}
    with served(tmp_path, workers=2, prefix=own, backend=backend, **settings(tmp_path)) as gateway:
        gateway.until_up()
        assert json.loads(fetch(gateway.admin, "/readyz").body)["credentials"] == "present"
        assert gateway.metric('backend_credential_loads_total{result="loaded"}') >= 2, "those of both workers"
        for _ in range(4):  # which of the workers answers is not known
            assert call(gateway, FIRST) == 200
            assert call(gateway, SECOND) == 403
        wait_until(lambda: gateway.metric(REFUSED) == 4, "the refusals of both workers are counted")
        write_secret(tmp_path / "secret", SECOND)
        gateway.process.send_signal(signal.SIGHUP)
        gateway.until_logged("settings reloaded")
        for _ in range(4):
            assert call(gateway, SECOND) == 200
            assert call(gateway, FIRST) == 403
        (tmp_path / "secret").chmod(0o644)
        gateway.process.send_signal(signal.SIGHUP)
        gateway.until_logged("may be read or written by every user")
        assert call(gateway, SECOND) == 200, "the old settings stay in force"
        shown = [fetch(gateway.admin, path).body.decode() for path in PAGES]
        for text in (gateway.log, *shown):
            assert FIRST not in text
            assert SECOND not in text


@pytest.mark.parametrize("signatures", ["off", "verify"])
def test_a_listener_for_other_machines_without_verification_logs_one_warning(tmp_path: Path, signatures: str) -> None:
    changed = {**settings(tmp_path), "signatures": signatures, "listen": "0.0.0.0:0"}
    with served(tmp_path, **changed) as gateway:
        gateway.until_logged("ready: ")
        assert gateway.log.count("signatures is off, and other machines reach") == (signatures == "off")
