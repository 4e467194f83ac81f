"""Judges asynchronous invocations: each must run at least once, none may be lost (`prove --events`)."""
