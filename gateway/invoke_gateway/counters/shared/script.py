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


TAKE = Script("take")
REGISTER = Script("register")
RENEW = Script("renew")
FORGET = Script("forget")
PUBLISH = Script("publish")
HOLDERS = Script("holders")

ALL = (TAKE, REGISTER, RENEW, FORGET, PUBLISH, HOLDERS)


def base_key(account: str) -> str:
    """What all keys of an account begin with; the braces put them on one shard of a cluster."""
    return f"invoke-gateway:{{{account}}}"
