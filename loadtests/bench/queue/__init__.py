"""Asynchronous invocations: what it costs to accept an event durably, and how soon a backlog is run.

disk      what the folder's disk can do: bare fsyncs a second, flushes that it was asked for
client    sends an exact number of events; a process of its own
sending   events and calls from outside: a flood for some seconds, an exact number, one call after the other
subjects  who accepts events: the gateway, MiniStack, serverless-offline
library   huey on SQLite, the baseline without HTTP; `tasks` is its process
accept    rounds of floods; events accepted a second, CPU of each
drain     a backlog run, beside the same calls made synchronously
kept      accepted, killed, started again: who still has the events
backlog   a million events: memory, time, and the calls that somebody waits for meanwhile
tables    all of it as tables and lines
"""
