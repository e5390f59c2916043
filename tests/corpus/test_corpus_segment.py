"""Long recordings: where they are cut, what is kept, what is heard."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from sounds import RATE, Letters, speech

from voicewright.audio.files import AudioError, Samples, blocks, probe, read, resample, write
from voicewright.corpus.manifest import Corpus, read_quarantine
from voicewright.corpus.prepare import prepare
from voicewright.corpus.recordings import PIECES, Cutter
from voicewright.corpus.segment import VAD_RATE, Cutting, group, pieces
from voicewright.corpus.sources import Item
from voicewright.listen.sphinx import clean

RULES = Cutting()


class Loud:
    """Takes for speech what is loud; notes how much it was given at a time."""

    def __init__(self) -> None:
        self.longest = 0.0

    def spans(self, samples: Samples) -> list[tuple[float, float]]:
        self.longest = max(self.longest, len(samples) / VAD_RATE)
        step = VAD_RATE // 100
        power = np.abs(samples[: len(samples) // step * step].reshape(-1, step)).max(axis=1) > 0.05
        edges = np.flatnonzero(np.diff(np.concatenate(([0], power.astype(np.int8), [0]))))
        spans = [(start / 100, end / 100) for start, end in zip(edges[::2], edges[1::2], strict=True)]
        joined: list[tuple[float, float]] = []
        for start, end in spans:
            if joined and start - joined[-1][1] < 0.15:
                joined[-1] = (joined[-1][0], end)
            else:
                joined.append((start, end))
        return joined


def sounding(spans: list[tuple[float, float]], seconds: float, rate: int = VAD_RATE) -> Samples:
    """A tone inside the spans, silence elsewhere."""
    samples = np.zeros(round(seconds * rate), np.float32)
    for start, end in spans:
        count = round(end * rate) - round(start * rate)
        samples[round(start * rate) : round(end * rate)] = 0.3 * np.sin(np.arange(count) * 0.08)
    return samples


def in_blocks(samples: Samples, size: int = 7_001) -> Iterator[Samples]:
    return (samples[start : start + size] for start in range(0, len(samples), size))


def talk(count: int, seed: int = 0) -> tuple[list[tuple[float, float]], float]:
    """Phrases of 0.5 to 5 s with pauses of 0.2 to 1.5 s."""
    rng = np.random.default_rng(seed)
    spans, now = [], 0.5
    for _ in range(count):
        length = float(np.round(rng.uniform(0.5, 5.0), 2))
        spans.append((now, now + length))
        now += length + float(np.round(rng.uniform(0.2, 1.5), 2))
    return spans, now


@pytest.mark.parametrize("seed", range(5))
def test_pieces_hold_all_speech_and_nothing_twice(seed: int) -> None:
    spans, seconds = talk(40, seed)
    found = list(pieces(in_blocks(sounding(spans, seconds)), Loud(), RULES))
    assert all(end - start <= RULES.longest + 2 * RULES.padding + 0.02 for start, end in found)
    assert all(first[1] <= second[0] + 1e-6 for first, second in pairwise(found))
    for start, end in spans:
        inside = [piece for piece in found if piece[0] <= start + 0.02 and end - 0.02 <= piece[1]]
        assert len(inside) == 1, (start, end)  # whole, in one piece: no word was cut
    assert np.mean([end - start for start, end in found]) > 2.0


def test_pauses_decide() -> None:
    spans = [(0.0, 4.0), (4.3, 8.0), (9.0, 12.0), (12.2, 16.0), (16.2, 20.3)]
    found = group(spans, sounding(spans, 21.0), RULES)
    assert [(round(start), round(end)) for start, end in found] == [(0, 8), (9, 20)]


def test_short_words_join_what_is_near() -> None:
    spans = [(0.5, 0.9), (1.8, 5.0), (9.0, 9.4)]
    found = group(spans, sounding(spans, 12.0), RULES)
    assert [round(start, 1) for start, _ in found] == [0.4, 8.9]


def test_speech_without_pause_is_cut_where_it_is_quietest() -> None:
    samples = sounding([(0.0, 20.0)], 20.0)
    samples[round(9.5 * VAD_RATE) : round(9.6 * VAD_RATE)] *= 0.01
    found = group([(0.0, 20.0)], samples, RULES)
    assert len(found) == 2
    assert found[0][1] == pytest.approx(9.55, abs=0.1)


def test_memory_is_bounded() -> None:
    detector = Loud()
    spans, seconds = talk(150, 3)
    assert seconds > 400
    list(pieces(in_blocks(sounding(spans, seconds)), detector, RULES))
    assert detector.longest < 80.0


def test_silence_has_no_pieces() -> None:
    assert list(pieces(in_blocks(np.zeros(VAD_RATE * 130, np.float32)), Loud(), RULES)) == []
    assert list(pieces(iter(()), Loud(), RULES)) == []


def test_cutter_writes_what_it_found_at_the_recordings_rate(tmp_path: Path) -> None:
    spans, seconds = talk(12)
    whole = sounding(spans, seconds, 44_100)
    write(tmp_path / "talk.flac", whole, 44_100)
    cutter = Cutter(tmp_path, RULES, Loud())  # type: ignore[arg-type]
    item = Item(id="talk", source="talk.flac", path=tmp_path / "talk.flac")
    found = cutter(item)
    assert [each.id for each in found] == [f"talk-{n:04d}" for n in range(1, len(found) + 1)]
    for each in found:
        assert each.path is not None
        start, end = map(float, each.source.partition("@")[2].split("-"))
        samples = read(each.path, 44_100)
        assert probe(each.path).rate == 44_100
        assert len(samples) / 44_100 == pytest.approx(end - start, abs=0.011)
        first = round(start * 44_100)
        near = [whole[first + shift : first + shift + 4_000] for shift in range(-230, 231)]
        assert min(np.abs(part - samples[:4_000]).max() for part in near) < 1e-3
    stamps = [each.path.stat().st_mtime_ns for each in found if each.path]
    assert cutter(item) == found
    assert [each.path.stat().st_mtime_ns for each in found if each.path] == stamps


def test_recordings_without_speech_and_damaged_ones_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "still.wav", np.zeros(RATE, np.float32))
    (tmp_path / "note.wav").write_text("not audio")
    cutter = Cutter(tmp_path / "out", RULES, Loud())  # type: ignore[arg-type]
    (tmp_path / "out").mkdir()
    for name, reason in (("still", "no_speech"), ("note", "unreadable"), ("gone", "unreadable")):
        (item,) = cutter(Item(id=name, source=name, path=tmp_path / f"{name}.wav"))
        assert item.reason == reason


def test_blocks_of_a_damaged_recording_end_with_an_error(tmp_path: Path) -> None:
    path = tmp_path / "talk.wav"
    write(path, speech(3.0))
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(AudioError):
        list(blocks(path, VAD_RATE))


def test_words_are_cleaned_of_fillers() -> None:
    assert clean("<s> read(2) the <sil> [NOISE] book ++um++ </s>") == "read the book"


def test_silence_through_the_real_detector_and_recogniser(tmp_path: Path) -> None:
    """Noise is no speech to silero-vad: the recording is refused, and counted."""
    pytest.importorskip("silero_vad")
    pytest.importorskip("pocketsphinx")
    (tmp_path / "in").mkdir()
    noise = 0.01 * np.random.default_rng(0).normal(size=5 * RATE)
    write(tmp_path / "in/noise.flac", noise.astype(np.float32))
    with pytest.raises(Exception, match="1 no_speech"):
        prepare(tmp_path / "in", tmp_path / "out", reader=Letters(), workers=1)
    assert read_quarantine(tmp_path / "out")[0].reason == "no_speech"


@pytest.mark.skipif("VOICEWRIGHT_SPEECH" not in os.environ, reason="VOICEWRIGHT_SPEECH names no recordings")
def test_real_talk_is_cut_and_heard(tmp_path: Path) -> None:
    """Clips of one reader put together with pauses: cut apart again, and mostly understood."""
    source = Path(os.environ["VOICEWRIGHT_SPEECH"]) / "kathleen"
    rows = [line.split("|") for line in (source / "metadata.csv").read_text("utf-8").splitlines()[:4]]
    gap = np.zeros(int(0.9 * RATE), np.float32)
    parts = [part for name, _ in rows for part in (read(source / f"wavs/{name}.flac"), gap)]
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/talk.ogg", resample(np.concatenate(parts), RATE, 44_100), 44_100)
    summary = prepare(tmp_path / "in", tmp_path / "out", workers=1)
    corpus = Corpus.read(tmp_path / "out")
    assert summary.accepted >= 4
    assert {u.transcript for u in corpus.utterances} == {"pocketsphinx"}
    heard = {word for u in corpus.utterances for word in u.text.split()}
    spoken = {word.strip(".,").lower() for _, line in rows for word in line.split()}
    assert len(heard & spoken) / len(spoken) > 0.5
    assert not (tmp_path / "out" / PIECES).exists()
