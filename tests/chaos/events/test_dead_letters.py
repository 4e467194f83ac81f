"""Tests how dead letters are read."""

from __future__ import annotations

import json
from pathlib import Path

from invoke_gateway.chaos.events.dead_letters import DeadLetterFile


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_lines_are_read_with_the_time_of_their_writing_and_torn_ones_apart(tmp_path: Path) -> None:
    path, clock = tmp_path / "letters.jsonl", Clock()
    letters = DeadLetterFile(path, clock)
    for number in range(2):
        clock.now += 1
        with path.open("a") as file:
            file.write(json.dumps({"body": json.dumps({"id": f"event-1-{number}-end"})}) + "\n")
        letters.poll()
    with path.open("a") as file:
        file.write('{"body": "event-1-2-e')
    letters.poll()
    found, torn = letters.read()
    assert [(letter.id, letter.after, letter.before) for letter in found] == [
        ("event-1-0-end", 100, 101),
        ("event-1-1-end", 101, 102),
    ]
    assert torn == ['{"body": "event-1-2-e']
