"""One clip, from its recording to a file of the corpus or a reason to refuse it. Runs in worker processes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from pydantic import Field

from voicewright.audio.files import (
    AudioError,
    AudioInfo,
    Samples,
    decode,
    encode,
    resample,
    write_atomically,
)  # fmt: skip
from voicewright.audio.loudness import gain
from voicewright.audio.offset import without_offset
from voicewright.corpus.edges import voice_detector
from voicewright.corpus.manifest import AUDIO, Measurements, Refusal, Utterance, content_hash
from voicewright.corpus.measure import Levels, clipped_fraction, measure
from voicewright.corpus.sources import Item
from voicewright.listen.heard import Heard
from voicewright.records import Strict
from voicewright.text.frontend import Tokens
from voicewright.text.vocab import MAX_TOKENS
from voicewright.units import SAMPLE_RATE

EDGE = 0.050
"""Seconds of edge silence that stay."""


class Reader(Protocol):
    """What preparing needs of the text front end."""

    def tokens(self, text: str) -> Tokens: ...


class Limits(Strict):
    """What a clip must keep to; outside, it is refused."""

    min_seconds: float = Field(default=0.4, gt=0)
    """Of speech, edges trimmed."""
    max_seconds: float = Field(default=30.0, gt=0)
    min_peak: float = 0.002
    min_speech_db: float = -60.0
    max_clipped: float = 0.002
    min_snr_db: float = 10.0
    min_rate: float = 3.5
    """Phonemes a second, after `pause`."""
    max_rate: float = 30.0
    pause: float = 0.6
    """Seconds of any clip that need not hold phonemes."""
    min_heard: float | None = Field(default=None, ge=0, le=1)
    """How sure a recogniser must be of a text that nobody gave; None: its own limit."""


class Outcome(Strict):
    """What became of one item: exactly one of the two. `key` names its inputs in the journal."""

    key: str = ""
    utterance: Utterance | None = None
    refusal: Refusal | None = None


@dataclass(frozen=True)
class ClipSettings:
    """What every worker needs to know. Picklable."""

    out: Path
    language: str
    speaker: str
    limits: Limits


class _Refused(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def refuse(item: Item, reason: str, detail: str) -> Outcome:
    """The outcome of an item that is refused."""
    return Outcome(refusal=Refusal(source=item.source, id=item.id or None, reason=reason, detail=detail))


def phoneme_count(phonemes: str) -> int:
    """Speech sounds in a phoneme string: letters, not spaces, punctuation, stress or length marks."""
    return sum(symbol.isalpha() and symbol not in "ˈˌːʰʲ" for symbol in phonemes)


def prepare_clip(
    item: Item, settings: ClipSettings, reader: Reader, hear: Callable[[Samples, int], Heard] | None = None
) -> Outcome:
    """Measure one clip, check it, write its audio. Refusals are results.

    `hear` gives the words of samples [T] at a rate; it is asked when the item has no text.

    Raises VoicewrightError only when the corpus folder cannot be written.
    """
    if item.reason is not None or item.path is None:
        return refuse(item, item.reason or "no_audio", item.detail)
    text, sure = item.text, None
    try:
        # A text that cannot be used spares the decoding.
        tokens = _read_text(text, reader) if text is not None else None
        samples, info, levels = _listen(item.path, settings.limits)
        rate = info.rate
        start, end = _trimmed(levels)
        seconds = end - start
        _check_levels(levels, seconds, settings.limits)
        if text is None or tokens is None:
            heard = hear(samples[round(start * rate) : round(end * rate)], rate) if hear else Heard("", 0.0)
            text, sure = heard.text, heard.confidence
            _check_heard(heard, settings.limits)
            tokens = _read_text(text, reader)
        spoken = levels.speech_end - levels.speech_start
        pace = phoneme_count(tokens.phonemes) / max(spoken, 1e-3)
        _check_pace(phoneme_count(tokens.phonemes), spoken, settings.limits)
    except (_Refused, AudioError) as error:
        return refuse(item, error.reason, error.detail if isinstance(error, _Refused) else str(error))
    clip = samples[round(start * rate) : round(end * rate)]
    clip = resample(clip, rate)
    factor = gain(clip, SAMPLE_RATE)
    data = encode(_faded(clip) * np.float32(factor), SAMPLE_RATE, "flac")
    relative = f"{AUDIO}/{item.id}.flac"
    # Not synced one by one: the journal keeps the hash, and a file that does not match it is made again.
    write_atomically(settings.out / relative, data, sync=False)
    utterance = Utterance(
        id=item.id,
        audio=relative,
        text=text,
        phonemes=tokens.phonemes,
        speaker=item.speaker or settings.speaker,
        seconds=round(len(clip) / SAMPLE_RATE, 4),
        language=settings.language,
        transcript=item.transcript,
        heard=None if sure is None else round(sure, 3),
        source=item.source,
        hash=content_hash(data),
        measurements=_record(levels, info, pace, factor),
    )
    return Outcome(utterance=utterance)


def _read_text(text: str, reader: Reader) -> Tokens:
    tokens = reader.tokens(text)
    if tokens.faults:
        # Spelt out is not what was said in the recording: a voice would learn it wrongly.
        first = tokens.faults[0]
        raise _Refused("misread", f"at character {first.place + 1}, {first}")
    if tokens.unknown:
        raise _Refused("unknown_symbols", f"no reading is known for {' '.join(tokens.unknown[:8])}")
    if not tokens.words or not phoneme_count(tokens.phonemes):
        raise _Refused("no_text", f"nothing in {text[:80]!r} can be spoken")
    if len(tokens.ids) > MAX_TOKENS:
        raise _Refused(
            "too_long",
            f"{len(tokens.ids)} phoneme symbols, at most {MAX_TOKENS}: cut recording and text into sentences",
        )
    return tokens


def _listen(path: Path, limits: Limits) -> tuple[Samples, AudioInfo, Levels]:
    # Silence at the edges does not count against the length, within reason.
    samples, info = decode(path, 2 * limits.max_seconds + 10.0)
    clipped = clipped_fraction(samples, info.full)
    samples = without_offset(samples, info.rate)
    return samples, info, measure(samples, info.rate, clipped, voice_detector())


def _trimmed(levels: Levels) -> tuple[float, float]:
    return max(0.0, levels.speech_start - EDGE), min(levels.seconds, levels.speech_end + EDGE)


def _check_levels(levels: Levels, seconds: float, limits: Limits) -> None:
    if levels.peak < limits.min_peak or levels.speech_db < limits.min_speech_db or math.isinf(levels.lufs):
        raise _Refused("silent", f"peak {levels.peak:.5f}, loudest frames {levels.speech_db:.0f} dB")
    if seconds < limits.min_seconds:
        raise _Refused("too_short", f"{seconds:.2f} s of speech, at least {limits.min_seconds:g}")
    if seconds > limits.max_seconds:
        detail = f"{seconds:.1f} s of speech, at most {limits.max_seconds:g}"
        raise _Refused("too_long", f"{detail}: cut recording and text into sentences")
    if levels.clipped > limits.max_clipped:
        raise _Refused("clipped", f"{levels.clipped:.2%} of the samples are cut off")
    if levels.snr_db < limits.min_snr_db:
        raise _Refused("too_noisy", f"speech is {levels.snr_db:.1f} dB above the noise")


def _check_heard(heard: Heard, limits: Limits) -> None:
    if not heard.text:
        raise _Refused("no_text", "no words were recognised in it")
    least = heard.limit if limits.min_heard is None else limits.min_heard
    if heard.confidence < least:
        detail = f"confidence {heard.confidence:.2f}, at least {least:g}: {heard.text[:200]}"
        raise _Refused("unsure_transcript", detail)


def _check_pace(count: int, seconds: float, limits: Limits) -> None:
    if not count / limits.max_rate <= seconds <= limits.pause + count / limits.min_rate:
        raise _Refused("text_audio_mismatch", f"{seconds:.2f} s cannot be a text of {count} phonemes")


def _faded(clip: Samples) -> Samples:
    """Five milliseconds in and out, so that a cut inside noise does not click."""
    count = min(len(clip) // 2, SAMPLE_RATE // 200)
    ramp = np.linspace(0.0, 1.0, count, endpoint=False, dtype=np.float32)
    result = clip.copy()
    result[:count] *= ramp
    result[len(result) - count :] *= ramp[::-1]
    return result


def _record(levels: Levels, info: AudioInfo, pace: float, factor: float) -> Measurements:
    return Measurements(
        source_rate=info.rate,
        source_seconds=round(levels.seconds, 4),
        lufs=round(levels.lufs, 2),
        peak=round(levels.peak, 5),
        clipped=round(levels.clipped, 6),
        noise_db=round(levels.noise_db, 1),
        snr_db=round(levels.snr_db, 1),
        bandwidth_hz=round(levels.bandwidth_hz),
        silence_start=round(levels.speech_start, 3),
        silence_end=round(levels.seconds - levels.speech_end, 3),
        phonemes_per_second=round(pace, 2),
        gain_db=round(20 * math.log10(factor), 2),
        hum_hz=levels.hum_hz,
        hum_db=round(levels.hum_db, 1),
        rumble_db=round(levels.rumble_db, 1),
        note=info.note,
    )
