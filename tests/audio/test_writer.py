"""Audio written piece by piece: the same file as in one go, whole or not at all."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from voicewright.audio.writer import AudioWriter, PartFile, WavPipe
from voicewright.engines.memory import bound_caches, give_back
from voicewright.errors import UsageError, VoicewrightError

RATE = 24_000


def tone(seconds: float) -> np.ndarray:
    return (0.5 * np.sin(np.arange(int(seconds * RATE)) * 0.05)).astype(np.float32)


@pytest.mark.parametrize("extension", ["wav", "flac", "mp3", "ogg", "opus"])
def test_pieces_make_the_file_that_one_piece_makes(tmp_path: Path, extension: str) -> None:
    samples = tone(3)
    decoded = []
    for name, size in (("one", len(samples)), ("many", 1_234)):
        writer = AudioWriter(tmp_path / f"{name}.{extension}")
        for start in range(0, len(samples), size):
            writer.write(samples[start : start + size])
        assert not (tmp_path / f"{name}.{extension}").exists() and writer.samples == len(samples)
        writer.commit()
        decoded.append(soundfile.read(tmp_path / f"{name}.{extension}")[0])
    assert len(decoded[0]) == len(decoded[1]) >= len(samples)
    assert np.abs(decoded[0] - decoded[1]).max() < (1e-6 if extension in ("wav", "flac") else 0.05)
    assert np.abs(decoded[1][: len(samples)] - samples).mean() < 0.2
    assert len(list(tmp_path.iterdir())) == 2


def test_nothing_is_there_before_and_after_a_discard(tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(b"old")
    writer = AudioWriter(tmp_path / "a.flac")
    writer.write(tone(1))
    assert (tmp_path / "a.flac").read_bytes() == b"old"
    writer.discard()
    writer.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["a.flac"]
    assert (tmp_path / "a.flac").read_bytes() == b"old"


@pytest.mark.parametrize("extension", ["wav", "flac", "ogg"])
def test_a_full_disk_is_told_of_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extension: str
) -> None:
    writer = AudioWriter(tmp_path / f"a.{extension}")

    class Full(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer._part, "_file", Full())
    with pytest.raises(VoicewrightError, match="the disk is full"):
        for _ in range(40):
            writer.write(tone(1))
        writer.commit()
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_wrong_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="xyz"):
        AudioWriter(tmp_path / "a.xyz")
    with pytest.raises(VoicewrightError, match="could not be written"):
        AudioWriter(tmp_path / "absent" / "a.wav")
    with pytest.raises(VoicewrightError, match="44100"):
        AudioWriter(tmp_path / "a.opus", 44_100)
    assert list(tmp_path.iterdir()) == []


def test_a_wav_too_long_for_its_header_is_refused(tmp_path: Path) -> None:
    writer = AudioWriter(tmp_path / "a.wav")
    writer.samples = 2**31
    with pytest.raises(VoicewrightError, match="4 GB"):
        writer.write(tone(0.1))
    writer.discard()


def test_a_pipe_is_a_wav_that_promises_no_end() -> None:
    buffer = io.BytesIO()
    pipe = WavPipe(buffer)
    for _ in range(3):
        pipe.write(tone(0.5))
    pipe.prepare()
    pipe.commit()
    samples, rate = soundfile.read(io.BytesIO(buffer.getvalue()))
    assert rate == RATE and len(samples) == 3 * len(tone(0.5))
    assert np.abs(samples[: RATE // 2] - tone(0.5)).max() < 1e-4


def test_a_part_file_appears_whole(tmp_path: Path) -> None:
    part = PartFile(tmp_path / "a.srt")
    part.write(b"one")
    assert not (tmp_path / "a.srt").exists()
    part.commit()
    assert (tmp_path / "a.srt").read_bytes() == b"one" and len(list(tmp_path.iterdir())) == 1


def test_caches_are_bounded_unless_the_user_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    bound_caches()
    assert 0 < int(os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"]) < 1024
    monkeypatch.setenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "7")
    bound_caches()
    assert os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "7"


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps what is freed")
def test_freed_memory_is_given_back() -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    # Many small blocks with one left at the top: freed, they stay with the allocator.
    blocks = [bytes(60_000) + bytes([n % 251]) for n in range(1500)]
    last = bytes(60_001)
    full = resident()
    del blocks
    give_back()
    assert resident() < full - 60_000_000 and len(last) == 60_001
