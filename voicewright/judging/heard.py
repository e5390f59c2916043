"""Clips as the quick judgement hears them, and the figures of several together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicewright.audio.pitch import f0 as track_f0
from voicewright.judging.metrics import (
    BAND,
    Periodicity,
    Samples,
    above_noise,
    f0_statistics,
    noise_periodicity,
    periodicity,
    timing,
)
from voicewright.judging.score import Figures
from voicewright.listen.artefacts import Artefacts, listen_for_artefacts, pooled
from voicewright.listen.words import Errors

_NOISE_FRAMES = 2400
"""Thirty seconds of pitch are plenty for what noise reads under it."""


@dataclass(frozen=True)
class HeardClip:
    """One clip of a text. None: nothing here can measure it."""

    errors: Errors | None
    similarity: float | None
    likeness: tuple[tuple[float, float, float], ...]
    """By encoder with a list of strangers: similarity to the speaker, strangers' to her, the recording's."""
    quality: float | None
    letters: int
    speaking: float
    """Seconds from the first to the last sound."""
    track: NDArray[np.floating]
    """F0 in Hz every 12.5 ms."""
    band: Periodicity
    artefacts: Artefacts


def hear(
    clip: Samples,
    text: str,
    errors: Errors | None,
    similarity: float | None,
    likeness: tuple[tuple[float, float, float], ...],
    quality: float | None,
) -> HeardClip:
    """Measure a clip (float32 mono, 24 kHz) of `text`; what other ears heard of it is given."""
    track = track_f0(clip)
    return HeardClip(
        errors,
        similarity,
        likeness,
        quality,
        sum(character.isalnum() for character in text),
        timing(clip).speaking,
        track,
        periodicity(clip, track)[0],
        listen_for_artefacts(clip, track),
    )


def word_errors(clips: Sequence[HeardClip]) -> float | None:
    """Word errors over all words; None where nobody heard them."""
    errors = [clip.errors for clip in clips if clip.errors is not None]
    return sum(e.word_errors for e in errors) / max(1, sum(e.words for e in errors)) if errors else None


def noise_floor(clips: Sequence[HeardClip], seed: int) -> float:
    """What noise under the clips' pitch reads as periodicity."""
    track = np.concatenate([clip.track for clip in clips])[:_NOISE_FRAMES]
    return noise_periodicity(track, (BAND,), seed)[0]


def pool(clips: Sequence[HeardClip], seed: int = 0, noise: float | None = None) -> Figures:
    """The figures of clips together. `noise`: what periodicity is read above, where it is known already;
    `seed` is of that noise."""
    errors = [clip.errors for clip in clips if clip.errors is not None]
    cer = sum(e.character_errors for e in errors) / max(1, sum(e.characters for e in errors))
    together = np.concatenate([clip.track for clip in clips])
    voiced = together[together > 0]
    weight = sum(clip.band.weight for clip in clips)
    raw = sum(clip.band.weighted for clip in clips) / weight if weight else 0.0
    speaking = sum(clip.speaking for clip in clips)
    faults = pooled([clip.artefacts for clip in clips])
    return Figures(
        cer=cer if errors else None,
        similarity=_mean([clip.similarity for clip in clips]),
        likeness=_likeness(clips),
        quality=_mean([clip.quality for clip in clips]),
        pitch_hz=float(np.median(voiced)) if voiced.size else 0.0,
        pitch_spread=f0_statistics(together).sd_semitones,
        pace=sum(clip.letters for clip in clips) / speaking if speaking > 0 else 0.0,
        periodicity=above_noise(raw, noise_floor(clips, seed) if noise is None else noise),
        echo=max(faults["echo_12_5"], faults["echo_25"]),
        lines_db=faults["lines"],
        whistle_db=faults["level_2_3_khz"],
        hums=faults["hums"],
    )


def _mean(values: Sequence[float | None]) -> float | None:
    found = [value for value in values if value is not None]
    return float(np.mean(found)) if found else None


def _likeness(clips: Sequence[HeardClip]) -> float | None:
    """Where the clips lie between strangers, 0, and the recordings, 1: mean of the encoders."""
    if not clips[0].likeness:
        return None
    alike, strangers, own = np.mean([clip.likeness for clip in clips], axis=0).T
    return float(np.mean((alike - strangers) / np.maximum(own - strangers, 1e-3)))
