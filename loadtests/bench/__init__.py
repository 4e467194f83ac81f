"""What a request costs: the gateway beside other proxies, ten thousand calls at once, a million functions."""
