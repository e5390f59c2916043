"""Which words of a text each stretch of speech of a long recording holds, by how long they take to say.

Stretches of speech lie between pauses; words are cut at any blank. The cheapest way through both in order
weighs how long a stretch lasts against how long its words take at the speaker's own rate, and pauses against
the marks of the text. Speech may have no words in the text (an announcement), sentences no speech (left out).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from voicewright.corpus.clips import Reader, phoneme_count

Floats = NDArray[np.float64]
Spans = Sequence[tuple[float, float]]


class Rank(IntEnum):
    """What ends after a word."""

    WORD = 1
    CLAUSE = 2
    SENTENCE = 3


@dataclass(frozen=True)
class Unit:
    """A written word, `text[start:stop]` with the marks at it; its phonemes, marks included."""

    start: int
    stop: int
    phonemes: str
    rank: Rank


@dataclass(frozen=True)
class Passage:
    """Stretches of speech and words that belong together: spans[first:last], units[begin:end].

    Either may be empty: words that nobody says, speech that no words are there for.
    """

    first: int
    last: int
    begin: int
    end: int


_SENTENCE, _CLAUSE = ".!?…", ",;:—"
_WRITTEN_END = re.compile(r"[.!?…。！？।][\"'”’»›)\]]{0,3}$")
_WRITTEN_CLAUSE = re.compile(r"[,;:—–、，；：][\"'”’»›)\]]{0,3}$")
_WORD = re.compile(r"[^\s。！？、，；：]++[。！？、，；：]*+|[。！？、，；：]++")

_SPREAD, _DRIFT = 0.15, 0.18
"""A stretch of E expected seconds deviates by the root of _SPREAD² + _DRIFT² E, in seconds."""
_NO_PAUSE = {Rank.WORD: 0.0, Rank.CLAUSE: 0.4, Rank.SENTENCE: 2.5}
"""Cost of words that run on without a pause."""
_PAUSE = {Rank.WORD: (2.5, 2.0), Rank.CLAUSE: (0.5, 1.0), Rank.SENTENCE: (0.0, 0.0)}
"""Cost of a pause there, and for each of its seconds."""
_SKIP, _SKIP_SECOND = 4.0, 2.5
"""Cost of words without speech or speech without words, and for each of its seconds."""
_ASTRAY = 5.0
"""More, where that is not between sentences."""
_ELSEWHERE = 2.0
"""Cost of a word in another stretch than it was heard in."""
_ROUNDS = 3
_BAND = 400
_ROOM = 150_000_000


def units(text: str, reader: Reader) -> list[Unit]:
    """The words of a text with their phonemes, read sentence by sentence."""
    found: list[Unit] = []
    words = list(_WORD.finditer(text))
    start = 0
    for at, word in enumerate(words):
        broken = at + 1 < len(words) and "\n" in text[word.end() : words[at + 1].start()]
        if at + 1 == len(words) or broken or _WRITTEN_END.search(word[0]):
            found += _sentence(text, words[start : at + 1], reader)
            start = at + 1
    return found


def _sentence(text: str, words: Sequence[re.Match[str]], reader: Reader) -> list[Unit]:
    whole = reader.tokens(text[words[0].start() : words[-1].end()]).phonemes.split()
    # Numbers are read as several words: then each written word is read by itself.
    if len(whole) != len(words):
        whole = [reader.tokens(word[0]).phonemes for word in words]
    last = len(words) - 1
    return [
        Unit(word.start(), word.end(), sound.strip(), Rank.SENTENCE if at == last else _rank(word[0], sound))
        for at, (word, sound) in enumerate(zip(words, whole, strict=True))
    ]


def _rank(word: str, sound: str) -> Rank:
    mark = sound.strip()[-1:]
    if mark and mark in _SENTENCE:
        return Rank.SENTENCE
    if (mark and mark in _CLAUSE) or _WRITTEN_CLAUSE.search(word):
        return Rank.CLAUSE
    return Rank.WORD


class Fit:
    """Words laid along stretches of speech. `heard` [units]: the stretch a word was heard in, -1 unknown."""

    def __init__(self, spans: Spans, words: Sequence[Unit], heard: NDArray[np.int64] | None = None) -> None:
        self.seconds = np.array([end - start for start, end in spans])
        self.gaps = np.array([0.0, *(b[0] - a[1] for a, b in pairwise(spans)), 9.0])
        counts = np.array([phoneme_count(word.phonemes) for word in words], np.float64)
        self.effort = counts + 0.5
        self.ranks = np.array([Rank.SENTENCE, *(word.rank for word in words)], np.int64)
        self.heard = heard
        self.rate = self.seconds.sum() / max(1.0, self.effort.sum())

    @property
    def fits_memory(self) -> bool:
        return len(self.seconds) * (2 * self._half() + 1) < _ROOM

    def _half(self) -> int:
        return int(max(_BAND, 0.15 * len(self.effort)))

    def passages(self) -> list[Passage]:
        """The cheapest way, one passage a stretch, and one for each run of words without speech."""
        found: list[Passage] = []
        for _ in range(_ROUNDS):
            found = self._search()
            ratios = [
                self.seconds[p.first : p.last].sum() / self.effort[p.begin : p.end].sum()
                for p in found
                if p.last > p.first and p.end - p.begin > 2
            ]
            if not ratios:
                break
            rate = float(np.median(ratios))
            if abs(rate / self.rate - 1) < 0.01:
                break
            self.rate = rate
        return found

    def _search(self) -> list[Passage]:
        count, width = len(self.seconds), len(self.effort)
        expected = np.concatenate([[0.0], np.cumsum(self.effort * self.rate)])
        running = np.concatenate([[0.0], np.cumsum([_NO_PAUSE[Rank(r)] for r in self.ranks[1:]])])
        half = self._half()
        ends = np.cumsum(self.seconds) / self.seconds.sum()
        score = np.full(width + 1, np.inf)
        score[0] = 0.0
        first = np.zeros((count + 1,), np.int64)
        came: list[NDArray[np.int32]] = []
        over: list[NDArray[np.int32]] = []
        score, jumps = self._skip(score, expected)
        over.append(jumps)
        for s in range(count):
            centre = round(float(ends[s]) * width)
            low, high = max(0, centre - half), min(width, centre + half)
            first[s + 1] = low
            fresh, back = self._take(s, score, expected, running, low, high)
            came.append(back)
            score, jumps = self._skip(fresh, expected)
            over.append(jumps[low : high + 1])
        return self._back(came, over, first, width)

    def _skip(self, score: Floats, expected: Floats) -> tuple[Floats, NDArray[np.int32]]:
        """Sentences that nobody says: each from its start to its end, at a cost."""
        best = score.copy()
        source = np.full(len(score), -1, np.int32)
        stops = np.flatnonzero(self.ranks == Rank.SENTENCE)
        for a, b in pairwise(stops):
            opening = _SKIP if source[a] < 0 else 0.0
            cost = best[a] + opening + _SKIP_SECOND * (expected[b] - expected[a])
            if cost < best[b]:
                best[b] = cost
                source[b] = a if source[a] < 0 else source[a]
        return best, source

    def _take(
        self, s: int, score: Floats, expected: Floats, running: Floats, low: int, high: int
    ) -> tuple[Floats, NDArray[np.int32]]:
        """Scores [units + 1] after stretch s, and where each of low..high came from."""
        seconds = self.seconds[s]
        ends = np.arange(low, high + 1)
        # No more words than could be said in twice the time.
        most = int(np.max(ends - np.searchsorted(expected, expected[ends] - 2 * seconds - 1.0), initial=1))
        begins = ends[:, None] - np.arange(0, most + 1)[None]
        valid = begins >= 0
        begins = np.maximum(begins, 0)
        takes = expected[ends][:, None] - expected[begins]
        misfit = (takes - seconds) ** 2 / (2 * (_SPREAD**2 + _DRIFT**2 * np.maximum(takes, seconds)))
        # The last word's own end is a pause, which is paid for once.
        inside = running[np.maximum(ends - 1, 0)][:, None] - running[begins]
        cost = score[begins] + misfit + np.maximum(inside, 0.0)
        if self.heard is not None:
            elsewhere = np.concatenate([[0], np.cumsum((self.heard >= 0) & (self.heard != s))])
            cost += _ELSEWHERE * (elsewhere[ends][:, None] - elsewhere[begins])
        cost[~valid] = np.inf
        stray = np.where(self.ranks[ends] == Rank.SENTENCE, 0.0, _ASTRAY)
        cost[:, 0] = score[ends] + _SKIP + _SKIP_SECOND * seconds + stray
        at = cost.argmin(1)
        fresh = np.full(len(score), np.inf)
        gap = min(1.5, float(self.gaps[s + 1]))
        table = np.array([0.0, *(a + b * gap for a, b in (_PAUSE[rank] for rank in Rank))])
        pause = np.where(at > 0, table[self.ranks[ends]], 0.0) if s + 1 < len(self.seconds) else 0.0
        fresh[ends] = cost[np.arange(len(ends)), at] + pause
        return fresh, (ends - at).astype(np.int32)

    def _back(
        self,
        came: Sequence[NDArray[np.int32]],
        over: Sequence[NDArray[np.int32]],
        first: NDArray[np.int64],
        width: int,
    ) -> list[Passage]:
        found: list[Passage] = []
        at = width
        for s in range(len(came), -1, -1):
            source = int(over[s][at - first[s]])
            if source >= 0:
                found.append(Passage(s, s, source, at))
                at = source
            if s:
                begin = int(came[s - 1][at - first[s]])
                found.append(Passage(s - 1, s, begin, at))
                at = begin
        return found[::-1]
