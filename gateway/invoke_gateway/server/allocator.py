"""Sets how the C library's allocator returns memory to the system.

At first glibc returns each freed block from 128 KiB on. A body then costs a page fault for every 4 KiB of each of its
copies. glibc raises both of its thresholds once blocks of several MiB have been freed. So they are raised at the start.
"""

from __future__ import annotations

import ctypes
import os

# Of malloc.h.
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3

_MMAP_BYTES = 8 * 1024 * 1024  # above the largest payload
_KEPT_BYTES = 16 * 1024 * 1024
_OWN_SETTINGS = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES")


def keep_freed_memory() -> bool:
    """Has the allocator keep up to 16 MiB of freed memory. Returns False where the user has set the allocator, or where
    the C library is not glibc."""
    if any(name in os.environ for name in _OWN_SETTINGS):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # the last on Windows
        return False
    return bool(mallopt(_M_MMAP_THRESHOLD, _MMAP_BYTES)) and bool(mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES))
