"""Reads how many slots of an account callers use that do not pass the gateway."""
