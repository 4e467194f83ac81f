"""Renders metrics as the text of Prometheus, in pieces.

prometheus-client renders all metrics in one go, with an object per sample. With ten thousand labelled functions that
stopped the event loop for seconds (loadtests/results/scrape.md). Here the rows of a family are read only while they are
rendered, and requests run between two pieces. All lines of one row are rendered together, so a histogram is consistent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Literal, NamedTuple

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder

from ..policy.os_text import printable
from .totals import Histogram

PREFIX = "invoke_gateway_"
"""Begins the name of every metric of the gateway."""

# Rendered in about half a millisecond, and sent with few system calls.
PIECE_CHARACTERS = 65_536

Row = tuple[Sequence[str], float | Histogram]
"""The values of the labels, and the number or histogram."""


class Family(NamedTuple):
    """Describes one metric.

    name: without the `_total` of a counter
    help: without quotes, backslashes and line ends
    labels: in alphabetical order
    rows: can be read once
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    rows: Iterable[Row]


def counter(name: str, documentation: str, labels: tuple[str, ...], rows: Iterable[Row]) -> Family:
    return Family(PREFIX + name, "counter", documentation, labels, rows)


def gauge(name: str, documentation: str, labels: tuple[str, ...], rows: Iterable[Row]) -> Family:
    return Family(PREFIX + name, "gauge", documentation, labels, rows)


def histogram(name: str, documentation: str, labels: tuple[str, ...], rows: Iterable[Row]) -> Family:
    return Family(PREFIX + name, "histogram", documentation, labels, rows)


def choose_format(accept: str) -> tuple[bool, str]:
    """Returns whether an `Accept` header prefers OpenMetrics, and the content type of the response."""
    try:
        _, content_type = choose_encoder(accept)
    except TypeError:  # the requested version is no number
        content_type = CONTENT_TYPE_PLAIN_0_0_4
    return content_type.startswith("application/openmetrics-text"), content_type


def render(families: Iterable[Family], *, is_openmetrics: bool) -> Iterator[bytes]:
    """Yields the text in pieces of about 64 KiB, each rendered when it is read."""
    texts: list[str] = []
    size = 0
    for text in chain.from_iterable(_render_family(family, is_openmetrics) for family in families):
        texts.append(text)
        size += len(text)
        if size >= PIECE_CHARACTERS:
            yield "".join(texts).encode()
            texts.clear()
            size = 0
    if is_openmetrics:
        texts.append("# EOF\n")
    yield "".join(texts).encode()


def _render_family(family: Family, is_openmetrics: bool) -> Iterator[str]:
    """Yields the head, then one text for each row."""
    total = family.name + "_total" if family.kind == "counter" else family.name
    named = family.name if is_openmetrics else total
    yield f"# HELP {named} {family.help}\n# TYPE {named} {family.kind}\n"
    label = _labeller(family.labels)
    template = ""
    for values, value in family.rows:
        labels = label(values)
        if isinstance(value, Histogram):
            template = template or _make_template(family.name, value.bounds)
            yield _fill(template, labels, value)
        elif labels:
            yield f"{total}{{{labels}}} {value}\n"
        else:
            yield f"{total} {value}\n"


def _labeller(names: tuple[str, ...]) -> Callable[[Sequence[str]], str]:
    template = ",".join(f'{name}="%s"' for name in names)
    return lambda values: template % tuple(map(_escape, values))


def _escape(value: str) -> str:
    if not value.isascii():
        value = printable(value)
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")


def _make_template(name: str, bounds: tuple[float, ...]) -> str:
    """Makes the lines of a histogram, to be filled in by one `%`: sixteen single ones take five times as long."""
    buckets = "".join(f'{name}_bucket{{%sle="{bound}"}} %d\n' for bound in (*bounds, "+Inf"))
    return f"{buckets}{name}_count%s %d\n{name}_sum%s %r\n"


def _fill(template: str, labels: str, histogram: Histogram) -> str:
    before = labels and labels + ","
    after = labels and f"{{{labels}}}"
    filled: list[object] = []
    count = 0
    for count in accumulate(histogram.counts):
        filled += (before, count)
    return template % (*filled, after, count, after, histogram.sum)
