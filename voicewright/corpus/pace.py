"""Does a text fit its recording? Judged by length: how long this speaker takes for that many phonemes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voicewright.corpus.clips import phoneme_count
from voicewright.corpus.manifest import Utterance

ENOUGH = 20
"""Clips of a speaker from which on the pace of each is judged by the others."""
_SIGMAS = 3.5
_LEAST = 0.42
"""No clip is odd that lies within this (natural logarithm) of the expected length."""
_HURRIED, _DRAWN = 3.0, 1.5
"""Few phonemes vary more: this much over their number is allowed on top, of short and of long speech."""
_ROUNDS = 10


def mismatches(utterances: Sequence[Utterance]) -> dict[str, str]:
    """Ids of clips whose speech is far too short or too long for their text, each with a sentence why.

    Finds texts that were cut, doubled or swapped with ones of another length; texts of the same length pass.
    """
    speakers: dict[str, list[Utterance]] = defaultdict(list)
    for utterance in utterances:
        speakers[utterance.speaker].append(utterance)
    groups = [clips for clips in speakers.values() if len(clips) >= ENOUGH]
    # Speakers of few clips are judged together, with the larger spread that they have then.
    groups.append([clip for clips in speakers.values() if len(clips) < ENOUGH for clip in clips])
    odd: dict[str, str] = {}
    for clips in groups:
        if len(clips) >= ENOUGH:
            odd.update(_mismatches(clips))
    return odd


def _mismatches(clips: Sequence[Utterance]) -> dict[str, str]:
    counts = np.array([phoneme_count(clip.phonemes) for clip in clips], float)
    seconds = np.array([spoken_seconds(clip) for clip in clips])
    expected = expected_seconds(counts, seconds)
    error = np.log(seconds / expected)
    spread = 1.4826 * float(np.median(np.abs(error - np.median(error))))
    limit = max(_LEAST, _SIGMAS * spread) + np.where(error < 0, _HURRIED, _DRAWN) / counts
    odd = {}
    for clip, off, should, most in zip(clips, error, expected, limit, strict=True):
        if abs(off) > most:
            much = "short" if off < 0 else "long"
            odd[clip.id] = (
                f"{spoken_seconds(clip):.2f} s of speech is too {much} for this text: "
                f"about {should:.2f} s was expected of {clip.speaker}"
            )
    return odd


def spoken_seconds(utterance: Utterance) -> float:
    """Length of the recording without the silence at its edges."""
    measured = utterance.measurements
    return max(0.05, measured.source_seconds - measured.silence_start - measured.silence_end)


def expected_seconds(counts: NDArray[np.float64], seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Seconds [N] that a line through most clips gives for their phoneme counts [N].

    Reweighted least squares in relative error, so that neither long clips nor wrong texts bend the line.
    """
    design = np.stack([np.ones_like(counts), counts], axis=1)
    weight = 1.0 / np.maximum(seconds, 0.3)
    least = 0.5 * float(np.median(seconds / counts)) * counts
    expected = np.maximum(least, seconds)
    for _ in range(_ROUNDS):
        line = np.linalg.lstsq(design * weight[:, None], seconds * weight, rcond=None)[0]
        expected = np.maximum(design @ line, least)
        error = np.log(seconds / expected)
        spread = max(0.02, 1.4826 * float(np.median(np.abs(error))))
        weight = 1.0 / expected / np.maximum(1.0, np.abs(error) / (2 * spread))
    return expected
