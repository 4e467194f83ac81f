"""A deterministic simulation of gateways that share one store.

The clock is virtual, and one seed decides everything that happens. Real are the tally of each gateway
(counters/tally.py), the policy (policy/) and the store's scripts, run by Lua 5.1 as in Redis. Modelled
are the commands that the scripts use (`store`), the connections (`network`), what drives a tally (`gateway`, after
counters/shard.py and lease.py) and what goes wrong (`faults`). The truth, which calls run where, is kept by
`ledger`, which knows nothing of the gateways' own counts; `rules` holds everything against it after every step.
"""
