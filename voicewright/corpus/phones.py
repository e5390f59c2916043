"""How each token of a clip may sound: which frames it can claim, in terms of the aligner's phone classes.

Every token owns at least one frame, because Kokoro clamps durations so; but not every token is a sound. A
stress mark is silent: it takes exactly the first frame of the phone it stands before. A length mark or a
modifier takes the last frame of the phone before it. A space or punctuation takes silence, and where the
speaker makes no pause one frame at the word's end. So the classifier has classes for silence and for real
phones only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PAUSES = frozenset(' ;:,.!?¡¿—…"()«»“”↓→↗↘↑')
LEADING = frozenset("ˈˌ")
TRAILING = frozenset("ːˑʰʱʲʷˠˤᵝ̩̃ʼʴ˞")
VOWELS = frozenset("AIOQWYᵊaeiouyæɐɑɒɔəɘɚɛɜɝɞɤɨɪɯɵøœɶʉʊʌᵻ")
SILENCE = ""
PAD_FRAMES = 6
"""Frames of added silence that each end pad owns at least."""
MAX_FRAMES = 50
"""Kokoro's max_dur: a longer token could not be learnt."""

_STANDS = 6
"""Quiet frames around a word's end from which on they are a pause."""
_KEPT = 3
"""Frames that a phone keeps beside one."""

_WORD_END = -0.5
_WORD_START = -1.5
"""Costs (natural log) of a pause token without silence: a frame of the word before, or of the next one."""


def is_phone(symbol: str) -> bool:
    """Whether the symbol is a sound of its own."""
    return symbol not in PAUSES and symbol not in LEADING and symbol not in TRAILING


def inventory(phonemes: Iterable[str]) -> tuple[str, ...]:
    """The classes of an aligner: silence, then the phones in use, sorted."""
    return (SILENCE, *sorted({symbol for line in phonemes for symbol in line if is_phone(symbol)}))


@dataclass(frozen=True)
class Plan:
    """What the tokens of one clip (pads included) may claim.

    enter [T, 3], stay [T]: class numbers, -1 for never; cost [T, 3] is added to the entering score.
    """

    symbols: tuple[str, ...]
    enter: npt.NDArray[np.int64]
    cost: npt.NDArray[np.float32]
    stay: npt.NDArray[np.int64]


def plan(phonemes: str, classes: Mapping[str, int]) -> Plan:
    """The plan of one clip: a pad, the phonemes, a pad."""
    symbols = (SILENCE, *phonemes, SILENCE)
    count = len(symbols)
    enter = np.full((count, 3), -1, np.int64)
    cost = np.zeros((count, 3), np.float32)
    stay = np.full(count, -1, np.int64)
    own = [classes[s] if s and is_phone(s) else -1 for s in symbols]
    before = np.full(count, -1, np.int64)
    after = np.full(count, -1, np.int64)
    for i in range(1, count):
        before[i] = own[i - 1] if own[i - 1] >= 0 else before[i - 1]
    for i in range(count - 2, -1, -1):
        after[i] = own[i + 1] if own[i + 1] >= 0 else after[i + 1]
    for i, symbol in enumerate(symbols):
        if symbol == SILENCE:
            enter[i, 0] = stay[i] = 0
        elif symbol in PAUSES:
            enter[i] = 0, before[i], after[i]
            cost[i] = 0.0, _WORD_END, _WORD_START
            stay[i] = 0
        elif symbol in LEADING:
            enter[i, 0] = after[i] if after[i] >= 0 else 0
        elif symbol in TRAILING:
            enter[i, 0] = before[i] if before[i] >= 0 else 0
        else:
            enter[i, 0] = stay[i] = own[i]
    return Plan(symbols, enter, cost, stay)


def tidy_pauses(durations: npt.NDArray[np.int64], symbols: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """The same durations with each pause's silence on one token: the first punctuation mark of a run of them.

    `, ` with 12 frames of silence becomes 11 and 1, always; only what exceeds MAX_FRAMES spills to the
    next token of the run. A run at a clip's end gives its surplus to the pad, so that pads look alike.
    """
    out = durations.copy()
    count = len(symbols)
    start = 1
    while start < count - 1:
        stop = start
        while stop < count - 1 and symbols[stop] in PAUSES:
            stop += 1
        if stop == start:
            start += 1
            continue
        run = list(range(start, stop))
        surplus = int(out[run].sum()) - len(run)
        out[run] = 1
        marks = [i for i in run if symbols[i] != " "] + [i for i in run if symbols[i] == " "]
        if stop == count - 1:
            marks = [stop, *marks]
        elif start == 1:
            marks = [0, *marks]
        for i in marks:
            given = max(0, min(surplus, MAX_FRAMES - int(out[i])))
            out[i] += given
            surplus -= given
        out[marks[0]] += surplus
        start = stop
    return out


def free_pauses(
    durations: npt.NDArray[np.int64], symbols: tuple[str, ...], quiet: npt.NDArray[np.bool_]
) -> npt.NDArray[np.int64]:
    """The same durations with silence between words on the space or mark there, where phones had taken it in.

    quiet [F]: frames far below speech. A room's echo makes the end of a word seem to last through a pause.
    """
    out = durations.copy()
    starts = np.cumsum(durations) - durations
    count = len(symbols)
    start = 2
    while start < count - 2:
        if symbols[start] not in PAUSES:
            start += 1
            continue
        stop = start
        while symbols[stop] in PAUSES and stop < count - 1:
            stop += 1
        before, after = start - 1, stop
        while before > 1 and symbols[before] in TRAILING:
            before -= 1
        while after < count - 2 and symbols[after] in LEADING:
            after += 1
        if stop < count - 1:
            _free(out, quiet, starts, (before, start, stop, after), symbols)
        start = stop
    return out


def _free(
    out: npt.NDArray[np.int64],
    quiet: npt.NDArray[np.bool_],
    starts: npt.NDArray[np.int64],
    run: tuple[int, int, int, int],
    symbols: tuple[str, ...],
) -> None:
    before, start, stop, after = run
    first, last = int(starts[start]), int(starts[stop])
    left = right = 0
    while left < out[before] - _KEPT and quiet[first - 1 - left]:
        left += 1
    while right < out[after] - _KEPT and quiet[last + right]:
        right += 1
    if left + right + int(quiet[first:last].sum()) < _STANDS:
        return
    mark = next((i for i in range(start, stop) if symbols[i] != " "), start)
    left = max(0, min(left, MAX_FRAMES - int(out[mark])))
    right = max(0, min(right, MAX_FRAMES - int(out[mark]) - left))
    out[before] -= left
    out[after] -= right
    out[mark] += left + right
