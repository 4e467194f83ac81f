"""Listening on names with several addresses."""

from __future__ import annotations

import errno
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from invoke_gateway.server import sockets as binding
from invoke_gateway.server.sockets import CannotListen, Listeners, bind, reserve, reserve_beside
from invoke_gateway.settings import Address
from tests.support.addresses import common_port, found, has_ipv6, listener
from tests.support.processes import bare_environment, free_port, running, wait_until
from tests.support.sockets import invoke
from tests.support.stores import running_store

needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")
LOCALHOST = Address("localhost", 0)


def hosts(listeners: Listeners) -> list[str]:
    return [address.host for address in listeners.addresses]


def answers(host: str, port: int, data: bytes = b"") -> bytes:
    """What a connection is sent first; without data that it is accepted."""
    with socket.create_connection((host, port), timeout=60) as client:
        client.sendall(data)
        return client.recv(12) if data else b"accepted"


@pytest.fixture
def resolves(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of every name."""
    said: list[str] = []

    def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [found(one, port) for one in said]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    return said


@needs_ipv6
@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "localhost."])
def test_localhost_is_both_loopback_addresses_on_one_port_whatever_the_resolver_says(name: str) -> None:
    """RFC 6761, section 6.3; some machines' /etc/hosts has only one of them."""
    with closing(bind(Address(name, 0), "listen")) as listeners:
        assert hosts(listeners) == ["127.0.0.1", "::1"]
        (port,) = {address.port for address in listeners.addresses}
        assert port
        assert [answers(host, port) for host in ("127.0.0.1", "::1")] == [b"accepted"] * 2


def test_every_address_of_a_name_is_bound_once(resolves: list[str]) -> None:
    resolves += ["127.0.0.2", "127.0.0.3", "127.0.0.2"]
    with closing(bind(Address("several.test", 0), "listen")) as listeners:
        assert hosts(listeners) == ["127.0.0.2", "127.0.0.3"]
        assert len({address.port for address in listeners.addresses}) == 1


def test_an_address_that_is_not_of_this_machine_is_left_out_with_its_reason(
    resolves: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    resolves += ["192.0.2.1", "127.0.0.2"]
    with closing(bind(Address("several.test", 0), "listen")) as listeners:
        assert hosts(listeners) == ["127.0.0.2"]
    (line,) = caplog.messages
    assert line.startswith("not listening on 192.0.2.1, one address of several.test:0 (listen): ")
    resolves.remove("127.0.0.2")
    with pytest.raises(CannotListen, match=r"Can.* assign requested address"):
        bind(Address("several.test", 0), "listen")


def test_without_ipv6_in_the_kernel_localhost_is_its_other_address(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    real = socket.socket

    def without_ipv6(family: int = socket.AF_INET, *arguments: Any, **named: Any) -> socket.socket:
        if family == socket.AF_INET6:
            raise OSError(errno.EAFNOSUPPORT, os.strerror(errno.EAFNOSUPPORT))
        return real(family, *arguments, **named)

    monkeypatch.setattr(binding.socket, "socket", without_ipv6)
    with closing(bind(LOCALHOST, "listen")) as listeners:
        assert hosts(listeners) == ["127.0.0.1"]
    assert "not listening on ::1" in caplog.text


@needs_ipv6
@pytest.mark.parametrize("taken", ["127.0.0.1", "::1"])
def test_a_port_that_is_taken_on_one_of_the_addresses_is_refused_and_the_others_are_closed(taken: str) -> None:
    port = common_port("127.0.0.1", "::1")
    with closing(listener(taken, port)):
        with pytest.raises(CannotListen, match="Address already in use") as error:
            bind(Address("localhost", port), "listen")
        assert error.value.is_taken
    bind(Address("localhost", port), "listen").close()


@needs_ipv6
def test_a_free_port_is_one_that_is_free_on_all_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one that the kernel gives is taken on the second address."""
    real, bound = binding._bind_one, []

    def bind_one(family: int, where: tuple[Any, ...], **named: Any) -> socket.socket:
        if family == socket.AF_INET6 and not bound:
            bound.append(where)
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        return real(family, where, **named)

    monkeypatch.setattr(binding, "_bind_one", bind_one)
    with closing(bind(LOCALHOST, "listen")) as listeners:
        assert hosts(listeners) == ["127.0.0.1", "::1"]
    assert bound


@needs_ipv6
def test_workers_have_a_socket_of_their_own_on_each_address() -> None:
    with closing(reserve(LOCALHOST, "listen")) as first, closing(reserve_beside(first, "listen")) as second:
        assert second.addresses == first.addresses
        second.listen()
        for address in first.addresses:
            assert answers(address.host, address.port) == b"accepted"


@needs_ipv6
def test_all_of_ipv6_takes_ipv4_as_well_for_workers_too() -> None:
    with closing(bind(Address("::", 0), "listen")) as listeners:
        assert answers("127.0.0.1", listeners.addresses[0].port) == b"accepted"
    with closing(reserve(Address("::", 0), "listen")) as first, closing(reserve_beside(first, "listen")) as second:
        second.listen()
        assert answers("127.0.0.1", first.addresses[0].port) == b"accepted"


@contextmanager
def served(folder: Path, *flags: str) -> Iterator[tuple[int, int]]:
    """`serve` on localhost; its two ports."""
    listen, admin = free_port(), free_port()
    command = [sys.executable, "-m", "invoke_gateway", "serve", "--listen", f"localhost:{listen}"]
    command += ["--admin", f"localhost:{admin}", *flags]
    with running(command, folder / "log", bare_environment(folder), cwd=Path(__file__).parents[2]) as process:
        process.wait_until(lambda: "backend demo" in process.tail(), "it serves", timeout=60)
        yield listen, admin


@needs_ipv6
def test_a_gateway_on_localhost_serves_both_families_and_logs_all_addresses(tmp_path: Path) -> None:
    get = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with running_store("redis") as store:
        for flags in ([], ["--workers", "2", "--counters", store.url, "--shared-store-timeout-seconds", "2"]):
            with served(tmp_path, *flags) as (listen, admin):
                for host in ("127.0.0.1", "::1"):
                    call = partial(answers, host, listen, invoke("echo"))
                    wait_until(lambda: call() == b"HTTP/1.1 200", f"a call by {host}")  # noqa: B023 (it ends here)
                    assert answers(host, admin, get) == b"HTTP/1.1 200"
                log = (tmp_path / "log").read_text()
                for host in ("127.0.0.1", "[::1]"):
                    assert f"Invoke API on http://{host}:{listen}\n" in log
                    assert f"admin on http://{host}:{admin} (" in log
                evil = b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\n\r\n"
                assert answers("::1", admin, evil) == b"HTTP/1.1 421"
                done = subprocess.run(
                    [
                        sys.executable,
                        "-m",
                        "invoke_gateway",
                        "limits",
                        "--json",
                        "--admin",
                        f"localhost:{admin}",
                    ],
                    capture_output=True,
                    timeout=60,
                    check=False,
                )
                assert done.returncode == 0, done.stderr
