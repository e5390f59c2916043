"""Words that lie along stretches of speech → pieces of a length that training takes, with a check of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from voicewright.corpus.clips import phoneme_count
from voicewright.corpus.follow import FRAME_SECONDS, Way
from voicewright.corpus.passages import Passage, Rank, Spans, Unit

_STRAY, _STRAY_SHARE, _STRAY_MOST = 0.7, 0.2, 1.2
"""Seconds and share of a piece that may be speech which its words do not explain; and at most, in seconds."""
_PACE = 0.5
"""Natural logarithm by which a piece's pace may differ from the usual; short ones vary more."""


@dataclass(frozen=True)
class Shape:
    """How long pieces may be, in seconds."""

    shortest: float = 1.0
    longest: float = 15.0
    padding: float = 0.10
    """Kept around speech, at most half of the pause."""


@dataclass(frozen=True)
class Piece:
    """Seconds of a recording with its words; refused where there is a reason. Without length: words that
    nobody says.
    """

    start: float
    end: float
    text: str
    reason: str = ""
    detail: str = ""


def laid(way: Way, spans: Spans, count: int) -> list[Passage]:
    """One passage a stretch of speech, by the middle of its words, and one for words that nobody says."""
    middles = way.places.mean(1) * FRAME_SECONDS
    said = np.flatnonzero(way.places[:, 0] >= 0)
    edges = [(a[1] + b[0]) / 2 for a, b in pairwise(spans)]
    owner = np.searchsorted(edges, middles[said])
    found: list[Passage] = []
    at = 0
    for s in range(len(spans)):
        mine = said[owner == s]
        begin, end = (int(mine[0]), int(mine[-1]) + 1) if len(mine) else (at, at)
        if begin > at:
            found.append(Passage(s, s, at, begin))
        found.append(Passage(s, s + 1, begin, end))
        at = end
    return [*found, Passage(len(spans), len(spans), at, count)] if at < count else found


def cut(
    laid: Sequence[Passage], spans: Spans, words: Sequence[Unit], way: Way, text: str, shape: Shape
) -> list[Piece]:
    groups: list[Passage] = []
    run: list[Passage] = []
    for passage in laid:
        if passage.last > passage.first and passage.end > passage.begin:
            run.append(passage)
            continue
        groups += _grouped(run, spans, words, shape)
        groups.append(passage)
        run = []
    groups += _grouped(run, spans, words, shape)
    counts = np.concatenate([[0], np.cumsum([phoneme_count(word.phonemes) for word in words])])
    paces = [
        (counts[p.end] - counts[p.begin]) / _spoken(p, spans)
        for p in groups
        if p.last > p.first and p.end > p.begin
    ]
    usual = float(np.median(paces)) if paces else 1.0
    return [_judged(p, spans, words, way, text, shape, counts, usual) for p in groups]


def _spoken(passage: Passage, spans: Spans) -> float:
    return sum(end - start for start, end in spans[passage.first : passage.last])


def _judged(
    passage: Passage, spans: Spans, words: Sequence[Unit], way: Way, text: str, shape: Shape,
    counts: np.ndarray, usual: float,
) -> Piece:  # fmt: skip
    part = (
        text[words[passage.begin].start : words[passage.end - 1].stop] if passage.end > passage.begin else ""
    )
    if passage.first == passage.last:
        at = spans[min(passage.first, len(spans) - 1)][0]
        return Piece(
            at, at, part, "no_audio", f"the recording does not seem to hold these words: {part[:200]}"
        )
    start, end = spans[passage.first][0], spans[passage.last - 1][1]
    left = (start - spans[passage.first - 1][1]) / 2 if passage.first else start
    right = (spans[passage.last][0] - end) / 2 if passage.last < len(spans) else shape.padding
    low, high = start - min(shape.padding, left), end + min(shape.padding, right)
    if not part:
        return Piece(low, high, "", "no_text", "the text does not seem to hold what is said here")
    spoken = _spoken(passage, spans)
    stray = float(way.astray[int(start / FRAME_SECONDS) : int(end / FRAME_SECONDS) + 1].sum()) * FRAME_SECONDS
    if stray > min(_STRAY_MOST, max(_STRAY, _STRAY_SHARE * spoken)):
        why = f"{stray:.1f} s of {spoken:.1f} s of speech do not fit its text: {part[:200]}"
        return Piece(low, high, part, "text_audio_mismatch", why)
    count = float(counts[passage.end] - counts[passage.begin])
    if abs(np.log(max(count, 0.5) / spoken / usual)) > _PACE + 3.0 / max(count, 1.0):
        why = f"{spoken:.1f} s of speech is not the reader's pace for its text: {part[:200]}"
        return Piece(low, high, part, "text_audio_mismatch", why)
    return Piece(low, high, part)


def _grouped(run: Sequence[Passage], spans: Spans, words: Sequence[Unit], shape: Shape) -> list[Passage]:
    """Stretches in a row joined to pieces that end with sentences, and are neither too short nor too long."""
    groups: list[Passage] = []
    opened: list[Passage] = []
    for passage in run:
        opened.append(passage)
        if words[passage.end - 1].rank == Rank.SENTENCE:
            groups += _divided(opened, spans, words, shape)
            opened = []
    groups += _divided(opened, spans, words, shape) if opened else []
    at = 0
    while len(groups) > 1 and at < len(groups):
        if _length(groups[at], spans) >= shape.shortest:
            at += 1
            continue
        near = [k for k in (at - 1, at + 1) if 0 <= k < len(groups)]
        k = min(
            near, key=lambda k: spans[groups[max(k, at)].first][0] - spans[groups[min(k, at)].last - 1][1]
        )
        joined = _joined([groups[min(k, at)], groups[max(k, at)]])
        if _length(joined, spans) > shape.longest:
            at += 1
            continue
        groups[min(k, at) : max(k, at) + 1] = [joined]
        at = min(k, at)
    return groups


def _divided(parts: Sequence[Passage], spans: Spans, words: Sequence[Unit], shape: Shape) -> list[Passage]:
    """One passage, or several where it is too long: cut at clauses and at long pauses, near the middle."""
    whole = _joined(parts)
    length = _length(whole, spans)
    if length <= shape.longest or len(parts) == 1:
        return [whole]

    def worth(at: int) -> float:
        before, after = parts[at - 1], parts[at]
        pause = spans[after.first][0] - spans[before.last - 1][1]
        middle = abs((spans[before.last - 1][1] - spans[whole.first][0]) / length - 0.5)
        return float(words[before.end - 1].rank) + min(pause, 1.0) - 3.0 * middle

    at = max(range(1, len(parts)), key=worth)
    return [part for half in (parts[:at], parts[at:]) for part in _divided(half, spans, words, shape)]


def _joined(parts: Sequence[Passage]) -> Passage:
    return Passage(parts[0].first, parts[-1].last, parts[0].begin, parts[-1].end)


def _length(passage: Passage, spans: Spans) -> float:
    return spans[passage.last - 1][1] - spans[passage.first][0]
