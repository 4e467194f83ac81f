"""Names the Lua scripts of the counters, and the keys that they use (scripts/prelude.lua has the layout)."""

from __future__ import annotations

from ...store.script import Script

TAKE = Script(__package__, "take")
REGISTER = Script(__package__, "register")
RENEW = Script(__package__, "renew")
FORGET = Script(__package__, "forget")
PUBLISH = Script(__package__, "publish")
HOLDERS = Script(__package__, "holders")

ALL = (TAKE, REGISTER, RENEW, FORGET, PUBLISH, HOLDERS)


def base_key(account: str) -> str:
    """Returns the beginning of all keys of an account; the braces put them on one node of a cluster."""
    return f"invoke-gateway:{{{account}}}"
