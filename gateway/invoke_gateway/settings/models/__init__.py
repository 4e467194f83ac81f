"""Defines every key: its type, its unit, its bounds and its default."""
