"""Preparing a corpus: what is written, measured, continued, and in which order."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sounds import RATE, Letters, ljspeech, speech, text

from voicewright.audio.files import write
from voicewright.audio.loudness import lufs
from voicewright.corpus import prepare as module
from voicewright.corpus.clips import EDGE
from voicewright.corpus.journal import JOURNAL
from voicewright.corpus.manifest import MANIFEST, META, Corpus, content_hash, read_quarantine
from voicewright.corpus.measure import measure
from voicewright.corpus.prepare import prepare, render
from voicewright.errors import UsageError, VoicewrightError
from voicewright.text.frontend import Frontend


def test_a_corpus_from_metadata(tmp_path: Path) -> None:
    source = ljspeech(tmp_path / "ann", 5)
    told: list[tuple[str, int, int]] = []
    summary = prepare(
        source,
        tmp_path / "out",
        licence="CC0-1.0",
        consent="hers",
        reader=Letters(),
        workers=1,
        progress=lambda *step: told.append(step),
    )
    corpus = Corpus.read(tmp_path / "out")
    assert (summary.found, summary.accepted, summary.quarantined) == (5, 5, {})
    assert [u.id for u in corpus.utterances] == [f"clip{n:03d}" for n in range(5)]
    assert (corpus.meta.licence, corpus.meta.consent, corpus.speakers) == ("CC0-1.0", "hers", ("ann",))
    assert corpus.meta.minutes == pytest.approx(corpus.seconds / 60, abs=1e-3)
    assert told[0] == ("clips", 0, 5) and told[-1] == ("clips", 5, 5)
    for utterance in corpus.utterances:
        samples, rate = soundfile.read(corpus.path(utterance), dtype="float32")
        info = soundfile.info(corpus.path(utterance))
        assert (rate, info.subtype, info.format, samples.ndim) == (RATE, "PCM_16", "FLAC", 1)
        assert lufs(samples, rate) == pytest.approx(-23.0, abs=0.3)
        assert utterance.seconds == pytest.approx(len(samples) / rate, abs=1e-3)
        assert utterance.hash == content_hash(corpus.path(utterance).read_bytes())


def test_measurements_are_true(tmp_path: Path) -> None:
    """Known level, silence, noise and bandwidth come out as they were put in."""
    source = tmp_path / "in"
    source.mkdir()
    rng = np.random.default_rng(0)
    inner = speech(2.0, rate=48_000, level=0.4, noise=0.0)
    still = np.zeros(24_000, np.float32)
    whole = np.concatenate([still, inner, still[:9600]])
    whole += (0.001 * rng.normal(size=len(whole))).astype(np.float32)
    write(source / "a.flac", whole, 48_000)
    (source / "a.txt").write_text(text(2.0))
    prepare(source, tmp_path / "out", reader=Letters(), workers=1)
    (utterance,) = Corpus.read(tmp_path / "out").utterances
    measured = utterance.measurements
    assert measured.source_rate == 48_000
    assert measured.source_seconds == pytest.approx(2.7, abs=0.01)
    assert measured.peak == pytest.approx(0.4, abs=0.01)
    assert measured.clipped == 0
    assert measured.noise_db == pytest.approx(-60, abs=2)
    assert measured.silence_start == pytest.approx(0.5, abs=0.05)
    assert measured.silence_end == pytest.approx(0.2, abs=0.25)
    assert utterance.seconds < 2.7 - 0.7 + 2 * EDGE + 0.1
    assert measured.lufs + measured.gain_db == pytest.approx(-23.0, abs=0.5)  # gain of the trimmed clip
    assert measured.phonemes_per_second == pytest.approx(10, rel=0.35)


@pytest.mark.parametrize("cut", [3_400, 8_000, 11_500])
def test_bandwidth_is_where_the_sound_ends(cut: int) -> None:
    noise = np.random.default_rng(0).normal(size=48_000)
    spectrum = np.fft.rfft(noise)
    spectrum[cut:] *= 1e-4  # one bin is one hertz here
    samples = (0.1 * np.fft.irfft(spectrum)).astype(np.float32)
    assert measure(samples, 48_000).bandwidth_hz == pytest.approx(cut, abs=200)


def test_processes_do_not_change_the_result(tmp_path: Path) -> None:
    source = ljspeech(tmp_path / "ann", 10, 0.8)
    for workers, name in ((1, "one"), (2, "two")):
        prepare(source, tmp_path / name, reader=Letters(), workers=workers)
    for name in (MANIFEST, META, "quarantine.jsonl"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_run_again_takes_over_what_is_unchanged(tmp_path: Path) -> None:
    source = ljspeech(tmp_path / "ann", 4)
    out = tmp_path / "out"
    first = prepare(source, out, reader=Letters(), workers=1)
    before = (out / MANIFEST).read_bytes()
    assert first.resumed == 0
    assert prepare(source, out, reader=Letters(), workers=1).resumed == 4
    assert (out / MANIFEST).read_bytes() == before
    write(source / "wavs/clip001.wav", speech(1.2, 77))
    (out / "audio/clip002.flac").write_bytes(b"damaged")
    assert prepare(source, out, reader=Letters(), workers=1).resumed == 2
    corpus = Corpus.read(out)
    assert all(u.hash == content_hash(corpus.path(u).read_bytes()) for u in corpus.utterances)


def test_other_settings_are_not_taken_over(tmp_path: Path) -> None:
    source = ljspeech(tmp_path / "ann", 2)
    prepare(source, tmp_path / "out", reader=Letters(), workers=1)
    assert prepare(source, tmp_path / "out", speaker="bo", reader=Letters(), workers=1).resumed == 0
    assert Corpus.read(tmp_path / "out").speakers == ("bo",)


def test_clips_that_went_are_swept(tmp_path: Path) -> None:
    source = ljspeech(tmp_path / "ann", 3)
    prepare(source, tmp_path / "out", reader=Letters(), workers=1)
    rows = (source / "metadata.csv").read_text().splitlines()
    (source / "metadata.csv").write_text("\n".join(rows[:2]))
    (source / "wavs/clip002.wav").unlink()
    prepare(source, tmp_path / "out", reader=Letters(), workers=1)
    assert sorted(path.name for path in (tmp_path / "out/audio").iterdir()) == [
        "clip000.flac",
        "clip001.flac",
    ]


def test_interruption_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = ljspeech(tmp_path / "ann", 6)
    prepare(source, tmp_path / "whole", reader=Letters(), workers=1)
    out = tmp_path / "out"

    def stop(_: str, done: int, __: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(source, out, reader=Letters(), workers=1, progress=stop)
    assert not (out / META).exists()
    with pytest.raises(VoicewrightError, match="no corpus"):
        Corpus.read(out)
    # The line that was being written when the power went.
    with (out / JOURNAL).open("ab") as file:
        file.write(b'{"key": "half a li')
    assert prepare(source, out, reader=Letters(), workers=1).resumed == 3
    assert (out / MANIFEST).read_bytes() == (tmp_path / "whole" / MANIFEST).read_bytes()


_SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from sounds import Letters
from voicewright.corpus.prepare import prepare

class Slow(Letters):
    def tokens(self, text):
        import time
        time.sleep(float(sys.argv[5]))
        return super().tokens(text)

if __name__ == "__main__":
    # These are no words that an aligner could check.
    prepare(Path(sys.argv[1]), Path(sys.argv[2]), reader=Slow(), workers=int(sys.argv[4]), verify=False)
"""


@pytest.mark.parametrize(("sent", "workers"), [(signal.SIGKILL, 1), (signal.SIGINT, 2)])
def test_killed_process_goes_on(tmp_path: Path, sent: signal.Signals, workers: int) -> None:
    source = ljspeech(tmp_path / "ann", 60, 0.6)
    script = tmp_path / "script.py"
    script.write_text(_SCRIPT)
    out = tmp_path / "out"
    tests = str(Path(__file__).parents[1] / "support")
    command = [sys.executable, str(script), str(source), str(out), tests, str(workers)]
    # Slow enough to be caught on a busy machine too.
    process = subprocess.Popen([*command, "0.2"], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if (out / JOURNAL).exists() and (out / JOURNAL).read_bytes().count(b"\n") >= 3:
            break
        time.sleep(0.01)
    # Python loses an interrupt that falls into a finaliser; a person then presses the keys again.
    for _ in range(6):
        os.kill(process.pid, sent)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(3 if sent == signal.SIGINT else 30)
            break
    process.wait(30)
    assert process.returncode != 0
    assert not (out / META).exists()
    done = (out / JOURNAL).read_bytes().count(b"\n")
    assert 3 <= done < 60
    again = subprocess.run([*command, "0"], capture_output=True, text=True, timeout=60)
    assert again.returncode == 0, again.stderr
    corpus = Corpus.read(out)
    assert len(corpus.utterances) == 60
    assert len(list((out / "audio").iterdir())) == 60


def test_output_must_not_be_in_use(tmp_path: Path) -> None:
    source = ljspeech(tmp_path / "ann", 1)
    with pytest.raises(UsageError, match="holds the recordings"):
        prepare(source, source, reader=Letters())
    with pytest.raises(UsageError, match="holds the recordings"):
        prepare(source, tmp_path, reader=Letters())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/letter.txt").write_text("Dear")
    with pytest.raises(UsageError, match="not empty"):
        prepare(source, tmp_path / "mine", reader=Letters())
    assert (tmp_path / "mine/letter.txt").read_text() == "Dear"


def test_damaged_corpora_are_named(tmp_path: Path) -> None:
    prepare(ljspeech(tmp_path / "ann", 2), tmp_path / "out", reader=Letters(), workers=1)
    manifest = tmp_path / "out" / MANIFEST
    whole = manifest.read_text("utf-8")
    manifest.write_text(whole.splitlines()[0] + "\n")
    with pytest.raises(VoicewrightError, match="holds 1 utterances"):
        Corpus.read(tmp_path / "out")
    manifest.write_text(whole[:-40])
    with pytest.raises(VoicewrightError, match="line 2"):
        Corpus.read(tmp_path / "out")
    (tmp_path / "out" / META).write_text("language: [")
    with pytest.raises(VoicewrightError, match=META):
        Corpus.read(tmp_path / "out")


def test_summary_as_text_and_values(tmp_path: Path) -> None:
    source = ljspeech(tmp_path / "ann", 3)
    write(source / "wavs/more.wav", speech(1.0))
    summary = prepare(source, tmp_path / "out", workers=1, reader=Frontend("en-us"))
    lines = render(summary)
    assert "3 of 4 clips accepted" in lines
    assert "no_text" in lines and "Sentences worth recording next:" in lines
    values = json.loads(json.dumps(summary.as_dict()))
    assert values["quarantined"] == {"no_text": 1}
    assert len(values["coverage"]["record_next"]) == 10


def test_every_item_gets_an_outcome_or_it_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Should an outcome ever be lost, the count is checked and nothing is written."""
    monkeypatch.setattr(module, "_settle", lambda outcomes: ([], []))
    with pytest.raises(AssertionError, match="3 found, 0 accepted, 0 quarantined"):
        prepare(ljspeech(tmp_path / "ann", 3), tmp_path / "out", reader=Letters(), workers=1)
    assert not (tmp_path / "out" / META).exists()


@pytest.mark.skipif("VOICEWRIGHT_SPEECH" not in os.environ, reason="VOICEWRIGHT_SPEECH names no recordings")
def test_real_recordings(tmp_path: Path) -> None:
    source = Path(os.environ["VOICEWRIGHT_SPEECH"]) / "libri10"
    # Whether texts belong to their recordings is asked in test_corpus_doubt.py, and takes a minute here.
    summary = prepare(source, tmp_path / "out", verify=False)
    assert summary.found == 100 and summary.accepted >= 98
    assert len(summary.speakers) == 10
    assert not [r for r in read_quarantine(tmp_path / "out") if r.reason == "unknown_symbols"]
    corpus = Corpus.read(tmp_path / "out")
    assert all(u.measurements.bandwidth_hz <= 8_000 for u in corpus.utterances)


def test_more_than_enough_is_thinned_evenly(tmp_path: Path) -> None:
    source = ljspeech(tmp_path / "ann", 12)
    (source / "wavs" / "clip004.wav").write_bytes(b"RIFF")
    whole = sum(soundfile.info(p).duration for p in source.rglob("*.wav") if p.stem != "clip004")
    summary = prepare(source, tmp_path / "out", reader=Letters(), workers=1, most=whole / 3, verify=False)
    ids = [item.id for item in Corpus.read(tmp_path / "out").utterances]
    assert summary.found == summary.accepted + sum(summary.quarantined.values()) < 8
    assert (
        ids[0] == "clip000"
        and ids[-1] == "clip011"
        and any("more than is listened to" in n for n in summary.notes)
    )
    assert max(np.diff([int(name[4:]) for name in ids])) <= 6
    everything = prepare(source, tmp_path / "all", reader=Letters(), workers=1, most=1e6, verify=False)
    assert everything.found == 12
