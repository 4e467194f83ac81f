"""Implements the function that the real backends run, by its event. Standard library only."""

import os
import time
import uuid
from pathlib import Path
from typing import Any

LONGEST_WAIT_SECONDS = 120


def handle(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """Runs as the event requires.

    `tally`: leaves a file per run in this folder. `wait_for`: ends when this file exists. `fail`: raises. `exit`: ends
    the runtime with this status. `give`: returns this.
    """
    if folder := event.get("tally"):
        Path(folder, uuid.uuid4().hex).touch()
    if path := event.get("wait_for"):
        deadline = time.monotonic() + LONGEST_WAIT_SECONDS
        while not Path(path).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
    if text := event.get("fail"):
        raise RuntimeError(text)
    if (status := event.get("exit")) is not None:
        os._exit(status)
    if "give" in event:
        given: dict[str, Any] = event["give"]
        return given
    return {"function": context.function_name, "padding": len(event.get("padding", ""))}
