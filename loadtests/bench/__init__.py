"""Measures the cost of a request: the gateway beside other proxies, ten thousand calls at once, a million functions."""
