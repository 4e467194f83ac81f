"""Keeps asynchronous invocations until they have run, retries them, and delivers their outcomes.

`base` has the protocol of an event store: `sqlite/` keeps the events of one gateway, `redis/` those of many.
`dispatcher` runs events: `scheduling/` chooses them, `outcomes/` stores and delivers what follows.
"""
