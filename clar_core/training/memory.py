"""The process's memory allocator, set for large tensors that are made and freed at every step."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_LARGEST_INT = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc to keep freed memory instead of returning it to the kernel; True where that worked.

    By default large tensors are fresh mappings whose pages the kernel must clear on first touch: up to half of the time
    of a training step on a CPU. The process then holds on to its peak. Preloading tcmalloc does the same.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, _LARGEST_INT))
