"""Loads Lua scripts from a package's folder `scripts`. Each source is `prelude.lua`, then the script's own file.

A line `-- include: NAME` in a file is replaced by the file of that name, unless an earlier line was.
"""

from __future__ import annotations

import re
from hashlib import sha1
from importlib.resources import files
from importlib.resources.abc import Traversable

_INCLUDE = re.compile(r"^ *-- include: (\w+)$", re.MULTILINE)


class Script:
    """Holds one script: its `source`, and the SHA-1 by which the store finds it after `SCRIPT LOAD`."""

    def __init__(self, package: str, name: str) -> None:
        folder = files(package) / "scripts"
        self.name = name
        self.source = _read(folder, ["prelude", name])
        self.sha = sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def __repr__(self) -> str:
        return f"<Script {self.name} {self.sha[:8]}>"


def _read(folder: Traversable, names: list[str]) -> str:
    included: set[str] = set()

    def include(found: re.Match[str]) -> str:
        return read(found[1])

    def read(name: str) -> str:
        if name in included:
            return ""
        included.add(name)
        return _INCLUDE.sub(include, (folder / f"{name}.lua").read_text("utf-8"))

    return "".join(read(name) for name in names)
