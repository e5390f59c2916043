"""Judging a voice: the same texts spoken by the model and by the person, through the same recogniser."""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from voicewright.audio.pitch import f0 as track_f0
from voicewright.config import SAMPLE_RATE
from voicewright.engines.protocol import Speech, Voice
from voicewright.errors import UsageError, VoicewrightError
from voicewright.judge.compare import (
    MEASURES,
    RESAMPLES,
    Bootstrap,
    Estimate,
    Judged,
    Line,
    periodicity_measure,
    summary_line,
)
from voicewright.judge.metrics import (
    BAND,
    Samples,
    above_noise,
    measure,
    noise_periodicity,
    profile_bands,
    visible_to,
)
from voicewright.judge.result import Clip, Item, Judgement, Pair, Row, Sound, ToneRow, clean
from voicewright.judge.speaker import SpeakerEncoder, similarity_among, similarity_to_voice
from voicewright.judge.spectrum import (
    TONE_DB,
    LongTerm,
    constant_tones,
    long_term,
    ltas_distance,
    spectral_distance,
    third_octaves,
)
from voicewright.judge.words import comparable, count_errors
from voicewright.listen.recogniser import Recogniser, open_recogniser

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and of how many."""


class Speaks(Protocol):
    """The part of an engine that judging needs."""

    def speak(self, text: str, voice: Voice | None = None, speed: float = 1.0, seed: int = 0) -> Speech: ...


@dataclass(frozen=True)
class _Side:
    """One side of the comparison: its clips, judged, and its spectra."""

    clips: list[Samples]
    judged: list[Judged]
    noise: list[float]
    spectra: LongTerm
    pitch: tuple[float, float]
    """Where 90 % of its F0 lies, a little widened, Hz."""

    def sound(self) -> Sound:
        profile = []
        for band, noise in enumerate(self.noise[1:]):
            sums = [one.measures.profile[band] for one in self.judged]
            weight = sum(one.weight for one in sums)
            value = sum(one.weighted for one in sums) / weight if weight else 0.0
            profile.append(round(above_noise(value, noise), 4))
        return Sound(
            profile=profile,
            visible_to=visible_to(profile),
            ltas=[round(float(v), 2) for v in third_octaves(self.spectra)],
        )


def judge(
    pairs: Sequence[Pair],
    recogniser: Recogniser,
    encoder: SpeakerEncoder,
    *,
    language: str = "en-us",
    seed: int = 0,
    resamples: int = RESAMPLES,
    title: str = "Judgement",
    conditions: Mapping[str, str | int | float | None] | None = None,
    progress: Progress | None = None,
) -> Judgement:
    """Hold synthesised clips against the recordings of the same texts.

    A silent clip counts with all its words missing and similarity 0. Copy-synthesis is reported when every
    pair has one. Raises UsageError when there are fewer than two pairs, or an id comes twice.
    """
    _check(pairs)
    started = time.perf_counter()
    with_copies = all(pair.copy_synthesis is not None for pair in pairs)
    sides = [[clean(p.synthesised) for p in pairs], [clean(p.recording) for p in pairs]]
    if with_copies:
        sides.append([clean(p.copy_synthesis) for p in pairs])
    texts = [pair.text for pair in pairs]
    count = len(pairs)

    heard = recogniser.transcribe_many(
        [clip for side in sides for clip in side], _stage(progress, "recognising")
    )
    recognised = time.perf_counter() - started
    voice, valid = _embed(encoder, sides[1])
    if not valid.all():
        silent = ", ".join(pair.id for pair, good in zip(pairs, valid, strict=True) if not good)
        raise VoicewrightError(f"These recordings are silent: {silent}. Leave them out of the judgement.")
    judged_sides = []
    for number, clips in enumerate(sides):
        similar = similarity_among(voice) if number == 1 else similarities(encoder, clips, voice)
        judged_sides.append(
            _judge_side(
                clips, texts, heard[number * count : (number + 1) * count], similar, language, seed, progress
            )
        )
    ours, theirs = judged_sides[:2]
    copies = judged_sides[2] if with_copies else None
    bootstrap = Bootstrap(count, seed, resamples)
    distances = [spectral_distance(a, b) for a, b in zip(ours.clips, theirs.clips, strict=True)]
    copy_distances = (
        [spectral_distance(a, b, warp=False) for a, b in zip(copies.clips, theirs.clips, strict=True)]
        if copies
        else None
    )
    summary = _summary(ours, theirs, copies, bootstrap)
    summary += _set_lines(ours, theirs, copies, distances, copy_distances, bootstrap)
    found: dict[str, str | int | float | None] = dict(conditions or {})
    found |= _conditions(pairs, recogniser, encoder, seed, resamples, language)
    found["recognition seconds"] = round(recognised, 1)
    found["judging seconds"] = round(time.perf_counter() - started, 1)
    sound = {"synthesised": ours.sound(), "recordings": theirs.sound()}
    if copies:
        sound["copy_synthesis"] = copies.sound()
    return Judgement(
        title=title,
        conditions=found,
        summary=summary,
        tones=_tone_rows(ours, theirs),
        copy_tones=_tone_rows(copies, theirs) if copies else [],
        sound=sound,
        utterances=_rows(pairs, ours, theirs, copies, distances, copy_distances, language),
        notes=_notes(pairs, ours),
    )


def judge_model(
    engine: Speaks,
    items: Sequence[Item],
    out: Path,
    *,
    recogniser: Recogniser | None = None,
    encoder: SpeakerEncoder | None = None,
    voice: Voice | None = None,
    copy_synthesis: Callable[[Item], Samples | None] | None = None,
    language: str = "en-us",
    seed: int = 0,
    title: str = "Judgement",
    conditions: Mapping[str, str | int | float | None] | None = None,
    progress: Progress | None = None,
) -> Judgement:
    """Let `engine` read the items' texts, judge it against their recordings, write `out/report.*`.

    `engine` is anything with `speak(text, voice=, speed=, seed=)`; utterance k is spoken with `seed + k`.
    `copy_synthesis` gives the model's rendering of an item's real timing and pitch (24 kHz), or None.
    A text that the engine refuses counts as silence and is named in the notes.
    """
    from voicewright.judge.report import write_report

    recogniser = recogniser or open_recogniser("auto", language)
    encoder = encoder or SpeakerEncoder()
    pairs, refused = [], []
    spoken_seconds = wall = 0.0
    for number, item in enumerate(items):
        begun = time.perf_counter()
        try:
            spoken = speak_24k(engine, item.text, voice, seed + number)
        except VoicewrightError as error:
            refused.append(f"{item.id} was not spoken: {error}")
            spoken = np.zeros(SAMPLE_RATE, np.float32)
        wall += time.perf_counter() - begun
        spoken_seconds += len(spoken) / SAMPLE_RATE
        copied = copy_synthesis(item) if copy_synthesis else None
        pairs.append(Pair(item.id, item.text, item.recording, spoken, copied))
        if progress:
            progress("speaking", number + 1, len(items))
    found = dict(conditions or {})
    found["speaking seconds (wall)"] = round(wall, 2)
    found["real-time factor"] = round(wall / spoken_seconds, 4) if spoken_seconds else None
    result = judge(
        pairs,
        recogniser,
        encoder,
        language=language,
        seed=seed,
        title=title,
        conditions=found,
        progress=progress,
    )
    result = result.model_copy(update={"notes": refused + result.notes})
    write_report(result, pairs, out)
    return result


def speak_24k(engine: Speaks, text: str, voice: Voice | None, seed: int) -> Samples:
    """What the engine says, as float32 mono samples at 24 kHz."""
    spoken = engine.speak(text, voice=voice, seed=seed)
    samples = np.asarray(spoken.samples, np.float32).reshape(-1)
    if spoken.sample_rate != SAMPLE_RATE and samples.size:
        samples = soxr.resample(samples, spoken.sample_rate, SAMPLE_RATE).astype(np.float32)
    return samples


def _check(pairs: Sequence[Pair]) -> None:
    if len(pairs) < 2:
        raise UsageError(f"Judging needs at least two held-out utterances, got {len(pairs)}.")
    seen: set[str] = set()
    for pair in pairs:
        if pair.id in seen:
            raise UsageError(f"The utterance id {pair.id!r} comes twice: ids must be unique.")
        seen.add(pair.id)


def _stage(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    return (lambda done, total: progress(name, done, total)) if progress else None


def _embed(
    encoder: SpeakerEncoder, clips: Sequence[Samples]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Unit vectors [N, 256] and which clips have one; silent clips get zeros."""
    vectors, valid = np.zeros((len(clips), 256), np.float32), np.zeros(len(clips), bool)
    for index, clip in enumerate(clips):
        if float(np.abs(clip).max(initial=0.0)) > 1e-5:
            vectors[index], valid[index] = encoder.embed(clip), True
    return vectors, valid


def similarities(
    encoder: SpeakerEncoder, clips: Sequence[Samples], voice: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Each clip against the recordings of the other utterances, as the recordings themselves are."""
    vectors, _ = _embed(encoder, clips)
    out = np.zeros(len(clips), np.float32)
    for index, vector in enumerate(vectors):
        out[index] = similarity_to_voice(vector[None], np.delete(voice, index, axis=0))[0]
    return out


def _judge_side(
    clips: list[Samples],
    texts: Sequence[str],
    heard: Sequence[str],
    similar: NDArray[np.float32],
    language: str,
    seed: int,
    progress: Progress | None,
) -> _Side:
    judged, tracks = [], []
    for index, (clip, text) in enumerate(zip(clips, texts, strict=True)):
        track = track_f0(clip)
        tracks.append(track)
        judged.append(
            Judged(
                heard=heard[index],
                errors=count_errors(text, heard[index], language),
                similarity=float(similar[index]),
                measures=measure(clip, text, track),
            )
        )
        if progress:
            progress("measuring", index + 1, len(clips))
    # Noise is read under this side's own pitch; thirty seconds of it are plenty.
    track = np.concatenate(tracks)[:2400]
    noise = noise_periodicity(track, (BAND, *profile_bands()), seed)
    everything = np.concatenate(tracks)
    voiced = everything[everything > 0]
    low, high = np.percentile(voiced, [5, 95]) if voiced.size else (0.0, 0.0)
    return _Side(clips, judged, noise, long_term(clips), (float(low) * 0.95, float(high) * 1.05))


def _summary(ours: _Side, theirs: _Side, copies: _Side | None, bootstrap: Bootstrap) -> list[Line]:
    copied = copies.judged if copies else None
    lines = [summary_line((m, m, m), ours.judged, theirs.judged, copied, bootstrap) for m in MEASURES]
    copy_noise = copies.noise[0] if copies else 0.0
    measures = (
        periodicity_measure(ours.noise[0]),
        periodicity_measure(theirs.noise[0]),
        periodicity_measure(copy_noise),
    )
    lines.insert(3, summary_line(measures, ours.judged, theirs.judged, copied, bootstrap))
    return lines


def _set_lines(
    ours: _Side,
    theirs: _Side,
    copies: _Side | None,
    distances: list[float],
    copy_distances: list[float] | None,
    bootstrap: Bootstrap,
) -> list[Line]:
    """The lines that belong to whole sets, not to sums over clips."""
    tones = constant_tones(ours.spectra, theirs.spectra, ours.pitch)
    copy_tones = constant_tones(copies.spectra, theirs.spectra, copies.pitch) if copies else None
    halves = long_term(theirs.clips[::2]), long_term(theirs.clips[1::2])
    own = constant_tones(*halves, theirs.pitch)

    def mean_distance(values: list[float]) -> Estimate:
        array = np.asarray(values)
        resampled = bootstrap.counts @ array / len(array)
        low, high = np.percentile(resampled, [2.5, 97.5])
        return Estimate(value=round(float(array.mean()), 4), low=round(low, 4), high=round(high, 4))

    sounds = [side.sound() if side else None for side in (ours, theirs, copies)]
    visible = [Estimate(value=sound.visible_to / 1000) if sound else None for sound in sounds]
    return [
        Line(
            key="tones", label="Constant tones", unit="", digits=0,
            explanation=f"Narrow peaks that stay, {TONE_DB:g} dB above their surroundings and above the "
            "recordings there; for the recordings: one half of them against the other.",
            synthesised=Estimate(value=len(tones)), recordings=Estimate(value=len(own)),
            copy_synthesis=Estimate(value=len(copy_tones)) if copy_tones is not None else None,
            aim="0", met=not tones,
        ),
        Line(
            key="visible_to", label="Harmonics up to", unit="kHz", digits=0,
            explanation="Every 1 kHz band below this has periodicity above noise of at least 0.1.",
            synthesised=visible[0], recordings=visible[1], copy_synthesis=visible[2],
        ),
        Line(
            key="ltas", label="Average spectrum, distance", unit="dB", digits=2,
            explanation="Mean difference of the long-term spectra in third octaves, 0.1-10 kHz; for the "
            "recordings: between their two halves.",
            synthesised=Estimate(value=round(ltas_distance(ours.spectra, theirs.spectra), 4)),
            recordings=Estimate(value=round(ltas_distance(*halves), 4)),
            copy_synthesis=(
                Estimate(value=round(ltas_distance(copies.spectra, theirs.spectra), 4)) if copies else None
            ),
        ),
        Line(
            key="distance", label="Log-spectral distance", unit="dB", digits=2,
            explanation="To the recording of the same text, frames matched by time warping "
            "(copy-synthesis: frame by frame).",
            synthesised=mean_distance(distances),
            copy_synthesis=mean_distance(copy_distances) if copy_distances else None,
        ),
    ]  # fmt: skip


def _tone_rows(side: _Side, recordings: _Side) -> list[ToneRow]:
    return [
        ToneRow(
            hertz=round(tone.hertz, 1),
            level=round(tone.level, 2),
            prominence=round(tone.prominence, 2),
            above_recordings=round(tone.above_recordings, 2),
        )
        for tone in constant_tones(side.spectra, recordings.spectra, side.pitch)[:20]
    ]


def _clip(judged: Judged) -> Clip:
    return Clip(
        heard=judged.heard,
        wer=round(judged.errors.wer, 4),
        cer=round(judged.errors.cer, 4),
        similarity=round(judged.similarity, 4),
        measures=judged.measures.as_dict(),
    )


def _rows(
    pairs: Sequence[Pair],
    ours: _Side,
    theirs: _Side,
    copies: _Side | None,
    distances: list[float],
    copy_distances: list[float] | None,
    language: str,
) -> list[Row]:
    rows = [
        Row(
            id=pair.id,
            text=pair.text,
            spoken_text=comparable(pair.text, language),
            synthesised=_clip(ours.judged[index]),
            recording=_clip(theirs.judged[index]),
            copy_synthesis=_clip(copies.judged[index]) if copies else None,
            spectral_distance=round(distances[index], 4),
            copy_distance=round(copy_distances[index], 4) if copy_distances else None,
        )
        for index, pair in enumerate(pairs)
    ]
    return sorted(rows, key=lambda row: (-row.synthesised.cer, row.id))


def _notes(pairs: Sequence[Pair], ours: _Side) -> list[str]:
    broken = [p.id for p in pairs if not np.all(np.isfinite(p.synthesised))]
    silent = [p.id for p, j in zip(pairs, ours.judged, strict=True) if j.measures.peak < 1e-5]
    notes = [f"Samples that are not numbers in {', '.join(broken)}; they were taken as 0."] if broken else []
    if silent:
        notes.append(f"Silent: {', '.join(silent)}; all their words count as missing.")
    if len(pairs) < 30:
        notes.append(f"Only {len(pairs)} utterances: the intervals are wide.")
    return notes


def _conditions(
    pairs: Sequence[Pair],
    recogniser: Recogniser,
    encoder: SpeakerEncoder,
    seed: int,
    resamples: int,
    language: str,
) -> dict[str, str | int | float | None]:
    found: dict[str, str | int | float | None] = {
        "utterances": len(pairs),
        "recorded seconds": round(sum(len(p.recording) for p in pairs) / SAMPLE_RATE, 1),
        "synthesised seconds": round(sum(len(p.synthesised) for p in pairs) / SAMPLE_RATE, 1),
        "language": language,
        "recogniser": recogniser.name,
        "speaker encoder": encoder.name,
        "seed": seed,
        "intervals": f"95 %, bootstrap over utterances, {resamples} resamples",
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "python": platform.python_version(),
    }
    for package in ("voicewright", "torch", "numpy", "jiwer", "pyworld-prebuilt"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found
