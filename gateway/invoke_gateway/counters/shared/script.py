"""Names the Lua scripts of the counters, and the keys that they use (scripts/prelude.lua has the layout)."""

from __future__ import annotations

from functools import lru_cache

from ...store.resp import encode_commands
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


def encode_call(script: Script, account: str, argument: bytes) -> bytes:
    """Returns the command that runs a script for an account, as it is sent."""
    return b"%b$%d\r\n%b\r\n" % (_encode_head(script.sha, account), len(argument), argument)


@lru_cache(1024)
def _encode_head(sha: str, account: str) -> bytes:
    """Returns all of the command but its argument."""
    return encode_commands([("EVALSHA", sha, 1, base_key(account), b"")]).removesuffix(b"$0\r\n\r\n")
