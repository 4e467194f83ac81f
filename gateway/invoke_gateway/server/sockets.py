"""Binds sockets to the addresses of the settings: one socket, or one for each address of a name."""

from __future__ import annotations

import contextlib
import errno
import logging
import socket
import sys
from collections.abc import Iterator
from typing import Any

from ..settings import Address

log = logging.getLogger("invoke_gateway")

_BACKLOG = 4096
_PORT_ATTEMPTS = 20
# No such family in this kernel, or no such address on this machine.
_NOT_OF_THIS_MACHINE = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT)


class CannotListen(Exception):
    """Reports an address that cannot be listened on.

    key: the setting that names the address, or an empty text
    is_taken: another socket has the address
    """

    def __init__(self, message: str, cure: str = "", *, key: str = "", is_taken: bool = False) -> None:
        super().__init__(f"{message}. {cure}" if cure else message)
        self.message = message
        self.cure = cure
        self.key = key
        self.is_taken = is_taken


class Listeners:
    """Holds the sockets of one address. A name with several addresses has one for each, all on the same port."""

    def __init__(self, sockets: list[socket.socket]) -> None:
        self.sockets = sockets

    @property
    def addresses(self) -> list[Address]:
        """Returns host and port of each socket."""
        return [address_of(one) for one in self.sockets]

    def listen(self) -> None:
        """Accepts connections. Raises `OSError`."""
        for one in self.sockets:
            one.listen(_BACKLOG)

    def close(self) -> None:
        for one in self.sockets:
            one.close()


def bind(address: Address, key: str) -> Listeners:
    """Returns sockets that listen on the address of the setting `key`. Raises `CannotListen`."""
    listeners = _bind(address, key)
    try:
        listeners.listen()
    except OSError as error:  # another process was quicker
        listeners.close()
        raise _cannot_listen(address, key, error) from error
    return listeners


def reserve(address: Address, key: str) -> Listeners:
    """Returns sockets that are bound to an address and do not listen. Raises `CannotListen`."""
    if sys.platform != "linux":  # elsewhere the newest socket gets all connections, so the processes share the first
        return _bind(address, key)
    with contextlib.closing(bind(address, key)) as alone:  # fails if another gateway listens
        port = alone.addresses[0].port
    return _bind(Address(address.host, port), key, reuse_port=True)


def reserve_beside(first: Listeners, key: str) -> Listeners:
    """Opens further sockets on the addresses of `first`. The kernel spreads connections over the processes that listen.
    Raises `CannotListen`."""
    if sys.platform != "linux":
        return Listeners([one.dup() for one in first.sockets])
    is_several = len(first.sockets) > 1
    with _closed_on_error() as sockets:
        for address, one in zip(first.addresses, first.sockets, strict=True):
            try:
                sockets.append(_bind_one(one.family, one.getsockname(), reuse_port=True, is_one_of_several=is_several))
            except OSError as error:
                raise _cannot_listen(address, key, error) from error
    return Listeners(sockets)


def _bind(address: Address, key: str, *, reuse_port: bool = False) -> Listeners:
    for attempts_left in reversed(range(_PORT_ATTEMPTS if address.port == 0 else 1)):
        try:
            return Listeners(_bind_all(address, key, reuse_port))
        except OSError as error:
            # A free port of the first address may be taken on the second.
            if error.errno != errno.EADDRINUSE or not attempts_left:
                raise _cannot_listen(address, key, error) from error
    raise AssertionError("the last attempt raises")


def _bind_all(address: Address, key: str, reuse_port: bool) -> list[socket.socket]:
    """Raises `OSError` where an address is taken, or none is this machine's."""
    found = find_addresses(address)
    skipped: OSError | None = None
    port = address.port
    with _closed_on_error() as sockets:
        for family, where in found:
            here = (where[0], port, *where[2:])
            try:
                made = _bind_one(family, here, reuse_port=reuse_port, is_one_of_several=len(found) > 1)
            except OSError as error:
                if error.errno not in _NOT_OF_THIS_MACHINE:
                    raise
                skipped = error
                if len(found) > 1:
                    log.info("not listening on %s, one address of %s (%s): %s", where[0], address, key, error.strerror)
                continue
            sockets.append(made)
            port = made.getsockname()[1]
        if not sockets and skipped is not None:
            raise skipped
    return sockets


def find_addresses(address: Address) -> list[tuple[int, tuple[Any, ...]]]:
    """Returns family and socket address of each address of a name. `localhost` is both loopback addresses, whatever a
    resolver returns (RFC 6761, section 6.3). Raises `OSError`."""
    if address.host.lower().removesuffix(".") == "localhost":
        return [(socket.AF_INET, ("127.0.0.1", address.port)), (socket.AF_INET6, ("::1", address.port, 0, 0))]
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "it is no name of a host") from error
    return list(dict.fromkeys((family, where) for family, _, _, _, where in found))


def _bind_one(family: int, where: tuple[Any, ...], *, reuse_port: bool, is_one_of_several: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6 and is_one_of_several:  # else `::` takes IPv4 too, which has a socket of its own
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(where)
        made.setblocking(False)
    except OSError:
        made.close()
        raise
    return made


@contextlib.contextmanager
def _closed_on_error() -> Iterator[list[socket.socket]]:
    """Yields a list of sockets that are closed if the block fails."""
    sockets: list[socket.socket] = []
    try:
        yield sockets
    except BaseException:
        for one in sockets:
            one.close()
        raise


def _cannot_listen(address: Address, key: str, error: OSError) -> CannotListen:
    is_taken = error.errno == errno.EADDRINUSE
    cure = f"Choose another address with --{key}, or end the process that has it."
    if error.errno == errno.EACCES:
        cure = f"Choose a port above 1023 with --{key}, or allow the process this one (CAP_NET_BIND_SERVICE)."
    elif not is_taken:
        cure = f"Give an address of this machine with --{key}; 0.0.0.0 means all its IPv4 addresses."
    return CannotListen(f"cannot listen on {address} ({key}): {error.strerror}", cure, key=key, is_taken=is_taken)


def address_of(listener: socket.socket) -> Address:
    """Returns host and port of a socket."""
    host, port = listener.getsockname()[:2]
    return Address(host, port)
