"""Freed memory is used again without a page fault, unless the user has set the allocator."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from invoke_gateway.server.allocator import keep_freed_memory

# Memory of a few bodies is taken and freed, again and again: the faults of 50 rounds.
COUNTS_FAULTS = """
import resource, sys
from invoke_gateway.server.allocator import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        bodies = [bytearray(300_000) for _ in range(8)]
        del bodies
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
usual = faults()
kept = keep_freed_memory()
faults()
print(usual, kept, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="this C library is not glibc")
def test_freed_memory_is_used_again() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", COUNTS_FAULTS]
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True).stdout
    usual, kept, after = printed.split()
    assert kept == "True"
    assert int(after) < int(usual) / 10


@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"])
def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "1000000")
    assert not keep_freed_memory()
