"""What phones, recorders and editors leave: read right, found by every command, measured as it is heard."""

from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from recordings import (
    APE,
    CLIP,
    ID3V1,
    ID3V2,
    Make,
    changed,
    coded,
    ds64,
    key,
    knocked,
    lengths,
    silent_film,
    sound,
    ssnd,
    unended,
    w64,
    without_info_frame,
)  # fmt: skip
from sounds import RATE, Letters, speech, text

from voicewright.audio.files import AudioError, Samples, blocks, note, read, resample
from voicewright.corpus.edges import voice_detector
from voicewright.corpus.manifest import Corpus, Utterance, read_quarantine
from voicewright.corpus.measure import measure
from voicewright.corpus.prepare import prepare, render
from voicewright.errors import VoicewrightError
from voicewright.jobs.convert import ConvertOrder, plan

TIME = np.arange(len(CLIP)) / RATE
STEREO = np.stack([CLIP, CLIP], axis=1)
QUIET = 0.001 * np.random.default_rng(1).normal(size=len(CLIP))
LOUD_CLIP = np.clip(8 * speech(2.0), -1, 1).astype(np.float32)


def settled(make: Make, tmp_path: Path) -> tuple[Utterance | None, Samples, str]:
    """What preparing makes of a recording with a text beside it: utterance and samples, or why not."""
    (tmp_path / "in").mkdir()
    path = make(tmp_path / "in")
    path.with_suffix(".txt").write_text(text(2.0))
    try:
        prepare(tmp_path / "in", tmp_path / "out", reader=Letters(), workers=1)
    except VoicewrightError:
        (refusal,) = read_quarantine(tmp_path / "out")
        return None, np.zeros(0, np.float32), refusal.reason
    corpus = Corpus.read(tmp_path / "out")
    (utterance,) = corpus.utterances
    return utterance, read(corpus.path(utterance)), ""


def alike(first: Samples, second: Samples) -> float:
    """The greatest correlation of two clips at any shift, by the spectra's product."""
    size = 1 << (len(first) + len(second)).bit_length()
    one, other = first - first.mean(), second - second.mean()
    cross = np.fft.irfft(np.fft.rfft(one, size) * np.conj(np.fft.rfft(other, size)))
    return float(np.abs(cross).max() / np.sqrt((one**2).sum() * (other**2).sum()))


OFFSETS: dict[str, Make] = {
    "0.01": sound("a.wav", CLIP + 0.01),
    "0.4": sound("a.wav", CLIP + 0.4),
    "-0.4": sound("a.wav", CLIP - 0.4),
    "0.7": sound("a.wav", CLIP + 0.7),
    "0.15, 24 bits, 44.1 kHz": sound("a.wav", resample(CLIP, RATE, 44_100) + 0.15, "PCM_24", 44_100),
    "0.3, 8 kHz": sound("a.wav", resample(CLIP, RATE, 8_000) + 0.3, rate=8_000),
    "another in each channel": sound("a.wav", STEREO + np.array([0.3, -0.1])),
    "opposite in the channels": sound("a.wav", STEREO + np.array([0.4, -0.4])),
    "3.0 in floats": sound("a.wav", CLIP + 3.0, "FLOAT"),
    "faint speech far from zero": sound("a.wav", 0.1 * CLIP + 0.5, "PCM_24"),
    "in FLAC": sound("a.flac", CLIP + 0.2),
    "slow wandering": sound("a.wav", CLIP + 0.3 * np.sin(2 * np.pi * 0.4 * TIME)),
    "a drift": sound("a.wav", CLIP + np.linspace(-0.4, 0.4, len(CLIP))),
}


@pytest.mark.parametrize("name", OFFSETS)
def test_an_offset_is_taken_away_before_anything_is_measured(tmp_path: Path, name: str) -> None:
    utterance, samples, reason = settled(OFFSETS[name], tmp_path)
    assert utterance is not None, reason
    assert utterance.measurements.snr_db > 26
    assert abs(samples.mean()) < 1e-3
    assert alike(samples, CLIP) > 0.97


SCALES: dict[str, Make] = {
    "peak 2": sound("a.wav", 8 * CLIP, "FLOAT"),
    "peak 4": sound("a.wav", 16 * CLIP, "FLOAT"),
    "64 bits, peak 3": sound("a.wav", 12 * CLIP, "DOUBLE"),
    "peak 1.1": sound("a.wav", 4.4 * CLIP, "FLOAT"),
    "peak 40": sound("a.wav", 160 * CLIP, "FLOAT"),
    "16 bits as floats": sound("a.wav", 32_768 * CLIP, "FLOAT"),
    "24 bits as floats": sound("a.wav", 8_388_608 * CLIP, "FLOAT"),
    "32 bits as floats": sound("a.wav", 2_147_483_648.0 * CLIP, "DOUBLE"),
    "divided twice": sound("a.wav", CLIP / 32_768, "FLOAT"),
    "AIFF": sound("a.aiff", 8 * CLIP, "FLOAT"),
    "AU": sound("a.au", 8 * CLIP, "FLOAT"),
    "W64": sound("a.w64", 8 * CLIP, "FLOAT"),
    "CAF": sound("a.caf", 8 * CLIP, "FLOAT"),
    "Matroska": coded("a.mka", "pcm_f32le", 8 * CLIP),
    "QuickTime": coded("a.mov", "pcm_f32le", 20_000 * CLIP),
    "stereo": sound("a.wav", 8 * STEREO, "FLOAT"),
    "with an offset": sound("a.wav", 8 * CLIP + 2, "FLOAT"),
    "AAC of peak 2": coded("a.m4a", "aac", 8 * CLIP),
}


@pytest.mark.parametrize("name", SCALES)
def test_floats_of_any_scale_are_scaled(tmp_path: Path, name: str) -> None:
    utterance, samples, reason = settled(SCALES[name], tmp_path)
    assert utterance is not None, reason
    assert utterance.measurements.clipped < 1e-3 and utterance.measurements.peak < 1.5
    assert alike(samples, CLIP) > (0.95 if "AAC" in name else 0.97)


CLIPPED: dict[str, Make] = {
    "16 bits": sound("a.wav", LOUD_CLIP),
    "floats": sound("a.wav", LOUD_CLIP, "FLOAT"),
    "floats times 2": sound("a.wav", 2 * LOUD_CLIP, "FLOAT"),
    "floats times 32768": sound("a.wav", 32_768 * LOUD_CLIP, "FLOAT"),
    "floats times 0.1": sound("a.wav", 0.1 * LOUD_CLIP, "FLOAT"),
    "only above": sound("a.wav", np.minimum(2 * speech(2.0, level=0.6), 0.5), "PCM_24"),
    "only below": sound("a.wav", np.maximum(2 * speech(2.0, level=0.6), -0.5), "PCM_24"),
    "with an offset": sound("a.wav", 0.5 * LOUD_CLIP + 0.2, "PCM_24"),
    "cut by the offset": sound("a.wav", np.clip(speech(2.0, level=0.6) + 0.7, -1, 1)),
    "stereo": sound("a.wav", np.stack([LOUD_CLIP, LOUD_CLIP], 1)),
    "cancelling": sound("a.wav", np.stack([LOUD_CLIP, -LOUD_CLIP], 1)),
    "MP3": coded("a.mp3", "libmp3lame", LOUD_CLIP),
    "AAC": coded("a.m4a", "aac", LOUD_CLIP),
    "Opus": coded("a.opus", "libopus", LOUD_CLIP),
}


@pytest.mark.parametrize("name", CLIPPED)
def test_flat_tops_are_clipping_at_any_scale(tmp_path: Path, name: str) -> None:
    assert settled(CLIPPED[name], tmp_path)[2] == "clipped"


def _channels(*rows: np.ndarray) -> np.ndarray:
    return np.stack(rows, axis=1).astype(np.float32)


NOISE = 0.05 * np.random.default_rng(2).normal(size=len(CLIP))
HUM = 0.4 * np.sin(2 * np.pi * 50 * TIME)
CHANNELS: dict[str, Make] = {
    "right is minus left": sound("a.wav", _channels(CLIP, -CLIP)),
    "minus left, 24 bits": sound("a.wav", _channels(-CLIP, CLIP), "PCM_24"),
    "minus left, softer": sound("a.wav", _channels(CLIP, -0.8 * CLIP)),
    "minus left with noise": sound("a.wav", _channels(CLIP, -CLIP + QUIET)),
    "minus left with an offset": sound("a.wav", _channels(CLIP + 0.2, -CLIP + 0.2)),
    "minus left, a sample late": sound("a.wav", _channels(CLIP, -np.roll(CLIP, 1))),
    "minus left in AAC": coded("a.m4a", "aac", np.stack([CLIP, -CLIP])),
    "minus left in a film": coded("a.mov", "aac", np.stack([CLIP, -CLIP]), video=2.0),
    "minus left in FLAC": sound("a.flac", _channels(CLIP, -CLIP)),
    "four that cancel": sound("a.wav", _channels(CLIP, -CLIP, CLIP, -CLIP)),
    "one dead": sound("a.wav", _channels(np.zeros(len(CLIP)), CLIP)),
    "one dead with an offset": sound("a.wav", _channels(np.full(len(CLIP), 0.5), CLIP)),
    "one very quiet": sound("a.wav", _channels(CLIP, 0.003 * CLIP)),
    "one is noise": sound("a.wav", _channels(CLIP, NOISE)),
    "one is loud hum": sound("a.wav", _channels(HUM, CLIP)),
    "six, the middle one speaks": sound("a.wav", _channels(*[0 * CLIP] * 2, CLIP, *[0 * CLIP] * 3)),
}


@pytest.mark.parametrize("name", CHANNELS)
def test_channels_that_spoil_the_mix_are_left_out(tmp_path: Path, name: str) -> None:
    """The corpus has the speech, and so has what a conversion hears, at its own level."""
    (tmp_path / "again").mkdir()
    heard = np.concatenate(list(blocks(CHANNELS[name](tmp_path / "again"), 16_000)))
    own = resample(CLIP, RATE, 16_000)
    assert alike(heard, own) > 0.97
    assert 0.4 < np.std(heard) / np.std(own) < 1.3
    utterance, samples, reason = settled(CHANNELS[name], tmp_path)
    assert utterance is not None, reason
    assert utterance.measurements.snr_db > 26
    assert alike(samples, CLIP) > 0.97


WAV = sound("a.wav", CLIP)
MOST = 0xFFFFFFFF
LENGTHS: dict[str, Make] = {
    "both 0": changed(WAV, lengths(0, 0)),
    "data 0": changed(WAV, lengths(None, 0)),
    "both at their most": changed(WAV, lengths(MOST, MOST)),
    "RIFF 0, data at its most": changed(WAV, lengths(0, MOST)),
    "RIFF at its most, data 0": changed(WAV, lengths(MOST, 0)),
    "2 GiB": changed(WAV, lengths(0x80000024, 0x80000000)),
    "2 GiB less one": changed(WAV, lengths(0x7FFFFFFF, 0x7FFFFFDB)),
    "RIFF 36, data 0": changed(WAV, lengths(36, 0)),
    "floats, both 0": changed(sound("a.wav", CLIP, "FLOAT"), lengths(0, 0)),
    "24 bits in stereo, both 0": changed(sound("a.wav", STEREO, "PCM_24"), lengths(0, 0)),
    "8 bits, both 0": changed(sound("a.wav", 2 * CLIP, "PCM_U8"), lengths(0, 0)),
    "mu-law, both 0": changed(sound("a.wav", 2 * CLIP, "ULAW"), lengths(0, 0)),
    "begins in silence, both 0": changed(
        sound("a.wav", np.concatenate([np.zeros(3000, np.float32), CLIP])), lengths(0, 0)
    ),
    "RF64": sound("a.rf64", CLIP),
    "RF64 called WAV": changed(sound("a.rf64", CLIP), lambda data: data, "a.wav"),
    "RF64, lengths 0": changed(sound("a.rf64", CLIP), ds64(0, 0), "a.wav"),
    "RF64, lengths at their most": changed(sound("a.rf64", CLIP), ds64(2**64 - 1, 2**64 - 1), "a.wav"),
    "W64": sound("a.w64", CLIP),
    "W64, length 0": changed(sound("a.w64", CLIP), w64(0)),
    "W64, length at its most": changed(sound("a.w64", CLIP), w64(2**63 - 1)),
    "AIFF, length 0": changed(sound("a.aiff", CLIP), ssnd(0)),
    "AU, length unknown": changed(sound("a.au", CLIP), lambda data: data[:8] + b"\xff" * 4 + data[12:]),
    "AU, length 0": changed(sound("a.au", CLIP), lambda data: data[:8] + b"\0" * 4 + data[12:]),
}


@pytest.mark.parametrize("name", LENGTHS)
def test_lengths_that_nobody_filled_in_mean_to_the_end(tmp_path: Path, name: str) -> None:
    samples = read(LENGTHS[name](tmp_path))
    assert 0 <= len(samples) - len(CLIP) <= 3000
    assert alike(samples, CLIP) > 0.98


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (changed(sound("a.wav", CLIP[:0]), lambda data: data + b"LIST\x04\0\0\0INFO"), "empty"),
        (changed(WAV, lambda data: data[:30_000]), "truncated"),
        (changed(sound("a.aiff", CLIP), lambda data: data[:30_000]), "truncated"),
        (changed(coded("a.mkv", "aac"), lambda data: data[: len(data) // 2]), "truncated"),
        (changed(coded("a.mka", "libopus"), lambda data: data[: len(data) - 2000]), "truncated"),
        (changed(coded("a.m4a", "aac", options={"movflags": "faststart"}), lambda d: d[:-3000]), "truncated"),
        (changed(coded("a.m4a", "aac"), lambda data: data[: len(data) // 2]), "truncated"),
        (changed(coded("a.mp3", "libmp3lame"), lambda data: data[: len(data) // 2]), "truncated"),
        (changed(coded("a.opus", "libopus"), lambda data: data[:-50]), "truncated"),
        (changed(sound("a.flac", CLIP), lambda data: data[: len(data) // 2]), "truncated"),
    ],
)
def test_what_is_really_cut_short_is_still_told(tmp_path: Path, make: Make, reason: str) -> None:
    with pytest.raises(AudioError) as caught:
        read(make(tmp_path))
    assert caught.value.reason == reason


WHOLE: dict[str, Make] = {
    "Ogg Vorbis without an end": changed(sound("a.ogg", CLIP), unended),
    "Opus without an end": changed(coded("a.opus", "libopus"), unended),
    "Opus in stereo without an end": changed(coded("a.oga", "libopus", np.stack([CLIP, CLIP])), unended),
    "WebM of a browser": coded("a.webm", "libopus", options={"live": "1"}),
    "Matroska written to a pipe": coded("a.mka", "aac", options={"live": "1"}),
    "raw AAC": coded("a.aac", "aac", container="adts"),
    "raw AAC with silence": coded("a.aac", "aac", np.concatenate([CLIP, 0 * CLIP]), container="adts"),
    "raw AAC at 8 kbit/s first": coded("a.aac", "aac", np.concatenate([0 * CLIP, CLIP]), container="adts"),
    "MP3 without its length": changed(coded("a.mp3", "libmp3lame"), without_info_frame),
    "a film longer than its sound": coded("a.mkv", "aac", video=4.0),
    "an MP4 longer than its sound": coded("a.mp4", "aac", video=4.0),
    "fragmented MP4": coded("a.mp4", "aac", options={"movflags": "frag_keyframe+empty_moov"}),
    "MPEG-TS": coded("a.ts", "aac", container="mpegts"),
    "AMR": coded("a.amr", "libopencore_amrnb", rate=8_000),
    "WAV behind ID3": changed(WAV, lambda data: ID3V2 + data),
    "WAV before ID3": changed(WAV, lambda data: data + ID3V2),
    "WAV before ID3v1": changed(WAV, lambda data: data + ID3V1),
    "FLAC behind ID3": changed(sound("a.flac", CLIP), lambda data: ID3V2 + data),
    "FLAC before ID3v1": changed(sound("a.flac", CLIP), lambda data: data + ID3V1),
    "Ogg before ID3v1": changed(sound("a.ogg", CLIP), lambda data: data + ID3V1),
    "Ogg behind ID3": changed(sound("a.ogg", CLIP), lambda data: ID3V2 + data),
    "AAC behind ID3": changed(coded("a.aac", "aac", container="adts"), lambda data: ID3V2 + data),
    "AAC before ID3v1": changed(coded("a.aac", "aac", container="adts"), lambda data: data + ID3V1),
    "MP3 before APE": changed(coded("a.mp3", "libmp3lame"), lambda data: data + APE + ID3V1),
    "M4A before ID3v1": changed(coded("a.m4a", "aac"), lambda data: data + ID3V1),
    "AIFF before ID3v1": changed(sound("a.aiff", CLIP), lambda data: data + ID3V1),
    "MP3 behind two ID3": changed(coded("a.mp3", "libmp3lame"), lambda data: ID3V2 + ID3V2 + data),
    "MP3 before zeros": changed(coded("a.mp3", "libmp3lame"), lambda data: data + bytes(3000)),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_recordings_are_not_called_cut_short(tmp_path: Path, name: str) -> None:
    samples = read(WHOLE[name](tmp_path))
    assert len(samples) >= 1.9 * RATE
    assert alike(samples, CLIP) > (0.6 if "AMR" in name else 0.95)


def _tone(
    name: str, codec: str, container: str | None = None, rate: int = 48_000, video: float = 0.0
) -> Make:
    return coded(name, codec, rate=rate, container=container, video=video)


ENDINGS: dict[str, Make] = {
    "mov": _tone("a.mov", "aac", video=2.0),
    "MOV": _tone("a.MOV", "aac", "mov"),
    "qt": _tone("a.qt", "aac", "mov"),
    "3gp": _tone("a.3gp", "libopencore_amrnb", rate=8_000),
    "3gpp": _tone("a.3gpp", "aac", "3gp"),
    "3g2": _tone("a.3g2", "aac"),
    "avi": _tone("a.avi", "libmp3lame", video=2.0),
    "ts": _tone("a.ts", "aac", "mpegts"),
    "mts": _tone("a.MTS", "ac3", "mpegts", video=2.0),
    "m2ts": _tone("a.m2ts", "ac3", "mpegts"),
    "flv": _tone("a.flv", "libmp3lame", rate=44_100, video=2.0),
    "f4v": _tone("a.f4v", "aac", "mp4"),
    "mkv": _tone("a.mkv", "ac3", video=2.0),
    "mpg": _tone("a.mpg", "mp2", "vob"),
    "mpeg": _tone("a.mpeg", "mp2", "mpeg"),
    "vob": _tone("a.vob", "ac3"),
    "wma": _tone("a.wma", "wmav2", "asf"),
    "wmv": _tone("a.wmv", "wmav2", "asf", video=2.0),
    "asf": _tone("a.asf", "wmav2"),
    "amr": _tone("a.amr", "libopencore_amrnb", rate=8_000),
    "caf": sound("a.caf", CLIP),
    "au": sound("a.au", CLIP),
    "w64": sound("a.w64", CLIP),
    "mka": _tone("a.mka", "libopus"),
    "aac": _tone("a.aac", "aac", "adts"),
    "m4b": _tone("a.m4b", "aac", "mp4"),
    "m4r": _tone("a.m4r", "aac", "mp4"),
    "m4v": _tone("a.m4v", "aac", "mp4"),
    "mp4": _tone("a.mp4", "aac", video=2.0),
    "opus": _tone("a.opus", "libopus"),
    "oga": _tone("a.oga", "libopus", "ogg"),
    "ogv": _tone("a.ogv", "libopus", "ogg"),
    "spx": _tone("a.spx", "libopus", "ogg"),
    "weba": _tone("a.weba", "libopus", "webm"),
    "ac3": _tone("a.ac3", "ac3"),
    "eac3": _tone("a.eac3", "eac3"),
    "mp2": _tone("a.mp2", "mp2"),
    "mpga": _tone("a.mpga", "libmp3lame", "mp3"),
    "wv": _tone("a.wv", "wavpack"),
    "tta": _tone("a.tta", "tta"),
    "nut": _tone("a.nut", "aac"),
    "voc": sound("a.voc", CLIP, "PCM_16"),
    "sph": changed(sound("a.nist", CLIP), lambda data: data, "a.sph"),
    "nist": sound("a.nist", CLIP),
    "sf": changed(sound("a.ircam", CLIP), lambda data: data, "a.sf"),
    "bwf": changed(WAV, lambda data: data, "a.bwf"),
    "aifc": changed(sound("a.aiff", CLIP, "FLOAT"), lambda data: data, "a.aifc"),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_what_a_phone_or_recorder_leaves_is_taken_everywhere(tmp_path: Path, name: str) -> None:
    """In a folder and by itself, by `prepare` and by `convert`."""
    (tmp_path / "convert").mkdir()
    path = ENDINGS[name](tmp_path / "convert")
    for given in (path, tmp_path / "convert"):
        work, _ = plan(
            ConvertOrder((given,), "voice", output=str(tmp_path / "made.wav" if given == path else tmp_path))
        )
        assert [source for source, _ in work] == [path]
    assert alike(np.concatenate(list(blocks(path, 16_000))), resample(CLIP, RATE, 16_000)) > 0.6
    with pytest.raises(VoicewrightError, match="1 no_text"):
        prepare(path, tmp_path / "single", transcribe="never", reader=Letters(), workers=1)
    utterance, _, reason = settled(ENDINGS[name], tmp_path)
    assert utterance is not None, reason


@pytest.mark.parametrize("ending", ["mov", "avi", "mkv", "3gp"])
def test_a_film_without_sound_is_named(tmp_path: Path, ending: str) -> None:
    (tmp_path / "in").mkdir()
    path = silent_film(f"a.{ending}")(tmp_path / "in")
    with pytest.raises(VoicewrightError, match="holds no audio"):
        read(path)
    path.with_suffix(".txt").write_text(text(2.0))
    with pytest.raises(VoicewrightError, match="1 unreadable"):
        prepare(tmp_path / "in", tmp_path / "out", reader=Letters(), workers=1)
    assert "no audio" in read_quarantine(tmp_path / "out")[0].detail


def test_source_code_called_ts_is_no_recording(tmp_path: Path) -> None:
    WAV(tmp_path)
    (tmp_path / "page.ts").write_text("Given: string = 'G';\n" * 30)
    work, _ = plan(ConvertOrder((tmp_path,), "voice", output=str(tmp_path / "out")))
    assert [source.name for source, _ in work] == ["a.wav"]


SPEAKING = np.flatnonzero(np.abs(CLIP) > 0.004)
SPOKEN = (SPEAKING[0] / RATE, SPEAKING[-1] / RATE)
KNOCKS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "one before": ((1.0,), ()),
    "one after": ((), (0.9,)),
    "both": ((1.0,), (0.9,)),
    "near, both": ((0.4,), (0.4,)),
    "two before": ((1.0, 0.9), ()),
    "pressed and released": ((1.0, 0.88), (0.7, 0.82)),
    "three after": ((), (0.4, 0.7, 1.0)),
    "spread": ((1.1, 0.8, 0.5), (0.5, 0.8, 1.1)),
    "at the very ends": ((1.2,), (1.15,)),
}


@pytest.mark.parametrize("level", [0.03, 0.3])
@pytest.mark.parametrize("name", KNOCKS)
def test_knocks_do_not_hold_the_trim_open(tmp_path: Path, name: str, level: float) -> None:
    before, after = KNOCKS[name]
    clip = knocked(CLIP, before, after, level=level)
    utterance, _, reason = settled(sound("a.wav", clip), tmp_path)
    assert utterance is not None, reason
    assert utterance.measurements.silence_start == pytest.approx(1.2 + SPOKEN[0], abs=0.04)
    assert utterance.measurements.silence_end == pytest.approx(1.2 + 2.0 - SPOKEN[1], abs=0.04)


def test_bursts_near_speech_are_speech(tmp_path: Path) -> None:
    """A plosive before the first vowel, and one released 130 ms after the last: both stay."""
    clip = knocked(CLIP, (0.08,), (0.13,), level=0.05)
    utterance, _, reason = settled(sound("a.wav", clip), tmp_path)
    assert utterance is not None, reason
    assert utterance.measurements.silence_start < 1.2 - 0.05
    assert utterance.measurements.silence_end < 1.2 - 0.10


TIMES = np.arange(5 * RATE) / RATE


def _hissing(cut: float, floor_db: float | None, rate: int = 44_100) -> tuple[Samples, int]:
    """Syllables and hisses up to `cut` Hz, and a codec's floor behind them as loud as they are, softer."""
    from scipy.signal import butter, sosfiltfilt

    def below(samples: np.ndarray, hertz: float) -> np.ndarray:
        return sosfiltfilt(butter(10, hertz, fs=rate, output="sos"), samples)

    rng = np.random.default_rng(5)
    times = np.arange(5 * rate) / rate
    hiss = np.clip(np.sin(2 * np.pi * 1.3 * times), 0, 1) ** 4
    whole = below(speech(5.0, rate=rate) + 0.06 * hiss * rng.normal(size=len(times)), cut)
    if floor_db is not None:
        whole = whole + 0.06 * 10 ** (floor_db / 20) * hiss * below(rng.normal(size=len(times)), 16_400)
    return whole.astype(np.float32), rate


@pytest.mark.parametrize("floor_db", [None, -33.0, -45.0])
@pytest.mark.parametrize("cut", [3_400.0, 7_500.0, 10_500.0])
def test_the_bandwidth_is_where_speech_ends_and_not_the_floor(cut: float, floor_db: float | None) -> None:
    found = measure(*_hissing(cut, floor_db)).bandwidth_hz
    assert 0.93 * cut < found < 1.12 * cut + 100


def test_the_bandwidth_of_whole_recordings_is_their_own() -> None:
    samples, rate = _hissing(21_000.0, None, 48_000)
    assert measure(samples, rate).bandwidth_hz > 19_000


@pytest.mark.parametrize("tone", [50, 60])
@pytest.mark.parametrize("overtone", [1, 2, 3])
def test_hum_of_the_mains(tone: int, overtone: int) -> None:
    """Found at its level, in pauses and under speech; a voice's own pitch is none."""
    clip = speech(5.0)
    assert measure(clip, RATE).hum_hz == 0
    hum = 0.01 * np.sin(2 * np.pi * tone * overtone * TIMES)
    found = measure((clip + hum).astype(np.float32), RATE)
    assert found.hum_hz == tone
    assert found.hum_db == pytest.approx(-43, abs=1.5 if overtone == 1 else 5)


def test_rumble() -> None:
    slow = 0.02 * np.sin(2 * np.pi * 31 * TIMES)
    assert measure(speech(5.0), RATE).rumble_db < -60
    assert measure((speech(5.0) + slow).astype(np.float32), RATE).rumble_db == pytest.approx(-37, abs=2)


def test_the_summary_says_what_the_corpus_sounds_like(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for number in range(3):
        clip = speech(2.0 + number, number, rate=16_000)
        clip = clip + 0.01 * np.sin(2 * np.pi * 50 * np.arange(len(clip)) / 16_000).astype(np.float32)
        soundfile.write(source / f"c{number}.wav", clip, 16_000)
        (source / f"c{number}.txt").write_text(text(2.0 + number))
    soundfile.write(source / "d.wav", _channels(CLIP, -CLIP), RATE)
    (source / "d.txt").write_text(text(2.0))
    summary = prepare(source, tmp_path / "out", reader=Letters(), workers=1)
    told = render(summary)
    for words in (
        "Sound:",
        "16000 (3 clips), 24000 (1 clip) samples a second",
        "50 Hz in 3 clips",
        "cut tops: none",
        "1 clip: its channels cancel each other: channel",
        "Note: the recordings end at",
    ):
        assert words in told
    found = json.loads(json.dumps(summary.as_dict()))["sound"]
    assert found["clips"] == 4 and found["hum_hz"] == 50 and found["hum"] == 3
    assert found["seconds"][0] < found["seconds"][1] < found["seconds"][2]
    assert found["narrow"] >= 3 and len(found["advice"]) >= 2


def test_a_conversion_says_that_channels_cancel(tmp_path: Path) -> None:
    assert "cancel" in note(sound("a.wav", _channels(CLIP, -CLIP))(tmp_path))
    assert note(sound("b.wav", _channels(CLIP, CLIP))(tmp_path)) == ""
    assert note(WAV(tmp_path)) == ""


def test_a_list_is_no_recording_and_a_recording_no_list(tmp_path: Path) -> None:
    """Whatever they are called: what holds bytes is a recording, what holds text a list."""
    (tmp_path / "in").mkdir()
    odd = changed(WAV, lambda data: data, "tape.xyz")(tmp_path / "in")
    with pytest.raises(VoicewrightError, match="1 no_text"):
        prepare(odd, tmp_path / "out", transcribe="never", reader=Letters(), workers=1)
    WAV(tmp_path / "in")
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / "in/some.list").write_bytes(f"a|{text(2.0)}\n".encode(encoding))
        summary = prepare(tmp_path / "in/some.list", tmp_path / encoding, reader=Letters(), workers=1)
        assert summary.accepted == 1


def test_a_film_is_not_preferred_to_the_sound_cut_from_it(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    coded("a.mov", "aac", video=2.0)(tmp_path / "in")
    WAV(tmp_path / "in")
    (tmp_path / "in/a.txt").write_text(text(2.0))
    prepare(tmp_path / "in", tmp_path / "out", reader=Letters(), workers=1)
    assert [one.source for one in Corpus.read(tmp_path / "out").utterances] == ["a.wav"]


def test_looking_through_a_long_recording_takes_little_memory(tmp_path: Path) -> None:
    """Minutes of silence in two channels are a few kilobytes of Opus: nothing is kept of them but levels."""
    path = coded("a.opus", "libopus", np.zeros((2, 120 * RATE), np.float32), 48_000)(tmp_path)
    tracemalloc.start()
    assert note(path) == ""
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8_000_000


@pytest.mark.skipif("VOICEWRIGHT_SPEECH" not in os.environ, reason="VOICEWRIGHT_SPEECH names no recordings")
def test_real_speech_with_knocks_is_trimmed_as_without(tmp_path: Path) -> None:
    """A click added a quarter of a second or more before and after speech moves no edge; nothing is cut."""
    folder = Path(os.environ["VOICEWRIGHT_SPEECH"]) / "kathleen/wavs"
    rng = np.random.default_rng(6)
    moved = []
    for path in sorted(folder.iterdir())[::60]:
        still = 1e-4 * rng.normal(size=RATE).astype(np.float32)
        clip = np.concatenate([still, read(path), still])
        plain = measure(clip, RATE, None, voice_detector())
        for place in (plain.speech_start - rng.uniform(0.3, 0.9), plain.speech_end + rng.uniform(0.3, 0.9)):
            knock = key(rng, 0.05)
            at = round(place * RATE)
            clip[at : at + len(knock)] += knock
        found = measure(clip, RATE, None, voice_detector())
        moved += [found.speech_start - plain.speech_start, found.speech_end - plain.speech_end]
    assert np.percentile(np.abs(moved), 90) <= 0.03
    assert min(moved[1::2]) > -0.03 and max(moved[::2]) < 0.03
