"""Reads the URL of an event store, and sets what the queue expects of a connection to it."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from redis.exceptions import ResponseError

from ...policy.store_url import split_hosts_url, split_store_url
from ...store.connection import ConnectionRules, StoreConnection
from ...store.errors import StoreUnusable
from ...store.sentinel import find_primary_of
from ...store.server_facts import ServerFacts
from ..base import CannotOpen
from .script import ALL

_SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "unix")


class EventStoreAddress:
    """Holds the address of an event store.

    timeout_seconds: the bound on each request; sentinels must reply within half of it.
    where: the address for people, without credentials.
    replicas: how many replicas must have each new event, within `replicas_ms`.

    Raises `CannotOpen`.
    """

    def __init__(self, url: str, timeout_seconds: float) -> None:
        parts = split_hosts_url(url)
        self.where = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
        if parts.scheme not in _SCHEMES:
            raise CannotOpen(
                f"Events cannot be stored at {self.where}. Write redis://, rediss:// or unix:// with the address of "
                "one server, or redis+sentinel:// with the addresses of its sentinels. Clusters are not supported."
            )
        query = dict(parse_qsl(parts.query, keep_blank_values=True))
        try:
            self.replicas = int(query.pop("wait_replicas", "0"))
            self.replicas_ms = int(query.pop("wait_ms", str(int(timeout_seconds * 500))))
            bare = url.partition("?")[0]
            store = split_store_url(f"{bare}?{urlencode(query)}" if query else bare)
            self._url = store.connection
            self._find_server = find_primary_of(store, timeout_seconds / 2)
            self.connect()
        except ValueError as error:
            raise CannotOpen(f"The URL of the event store, {self.where}, is not understood: {error}.") from error
        if self.replicas and not 0 < self.replicas_ms < timeout_seconds * 1000:
            raise CannotOpen(f"wait_ms must be between 0 and the time-out of the store, {timeout_seconds * 1000:g} ms.")

    def connect(self) -> StoreConnection:
        """Returns a connection that is not open yet."""
        return StoreConnection(self._url, RULES, where=self.where, find_server=self._find_server)

    async def open(self, connection: StoreConnection) -> None:
        """Opens a connection. Raises `CannotOpen` where a later try cannot succeed, else `StoreUnavailable`."""
        try:
            await connection.open()
        except StoreUnusable as error:
            raise CannotOpen(f"The event store at {self.where} cannot be used: {error}.") from error

    def __repr__(self) -> str:
        return f"<EventStoreAddress {self.where}>"


def check_server(facts: ServerFacts) -> str | None:
    """Returns a warning about a server that may lose events, or None. Raises `StoreUnusable`."""
    if facts.is_cluster_node:
        raise StoreUnusable("it is a node of a cluster, which is not supported; give one server")
    if facts.is_too_old:
        raise StoreUnusable(f"it is version {facts.version}, and 6.2 or newer is required; update it")
    if facts.may_evict:
        return f"its maxmemory-policy is {facts.eviction_policy}, which may drop events: set it to noeviction"
    if not facts.has_append_only_file:
        return "it keeps events in memory only, and loses them when it ends: set appendonly yes (docs/guides/async.md)"
    return None


def _keep_error(error: ResponseError) -> object:
    return error


RULES = ConnectionRules(ALL, _keep_error, check_server)
