"""Finds the folder for what a gateway keeps between two runs."""

from __future__ import annotations

import os
from pathlib import Path


class NoStateFolder(Exception):
    """Reports that the environment names no folder."""


def find_state_folder() -> Path:
    """Returns the gateway's folder below $XDG_STATE_HOME or ~/.local/state. It need not exist. Raises
    `NoStateFolder`."""
    given = os.environ.get("XDG_STATE_HOME", "")
    if given.startswith("/"):
        return Path(given) / "invoke-gateway"
    try:
        return Path.home() / ".local" / "state" / "invoke-gateway"
    except RuntimeError:
        raise NoStateFolder("There is no home folder") from None
