"""Chooses the next event: the order of functions, the times they become due, the slots they may use."""
