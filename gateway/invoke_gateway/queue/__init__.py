"""Asynchronous invocations: kept on disk or on Redis, run when there is a slot, retried, and delivered when they end.

event       what is kept of one, and the bytes of it
base        what a store of events promises
sqlite      one gateway's events in a file: `sqlite_file` (who owns it, is it sound), `sqlite_place` (is it still at
            its path), `sqlite_clock`, `sqlite_journal` (what is still to be written), `sqlite_writer`, `sqlite_reader`,
            `sqlite_claims` (in memory), `schema.sql`, `queries.sql`, `statements`
streams     many gateways' events on a Redis or Valkey: new ones (stream_puts), those that are there (stream_work,
            stream_claims), who lives and what is new (stream_presence); how it is said (stream_line, stream_link,
            stream_script, scripts/*.lua; scripts/prelude.lua has the layout)
lanes       who is next: fair between functions, and between a backlog and those who wait for an answer
clock       the clock of events' times, which never steps
origin      for which backend events were accepted; those of another are held, until `adoption` adopts or drops them
dispatcher  takes events from the store, runs them, and writes down what became of them
"""
