"""Whatever people hand in: each clip ends accepted or refused with a reason, and the count is right."""

from __future__ import annotations

import errno
import os
import resource
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import RATE, Letters, ljspeech, speech, text

from voicewright.audio import files
from voicewright.audio.files import write
from voicewright.corpus.clips import Limits
from voicewright.corpus.manifest import META, REASONS, Corpus, read_quarantine
from voicewright.corpus.prepare import Summary, prepare
from voicewright.errors import VoicewrightError


def run(source: Path, out: Path, **options: object) -> Summary:
    summary = prepare(source, out, reader=Letters(), workers=1, **options)  # type: ignore[arg-type]
    corpus, refused = Corpus.read(out), read_quarantine(out)
    assert len(corpus.utterances) + len(refused) == summary.found
    assert (summary.accepted, sum(summary.quarantined.values())) == (len(corpus.utterances), len(refused))
    assert {refusal.reason for refusal in refused} <= set(REASONS)
    assert all(refusal.detail for refusal in refused)
    assert sorted(path.name for path in (out / "audio").iterdir()) == sorted(
        Path(utterance.audio).name for utterance in corpus.utterances
    )
    return summary


def with_clip(folder: Path, make: Callable[[Path], None], words: str | None = None) -> Path:
    """Two good clips and `bad.wav`, made by `make`."""
    ljspeech(folder, 2)
    make(folder / "wavs/bad.wav")
    with (folder / "metadata.csv").open("a") as file:
        file.write(f"bad|{words or text(1.2)}\n")
    return folder


def only_reason(source: Path, out: Path, **options: object) -> str:
    summary = run(source, out, **options)
    assert (summary.found, summary.accepted) == (3, 2)
    (refusal,) = read_quarantine(out)
    assert refusal.id == "bad"
    return refusal.reason


def _clipped(path: Path) -> None:
    write(path, np.clip(8 * speech(1.2), -1, 1))


def _clipped_and_turned_down(path: Path) -> None:
    write(path, 0.4 * np.clip(8 * speech(1.2), -1, 1), subtype="PCM_24")


def _noisy(path: Path) -> None:
    write(path, speech(1.2, noise=0.05, level=0.2))


def _truncated(path: Path) -> None:
    write(path, speech(2.0))
    path.write_bytes(path.read_bytes()[:30_000])


def _mp3_inside(path: Path) -> None:
    write(path.with_suffix(".mp3"), speech(1.2))
    path.with_suffix(".mp3").rename(path)


def _forty_minutes(path: Path) -> None:
    soundfile.write(path, np.zeros(40 * 60 * 8_000, np.int16), 8_000, subtype="PCM_U8")


def _with_silence_around(path: Path) -> None:
    still = np.zeros(5 * RATE, np.float32)
    write(path, np.concatenate([still, speech(1.2), still]))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_bytes(b""), "empty"),
        (lambda path: write(path, np.zeros(0, np.float32)), "empty"),
        (_truncated, "truncated"),
        (lambda path: path.write_text("This is a note.\n" * 50), "unreadable"),
        (lambda path: write(path, np.zeros(RATE, np.float32)), "silent"),
        (lambda path: write(path, 1e-4 * speech(1.2)), "silent"),
        (_clipped, "clipped"),
        (_clipped_and_turned_down, "clipped"),
        (_noisy, "too_noisy"),
        (lambda path: write(path, speech(0.2)), "too_short"),
        (_forty_minutes, "too_long"),
        (lambda path: write(path, speech(33.0)), "too_long"),
    ],
)
def test_bad_recordings(tmp_path: Path, make: Callable[[Path], None], reason: str) -> None:
    assert only_reason(with_clip(tmp_path / "in", make), tmp_path / "out") == reason


@pytest.mark.parametrize("make", [_mp3_inside, _with_silence_around])
def test_odd_recordings_that_are_fine(tmp_path: Path, make: Callable[[Path], None]) -> None:
    assert run(with_clip(tmp_path / "in", make), tmp_path / "out").accepted == 3


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("what is ☃ here", "unknown_symbols"),
        ("日本語", "unknown_symbols"),
        ("...", "no_text"),
        ("ab " * 300, "too_long"),
        ("a", "text_audio_mismatch"),
        ("nobody has ever spoken so many words in so little time " * 2, "text_audio_mismatch"),
    ],
)
def test_bad_texts(tmp_path: Path, words: str, reason: str) -> None:
    source = with_clip(tmp_path / "in", lambda path: write(path, speech(1.2)), words)
    assert only_reason(source, tmp_path / "out") == reason


def test_texts_of_other_lengths_stand_out_among_many(tmp_path: Path) -> None:
    """Inside what anyone could say, yet not at this speaker's pace."""
    source = tmp_path / "in"
    (source / "wavs").mkdir(parents=True)
    lines = []
    for number in range(24):
        seconds = 1.0 + 0.1 * (number % 12)
        write(source / f"wavs/c{number}.wav", speech(seconds, number))
        words = text(seconds, number)
        if number == 7:
            words = words[: len(words) // 3]
        if number == 9:
            words = words + words
        lines.append(f"c{number}|{words}")
    (source / "metadata.csv").write_text("\n".join(lines))
    summary = run(source, tmp_path / "out")
    assert summary.quarantined == {"text_audio_mismatch": 2}
    assert {refusal.id for refusal in read_quarantine(tmp_path / "out")} == {"c7", "c9"}


def test_everything_wrong_at_once(tmp_path: Path) -> None:
    source = ljspeech(tmp_path / "in", 4)
    write(source / "wavs/orphan.wav", speech(1.0))
    write(tmp_path / "secret.wav", speech(1.0))
    good = text(1.2)
    with (source / "metadata.csv").open("ab") as file:
        file.write(f"clip000|Other.\nclip001|{text(1.2, 1)}\nmissing|{good}\n../secret|{good}\n".encode())
        file.write(b"clip002|\xff\xfe\nno separator\n")
    summary = run(source, tmp_path / "out")
    assert summary.found == 11
    assert summary.quarantined == {
        "duplicate_id": 3,  # both lines of clip000, whose texts differ; the second of clip001
        "no_audio": 1,
        "unsafe_id": 1,
        "non_utf8": 1,
        "bad_row": 1,
        "no_text": 1,
    }
    assert not any("secret" in path.name for path in (tmp_path / "out").rglob("*"))


def test_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    with pytest.raises(VoicewrightError, match="neither recordings nor texts"):
        prepare(tmp_path / "in", tmp_path / "out", reader=Letters())


def test_nothing_usable_is_an_error_with_its_reasons(tmp_path: Path) -> None:
    source = ljspeech(tmp_path / "in", 2)
    for path in (source / "wavs").iterdir():
        path.write_bytes(b"")
    with pytest.raises(VoicewrightError, match=r"None of the 2 clips .* \(2 empty\)"):
        prepare(source, tmp_path / "out", reader=Letters(), workers=1)
    assert len(read_quarantine(tmp_path / "out")) == 2


def test_limits_are_the_callers(tmp_path: Path) -> None:
    source = ljspeech(tmp_path / "in", 3, 1.2)
    with pytest.raises(VoicewrightError, match="3 too_short"):
        run(source, tmp_path / "out", limits=Limits(min_seconds=2.0))


def test_languages_without_a_recogniser(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/talk.wav", speech(3.0))
    with pytest.raises(VoicewrightError, match="1 no_text"):
        prepare(tmp_path / "in", tmp_path / "out", "xx", reader=Letters(), workers=1)
    detail = read_quarantine(tmp_path / "out")[0].detail
    assert detail.startswith("Nothing here hears xx") and "lay the text of each beside it" in detail


def test_full_disk_stops_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ljspeech(tmp_path / "in", 5)
    out = tmp_path / "out"
    real = files.write_atomically
    written = 0

    def full(path: Path, data: bytes, sync: bool = True) -> None:
        nonlocal written
        written += 1
        if written > 3:
            raise VoicewrightError(f"{path} could not be written: {os.strerror(errno.ENOSPC)}.")
        real(path, data, sync)

    with monkeypatch.context() as patched:
        patched.setattr("voicewright.corpus.clips.write_atomically", full)
        with pytest.raises(VoicewrightError, match=r"No space left .* 3 of 5 clips are done"):
            prepare(source, out, reader=Letters(), workers=1)
    assert not (out / META).exists()
    assert run(source, out).resumed == 3


def test_a_disk_that_fills_really(tmp_path: Path) -> None:
    """The kernel refuses, not a mock: no file may grow beyond a few kilobytes."""
    source = ljspeech(tmp_path / "in", 2, 3.0)
    out = tmp_path / "out"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(VoicewrightError, match="could not be written"):
            prepare(source, out, reader=Letters(), workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list((out / "audio").iterdir()) == []
    assert run(source, out).accepted == 2


class Lethal(Letters):
    """Ends the process at one text, as a decoder with a fault would."""

    def tokens(self, text: str):  # type: ignore[no-untyped-def]
        if text.startswith("deadly"):
            os._exit(9)
        return super().tokens(text)


def test_a_crash_costs_one_clip(tmp_path: Path) -> None:
    source = with_clip(tmp_path / "in", lambda path: write(path, speech(1.2)), "deadly text is here")
    summary = prepare(source, tmp_path / "out", reader=Lethal(), workers=2)
    assert (summary.accepted, summary.quarantined) == (2, {"decoder_crash": 1})
    assert read_quarantine(tmp_path / "out")[0].id == "bad"
