"""Parses the URL of a store of counters: one server, a primary behind sentinels, or a cluster."""

from __future__ import annotations

from typing import Literal, NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, unquote_to_bytes, urlencode, urlsplit

Host = tuple[str, int]
Kind = Literal["server", "sentinel", "cluster"]

_PORTS: dict[Kind, int] = {"server": 6379, "sentinel": 26379, "cluster": 6379}
SCHEMES = (
    *("redis", "redis+sentinel", "redis+cluster"),
    *("rediss", "rediss+sentinel", "rediss+cluster"),
    "unix",
)


class StoreUrl(NamedTuple):
    """Holds the parts of a store's URL.

    hosts: of the server, of sentinels, or of some nodes of a cluster; none for a Unix socket
    service: the sentinels' name of the primary
    connection: a URL of one connection to the first host, for redis-py
    database: as it was written
    sentinel: user name and password of the sentinels
    """

    kind: Kind
    hosts: tuple[Host, ...]
    service: str
    database: str
    connection: str
    sentinel: dict[str, str]
    where: str


def split_store_url(url: str) -> StoreUrl:
    """Takes the URL apart. Raises `ValueError` where a port is none or a host is missing."""
    parts = split_hosts_url(url)
    scheme, _, way = parts.scheme.partition("+")
    kind: Kind = "sentinel" if way == "sentinel" else "cluster" if way == "cluster" else "server"
    secrets, at, netloc = parts.netloc.rpartition("@")
    where = f"{parts.scheme}://{netloc}{parts.path}"
    if scheme == "unix":
        return StoreUrl(kind, (), "", "", url, {}, where)
    hosts = tuple(_read_host(host, _PORTS[kind]) for host in netloc.split(","))
    service, database = "", parts.path.removeprefix("/")
    if kind == "sentinel":
        service, _, database = database.partition("/")
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    sentinel = {key: query.pop(f"sentinel_{key}") for key in ("username", "password") if f"sentinel_{key}" in query}
    host, port = hosts[0]
    connection = f"{scheme}://{secrets}{at}{f'[{host}]' if ':' in host else host}:{port}/{database}?{urlencode(query)}"
    return StoreUrl(kind, hosts, unquote(service), database, url if kind == "server" else connection, sentinel, where)


def split_hosts_url(url: str) -> SplitResult:
    """Takes a URL apart that may name several hosts. `urlsplit` takes an address in brackets only where it is the one
    host: since Python 3.11.12, 3.12.9 and 3.13.2, and in what Debian maintains of older ones."""
    rest, _, fragment = url.partition("#")
    scheme, _, rest = rest.partition(":")
    rest, _, query = rest.partition("?")
    has_authority = rest.startswith("//")  # urlunsplit writes none for `unix:/run/v.sock`
    netloc, slash, path = rest[2:].partition("/") if has_authority else ("", "", rest)
    return SplitResult(scheme.lower(), netloc, slash + path, query, fragment)


def find_file_path(url: str) -> str:
    """Returns the path in the URL of a file, whatever bytes are written in it as `%FF`; such a byte is a surrogate in
    it, as in all paths. Raises `ValueError` where that is no path."""
    path = url.partition("://")[2]
    if "?" in path or "#" in path:
        raise ValueError("a ? or # in it is written as %3F or %23")
    path = unquote_to_bytes(path.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")
    if "\0" in path:
        raise ValueError("no file's name has a %00")
    return path


def _read_host(text: str, usual_port: int) -> Host:
    if "[" in text and (not text.startswith("[") or text.partition("]")[2][:1] not in ("", ":")):
        raise ValueError(f"{text!r} has more than an address in brackets")  # older Pythons take it
    parts = urlsplit(f"//{text}")
    port = usual_port if parts.port is None else parts.port
    if not parts.hostname or not port:
        raise ValueError(f"{text!r} is no host")
    return parts.hostname, port
