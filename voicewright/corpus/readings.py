"""Long recordings with their whole text → pieces on disk, each with its own part of the text.

The text stays the user's, word for word; where recording and text part ways, the piece is refused, or the
sentence, and nothing else. No recogniser is asked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np

from voicewright.audio.files import AudioError, Samples, blocks, encode, probe, write_atomically
from voicewright.corpus.clips import Reader, phoneme_count
from voicewright.corpus.follow import FRAME_SECONDS, Floats, follow
from voicewright.corpus.grouping import Piece, Shape, cut, laid
from voicewright.corpus.items import Item
from voicewright.corpus.passages import Fit, Passage, Spans, units
from voicewright.corpus.recordings import PIECES, slices
from voicewright.corpus.segment import VAD_RATE, Detector, speech
from voicewright.errors import VoicewrightError
from voicewright.pool import Crashed, spread
from voicewright.text.frontend import Frontend
from voicewright.text.vocab import MAX_TOKENS
from voicewright.units import FRAME, SAMPLE_RATE

LONGEST_READING = 3 * 3600.0
_VERSION = 1
_INDEX = "index.json"
_LETTERS = 100
"""A shorter text is one clip's."""
_BLOCK = 60
"""Seconds of which mels are made together."""


def is_reading(item: Item, reader: Reader, most: float) -> bool:
    """Whether a recording with a text is too long for one clip of `most` seconds: looks at headers only."""
    if item.reason is not None or item.path is None or item.text is None or len(item.text) < _LETTERS:
        return False
    try:
        seconds = probe(item.path).seconds
    except AudioError:
        return False
    if seconds is not None and (seconds > most or seconds < most / 2):
        return seconds > most
    return len(item.text) > MAX_TOKENS and len(reader.tokens(item.text).ids) > MAX_TOKENS


@dataclass(frozen=True)
class _Make:
    out: Path
    language: str
    lexicon: Path | None
    reader: Reader | None

    def __call__(self) -> Callable[[Item], list[Item]]:
        reader = self.reader or Frontend(self.language, self.lexicon)
        return ReadingCutter(self.out, self.language, reader, Detector())


def cut_readings(
    items: Sequence[Item],
    out: Path,
    language: str,
    lexicon: Path | None,
    reader: Reader | None,
    most: float,
    workers: int,
    tell: Callable[[str, int, int], None],
) -> tuple[list[Item], str]:
    """The items, with pieces in place of recordings longer than `most` seconds, and a sentence about them.

    A reader of None: each process builds its own. Raises VoicewrightError when `out` cannot be written.
    """
    asked = reader or Frontend(language, lexicon)
    long = [at for at, item in enumerate(items) if is_reading(item, asked, most)]
    if not long:
        return list(items), ""
    make = _Make(out, language, lexicon, reader)
    try:
        make()  # fails here, and not in a worker, where silero-vad is missing
    except VoicewrightError as error:
        refused = {at: items[at].refused("too_long", str(error)) for at in long}
        return [refused.get(at, item) for at, item in enumerate(items)], ""
    found: dict[int, list[Item]] = {}
    tell("recordings", 0, len(long))
    with contextlib.closing(spread([items[at] for at in long], make, workers, batch=1)) as results:
        for done, (index, result) in enumerate(results, 1):
            item = items[long[index]]
            if isinstance(result, Crashed):
                result = [item.refused("decoder_crash", "the process that decoded it died")]
            found[long[index]] = result
            tell("recordings", done, len(long))
    return [piece for at, item in enumerate(items) for piece in found.get(at, [item])], _said(found.values())


def _said(found: Collection[Sequence[Item]]) -> str:
    pieces = [item for items in found for item in items]
    sounding = [item for item in pieces if item.reason not in ("no_audio",)]
    misfit = sum(item.reason is not None for item in sounding)
    unsaid = len(pieces) - len(sounding)
    said = f"{len(found)} long recording{'s were' if len(found) > 1 else ' was'} cut with the text into "
    said += f"{len(sounding)} pieces"
    said += f", {misfit} of which do not fit it" if misfit else ""
    said += f"; {unsaid} passages of the text were not heard" if unsaid else ""
    return said + "."


@dataclass(frozen=True)
class ReadingCutter:
    """Cuts a recording and its text. Builds detector and reader once a process."""

    out: Path
    language: str
    reader: Reader
    detector: Detector
    shape: Shape = field(default_factory=Shape)

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
        return cut(laid(way, spans, len(words)), spans, words, way, text, self.shape)


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
