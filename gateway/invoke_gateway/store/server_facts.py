"""Reads a server's reply to INFO."""

from __future__ import annotations

from typing import NamedTuple

_OLDEST = (6, 2)


class ServerFacts(NamedTuple):
    """Describes a server.

    run_id: identifies the server process; a restart or a failover changes it.
    primary: address of the primary where this server is a replica, else None.
    is_too_old: older than Redis 6.2.
    may_evict: `maxmemory-policy` permits the loss of keys once `maxmemory`, if any, is reached.
    """

    run_id: str
    version: str
    is_too_old: bool
    primary: str | None
    is_cluster_node: bool
    eviction_policy: str
    may_evict: bool
    has_memory_limit: bool
    has_append_only_file: bool


def read_info(info: bytes) -> ServerFacts:
    facts = dict(line.split(":", 1) for line in info.decode(errors="replace").splitlines() if ":" in line)
    version = facts.get("redis_version", "")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    policy = facts.get("maxmemory_policy", "noeviction")
    is_replica = facts.get("role", "master") != "master"
    return ServerFacts(
        run_id=facts.get("run_id", ""),
        version=version,
        is_too_old=bool(numbers) and numbers < _OLDEST,
        primary=f"{facts.get('master_host')}:{facts.get('master_port')}" if is_replica else None,
        is_cluster_node=facts.get("cluster_enabled", "0").strip() != "0",
        eviction_policy=policy,
        may_evict=policy != "noeviction",
        has_memory_limit=facts.get("maxmemory", "0") != "0",
        has_append_only_file=facts.get("aof_enabled", "0") != "0",
    )
