"""Where speech begins and ends in a clip. A key that is hit before or after it is no speech."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from voicewright.audio.files import Samples, resample
from voicewright.audio.loudness import FRAME, STEP
from voicewright.corpus.segment import VAD_RATE, Detector

_JOINED = 0.15
"""Frames apart by less belong together: the closure before a plosive is released lasts as long."""
_APART = 0.20
"""What stands nearer to speech than this is left to it: a plosive, a breath."""
_SHORT = 0.30
"""What lasts longer is left to the speech."""
_KNOCK = 0.12
"""What is shorter is a knock, where nothing can be asked whether it speaks."""
_LISTENED = 0.5
"""Seconds before and behind that the detector hears."""
_LOUD_DB = -25.0

Speaks = Callable[[Samples, int, float, float], bool]
"""Of samples [T] at a rate: is there a voice between two times in seconds?"""


def speech_bounds(
    levels: NDArray[np.float64],
    border: float,
    samples: Samples,
    rate: int,
    speech_db: float,
    speaks: Speaks | None = None,
) -> tuple[float, float]:
    """Start and end of speech in seconds; `levels` [frames] in dB, those from `border` on sound.

    `speaks` is asked about short sounds that stand apart at the edges; without it very short ones are knocks.
    """
    active = np.flatnonzero(levels >= border)
    spans = _spans(active)
    core = int(np.argmax([end - start for start, end in spans]))
    gained = samples * np.float32(10 ** ((_LOUD_DB - speech_db) / 20)) if len(spans) > 1 else samples

    def knock(at: int, neighbour: int) -> bool:
        (start, end), other = spans[at], spans[neighbour]
        apart = other[0] - end if at < neighbour else start - other[1]
        if end - start > _SHORT or apart < _APART:
            return False
        return not speaks(gained, rate, start, end) if speaks else end - start <= _KNOCK

    first, last = 0, len(spans) - 1
    while first < core and knock(first, first + 1):
        first += 1
    while last > core and knock(last, last - 1):
        last -= 1
    return spans[first][0], min(len(samples) / rate, spans[last][1])


def _spans(active: Sequence[int] | NDArray[np.intp]) -> list[tuple[float, float]]:
    """Start and end in seconds of frames that sound, joined where little lies between them."""
    breaks = [0] + [
        at for at, (one, two) in enumerate(pairwise(active), 1) if (two - one) * STEP - FRAME > _JOINED
    ]
    return [
        (float(active[start] * STEP), float(active[end - 1] * STEP + FRAME))
        for start, end in pairwise([*breaks, len(active)])
    ]


@functools.cache
def voice_detector() -> Speaks | None:
    """silero-vad, where it is installed: loaded when it is first asked."""
    import importlib.util

    if importlib.util.find_spec("silero_vad") is None:
        return None

    def speaks(samples: Samples, rate: int, start: float, end: float) -> bool:
        begin = max(0.0, start - _LISTENED)
        part = samples[round(begin * rate) : round((end + _LISTENED) * rate)]
        likely = _detector().likelihoods(resample(part, rate, VAD_RATE))
        first, last = ((time - begin) * VAD_RATE / 512 for time in (start, end))
        return bool(likely[max(0, int(first) - 1) : int(last) + 3].max(initial=0.0) >= 0.5)

    return speaks


@functools.cache
def _detector() -> Detector:
    return Detector()
