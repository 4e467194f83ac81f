"""Names the Lua scripts of the event store (scripts/prelude.lua has the keys)."""

from __future__ import annotations

from ...store.script import Script

PUT = Script(__package__, "put")
FETCH = Script(__package__, "fetch")
TAKE = Script(__package__, "take")
SETTLE = Script(__package__, "settle")
RENEW = Script(__package__, "renew")
LEAVE = Script(__package__, "leave")
WAITING = Script(__package__, "waiting")
SEARCH = Script(__package__, "search")
READ = Script(__package__, "read")
OLDEST = Script(__package__, "oldest")

ALL = (PUT, FETCH, TAKE, SETTLE, RENEW, LEAVE, WAITING, SEARCH, READ, OLDEST)
