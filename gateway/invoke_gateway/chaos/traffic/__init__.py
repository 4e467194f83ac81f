"""Sends calls to the gateway under test: before, during and after the faults."""
