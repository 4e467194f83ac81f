"""Decides what becomes of an asynchronous invocation: its retries, its end, its destinations."""
