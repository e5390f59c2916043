"""Weights taken from a mapped file one by one as fp16, so that they are never all held in fp32."""

from __future__ import annotations

import ctypes
import mmap
import sys

import torch
from torch import Tensor

from voicewright.model.layouts import NORM, State

LEAST = 2**16
"""Numbers in a tensor that is worth it."""
_RANGE = 2.0**-8, 6e4
"""Within which a tensor's largest number lies whose others fp16 can hold as exactly as it holds anything."""
_DONTNEED = 4
"""MADV_DONTNEED."""


def narrow(state: State) -> State:
    """Tensors of a mapped file → on memory of their own, the large ones in fp16, others in fp32.

    A weight with norm is folded first and comes back as its own direction, with the norm that it has after
    rounding: so it is rounded once. The file's pages are let go on the way; `state` is emptied.
    """
    owned: State = {}
    for key in list(state):
        if key not in state:
            continue
        value = state.pop(key)
        base, norm, last = key.rpartition(NORM)
        other = f"{base}{NORM}original{int(last == 'original0')}"
        if norm and last in ("original0", "original1") and other in state:
            gain, direction = (value, state.pop(other))[:: 1 if last == "original0" else -1]
            folded = torch._weight_norm(direction.float(), gain.float(), 0)
            rounded = _rounded(folded)
            gain = torch.norm_except_dim(rounded.float(), 2, 0)
            # A channel of nothing but zeros has no direction: it gets any, and the gain 0.
            rounded[(gain == 0).flatten()] = torch.finfo(torch.float16).tiny
            owned[f"{base}{NORM}original0"] = gain
            owned[f"{base}{NORM}original1"] = rounded
            forget(direction)
        else:
            owned[key] = _rounded(value)
            forget(value)
    return owned


def _rounded(value: Tensor) -> Tensor:
    """A copy in fp16, or in fp32 where fp16 would lose more than its usual share."""
    if value.dim() < 2 or value.numel() < LEAST:
        return value.to(torch.float32, copy=True)
    largest = float(value.abs().max())
    fits = _RANGE[0] <= largest <= _RANGE[1]
    return value.to(torch.float16 if fits else torch.float32, copy=True)


def forget(tensor: Tensor) -> None:
    """Give back the pages of a mapped tensor that will not be read again, where the system can (Linux).

    Only pages wholly within the tensor: nothing beside it is touched, whatever its memory is.
    """
    if sys.platform != "linux" or not tensor.is_contiguous():
        return
    page = mmap.PAGESIZE
    first = -(-tensor.data_ptr() // page) * page
    end = (tensor.data_ptr() + tensor.numel() * tensor.element_size()) // page * page
    if end > first:
        process = ctypes.CDLL(None)
        process.madvise(ctypes.c_void_p(first), ctypes.c_size_t(end - first), _DONTNEED)
