"""What a voice is fitted to: recordings with their text's tokens, times and curves."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voicewright.audio.loudness import lufs
from voicewright.audio.mel import LogMel, energy
from voicewright.corpus.acoustic import Acoustic, measure
from voicewright.errors import VoicewrightError
from voicewright.model.tts.model import Utterance
from voicewright.units import FRAME, SAMPLE_RATE
from voicewright.voices.pack import Voicepack
from voicewright.voices.times import KeptTimes
from voicewright.voices.warp import SHAPES, Samples, boundaries, settled, shapes, warp

LEVEL = -23.0
"""LUFS of a corpus's clips (`corpus/prepare.py`)."""
_FEWEST_FRAMES = 70
"""A clip shorter than 1.75 s has no room for one crop."""

Render = Callable[[Tensor, Voicepack], Utterance]
"""Speaks tokens [1, T] with both pads in a voice."""


@dataclass(frozen=True)
class Take:
    """A recording and its tokens: what comes out of a prepared corpus."""

    id: str
    samples: Samples
    """24 kHz, at most 50 ms of silence at each end, -23 LUFS."""
    tokens: NDArray[np.int64]
    """[T] with both pads."""


@dataclass(frozen=True)
class Reference:
    """A take with its times and curves. `sound`: samples [600 F]; F0 in Hz (0 unvoiced) and energy, [2F]."""

    id: str
    tokens: Tensor
    """[1, T]"""
    durations: Tensor
    """int64 [T], frames of 25 ms, as the model itself would give them."""
    sound: Tensor
    f0: Tensor
    energy: Tensor
    phones: Tensor | None = None
    """What the start's voice says of it (phones.py): log-probabilities [1, K, F]."""

    @property
    def frames(self) -> int:
        return len(self.sound) // FRAME

    @property
    def owner(self) -> Tensor:
        """Which token each frame belongs to, [F]."""
        return torch.repeat_interleave(torch.arange(len(self.durations)), self.durations)


@dataclass(frozen=True)
class Energy:
    """A model's energy for a measured one: `slope` * measured + `offset`.

    Measured energy is of StyleTTS 2's mel at -23 LUFS; a model predicts what its training's recordings had.
    """

    slope: float
    offset: float
    agreement: float
    """Correlation of the two over the renderings."""


def calibrate(renderings: Sequence[Utterance], mel: LogMel) -> Energy:
    """From what a model predicted for its own renderings and what is measured on them.

    Raises VoicewrightError for a model whose predictions have nothing to do with its sound.
    """
    measured, predicted = [], []
    for spoken in renderings:
        sound = spoken.audio.numpy()
        level = lufs(sound, SAMPLE_RATE)
        if not math.isfinite(level):
            continue
        with torch.no_grad():
            found = energy(mel(torch.from_numpy(sound * np.float32(10 ** ((LEVEL - level) / 20)))))
        count = min(len(found), len(spoken.energy))
        measured.append(found[:count].numpy())
        predicted.append(spoken.energy[:count].numpy())
    if not measured:
        raise VoicewrightError("the model's own voices are silent: nothing can be fitted to it.")
    x, y = np.concatenate(measured).astype(np.float64), np.concatenate(predicted).astype(np.float64)
    agreement = float(np.corrcoef(x, y)[0, 1])
    if not agreement > 0.5:
        raise VoicewrightError(
            f"the energy that the model predicts and that of its own sound agree to {agreement:.2f} only; "
            "a voice cannot be fitted to it."
        )
    slope, offset = np.polyfit(x, y, 1)
    return Energy(float(slope), float(offset), agreement)


def aligned(
    takes: Sequence[Take],
    render: Render,
    voices: Mapping[str, Voicepack],
    scale: Energy,
    progress: Callable[[str, int, int], None] | None = None,
    kept: KeptTimes | None = None,
) -> tuple[list[Reference], list[str]]:
    """References of all takes that serve, and a sentence for each that does not.

    voices: those whose renderings are warped onto the takes (`voices/warp.py`); three are surer than one.
    kept: what has been found before, and where what is found now is kept.
    """
    mel, spectrum = LogMel(SHAPES), LogMel("styletts2")
    found: list[Reference] = []
    refused: list[str] = []
    for number, take in enumerate(takes):
        if progress is not None:
            progress("aligning", number, len(takes))
        sound = measure(take.samples, spectrum)
        if sound.frames < max(_FEWEST_FRAMES, len(take.tokens)):
            refused.append(f"{take.id}: {len(take.samples) / SAMPLE_RATE:.1f} s is too short to fit to.")
            continue
        found.append(_reference(take, sound, render, voices, scale, mel, kept))
    if kept is not None:
        kept.save()
    if progress is not None:
        progress("aligning", len(takes), len(takes))
    return found, refused


def _reference(
    take: Take,
    sound: Acoustic,
    render: Render,
    voices: Mapping[str, Voicepack],
    scale: Energy,
    mel: LogMel,
    kept: KeptTimes | None,
) -> Reference:
    samples = sound.samples.astype(np.float32) / 32768.0
    tokens = torch.from_numpy(take.tokens)[None]
    key = kept.key(samples, take.tokens) if kept is not None else ""
    durations = kept.get(key) if kept is not None else None
    if durations is None:
        wanted, ends = shapes(samples, mel), []
        for pack in voices.values():
            spoken = render(tokens, pack)
            where = warp(shapes(spoken.audio.numpy(), mel), wanted)
            ends.append(boundaries(spoken.durations.numpy(), where))
        durations = settled(ends, sound.frames)
        if kept is not None:
            kept.put(key, durations)
    return Reference(
        take.id,
        tokens,
        torch.from_numpy(durations),
        torch.from_numpy(samples),
        torch.from_numpy(sound.f0.copy()),
        torch.from_numpy(sound.energy * np.float32(scale.slope) + np.float32(scale.offset)),
    )
