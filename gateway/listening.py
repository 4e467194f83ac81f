"""Sockets and the uvicorn servers on them: what every process of a gateway needs to be reached."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any, cast

import uvicorn

from .asgi import App
from .background import BackgroundTasks
from .demo import DemoBackend
from .settings import Address

_BACKLOG = 4096


class CannotListen(Exception):
    """An address cannot be listened on. `key` is the setting that names it, where one does; `is_taken`: another socket
    has it."""

    def __init__(self, message: str, cure: str = "", *, key: str = "", is_taken: bool = False) -> None:
        super().__init__(f"{message}. {cure}" if cure else message)
        self.message = message
        self.cure = cure
        self.key = key
        self.is_taken = is_taken


class Server(uvicorn.Server):
    """uvicorn without signal handlers of its own: there are two servers here, and one who decides."""

    is_shut_down = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def keep_serving(self, sockets: list[socket.socket]) -> None:
        """Serve on `sockets` until `should_exit`. A second call goes on where the first was ended: connections were
        served meanwhile."""
        if self.started:
            await self.main_loop()
            await self.shutdown(sockets)
        else:
            await self.serve(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self.is_shut_down = True


def configure(
    app: App,
    *,
    drain_seconds: float,
    http: Any = "httptools",
    keep_alive_seconds: float = 65,
    certificate: str | None = None,
    key: str | None = None,
) -> uvicorn.Config:
    return uvicorn.Config(
        cast("Any", app),
        http=http,
        ws="none",
        lifespan="off",
        interface="asgi3",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=True,
        log_config=None,
        timeout_keep_alive=cast("int", keep_alive_seconds),
        timeout_graceful_shutdown=cast("int", drain_seconds),
        ssl_certfile=certificate,
        ssl_keyfile=key,
    )


@contextlib.asynccontextmanager
async def serving(server: Server, listener: socket.socket, tasks: BackgroundTasks) -> AsyncIterator[None]:
    """Serve on a bound socket until the block ends, then drain. Raises `CannotListen`."""
    task = tasks.start(functools.partial(server.keep_serving, [listener]), "HTTP server")
    while not server.started:
        if not task.is_running:
            task.cancel()
            raise CannotListen(f"The server on {address_of(listener)} did not start; the log has the details.")
        await asyncio.sleep(0.005)
    try:
        yield
    finally:
        server.should_exit = True
        await task.finish()
        if not server.is_shut_down:
            await server.shutdown([listener])


@contextlib.asynccontextmanager
async def demo_backend(region: str, tasks: BackgroundTasks) -> AsyncIterator[str]:
    """The demo backend on a loopback port of its own, with functions of that Region; the gateway reaches it like any
    other."""
    with contextlib.closing(bind(Address("127.0.0.1", 0), "backend.url")) as listener:
        demo = DemoBackend(region=region)
        async with serving(Server(configure(demo, drain_seconds=1)), listener, tasks):
            yield f"http://{address_of(listener)}"
            demo.close()  # what still sleeps has nobody waiting for it


def bind(address: Address, key: str) -> socket.socket:
    """A socket that listens on the address of the settings' `key`. Raises `CannotListen`."""
    listener = _bind(address, key)
    try:
        listener.listen(_BACKLOG)
    except OSError as error:  # somebody else was quicker
        listener.close()
        raise _cannot_listen(address, key, error) from error
    return listener


def reserve(address: Address, key: str, *, beside: socket.socket | None = None) -> socket.socket:
    """A socket that is bound and does not listen: the first of an address, or another `beside` it. Each process that
    gets one listens by it, and the kernel spreads connections over those that do. Raises `CannotListen`."""
    if sys.platform != "linux":  # elsewhere the newest gets all, so they share the first
        return _bind(address, key) if beside is None else beside.dup()
    if beside is None:
        with contextlib.closing(bind(address, key)) as alone:  # which fails where another gateway listens
            address = address_of(alone)
    return _bind(address, key, reuse_port=True)


def _bind(address: Address, key: str, *, reuse_port: bool = False) -> socket.socket:
    listener = None
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, where = found[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(where)
    except OSError as error:
        if listener is not None:
            listener.close()
        raise _cannot_listen(address, key, error) from error
    listener.setblocking(False)
    return listener


def _cannot_listen(address: Address, key: str, error: OSError) -> CannotListen:
    is_taken = error.errno == errno.EADDRINUSE
    cure = f"Choose another address with --{key}, or end the process that has it."
    if error.errno == errno.EACCES:
        cure = f"Choose a port above 1023 with --{key}, or allow the process this one (CAP_NET_BIND_SERVICE)."
    elif not is_taken:
        cure = f"Give an address of this machine with --{key}; 0.0.0.0 is every one of IPv4."
    return CannotListen(f"cannot listen on {address} ({key}): {error.strerror}", cure, key=key, is_taken=is_taken)


def address_of(listener: socket.socket) -> Address:
    """Host and port that a socket is bound to."""
    host, port = listener.getsockname()[:2]
    return Address(host, port)
