"""The compiled kernels, through ctypes: they come with a wheel, or from a C compiler at installation."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from voicewright.errors import UsageError, VoicewrightError

if TYPE_CHECKING:  # torch is not needed for the kernels alone
    from torch import Tensor

PLAIN, LEAKY, SNAKE = 0, 1, 2
"""Activations in front of a convolution, as `native/kernels.h` numbers them."""
FILE = "_kernels.so"
"""Beside this module. Nothing in it is Python's, so its name is the same for every Python."""
_OPENMP = re.compile(r"lib[gi]?omp\b|lib[gi]?omp[-.0-9]").match
VARIABLE = "VOICEWRIGHT_KERNELS"
"""Of the environment: the instruction set of the kernels in place of the processor's best, or "none"."""
VERSION = 5
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
    """The compiled kernels, or None where they were not built (the torch implementation then
    does the work)."""
    path = Path(__file__).with_name(FILE)
    if not path.is_file():
        return None
    try:
        found = ctypes.CDLL(str(path))
        version = found.vw_version()
    except (OSError, AttributeError):  # built for another machine, or long ago
        return None
    if version != VERSION:
        return None
    for name in ("vw_conv", "vw_narrow", "vw_stats", "vw_lstm", "vw_best", "vw_vector"):
        getattr(found, name).restype = ctypes.c_int
    wide, whole = ctypes.c_void_p, ctypes.c_int
    number, long = ctypes.c_float, ctypes.c_longlong
    found.vw_lstm.argtypes = [wide, wide, wide, number, wide, long, whole, whole, whole]
    found.vw_name.restype = ctypes.c_char_p
    found.vw_share.argtypes, found.vw_share.restype = [wide], None
    found.vw_share(threads())
    return found


@cache
def threads() -> int | None:
    """The address of GOMP_parallel in the OpenMP runtime that torch brought along, by which the kernels share
    torch's own threads; None where it has another kind: one thread then does their work."""
    spec = importlib.util.find_spec("torch")  # found, not imported: speaking does without it
    folders = [Path(place) / "lib" for place in (spec.submodule_search_locations or [])] if spec else []
    # of these names alone: libbackend_with_compiler, which would load all of torch, lies there too
    own = [str(path) for folder in folders for path in sorted(folder.glob("lib*omp*")) if _OPENMP(path.name)]
    # torch makes its runtime's names global on most systems; opened again, a library is the same one.
    for name in (*((None,) if "torch" in sys.modules else ()), *own):
        try:
            runtime = ctypes.CDLL(name)
            return ctypes.cast(runtime.GOMP_parallel, ctypes.c_void_p).value
        except (OSError, AttributeError, TypeError):  # Windows has no library of that name at all
            continue
    return None


def wanted() -> str | None:
    """The instruction set that the environment names, or "none"; None: the processor's best."""
    return os.environ.get(VARIABLE, "").strip().lower() or None


def levels() -> tuple[str, ...]:
    """Names of the instruction sets that this processor and these kernels have, plainest first; none without
    kernels. A level is a place in it."""
    found = library()
    return () if found is None else tuple(found.vw_name(i).decode() for i in range(found.vw_best() + 1))


def level() -> int | None:
    """The instruction set of the compiled kernels: the best that is here, or the one that the environment
    names; None: they are not here, or not wanted. Raises UsageError for a name that is not here."""
    here, name = levels(), wanted()
    if name is None:
        return len(here) - 1 if here else None
    if name == "none":
        return None
    if name not in here:
        raise UsageError(f"{VARIABLE} is {name!r}; here it may be {', '.join((*here, 'none'))}.")
    return here.index(name)


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
