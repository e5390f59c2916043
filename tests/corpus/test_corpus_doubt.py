"""Texts of other recordings: found by an aligner that the corpus taught, told, and drawn."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import sentence, speak

from voicewright.audio.files import write
from voicewright.cli import main
from voicewright.corpus import features as room
from voicewright.corpus.align import AlignerSettings
from voicewright.corpus.doubt import doubts, relative, suspects
from voicewright.corpus.features import build_features
from voicewright.corpus.manifest import DOUBTFUL, Corpus, read_doubtful, read_quarantine
from voicewright.corpus.prepare import prepare, render
from voicewright.text.frontend import Tokens, Word
from voicewright.text.vocab import KOKORO

torch.set_num_threads(1)
SWAPPED = {"c03": "c04", "c04": "c03", "c20": "c21", "c21": "c20"}

WRITTEN = str.maketrans("ɑɔʃˈ", "OYX'")
READ = {ord(letter): symbol for symbol, letter in zip("ɑɔʃˈ", "OYX'", strict=True)}


class Phonemes:
    """A front end whose texts are phonemes in plain letters."""

    def tokens(self, text: str) -> Tokens:
        text = text.translate(READ)
        ids = tuple(KOKORO.get(symbol, 1) for symbol in text)
        return Tokens(text, text, ids, tuple(Word(word, 0, len(word)) for word in text.split()), ())


@pytest.fixture(scope="module", autouse=True)
def _quick() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        quick = AlignerSettings(width=96, gaussian_rounds=5, rounds=3, steps=60)
        patch.setattr(room, "AlignerSettings", lambda: quick)
        yield


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips sorted by length; two pairs of neighbours have each other's text."""
    folder = tmp_path_factory.mktemp("swapped") / "in"
    folder.mkdir()
    rng = np.random.default_rng(3)
    # With a pause in each, as what has none is taken for noise.
    texts = sorted([line for line in (sentence(rng) for _ in range(80)) if "," in line][:26], key=len)
    ids = [f"c{number:02d}" for number in range(26)]
    for name, text in zip(ids, texts, strict=True):
        write(folder / f"{name}.flac", speak(text, rng)[0], 24_000)
    known = dict(zip(ids, (line.translate(WRITTEN) for line in texts), strict=True))
    lines = [f"{name}|{known[SWAPPED.get(name, name)]}" for name in ids]
    (folder / "metadata.csv").write_text("\n".join(lines) + "\n", "utf-8")
    return folder


@pytest.fixture(scope="module")
def prepared(source: Path) -> Path:
    out = source.parent / "out"
    prepare(source, out, language="en-us", reader=Phonemes(), workers=1)
    return out


def test_swapped_texts_are_refused_with_a_number_and_right_ones_are_not(prepared: Path) -> None:
    refused = read_quarantine(prepared)
    assert {refusal.id for refusal in refused} == set(SWAPPED)
    assert {refusal.reason for refusal in refused} == {"wrong_text"}
    assert all("% of the usual lead" in refusal.detail for refusal in refused)
    corpus = Corpus.read(prepared)
    assert (corpus.meta.found, corpus.meta.accepted, corpus.meta.quarantined) == (26, 22, 4)
    kept = {path.stem for path in (prepared / "audio").glob("*.flac")}
    assert kept == {u.id for u in corpus.utterances}


def test_prepared_again_it_says_the_same_and_takes_all_over(source: Path, prepared: Path) -> None:
    before = [(prepared / name).read_bytes() for name in ("manifest.jsonl", "quarantine.jsonl")]
    summary = prepare(source, prepared, language="en-us", reader=Phonemes(), workers=1)
    assert summary.resumed == 26 and summary.quarantined == {"wrong_text": 4}
    assert before == [(prepared / name).read_bytes() for name in ("manifest.jsonl", "quarantine.jsonl")]
    assert "Probably another text than is said: c03, c04, c20, c21." in render(summary)
    assert summary.as_dict()["notes"]


def test_training_takes_the_alignment_over(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*args: object) -> None:
        raise AssertionError("computed again")

    for name in ("align", "apply"):
        monkeypatch.setattr(room, name, never)
    monkeypatch.setattr(room.subprocess, "Popen", never)
    corpus = Corpus.read(prepared)
    assert [f.id for f in build_features(corpus)] == [u.id for u in corpus.utterances]


def test_doubtful_clips_can_be_drawn(
    prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert {u.id for u in read_doubtful(prepared)} == set(SWAPPED)
    assert all(u.audio.startswith(DOUBTFUL) for u in read_doubtful(prepared))
    picture = tmp_path / "c03.png"
    assert main(["align", str(prepared), "c03", "-o", str(picture), "--json"]) == 0
    assert picture.stat().st_size > 10_000
    assert json.loads(capsys.readouterr().out)["confidence"] < 0.6


def test_a_corrected_text_is_accepted_without_teaching_anew(
    source: Path, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "align", None)
    fixed = tmp_path / "in"
    fixed.mkdir()
    for path in source.glob("*.flac"):
        (fixed / path.name).symlink_to(path)
    rows = dict(line.split("|") for line in (source / "metadata.csv").read_text("utf-8").splitlines())
    lines = [f"{name}|{rows['c03' if name == 'c04' else 'c04' if name == 'c03' else name]}" for name in rows]
    (fixed / "metadata.csv").write_text("\n".join(lines) + "\n", "utf-8")
    prepare(fixed, prepared, speaker="in", language="en-us", reader=Phonemes(), workers=1)
    assert {refusal.id for refusal in read_quarantine(prepared)} == {"c20", "c21"}
    prepare(source, prepared, speaker="in", language="en-us", reader=Phonemes(), workers=1)
    assert {refusal.id for refusal in read_quarantine(prepared)} == set(SWAPPED)


def test_it_need_not_be_verified(source: Path, tmp_path: Path) -> None:
    summary = prepare(source, tmp_path / "out", language="en-us", reader=Phonemes(), workers=1, verify=False)
    assert summary.quarantined == {} and not (tmp_path / "out" / "features").exists()


# --- the judgement itself ---


def test_shares_are_of_what_is_usual_for_the_speaker() -> None:
    margins = [4.0] * 12 + [2.0] * 12
    speakers = ["near"] * 12 + ["far"] * 12
    assert relative(margins, speakers).tolist() == [1.0] * 24
    # Of a speaker with few clips the corpus's usual margin is asked.
    assert relative([*margins, 1.5], [*speakers, "guest"])[-1] == pytest.approx(1.5 / 2.0)


def test_what_cannot_be_told_is_not_said() -> None:
    assert doubts([4.0] * 19, ["a"] * 19) is None
    assert doubts([4.0] * 19 + [None] * 9, ["a"] * 28) is None
    wild = np.random.default_rng(0).normal(1.0, 1.0, 40).tolist()
    assert doubts(wild, ["a"] * 40) is None


def test_only_what_stands_out_is_doubtful() -> None:
    rng = np.random.default_rng(1)
    right = rng.normal(4.5, 0.5, 200).tolist()
    found = doubts([*right, 0.2, -0.5, None], ["a"] * 203)
    assert found is not None
    assert not any(found[:200]) and all(found[200:202]) and not found[202]
    assert sum(suspects([*right, 0.2, -0.5], ["a"] * 202)) <= 0.2 * 202
