"""Reads the statements of queries.sql, by name."""

from __future__ import annotations

import re
from importlib.resources import files

_FOLDER = files(__package__)

SCHEMA = (_FOLDER / "schema.sql").read_text("utf-8")


def _parse(text: str) -> dict[str, str]:
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    bare = (re.sub(r"^--.*\n", "", part, flags=re.MULTILINE).strip() for part in parts[1::2])
    return dict(zip(parts[::2], bare, strict=True))


STATEMENTS = _parse((_FOLDER / "queries.sql").read_text("utf-8"))
