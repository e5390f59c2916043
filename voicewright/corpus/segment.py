"""Long recordings cut at pauses into pieces fit for training; silero-vad finds where there is speech."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from voicewright.audio.files import Samples
from voicewright.audio.loudness import frame_levels
from voicewright.audio.offset import without_offset
from voicewright.errors import VoicewrightError

VAD_RATE = 16_000
_WINDOW = 60.0
"""Seconds looked at together: bounds memory, whatever the recording's length."""
_STEP = 0.010


@dataclass(frozen=True)
class Cutting:
    """How pieces are cut. Seconds."""

    shortest: float = 1.0
    longest: float = 12.0
    pause: float = 0.6
    """A pause of this length ends a piece."""
    padding: float = 0.10
    """Kept around speech, at most half of the pause."""


class Detector:
    """Finds speech. Loads silero-vad's weights from its wheel."""

    def __init__(self) -> None:
        try:
            from silero_vad import load_silero_vad
        except ImportError as error:
            raise VoicewrightError(
                "Cutting untranscribed recordings needs silero-vad: install voicewright[prepare]."
            ) from error
        self._model = load_silero_vad()

    def spans(self, samples: Samples) -> list[tuple[float, float]]:
        """Speech in samples [T] at 16 kHz as (start, end) in seconds."""
        import torch
        from silero_vad import get_speech_timestamps

        found = get_speech_timestamps(
            torch.from_numpy(samples), self._model, sampling_rate=VAD_RATE, min_silence_duration_ms=150,
            min_speech_duration_ms=120, speech_pad_ms=0,
        )  # fmt: skip
        return [(span["start"] / VAD_RATE, span["end"] / VAD_RATE) for span in found]

    def likelihoods(self, samples: Samples) -> NDArray[np.float32]:
        """How likely each 512 of samples [T] at 16 kHz hold speech: [windows]."""
        import torch

        with torch.inference_mode():
            return self._model.audio_forward(torch.from_numpy(samples)[None], VAD_RATE)[0].numpy()


def pieces(
    blocks: Iterable[Samples], detector: Detector, cutting: Cutting | None = None
) -> Iterator[tuple[float, float]]:
    """(start, end) in seconds of each piece of a recording given as 16 kHz blocks, in order.

    Reads a minute at a time; the last pause of each minute begins the next, so no word is cut at the border.
    """
    rules = cutting or Cutting()
    window = int(_WINDOW * VAD_RATE)
    held: Samples = np.zeros(0, np.float32)
    origin = 0
    pending: list[Samples] = []
    count = 0
    for block in blocks:
        pending.append(block)
        count += len(block)
        if len(held) + count < window:
            continue
        held = np.concatenate([held, *pending])
        pending, count = [], 0
        heard = without_offset(held, VAD_RATE)
        cut = group(detector.spans(heard), heard, rules)
        # The last piece may go on behind the border: it is looked at again with what follows.
        keep = cut[:-1]
        border = int(keep[-1][1] * VAD_RATE) if keep else 0
        if not keep and not cut:
            border = len(held) - VAD_RATE
        yield from ((start + origin / VAD_RATE, end + origin / VAD_RATE) for start, end in keep)
        held = held[border:]
        origin += border
    held = np.concatenate([held, *pending])
    if len(held):
        heard = without_offset(held, VAD_RATE)
        for start, end in group(detector.spans(heard), heard, rules):
            yield start + origin / VAD_RATE, end + origin / VAD_RATE


def speech(blocks: Iterable[Samples], detector: Detector) -> Iterator[tuple[float, float]]:
    """(start, end) in seconds of each stretch of speech of a recording given as 16 kHz blocks, in order.

    Reads a minute at a time; a stretch that touches the border is looked at again with what follows.
    """
    window = int(_WINDOW * VAD_RATE)
    held: Samples = np.zeros(0, np.float32)
    origin = 0
    pending: list[Samples] = []
    count = 0
    for block in blocks:
        pending.append(block)
        count += len(block)
        if len(held) + count < window:
            continue
        held = np.concatenate([held, *pending])
        pending, count = [], 0
        found = detector.spans(without_offset(held, VAD_RATE))
        keep = found[:-1] if len(found) > 1 or (found and len(held) < 2 * window) else found
        yield from ((start + origin / VAD_RATE, end + origin / VAD_RATE) for start, end in keep)
        if keep is found:
            border = len(held) - (0 if found else VAD_RATE)
        else:
            # Half a pause before it, so that the detector hears it begin.
            before = keep[-1][1] if keep else 0.0
            border = int((before + found[-1][0]) / 2 * VAD_RATE)
        held = held[border:]
        origin += border
    held = np.concatenate([held, *pending])
    if len(held):
        for start, end in detector.spans(without_offset(held, VAD_RATE)):
            yield start + origin / VAD_RATE, end + origin / VAD_RATE


def group(
    spans: Sequence[tuple[float, float]], samples: Samples, rules: Cutting
) -> list[tuple[float, float]]:
    """Join speech spans into pieces of allowed length, cut at the longest pauses; pad each."""
    short: list[tuple[float, float]] = []
    levels = frame_levels(samples, VAD_RATE)
    for start, end in spans:
        short += _split(start, end, levels, rules)
    grouped: list[list[tuple[float, float]]] = []
    for span in short:
        if grouped and _belongs(grouped[-1], span, rules):
            grouped[-1].append(span)
            continue
        if grouped and span[1] - grouped[-1][0][0] > rules.longest and len(grouped[-1]) > 1:
            # Full: end at its longest pause of the later half instead of wherever the limit fell.
            first, second = _halve(grouped[-1])
            if second and span[0] - second[-1][1] < rules.pause and span[1] - second[0][0] <= rules.longest:
                grouped[-1] = first
                grouped.append([*second, span])
                continue
        grouped.append([span])
    bounds = [(group_[0][0], group_[-1][1]) for group_ in grouped]
    bounds = _join_short(bounds, rules)
    return _padded(bounds, len(samples) / VAD_RATE, rules)


def _belongs(held: Sequence[tuple[float, float]], span: tuple[float, float], rules: Cutting) -> bool:
    gap = span[0] - held[-1][1]
    if span[1] - held[0][0] > rules.longest:
        return False
    return gap < rules.pause or (held[-1][1] - held[0][0] < rules.shortest and gap < 2 * rules.pause)


def _halve(
    held: Sequence[tuple[float, float]],
) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    gaps = [
        (second[0] - first[1], at + 1)
        for at, (first, second) in enumerate(pairwise(held))
        if second[0] - held[0][0] >= 0.5 * (held[-1][1] - held[0][0])
    ]
    at = max(gaps)[1] if gaps else len(held)
    return list(held[:at]), list(held[at:])


def _split(
    start: float, end: float, levels: Sequence[float] | np.ndarray, rules: Cutting
) -> list[tuple[float, float]]:
    """Speech without a pause for longer than a piece may last is cut where it is quietest."""
    result = []
    while end - start > rules.longest:
        low, high = int((start + 0.5 * rules.longest) / _STEP), int((start + rules.longest) / _STEP)
        part = np.asarray(levels[low:high])
        if not len(part):
            break
        smooth = np.convolve(part, np.full(5, 0.2), mode="same")
        cut = (low + 2 + int(np.argmin(smooth[2:-2] if len(smooth) > 4 else smooth))) * _STEP
        result.append((start, cut))
        start = cut
    return [*result, (start, end)]


def _join_short(bounds: list[tuple[float, float]], rules: Cutting) -> list[tuple[float, float]]:
    """Pieces below the shortest join the nearer neighbour, where there is one near enough."""
    result: list[tuple[float, float]] = []
    for at, (start, end) in enumerate(bounds):
        if result and min(end - start, result[-1][1] - result[-1][0]) < rules.shortest:
            gap = start - result[-1][1]
            following = bounds[at + 1][0] - end if at + 1 < len(bounds) else float("inf")
            fits = end - result[-1][0] <= rules.longest
            if fits and gap < 2 * rules.pause and (gap <= following or end - start >= rules.shortest):
                result[-1] = (result[-1][0], end)
                continue
        result.append((start, end))
    return result


def _padded(bounds: list[tuple[float, float]], seconds: float, rules: Cutting) -> list[tuple[float, float]]:
    result = []
    for at, (start, end) in enumerate(bounds):
        before = start - bounds[at - 1][1] if at else start
        after = bounds[at + 1][0] - end if at + 1 < len(bounds) else seconds - end
        pad_before = min(rules.padding, before / 2 if at else before)
        pad_after = min(rules.padding, after / 2 if at + 1 < len(bounds) else after)
        result.append((start - max(0.0, pad_before), end + max(0.0, pad_after)))
    return result
