"""The Lua scripts as the store gets them: each file with the prelude before it (scripts/prelude.lua names the keys)."""

from __future__ import annotations

from hashlib import sha1
from importlib.resources import files

_FOLDER = files(__package__) / "scripts"


class Script:
    """One script: its `source` and the SHA-1 by which the store knows it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.source = "".join((_FOLDER / f"{part}.lua").read_text("utf-8") for part in ("prelude", name))
        self.sha = sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def __repr__(self) -> str:
        return f"<Script {self.name} {self.sha[:8]}>"


PUT = Script("put")
FETCH = Script("fetch")
TAKE = Script("take")
SETTLE = Script("settle")
RENEW = Script("renew")
LEAVE = Script("leave")
WAITING = Script("waiting")
SEARCH = Script("search")
READ = Script("read")
OLDEST = Script("oldest")

ALL = (PUT, FETCH, TAKE, SETTLE, RENEW, LEAVE, WAITING, SEARCH, READ, OLDEST)
