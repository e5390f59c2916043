"""Long recordings without a text → pieces on disk, which are then prepared like any clip."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from voicewright.audio.files import AudioError, Samples, blocks, encode, probe, write_atomically
from voicewright.corpus.segment import VAD_RATE, Cutting, Detector, pieces
from voicewright.corpus.sources import Item
from voicewright.errors import VoicewrightError

PIECES = ".pieces"
"""Folder inside the corpus; it goes when the corpus is complete."""
LONGEST_RECORDING = 12 * 3600.0
_INDEX = "index.json"


@dataclass(frozen=True)
class Cutter:
    """Cuts a recording into pieces. Builds its detector once a process."""

    out: Path
    cutting: Cutting
    detector: Detector

    def __call__(self, item: Item) -> list[Item]:
        """The pieces of a recording as items, in order, or the recording itself, refused.

        Raises VoicewrightError when the corpus folder cannot be written.
        """
        if item.path is None:
            return [item.refused("no_audio", "the recording is missing")]
        try:
            folder = self.out / PIECES / self._key(item.path)
            index = folder / _INDEX
            if not index.exists():
                self._cut(item.path, folder)
            bounds = json.loads(index.read_text("utf-8"))
        except AudioError as error:
            return [item.refused(error.reason, str(error))]
        except OSError as error:
            return [item.refused("unreadable", f"{item.path}: {error.strerror or error}")]
        if not bounds:
            return [item.refused("no_speech", "no speech was found in it")]
        return [
            replace(
                item,
                id=f"{item.id}-{number:04d}",
                source=f"{item.source}@{start:.2f}-{end:.2f}",
                path=folder / f"{number:04d}.flac",
            )
            for number, (start, end) in enumerate(bounds, 1)
        ]

    def _key(self, path: Path) -> str:
        with path.open("rb") as file:
            state = hashlib.file_digest(file, "blake2b")
        state.update(json.dumps(asdict(self.cutting)).encode())
        return state.hexdigest()[:32]

    def _cut(self, path: Path, folder: Path) -> None:
        """Find the pieces, write each at the recording's own rate, and last the index that names them."""
        bounds = list(pieces(blocks(path, VAD_RATE, LONGEST_RECORDING), self.detector, self.cutting))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise VoicewrightError(f"{folder} could not be made: {error.strerror or error}.") from error
        rate = probe(path).rate
        for number, samples in enumerate(slices(blocks(path, rate, LONGEST_RECORDING), bounds, rate), 1):
            data = encode(samples, rate, "flac", "PCM_24")
            write_atomically(folder / f"{number:04d}.flac", data, sync=False)
        write_atomically(folder / _INDEX, json.dumps(bounds).encode())


def slices(stream: Iterator[Samples], bounds: Sequence[tuple[float, float]], rate: int) -> Iterator[Samples]:
    """Samples of each (start, end) of a recording that comes in blocks; bounds are in order, apart."""
    held: Samples = np.zeros(0, np.float32)
    origin = 0
    for start, end in bounds:
        first, last = round(start * rate), round(end * rate)
        parts = [held]
        count = len(held)
        while origin + count < last and (block := next(stream, None)) is not None:
            parts.append(block)
            count += len(block)
        held = np.concatenate(parts)
        yield held[max(0, first - origin) : last - origin]
        keep = min(len(held), max(0, last - origin))
        held = held[keep:]
        origin += keep
