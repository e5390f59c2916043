"""The demonstration: the stand-in speaker, the steps and their order, and the whole road on a small model."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
import yaml
from fakes import narrow_config

from voicewright.audio.files import probe, read
from voicewright.audio.pitch import f0
from voicewright.catalogue import places as artifacts
from voicewright.cli import main
from voicewright.corpus.align import AlignerSettings
from voicewright.corpus.manifest import Corpus, write_corpus
from voicewright.errors import UsageError, VoicewrightError
from voicewright.jobs.demo import kokoro as demo_kokoro
from voicewright.jobs.demo import report as demo_report
from voicewright.jobs.demo import run as demo
from voicewright.jobs.demo import synthetic_speaker as standin
from voicewright.listen.quality import DistillMos, DnsMos
from voicewright.listen.recogniser import Choice
from voicewright.training.options import find_recipe
from voicewright.training.recipe import read_yaml
from voicewright.voices import fit
from voicewright.voices.studio import SENTENCES


@pytest.fixture(scope="session")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All that the stand-in speaker reads."""
    folder = tmp_path_factory.mktemp("standin")
    assert standin.record(folder) == len(standin.SENTENCES)
    return folder


def test_stand_in_reads_every_sentence(recordings: Path) -> None:
    with (recordings / "metadata.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="|"))
    assert [row[1] for row in rows] == list(standin.SENTENCES)
    pitches, seconds = [], 0.0
    for name, text in rows:
        path = recordings / "wavs" / f"{name}.wav"
        assert probe(path).rate == 22_050
        samples = read(path)
        seconds += len(samples) / 24_000
        assert 0.2 < np.abs(samples).max() < 0.99, name
        assert 1.5 < len(samples) / 24_000 < 8, text
        if len(pitches) < 5:
            track = f0(samples)
            pitches.append(float(np.median(track[track > 0])))
    assert seconds > 90
    # A deep voice: nobody would take it for the embedded one.
    assert max(pitches) < 130


def test_stand_in_reads_the_same_each_time(recordings: Path, tmp_path: Path) -> None:
    standin.record(tmp_path)
    name = "wavs/standin_07.wav"
    assert (tmp_path / name).read_bytes() == (recordings / name).read_bytes()


def test_sentences_are_distinct_and_plain() -> None:
    assert len(set(standin.SENTENCES)) == len(standin.SENTENCES) >= 40
    for sentence in standin.SENTENCES:
        assert sentence.isascii() and "|" not in sentence and sentence[-1] in ".?!"
    letters = {letter for sentence in standin.SENTENCES for letter in sentence.lower()}
    assert set("abcdefghijklmnopqrstuvwxyz") <= letters


def test_a_failing_stand_in_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    with pytest.raises(standin.VoicewrightError, match="made no recordings"):
        standin.record(tmp_path / "file")


def test_no_recordings_no_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere"):
        demo.demonstrate(_never, tmp_path / "out", tmp_path / "nowhere")
    assert not (tmp_path / "out").exists()


def test_a_failed_step_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []

    def run(words: list[str]) -> int:
        ran.append(words[0])
        return 130 if words[0] == "prepare" else 0

    monkeypatch.setattr("voicewright.catalogue.packaged.packaged_path", lambda *_: None)
    (tmp_path / "mine").mkdir()
    with pytest.raises(demo.DemoStopped) as caught:
        demo.demonstrate(run, tmp_path / "out", tmp_path / "mine")
    assert ran == ["say", "prepare"]
    assert caught.value.exit_code == 130


def test_kokoro_speaks_where_its_weights_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ours where a voice is made upon it, as one of its own where the small model is trained."""
    ran: list[list[str]] = []

    def run(words: list[str]) -> int:
        ran.append(words)
        return 1 if words[0] == "prepare" else 0

    (tmp_path / "mine").mkdir()
    for there, recipe in ((False, None), (True, "finetune"), (True, None)):
        monkeypatch.setattr(
            "voicewright.catalogue.packaged.packaged_path",
            lambda *_, there=there: tmp_path if there else None,
        )
        told: list[str] = []
        with pytest.raises(demo.DemoStopped):
            demo.demonstrate(run, tmp_path / "out", tmp_path / "mine", recipe=recipe, note=told.append)
        assert any("Kokoro-82M is not here" in line for line in told) is not there
    assert [words[0] for words in ran] == ["say", "prepare", "say", "say", "prepare", "say", "prepare"]
    assert ran[3][2:6] == ["--model", "kokoro", "--voice", demo.KOKORO_VOICE]
    assert ran[5][2:4] == ["--model", "kathleen"]
    assert not {"--language", "--consent", "--licence"} & set(ran[-1])


@pytest.mark.parametrize(
    ("kokoro", "recipe", "reader", "who"),
    [
        (True, None, "kathleen", "kathleen, this project's own voice upon Kokoro"),
        (True, "finetune", "kokoro", "Kokoro's voice jm_kumo"),
        (False, None, "espeak", "the synthesiser espeak-ng"),
    ],
)
def test_a_stand_in_says_which_machine_it_is(
    kokoro: bool,
    recipe: str | None,
    reader: str,
    who: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kokoro reads where it is, else espeak-ng; each is a speaker with a folder of its own."""
    monkeypatch.setattr(standin, "kokoro_is_here", lambda: kokoro)
    asked: list[tuple[Path, str]] = []

    def record(folder: Path, by: str = "espeak") -> int:
        asked.append((folder, by))
        return 40

    monkeypatch.setattr(standin, "record", record)
    told: list[str] = []
    ran: list[list[str]] = []

    def run(words: list[str]) -> int:
        ran.append(words)
        return 1 if words[0] == "prepare" else 0

    with pytest.raises(demo.DemoStopped):
        demo.demonstrate(run, tmp_path, recipe=recipe, note=told.append)
    folder = tmp_path / ("stand-in" if reader == "espeak" else f"stand-in-{reader}")
    assert asked == [(folder / "recordings", reader)]
    assert any(f"{who}, a machine, has read 40 sentences as a stand-in" in line for line in told)
    licence = ran[-1][ran[-1].index("--licence") + 1]
    assert licence == ("Apache-2.0" if reader == "kokoro" else "CC0-1.0")
    assert ran[-1][ran[-1].index("--language") + 1] == "en-us"


@pytest.mark.skipif(not standin.kokoro_is_here(), reason="the packages of Kokoro's weights are not installed")
def test_kokoro_does_not_know_the_stand_in() -> None:
    """Else the fit would begin with the voice that it is to find."""
    assert "kathleen" not in artifacts.voice_files(artifacts.resolve_model("kokoro"), shipped=False)
    assert "kathleen" in artifacts.voice_files(artifacts.resolve_model("kokoro"))
    assert "kathleen" in artifacts.voice_files(artifacts.resolve_model("kathleen"))


@pytest.mark.skipif(not standin.kokoro_is_here(), reason="the packages of Kokoro's weights are not installed")
def test_kokoro_reads_as_a_stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(standin, "SENTENCES", standin.SENTENCES[4:5])
    standin.write_recordings(tmp_path, "kokoro")
    path = tmp_path / "wavs" / "standin_01.wav"
    samples, track = read(path), f0(read(path))
    assert probe(path).rate == 24_000 and 2.0 < len(samples) / 24_000 < 6.0
    assert float(np.median(track[track > 0])) < 130
    before = path.stat().st_mtime_ns
    standin.write_recordings(tmp_path, "kokoro")
    assert path.stat().st_mtime_ns == before  # what was read stays


def small_corpus(folder: Path, clips: int, seconds: float = 4.0) -> Path:
    """One clip under many names."""
    first = synthetic.corpus(folder, 1)
    one = first.utterances[0]
    many = [
        one.model_copy(update={"id": f"c{n:03d}", "speaker": "me", "seconds": seconds, "hash": f"{n:032d}"})
        for n in range(clips)
    ]
    meta = first.meta.model_copy(update={"speakers": ("me",), "accepted": clips, "consent": "mine"})
    write_corpus(folder, meta, many, [])
    return folder


class Upon:
    """Runs `make_voice` with commands that do nothing but leave their files."""

    def __init__(self, folder: Path, corpus: Path) -> None:
        self.folder, self.corpus = folder, corpus
        self.ran: list[list[str]] = []
        self.told: list[str] = []
        self.stops = ""

    def step(self, name: str, words: Sequence[str | Path]) -> None:
        self.ran.append([str(word) for word in words])
        if name == "fit":
            (self.folder / "voice.pt").write_text("", "utf-8")
            (self.folder / "voice.json").write_text('{"start": {"jf_b": 0.5, "jf_a": 0.5}}', "utf-8")
        if name == "adapt":
            (self.folder / "adapter" / "best").mkdir(parents=True, exist_ok=True)
            (self.folder / "adapter" / "run.json").write_text("{}", "utf-8")
        if name == self.stops:
            raise demo.DemoStopped(name, 130)

    def __call__(self, recipe: str | None = None) -> demo_kokoro.Made:
        self.ran.clear()
        plan = find_recipe("adapt")
        return demo_kokoro.make_voice(
            self.step, self.told.append, self.corpus, self.folder, plan, recipe
        )  # fmt: skip


def test_upon_kokoro_a_pack_then_adapters(tmp_path: Path) -> None:
    run = Upon(tmp_path, small_corpus(tmp_path / "corpus", 24))
    run.stops = "fit"  # leaves a voice, but not the one that was asked for
    with pytest.raises(demo.DemoStopped):
        run()
    run.stops = "adapt"
    with pytest.raises(demo.DemoStopped):
        run()
    learnt, pack, adapter = (str(tmp_path / name) for name in ("learnt", "voice.pt", "adapter"))
    assert run.ran[0][:6] == ["fit", learnt, "-o", pack, "--model", "kokoro"]
    assert run.ran[1] == [
        "train", "adapt", "--corpus", learnt, "--out", adapter, "--voice", pack,
        "--steps", str(demo_kokoro.STEPS),
    ]  # fmt: skip
    run.stops = ""
    made = run()
    assert run.ran == [["train", "adapt", "--corpus", learnt, "--out", adapter, "--resume"]]
    assert "taken over" in run.told[-1]
    assert (made.nearest, made.adapter, made.pack) == ("jf_b", tmp_path / "adapter", tmp_path / "voice.pt")
    assert run() == made and not run.ran
    # What judges was never learnt from, and rights go along.
    part = Corpus.read(tmp_path / "learnt")
    assert len(made.held_out) == 4 and len(part.utterances) == 20
    assert not {item.id for item in part.utterances} & set(made.held_out)
    assert all(part.path(item).is_file() for item in part.utterances) and part.meta.consent == "mine"
    # Others in the same place are not passed off as these.
    run.corpus = small_corpus(tmp_path / "other", 16)
    with pytest.raises(VoicewrightError, match="made from other recordings"):
        run()
    assert not run.ran and len(Corpus.read(tmp_path / "learnt").utterances) == 20


def test_a_recipe_that_is_named_is_carried_out_as_it_is(tmp_path: Path) -> None:
    run = Upon(tmp_path, small_corpus(tmp_path / "corpus", 24))
    run("recipes/adapt.yaml")
    assert run.ran[1][1] == "recipes/adapt.yaml" and "--steps" not in run.ran[1]


@pytest.mark.parametrize(("clips", "seconds"), [(6, 4.0), (12, 1.5)])
def test_too_little_for_adapters_is_a_pack(clips: int, seconds: float, tmp_path: Path) -> None:
    run = Upon(tmp_path, small_corpus(tmp_path / "corpus", clips, seconds))
    made = run()
    assert [words[0] for words in run.ran] == ["fit"] and made.adapter is None and len(made.held_out) >= 2
    assert "the voicepack alone" in run.told[-1]


def test_of_many_clips_some_are_learnt_from_and_some_judge(tmp_path: Path) -> None:
    learnt, held = demo_kokoro.parts(Corpus.read(small_corpus(tmp_path / "many", 200)))
    assert 0.8 * demo_kokoro.HEARD < sum(item.seconds for item in learnt) <= demo_kokoro.HEARD
    assert len(held) == demo_kokoro.JUDGED and not {item.id for item in learnt} & set(held)
    with pytest.raises(VoicewrightError, match="at least four sentences"):
        demo_kokoro.parts(Corpus.read(small_corpus(tmp_path / "few", 3)))


def _never(words: list[str]) -> int:
    raise AssertionError(f"{words} ran")


RECIPE = {
    "name": "short",
    "start": "embedded",
    "seed": 1,
    "precision": "fp32",
    "split": {"every": 5},
    "discriminators": {"periods": [3], "period_channels": [4, 8], "resolutions": [[512, 128]], "per_step": 1},
    "stages": [
        {"stage": "acoustic", "steps": 3, "batch_frames": 80, "crop": 40, "window": 20,
         "optimizer": {"learning_rate": 1.0e-4, "warmup": 1},
         "losses": {"mel": 10, "stft": 5, "convergence": 2}},
        {"stage": "prosody", "steps": 3, "batch_frames": 400,
         "optimizer": {"learning_rate": 1.0e-4, "warmup": 1},
         "losses": {"duration": 1, "duration_ce": 20, "f0": 1, "energy": 1}},
    ],
    "judge": {"every": 100, "sentences": 2, "keep": 1},
}  # fmt: skip


@pytest.fixture
def embedded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small model with random weights in place of the embedded one."""
    import torch

    from voicewright.model.checkpoint import save_model
    from voicewright.training.stages import Networks
    from voicewright.voices.pack import Voicepack

    torch.manual_seed(0)
    # Few duration bins, so that random weights speak at a human pace.
    networks = Networks(narrow_config().model_copy(update={"max_dur": 6}))
    folder = tmp_path / "tiny"
    save_model(
        folder, networks.tts, networks.tts.config, style_encoders=networks.styles, card={"name": "tiny"}
    )
    (folder / "voices").mkdir()
    rows = np.random.default_rng(0).normal(0, 0.3, (510, 1, 256)).astype(np.float32)
    Voicepack(rows).write(folder / "voices" / "someone.safetensors")
    monkeypatch.setattr(artifacts, "embedded_model", lambda: folder)
    monkeypatch.setattr("voicewright.catalogue.packaged.packaged_path", lambda *_: None)
    return folder


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prepares in this process, with an aligner half as wide, which is sure enough of so few clips."""
    monkeypatch.setattr("voicewright.corpus.features.AlignerSettings", partial(AlignerSettings, width=96))
    monkeypatch.setattr(os, "cpu_count", lambda: 1)


def _lacking(self: object) -> None:
    """In place of what judges quality, which takes its time and is tested by itself."""
    raise VoicewrightError("Distill-MOS (quality) is not installed: run this.")


class Guessing:
    """Takes the place of recognisers, which tests of their own hear and which puzzle long over nonsense."""

    name = "guessing"

    def transcribe_many(self, clips: Sequence[Any], progress: Any = None) -> list[str]:
        return ["hello there" for _ in clips]


@pytest.fixture(scope="module")
def prepared(recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Some recordings, and the output in which a demonstration has prepared them."""
    source = tmp_path_factory.mktemp("speaker") / "me"
    (source / "wavs").mkdir(parents=True)
    lines = (recordings / "metadata.csv").read_text("utf-8").splitlines(keepends=True)
    lines = sorted(sorted(lines, key=len)[:10])
    (source / "metadata.csv").write_text("".join(lines), "utf-8")
    for line in lines:
        name = f"wavs/{line.split('|')[0]}.wav"
        os.link(recordings / name, source / name)
    return source, source.parent / "out"


def whole_road(
    prepared: tuple[Path, Path],
    recipe: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> tuple[dict[str, Any], list[str]]:
    """What a demonstration by this recipe says it made, and the commands it showed. Checks its table, its
    files and which clips judge."""
    source, out = prepared
    monkeypatch.setattr(demo, "TEXT", "Hello there.")
    monkeypatch.setattr(Choice, "open", lambda *_: Guessing())
    for ear in (DistillMos, DnsMos):
        monkeypatch.setattr(ear, "__init__", _lacking)
    plan = tmp_path / "plan.yaml"
    plan.write_text(yaml.safe_dump(recipe), "utf-8")
    words = ["demo", "--recordings", str(source), "-o", str(out), "--recipe", str(plan), "--consent", "mine"]
    assert main([*words, "--json"]) == 0
    caught = capsys.readouterr()
    made = json.loads(caught.out)
    print(made["seconds"])
    assert made["stand_in"] is None
    for name in ("hello", "spoken", "recording", "report", "model"):
        assert Path(made[name]).exists(), name
    assert probe(Path(made["spoken"])).rate == 24_000
    assert len(made["held_out"]) == 2
    assert made["missing"] == ["Distill-MOS (quality) is not installed: run this."] * 2
    labels = " ".join(row["label"].lower() for row in made["rows"])
    assert "similarity" in labels and "word" in labels
    # The table is what the reports say, each side in its column.
    reports = [json.loads((out / "me" / name / "report.json").read_text()) for name in
               ("report-before", "report")]  # fmt: skip
    lines_of = [{line["key"]: line for line in report["summary"]} for report in reports]
    row = next(row for row in made["rows"] if "similarity" in row["label"].lower())
    digits = lines_of[1]["similarity"]["digits"]
    assert row["before"] == f"{lines_of[0]['similarity']['synthesised']['value']:.{digits}f}"
    assert row["after"] == f"{lines_of[1]['similarity']['synthesised']['value']:.{digits}f}"
    assert row["recordings"] == f"{lines_of[1]['similarity']['recordings']['value']:.{digits}f}"
    # Judged on nothing that was trained on.
    assert {row["id"] for row in reports[1]["utterances"]} == set(made["held_out"])
    text = _rebuilt(dict(made)).text()
    for name in ("hello", "spoken", "recording", "report", "model"):
        assert made[name] in text
    assert "stand-in" not in text
    return made, re.findall(r"^\$ voicewright (\w+)", caught.err, re.MULTILINE)


def test_the_whole_road(
    prepared: tuple[Path, Path],
    embedded: Path,
    quick: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made, shown = whole_road(prepared, RECIPE, tmp_path, monkeypatch, capsys)
    assert shown == ["say", "prepare", "train", "say", "judge", "judge"]
    assert made["before"] == "embedded voice" and made["pack"] is None


def upon_tiny() -> dict[str, Any]:
    """The shipped recipe upon the embedded voice, a step a stage."""
    plan: dict[str, Any] = read_yaml(find_recipe("adapt"))
    for stage in plan["stages"]:
        stage |= {"steps": 1, "clips": 1}
        stage["optimizer"]["warmup"] = 1
    return plan | {
        "model": "tiny",
        "replay": {"every": 2, "voices": 1, "crops": 2},
        "judge": {"every": 100, "sentences": 2, "keep": 1},
    }


def test_the_whole_road_upon_a_base(
    prepared: tuple[Path, Path],
    quick: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On the embedded voice, which is quicker than Kokoro."""
    monkeypatch.setattr("voicewright.catalogue.packaged.packaged_path", lambda *_: None)
    monkeypatch.setattr("voicewright.jobs.adapt.LEAST", 5.0)
    monkeypatch.setattr(demo_kokoro, "CROPS", 1)
    monkeypatch.setattr("voicewright.voices.studio.SENTENCES", SENTENCES[:3])
    monkeypatch.setattr(fit, "Settings", partial(fit.Settings, prosody_steps=2, prosody_clips=1))
    made, shown = whole_road(prepared, upon_tiny(), tmp_path, monkeypatch, capsys)
    assert shown == ["say", "prepare", "fit", "train", "say", "judge", "judge"]
    assert made["before"] == "stock kathleen"
    pack, adapter = Path(made["pack"]), Path(made["model"])
    card = json.loads(pack.with_suffix(".json").read_text("utf-8"))
    assert card["consent"] == "mine" == json.loads((adapter / "best" / "card.json").read_text())["consent"]
    for words in made["commands"]:
        assert "voicewright say" in words or "voicewright export" in words
    assert len(made["commands"]) == 3


def _rebuilt(made: dict[str, Any]) -> demo_report.Demonstration:
    rows = tuple(demo_report.Row(**row) for row in made.pop("rows"))
    return demo_report.Demonstration(**made, rows=rows)


def test_module_is_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "voicewright.jobs.demo.synthetic_speaker"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "usage" in done.stderr
