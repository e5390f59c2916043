"""Long recordings with their whole text → pieces on disk, each with its own part of the text.

The text stays the user's, word for word; where recording and text part ways, the piece is refused, or the
sentence, and nothing else. No recogniser is asked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from voicewright.audio.files import AudioError, Samples, blocks, encode, probe, write_atomically
from voicewright.config import FRAME, SAMPLE_RATE
from voicewright.corpus.clips import Reader, phoneme_count
from voicewright.corpus.follow import FRAME_SECONDS, Floats, Way, follow
from voicewright.corpus.items import Item
from voicewright.corpus.passages import Fit, Passage, Rank, Spans, Unit, units
from voicewright.corpus.recordings import PIECES, slices
from voicewright.corpus.segment import VAD_RATE, Detector, speech
from voicewright.errors import VoicewrightError
from voicewright.text.vocab import MAX_TOKENS

LONGEST_READING = 3 * 3600.0
_VERSION = 1
_INDEX = "index.json"
_LETTERS = 100
"""A shorter text is one clip's."""
_BLOCK = 60
"""Seconds of which mels are made together."""
_STRAY, _STRAY_SHARE = 0.5, 0.15
"""Seconds, and share of a piece, of speech that its words do not explain."""
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


def is_reading(item: Item, reader: Reader, most: float) -> bool:
    """Whether a recording with a text is too long for one clip of `most` seconds: looks at headers only."""
    if item.reason is not None or item.path is None or item.text is None or len(item.text) < _LETTERS:
        return False
    try:
        seconds = probe(item.path).seconds
    except AudioError:
        return False
    if seconds > most:
        return True
    return seconds > most / 2 and len(item.text) > MAX_TOKENS and len(reader.tokens(item.text).ids) > MAX_TOKENS


@dataclass(frozen=True)
class ReadingCutter:
    """Cuts a recording and its text. Builds detector and reader once a process."""

    out: Path
    language: str
    reader: Reader
    detector: Detector
    shape: Shape = Shape()

    def __call__(self, item: Item) -> list[Item]:
        """The pieces as items, in order, those that do not fit refused; or the recording itself, refused.

        Raises VoicewrightError when the corpus folder cannot be written.
        """
        if item.path is None or item.text is None:
            return [item]
        try:
            folder = self.out / PIECES / self._key(item.path, item.text)
            index = folder / _INDEX
            if not index.exists():
                self._cut(item.path, item.text, folder)
            found = [Piece(*row) for row in json.loads(index.read_text("utf-8"))]
        except AudioError as error:
            return [item.refused(error.reason, str(error))]
        except OSError as error:
            return [item.refused("unreadable", f"{item.path}: {error.strerror or error}")]
        if not found:
            return [item.refused("no_speech", "no speech was found in it")]
        return [self._item(item, number, piece, folder) for number, piece in enumerate(found, 1)]

    def _item(self, item: Item, number: int, piece: Piece, folder: Path) -> Item:
        place = f"@{piece.start:.2f}-{piece.end:.2f}" if piece.end > piece.start else ""
        made = replace(
            item,
            id=f"{item.id}-{number:04d}",
            source=f"{item.source}{place}",
            path=folder / f"{number:04d}.flac" if place else None,
            text=piece.text or None,
        )
        return made.refused(piece.reason, piece.detail) if piece.reason else made

    def _key(self, path: Path, text: str) -> str:
        with path.open("rb") as file:
            state = hashlib.file_digest(file, "blake2b")
        state.update(json.dumps([_VERSION, self.language, text, asdict(self.shape)]).encode())
        return state.hexdigest()[:32]

    def _cut(self, path: Path, text: str, folder: Path) -> None:
        """Find the pieces, write those with words at the recording's own rate, and last the index."""
        found = self.pieces(path, text)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VoicewrightError(f"{folder} could not be made: {error.strerror or error}.") from error
        rate = probe(path).rate
        sounding = [(number, piece) for number, piece in enumerate(found, 1) if piece.end > piece.start]
        bounds = [(piece.start, piece.end) for _, piece in sounding]
        parts = slices(blocks(path, rate, LONGEST_READING), bounds, rate)
        for (number, piece), samples in zip(sounding, parts, strict=True):
            if not piece.reason:
                data = encode(samples, rate, "flac", "PCM_24")
                write_atomically(folder / f"{number:04d}.flac", data, sync=False)
        rows = [[p.start, p.end, p.text, p.reason, p.detail] for p in found]
        write_atomically(folder / _INDEX, json.dumps(rows, ensure_ascii=False).encode())

    def pieces(self, path: Path, text: str) -> list[Piece]:
        """What becomes of a recording and its text, in order. Raises AudioError."""
        spans = list(speech(blocks(path, VAD_RATE, LONGEST_READING), self.detector))
        words = [word for word in units(text, self.reader) if phoneme_count(word.phonemes)]
        if not spans or not words:
            return []
        fit = Fit(spans, words)
        if not fit.fits_memory:
            raise AudioError("too_long", f"{path} and its text are too long together: cut it into chapters")
        rough = fit.passages()
        spectra = _spectra(path)
        voiced = np.zeros(len(spectra), bool)
        for start, end in spans:
            voiced[int(start / FRAME_SECONDS) : int(end / FRAME_SECONDS) + 1] = True
        way = follow(spectra, voiced, words, _about(rough, spans, len(words), len(spectra)))
        return _pieces(_laid(way, spans, len(words)), spans, words, way, text, self.shape)


def _spectra(path: Path) -> Floats:
    """Log power [F, 80] in frames of 25 ms; a room's noise and digital silence share a floor."""
    import torch

    from voicewright.audio.mel import LogMel

    mel = LogMel("styletts2")
    size = _BLOCK * SAMPLE_RATE // FRAME * FRAME
    rows = []
    for block in _blocks_of(blocks(path, SAMPLE_RATE, LONGEST_READING), size):
        wave = np.pad(block, (0, -len(block) % FRAME))
        with torch.no_grad():
            values = mel(torch.from_numpy(wave)).numpy()[:, : 2 * (len(wave) // FRAME)]
        power = np.exp(4.0 * values.astype(np.float32) - 4.0).T
        rows.append(power.reshape(-1, 2, power.shape[1]).mean(1))
    power = np.concatenate(rows)
    loud = np.percentile(power.sum(1), 95) / power.shape[1]
    return np.asarray(np.log(power + np.float32(1e-4 * loud)), np.float32)


def _blocks_of(stream: Iterator[Samples], size: int) -> Iterator[Samples]:
    held: list[Samples] = []
    count = 0
    for block in stream:
        held.append(block)
        count += len(block)
        while count >= size:
            joined = np.concatenate(held)
            yield joined[:size]
            held, count = [joined[size:]], count - size
    if count:
        yield np.concatenate(held)


def _about(rough: Sequence[Passage], spans: Spans, count: int, frames: int) -> Floats:
    """Frame [units + 1] in which each word begins, roughly: words share their stretch evenly."""
    about = np.zeros(count + 1)
    for passage in rough:
        start = spans[min(passage.first, len(spans) - 1)][0]
        end = spans[passage.last - 1][1] if passage.last > passage.first else start
        size = passage.end - passage.begin
        about[passage.begin : passage.end] = start + (end - start) * np.arange(size) / max(1, size)
    about[-1] = frames * FRAME_SECONDS
    return np.asarray(np.maximum.accumulate(about) / FRAME_SECONDS + 1e-3 * np.arange(count + 1), np.float32)


def _laid(way: Way, spans: Spans, count: int) -> list[Passage]:
    """One passage a stretch of speech, by the middle of its words, and one for words that nobody says."""
    middles = way.places.mean(1) * FRAME_SECONDS
    said = np.flatnonzero(way.places[:, 0] >= 0)
    edges = [(a[1] + b[0]) / 2 for a, b in zip(spans, spans[1:], strict=False)]
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


def _pieces(
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
    part = text[words[passage.begin].start : words[passage.end - 1].stop] if passage.end > passage.begin else ""
    if passage.first == passage.last:
        at = spans[min(passage.first, len(spans) - 1)][0]
        return Piece(at, at, part, "no_audio", f"the recording does not seem to hold these words: {part[:200]}")
    start, end = spans[passage.first][0], spans[passage.last - 1][1]
    left = (start - spans[passage.first - 1][1]) / 2 if passage.first else start
    right = (spans[passage.last][0] - end) / 2 if passage.last < len(spans) else shape.padding
    low, high = start - min(shape.padding, left), end + min(shape.padding, right)
    if not part:
        return Piece(low, high, "", "no_text", "the text does not seem to hold what is said here")
    spoken = _spoken(passage, spans)
    stray = float(way.astray[int(start / FRAME_SECONDS) : int(end / FRAME_SECONDS) + 1].sum()) * FRAME_SECONDS
    if stray > max(_STRAY, _STRAY_SHARE * spoken):
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
        k = min(near, key=lambda k: spans[groups[max(k, at)].first][0] - spans[groups[min(k, at)].last - 1][1])
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
