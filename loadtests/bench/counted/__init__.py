"""Counts the work of one call: bytecode instructions, function calls and system calls. Nothing is timed."""
