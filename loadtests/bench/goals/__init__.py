"""Measures what the goals are about, judges each figure, and keeps the figures of each commit."""
