"""Connects to a name by any of its addresses (Happy Eyeballs, RFC 8305), and avoids those that did not answer.

The next address is tried 250 ms after the one before, or at once where that one has failed; the first that answers is
taken. An address that others overtook is tried last for a minute, so that not every connection pays its pause. Apart
from that the resolver's order stays, which spreads connections over the addresses of a name.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from itertools import chain, zip_longest
from typing import Any, TypeVar

import aiohappyeyeballs

DELAY_SECONDS = 0.25  # RFC 8305, section 5: the recommended Connection Attempt Delay
_AVOIDED_SECONDS = 60.0

# As of `socket.getaddrinfo`: family, type, protocol, canonical name, address.
Found = tuple[int, int, int, str, tuple[Any, ...]]
Resolve = Callable[[str, int], Awaitable[list[Found]]]
_Protocol = TypeVar("_Protocol", bound=asyncio.BaseProtocol)


class Dialer:
    """Connections to `host`, a name or an address. `resolve` finds a name's addresses; callers at the same time share a
    lookup, and one that hangs hinders no other name. Belongs to one event loop. Bounds on time are the caller's."""

    def __init__(
        self, host: str, port: int, *, resolve: Resolve | None = None, delay_seconds: float = DELAY_SECONDS
    ) -> None:
        self.host = host
        self.port = port
        self._delay = delay_seconds
        self._resolve = resolve or _resolve
        self._literal = _read_literal(host, port)
        self._lookup: asyncio.Task[list[Found]] | None = None
        self._avoided: dict[tuple[Any, ...], float] = {}  # until when, by address

    @property
    def is_looking_up(self) -> bool:
        """Returns whether the resolver has yet to answer."""
        return self._lookup is not None and not self._lookup.done()

    async def open(self) -> socket.socket:
        """Returns a connected socket. Raises `OSError`. Cancelled, it leaves no socket behind."""
        found = self._put_in_order(await self._find())
        try:
            opened = await aiohappyeyeballs.start_connection(found, happy_eyeballs_delay=self._delay, interleave=0)
        except RuntimeError as error:  # uvloop's, for what is an OSError elsewhere
            raise OSError(str(error)) from error
        try:
            self._record_winner(opened.getpeername(), found)
        except OSError:  # it was reset at once
            opened.close()
            raise
        return opened

    async def connect(
        self, make: Callable[[], _Protocol], *, tls: ssl.SSLContext | None = None
    ) -> tuple[asyncio.Transport, _Protocol]:
        """Returns a transport and its protocol. Raises `OSError`, of which `ssl.SSLError` is one."""
        loop = asyncio.get_running_loop()
        name = self.host if tls is not None else None
        if self._literal is not None:
            return await loop.create_connection(make, self.host, self.port, ssl=tls, server_hostname=name)
        opened = await self.open()
        peer = opened.getpeername() if tls is not None else None
        is_taken = False

        def make_for_transport() -> _Protocol:
            nonlocal is_taken
            is_taken = True
            return make()

        try:
            return await loop.create_connection(make_for_transport, sock=opened, ssl=tls, server_hostname=name)
        except BaseException:
            if not is_taken:  # else its transport closes it; after that, its number may be another socket's
                opened.close()
            if peer is not None:  # what does not get through TLS is no better than what does not answer
                self._avoid(peer)
            raise

    async def open_streams(
        self, *, tls: ssl.SSLContext | None = None
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """As `asyncio.open_connection`. Raises `OSError`."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        transport, protocol = await self.connect(lambda: asyncio.StreamReaderProtocol(reader, loop=loop), tls=tls)
        return reader, asyncio.StreamWriter(transport, protocol, reader, loop)

    async def _find(self) -> list[Found]:
        if self._literal is not None:
            return [self._literal]
        if self._lookup is None or self._lookup.done():
            self._lookup = asyncio.create_task(self._look_up(), name=f"look up {self.host}")
            self._lookup.add_done_callback(_retrieve_error)
        return await asyncio.shield(self._lookup)

    async def _look_up(self) -> list[Found]:
        try:
            found = await self._resolve(self.host, self.port)
        except UnicodeError as error:  # a name that no resolver takes
            raise socket.gaierror(socket.EAI_NONAME, f"{self.host!r} is no name of a host") from error
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, f"{self.host!r} has no address")
        return list(dict.fromkeys(found))

    def _put_in_order(self, found: list[Found]) -> list[Found]:
        """Returns addresses of the families in turn, beginning with the resolver's first.

        Avoided addresses come last, the oldest first."""
        if len(found) == 1:
            return found
        now = asyncio.get_running_loop().time()
        self._avoided = {address: until for address, until in self._avoided.items() if until > now}
        fresh = [one for one in found if _key(one[4]) not in self._avoided]
        avoided = [one for one in found if _key(one[4]) in self._avoided]
        by_family: dict[int, list[Found]] = {}
        for one in fresh:
            by_family.setdefault(one[0], []).append(one)
        in_turn = [one for one in chain.from_iterable(zip_longest(*by_family.values())) if one is not None]
        return [*in_turn, *sorted(avoided, key=lambda one: self._avoided[_key(one[4])])]

    def _record_winner(self, peer: tuple[Any, ...], tried: list[Found]) -> None:
        """Avoids every address that was tried before the winner: they did not answer."""
        if len(tried) == 1:
            return
        self._avoided.pop(_key(peer), None)
        for one in tried:
            if _key(one[4]) == _key(peer):
                return
            self._avoid(one[4])

    def _avoid(self, address: tuple[Any, ...]) -> None:
        self._avoided[_key(address)] = asyncio.get_running_loop().time() + _AVOIDED_SECONDS

    def __repr__(self) -> str:
        return f"<Dialer {self.host}:{self.port} avoids {len(self._avoided)}>"


async def _resolve(host: str, port: int) -> list[Found]:
    """Resolves a name in a thread of the event loop."""
    loop = asyncio.get_running_loop()
    return list(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP))


def _read_literal(host: str, port: int) -> Found | None:
    """Returns an address that needs no lookup; None for a name, or an address with a scope, which a resolver reads."""
    try:
        address = ip_address(host)
    except ValueError:
        return None
    if isinstance(address, IPv4Address):
        return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)
    if isinstance(address, IPv6Address) and address.scope_id is None:
        return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0)
    return None


def _key(address: tuple[Any, ...]) -> tuple[Any, ...]:
    """Returns host and port: the parts that a resolver and a socket write alike."""
    return str(address[0]).partition("%")[0], address[1]


def _retrieve_error(lookup: asyncio.Task[list[Found]]) -> None:
    """Fetches the error, so that asyncio does not log the error as unhandled after all callers have gone."""
    if not lookup.cancelled():
        lookup.exception()
