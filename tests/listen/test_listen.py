"""Machine ears: which recogniser is meant and found, what it is given, what prepare believes of it."""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sounds import Letters, speech, text

from voicewright.audio.files import write
from voicewright.cli import main
from voicewright.corpus import prepare as preparing
from voicewright.corpus.manifest import Corpus, read_quarantine
from voicewright.corpus.prepare import prepare
from voicewright.errors import UsageError, VoicewrightError
from voicewright.listen import sphinx, whisper
from voicewright.listen.heard import Heard, recogniser_input
from voicewright.listen.recogniser import Choice, available, choose

RATE = 24_000


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine whose caches are empty, with faster-whisper and pocketsphinx, and no package with a model."""
    monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path / "own"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    _installed(monkeypatch, "faster_whisper", "pocketsphinx")
    return tmp_path


def _installed(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    def find(name: str) -> object | None:
        return object() if name in names else None

    monkeypatch.setattr(whisper.importlib.util, "find_spec", find)


def _fetched(machine: Path, name: str) -> Path:
    """A model in Hugging Face's cache, as faster-whisper leaves it."""
    repository = next(entry["repository"] for entry in whisper._listed() if entry["name"] == name)
    folder = machine / "hub" / f"models--{repository.replace('/', '--')}" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / whisper.WEIGHTS).write_bytes(b"weights")
    return folder


@pytest.mark.parametrize(
    ("fetched", "wanted", "language", "found"),
    [
        ([], "auto", "en-us", "pocketsphinx"),
        ([], "pocketsphinx", "en-gb", "pocketsphinx"),
        (["tiny"], "auto", "en-us", "tiny"),
        (["tiny", "small", "base"], "auto", "en-us", "small"),
        (["tiny", "small", "base"], "whisper", "nl", "small"),
        (["small.en", "small"], "auto", "en-us", "small.en"),
        (["small.en", "base"], "auto", "de", "base"),
        (["large-v3", "tiny"], "whisper:tiny", "en-us", "tiny"),
        (["base"], "pocketsphinx", "en-us", "pocketsphinx"),
    ],
)
def test_the_best_that_is_there(
    machine: Path, fetched: list[str], wanted: str, language: str, found: str
) -> None:
    for name in fetched:
        _fetched(machine, name)
    choice = choose(wanted, language)
    assert (choice.model.name if choice.model else choice.kind) == found
    assert choice.kind in ("whisper", "pocketsphinx")


@pytest.mark.parametrize(
    ("present", "fetched", "wanted", "language", "error", "says"),
    [
        ((), [], "auto", "en-us", VoicewrightError, r"voicewright\[judge\].*voicewright\[whisper\]"),
        ((), [], "auto", "nl", VoicewrightError, r"hears nl.*voicewright\[whisper\].*pip install"),
        (("pocketsphinx",), [], "auto", "de", VoicewrightError, r"voicewright\[whisper\]"),
        (("pocketsphinx",), [], "whisper", "en-us", VoicewrightError, "faster-whisper is not installed"),
        (("faster_whisper",), [], "auto", "fr-fr", VoicewrightError, "without a model.*whisper:FOLDER"),
        (("faster_whisper",), [], "whisper", "en-us", VoicewrightError, "without a model"),
        (("faster_whisper",), ["base"], "whisper:medium", "en-us", VoicewrightError, "there is base"),
        (("faster_whisper",), ["base.en"], "whisper:base.en", "nl", UsageError, "English only"),
        (("faster_whisper",), ["base.en"], "auto", "nl", VoicewrightError, "without a model"),
        (("pocketsphinx",), [], "pocketsphinx", "nl", UsageError, "English only"),
        (("pocketsphinx",), [], "shazam", "en-us", UsageError, "no recogniser 'shazam'.*whisper:NAME"),
        (("pocketsphinx",), [], "faster-whisper", "en-us", UsageError, "use auto, pocketsphinx, whisper"),
        (("pocketsphinx",), [], "whisper:", "en-us", UsageError, "no recogniser"),
        (("pocketsphinx",), [], "pocketsphinx:en", "en-us", UsageError, "no recogniser"),
        (("pocketsphinx",), [], "", "en-us", UsageError, "no recogniser"),
    ],
)
def test_what_is_missing_is_said(
    machine: Path,
    monkeypatch: pytest.MonkeyPatch,
    present: tuple[str, ...],
    fetched: list[str],
    wanted: str,
    language: str,
    error: type[VoicewrightError],
    says: str,
) -> None:
    _installed(monkeypatch, *present)
    for name in fetched:
        _fetched(machine, name)
    with pytest.raises(error, match=says) as caught:
        choose(wanted, language)
    assert type(caught.value) is error and "\n" not in str(caught.value)


def test_a_folder_of_ones_own(machine: Path) -> None:
    mine = machine / "tuned"
    mine.mkdir()
    (mine / whisper.WEIGHTS).write_bytes(b"weights")
    choice = choose(f"whisper:{mine}", "nl")
    assert choice.model is not None and choice.model.folder == mine and choice.model.name == "tuned"
    assert choice.ready() == choice


def test_what_a_machine_has(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert available() == ["pocketsphinx"]
    _fetched(machine, "tiny")
    _fetched(machine, "medium")
    assert available() == ["whisper:medium", "whisper:tiny", "pocketsphinx"]
    _installed(monkeypatch, "pocketsphinx")
    assert available() == ["pocketsphinx"]


def _packages(machine: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, bytes]) -> None:
    """Packages that hold these parts, and a list in which their hashes are right."""
    entry: dict[str, Any] = {"name": "base", "repository": "x/base", "packages": {"install": "a b", "file": [
        {"name": "model.bin", "parts": ["part_a/1", "part_b/2"],
         "sha256": hashlib.sha256(files["part_a/1"] + files["part_b/2"]).hexdigest()},
    ]}}  # fmt: skip
    monkeypatch.setattr(whisper, "_listed", lambda: (entry,))
    for place, data in files.items():
        path = machine / "site" / place
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    monkeypatch.setattr(whisper, "_part", lambda place: machine / "site" / place)


def test_parts_in_packages_are_joined_once(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _packages(machine, monkeypatch, {"part_a/1": b"one", "part_b/2": b"two"})
    choice = choose("auto", "nl")
    assert choice.model is not None and choice.model.folder is None
    assert not (machine / "own").exists(), "looking joins nothing"
    ready = choice.ready()
    assert ready.model is not None and ready.model.folder is not None
    assert ready.model.folder.is_relative_to(machine / "own")
    assert (ready.model.folder / "model.bin").read_bytes() == b"onetwo"
    (machine / "site" / "part_a" / "1").unlink()
    again = choose("auto", "nl").ready()
    assert again.model is not None and again.model.folder == ready.model.folder
    assert [path.name for path in ready.model.folder.parent.iterdir()] == ["whisper-base"]


def test_a_damaged_part_is_noticed(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _packages(machine, monkeypatch, {"part_a/1": b"one", "part_b/2": b"two"})
    (machine / "site" / "part_b" / "2").write_bytes(b"owt")
    with pytest.raises(VoicewrightError, match="not the file it should be: install a b again"):
        choose("whisper", "en-us").ready()
    assert list((machine / "own" / "parts").iterdir()) == []


def test_every_listed_model_is_well_formed() -> None:
    entries = whisper._listed()
    assert len({entry["name"] for entry in entries}) == len(entries) > 10
    for entry in entries:
        assert entry["repository"].count("/") == 1
        assert entry.get("english", False) == (".en" in entry["name"] or "distil" in entry["name"])
        for file in entry.get("packages", {}).get("file", []):
            assert len(file["sha256"]) == 64 and file["parts"]
    assert whisper.language_code("pt-br") == "pt" and whisper.language_code("cmn") == "zh"


def test_what_a_recogniser_is_given() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE).astype(np.float32) * 0.01
    given = recogniser_input(tone)
    edge = int(0.3 * 16_000)
    assert given.dtype == np.int16 and len(given) == 16_000 + 2 * edge
    assert not given[:edge].any() and not given[-edge:].any()
    assert np.abs(given).max() == pytest.approx(0.95 * 32767, abs=1)
    assert not recogniser_input(np.zeros(0, np.float32)).any()


def test_pocketsphinx_is_blind_to_what_it_heard_before() -> None:
    pytest.importorskip("pocketsphinx")
    clips = [speech(1.0, n) for n in range(3)]
    clips.append(np.zeros(RATE // 2, np.float32))
    engine = sphinx.PocketSphinx(processes=2)
    forwards = [engine.transcribe(clip) for clip in clips]
    backwards = [engine.transcribe(clip) for clip in clips[::-1]][::-1]
    assert forwards == backwards
    calls: list[tuple[int, int]] = []
    assert engine.transcribe_many(clips, lambda done, total: calls.append((done, total))) == forwards
    assert calls == [(n + 1, 4) for n in range(4)]
    assert engine.transcribe_many([]) == []


def test_a_dead_worker_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pocketsphinx")
    monkeypatch.setattr(sphinx.sys, "executable", "/bin/false" if sys.platform != "win32" else "cmd")
    with pytest.raises(VoicewrightError, match="0 of 2 clips"):
        sphinx.PocketSphinx(2).transcribe_many([np.ones(10_000, np.float32)] * 2)


# --- texts that nobody gave ---------------------------------------------------------------------------------


class Unsure:
    """Hears the same words in every clip, less surely the quieter it is."""

    def hear(self, samples: np.ndarray, rate: int = RATE) -> Heard:
        return Heard(text(1.2), 0.9 if np.abs(samples).max() > 0.2 else 0.3, 0.6)


@pytest.mark.parametrize(("least", "kept"), [(None, 2), (0.2, 3), (0.95, 0)])
def test_unsure_texts_are_quarantined(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, least: float | None, kept: int
) -> None:
    (tmp_path / "in").mkdir()
    for number, level in enumerate((0.5, 0.1, 0.5)):
        write(tmp_path / "in" / f"c{number}.wav", speech(1.2, number, level=level))
    monkeypatch.setattr(preparing, "choose", lambda *given: Choice("pocketsphinx", "en-us"))
    monkeypatch.setattr(Choice, "open", lambda self, processes: Unsure())
    monkeypatch.setattr(preparing, "_MakeCutter", lambda out: lambda: lambda item: [item])
    limits = preparing.Limits(min_heard=least)
    out = tmp_path / "out"
    try:
        summary = prepare(tmp_path / "in", out, reader=Letters(), workers=1, limits=limits)
    except VoicewrightError as error:
        assert kept == 0 and "3 unsure_transcript" in str(error)
        return
    assert (summary.accepted, summary.quarantined) == (kept, {"unsure_transcript": 1} if kept == 2 else {})
    corpus = Corpus.read(out)
    assert {u.transcript for u in corpus.utterances} == {"pocketsphinx"}
    assert {u.heard for u in corpus.utterances} == ({0.9} if kept == 2 else {0.3, 0.9})
    for refusal in read_quarantine(out):
        assert refusal.detail.startswith("confidence 0.30, at least 0.6: ") and text(1.2) in refusal.detail
    assert ("unsure_transcript" in preparing.render(summary)) == (kept == 2)


def test_a_given_text_is_never_doubted_and_needs_no_recogniser(
    tmp_path: Path, machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _installed(monkeypatch)
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.wav", speech(1.2))
    (tmp_path / "in" / "a.txt").write_text(text(1.2), "utf-8")
    prepare(tmp_path / "in", tmp_path / "out", language="nl", reader=Letters(), workers=1)
    (utterance,) = Corpus.read(tmp_path / "out").utterances
    assert (utterance.transcript, utterance.heard) == ("given", None)


# --- real recordings ----------------------------------------------------------------------------------------

SPEECH = os.environ.get("VOICEWRIGHT_SPEECH")


@pytest.mark.skipif(not SPEECH, reason="VOICEWRIGHT_SPEECH names no recordings")
@pytest.mark.skipif(
    not any(name.startswith("whisper") for name in available()), reason="no Whisper model here"
)
def test_whisper_is_unsure_in_the_wrong_language() -> None:
    """Dutch heard as Dutch is sure; heard as German it is not."""
    from voicewright.audio.files import read

    clips = [read(path) for path in sorted((Path(SPEECH or "") / "nathalie").rglob("*.*a*"))[5:45:10]]
    right, wrong = (choose("whisper", code).ready().open(1) for code in ("nl", "de"))
    for clip in clips:
        assert right.hear(clip).confidence > wrong.hear(clip).confidence
    assert min(right.hear(clip).confidence for clip in clips) > 0.55


def test_commands_share_one_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    for words in (["prepare", str(tmp_path), "-o", "x"], ["train", "x", "--corpus", "x", "--out", "x"],
                  ["judge", "--corpus", "x", "-o", "x"]):  # fmt: skip
        assert main([words[0], "--help"]) == 0
        assert "whisper:NAME_OR_FOLDER" in "".join(capsys.readouterr().out.split())
