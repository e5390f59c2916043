"""Reading and writing audio: formats, wrong names, damage, caps, full disks."""

from __future__ import annotations

import errno
import io
import resource
import tracemalloc
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from sounds import RATE, speech

from voicewright import storage
from voicewright.audio import decoders, files
from voicewright.audio.files import AudioError, Samples, decode, probe, read, write
from voicewright.audio.loudness import CEILING, lufs, normalise
from voicewright.errors import UsageError, VoicewrightError


def likeness(first: Samples, second: Samples) -> float:
    """Correlation of what two clips have in common at the best shift of up to 60 ms."""
    count = min(len(first), len(second)) - 3000
    assert count > 4000
    best = 0.0
    for shift in range(0, 1500, 2):
        for one, other in ((first[shift:], second), (first, second[shift:])):
            best = max(best, float(np.corrcoef(one[:count], other[:count])[0, 1]))
    return best


def with_ffmpeg(path: Path, samples: Samples, codec: str, rate: int = 48_000, channels: int = 1) -> None:
    """Encode through FFmpeg, for containers that `write` does not make."""
    layout = "mono" if channels == 1 else "stereo"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = layout
        values = np.tile(files.resample(samples, RATE, rate)[None], (channels, 1))
        frame = av.AudioFrame.from_ndarray(values, format="fltp", layout=layout)
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


@pytest.mark.parametrize("extension", sorted(files.WRITABLE))
def test_written_formats_read_back(tmp_path: Path, extension: str) -> None:
    clip = speech(1.5)
    path = tmp_path / f"clip.{extension}"
    write(path, clip)
    again = read(path)
    assert again.dtype == np.float32
    assert abs(len(again) - len(clip)) <= 0.03 * RATE
    assert likeness(clip, again) > 0.98
    assert probe(path).seconds == pytest.approx(1.5, abs=0.1)
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize(("rate", "channels"), [(8_000, 1), (44_100, 2), (96_000, 6)])
def test_any_depth_rate_and_channel_count(tmp_path: Path, subtype: str, rate: int, channels: int) -> None:
    clip = speech(1.0, rate=rate)
    path = tmp_path / "clip.wav"
    soundfile.write(path, np.tile(clip[:, None], (1, channels)), rate, subtype=subtype)
    again = read(path)
    assert len(again) == pytest.approx(RATE, abs=2)
    assert likeness(files.resample(clip, rate), again) > 0.98
    native, info = decode(path)
    assert (info.rate, info.channels, len(native)) == (rate, channels, rate)


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "clip.aiff"
    both = np.stack([np.full(4800, 0.5), np.full(4800, -0.1)], axis=1)
    soundfile.write(path, both, RATE, subtype="PCM_24")
    assert np.allclose(read(path), 0.2, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "codec", "channels"), [("a.m4a", "aac", 2), ("a.webm", "libopus", 1), ("a.mka", "ac3", 2)]
)
def test_ffmpeg_formats(tmp_path: Path, name: str, codec: str, channels: int) -> None:
    clip = speech(1.5)
    with_ffmpeg(tmp_path / name, clip, codec, channels=channels)
    assert likeness(clip, read(tmp_path / name)) > 0.97


@pytest.mark.parametrize("extension", ["mp3", "opus", "ogg", "flac", "wav"])
def test_blocks_join_without_seams(tmp_path: Path, extension: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"clip.{extension}"
    write(path, speech(3.0))
    whole = read(path)
    monkeypatch.setattr(decoders, "BLOCK", 1000)
    assert np.array_equal(read(path), whole)


@pytest.mark.parametrize(
    ("held", "name"), [("mp3", "a.wav"), ("wav", "a.mp3"), ("flac", "a.raw"), ("opus", "a")]
)
def test_content_counts_not_the_name(tmp_path: Path, held: str, name: str) -> None:
    write(tmp_path / f"clip.{held}", speech(1.0))
    (tmp_path / f"clip.{held}").rename(tmp_path / name)
    assert len(read(tmp_path / name)) == pytest.approx(RATE, abs=1000)


@pytest.mark.parametrize("extension", sorted(files.WRITABLE))
@pytest.mark.parametrize("share", [0.4, 0.9])
def test_truncated(tmp_path: Path, extension: str, share: float) -> None:
    path = tmp_path / f"clip.{extension}"
    write(path, speech(3.0))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(AudioError) as caught:
        read(path)
    assert caught.value.reason == "truncated"
    assert str(path) in str(caught.value)


def test_wav_whose_length_was_never_filled_in_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "pipe.wav"
    write(path, speech(1.0))
    data = bytearray(path.read_bytes())
    at = data.index(b"data") + 4
    data[at : at + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    assert len(read(path)) == RATE


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "empty"), (b"hello there\n" * 100, "unreadable"), (bytes(range(256)) * 40, "unreadable")],
)
def test_not_audio(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "clip.wav"
    path.write_bytes(content)
    for reader in (read, probe):
        with pytest.raises(AudioError) as caught:
            reader(path)
        assert caught.value.reason == reason


def test_header_without_samples(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    write(path, np.zeros(0, np.float32))
    with pytest.raises(AudioError) as caught:
        read(path)
    assert caught.value.reason == "empty"


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "none.wav", tmp_path):
        with pytest.raises(AudioError):
            read(path)


def test_playlists_are_not_followed(tmp_path: Path) -> None:
    with_ffmpeg(tmp_path / "real.m4a", speech(1.0), "aac")
    path = tmp_path / "list.m4a"
    path.write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{tmp_path / 'real.m4a'}\n#EXT-X-ENDLIST\n"
    )
    with pytest.raises(AudioError):
        read(path)


def test_not_a_number(tmp_path: Path) -> None:
    clip = speech(1.0)
    clip[100] = np.nan
    soundfile.write(tmp_path / "clip.wav", clip, RATE, subtype="FLOAT")
    with pytest.raises(AudioError, match="not numbers"):
        read(tmp_path / "clip.wav")


def test_cap_holds_before_memory_is_taken(tmp_path: Path) -> None:
    """Minutes of silence are a few kilobytes of Opus: reading stops at the cap, and memory with it."""
    path = tmp_path / "bomb.opus"
    write(path, np.zeros(400 * 8_000, np.float32), 8_000)
    size = path.stat().st_size
    tracemalloc.start()
    with pytest.raises(AudioError) as caught:
        read(path, max_seconds=5.0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert caught.value.reason == "too_long"
    assert size < 400_000
    assert peak < 8_000_000  # all of it would be 38 MB


def test_long_wav_is_refused_by_its_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(40 * 60 * 8_000, np.int16), 8_000, subtype="PCM_U8")

    def never(*_: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(decoders.SndFile, "blocks", never)
    with pytest.raises(AudioError) as caught:
        read(path, max_seconds=60.0)
    assert caught.value.reason == "too_long"


def test_writing_limits_values_and_refuses_what_it_cannot(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    write(path, np.array([-3.0, 0.0, 3.0] * 100, np.float32))
    assert np.abs(read(path)).max() <= 1.0
    with pytest.raises(UsageError, match="flac"):
        write(tmp_path / "clip.xyz", speech(0.5))
    with pytest.raises(VoicewrightError, match="one channel"):
        write(path, np.zeros((2, 100), np.float32))
    with pytest.raises(VoicewrightError, match="not numbers"):
        write(path, np.full(10, np.nan, np.float32))


def test_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "clip.wav"
    write(path, speech(0.5))
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(VoicewrightError, match=r"clip\.wav could not be written"):
            write(path, speech(3.0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == ["clip.wav"]


def test_full_disk_on_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "the disk is full on device")

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(VoicewrightError, match="the disk is full"):
        write(tmp_path / "clip.flac", speech(0.5))
    assert list(tmp_path.iterdir()) == []


def test_loudness_of_a_known_tone() -> None:
    """BS.1770: a full-scale 997 Hz sine in one channel reads -3.01 LUFS."""
    tone = np.sin(2 * np.pi * 997 * np.arange(48_000 * 3) / 48_000).astype(np.float32)
    assert lufs(tone, 48_000) == pytest.approx(-3.01, abs=0.05)
    assert lufs(tone[:9_600], 48_000) == pytest.approx(-3.01, abs=0.3)
    assert lufs(np.zeros(48_000, np.float32), 48_000) == float("-inf")


def test_normalising_reaches_the_target_or_the_ceiling() -> None:
    assert lufs(normalise(speech(2.0, level=0.05), RATE), RATE) == pytest.approx(-23.0, abs=0.1)
    spiky = speech(2.0, level=0.01)
    spiky[1000] = 0.9
    assert np.abs(normalise(spiky, RATE)).max() <= CEILING + 1e-6
    silence = np.zeros(RATE, np.float32)
    assert np.array_equal(normalise(silence, RATE), silence)


def test_encoded_bytes_are_the_same_every_time() -> None:
    clip = speech(0.5)
    assert files.encode(clip, RATE, "flac") == files.encode(clip, RATE, "flac")
    assert soundfile.info(io.BytesIO(files.encode(clip, RATE, "flac"))).subtype == "PCM_16"
