"""What a real Prometheus, scraping gateways under load, says to every expression."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.processes import wait_until

from .expressions import DASHBOARDS, Expression, in_dashboard, in_monitoring, in_rules
from .load import ACCOUNT, under_load
from .prometheus import Prometheus, prometheus

# Samples of each gateway before anything is asked: rates need some, and recordings of recordings more.
SCRAPES = 12

# As Grafana would set them with a scrape interval of a second, over the last minute and for all gateways.
VARIABLES = {"job": "invoke-gateway", "instance": ".*", "__rate_interval": "4s", "__range": "60s"}
# One function with a reservation, and one without.
CHOSEN = {
    "overview.json": ({"account": ".*"}, {"account": ACCOUNT}),
    "function.json": ({"account": ACCOUNT, "function": "sleep"}, {"account": ACCOUNT, "function": "echo"}),
    "gateway.json": ({},),
    "queue.json": ({"account": ".*"}, {"account": ACCOUNT}),
}


class Answer(NamedTuple):
    """How many series, or values of a label, an expression returned, and Prometheus' words if it was no expression."""

    expression: Expression
    series: int
    error: str = ""


@contextmanager
def watched(folder: Path) -> Iterator[Prometheus]:
    """A Prometheus that has scraped gateways under load, and still does."""
    with under_load(folder) as load, prometheus(folder, load.targets) as server:
        load.until_all_is_refused()
        samples = f'min(count_over_time(up{{job="invoke-gateway"}}[10m])) >= {SCRAPES}'
        wait_until(lambda: server.ask("query", query=samples)["result"], "scrapes", timeout=60)
        yield server


def list_expressions() -> list[Expression]:
    dashboards = [
        expression
        for path in DASHBOARDS
        for chosen in CHOSEN[path.name]
        for expression in in_dashboard(path, {**VARIABLES, **chosen})
    ]
    return list(dict.fromkeys([*dashboards, *in_rules(), *in_monitoring()]))


def ask(server: Prometheus, expression: Expression) -> Answer:
    try:
        return Answer(expression, len(server.run(expression)))
    except AssertionError as error:
        return Answer(expression, 0, str(error))


def summarize(answers: list[Answer]) -> str:
    with_data = sum(answer.series > 0 for answer in answers)
    return f"{len(answers)} expressions run against Prometheus, {with_data} returned data"
