"""The corpus on disk: `corpus.yaml`, `manifest.jsonl` (an utterance a line), `quarantine.jsonl`, `audio/`."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml
from pydantic import ValidationError

from voicewright.audio.files import write_atomically
from voicewright.errors import VoicewrightError
from voicewright.records import Strict
from voicewright.units import SAMPLE_RATE

MANIFEST = "manifest.jsonl"
QUARANTINE = "quarantine.jsonl"
META = "corpus.yaml"
AUDIO = "audio"
DOUBTFUL = "doubtful"
"""Folder with the sound of clips refused for their text, and an index: `align` draws them."""

REASONS: dict[str, str] = {
    "bad_row": "the line of the list is not `id|text`, or its columns cannot be told apart",
    "clipped": "too many samples stand at full scale",
    "decoder_crash": "decoding the file ended the process that tried",
    "duplicate_id": "another clip has this id",
    "empty": "the file holds no samples",
    "misread": "the front end failed at a part of the text, which is a fault of ours to report",
    "no_audio": "no recording was found for the text",
    "no_speech": "nothing in the recording sounds like speech",
    "no_text": "no text was found for the recording, or nothing in it can be spoken",
    "non_utf8": "the text is not UTF-8",
    "phonemes_given": "the text is written in phonetic letters, not in words",
    "silent": "the recording is silent",
    "text_audio_mismatch": "text and recording do not have the same length of speech",
    "too_long": "the clip is longer than training takes",
    "too_noisy": "speech stands out too little from the noise",
    "too_short": "the clip holds too little speech",
    "truncated": "the file is cut short",
    "unknown_symbols": "the text holds symbols that no front end can read",
    "unreadable": "the file is not audio that can be read",
    "unsafe_id": "the id points outside the folder",
    "wrong_text": "what is said is probably not this text",
    "unsure_transcript": "nobody gave its text, and the recogniser is not sure of what it heard",
}
"""Every reason code of a quarantine line, and what it means."""


Transcript = Literal["given", "pocketsphinx", "whisper", "faster-whisper"]
"""Where a text comes from; older corpora say faster-whisper for whisper."""


class Measurements(Strict):
    """What was measured on one clip, before it was normalised. Levels in dB below full scale."""

    source_rate: int
    """Samples a second of the recording."""
    source_seconds: float
    """Length before edge silence was trimmed."""
    lufs: float
    peak: float
    """Largest absolute sample, full scale 1."""
    clipped: float
    """Fraction of samples in flat runs at the extremes."""
    noise_db: float
    """5th percentile of 20 ms frame levels."""
    snr_db: float
    """95th minus 5th percentile of frame levels: in clips with pauses, the signal-to-noise ratio."""
    bandwidth_hz: float
    """Highest frequency at which loud frames hold energy within 65 dB of the strongest, below any cliff."""
    silence_start: float
    silence_end: float
    """Seconds of silence at the edges of the recording."""
    phonemes_per_second: float
    gain_db: float
    """What normalising added."""
    hum_hz: float = 0.0
    """50 or 60 where a tone of the mains, or a multiple of it, stands out in the pauses."""
    hum_db: float = -100.0
    rumble_db: float = -100.0
    """Between 20 and 45 Hz, in the pauses."""
    note: str = ""
    """What was done about the recording's channels or scale."""


class Utterance(Strict):
    """One accepted clip: 24 kHz 16-bit FLAC, -23 LUFS, at most 50 ms of silence at each end."""

    id: str
    audio: str
    """Path relative to the corpus folder."""
    text: str
    phonemes: str
    speaker: str
    seconds: float
    language: str
    transcript: Transcript = "given"
    """Where the text came from."""
    heard: float | None = None
    """How sure the recogniser was of it, 0..1; absent for texts that were given."""
    source: str
    """Path of the recording relative to the prepared folder."""
    hash: str
    """BLAKE2b-128 of the audio file, hexadecimal."""
    measurements: Measurements


class Refusal(Strict):
    """One line of `quarantine.jsonl`."""

    source: str
    id: str | None = None
    reason: str
    detail: str


class CorpusMeta(Strict):
    """`corpus.yaml`: where the recordings come from and what may be done with them."""

    language: str
    licence: str
    consent: str
    source: str
    speakers: tuple[str, ...]
    found: int
    accepted: int
    quarantined: int
    minutes: float
    sample_rate: int = SAMPLE_RATE
    lufs: float
    tool: str


def content_hash(data: bytes) -> str:
    """BLAKE2b-128 in hexadecimal: names file contents in manifests and caches."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


@dataclass(frozen=True)
class Corpus:
    """A prepared corpus. `utterances` are in the order of the source."""

    folder: Path
    meta: CorpusMeta
    utterances: tuple[Utterance, ...]

    @classmethod
    def read(cls, folder: Path) -> Corpus:
        """Read and check a corpus folder. Raises VoicewrightError that names the file and line at fault."""
        meta = read_meta(folder)
        lines = _lines(folder / MANIFEST)
        utterances: list[Utterance] = []
        for number, line in enumerate(lines, 1):
            try:
                utterances.append(Utterance.model_validate_json(line))
            except ValidationError as error:
                raise VoicewrightError(
                    f"{folder / MANIFEST}, line {number}: {_first(error)}. Prepare the corpus again."
                ) from error
        if len(utterances) != meta.accepted:
            raise VoicewrightError(
                f"{folder / MANIFEST} holds {len(utterances)} utterances, {META} says {meta.accepted}: "
                "prepare the corpus again."
            )
        return cls(folder, meta, tuple(utterances))

    def path(self, utterance: Utterance) -> Path:
        """Where the utterance's audio lies."""
        return self.folder / utterance.audio

    @property
    def speakers(self) -> tuple[str, ...]:
        return self.meta.speakers

    @property
    def seconds(self) -> float:
        return sum(utterance.seconds for utterance in self.utterances)


def read_meta(folder: Path) -> CorpusMeta:
    """Read `corpus.yaml`. Raises VoicewrightError."""
    path = folder / META
    try:
        return CorpusMeta.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except FileNotFoundError as error:
        raise VoicewrightError(f"{folder} is no corpus: it has no {META}. Run `prepare` first.") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise VoicewrightError(f"{path} cannot be read: {error}.") from error
    except ValidationError as error:
        raise VoicewrightError(f"{path}: {_first(error)}. Prepare the corpus again.") from error


def read_quarantine(folder: Path) -> list[Refusal]:
    """What was refused, in the order of the source. Raises VoicewrightError."""
    try:
        return [Refusal.model_validate_json(line) for line in _lines(folder / QUARANTINE)]
    except ValidationError as error:
        raise VoicewrightError(f"{folder / QUARANTINE}: {_first(error)}.") from error


def read_doubtful(folder: Path) -> list[Utterance]:
    """Clips refused for their text, whose sound is kept. Raises VoicewrightError."""
    index = folder / DOUBTFUL / MANIFEST
    if not index.exists():
        return []
    try:
        return [Utterance.model_validate_json(line) for line in _lines(index)]
    except ValidationError as error:
        raise VoicewrightError(f"{index}: {_first(error)}. Prepare the corpus again.") from error


def keep_doubtful(folder: Path, utterances: Sequence[Utterance]) -> None:
    """Move the sound of these clips from `audio/` to `doubtful/`; nothing else stays there."""
    shutil.rmtree(folder / DOUBTFUL, ignore_errors=True)
    if not utterances:
        return
    (folder / DOUBTFUL).mkdir()
    moved = []
    for utterance in utterances:
        audio = f"{DOUBTFUL}/{utterance.id}.flac"
        (folder / utterance.audio).replace(folder / audio)
        moved.append(utterance.model_copy(update={"audio": audio}))
    write_atomically(folder / DOUBTFUL / MANIFEST, _jsonl(moved))


def recall_doubtful(folder: Path) -> None:
    """Move it back, for preparing again. Raises OSError."""
    for path in (folder / DOUBTFUL).glob("*.flac"):
        path.replace(folder / AUDIO / path.name)
    shutil.rmtree(folder / DOUBTFUL, ignore_errors=True)


def write_corpus(
    folder: Path, meta: CorpusMeta, utterances: Sequence[Utterance], refusals: Sequence[Refusal]
) -> None:
    """Write the three index files, each atomically, `corpus.yaml` last: it marks the corpus as complete.

    Raises VoicewrightError when the disk refuses.
    """
    write_atomically(folder / MANIFEST, _jsonl(utterances))
    write_atomically(folder / QUARANTINE, _jsonl(refusals))
    text = yaml.safe_dump(meta.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    write_atomically(folder / META, text.encode())


def _jsonl(records: Sequence[Strict]) -> bytes:
    dumps = (json.dumps(record.model_dump(mode="json"), ensure_ascii=False) for record in records)
    return "".join(line + "\n" for line in dumps).encode()


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise VoicewrightError(f"{path} cannot be read: {error}. Prepare the corpus again.") from error


def _first(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(str(part) for part in first['loc']) or 'line'}: {first['msg']}"
