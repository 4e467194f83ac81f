"""Keeps asynchronous invocations until they have run, retries them, and delivers their outcomes.

event         an asynchronous invocation, and its bytes base          the protocol of an event store sqlite/       one
gateway's events in a file redis/        many gateways' events on a Redis or Valkey lanes         one queue a function,
and the round-robin between them clock         the clock of events' times, which never steps origin        the backend
for which events were accepted; `adoption` runs or drops those of another dispatcher    accepts events, runs them when a
slot is free, and records their outcomes
"""
