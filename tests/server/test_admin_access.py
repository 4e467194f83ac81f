"""The admin token at the start, at a reload, and before several workers."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from invoke_gateway.server.admin_access import is_on_loopback, make_access, put_in_force
from invoke_gateway.settings import Address
from tests.support.gateways import make_settings
from tests.support.served import Served, served
from tests.support.sockets import Answer, Wire

HOLD = b'{"function": "echo", "slots": 1, "seconds": 30}'


def write_token(file: Path, token: str) -> Path:
    file.write_text(token + "\n")
    file.chmod(0o600)
    return file


def take_hold(gateway: Served, token: str = "") -> Answer:
    authorization = f"Authorization: Bearer {token}\r\n" if token else ""
    head = f"POST /holds HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n{authorization}"
    with Wire(gateway.admin) as wire:
        return wire.send(f"{head}Content-Length: {len(HOLD)}\r\n\r\n".encode() + HOLD).answer()


def test_a_token_is_replaced_by_sighup_and_a_bad_one_leaves_the_old_one_in_force(tmp_path: Path) -> None:
    file = write_token(tmp_path / "token", "first")
    with served(tmp_path, admin_token=f"file:{file}") as gateway:
        gateway.until_up()
        assert take_hold(gateway).status == 401
        assert take_hold(gateway, "first").status == 201

        write_token(file, "second")
        gateway.process.send_signal(signal.SIGHUP)
        gateway.until_logged("the admin token was replaced")
        gateway.until_logged("settings reloaded")
        assert take_hold(gateway, "first").status == 401
        assert take_hold(gateway, "second").status == 201

        file.chmod(0o644)
        gateway.process.send_signal(signal.SIGHUP)
        line = gateway.until_logged("settings not reloaded, so the old settings stay in force:\n.*\n")
        assert f"admin_token: the file {file} has the mode 0644" in line[0]
        assert take_hold(gateway, "second").status == 201
        assert not {"first", "second"} & set(gateway.log.split())


def test_off_loopback_without_a_token_the_start_logs_one_warning(tmp_path: Path) -> None:
    with served(tmp_path, "--log-format", "json", admin="0.0.0.0:0") as gateway:
        gateway.until_logged('"kind":"ready"')
        lines = [json.loads(line) for line in gateway.log.splitlines()]
    (warning,) = [line for line in lines if line["level"] == "warning" and "admin" in line["message"]]
    assert warning["kind"] == "admin_without_token"
    assert "Set admin_token to env:NAME or file:/path, or bind admin to 127.0.0.1" in warning["message"]


def test_before_several_workers_the_supervisor_requires_the_token(tmp_path: Path) -> None:
    file = write_token(tmp_path / "token", "first")
    with served(tmp_path, "--workers", "2", admin_token=f"file:{file}") as gateway:
        gateway.until_up()
        assert take_hold(gateway).status == 401
        taken = take_hold(gateway, "first")
        assert taken.status == 201
        assert gateway.metric('admin_requests_refused_total{reason="missing_token"}') == 1
        write_token(file, "second")
        gateway.process.send_signal(signal.SIGHUP)
        gateway.until_logged("settings reloaded")
        assert (take_hold(gateway, "first").status, take_hold(gateway, "second").status) == (401, 201)


def test_a_token_that_is_gone_between_check_and_start_lets_nobody_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOKEN", "right")
    settings = make_settings("http://127.0.0.1:1", admin_token="env:TOKEN")
    monkeypatch.delenv("TOKEN")
    access = make_access(settings, [Address("127.0.0.1", 1)])
    assert access.find_refusal("POST", "/holds", [b"Bearer right"]) == "wrong_token"
    assert access.find_refusal("GET", "/limits", []) == "missing_token"
    monkeypatch.setenv("TOKEN", "right")
    put_in_force(access, settings)
    assert access.find_refusal("POST", "/holds", [b"Bearer right"]) is None
    assert access.find_refusal("GET", "/limits", []) is None


@pytest.mark.parametrize(
    ("hosts", "is_it"),
    [
        (["127.0.0.1"], True),
        (["127.9.9.9"], True),
        (["::1", "127.0.0.1"], True),
        (["::1", "10.0.0.1"], False),
        (["0.0.0.0"], False),
        (["::"], False),
    ],
)
def test_a_listener_is_on_loopback_if_each_of_its_addresses_is(hosts: list[str], is_it: bool) -> None:
    assert is_on_loopback([Address(host, 9002) for host in hosts]) is is_it
