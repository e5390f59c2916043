"""Which implementation a processor is best served by."""

from __future__ import annotations

from typing import Literal

import torch

from voicewright.errors import UsageError
from voicewright.model.fast.convolution import Backend, Stored
from voicewright.model.fast.filters import FAST
from voicewright.model.fast.library import library

Kind = Literal["auto", "native", "exact", "torch", "bf16"]
KINDS = ("auto", "native", "exact", "torch", "bf16")
STORED = ("full", "half")


def amx() -> bool:
    """Whether bf16 products run on the matrix unit: everywhere else the minimal filters in fp32 are as
    fast."""
    return bool(torch.cpu._is_amx_tile_supported())


def choose(kind: str = "auto", stored: str = "full") -> Backend:
    """auto: by the processor. native: compiled kernels in fp32 with minimal filters; exact: the same with
    plain sums; torch: no compiled code; bf16: oneDNN's bf16 for the generator's convolutions. stored: weights
    in memory as fp32 ("full") or as fp16 ("half"), which takes half of it and computes in fp32 all the same.

    Raises UsageError for another name of either, and where kernels are asked for that were not built.
    """
    if kind not in KINDS:
        raise UsageError(f"there is no implementation {kind!r}; there are {', '.join(KINDS)}.")
    if stored not in STORED:
        raise UsageError(f"weights cannot be stored as {stored!r}; there are {', '.join(STORED)}.")
    kept: Stored = "half" if stored == "half" else "full"
    found = library()
    if kind == "auto":
        kind = "bf16" if amx() else "torch" if found is None else "native"
    level = None if found is None else int(found.vw_best())
    if kind == "torch":
        return Backend(None, {}, stored=kept)
    if kind == "bf16":
        return Backend(level, {}, torch.bfloat16, kept)
    if level is None:
        raise UsageError("the compiled kernels are not there; install a C compiler and the package again.")
    return Backend(level, {} if kind == "exact" else FAST, stored=kept)
