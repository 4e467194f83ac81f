"""Prints tables, and the mistakes in the settings."""
