"""Holds the bounds of a client connection."""

from __future__ import annotations

from typing import NamedTuple


class ListenerLimits(NamedTuple):
    max_connections: int = 16_384
    max_header_bytes: int = 65_536
    max_headers: int = 128
    read_timeout_seconds: float = 60
