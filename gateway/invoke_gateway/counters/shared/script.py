"""Names the Lua scripts of the counters, and the keys that they use (scripts/prelude.lua has the layout)."""

from __future__ import annotations

from ...store.script import Script

TAKE = Script(__package__, "take")
REGISTER = Script(__package__, "register")
RENEW = Script(__package__, "renew")
FORGET = Script(__package__, "forget")
PUBLISH = Script(__package__, "publish")
HOLDERS = Script(__package__, "holders")
CONTROL = Script(__package__, "control")

ALL = (TAKE, REGISTER, RENEW, FORGET, PUBLISH, HOLDERS, CONTROL)


def control_key(account: str) -> str:
    """Returns the key of what control operations have set for an account."""
    return f"{base_key(account)}:control"


def base_key(account: str) -> str:
    """Returns the beginning of all keys of an account; the braces put them on one node of a cluster."""
    return f"invoke-gateway:{{{account}}}"
