"""Finds the primary that sentinels watch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from ..policy.store_url import Host, StoreUrl
from .connection_options import make_options, split_url
from .errors import StoreUnavailable, StoreUnusable
from .opener import Opener
from .resp import encode_commands

_MASTERS = encode_commands([("SENTINEL", "MASTERS")])


class Sentinels:
    """Queries all sentinels of a URL at once.

    The reply with the latest failover wins. Other sentinels learn of a failover seconds later, and two gateways with
    different primaries would each admit up to the limit.

    timeout_seconds: the bound on each sentinel's reply.
    """

    def __init__(self, url: StoreUrl, timeout_seconds: float) -> None:
        self._hosts = url.hosts
        self._service = url.service
        self._kind, arguments = split_url(url.connection)
        # The server's user, password and database are not those of its sentinels.
        self._arguments = {key: value for key, value in arguments.items() if key.startswith("ssl_")} | url.sentinel
        self._timeout = timeout_seconds
        self._opener = Opener()

    async def find_primary(self) -> Host:
        """Returns the primary's address. Raises `StoreUnavailable`."""
        answers = await asyncio.gather(*(self._query(host) for host in self._hosts), return_exceptions=True)
        found: list[tuple[int, Host]] = []
        for answer in answers:
            if isinstance(answer, tuple):
                found.append(answer)
            elif isinstance(answer, BaseException) and not isinstance(answer, RedisError | OSError):
                raise answer
        if not found:
            raise StoreUnavailable(f"no sentinel has a primary {self._service!r} that is up; {_advise(answers)}")
        return max(found)[1]

    async def _query(self, host: Host) -> tuple[int, Host] | None:
        """Returns the number of failovers that one sentinel has seen, and the primary's address; None without a primary
        that is up."""
        try:
            options = make_options(self._kind, {**self._arguments, "host": host[0], "port": host[1]})
        except ValueError as error:
            raise StoreUnusable(f"the query of its URL is not understood: {error}; correct it") from error
        async with asyncio.timeout(self._timeout):
            protocol = await self._opener.open(options)
            try:
                (reply,) = await protocol.exchange(_MASTERS, 1)
            finally:
                protocol.close()
        if isinstance(reply, RedisError):
            raise reply
        return _read_primary(reply, self._service)

    def __repr__(self) -> str:
        return f"<Sentinels of {self._service} at {self._hosts}>"


def find_primary_of(url: StoreUrl, timeout_seconds: float) -> Callable[[], Awaitable[Host]] | None:
    """Returns what finds the primary of a URL of sentinels; None for the URL of a server."""
    return Sentinels(url, timeout_seconds).find_primary if url.kind == "sentinel" else None


def _read_primary(masters: Sequence[Sequence[bytes]], service: str) -> tuple[int, Host] | None:
    """Returns the number of failovers and the address in the reply to SENTINEL MASTERS; None without a primary that is
    up. Each primary is a list of names, each with its value behind it."""
    for encoded in masters:
        fields = [part.decode(errors="replace") for part in encoded]
        state = dict(zip(fields[::2], fields[1::2], strict=True))
        if state["name"] == service:
            flags = state["flags"].split(",")
            is_up = "master" in flags and "s_down" not in flags and "o_down" not in flags
            return (int(state["config-epoch"]), (state["ip"], int(state["port"]))) if is_up else None
    return None


def _advise(answers: Sequence[object]) -> str:
    if any(isinstance(answer, AuthenticationError | NoPermissionError) for answer in answers):
        return "check sentinel_username and sentinel_password"
    if all(isinstance(answer, RedisError | OSError) for answer in answers):
        return "none of them replies: check that they run"
    return "check the name, and whether a failover is under way"
