"""Judging a voice: the same texts spoken by the model and by the person, through the same recogniser."""

from __future__ import annotations

import datetime
import itertools
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

import numpy as np
import soxr

from voicewright.engines.protocol import Engine, SpeakOptions, Speech, Voice, spoken
from voicewright.errors import UsageError, VoicewrightError
from voicewright.judging.ears import MoreEars, embed, likeness, open_more_ears, strangers_name
from voicewright.judging.lines import set_lines, summary, tone_rows, ways_beside
from voicewright.judging.measures import GROUPS, Judged
from voicewright.judging.metrics import Samples
from voicewright.judging.result import Clip, Item, Judgement, Pair, Row, Way, clean
from voicewright.judging.sides import Heard, Side, judge_side, rate
from voicewright.judging.spectrum import spectral_distance
from voicewright.judging.statistics import RESAMPLES, Bootstrap
from voicewright.listen.recogniser import Recogniser, open_recogniser
from voicewright.listen.speaker import Encoder, SpeakerEncoder
from voicewright.listen.words import comparable
from voicewright.units import SAMPLE_RATE

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and of how many."""


class Talker(Protocol):
    """The part of an engine that judging needs."""

    def speak(self, text: str, voice: Voice | None = None, speed: float = 1.0, seed: int = 0) -> Speech: ...


@dataclass(frozen=True)
class Beside:
    """Another who reads the texts that a model is judged by. work: what making it took, in words."""

    name: str
    talker: Talker
    voice: Voice | None = None
    work: str | None = None


@dataclass(frozen=True)
class InLanguage:
    """An engine reading in its corpus's language, whatever language its voice's name stands for."""

    engine: Engine
    language: str

    def speak(self, text: str, voice: Voice | None = None, speed: float = 1.0, seed: int = 0) -> Speech:
        """The whole text at once."""
        options = SpeakOptions(voice, speed, seed, self.language)
        return spoken(self.engine, text, options)


def judge(
    pairs: Sequence[Pair],
    recogniser: Recogniser,
    encoder: Encoder,
    *,
    more: MoreEars | None = None,
    language: str = "en-us",
    seed: int = 0,
    resamples: int = RESAMPLES,
    title: str = "Judgement",
    conditions: Mapping[str, str | int | float | None] | None = None,
    progress: Progress | None = None,
) -> Judgement:
    """Hold synthesised clips against the recordings of the same texts.

    A silent clip counts with all its words missing and similarity 0. Copy-synthesis is reported when every
    pair has one. `more`: who else hears; nobody when not given. Raises UsageError when there are fewer than
    two pairs, or an id comes twice.
    """
    _check(pairs)
    more = more or MoreEars()
    started = time.perf_counter()
    sides = [[clean(p.synthesised) for p in pairs], [clean(p.recording) for p in pairs]]
    copied = all(pair.copy_synthesis is not None for pair in pairs)
    if copied:
        sides.append([clean(p.copy_synthesis) for p in pairs])
    sides += [[clean(p.beside[name]) for p in pairs] for name in pairs[0].beside]
    words = recogniser.transcribe_many(
        [clip for side in sides for clip in side], _stage(progress, "recognising")
    )
    recognised = time.perf_counter() - started
    texts = [pair.text for pair in pairs]
    judged = [
        judge_side(clips, texts, said, language, seed, _stage(progress, "measuring"))
        for clips, said in zip(sides, _heard(pairs, sides, words, encoder, more, progress), strict=True)
    ]
    ours, theirs, copies = judged[0], judged[1], judged[2] if copied else None
    others = dict(zip(pairs[0].beside, judged[3 if copied else 2 :], strict=True))
    bootstrap = Bootstrap(len(pairs), seed, resamples)
    distances = [spectral_distance(a, b) for a, b in zip(ours.clips, theirs.clips, strict=True)]
    copy_distances = (
        [spectral_distance(a, b, warp=False) for a, b in zip(copies.clips, theirs.clips, strict=True)]
        if copies
        else None
    )
    lines = summary(ours, theirs, copies, encoder, more, bootstrap)
    lines += set_lines(ours, theirs, copies, distances, copy_distances, bootstrap)
    places = {group: place for place, group in enumerate(GROUPS)}
    lines.sort(key=lambda line: places[line.group])
    found: dict[str, str | int | float | None] = dict(conditions or {})
    found |= _conditions(pairs, recogniser, encoder, seed, resamples, language) | more.conditions()
    if name := strangers_name(encoder):
        found["strangers"] = name
    found["recognition seconds"] = round(recognised, 1)
    found["judging seconds"] = round(time.perf_counter() - started, 1)
    sound = {"synthesised": ours.sound(), "recordings": theirs.sound()}
    if copies:
        sound["copy_synthesis"] = copies.sound()
    return Judgement(
        title=title,
        conditions=found,
        summary=lines,
        tones=tone_rows(ours, theirs),
        copy_tones=tone_rows(copies, theirs) if copies else [],
        sound=sound,
        utterances=_rows(pairs, ours, theirs, copies, others, distances, copy_distances, language),
        ways=ways_beside(ours, theirs, others, encoder, more, bootstrap),
        notes=[*_notes(pairs, ours), *more.missing],
    )


def _heard(
    pairs: Sequence[Pair],
    sides: Sequence[Sequence[Samples]],
    words: Sequence[str],
    encoder: Encoder,
    more: MoreEars,
    progress: Progress | None,
) -> Iterator[Heard]:
    """For each side what all ears make of its clips, when it is asked for; `words` are those of all sides.

    Raises VoicewrightError for silent recordings.
    """
    ears = {"similarity": encoder} | ({"similarity_second": more.second} if more.second else {})
    voices = {}
    for key, ear in ears.items():
        voices[key], valid = embed(ear, sides[1])
        if not valid.all():
            silent = ", ".join(pair.id for pair, good in zip(pairs, valid, strict=True) if not good)
            raise VoicewrightError(f"These recordings are silent: {silent}. Leave them out of the judgement.")
    count, rated = len(pairs), itertools.count(1)

    def say_rated() -> None:
        done = next(rated)
        if progress and more.quality:
            progress("rating", done, count * len(sides))

    for number, clips in enumerate(sides):
        alike = {key: likeness(ear, embed(ear, clips)[0], voices[key]) for key, ear in ears.items()}
        yield Heard(
            words[number * count : (number + 1) * count],
            [one.similarity for one in alike["similarity"]],
            alike,
            rate(clips, more.quality, say_rated),
        )


def judge_model(
    engine: Talker,
    items: Sequence[Item],
    out: Path,
    *,
    recogniser: Recogniser | None = None,
    encoder: Encoder | None = None,
    more: MoreEars | None = None,
    voice: Voice | None = None,
    copy_synthesis: Callable[[Item], Samples | None] | None = None,
    language: str = "en-us",
    seed: int = 0,
    title: str = "Judgement",
    conditions: Mapping[str, str | int | float | None] | None = None,
    name: str | None = None,
    work: str | None = None,
    beside: Sequence[Beside] = (),
    notes: Sequence[str] = (),
    progress: Progress | None = None,
) -> Judgement:
    """Let `engine` read the items' texts, judge it against their recordings, write `out/report.*`.

    `engine` is anything with `speak(text, voice=, speed=, seed=)`; utterance k is spoken with `seed + k`.
    `more`: who else hears; None: whoever is installed. `copy_synthesis` gives the model's rendering of an
    item's real timing and pitch (24 kHz), or None. A text that the engine refuses counts as silence and is
    named in the notes. `beside`: others who read the same texts, beside whom the model goes by `name`;
    `work`: what making it took, in words; `notes`: what else is to be said.
    """
    from voicewright.judging.report import write_report

    recogniser = recogniser or open_recogniser("auto", language)
    encoder = encoder or SpeakerEncoder()
    more = open_more_ears() if more is None else more
    spoken, refused, wall = _spoken(engine, voice, items, seed, _stage(progress, "speaking"))
    others: dict[str, list[Samples]] = {}
    for one in beside:
        told = _stage(progress, f"speaking as {one.name}")
        others[one.name], silent, _ = _spoken(one.talker, one.voice, items, seed, told)
        refused += [f"{one.name}: {why}" for why in silent]
    pairs = [
        Pair(
            item.id,
            item.text,
            item.recording,
            spoken[number],
            copy_synthesis(item) if copy_synthesis else None,
            {name: clips[number] for name, clips in others.items()},
        )
        for number, item in enumerate(items)
    ]
    seconds = sum(map(len, spoken)) / SAMPLE_RATE
    found = dict(conditions or {})
    found["speaking seconds (wall)"] = round(wall, 2)
    found["real-time factor"] = round(wall / seconds, 4) if seconds else None
    result = judge(
        pairs,
        recogniser,
        encoder,
        more=more,
        language=language,
        seed=seed,
        title=title,
        conditions=found,
        progress=progress,
    )
    made = {one.name: one.work for one in beside}
    ways = [way.model_copy(update={"work": made[way.name]}) for way in result.ways]
    if ways:
        ways.insert(0, Way(name=name or title, work=work))
    result = result.model_copy(update={"notes": [*refused, *notes, *result.notes], "ways": ways})
    write_report(result, pairs, out)
    return result


def _spoken(
    talker: Talker,
    voice: Voice | None,
    items: Sequence[Item],
    seed: int,
    progress: Callable[[int, int], None] | None,
) -> tuple[list[Samples], list[str], float]:
    """Every item's text as read, what was refused and why, seconds of the wall's clock. A refused one is a
    second of silence."""
    clips, refused, wall = [], [], 0.0
    for number, item in enumerate(items):
        begun = time.perf_counter()
        try:
            clip = speak_24k(talker, item.text, voice, seed + number)
        except VoicewrightError as error:
            refused.append(f"{item.id} was not spoken: {error}")
            clip = np.zeros(SAMPLE_RATE, np.float32)
        wall += time.perf_counter() - begun
        clips.append(clip)
        if progress:
            progress(number + 1, len(items))
    return clips, refused, wall


def speak_24k(engine: Talker, text: str, voice: Voice | None, seed: int) -> Samples:
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
        if pair.beside.keys() != pairs[0].beside.keys():
            raise UsageError(f"{pair.id} is not read by the same voices as {pairs[0].id}.")
        seen.add(pair.id)


def _stage(progress: Progress | None, name: str) -> Callable[[int, int], None] | None:
    return (lambda done, total: progress(name, done, total)) if progress else None


def _clip(judged: Judged) -> Clip:
    return Clip(
        heard=judged.heard,
        wer=round(judged.errors.wer, 4),
        cer=round(judged.errors.cer, 4),
        similarity=round(judged.similarity, 4),
        likeness={key: round(one.similarity, 4) for key, one in judged.likeness.items()},
        quality=dict(judged.quality),
        artefacts={key: round(value, 4) for key, value in judged.artefacts.figures.items()},
        measures=judged.measures.as_dict(),
    )


def _rows(
    pairs: Sequence[Pair],
    ours: Side,
    theirs: Side,
    copies: Side | None,
    others: Mapping[str, Side],
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
            beside={name: _clip(side.judged[index]) for name, side in others.items()},
            spectral_distance=round(distances[index], 4),
            copy_distance=round(copy_distances[index], 4) if copy_distances else None,
        )
        for index, pair in enumerate(pairs)
    ]
    return sorted(rows, key=lambda row: (-row.synthesised.cer, row.id))


def _notes(pairs: Sequence[Pair], ours: Side) -> list[str]:
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
    encoder: Encoder,
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
