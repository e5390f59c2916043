"""Long recordings with their whole text: cut at pauses, each piece with its own words and no others."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from sounds import Letters
from synthetic import RATE, sentence, speak
from test_corpus_doubt import WRITTEN, Phonemes
from test_corpus_segment import Loud, in_blocks, sounding, talk

from voicewright.audio.files import Samples, read, resample, write
from voicewright.corpus import readings
from voicewright.corpus.grouping import Piece, Shape
from voicewright.corpus.manifest import Corpus, read_quarantine
from voicewright.corpus.passages import Fit, Passage, Rank, Unit, units
from voicewright.corpus.prepare import prepare, render
from voicewright.corpus.readings import ReadingCutter, is_reading
from voicewright.corpus.segment import VAD_RATE, speech
from voicewright.corpus.sources import Item
from voicewright.errors import VoicewrightError

WORD = Unit(0, 1, "aaaa", Rank.WORD)
END = Unit(0, 1, "aaaa.", Rank.SENTENCE)


def reading(count: int = 14, seed: int = 0, silent: tuple[int, ...] = (), title: bool = False) -> tuple[
    Samples, str, list[tuple[float, float, str]]
]:  # fmt: skip
    """A recording of made-up sentences with pauses, its text, and where each sentence of it sounds.

    silent: sentences that the text has and nobody says. title: begins with one that the text lacks.
    """
    rng = np.random.default_rng(seed)
    # The sounds of one voice lie where they lie: its pitch too.
    lines = [sentence(rng).replace(",", "") for _ in range(count + 1)]
    parts: list[Samples] = []
    places: list[tuple[float, float, str]] = []
    at = 0
    for number, line in enumerate(lines):
        gap = np.zeros(int(rng.uniform(0.3, 0.9) * RATE), np.float32)
        parts.append(gap)
        at += len(gap)
        if (number == 0 and not title) or number in silent:
            continue
        wave, _ = speak(line, rng)
        places.append((at / RATE, (at + len(wave)) / RATE, line if number else ""))
        parts.append(wave)
        at += len(wave)
    return np.concatenate([*parts, np.zeros(RATE // 2, np.float32)]), " ".join(lines[1:]), places


def cut(tmp_path: Path, samples: Samples, text: str) -> list[Piece]:
    write(tmp_path / "a.wav", samples, RATE)
    return ReadingCutter(tmp_path, "en-us", Phonemes(), Loud()).pieces(
        tmp_path / "a.wav", text.translate(WRITTEN)
    )


def held(pieces: list[Piece], places: list[tuple[float, float, str]]) -> tuple[int, int]:
    """How many accepted pieces have exactly the words said in them, and how many do not."""
    right = wrong = 0
    for piece in pieces:
        if piece.reason:
            continue
        said = [line for start, end, line in places if piece.start < (start + end) / 2 < piece.end]
        exact = piece.text == " ".join(said).translate(WRITTEN)
        right, wrong = right + exact, wrong + (not exact)
    return right, wrong


@pytest.mark.parametrize("seed", [0, 1])
def test_each_piece_has_its_own_words(tmp_path: Path, seed: int) -> None:
    samples, text, places = reading(seed=seed)
    found = cut(tmp_path, samples, text)
    right, wrong = held(found, places)
    assert wrong == 0 and right >= 12
    assert all(piece.end - piece.start <= Shape().longest + 0.3 for piece in found)
    assert " ".join(piece.text for piece in found) == text.translate(WRITTEN)


@pytest.mark.parametrize("seed", [0])
def test_an_announcement_costs_only_itself(tmp_path: Path, seed: int) -> None:
    samples, text, places = reading(seed=seed, title=True)
    found = cut(tmp_path, samples, text)
    right, wrong = held(found, places)
    assert wrong == 0 and right >= 12
    assert found[0].reason in ("no_text", "text_audio_mismatch")


def test_sentences_that_nobody_says_are_named(tmp_path: Path) -> None:
    samples, text, places = reading(20, silent=(5, 12))
    found = cut(tmp_path, samples, text)
    right, wrong = held(found, places)
    assert wrong == 0 and right >= 16
    unsaid = " ".join(piece.text for piece in found if piece.reason == "no_audio")
    lines = [line + "." for line in text.translate(WRITTEN).split(". ")]
    assert lines[4] in unsaid and lines[11] in unsaid


def test_whole_sentences_are_the_pieces_and_pace_places_them() -> None:
    words = [WORD, END] * 3
    spans = [(0.0, 1.0), (1.5, 2.5), (3.0, 4.0)]
    assert Fit(spans, words).passages() == [Passage(k, k + 1, 2 * k, 2 * k + 2) for k in range(3)]


def test_speech_without_words_and_words_without_speech() -> None:
    """A longer stretch than the text has words for, and more words than the recording has time for."""
    lasts = [1.0, 1.0, 6.0, *([1.0] * 18)]
    ends = np.cumsum(np.array(lasts) + 0.5)
    spans = [(float(end - last), float(end)) for end, last in zip(ends, lasts, strict=True)]
    found = Fit(spans, [WORD, END] * 20).passages()
    assert Passage(2, 3, 4, 4) in found and found[-1] == Passage(20, 21, 38, 40)
    words = [WORD, END] * 2 + [WORD] * 12 + [END] + [WORD, END] * 18
    found = Fit(spans[:2] + spans[3:], words).passages()
    assert Passage(2, 2, 4, 17) in found and found[-1].end == len(words)


def test_words_know_their_phonemes_and_marks() -> None:
    text = "one, two three. four\nfive"
    found = units(text, Letters())
    assert [text[unit.start : unit.stop] for unit in found] == ["one,", "two", "three.", "four", "five"]
    assert [unit.rank for unit in found] == [2, 1, 3, 3, 3]
    assert [unit.phonemes for unit in found] == ["one,", "two", "three.", "four", "five"]


@pytest.mark.parametrize("text", ["他说。我来了，你好", "これは本。ペンです。"])
def test_scripts_without_blanks_are_cut_at_their_marks(text: str) -> None:
    class Same:
        def tokens(self, text: str):  # type: ignore[no-untyped-def]
            return type("T", (), {"phonemes": text})()

    assert "".join(text[u.start : u.stop] for u in units(text, Same())) == text
    assert len(units(text, Same())) >= 2


@pytest.mark.parametrize("seed", range(2))
def test_speech_is_found_across_the_borders_of_what_is_looked_at(seed: int) -> None:
    spans, seconds = talk(60, seed)
    detector = Loud()
    found = list(speech(in_blocks(sounding(spans, seconds)), detector))
    assert np.allclose(found, spans, atol=0.02)
    assert detector.longest < 130.0


def test_short_clips_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path / "a.wav", np.zeros(RATE, np.float32), RATE)
    item = Item("a", "a.wav", tmp_path / "a.wav", "ab " * 300)
    assert not is_reading(item, Letters(), 30.0)


@pytest.mark.parametrize("listed", [True, False], ids=["list", "beside"])
def test_prepare_cuts_them_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listed: bool) -> None:
    monkeypatch.setattr(readings, "Detector", Loud)
    samples, text, places = reading(12, seed=4)
    source = tmp_path / "in"
    source.mkdir()
    write(source / "talk.flac", samples, RATE)
    name, line = ("metadata.csv", "talk|{}\n") if listed else ("talk.txt", "{}\n")
    (source / name).write_text(line.format(text.translate(WRITTEN)), "utf-8")
    out = tmp_path / "out"
    summary = prepare(source, out, language="en-us", reader=Phonemes(), workers=1, verify=False)
    corpus = Corpus.read(out)
    assert summary.accepted + sum(summary.quarantined.values()) == summary.found >= 10
    assert len(corpus.utterances) >= 9
    assert {u.text for u in corpus.utterances} <= {line.translate(WRITTEN) for *_, line in places}
    assert "1 long recording was cut with the text into" in render(summary)
    assert {u.transcript for u in corpus.utterances} == {"given"}
    again = prepare(source, out, language="en-us", reader=Phonemes(), workers=1, verify=False)
    assert again.resumed >= summary.accepted and again.accepted == summary.accepted


def test_a_reading_that_nothing_hears_is_told_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/talk.wav", reading(4)[0], RATE)
    with pytest.raises(VoicewrightError, match=r"Nothing here hears xx: .*lay the text of each beside it"):
        prepare(tmp_path / "in", tmp_path / "out", language="xx", reader=Letters(), workers=1)


@pytest.mark.skipif("VOICEWRIGHT_SPEECH" not in os.environ, reason="VOICEWRIGHT_SPEECH names no recordings")
def test_a_real_reading_with_an_announcement(tmp_path: Path) -> None:
    pytest.importorskip("silero_vad")
    source = Path(os.environ["VOICEWRIGHT_SPEECH"]) / "kathleen"
    rows = [line.split("|") for line in (source / "metadata.csv").read_text("utf-8").splitlines()[40:61]]
    gap = np.zeros(int(0.5 * RATE), np.float32)
    parts = [part for name, _ in rows for part in (read(source / f"wavs/{name}.flac"), gap)]
    (tmp_path / "in").mkdir()
    write(tmp_path / "in/talk.flac", resample(np.concatenate(parts), RATE, VAD_RATE), VAD_RATE)
    (tmp_path / "in/talk.txt").write_text(" ".join(line for _, line in rows[1:]), "utf-8")
    prepare(tmp_path / "in", tmp_path / "out", workers=1, language="en-us", verify=False)
    lines = {line for _, line in rows[1:]}
    right = [u for u in Corpus.read(tmp_path / "out").utterances if u.text in lines]
    assert len(right) >= 17
    assert read_quarantine(tmp_path / "out")[0].source.startswith("talk.flac@")
