"""Loads Lua scripts from a package's folder `scripts`. Each source is `prelude.lua`, then the script's own file."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files


class Script:
    """Holds one script: its `source`, and the SHA-1 by which the store finds it after `SCRIPT LOAD`."""

    def __init__(self, package: str, name: str) -> None:
        folder = files(package) / "scripts"
        self.name = name
        self.source = "".join((folder / f"{part}.lua").read_text("utf-8") for part in ("prelude", name))
        self.sha = sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def __repr__(self) -> str:
        return f"<Script {self.name} {self.sha[:8]}>"
