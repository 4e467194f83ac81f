"""Makes names with several addresses out of loopback's: some respond, some refuse, some stay silent."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from invoke_gateway.dialing import Found

from .processes import PORTS, free_port

_ATTEMPTS = 32  # the queue of a listener that nobody accepts from is full long before


def found(host: str, port: int) -> Found:
    """Returns a resolver's entry for an address."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    address = (host, port, 0, 0) if ":" in host else (host, port)
    return family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address


def common_port(*hosts: str) -> int:
    """Returns a port that is free on all of these addresses."""
    for _ in range(len(PORTS)):
        port = free_port()
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            for host in hosts:
                stack.enter_context(listener(host, port))
            return port
    raise RuntimeError("no port is free on all of them")


def listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((host, port))
        made.listen()
    except OSError:
        made.close()
        raise
    return made


@contextlib.contextmanager
def blackhole(host: str, port: int) -> Iterator[None]:
    """Opens an address that neither accepts nor refuses: its queue is full, so the kernel drops new connections."""
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        full.bind((host, port))
        full.listen(0)
        for _ in range(_ATTEMPTS):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex((host, port))
        yield


def has_ipv6() -> bool:
    """Returns True if ::1 can be bound here."""
    try:
        listener("::1", 0).close()
    except OSError:
        return False
    return True


def find_own_address() -> str:
    """Returns an address of this machine that is not of the loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError as error:
            pytest.skip(f"this machine has no address but the loopback's: {error}")
        return str(probe.getsockname()[0])
