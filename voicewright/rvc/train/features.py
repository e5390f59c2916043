"""What RVC training reads of a corpus: slices with content features and F0, computed once, cached by content.

In `<corpus>/features/rvc/` one safetensors file an utterance, named by a hash of its sound and of everything
that shapes the slices: rate, content encoder, pitch method. Files are written whole or not at all, so an
interrupted run goes on where it was. Arrays are read when a batch wants them: memory stays small.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from voicewright.audio.files import decode, read, resample, write_atomically
from voicewright.corpus.manifest import Corpus, Utterance, content_hash
from voicewright.errors import VoicewrightError
from voicewright.rvc.train.slices import WINDOW, Samples, slices
from voicewright.units import SAMPLE_RATE

VERSION = "rvc-1"
"""Part of every key: raise it when anything below gives other numbers."""
RATE = 16_000
"""What content encoders and pitch estimators hear."""
FRAMES = 100
"""Frames a second of F0, spectrogram and synthesizer; content has half as many."""
LEAST = 10
"""Frames of a slice below which it is not even kept."""
LONGEST = 900
"""Frames of a slice that are used at most."""
MUTE = "mute"
"""Id of the slices of digital silence that teach what silence is."""


@dataclass(frozen=True)
class Extractors:
    """What turns sound into features; the command line builds it, as pitch estimators belong to converting.

    content: samples [n] at 16 kHz → [n // 320 or so, width]; f0: samples [n] at 16 kHz → Hz at 10 ms, 0
    unvoiced; coarse: Hz → bins 1…255. The name is what the voice's file says; the keys tell cached features
    of one from another's.
    """

    content: Callable[[Samples], NDArray[np.floating]]
    content_name: str
    content_key: str
    f0: Callable[[Samples], NDArray[np.floating]]
    f0_key: str
    coarse: Callable[[NDArray[np.float32]], NDArray[np.integer]]


@dataclass(frozen=True)
class Slice:
    """One slice on disk: `frames` of 10 ms that features and sound have in common."""

    id: str
    utterance: str
    speaker: str
    frames: int
    path: Path
    index: int

    def load(self) -> dict[str, NDArray[Any]]:
        """samples float32 [n], phone float16 [T / 2, width], f0 float32 [T]. Raises VoicewrightError."""
        try:
            with safe_open(self.path, "np") as file:
                return {name: file.get_tensor(f"{self.index}.{name}") for name in ("samples", "phone", "f0")}
        except (OSError, SafetensorError) as error:
            raise VoicewrightError(
                f"{self.path} is damaged ({error}); delete it and run the command again."
            ) from error


def median_f0(slices: Sequence[Slice]) -> float:
    """Median pitch in Hz of their voiced frames; 0 without any."""
    voiced = [f0[f0 > 0] for f0 in (s.load()["f0"][: s.frames] for s in slices)]
    found = np.concatenate(voiced) if voiced else np.zeros(0)
    return float(np.median(found)) if len(found) else 0.0


def _place(utterance: Utterance, recordings: Path) -> tuple[Path, re.Match[str] | None]:
    """Where an utterance's recording lies, and what piece of it the utterance is. Raises VoicewrightError."""
    piece = re.fullmatch(r"(.*)@(\d+\.\d+)-(\d+\.\d+)", utterance.source)
    path = recordings / (piece[1] if piece else utterance.source)
    if not path.resolve().is_relative_to(recordings.resolve()):
        raise VoicewrightError(
            f"Utterance {utterance.id} names a recording outside {recordings}, {path}: it is not read."
        )
    return path, piece


def original(utterance: Utterance, recordings: Path) -> tuple[Samples, int]:
    """The recording that an utterance was prepared from, at its own rate. Raises VoicewrightError."""
    path, piece = _place(utterance, recordings)
    samples, info = decode(path)
    if piece:
        samples = samples[int(float(piece[2]) * info.rate) : int(float(piece[3]) * info.rate)]
    return samples, info.rate


def _sound(corpus: Corpus, utterance: Utterance, recordings: Path | None, rate: int) -> Samples:
    if recordings is None:
        return resample(read(corpus.path(utterance)), SAMPLE_RATE, rate)
    samples, own = original(utterance, recordings)
    return resample(samples, own, rate)


def extract(sound: Samples, rate: int, tools: Extractors) -> dict[str, NDArray[Any]] | str:
    """Features of one slice of sound [n] at `rate`; a sentence instead when they are of no use."""
    heard = resample(sound, rate, RATE)
    phone = np.asarray(tools.content(heard), np.float32)
    if not np.isfinite(phone).all():
        return "its content features are not finite"
    f0 = np.asarray(tools.f0(heard), np.float32)
    return {"samples": sound, "phone": phone.astype(np.float16), "f0": f0}


def _frames(arrays: dict[str, NDArray[Any]], rate: int) -> int:
    counts = (2 * len(arrays["phone"]), len(arrays["f0"]), len(arrays["samples"]) * FRAMES // rate, LONGEST)
    return min(counts)


def _write(path: Path, found: Sequence[dict[str, NDArray[Any]]], rate: int) -> None:
    tensors = {
        f"{i}.{name}": np.ascontiguousarray(x) for i, row in enumerate(found) for name, x in row.items()
    }
    frames = json.dumps([_frames(row, rate) for row in found])
    write_atomically(
        path, save(tensors or {"none": np.zeros(1, np.int8)}, {"version": VERSION, "frames": frames})
    )


def _open(path: Path, utterance: str, speaker: str) -> list[Slice] | None:
    """The slices of a cached file; None when there is none or it is damaged."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, "np") as file:
            frames = json.loads((file.metadata() or {})["frames"])
    except (OSError, SafetensorError, KeyError, ValueError):
        return None
    return [Slice(f"{utterance}_{i}", utterance, speaker, int(n), path, i) for i, n in enumerate(frames)]


def build_slices(
    corpus: Corpus,
    tools: Extractors,
    *,
    rate: int,
    recordings: Path | None = None,
    mute: int = 2,
    shortest: int = 33,
    keep: Callable[[str], bool] = lambda name: True,
    progress: Callable[[str, float], None] = lambda stage, done: None,
    line: Callable[[str], None] = lambda text: None,
    cache: Path | None = None,
) -> list[Slice]:
    """Slices of the utterances that `keep` accepts, in the corpus's order, then `mute` silent ones a speaker.

    `recordings` is the folder that the corpus was prepared from; slices of its sound keep the band that a
    corpus at 24 kHz ends at 12 kHz. Slices below `shortest` frames are left out. Raises VoicewrightError.
    """
    folder = cache or corpus.folder / "features" / "rvc"
    settings = [VERSION, rate, tools.content_key, tools.f0_key]
    chosen = [u for u in corpus.utterances if keep(u.id)]
    found: list[Slice] = []
    short = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for done, utterance in enumerate(chosen, 1):
            origin = "corpus" if recordings is None else _identity(utterance, recordings)
            key = content_hash(json.dumps([*settings, utterance.hash, origin]).encode())
            path = folder / f"{key}.safetensors"
            known = _open(path, utterance.id, utterance.speaker)
            if known is None:
                rows: list[dict[str, NDArray[Any]]] = []
                for sound in slices(_sound(corpus, utterance, recordings, rate), rate):
                    # What is cached must not depend on what this run finds too short.
                    if len(sound) * FRAMES < min(LEAST, shortest) * rate:
                        continue
                    row = extract(sound, rate, tools)
                    if isinstance(row, str):
                        line(f"A slice of {utterance.id} is left out: {row}.")
                    else:
                        rows.append(row)
                _write(path, rows, rate)
                known = _open(path, utterance.id, utterance.speaker) or []
            found += [s for s in known if s.frames >= shortest]
            short += sum(s.frames < shortest for s in known)
            progress("features", done / len(chosen))
        if found and mute:
            found += _silence(folder, settings, sorted({s.speaker for s in found}), tools, rate, mute)
    except OSError as error:
        raise VoicewrightError(
            f"{folder} cannot be written: {error}. Free some space or give another cache."
        ) from error
    if short:
        line(f"{short} slices shorter than {shortest / FRAMES:.2f} s are left out.")
    return found


def _identity(utterance: Utterance, recordings: Path) -> str:
    """Of a recording's content, with the piece of it: the cache must not outlive an exchanged recording."""
    path, piece = _place(utterance, recordings)
    name = piece[1] if piece else utterance.source
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").hexdigest()[:32] + utterance.source
    except OSError as error:
        raise VoicewrightError(
            f"{recordings} lacks {name}, which utterance {utterance.id} was prepared from; give the folder "
            "that `prepare` was given, or leave `recordings` out to train on the corpus's own 24 kHz."
        ) from error


def _silence(
    folder: Path, settings: list[Any], speakers: Sequence[str], tools: Extractors, rate: int, count: int
) -> list[Slice]:
    path = folder / f"{content_hash(json.dumps([*settings, MUTE]).encode())}.safetensors"
    if _open(path, MUTE, "") is None:
        row = extract(np.zeros(int(WINDOW * rate), np.float32), rate, tools)
        _write(path, [] if isinstance(row, str) else [row], rate)
    one = _open(path, MUTE, "") or []
    return [Slice(s.id, MUTE, name, s.frames, path, s.index) for name in speakers for s in one * count]
