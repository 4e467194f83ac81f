"""Reads URLs: of the backend, of stores, of targets, and the origins of web pages."""

import re
from collections.abc import Collection
from difflib import get_close_matches
from urllib.parse import urlsplit

from invoke_gateway.policy.events.destination_url import BadDestinationUrl, parse_destination_url
from invoke_gateway.policy.store_url import SCHEMES, find_file_path, split_store_url
from invoke_gateway.settings.descriptions import invalid_value
from invoke_gateway.settings.models.address import HIGHEST_PORT

_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([A-Za-z0-9._*-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,9}))?([/?#].*)?")


_BARE_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_DAMAGED_SCHEME = re.compile(r"([A-Za-z]+(?:\+[a-z]+)?)(?::/|://+|//|/|:)(?=[^/:])", re.ASCII)


def _mend_scheme(url: str, schemes: Collection[str]) -> str:
    """Returns a URL with its scheme written right: http//host and htp://host are http://host. Others are unchanged."""
    found = _DAMAGED_SCHEME.match(url)
    close = get_close_matches(found[1].lower(), schemes, n=1, cutoff=0.8) if found is not None else []
    return f"{close[0]}://{url[found.end() :]}" if found is not None and close else url


def read_backend_url(url: str) -> str:
    """Returns the origin without a closing slash, or the word `demo`."""
    if url == "demo":
        return url
    return read_http_origin(url, "give an origin such as http://127.0.0.1:4566, or the word demo")


def read_http_origin(url: str, cure: str = "give an origin such as http://127.0.0.1:4566") -> str:
    """Returns the origin without a closing slash."""
    try:
        parts = urlsplit(url)
        port_is_usable = parts.port != 0
    except ValueError:
        raise invalid_value("is no URL", cure) from None
    # Not repeated in the message: what stands before the @ may be a password.
    if parts.username is not None or parts.password is not None:
        raise invalid_value("carries a user name or password", "leave them out: requests are forwarded as signed")
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_usable or not url.isprintable():
        mended = _mend_scheme(url, ("http", "https"))
        if mended != url and _BARE_HOST.fullmatch(mended.partition("://")[2].rstrip("/")):
            cure = f"write {mended.rstrip('/')}"
        elif _BARE_HOST.fullmatch(url):
            cure = f"write http://{url}"
        raise invalid_value(f"must be an http or https origin; it is {url!r}", cure)
    if parts.path not in ("", "/") or parts.query or parts.fragment or " " in url:
        origin = f"{parts.scheme}://{parts.netloc}".strip()
        raise invalid_value("has something after the host", f"write {origin}: paths are forwarded as they come")
    return f"{parts.scheme}://{parts.netloc}"


def read_origin(origin: str) -> str:
    """Accepts an origin of web pages as browsers send it in the Origin header, or `*`."""
    if origin == "*":
        return origin
    if origin == "null":
        raise invalid_value(
            "is null, the origin of every sandboxed page and every file",
            "serve the page by a web server and give its origin, or allow every origin with *",
        )
    cure = "give it as browsers send it, such as http://localhost:3000 or https://app.example.com"
    if "@" in origin:  # not repeated: what stands before it may be a password
        raise invalid_value("carries a user name or password", cure)
    found = _ORIGIN.fullmatch(origin)
    if found is None or not origin.isascii() or not origin.isprintable():
        if _BARE_HOST.fullmatch(origin):
            cure = f"write http://{origin.lower()}, or https:// where the page has it"
        raise invalid_value(f"must be an origin: a scheme, a host, and a port if there is one; it is {origin!r}", cure)
    scheme, host, port, rest = found.groups()
    if "*" in host:
        raise invalid_value(f"has a wildcard in {origin}", "list each origin, or allow every origin with *")
    if port is not None and not 0 < int(port[:6]) <= HIGHEST_PORT:
        raise invalid_value(f"has the port {port}; a port is a number from 1 to 65535", cure)
    usual = {"http": "80", "https": "443"}.get(scheme.lower())
    written = f"{scheme}://{host}".lower() + (f":{int(port)}" if port is not None and port != usual else "")
    if rest:
        raise invalid_value(f"has something after the host in {origin}", f"write {written}: browsers send no path")
    if written != origin:
        raise invalid_value(
            f"is {origin}, which no browser sends", f"write {written}: lower case, without the usual port"
        )
    return origin


def read_counters_url(url: str) -> str:
    """Accepts the word `memory`, or the URL of a Redis or Valkey: of one server, of its sentinels, or of a cluster."""
    if url == "memory":
        return url
    scheme = url.partition("://")[0]
    cure = _COUNTERS_CURES.get(scheme.rpartition("+")[2], _COUNTERS_CURE)
    # The URL is not repeated: it may hold a password.
    if "://" not in url or scheme not in SCHEMES:
        cure = f"write {meant}" if (meant := _guess_store(url)) else cure
        raise invalid_value(f"must be memory, or a URL that begins with {_SCHEMES_IN_WORDS}", cure)
    if "#" in url:
        raise invalid_value("has something after a #", "write a # in a password as %23")
    if scheme == "unix":
        place = urlsplit(url)
        if not place.path.strip("/"):
            raise invalid_value("names no socket", "write unix:///run/valkey.sock, with three slashes")
        if place.hostname:
            cure = f"write unix:///{url.removeprefix('unix://')}" if "@" not in url else "write three slashes"
            raise invalid_value("has a host before the path of its socket", cure)
        return url
    if not url.isprintable() or " " in url:
        raise invalid_value("has blanks or characters that cannot be seen", cure)
    try:
        store = split_store_url(url)
    except ValueError:
        raise invalid_value("names no host or has a port that is none", cure) from None
    if len(store.hosts) > 1 and store.kind == "server":
        raise invalid_value("names several hosts", "write redis+sentinel:// or redis+cluster:// for what they are")
    if store.kind == "sentinel" and not store.service:
        raise invalid_value("lacks the name of the primary, as its sentinels have it", cure)
    if store.database and not (store.database.isascii() and store.database.isdecimal()):
        raise invalid_value("has something after the host that is not the number of a database", cure)
    if store.kind == "cluster" and store.database.strip("0"):
        raise invalid_value("names a database, and a cluster has only 0", cure)
    return url


def _guess_store(url: str) -> str | None:
    """Returns the URL that was meant by an address or by another scheme. A URL with a password is not repeated."""
    if "@" in url or "#" in url or not url.isprintable():
        return None
    scheme, _, rest = _mend_scheme(url, (*SCHEMES, *_OTHER_SCHEMES)).rpartition("://")
    if scheme == "unix":
        return f"unix:///{rest}"
    if scheme in SCHEMES:
        return f"{scheme}://{rest}"
    if rest.startswith("/") and scheme in ("", "file") and rest.endswith(".sock"):
        return f"unix://{rest}"
    secure = _OTHER_SCHEMES.get(scheme.lower()) if scheme else "redis"
    return f"{secure}://{rest}" if secure and _BARE_HOST.fullmatch(rest.partition("/")[0]) else None


_OTHER_SCHEMES = {"valkey": "redis", "valkeys": "rediss", "tcp": "redis", "http": "redis", "https": "rediss"}
_COUNTERS_CURE = "write redis://127.0.0.1:6379/0, rediss://… for TLS, unix:///run/valkey.sock, or the word memory"
_COUNTERS_CURES = {
    "sentinel": "write redis+sentinel://sentinel1:26379,sentinel2:26379,sentinel3:26379/mymaster/0",
    "cluster": "write redis+cluster://node1:6379,node2:6379,node3:6379",
}
_SCHEMES_IN_WORDS = "redis://, rediss://, redis+sentinel://, redis+cluster:// or unix://"


_EVENT_SCHEMES = ("redis", "rediss", "redis+sentinel", "rediss+sentinel", "unix")


def read_event_store_url(url: str) -> str:
    """Accepts the URL of a SQLite file, by its absolute path, or of one Redis or Valkey, or of its sentinels."""
    cure = "write sqlite:///var/lib/invoke-gateway/queue.db, redis://127.0.0.1:6379/0 or unix:///run/valkey.sock"
    scheme, colon, rest = url.partition("://")
    if scheme == "sqlite" and colon:
        try:
            path = find_file_path(url)
        except ValueError as error:
            raise invalid_value(f"names no file: {error}", cure) from None
        if not path.startswith("/") or path.endswith("/") or not rest.isprintable():
            if rest.isprintable() and not rest.startswith("/") and not rest.endswith("/"):
                cure = f"write sqlite:///{rest} if the file is /{rest}"
            raise invalid_value("does not name a file by its absolute path", cure)
        return url
    if scheme not in _EVENT_SCHEMES or not colon:
        if url.startswith("/") and url.isprintable() and not url.endswith("/"):
            cure = f"write unix://{url}" if url.endswith(".sock") else f"write sqlite://{url}"
        elif (mended := _mend_scheme(url, ("sqlite",))) != url and url.isprintable():
            cure = f"write sqlite:///{mended.partition('://')[2]}"
        elif (meant := _guess_store(url)) is not None:
            cure = f"write {meant}"
        raise invalid_value("must begin with sqlite:///, redis://, rediss://, redis+sentinel:// or unix://", cure)
    return read_counters_url(url)


def read_control_store_url(url: str) -> str:
    """Accepts the URL of a file, by its absolute path, for what Lambda's concurrency operations have set."""
    cure = "write file:///var/lib/invoke-gateway/control.json"
    if not url.startswith("file:///"):
        if url.startswith("/") and url.isprintable():
            cure = f"write file://{url}"
        raise invalid_value("must begin with file:///", cure)
    path = url.removeprefix("file://")
    if path.endswith("/") or not path.isprintable() or any(mark in path for mark in "?#"):
        raise invalid_value("does not name a file by its absolute path", cure)
    return url


def read_target_url(url: str) -> str:
    """Accepts the URL of a target that receives the outcome of asynchronous invocations."""
    try:
        parse_destination_url(url)
    except BadDestinationUrl as bad:
        raise invalid_value(str(bad), bad.cure) from None
    return url
