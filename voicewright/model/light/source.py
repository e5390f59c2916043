"""The excitation and the short-time spectra, as `tts/source.py` and `tts/generator.py` have them, and the
noise that torch draws for the same seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from voicewright.model.light.packed import Node
from voicewright.model.light.statistics import Array
from voicewright.units import HOP, SAMPLE_RATE

_AMPLITUDE = 0.1
_NOISE_UNVOICED = _AMPLITUDE / 3
_VOICED_ABOVE = 10.0
_FRAMES = 160
"""Frames of the source that are made at a time: a multiple of 4, so that noise is drawn as the whole is."""
_BLOCK = 16


class Noise:
    """Normal numbers as a `torch.Generator` of the seed draws them on a CPU: the same Mersenne twister and
    Box-Muller's pairs eight apart (facts: ATen's DistributionTemplates.h), equal to rounding."""

    def __init__(self, seed: int) -> None:
        state: Any = np.random.RandomState(seed & 0xFFFFFFFF).get_state(legacy=False)  # by 32 bits, as torch
        self._bits = np.random.MT19937()
        self._bits.state = {"bit_generator": "MT19937", "state": state["state"]}

    def normal(self, count: int) -> Array:
        """count numbers, 16 at least."""
        if count < _BLOCK:
            raise ValueError(f"{count} numbers are drawn otherwise")
        drawn = self._uniform(count)
        whole = count // _BLOCK * _BLOCK
        drawn[:whole] = _pairs(drawn[:whole])
        if whole < count:  # torch draws the last sixteen anew
            drawn[-_BLOCK:] = _pairs(self._uniform(_BLOCK))
        return drawn

    def _uniform(self, count: int) -> Array:
        raw = self._bits.random_raw(count).astype(np.uint32) & np.uint32((1 << 24) - 1)
        return raw.astype(np.float32) * np.float32(2.0**-24)


def _pairs(uniform: Array) -> Array:
    """Box and Muller, 1958."""
    halves = uniform.reshape(-1, 2, _BLOCK // 2)
    radius = np.sqrt(np.float32(-2) * np.log(1 - halves[:, 0]))
    angle = np.float32(2 * np.pi) * halves[:, 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


class Source:
    """Sines of F0 and its overtones with noise, mixed: f0 [T] in Hz at hop 300 → waveform [300T]."""

    def __init__(self, node: Node) -> None:
        self._overtones, self._voiced_noise = int(node["overtones"]), float(node["voiced_noise"])
        self._weight, self._bias = node["mix"]

    def __call__(self, f0: Array, noise: Noise) -> Array:
        ranks = np.arange(1, self._overtones + 2, dtype=np.float64)
        cycles = (f0.astype(np.float64)[:, None] * ranks / SAMPLE_RATE) % 1
        centres = (np.cumsum(cycles, axis=0) * HOP) % 1
        still = np.zeros_like(cycles[:1])
        start = np.concatenate([centres[:1], centres]).astype(np.float32)
        slope = np.concatenate([still, cycles[1:], still]).astype(np.float32) * np.float32(HOP)
        parts = []
        for first in range(0, len(f0), _FRAMES):
            own = f0[first : first + _FRAMES]
            rows = slice(first, first + len(own) + 1)
            parts.append(self._piece(own, start[rows], slope[rows], noise))
        return np.concatenate(parts)

    def _piece(self, f0: Array, start: Array, slope: Array, noise: Noise) -> Array:
        fraction = (np.arange(HOP, dtype=np.float32) + np.float32(0.5)) / np.float32(HOP)
        phase = start[:, None] + slope[:, None] * fraction[:, None]
        waves = phase.reshape(-1, phase.shape[2])[HOP // 2 : -(HOP // 2)]
        waves = np.sin(waves * np.float32(2 * np.pi))
        if self._overtones > 8:
            ranks = np.arange(1, self._overtones + 2, dtype=np.float32)
            waves *= np.repeat((f0[:, None] * ranks < SAMPLE_RATE / 2).astype(np.float32), HOP, axis=0)
        voiced = np.repeat((f0 > _VOICED_ABOVE).astype(np.float32), HOP)[:, None]
        level = np.float32(_NOISE_UNVOICED) + voiced * np.float32(self._voiced_noise - _NOISE_UNVOICED)
        waves *= voiced * np.float32(_AMPLITUDE)
        waves += noise.normal(waves.size).reshape(waves.shape) * level
        return np.tanh(waves @ self._weight + self._bias)


class Stft:
    """A centred STFT and its inverse by the tables of `tts.generator.STFT`."""

    def __init__(self, node: Node) -> None:
        self.n_fft, self.hop = int(node["n_fft"]), int(node["hop"])
        self._analysis: Array = node["analysis"]  # [2 bins - 2, n_fft]
        self._synthesis: Array = node["synthesis"]  # [2 bins, n_fft]
        self._overlap: Array = node["overlap"]  # [n_fft]

    def polar(self, wave: Array) -> Array:
        """wave [N] → rows [N/hop + 1, n_fft + 2]: magnitudes, then phases."""
        bins = self.n_fft // 2 + 1
        padded = np.pad(wave, self.n_fft // 2, mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.n_fft)[:: self.hop]
        parts = frames @ self._analysis.T
        rows = np.empty((len(parts), 2 * bins), np.float32)
        real, imaginary = parts[:, :bins], np.zeros((len(parts), bins), np.float32)
        imaginary[:, 1:-1] = parts[:, bins:]
        np.sqrt(real * real + imaginary * imaginary, out=rows[:, :bins])
        np.arctan2(imaginary, real, out=rows[:, bins:])
        return rows

    def inverse(self, parts: Array) -> Array:
        """Real and imaginary parts [M, n_fft + 2] → wave [(M - 1) · hop]."""
        frames = (parts @ self._synthesis).reshape(len(parts), -1, self.hop)
        weights = self._overlap.reshape(1, -1, self.hop)
        count = frames.shape[1]
        wave = np.zeros((len(parts) + count - 1, self.hop), np.float32)
        weight = np.zeros_like(wave)
        for i in range(count):
            wave[i : i + len(parts)] += frames[:, i]
            weight[i : i + len(parts)] += weights[:, i]
        edge = self.n_fft // 2
        return wave.reshape(-1)[edge:-edge] / weight.reshape(-1)[edge:-edge]
