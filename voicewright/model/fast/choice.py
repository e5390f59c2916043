"""Which implementation a processor is best served by."""

from __future__ import annotations

from typing import Literal

import torch

from voicewright.errors import UsageError
from voicewright.model.fast.convolution import Backend, Stored
from voicewright.model.fast.filters import FAST
from voicewright.model.fast.library import VARIABLE, level, levels, library, threads, wanted

Kind = Literal["auto", "native", "exact", "torch", "bf16"]
KINDS = ("auto", "native", "exact", "torch", "bf16")
STORED = ("full", "half")
REMEDY = "install a wheel for this system, or a C compiler (gcc or clang) and the package again"
"""What brings the kernels."""


def amx() -> bool:
    """Whether bf16 products run on the matrix unit: everywhere else the minimal filters in fp32
    are as fast."""
    return bool(torch.cpu._is_amx_tile_supported())


def choose(kind: str = "auto", stored: str = "full") -> Backend:
    """auto: by the processor, or kernels in fp32 where the environment names their instruction set. native:
    compiled kernels in fp32 with minimal filters; exact: the same with plain sums; torch: no compiled code;
    bf16: oneDNN's bf16 for the generator's convolutions. stored: weights in memory as fp32 ("full") or as
    fp16 ("half"), which takes half of it and computes in fp32 all the same.

    Raises UsageError for another name of either, and where kernels are asked for that are not there.
    """
    if kind not in KINDS:
        raise UsageError(f"there is no implementation {kind!r}; there are {', '.join(KINDS)}.")
    if stored not in STORED:
        raise UsageError(f"weights cannot be stored as {stored!r}; there are {', '.join(STORED)}.")
    kept: Stored = "half" if stored == "half" else "full"
    compiled = level()
    if kind == "auto":
        kind = "bf16" if amx() and wanted() is None else "torch" if compiled is None else "native"
    if kind == "torch":
        return Backend(None, {}, stored=kept)
    if kind == "bf16":
        return Backend(compiled, {}, torch.bfloat16, kept)
    if compiled is None and library() is not None:
        raise UsageError(f"{VARIABLE}=none leaves out the compiled kernels that {kind!r} asks for.")
    if compiled is None:
        raise UsageError(f"the compiled kernels are not there; {REMEDY}.")
    return Backend(compiled, {} if kind == "exact" else FAST, stored=kept)


def described() -> dict[str, object]:
    """What speaks on this processor, in words: `kernels` (the instruction set, or "none"), `available`,
    `speech` (what "auto" means here), `threads`. Raises UsageError as `level` does."""
    compiled, backend = level(), choose()
    name = "none" if compiled is None else levels()[compiled]
    if backend.dtype == torch.bfloat16:
        speech = "generator in bf16 on the matrix unit (AMX), all else in fp32"
    else:
        speech = "fp32 in torch alone" if backend.level is None else "fp32 in compiled kernels"
    return {
        "kernels": name,
        "available": [*levels(), "none"],
        "speech": speech,
        "threads": "torch's" if threads() is not None else "one alone",
    }
