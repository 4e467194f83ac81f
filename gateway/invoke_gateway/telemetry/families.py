"""Makes families of metrics, with the prefix of the gateway's names."""

from __future__ import annotations

from collections.abc import Iterable

from .exposition import Family, Row

PREFIX = "invoke_gateway_"


def counter(name: str, documentation: str, labels: tuple[str, ...], rows: Iterable[Row]) -> Family:
    return Family(PREFIX + name, "counter", documentation, labels, rows)


def gauge(name: str, documentation: str, labels: tuple[str, ...], rows: Iterable[Row]) -> Family:
    return Family(PREFIX + name, "gauge", documentation, labels, rows)


def histogram(name: str, documentation: str, labels: tuple[str, ...], rows: Iterable[Row]) -> Family:
    return Family(PREFIX + name, "histogram", documentation, labels, rows)
