"""AdaIN residual blocks at 40 and 80 Hz, as `fast/front.py`: the decoder's front, the predictor's curves."""

from __future__ import annotations

import numpy as np

from voicewright.model.fast.library import LEAKY
from voicewright.model.light.layers import EPS, Affine, Array, Before, Conv, add, leaky
from voicewright.model.light.packed import Node
from voicewright.model.light.statistics import Statistics

SLOPE = 0.2


class Block:
    """x [L, inputs] → [L or 2L, outputs]."""

    def __init__(self, node: Node, level: int) -> None:
        self._level = level
        self._sites: list[int] = node["sites"]
        self._conv1, self._conv2 = Conv(node["conv1"], level), Conv(node["conv2"], level)
        self._skip = Conv(node["skip"], level)
        self._pool: list[Array] | None = node.get("pool")
        self.outputs = self._conv2.cout

    def __call__(
        self, x: Array, affine: list[Array], out: Array | None = None, policy: Statistics | None = None
    ) -> Array:
        """out: where to write, [.., outputs] with any row stride. policy: whose statistics, by negative
        sites; None: its own."""
        rows, policy = len(x), policy or Statistics()

        def norm(which: int, found: Array | None) -> Before:
            site = self._sites[which]
            (stats,) = policy.at(-1 - site, [found])
            return Before(stats, affine[site], LEAKY, slope=SLOPE)

        first = norm(0, add(x, None, None, (0, rows), self._level) if policy.computes else None)
        skip = self._skip.of(x)
        y = x
        if self._pool is not None:
            y, first = self._doubled(_activated(x, first)), Before()
            skip = np.repeat(skip, 2, axis=0)
        middle = np.empty((len(y), self.outputs), np.float32)
        second = norm(1, self._conv1(y, middle, first, counted=(0, len(y)) if policy.computes else None))
        if out is None:
            out = skip
        else:
            out[:] = skip
        self._conv2(middle, out, second, add=(out,))
        return out

    def _doubled(self, x: Array) -> Array:
        """The depthwise transposed convolution of stride 2: [L, C] → [2L, C]."""
        assert self._pool is not None
        weight, bias = self._pool
        doubled = np.empty((len(x), 2, x.shape[1]), np.float32)
        np.add(x * weight[1], bias, out=doubled[:, 0])
        np.add(x * weight[2], bias, out=doubled[:, 1])
        doubled[:-1, 1] += x[1:] * weight[0]
        return doubled.reshape(2 * len(x), -1)


def _activated(x: Array, before: Before) -> Array:
    assert before.stats is not None and before.affine is not None
    scale = before.affine[0] / np.sqrt(before.stats[1] + np.float32(EPS))
    return leaky(x * scale + (before.affine[1] - before.stats[0] * scale), before.slope)


class Curves:
    """F0 or energy after the shared LSTM: [L, C] → [2L]."""

    def __init__(self, node: Node, level: int) -> None:
        self._affine = Affine(node["affine"], level)
        self._blocks = [Block(block, level) for block in node["blocks"]]
        self._head = node["head"]

    def __call__(self, x: Array, style: Array) -> Array:
        affine = self._affine(style)
        for block in self._blocks:
            x = block(x, affine)
        weight, bias = self._head
        return x @ weight + bias


class Front:
    """One utterance: asr [F, H], f0 and energy [2F], style [S] → features [2F, C]."""

    REACH = 10
    """As `fast.front.FastFront.REACH`."""

    def __init__(self, node: Node, level: int) -> None:
        self._affine = Affine(node["affine"], level)
        self._encode = Block(node["encode"], level)
        self._decode = [Block(block, level) for block in node["decode"]]
        self._residual = Conv(node["residual"], level)
        self._curves = node["curves"]

    def __call__(
        self, asr: Array, f0: Array, energy: Array, style: Array, policy: Statistics | None = None
    ) -> Array:
        """policy: as for `Block`; asr may then be the first frames of more."""
        affine = self._affine(style)
        frames, hidden = asr.shape
        curves = []
        for curve, (weight, bias) in zip((f0, energy), self._curves, strict=True):
            padded = np.pad(curve, 1)[: 2 * frames + 2]
            found = padded[:-2:2] * weight[0] + padded[1:-1:2] * weight[1] + padded[2::2] * weight[2] + bias
            curves.append(found[:frames])
        joined = np.empty((frames, hidden + 2), np.float32)
        joined[:, :hidden] = asr
        joined[:, hidden], joined[:, hidden + 1] = curves
        width, beside = self._encode.outputs, self._residual.cout
        pair = [np.empty((frames, width + beside + 2), np.float32) for _ in range(2)]
        rest = self._residual.of(joined)
        for buffer in pair:
            buffer[:, width : width + beside] = rest
            buffer[:, -2], buffer[:, -1] = curves
        self._encode(joined, affine, pair[0][:, :width], policy)
        for i, block in enumerate(self._decode[:-1]):
            block(pair[i % 2], affine, pair[1 - i % 2][:, :width], policy)
        return self._decode[-1](pair[(len(self._decode) - 1) % 2], affine, policy=policy)
