"""Memory that libraries below us would keep: bounded before they start, given back while a long text runs."""

from __future__ import annotations

import ctypes
import os
import sys

_PRIMITIVES = "64"
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""glibc's numbers of M_TRIM_THRESHOLD and M_MMAP_THRESHOLD."""


def bound_caches() -> None:
    """Call before torch computes anything in this process; a value that the user has set stays.

    oneDNN keeps the code of its last 1024 convolutions, each for one length: over a book, in which hardly two
    chunks have the same length, these grow to 600 MB and are of no use. 64 hold what one chunk uses again.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _PRIMITIVES)


def return_at_once() -> None:
    """Let large blocks go back to the system when they are freed (glibc), unless the environment differs.

    glibc learns from the first large block that is freed to keep all that are smaller: some 20 to 60 MB of
    holes between tensors. Fixed thresholds keep it from learning, and cost 3 % of the time. They hold for the
    whole process.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_MMAP_THRESHOLD, 1 << 20)
        mallopt(_TRIM_THRESHOLD, 2 << 20)


def give_back() -> None:
    """Return freed memory to the system: tensors of ever other lengths leave holes that glibc would keep."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
