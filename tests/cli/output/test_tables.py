"""What the tables of all commands share."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

from invoke_gateway.cli.output import tables
from invoke_gateway.cli.output.tables import format_seconds, show_live


def test_a_live_table_is_fetched_every_second_until_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[dict[str, Any]] = []
    waits: list[float] = []

    def fetch() -> dict[str, Any]:
        fetched.append({"events": len(fetched)})
        return fetched[-1]

    def wait(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(tables.time, "sleep", wait)
    console = Console(force_terminal=True, width=160)
    with console.capture() as captured:
        show_live(console, fetch, lambda document: Text(f"{document['events']} events"))
    assert len(fetched) == 3
    assert waits == [1.0, 1.0, 1.0]
    assert "2 events" in captured.get()


@pytest.mark.parametrize(
    ("seconds", "said"), [(None, ""), (0.04, "0.0 s"), (59.9, "59.9 s"), (61.0, "1 min 01 s"), (7322.0, "2 h 02 min")]
)
def test_seconds_are_said_as_people_say_them(seconds: float | None, said: str) -> None:
    assert format_seconds(seconds) == said
