"""The text of the metrics, beside what prometheus-client makes of the same families and reads from the text."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import accumulate
from typing import Any

import pytest
from prometheus_client import parser
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as openmetrics_exposition
from prometheus_client.openmetrics import parser as openmetrics_parser

from invoke_gateway.app.gateway import Gateway
from invoke_gateway.settings import Settings
from invoke_gateway.telemetry.exposition import PIECE_CHARACTERS, Family, Row, choose_format, render
from invoke_gateway.telemetry.totals import Histogram

ODD = 'a "quoted" \\name\\n\nof two lines, 100 % {odd} ü'
FORMATS = pytest.mark.parametrize("is_openmetrics", [False, True], ids=["text", "openmetrics"])


def seconds(*observed: float) -> Histogram:
    histogram = Histogram((0.000_005, 0.25, 1.0, 900.0))
    for value in observed:
        histogram.observe(value)
    return histogram


def families() -> list[Family]:
    """One of every kind, with and without labels and rows."""
    key = ("000000000000", ODD)
    return [
        Family("calls", "counter", "Calls, 100 % of them.", ("account", "function"), [(key, 3), (("1", "x"), 10**12)]),
        Family("refused", "counter", "None yet.", ("reason",), []),
        Family("passed", "counter", "One without labels.", (), [((), 1)]),
        Family("level", "gauge", "A level.", ("state",), [(("busy",), -2), (("idle",), 0.1 + 0.2)]),
        Family("held_bytes", "gauge", "Bytes.", (), [((), 12345678)]),
        Family("took_seconds", "histogram", "Seconds.", ("account", "function"), [(key, seconds(0.1, 0.25, 5, 1000))]),
        Family("waited_seconds", "histogram", "Seconds.", (), [((), seconds())]),
    ]


class Registry:
    """What prometheus-client's encoders collect from."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> list[Metric]:
        return self._metrics


def as_metric(family: Family) -> Metric:
    """The same metric for prometheus-client."""
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


def text_of(given: Iterable[Family], is_openmetrics: bool) -> str:
    return b"".join(render(given, is_openmetrics=is_openmetrics)).decode()


def theirs(metrics: Iterable[Metric], is_openmetrics: bool) -> str:
    encode: Callable[[Any], bytes] = openmetrics_exposition.generate_latest if is_openmetrics else generate_latest
    return encode(Registry(metrics)).decode()


def read(text: str, is_openmetrics: bool) -> list[Metric]:
    module = openmetrics_parser if is_openmetrics else parser
    return list(module.text_string_to_metric_families(text))


@FORMATS
def test_prometheus_client_reads_from_it_what_it_would_have_written(is_openmetrics: bool) -> None:
    """Names, types, help texts, labels, values and their order."""
    ours = text_of(families(), is_openmetrics)
    assert read(ours, is_openmetrics) == read(theirs(map(as_metric, families()), is_openmetrics), is_openmetrics)


@FORMATS
def test_the_gateways_own_metrics_read_the_same_too(is_openmetrics: bool) -> None:
    functions: dict[str, Any] = {"fails": {"reserved_concurrent_executions": 2}, "beyond": {}}
    settings = Settings.model_validate({"accounts": {"default": {"functions": functions}}, "metric_functions": 1})
    gateway = Gateway(settings, backend_url="http://127.0.0.1:9")
    counts = gateway.totals.of("000000000000", "fails")
    counts.invocations, counts.errors, counts.retries, counts.throttles = 5, 4, 3, {"Why": 2}
    counts.duration.observe(0.3)
    gateway.totals.refusals["ServiceException"] = 1
    ours = read(text_of(gateway.admin.metrics.families(), is_openmetrics), is_openmetrics)
    assert ours == read(theirs(map(as_metric, gateway.admin.metrics.families()), is_openmetrics), is_openmetrics)
    assert [metric.name for metric in ours] == [family.name for family in gateway.admin.metrics.families()]


def test_only_openmetrics_has_an_end() -> None:
    assert text_of(families(), True).endswith("\n# EOF\n")
    assert "# EOF" not in text_of(families(), False)


def test_pieces_are_bounded_and_rows_are_read_only_as_their_text_is_made() -> None:
    """Between two pieces there is time for requests, however many rows there are."""
    rows_read = 0

    def rows() -> Iterator[Row]:
        nonlocal rows_read
        for number in range(10_000):
            rows_read += 1
            yield (str(number),), seconds(0.1)

    pieces = render([Family("took_seconds", "histogram", "Seconds.", ("function",), rows())], is_openmetrics=False)
    assert PIECE_CHARACTERS <= len(next(pieces)) < PIECE_CHARACTERS + 1000
    assert 0 < rows_read < 500
    assert max(map(len, pieces)) < PIECE_CHARACTERS + 1000
    assert rows_read == 10_000


@pytest.mark.parametrize(
    ("accept", "is_openmetrics"),
    [
        ("", False),
        ("*/*", False),
        ("text/html", False),
        ("text/plain;version=0.0.4", False),
        ("application/openmetrics-text", True),
        ("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.3,*/*;q=0.2", True),
        ("application/openmetrics-text; version=0.0.1, text/plain", False),
        ("application/openmetrics-text; version=new", False),
    ],
)
def test_the_format_is_the_one_asked_for_and_text_otherwise(accept: str, is_openmetrics: bool) -> None:
    chosen, content_type = choose_format(accept)
    assert chosen is is_openmetrics
    assert content_type.startswith(
        "application/openmetrics-text; version=1." if chosen else "text/plain; version=0.0.4"
    )
