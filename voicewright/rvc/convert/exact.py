"""RVC-WebUI's own pipeline (classic, fp32), sample by sample, to compare with: butt joints, drift and all.

Where it departs from `pipeline.py`: chunks are cut at multiples of their length, those of an odd number of
frames lose 10 ms, joins are not crossfaded, loudness is interpolated over the whole by its own grid, the
whole is scaled when it peaks. NaN is mended in retrieval only.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from voicewright.conversion.notes import Notes
from voicewright.conversion.protocol import (
    CONTENT_RATE,
    MOST_EXACT,
    PITCH_HOP,
    UPSTREAM_CHUNKS,
    Chunks,
    Converted,
    ConvertOptions,
    Samples,
)
from voicewright.conversion.signal import high_pass, loudness_around
from voicewright.errors import UsageError, VoicewrightError
from voicewright.rvc.convert.voice import Parts, protect, settle, speaker_row
from voicewright.stopping import Cancel, stop_if

_LOUDEST = 0.95
_PEAK = 0.99
_QUIETEST = 1e-6


def convert_exactly(
    converter: Parts, samples: Samples, rate: int, options: ConvertOptions, cancel: Cancel | None
) -> Converted:
    """A whole recording as RVC-WebUI converts it. Raises as `Converter.convert`."""
    import soxr
    import torch

    from voicewright.conversion.pitch import coarse

    wave = _wave(samples, rate, options)
    chunks = UPSTREAM_CHUNKS if options.chunks == Chunks() else options.chunks
    pad = int(chunks.pad * CONTENT_RATE)
    padded = np.pad(wave, pad, "reflect")
    config = converter.voice.config
    speaker = speaker_row(converter.voice, options.speaker, converter.name)
    heard = Notes()
    source = target = None
    if config.f0:
        stop_if(cancel)
        source = converter.estimate(padded, options)[: len(padded) // PITCH_HOP]
        semitones = options.pitch
        if semitones == "auto":
            semitones, message = settle(options, converter.name, converter.voice, source[source > 0])
            if message:
                heard.warn(message)
        heard.transposed(semitones)
        target = (source * np.float32(2 ** (semitones / 12))).astype(np.float32)
        inner = slice(pad // PITCH_HOP, (pad + len(wave)) // PITCH_HOP)
        heard.pitch(source[inner], target[inner])
    generator = torch.Generator(converter.device).manual_seed(options.seed)
    made = []
    for first, stop in _spans(wave, padded, chunks):
        part = padded[first:] if stop is None else padded[first : stop + 2 * pad + PITCH_HOP]
        features, plain = converter.features(part, options, cancel)
        frames = min(len(part) // PITCH_HOP, 2 * len(features))
        features, plain = (np.repeat(found, 2, axis=0)[:frames] for found in (features, plain))
        f0 = pitch = None
        if target is not None:
            span = slice(first // PITCH_HOP, None if stop is None else (stop + 2 * pad) // PITCH_HOP)
            f0 = target[span][:frames]
            pitch = coarse(f0)
            # Upstream asks the transposed F0 whether a frame is voiced.
            features = protect(features, plain, f0, options.protect)
        sound = converter.synthesise(features[:frames], f0, pitch, speaker, generator, cancel)
        edge = int(chunks.pad * config.sample_rate)
        made.append(sound[edge:-edge])
    out = np.concatenate(made)
    if options.rms_mix != 1:
        out = _mixed(wave, out, config.sample_rate, options.rms_mix)
    wanted = options.sample_rate or config.sample_rate
    if wanted != config.sample_rate:
        out = soxr.resample(out, config.sample_rate, wanted)
    peak = float(np.abs(out).max(initial=0.0)) / _PEAK
    out = out / peak if peak > 1 else out
    return heard.converted(np.asarray(out, np.float32), wanted)


def _wave(samples: Samples, rate: int, options: ConvertOptions) -> Samples:
    """The recording at 16 kHz, not too loud and without rumble. Raises UsageError, VoicewrightError."""
    import soxr

    from voicewright.conversion.source import check_recording

    values = check_recording(samples, rate)
    if len(values) > MOST_EXACT * rate:
        raise UsageError(
            f"exact conversion holds everything in memory: give at most {MOST_EXACT / 60:g} minutes, or "
            "leave --exact out."
        )
    if options.formant or options.unvoiced != "zero":
        raise UsageError(
            "exact conversion knows neither formant shift nor interpolated pitch; leave them out."
        )
    wave = soxr.resample(values, rate, CONTENT_RATE) if rate != CONTENT_RATE else values
    if len(wave) < PITCH_HOP:
        raise VoicewrightError("the recording is shorter than 10 ms, which RVC-WebUI cannot convert either.")
    peak = float(np.abs(wave).max()) / _LOUDEST
    return high_pass(wave / peak if peak > 1 else wave)


def _spans(wave: Samples, padded: Samples, chunks: Chunks) -> list[tuple[int, int | None]]:
    """Where each chunk begins in the padded source, and where it ends in the source (None: the end)."""
    center, query, most = (int(s * CONTENT_RATE) for s in (chunks.center, chunks.query, chunks.longest))
    if len(wave) + PITCH_HOP <= most:
        return [(0, None)]
    loudness = loudness_around(wave)
    cuts = []
    for near in range(center, len(wave), center):
        low = near - query
        cuts.append((low + int(np.argmin(loudness[low : near + query]))) // PITCH_HOP * PITCH_HOP)
    return list(zip([0, *cuts], [*cuts, None], strict=True))


def _mixed(source: Samples, made: Samples, rate: int, share: float) -> Samples:
    """Loudness by upstream's grid: points stretched evenly over the result, whatever they stand for."""
    wanted = _stretched(_rms(source, CONTENT_RATE), len(made))
    own = np.maximum(_stretched(_rms(made, rate), len(made)), _QUIETEST)
    return (made * wanted ** (1 - share) * own ** (share - 1)).astype(np.float32)


def _rms(samples: Samples, rate: int) -> NDArray[np.float64]:
    """RMS over a second every half second, zeros beyond the ends: [1 + n // hop]."""
    hop = rate // 2
    squares = np.pad(np.square(samples.astype(np.float64)), hop)
    count = 1 + len(samples) // hop
    sums = np.cumsum(np.pad(squares, (1, 0)))
    starts = np.arange(count) * hop
    return np.sqrt((sums[starts + 2 * hop] - sums[starts]) / (2 * hop))


def _stretched(points: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Linear interpolation to `length`, half-pixel centres, as torch's `interpolate` has it."""
    places = (np.arange(length) + 0.5) * (len(points) / length) - 0.5
    return np.interp(places, np.arange(len(points)), points)
