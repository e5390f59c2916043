"""Convolutions over rows of channels [L, C], with AdaIN and activation before, residuals
and statistics after.

Two implementations with one contract: `NativeConv` is one compiled pass; `TorchConv` says the same in torch
and serves where no compiler was at hand, and where oneDNN's bf16 on AMX is the faster product.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from voicewright.model.fast.filters import Plan, halved, matrices, pack, pack_half
from voicewright.model.fast.library import (
    LEAKY,
    PLAIN,
    SNAKE,
    ConvArguments,
    StatsArguments,
    checked,
    library,
    pointer,
)

EPS = 1e-5
"""AdaIN's."""
Stored = Literal["full", "half"]
"""How weights lie in memory: fp32, or fp16 that is widened as it is read; products are fp32 either way."""


@dataclass(frozen=True)
class Before:
    """What happens to a convolution's input: AdaIN (stats [2, C] mean and variance, affine [2, C] gain and
    shift), then an activation: LEAKY with `slope`, or SNAKE with `alpha` [C]."""

    stats: Tensor | None = None
    affine: Tensor | None = None
    activation: int = PLAIN
    slope: float = 0.0
    alpha: Tensor | None = None


NOTHING = Before()


class Conv(Protocol):
    """x [L, cin] (rows may be further apart than cin) → out [rows, cout].

    Zeros stand beyond both ends, after the activation. `add`: tensors laid out as `out`, which may be among
    them. counted: rows whose mean and variance [2, cout] are returned; None: no statistics.
    """

    cout: int

    def __call__(
        self,
        x: Tensor,
        out: Tensor,
        before: Before = NOTHING,
        add: tuple[Tensor, ...] = (),
        counted: tuple[int, int] | None = None,
    ) -> Tensor | None: ...


class NativeConv:
    """The compiled kernel. weight [cout, cin, K], bias [cout] or None; `center`: the tap at an
    output's own row."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        dilation: int,
        center: int,
        plan: Plan | None,
        level: int,
        stored: Stored = "full",
    ) -> None:
        found = library()
        assert found is not None
        self._library, self._level = found, level
        self.cout, self.cin, taps = weight.shape
        plan = plan or Plan(1, 1, taps)
        vector = found.vw_vector(level)
        output, filters, given = matrices(plan.m, plan.r)
        if stored == "half":
            narrow, factor = halved(weight)
            self._weight, filters = pack_half(narrow, plan, vector), filters * factor
        else:
            self._weight = pack(weight, plan, vector)
        self._bias = torch.zeros(self._weight.shape[0] * 2 * vector)
        if bias is not None:
            self._bias[: self.cout] = bias
        self._transforms = [t.float().contiguous() for t in (output, given, filters)]
        a = self._arguments = ConvArguments()
        setattr(a, "half" if stored == "half" else "weight", pointer(self._weight))
        a.bias = pointer(self._bias)
        a.output, a.input, a.filter = (pointer(t) for t in self._transforms)
        a.cin, a.cout, a.center, a.dilation = self.cin, self.cout, center, dilation
        a.m, a.r, a.points, a.subs, a.eps = plan.m, plan.r, plan.points, plan.subs, EPS

    def __call__(
        self,
        x: Tensor,
        out: Tensor,
        before: Before = NOTHING,
        add: tuple[Tensor, ...] = (),
        counted: tuple[int, int] | None = None,
    ) -> Tensor | None:
        stats = None if counted is None else torch.empty(2, self.cout)
        a = ConvArguments.from_buffer_copy(self._arguments)  # so that threads may share a layer
        a.x, a.out, a.stats = pointer(x), pointer(out), pointer(stats)
        _fill(a, before)
        for name, more in zip(("add1", "add2"), add, strict=False):
            assert more.stride() == out.stride()
            setattr(a, name, pointer(more))
        a.rows_in, a.rows_out, a.x_stride, a.out_stride = len(x), len(out), x.stride(0), out.stride(0)
        a.stat_from, a.stat_to = counted or (0, 0)
        a.threads = torch.get_num_threads()
        checked(self._library.vw_conv(ctypes.byref(a), self._level))
        return stats


class TorchConv:
    """The same in torch: oneDNN's channels-last convolution, in fp32 or bf16 (the residual
    stream stays fp32).

    level: instruction set of the compiled steps before and after a bf16 convolution; None: torch does them
    too.
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        dilation: int,
        center: int,
        dtype: torch.dtype,
        level: int | None = None,
        stored: Stored = "full",
    ) -> None:
        self.cout, self.cin, taps = weight.shape
        self._factor: float | None = None
        if stored == "half" and dtype == torch.float32:  # bf16 is no longer than this
            weight, self._factor = halved(weight)
        else:
            weight = weight.to(dtype)
        self._weight = weight[:, :, None].clone(memory_format=torch.channels_last)
        self._bias = None if bias is None else bias.to(dtype, copy=True)
        self._dilation, self._dtype = dilation, dtype
        self._before, self._after = center * dilation, (taps - 1 - center) * dilation
        self._level = level if dtype == torch.bfloat16 else None

    def __call__(
        self,
        x: Tensor,
        out: Tensor,
        before: Before = NOTHING,
        add: tuple[Tensor, ...] = (),
        counted: tuple[int, int] | None = None,
    ) -> Tensor | None:
        weight = self._weight if self._factor is None else self._weight.float().mul_(self._factor)
        after = self._after + len(out) - len(x)
        if self._dtype == torch.bfloat16 and after == self._before:
            result = self._upright(self._narrow(x, before, -len(x) % self._dilation), weight)[: len(out)]
        else:
            x = self._narrow(x, before)
            padding = self._before
            if after != padding:
                x, padding = F.pad(x, (0, 0, self._before, after)), 0
            # [L, C] seen as [1, C, 1, L] is exactly channels-last: no copy
            seen = x[None, None].permute(0, 3, 1, 2)
            y = F.conv2d(seen, weight, self._bias, padding=(0, padding), dilation=(1, self._dilation))
            result = y.permute(0, 2, 3, 1)[0, 0]
        if self._level is not None and result.stride(1) == 1:
            return total((*add,), result, out, counted, self._level)
        result = result.float()
        for more in add:
            result = result + more
        out.copy_(result)
        return None if counted is None else moments(result[counted[0] : counted[1]])

    def _upright(self, x: Tensor, weight: Tensor) -> Tensor:
        """The same of rows that the dilation d divides: it is none among rows d apart, so that [L, C] is seen
        as [1, C, L / d, d], without a copy, under taps that stand upright. The same numbers from oneDNN's
        bf16, which needs 7 % less time for a generator's convolutions so."""
        seen = x.view(1, -1, self._dilation, self.cin).permute(0, 3, 1, 2)
        padding = (self._before // self._dilation, 0)
        y = F.conv2d(seen, weight.transpose(2, 3), self._bias, padding=padding)
        return y.permute(0, 2, 3, 1).reshape(-1, self.cout)

    def _narrow(self, x: Tensor, before: Before, spare: int = 0) -> Tensor:
        """x activated and in the type of the convolution, contiguous rows, and `spare` rows of zeros."""
        found = library()
        if self._level is None or found is None:
            narrow = activate(x[:, : self.cin], before).to(self._dtype)
            return F.pad(narrow, (0, 0, 0, spare)) if spare else narrow.contiguous()
        narrow = torch.empty(len(x) + spare, self.cin, dtype=torch.bfloat16)
        narrow[len(x) :].zero_()
        a = ConvArguments()
        a.x, a.out, a.rows_in, a.cin = pointer(x), pointer(narrow), len(x), self.cin
        a.x_stride, a.out_stride, a.eps, a.threads = x.stride(0), self.cin, EPS, torch.get_num_threads()
        _fill(a, before)
        checked(found.vw_narrow(ctypes.byref(a), self._level))
        return narrow


def _fill(a: ConvArguments, before: Before) -> None:
    if before.stats is not None:
        assert before.affine is not None
        a.mean, a.var = pointer(before.stats[0]), pointer(before.stats[1])
        a.gain, a.shift = pointer(before.affine[0]), pointer(before.affine[1])
    a.activation, a.slope, a.alpha = before.activation, before.slope, pointer(before.alpha)


def total(
    given: tuple[Tensor, ...],
    half: Tensor | None,
    out: Tensor | None,
    counted: tuple[int, int] | None,
    level: int,
) -> Tensor | None:
    """The compiled sum of up to three fp32 tensors of one layout and one in bf16 into `out`;
    moments as asked."""
    found = library()
    assert found is not None
    like = next(t for t in (*given, out, half) if t is not None)
    stats = None if counted is None else torch.empty(2, like.shape[1])
    g = StatsArguments()
    for name, tensor in zip(("a", "b", "c"), given, strict=False):
        setattr(g, name, pointer(tensor))
    g.half, g.out, g.stats = pointer(half), pointer(out), pointer(stats)
    g.rows, g.channels, g.threads = len(like), like.shape[1], torch.get_num_threads()
    g.stride, g.half_stride = like.stride(0), 0 if half is None else half.stride(0)
    g.stat_from, g.stat_to = counted or (0, 0)
    checked(found.vw_stats(ctypes.byref(g), level))
    return stats


def activate(x: Tensor, before: Before) -> Tensor:
    """What `Before` says, in torch: x [L, C] → [L, C]."""
    if before.stats is not None:
        assert before.affine is not None
        scale = before.affine[0] * torch.rsqrt(before.stats[1] + EPS)
        x = torch.addcmul(before.affine[1] - before.stats[0] * scale, x, scale)
    if before.activation == LEAKY:
        x = F.leaky_relu(x, before.slope)
    elif before.activation == SNAKE:
        assert before.alpha is not None
        x = torch.addcmul(x, torch.sin(before.alpha * x).square_(), before.alpha.reciprocal())
    return x


def moments(x: Tensor) -> Tensor:
    """Mean and variance [2, C] of the rows of x [L, C]."""
    if len(x) == 0:
        return torch.zeros(2, x.shape[1])
    var, mean = torch.var_mean(x, dim=0, correction=0)
    return torch.stack([mean, var])


@dataclass(frozen=True)
class Backend:
    """Which implementation makes convolutions. level: instruction set of the kernels (None: torch), `plans`:
    the minimal filter for each number of taps, dtype: torch's, stored: how fp32 layers keep their weights."""

    level: int | None
    plans: dict[int, Plan]
    dtype: torch.dtype = torch.float32
    stored: Stored = "full"

    def conv(
        self,
        weight: Tensor,
        bias: Tensor | None,
        dilation: int = 1,
        center: int | None = None,
        minimal: bool = True,
    ) -> Conv:
        """weight [cout, cin, K]. minimal: whether a minimal filter may serve (it costs memory
        for the weights)."""
        weight, bias = weight.detach().float(), None if bias is None else bias.detach().float()
        center = (weight.shape[2] - 1) // 2 if center is None else center
        narrow = minimal and self.dtype == torch.bfloat16
        if narrow or self.level is None:
            dtype = self.dtype if minimal else torch.float32
            return TorchConv(weight, bias, dilation, center, dtype, self.level, self.stored)
        plan = self.plans.get(weight.shape[2]) if minimal else None
        return NativeConv(weight, bias, dilation, center, plan, self.level, self.stored)

    def add(self, a: Tensor, b: Tensor | None, out: Tensor | None, counted: tuple[int, int]) -> Tensor:
        """out = a + b (each [L, C] of one layout; no b: a alone), and the moments [2, C] of
        the rows counted."""
        if self.level is None:
            result = a if b is None else a + b
            if out is not None:
                out.copy_(result)
            return moments(result[counted[0] : counted[1]])
        stats = total((a,) if b is None else (a, b), None, out, counted, self.level)
        assert stats is not None
        return stats
