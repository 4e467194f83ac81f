"""Writes the log and the access log: their lines, their files, and the turns of processes."""
