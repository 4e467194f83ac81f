"""Names the Lua scripts of the event store (scripts/prelude.lua has the keys)."""

from __future__ import annotations

from ...store.script import Script

ENQUEUE = Script(__package__, "enqueue")
CLAIM_DUE = Script(__package__, "claim_due")
CLAIM_ONE = Script(__package__, "claim_one")
SETTLE = Script(__package__, "settle")
RENEW = Script(__package__, "renew")
LEAVE = Script(__package__, "leave")
BACKLOG = Script(__package__, "backlog")
SEARCH = Script(__package__, "search")
READ = Script(__package__, "read")
OLDEST = Script(__package__, "oldest")

ALL = (ENQUEUE, CLAIM_DUE, CLAIM_ONE, SETTLE, RENEW, LEAVE, BACKLOG, SEARCH, READ, OLDEST)
