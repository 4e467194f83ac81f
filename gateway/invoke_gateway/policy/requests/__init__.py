"""Reads what a request names: its caller, its function, its origin and its parameters."""
