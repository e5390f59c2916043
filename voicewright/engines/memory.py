"""Memory that libraries below us would keep: bounded before they start, given back while a long text runs."""

from __future__ import annotations

import ctypes
import os
import sys

_PRIMITIVES = "64"


def bound_caches() -> None:
    """Call before torch computes anything in this process; a value that the user has set stays.

    oneDNN keeps the code of its last 1024 convolutions, each for one length: over a book, in which hardly two
    chunks have the same length, these grow to 600 MB and are of no use. 64 hold what one chunk uses again.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", _PRIMITIVES)


def give_back() -> None:
    """Return freed memory to the system: tensors of ever other lengths leave holes that glibc would keep."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
