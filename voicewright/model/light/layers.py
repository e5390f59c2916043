"""The layers of speaking over NumPy's rows of channels [L, C]: what `model/fast` does with torch's tensors
and the same compiled kernels, for a process that need not load torch."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicewright.errors import VoicewrightError
from voicewright.model.fast.library import PLAIN, ConvArguments, StatsArguments, checked, library
from voicewright.model.light.packed import Node

Array = NDArray[np.float32]
EPS = 1e-5
"""AdaIN's."""


@cache
def kernels() -> ctypes.CDLL:
    found = library()
    if found is None:
        raise VoicewrightError(
            "the compiled kernels are not there; install a C compiler and the package again."
        )
    return found


def threads() -> int:
    """How many the kernels use: OMP_NUM_THREADS, else the processors that this process may use."""
    named = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if named.isdigit() and int(named) > 0:
        return int(named)
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def pointer(array: NDArray[Any] | None) -> int | None:
    return None if array is None else array.__array_interface__["data"][0]


@dataclass(frozen=True)
class Before:
    """What happens to a convolution's input: AdaIN (stats [2, C] mean and variance, affine [2, C] gain and
    shift), then an activation of `library`: with `slope`, or with `alpha` [C]."""

    stats: Array | None = None
    affine: Array | None = None
    activation: int = PLAIN
    slope: float = 0.0
    alpha: Array | None = None


NOTHING = Before()


class Conv:
    """`fast.convolution.NativeConv` of a packed layer: x [L, cin] → out [rows, cout], and the moments
    [2, cout] of the rows `counted`."""

    def __init__(self, node: Node, level: int) -> None:
        self._held = node["weight"], node["bias"], *node["transforms"]  # kept alive for the pointers
        self._level = level
        a = self._arguments = ConvArguments()
        setattr(a, "half" if node["weight"].dtype == np.float16 else "weight", pointer(node["weight"]))
        a.bias = pointer(node["bias"])
        a.output, a.input, a.filter = (pointer(part) for part in node["transforms"])
        for name in ("cin", "cout", "center", "dilation", "m", "r", "points", "subs"):
            setattr(a, name, node[name])
        a.eps = EPS
        self.cout, self.cin = int(a.cout), int(a.cin)

    def __call__(
        self,
        x: Array,
        out: Array,
        before: Before = NOTHING,
        add: tuple[Array, ...] = (),
        counted: tuple[int, int] | None = None,
    ) -> Array | None:
        stats = None if counted is None else np.empty((2, self.cout), np.float32)
        a = ConvArguments.from_buffer_copy(self._arguments)
        a.x, a.out, a.stats = pointer(x), pointer(out), pointer(stats)
        if before.stats is not None:
            assert before.affine is not None
            a.mean, a.var = pointer(before.stats[0]), pointer(before.stats[1])
            a.gain, a.shift = pointer(before.affine[0]), pointer(before.affine[1])
        a.activation, a.slope, a.alpha = before.activation, before.slope, pointer(before.alpha)
        for name, more in zip(("add1", "add2"), add, strict=False):
            assert more.strides == out.strides
            setattr(a, name, pointer(more))
        a.rows_in, a.rows_out = len(x), len(out)
        a.x_stride, a.out_stride = x.strides[0] // 4, out.strides[0] // 4
        a.stat_from, a.stat_to = counted or (0, 0)
        a.threads = threads()
        checked(kernels().vw_conv(ctypes.byref(a), self._level))
        return stats

    def of(self, x: Array, more: Array | None = None) -> Array:
        """[L, cin] → [L, cout], with `more` added."""
        out = np.empty((len(x), self.cout), np.float32)
        self(x, out, add=() if more is None else (more,))
        return out


def add(a: Array, b: Array | None, out: Array | None, counted: tuple[int, int], level: int) -> Array:
    """out = a + b (each [L, C] of one layout; no b: a alone), and the moments [2, C] of the rows counted."""
    stats = np.empty((2, a.shape[1]), np.float32)
    g = StatsArguments()
    g.a, g.b, g.out, g.stats = pointer(a), pointer(b), pointer(out), pointer(stats)
    g.rows, g.channels, g.threads, g.stride = len(a), a.shape[1], threads(), a.strides[0] // 4
    g.stat_from, g.stat_to = counted
    checked(kernels().vw_stats(ctypes.byref(g), level))
    return stats


class Lstm:
    """A one-layer LSTM of both directions: [T, inputs] → [T, 2 · hidden]."""

    def __init__(self, node: Node, level: int) -> None:
        self._given, self._weight, self._level = Conv(node["given"], level), node["weight"], level
        self._hidden, self._factor = int(node["hidden"]), float(node["factor"])

    def __call__(self, x: Array) -> Array:
        gates, result = self._given.of(x), np.empty((len(x), 2 * self._hidden), np.float32)
        half = self._weight.dtype == np.float16
        weight = pointer(self._weight)
        status = kernels().vw_lstm(
            pointer(gates),
            None if half else weight,
            weight if half else None,
            self._factor,
            pointer(result),
            len(x),
            self._hidden,
            threads(),
            self._level,
        )
        checked(status)
        return result


class Affine:
    """All AdaIN's linear maps as one: style [S] → gain and shift [2, C] of every norm."""

    def __init__(self, node: Node, level: int) -> None:
        self._conv = Conv(node["conv"], level)
        self._ends = np.cumsum([2 * width for width in node["widths"]])[:-1]

    def __call__(self, style: Array) -> list[Array]:
        flat = self._conv.of(np.ascontiguousarray(style, np.float32)[None])[0]
        return [part.reshape(2, -1) for part in np.split(flat, self._ends)]


def layer_norm(x: Array, affine: Sequence[Array], eps: float) -> Array:
    """Over the last axis of [T, C]; affine: gain and bias [C]."""
    y = x - x.mean(1, keepdims=True)
    var = np.einsum("ij,ij->i", y, y) / np.float32(x.shape[1])
    y *= (1 / np.sqrt(var + np.float32(eps)))[:, None]
    y *= affine[0]
    y += affine[1]
    return y


def leaky(x: Array, slope: float) -> Array:
    return np.maximum(x, x * np.float32(slope))
