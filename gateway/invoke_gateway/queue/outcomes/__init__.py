"""Stores and delivers what follows from the end of a run: a retry, an outcome, a row of the history."""
