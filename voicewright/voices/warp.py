"""Durations in a model's own convention: what it renders, whose durations are known, warped onto a recording.

A model gives spaces and stress marks frames of their own; an aligner of another convention does not, and a
voice that is fitted under its durations hears the text out of step. So the model speaks the recording's text
in known voices, and dynamic time warping (Sakoe and Chiba 1978) carries the boundaries over.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from voicewright.audio.mel import LogMel, MelPreset
from voicewright.errors import VoicewrightError
from voicewright.units import SAMPLE_RATE

Samples = NDArray[np.float32]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

SHAPES = MelPreset("warp", SAMPLE_RATE, 1024, 720, 300, 40, 60.0, 7_600.0, SAMPLE_RATE, 1e-7, 0.0, 1.0)
"""What is compared, 12.5 ms apart: coarse enough that another's harmonics do not matter."""
_CEPSTRA, _SLOPES = 20, 8
_RANGE = 14.0
"""Nepers of power under the loud bins below which everything is one: another room's noise is no sound."""
_STANDING = 0.5
"""What a step costs in which one of the two stands still, in mean distances: warps that bend without need
carry a boundary to the wrong side of a sound."""


def shapes(samples: Samples, mel: LogMel) -> Floats:
    """Cepstra without their mean, their slopes, and the level of samples [T]: [frames, 29]."""
    with torch.no_grad():
        log = mel(torch.from_numpy(np.ascontiguousarray(samples, np.float32))).numpy().T
    log = np.maximum(log, np.percentile(log, 99) - _RANGE)
    bands = np.arange(log.shape[1])
    basis = np.cos(np.pi / log.shape[1] * (bands[:, None] + 0.5) * np.arange(_CEPSTRA)[None])
    cepstra = log @ basis
    cepstra = (cepstra - cepstra.mean(0)) / (cepstra.std() + 1e-6)
    slopes = np.gradient(cepstra, axis=0)
    slopes = slopes / (slopes.std(0) + 1e-6)
    level = log.mean(1, keepdims=True)
    level = (level - level.mean()) / (level.std() + 1e-6)
    return np.asarray(np.concatenate([cepstra, slopes[:, :_SLOPES], level], 1), np.float32)


def warp(one: Floats, other: Floats) -> Ints:
    """Where each frame of `one` [N, C] lies in `other` [M, C]: monotonic positions [N].

    Steps go on in one, in the other or in both; anti-diagonals, so that the work is numpy's.
    """
    n, m = len(one), len(other)
    squares = (one**2).sum(1)[:, None] + (other**2).sum(1)[None] - 2 * one @ other.T
    cost = np.sqrt(np.maximum(squares, 0.0))
    standing = _STANDING * float(cost.mean())
    total = np.full((n + 1, m + 1), np.inf)
    total[0, 0] = 0.0
    back = np.zeros((n, m), np.int8)
    for diagonal in range(n + m - 1):
        i = np.arange(max(0, diagonal - m + 1), min(n, diagonal + 1))
        j = diagonal - i
        here = cost[i, j]
        ways = np.stack(
            [total[i, j] + 2 * here, total[i, j + 1] + here + standing, total[i + 1, j] + here + standing]
        )
        best = np.argmin(ways, axis=0)
        back[i, j] = best
        total[i + 1, j + 1] = ways[best, np.arange(len(i))]
    first, last = np.full(n, m, np.int64), np.zeros(n, np.int64)
    at, there = n - 1, m - 1
    while at >= 0 and there >= 0:
        first[at], last[at] = min(first[at], there), max(last[at], there)
        step = back[at, there]
        at, there = at - int(step != 2), there - int(step != 1)
    first[0] = 0
    return (first + last) // 2


def boundaries(durations: Ints, where: Ints) -> NDArray[np.float64]:
    """Ends of all tokens but the last [T-1] of a rendering, in the recording's frames of 25 ms."""
    ends = np.cumsum(durations)[:-1]
    return np.interp(2.0 * ends, np.arange(len(where)), where.astype(np.float64)) / 2.0


def settled(ends: Sequence[NDArray[np.float64]], frames: int) -> Ints:
    """Durations [T] from several renderings' boundaries, each [T-1]: their medians, on whole frames.

    Every token keeps at least a frame; the sum is `frames`. Raises VoicewrightError for more tokens than
    frames.
    """
    count = len(ends[0]) + 1
    if count > frames:
        raise VoicewrightError(f"{count} symbols do not fit into {frames * 0.025:.1f} s of speech.")
    middle = np.round(np.median(np.stack(ends), axis=0)).astype(np.int64)
    bounds = np.concatenate([[0], middle, [frames]])
    for k in range(1, count):
        bounds[k] = max(bounds[k], bounds[k - 1] + 1)
    for k in range(count - 1, 0, -1):
        bounds[k] = min(bounds[k], bounds[k + 1] - 1)
    return np.diff(bounds)
