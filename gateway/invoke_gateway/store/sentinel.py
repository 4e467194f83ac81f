"""Finds the primary that sentinels watch."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
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
        self._arguments: dict[str, Any] = {
            **{key: value for key, value in arguments.items() if key.startswith("ssl_")},
            **url.sentinel,
            "ssl": arguments.get("connection_class") is SSLConnection,
            "protocol": 2,
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
            sentinel = Sentinel([host], sentinel_kwargs=self._arguments)  # type: ignore[no-untyped-call]  # so in redis-py
        except (TypeError, ValueError) as error:
            raise StoreUnusable(f"the query of its URL is not understood: {error}") from error
        try:
            masters = await sentinel.sentinels[0].sentinel_masters()
            state = masters.get(self._service) if isinstance(masters, dict) else None
            if not state or not sentinel.check_master_state(state, self._service):
                return None
            return state["config-epoch"], (state["ip"], state["port"])
        finally:
            await sentinel.aclose()

    def __repr__(self) -> str:
        return f"<Sentinels of {self._service} at {self._hosts}>"


def find_primary_of(url: StoreUrl, timeout_seconds: float) -> Callable[[], Awaitable[Host]] | None:
    """Returns what finds the primary of a URL of sentinels; None for the URL of a server."""
    return Sentinels(url, timeout_seconds).find_primary if url.kind == "sentinel" else None


def _advise(answers: Sequence[object]) -> str:
    if any(isinstance(answer, AuthenticationError | NoPermissionError) for answer in answers):
        return "check sentinel_username and sentinel_password"
    if all(isinstance(answer, RedisError | OSError) for answer in answers):
        return "none of them replies: check that they run"
    return "check the name, and whether a failover is under way"
