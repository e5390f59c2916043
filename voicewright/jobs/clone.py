"""The `clone` command: recordings in, a voicepack out a moment later, by style encoders alone."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voicewright.errors import UsageError, VoicewrightError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from voicewright.corpus.segment import Detector
    from voicewright.voices.style_encoders import StyleEncoders

    Samples = NDArray[np.float32]

LEAST, MOST = 3.0, 120.0
"""Seconds of speech: below the first nobody is known by a voice, above the second no more is heard."""
LEVEL = -23.0
"""LUFS that every piece is brought to."""
CLIPPED, NARROW = 0.002, 5500.0
"""The share of samples cut off and the Hz of a band that are spoken of (the first is `prepare`'s)."""
_FILES = 40
"""Of a folder with more recordings, so many are listened to, evenly chosen."""


@dataclass(frozen=True)
class CloneOptions:
    """What a clone is asked for; fields are the command's options."""

    model: str = "kokoro"
    consent: str | None = None
    licence: str | None = None
    statement: Path | None = None
    encoders: Path | None = None
    """A run of `train clone`, or its file: style encoders of one's own."""


@dataclass(frozen=True)
class Cloned:
    """What a clone made. `heard_seconds`: of speech; `pitch`: median, Hz; `work_seconds`: what it took, with
    opening files and networks; `notes`: what was left out, why."""

    voice: Path
    model: str
    heard_seconds: float
    pitch: float
    work_seconds: float
    notes: list[str]


def clone(
    source: Path, out: Path, options: CloneOptions | None = None, *, progress: Callable[..., None]
) -> Cloned:
    """A voicepack, and its card, from recordings of one person (a file or a folder), without any fitting.

    Raises UsageError for what is asked wrongly and VoicewrightError for recordings that do not serve, before
    anything is written.
    """
    from voicewright.voices.consent import Rights
    from voicewright.voices.fit_ears import open_encoders
    from voicewright.voices.phones import open_phone_ear
    from voicewright.voices.style_encoders import both_encoders, impression

    options = options or CloneOptions()
    began = time.monotonic()
    check(source, out, options)
    net, facts = encoders_for(options.model, options.encoders)
    clips, notes = speech_of(source)
    for said in notes:
        progress(said)
    surest, second = both_encoders(open_encoders(lambda _: None))  # one alone is refused, not told of
    ear = open_phone_ear(progress)
    if ear is None:
        raise VoicewrightError("cloning needs the embedded model to hear pace, and it is not here.")
    clips, left = _one_voice(clips, surest)
    notes += left
    try:
        heard = impression(clips, surest, second, ear)
    except VoicewrightError as error:  # a whisperer, or nobody
        raise VoicewrightError(f"{source}: {error} Record somebody who speaks aloud.") from error
    pack = net.pack(heard)
    rights = Rights(options.consent or "not stated", options.licence or "not stated", options.statement)
    card: dict[str, Any] = {
        "name": out.stem,
        "kind": "voicepack",
        "made": "voicewright clone",
        "model": options.model,
        "encoders": facts,
        **rights.card(clips, surest, "en-us", progress),
        "heard_seconds": round(sum(map(len, clips)) / 24_000, 1),
    }
    pitch = float(2 ** (heard.portrait.pitch / 12))
    _write(out, pack, card)
    seconds = time.monotonic() - began
    return Cloned(out, options.model, float(card["heard_seconds"]), round(pitch, 1), round(seconds, 2), notes)


def check(source: Path, out: Path, options: CloneOptions) -> None:
    """Raise UsageError for what can be seen to be asked wrongly before anything is opened."""
    from voicewright.jobs.fit import FitOptions
    from voicewright.jobs.fit import check as as_fits_are

    as_fits_are(source, out, FitOptions(options.model, statement=options.statement))


def encoders_for(model: str, own: Path | None = None) -> tuple[StyleEncoders, dict[str, object]]:
    """The style encoders of a model, and what is known of them; Kokoro's own weights need not be here.

    own: a run of `train clone`, or its file. Raises UsageError where there are none.
    """
    from voicewright.catalogue.places import resolve_model, weights_sha256
    from voicewright.catalogue.shipped import style_encoders
    from voicewright.voices.style_encoders import ENCODERS, encoders_of, load_encoders

    if own is not None:
        places = (own, own / ENCODERS, own / "best" / ENCODERS)
        given = next((place for place in places if place.is_file()), None)
        if given is None:
            raise UsageError(
                f"there are no style encoders at {own}; name a run of `voicewright train clone`."
            )
        return load_encoders(given)
    if (path := style_encoders(model)) is not None:
        return load_encoders(path)
    folder = resolve_model(model)
    found = encoders_of(folder, weights_sha256(folder))
    if found is None:
        raise UsageError(
            f"no style encoders have been taught for {model}: name some with --encoders, or let "
            "`voicewright fit` fit a voice in minutes."
        )
    return found


def speech_of(source: Path) -> tuple[list[Samples], list[str]]:
    """Pieces of speech [T] at 24 kHz of a file or of a folder's files, each at one level; and what was left
    out. Raises VoicewrightError where there is too little."""
    from voicewright.audio.files import SAMPLE_RATE, AudioError
    from voicewright.audio.kinds import is_recording
    from voicewright.audio.loudness import normalise
    from voicewright.corpus.segment import Detector
    from voicewright.corpus.split import spread

    files = [source]
    if source.is_dir():
        files = spread(
            sorted(path for path in source.rglob("*") if path.is_file() and is_recording(path)), _FILES
        )
        if not files:
            raise VoicewrightError(f"{source} holds no recordings; name a file or a folder of them.")
    detector = Detector()
    clips: list[Samples] = []
    notes: list[str] = []
    for path in files:
        try:
            clips += _pieces(path, detector, max(2 * LEAST, MOST / len(files)))
        except AudioError as error:
            if len(files) == 1:
                raise
            notes.append(f"{path} is left out: {error}")
    seconds = sum(map(len, clips)) / SAMPLE_RATE
    if seconds < LEAST:
        raise VoicewrightError(
            f"{source} holds {seconds:.1f} s of speech; a voice is known from {LEAST:.0f} s on, better ten, "
            "of one person alone."
        )
    notes += _doubts(source, clips)
    return [np.asarray(normalise(clip, SAMPLE_RATE, LEVEL), np.float32) for clip in clips], notes


def _doubts(source: Path, clips: list[Samples]) -> list[str]:
    """What of the recordings a voice will suffer from: tops cut off, a telephone's band."""
    from voicewright.audio.loudness import frame_levels
    from voicewright.corpus.measure import bandwidth, clipped_fraction
    from voicewright.units import SAMPLE_RATE

    doubts = []
    if (cut := float(np.mean([clipped_fraction(clip) for clip in clips]))) > CLIPPED:
        doubts.append(
            f"{source}: {cut:.1%} of the samples are cut off, and the voice will be rough; record softer."
        )
    bands = [bandwidth(clip, SAMPLE_RATE, frame_levels(clip, SAMPLE_RATE)) for clip in clips]
    if (band := float(np.median(bands))) < NARROW:
        doubts.append(
            f"{source} ends at {band / 1000:.1f} kHz, as telephones do, and the voice will be less alike; "
            "record with a microphone."
        )
    return doubts


def _pieces(path: Path, detector: Detector, most: float) -> Iterator[Samples]:
    """The first `most` seconds of a recording's speech in pieces of two to six seconds, as they are."""
    from voicewright.audio.files import SAMPLE_RATE, blocks
    from voicewright.audio.loudness import lufs
    from voicewright.corpus.recordings import slices
    from voicewright.corpus.segment import VAD_RATE, Cutting, pieces

    bounds, total = [], 0.0
    for start, end in pieces(blocks(path, VAD_RATE), detector, Cutting(shortest=2.0, longest=6.0)):
        bounds.append((start, end))
        total += end - start
        if total >= most:
            break
    for piece in slices(blocks(path, SAMPLE_RATE), bounds, SAMPLE_RATE):
        if len(piece) >= SAMPLE_RATE and np.isfinite(lufs(piece, SAMPLE_RATE)):
            yield np.asarray(piece, np.float32)


def _one_voice(clips: list[Samples], encoder: Any) -> tuple[list[Samples], list[str]]:
    """Without the few pieces that are somebody else's. Raises VoicewrightError where they are not few."""
    from voicewright.jobs.fit_material import one_voice
    from voicewright.voices.references import Take

    nothing = np.zeros(0, np.int64)
    kept, notes = one_voice([Take(f"piece {n + 1}", clip, nothing) for n, clip in enumerate(clips)], encoder)
    return [take.samples for take in kept], notes


def _write(out: Path, pack: Any, card: dict[str, Any]) -> None:
    from voicewright.storage import plain, write_atomically

    pack.write(out)
    write_atomically(out.with_suffix(".json"), json.dumps(plain(card), indent=1, ensure_ascii=False).encode())
