"""Serves Lambda's concurrency operations: what they set is kept in a store, and is in force at once."""
