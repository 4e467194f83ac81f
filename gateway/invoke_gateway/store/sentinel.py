"""Finds the primary that sentinels watch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio.connection import Connection, SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from ..policy.store_url import Host, StoreUrl
from .errors import StoreUnavailable, StoreUnusable


class Sentinels:
    """Queries all sentinels of a URL at once.

    The reply with the latest failover wins. Other sentinels learn of a failover seconds later, and two gateways with
    different primaries would each admit up to the limit.

    timeout_seconds: the bound on each sentinel's reply.
    """

    def __init__(self, url: StoreUrl, timeout_seconds: float) -> None:
        self._hosts = url.hosts
        self._service = url.service
        arguments = parse_url(url.connection)
        self._class = SSLConnection if arguments.get("connection_class") is SSLConnection else Connection
        self._arguments: dict[str, Any] = {
            **{key: value for key, value in arguments.items() if key.startswith("ssl_")},
            **url.sentinel,
            "protocol": 2,
            "decode_responses": True,
            "socket_timeout": timeout_seconds,
            "socket_connect_timeout": timeout_seconds,
            "retry": Retry(NoBackoff(), 0),
        }

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
            connection = self._class(host=host[0], port=host[1], **self._arguments)
        except (TypeError, ValueError) as error:
            raise StoreUnusable(f"the query of its URL is not understood: {error}") from error
        # A client of redis-py, with its pool, would close its connection in tasks of their own. Cancelled before they
        # have begun, as where the caller's time is up, they leave the connection open.
        try:
            await connection.connect()  # type: ignore[no-untyped-call]  # redis-py leaves it without types
            await connection.send_command("SENTINEL", "MASTERS")
            return _read_primary(await connection.read_response(), self._service)
        finally:
            await connection.disconnect(nowait=True)

    def __repr__(self) -> str:
        return f"<Sentinels of {self._service} at {self._hosts}>"


def find_primary_of(url: StoreUrl, timeout_seconds: float) -> Callable[[], Awaitable[Host]] | None:
    """Returns what finds the primary of a URL of sentinels; None for the URL of a server."""
    return Sentinels(url, timeout_seconds).find_primary if url.kind == "sentinel" else None


def _read_primary(masters: Sequence[Sequence[str]], service: str) -> tuple[int, Host] | None:
    """Returns the number of failovers and the address in the reply to SENTINEL MASTERS; None without a primary that is
    up. Each primary is a list of names, each with its value behind it."""
    for fields in masters:
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
