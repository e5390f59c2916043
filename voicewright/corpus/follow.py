"""A long recording followed word by word through its text: speech that the text lacks and sentences that
nobody says are passed over.

Sounds are told apart by what the recording itself teaches. At first only their kind is known: vowels are
loud, hissing sounds lie high, stops are nearly silent. The best way through the text by that gives each
phoneme its frames, these give it a Gaussian, and with those it is followed again. Any language with phonemes
will do. Frames are 25 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from voicewright.corpus.passages import Rank, Unit
from voicewright.corpus.phones import VOWELS, is_phone

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

FRAME_SECONDS = 0.025
_HISS, _STOP, _SOFT, _NASAL = frozenset("szʃʒʦʣʧʤɕʑʂʐç"), frozenset("ptkbdɡqɾʔ"), frozenset("fvθðhxχɣβɸ"), 2
# Loudness and slope (highs over lows) of each kind, in standard deviations of the recording's speech.
_KINDS = np.array([(-2.6, 0.0), (0.6, -0.4), (0.0, -0.7), (-0.1, 2.0), (-0.9, 0.2), (-0.7, 0.5)], np.float32)
_WIDTH = np.array([(0.6, 1.2), (0.6, 0.6), (0.8, 0.7), (0.8, 0.8), (1.0, 0.9), (0.9, 1.0)], np.float32)
_FLOOR = -12.0
_ROUNDS = 5
_LEAVE = 12.0
"""Cost of leaving the text, or of passing over a sentence: like so many nats of frames that do not fit."""
_PASS = 1.2
"""Cost of each phoneme that is passed over."""
_LINGER, _MOST_LINGER = 0.25, 1.5
"""Cost of each frame in which a phoneme lasts longer than is usual, growing with each, and at most."""
_USUAL = 1.6
"""Times the recording's frames a phoneme: so long is usual."""
_WORD_FRAMES = 12
"""Speech that no word has lasts at least so long."""
_SHRINK = 20.0
_TRUST = 0.6
_FAR, _NEAR = 1500, 400
"""States to either side of where a frame is expected: by pace alone, and in the rounds that follow."""


@dataclass(frozen=True)
class Way:
    """Frames [units, 2] of each word, first and behind the last; -1 where nobody says it. `astray` [F]:
    speech that no word has. `fit` [F]: how well each frame fits its phoneme, at most 0.
    """

    places: Ints
    astray: npt.NDArray[np.bool_]
    fit: Floats


@dataclass(frozen=True)
class _States:
    """One before each word (silence, or what the text lacks), then its phonemes; one at the end.

    kinds [N]: class of each state; words [N]: its word; gaps: indices of the states before words; breaks:
    indices of those that begin a sentence, and the end.
    """

    classes: Ints
    words: Ints
    is_gap: npt.NDArray[np.bool_]
    breaks: Ints
    costs: Floats
    """Of passing over what lies before each of `breaks`, added up."""
    linger: Floats
    """[N] cost of each frame too many."""


def follow(spectra: Floats, voiced: npt.NDArray[np.bool_], words: Sequence[Unit], about: Floats) -> Way:
    """The way of a recording [F, 80] (log power) through its words.

    voiced [F]: frames of speech. about [units + 1]: the frame where each word begins, roughly.
    """
    symbols = sorted({s for word in words for s in word.phonemes if is_phone(s)})
    states = _states(words, {symbol: number for number, symbol in enumerate(symbols, 1)})
    scores = _first_scores(spectra, voiced, symbols)
    vectors = _vectors(spectra, voiced)
    filler = _filler(scores, voiced, 0.0)
    middle = np.interp(np.arange(len(spectra)), about, _starts(states, len(words))).astype(np.float32)
    path = np.zeros(len(spectra), np.int64)
    for number in range(_ROUNDS):
        path, stray = _search(scores, filler, states, middle, _NEAR if number else _FAR)
        middle = path.astype(np.float32)
        labels = states.classes[path]
        if number + 1 < _ROUNDS:
            scores = _gaussians(vectors, labels, ~stray, symbols, voiced)
            own = scores[np.arange(len(path)), labels]
            filler = _filler(scores, voiced, float(np.median(own[(labels > 0) & ~stray])))
    labels = states.classes[path]
    fit = scores[np.arange(len(path)), labels]
    places = np.full((len(words), 2), -1, np.int64)
    inside = ~states.is_gap[path]
    owner = states.words[path]
    for frame in np.flatnonzero(inside):
        word = owner[frame]
        if places[word, 0] < 0:
            places[word, 0] = frame
        places[word, 1] = frame + 1
    return Way(places, _lasting(stray & voiced), fit)


def _lasting(marked: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Without runs that are too short to be words."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    out = marked.copy()
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start < _WORD_FRAMES:
            out[start:end] = False
    return out


def _starts(states: _States, count: int) -> Floats:
    starts = np.searchsorted(states.words, np.arange(count + 1))
    return np.minimum(starts, len(states.words) - 1).astype(np.float32)


def _states(words: Sequence[Unit], classes: dict[str, int]) -> _States:
    kinds: list[int] = []
    owners: list[int] = []
    gaps: list[bool] = []
    breaks: list[int] = []
    costs: list[float] = []
    linger: list[float] = []
    passed = 0.0
    for number, word in enumerate(words):
        if number == 0 or words[number - 1].rank == Rank.SENTENCE:
            breaks.append(len(kinds))
            costs.append(passed)
        own = [classes[s] for s in word.phonemes if is_phone(s)]
        kinds += [0, *own]
        owners += [number] * (1 + len(own))
        gaps += [True] + [False] * len(own)
        # Before a pause words are drawn out.
        linger += [0.0] + [_LINGER * (0.4 if word.rank > Rank.WORD else 1.0)] * len(own)
        passed += _PASS * len(own)
    breaks.append(len(kinds))
    costs.append(passed)
    return _States(
        np.array([*kinds, 0]), np.array([*owners, len(words)]), np.array([*gaps, True]), np.array(breaks),
        np.array(costs, np.float32), np.array([*linger, 0.0], np.float32),
    )  # fmt: skip


def _kind(symbol: str) -> int:
    if symbol in VOWELS:
        return 1
    if symbol in _HISS:
        return 3
    if symbol in _STOP:
        return 4
    return 5 if symbol in _SOFT else _NASAL


def _first_scores(spectra: Floats, voiced: npt.NDArray[np.bool_], symbols: Sequence[str]) -> Floats:
    """[F, classes] from loudness and slope alone."""
    power = np.logaddexp.reduce(spectra, 1)
    slope = np.logaddexp.reduce(spectra[:, 55:], 1) - np.logaddexp.reduce(spectra[:, 4:40], 1)
    seen = np.stack([_standard(power, voiced), _standard(slope, voiced)], 1)
    off = (seen[:, None] - _KINDS) / _WIDTH
    kinds = -0.5 * (off**2).sum(2) - np.log(_WIDTH).sum(1)
    scores = kinds[:, [0, *(_kind(symbol) for symbol in symbols)]]
    return _relative(scores, voiced)


def _standard(values: Floats, voiced: npt.NDArray[np.bool_]) -> Floats:
    centre, spread = np.median(values[voiced]), values[voiced].std() + 1e-3
    return np.asarray((values - centre) / spread, np.float32)


def _relative(scores: Floats, voiced: npt.NDArray[np.bool_]) -> Floats:
    scores = scores - scores.max(1, keepdims=True)
    # The detector of speech knows better than any Gaussian what silence is.
    scores[~voiced, 1:] -= 3.0
    scores[~voiced, 0] = 0.0
    return np.maximum(scores, _FLOOR).astype(np.float32)


def _filler(scores: Floats, voiced: npt.NDArray[np.bool_], usual: float) -> Floats:
    """[F] score of speech that the text lacks: worse than what fits, better than what does not."""
    level = 1.6 * usual - 0.4 if usual else float(scores[voiced, 1:].mean())
    return np.where(voiced, level, scores[:, 0]).astype(np.float32)


def _vectors(spectra: Floats, voiced: npt.NDArray[np.bool_], keep: int = 24) -> Floats:
    """Whitened principal components of frames and their slope [F, keep]."""
    rows = np.concatenate([spectra, 2.0 * np.gradient(spectra, axis=0)], 1)
    heard = rows[voiced]
    mean = heard.mean(0)
    values, basis = np.linalg.eigh(np.cov((heard - mean).T))
    basis = basis[:, ::-1][:, :keep] / np.sqrt(values[::-1][:keep] + 1e-6)
    return ((rows - mean) @ basis).astype(np.float32)


def _gaussians(
    vectors: Floats,
    labels: Ints,
    used: npt.NDArray[np.bool_],
    symbols: Sequence[str],
    voiced: npt.NDArray[np.bool_],
) -> Floats:
    """[F, classes]: each phoneme a mean, shrunk towards that of its kind, and all one variance."""
    rows, label = vectors[used], labels[used]
    kinds = np.array([0, *(_kind(symbol) for symbol in symbols)])
    broad = _means(rows, kinds[label], len(_KINDS), rows[label > 0].mean(0)[None])
    mean = _means(rows, label, len(kinds), broad[kinds])
    within = ((rows - mean[label]) ** 2)[label > 0].mean(0)
    scaled = vectors / np.sqrt(within)
    middle = mean / np.sqrt(within)
    distance = (middle**2).sum(1) - 2.0 * scaled @ middle.T
    # Frames are not independent: neighbours say much the same.
    return _relative((-0.5 * _TRUST * distance).astype(np.float32), voiced)


def _means(
    rows: Floats, label: Ints, classes: int, towards: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Mean of each class [classes, K], as if it had _SHRINK frames more at `towards`."""
    count = np.bincount(label, minlength=classes).astype(np.float64)[:, None]
    total = np.zeros((classes, rows.shape[1]))
    np.add.at(total, label, rows)
    return np.asarray((total + _SHRINK * towards) / (count + _SHRINK), np.float64)


def _search(
    scores: Floats, filler: Floats, states: _States, middle: Floats, half: int
) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """The best state of each frame [F], at most `half` from `middle` [F], and whether it is speech that the
    text lacks.
    """
    count, width = len(scores), len(states.classes)
    half = min(width, half)
    is_break = np.zeros(width, bool)
    is_break[states.breaks] = True
    gap = states.is_gap
    second = np.concatenate([[False, False], gap[1:-1]])
    current = np.full(width, -np.inf, np.float32)
    current[0] = 0.0
    current, jump = _jump(current, states.breaks, states.costs)
    jumps = [jump]
    dwell = np.zeros(width, np.float32)
    usual = _USUAL * (filler != scores[:, 0]).sum() / max(1, int((~gap).sum()))
    lows = np.clip(np.round(middle).astype(np.int64) - half, 0, max(0, width - 1))
    moves: list[npt.NDArray[np.uint8]] = []
    for frame in range(count):
        low, high = int(lows[frame]), int(min(width, lows[frame] + 2 * half + 1))
        part = current[low:high]
        own = scores[frame][states.classes[low:high]]
        astray = filler[frame] > own
        own = np.where(is_break[low:high] & astray, filler[frame], own)
        one = np.full(len(part), -np.inf, np.float32)
        two = np.full(len(part), -np.inf, np.float32)
        one[1:] = part[:-1]
        two[2:] = np.where(second[low + 2 : high], part[:-2], -np.inf)
        held = dwell[low:high]
        stay = part - np.minimum(_MOST_LINGER, states.linger[low:high] * np.maximum(0.0, held - usual))
        best = np.maximum(np.maximum(stay, one), two)
        stays = best == stay
        moves.append(np.where(stays, 0, np.where(best == one, 1, 2)).astype(np.uint8))
        dwell[low:high] = np.where(stays, held + 1, 1)
        current = np.full(width, -np.inf, np.float32)
        current[low:high] = best + own
        current, jump = _jump(current, states.breaks, states.costs)
        jumps.append(jump)
    at = width - 1 if np.isfinite(current[-1]) else int(current.argmax())
    path = np.zeros(count, np.int64)
    place = {int(b): k for k, b in enumerate(states.breaks)}
    for frame in range(count - 1, -1, -1):
        at = _jumped(jumps[frame + 1], at, place, states.breaks)
        path[frame] = at
        at -= int(moves[frame][at - int(lows[frame])])
    stray = is_break[path] & (filler > scores[:, 0])
    return path, stray


def _jump(current: Floats, breaks: Ints, costs: Floats) -> tuple[Floats, npt.NDArray[np.int32]]:
    """Sentences passed over: from one break straight to a later one."""
    held = current[breaks]
    lifted = held + costs
    best = np.maximum.accumulate(lifted)
    source = np.maximum.accumulate(np.where(lifted >= best, np.arange(len(breaks)), 0))
    reached = np.concatenate([[-np.inf], best[:-1] - costs[1:] - _LEAVE]).astype(np.float32)
    before = np.concatenate([[0], source[:-1]])
    better = reached > held
    current[breaks] = np.where(better, reached, held)
    return current, np.where(better, before, -1).astype(np.int32)


def _jumped(jump: npt.NDArray[np.int32], at: int, place: dict[int, int], breaks: Ints) -> int:
    number = place.get(at)
    if number is None or jump[number] < 0:
        return at
    return int(breaks[jump[number]])
