"""What a corpus sounds like, from the measurements of its clips: as a record, and in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from voicewright.corpus.manifest import Measurements, Utterance
from voicewright.units import SAMPLE_RATE

FULL_BAND = 10_000.0
"""Hz that recordings for a voice of 24,000 samples a second should reach; 12,000 would be all."""
_CLEAN_DB = 25.0
_HUMS_DB = -45.0
"""Hum or rumble is heard in pauses when it is no further below the speech."""
_MANY = 0.2
_RATES_SHOWN = 4


@dataclass(frozen=True)
class Sound:
    """Of accepted clips; three numbers are the least, the median and the greatest. Levels in dB."""

    clips: int
    seconds: tuple[float, float, float]
    source_rates: dict[int, int]
    """Samples a second of the recordings → clips."""
    bandwidth_hz: tuple[float, float, float]
    narrow: int
    """Clips that end below FULL_BAND."""
    snr_db: tuple[float, float, float]
    """How far speech stands above the noise."""
    noisiest_tenth_db: float
    """A tenth of the clips has less than that."""
    lufs: tuple[float, float, float]
    """Before levelling."""
    peak_db: float
    """Of the loudest sample of all, before levelling."""
    clipped: int
    """Clips with flat tops, of those few enough to be accepted."""
    hum_hz: int
    """50 or 60 where clips hum, 0 where they do not."""
    hum: int
    hum_db: float
    """Median of those clips, relative to their speech."""
    rumble: int
    rumble_db: float
    notes: dict[str, int]
    """What was done about channels or scale → clips."""

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON, with what follows from them in words."""
        return {**asdict(self), "advice": list(advice(self))}


def listen(utterances: Sequence[Utterance]) -> Sound | None:
    """What these clips sound like together, None where there are none."""
    measured = [utterance.measurements for utterance in utterances]
    if not measured:
        return None
    hums = [one for one in measured if one.hum_hz and _below_speech(one, one.hum_db) > _HUMS_DB]
    rumbles = [one for one in measured if _below_speech(one, one.rumble_db) > _HUMS_DB]
    snr = [one.snr_db for one in measured]
    rates = Counter(one.source_rate for one in measured).most_common()
    return Sound(
        clips=len(measured),
        seconds=_three([utterance.seconds for utterance in utterances], 2),
        source_rates=dict(rates),
        bandwidth_hz=_three([one.bandwidth_hz for one in measured], 0),
        narrow=sum(one.bandwidth_hz < FULL_BAND for one in measured),
        snr_db=_three(snr, 1),
        noisiest_tenth_db=round(float(np.percentile(snr, 10)), 1),
        lufs=_three([one.lufs for one in measured], 1),
        peak_db=round(float(20 * np.log10(max(1e-5, *(one.peak for one in measured)))), 1),
        clipped=sum(one.clipped > 0 for one in measured),
        hum_hz=Counter(int(one.hum_hz) for one in hums).most_common(1)[0][0] if hums else 0,
        hum=len(hums),
        hum_db=_median([_below_speech(one, one.hum_db) for one in hums]),
        rumble=len(rumbles),
        rumble_db=_median([_below_speech(one, one.rumble_db) for one in rumbles]),
        notes=dict(Counter(one.note for one in measured if one.note).most_common()),
    )


def _below_speech(one: Measurements, level: float) -> float:
    return level - (one.noise_db + one.snr_db)


def _median(values: Sequence[float]) -> float:
    return round(float(np.median(values)), 1) if values else 0.0


def _three(values: Sequence[float], digits: int) -> tuple[float, float, float]:
    return (round(min(values), digits), round(float(np.median(values)), digits), round(max(values), digits))


def lines(sound: Sound) -> list[str]:
    """The record in words, a line for each matter, and then what may be done about it."""
    least, half, most = sound.seconds
    rates = [
        f"{rate}" if count == sound.clips else f"{rate} ({_clips(count)})"
        for rate, count in sound.source_rates.items()
    ]
    if len(rates) > _RATES_SHOWN:
        rates = [*rates[:_RATES_SHOWN], "others"]
    told = [
        "Sound:",
        f"  length: {least:.1f} to {most:.1f} s, half of the clips below {half:.1f} s",
        f"  recorded at {', '.join(rates)} samples a second; heard up to {_kilo(sound.bandwidth_hz[1])}",
        f"  noise: speech stands {sound.snr_db[1]:.0f} dB above it; "
        f"{sound.noisiest_tenth_db:.0f} dB or less in the noisiest tenth",
        f"  loudness: {sound.lufs[0]:.0f} to {sound.lufs[2]:.0f} LUFS before levelling, "
        f"loudest peak {sound.peak_db:.0f} dB",
        f"  cut tops: {f'a few in {_clips(sound.clipped)}' if sound.clipped else 'none'}",
    ]
    hum = (
        f"{sound.hum_hz} Hz in {_clips(sound.hum)}, {-sound.hum_db:.0f} dB below speech"
        if sound.hum
        else "none"
    )
    rumble = f"in {_clips(sound.rumble)}, {-sound.rumble_db:.0f} dB below speech" if sound.rumble else "none"
    told += [f"  mains hum: {hum}; rumble: {rumble}"]
    told += [f"  {_clips(count)}: {note}" for note, count in sound.notes.items()]
    return told + [f"  Note: {sentence}" for sentence in advice(sound)]


def advice(sound: Sound) -> list[str]:
    """What a user should know before a voice is trained on it."""
    found = []
    ends, whole = _kilo(sound.bandwidth_hz[1]), _kilo(SAMPLE_RATE / 2)
    if sound.narrow > sound.clips / 2:
        found.append(
            f"the recordings end at {ends}, a voice could reach {whole}: it will sound as dull as they do. "
            f"Record at {SAMPLE_RATE} samples a second or more, as WAV or FLAC."
        )
    elif sound.narrow:
        found.append(
            f"{sound.narrow} of {sound.clips} clips end below {_kilo(FULL_BAND)}: "
            "the voice may be dull at times."
        )
    if sound.snr_db[1] < _CLEAN_DB:
        found.append(
            "the recordings are noisy, and a voice learns noise too: "
            "a quieter room or a nearer microphone helps."
        )
    if sound.hum > _MANY * sound.clips:
        found.append(
            f"{sound.hum_hz} Hz of the mains are heard in the pauses: another cable or socket may help."
        )
    if sound.rumble > _MANY * sound.clips:
        found.append("traffic, wind or a desk rumbles below 45 Hz: a low-cut at the microphone helps.")
    if sound.clipped > _MANY * sound.clips:
        found.append("many recordings are a little too loud for their device: turn its gain down.")
    return found


def _clips(count: int) -> str:
    return f"{count} clip{'' if count == 1 else 's'}"


def _kilo(hertz: float) -> str:
    return f"{hertz / 1000:.1f}".removesuffix(".0") + " kHz"
