"""The text that Prometheus reads, made in pieces.

prometheus-client makes it in one go, by way of an object per sample: with ten thousand labelled functions the event
loop, and with it every request, stood still for seconds (loadtests/results/scrape.md). Here a family's rows are read
only as their text is made, and whoever sends a piece lets others run before the next. All lines of one row are made
together, so that a histogram agrees with itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate, chain
from typing import Literal, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, choose_encoder

from ..policy.os_text import printable
from .totals import Histogram

# Made in about half a millisecond, and sent with few system calls.
PIECE_CHARACTERS = 65_536

Row = tuple[Sequence[str], float | Histogram]
"""The values of the labels, and what there is to say of them."""


class Family(NamedTuple):
    """One metric. `name` is without the `_total` of a counter; `help` is without quotes, backslashes and line ends;
    `labels` are in alphabetical order; `rows` can be read once."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    rows: Iterable[Row]


def choose_format(accept: str) -> tuple[bool, str]:
    """Whether an `Accept` asks for OpenMetrics, and the content type of the answer."""
    try:
        _, content_type = choose_encoder(accept)
    except TypeError:  # the version that it asks for is no number
        content_type = CONTENT_TYPE_PLAIN_0_0_4
    return content_type.startswith("application/openmetrics-text"), content_type


def render(families: Iterable[Family], *, is_openmetrics: bool) -> Iterator[bytes]:
    """The text in pieces of about 64 KiB, each made when it is asked for."""
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
    """The head, then one text for each row."""
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
    """A histogram's lines, filled in by one `%`: sixteen formatted one by one take five times as long."""
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


def as_metric(family: Family) -> Metric:
    """The same for prometheus-client, all of it at once."""
    labels = list(family.labels)
    if family.kind == "histogram":
        histograms = HistogramMetricFamily(family.name, family.help, labels=labels)
        for values, value in family.rows:
            assert isinstance(value, Histogram)
            bounds = [*map(repr, value.bounds), "+Inf"]
            counts: list[float] = list(accumulate(value.counts))
            histograms.add_metric(values, list(zip(bounds, counts, strict=True)), value.sum)
        return histograms
    kind = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    numbers = kind(family.name, family.help, labels=labels)
    for values, value in family.rows:
        assert not isinstance(value, Histogram)
        numbers.add_metric(values, value)
    return numbers
