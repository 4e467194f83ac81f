"""Names a store: the same for all gateways on one store, and another one for each store."""

from __future__ import annotations

from socket import gethostname
from urllib.parse import parse_qs

from ..policy.os_text import printable
from ..policy.store_url import Host, split_hosts_url, split_store_url

_LOOPBACK = ("localhost", "127.", "::1")


def name_store(url: str) -> str:
    """The URL of a store without user name and password, with port and database also where they are left to their
    defaults, and its hosts in alphabetical order. `on` and the machine's name follow where every machine has a store of
    its own by this address: behind a Unix socket, and on loopback."""
    parts, store = split_hosts_url(url), split_store_url(url)
    given = parse_qs(parts.query).get("db", [""])[0]
    if parts.scheme == "unix":
        return printable(f"unix://{parts.path}?db={given or 0} on {gethostname()}")
    service = f"{store.service}/" if store.service else ""
    where = f" on {printable(gethostname())}" if store.hosts[0][0].startswith(_LOOPBACK) else ""
    hosts = ",".join(_write(host) for host in sorted(store.hosts))
    return f"{parts.scheme}://{hosts}/{service}{given or store.database or 0}{where}"


def _write(host: Host) -> str:
    name, port = host
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"
