"""Writes the dashboards: `python -m grafana.build`, or `make dashboards`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from .function import make_function
from .overview import make_overview
from .process import make_gateway
from .queue import make_queue

FOLDER = Path(__file__).parent / "dashboards"

DASHBOARDS: dict[str, Callable[[], Dashboard]] = {
    "overview.json": make_overview,
    "function.json": make_function,
    "gateway.json": make_gateway,
    "queue.json": make_queue,
}


def render(name: str) -> str:
    """Renders the text of a dashboard's file."""
    return JSONEncoder(sort_keys=True, indent=2).encode(DASHBOARDS[name]().build()) + "\n"


if __name__ == "__main__":
    for name in DASHBOARDS:
        (FOLDER / name).write_text(render(name))
