"""Where tokens and words stand in the sound, by the durations that a model was taught.

A model whose durations come from our aligner begins and ends its tokens where they are heard, and leaves
silence to the pads at both ends. Kokoro and the StyleTTS 2 family learnt theirs from an attention that lags:
sound is heard about two frames before its token begins, a space belongs half to each of its neighbours, and
the silence before a mark lies in the last sound before it, of which nothing is heard two frames after its
token begins. There the end pad has one frame. (The kokoro package takes three frames off and halves spaces.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from voicewright.text.frontend import Tokens
from voicewright.units import FRAME

LAG = 2 * FRAME
"""Samples by which attention lags, at normal speed."""
HELD = 2 * FRAME
"""Samples after the nominal start of the last sound before a mark in which it is heard to its end."""
MARKS = ".,;:!?…—)。、，；：！？"
"""Symbols at which a voice may pause."""
_END_PAD = 3.0
"""Frames at normal speed: an end pad below has no silence of its own."""


@dataclass(frozen=True)
class Clock:
    """Samples within an utterance where its tokens (pads left out) and its words begin and end."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    word_starts: NDArray[np.int64]
    word_ends: NDArray[np.int64]


def lags(durations: NDArray[np.int64], speed: float) -> bool:
    """Are durations int64 [T] with both pads, spoken at `speed`, of the kind that attention teaches?"""
    return float(durations[-1]) * speed < _END_PAD


def clock(tokens: Tokens, durations: NDArray[np.int64], speed: float = 1.0, exact: bool = False) -> Clock:
    """The times of an utterance with durations int64 [T], pads included; T is two more than `tokens` has.

    exact: durations are from the sound itself, of whatever model.
    """
    edges = np.cumsum(durations)[:-1] * FRAME
    starts, ends = edges[:-1].copy(), edges[1:].copy()
    first = np.array([word.start for word in tokens.words], np.int64)
    last = np.array([word.stop - 1 for word in tokens.words], np.int64)
    if exact or not lags(durations, speed) or not len(first):
        return Clock(starts, ends, starts[first], ends[last])
    spaces = np.array([symbol == " " for symbol in tokens.phonemes])
    pauses = np.array([_pauses(tokens, number) for number in range(len(first))])
    lag = min(round(LAG / speed), int(edges[0]))
    closing = last[pauses]
    heard = np.minimum(starts + round(HELD / speed), ends - lag // 2)[closing]
    starts, ends = starts - lag, ends - lag
    ends[closing] = heard
    # The silence up to the mark is the mark's.
    followed = closing + 1 < len(starts)
    starts[closing[followed] + 1] = heard[followed]
    starts, ends = np.maximum.accumulate(np.stack([starts, ends], 1).ravel()).reshape(-1, 2).T
    word_starts, word_ends = starts[first].copy(), ends[last].copy()
    for number in range(len(first) - 1):
        before, after = last[number] + 1, first[number + 1]
        if not pauses[number] and after - before == 1 and spaces[before]:
            middle = (starts[before] + ends[before]) // 2
            word_ends[number], word_starts[number + 1] = middle, middle
    return Clock(starts, ends, word_starts, word_ends)


def _pauses(tokens: Tokens, number: int) -> bool:
    """Does a mark, or the end, follow a word?"""
    stop = tokens.words[number].stop
    following = tokens.words[number + 1].start if number + 1 < len(tokens.words) else len(tokens.phonemes)
    return number + 1 == len(tokens.words) or any(
        symbol in MARKS for symbol in tokens.phonemes[stop:following]
    )
