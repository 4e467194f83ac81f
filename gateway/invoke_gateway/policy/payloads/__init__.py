"""Checks the bodies of requests and responses: their size, their JSON, their coding."""
