"""The compiled kernels, through ctypes: found beside the package when a compiler was there at
installation."""

from __future__ import annotations

import ctypes
import importlib.machinery
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from voicewright.errors import VoicewrightError

if TYPE_CHECKING:  # torch is not needed for the kernels alone
    from torch import Tensor

PLAIN, LEAKY, SNAKE = 0, 1, 2
"""Activations in front of a convolution, as `native/kernels.h` numbers them."""
VERSION = 4
"""Of the structures below; kernels that were built for others are not used."""
_POINTERS = "x out weight half filter bias input output mean var gain shift alpha add1 add2 stats"
_LONGS = "rows_in rows_out x_stride out_stride stat_from stat_to"
_INTS = "cin cout center dilation m r points subs activation threads"


class ConvArguments(ctypes.Structure):
    """vw_conv_args of `native/kernels.h`, field by field."""

    _fields_ = (
        [(name, ctypes.c_void_p) for name in _POINTERS.split()]
        + [(name, ctypes.c_longlong) for name in _LONGS.split()]
        + [(name, ctypes.c_int) for name in _INTS.split()]
        + [("slope", ctypes.c_float), ("eps", ctypes.c_float)]
    )


class StatsArguments(ctypes.Structure):
    """vw_stats_args of `native/kernels.h`, field by field."""

    _fields_ = (
        [(name, ctypes.c_void_p) for name in ("a", "b", "c", "half", "out", "stats")]
        + [(name, ctypes.c_longlong) for name in ("rows", "stride", "half_stride", "stat_from", "stat_to")]
        + [(name, ctypes.c_int) for name in ("channels", "threads")]
    )


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where they were not built (the torch implementation then does the
    work)."""
    for suffix in importlib.machinery.EXTENSION_SUFFIXES:
        path = Path(__file__).with_name(f"_kernels{suffix}")
        if path.is_file():
            try:
                found = ctypes.CDLL(str(path))
                version = found.vw_version()
            except (OSError, AttributeError):  # built for another machine, without its OpenMP, or long ago
                continue
            if version != VERSION:
                continue
            for name in ("vw_conv", "vw_narrow", "vw_stats", "vw_lstm", "vw_best", "vw_vector"):
                getattr(found, name).restype = ctypes.c_int
            wide, whole = ctypes.c_void_p, ctypes.c_int
            number, long = ctypes.c_float, ctypes.c_longlong
            found.vw_lstm.argtypes = [wide, wide, wide, number, wide, long, whole, whole, whole]
            return found
    return None


def return_memory() -> None:
    """Give memory that was freed back to the system, where the C library can (glibc); some 200 MB after a
    model of full width was taken apart."""
    if sys.platform == "linux":
        process = ctypes.CDLL(None)
        if hasattr(process, "malloc_trim"):
            process.malloc_trim(0)


def pointer(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()


def checked(status: int) -> None:
    """Raise VoicewrightError when a kernel says that memory ran out."""
    if status:
        raise VoicewrightError(
            "There is not enough memory to speak; close other programs or speak less at a time."
        )
