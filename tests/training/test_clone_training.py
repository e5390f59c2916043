"""Style encoders taught: they come nearer to readers, resume exactly, and are chosen by readers held out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from test_adapt_training import folder, identity, last, reference, refused
from test_adapters import pack

from voicewright.cli import main
from voicewright.errors import VoicewrightError
from voicewright.listen.campplus import CamEncoder
from voicewright.model.checkpoint import load_model
from voicewright.training.adapt.batches import own_clips
from voicewright.training.clone.drawn import Spread, begin
from voicewright.training.clone.material import Heard, keep_reader, kept_reader
from voicewright.training.clone.recipe import CloneRecipe
from voicewright.training.clone.run import Lesson, teach
from voicewright.training.clone.task import Reader
from voicewright.training.loop import Trainer
from voicewright.training.options import Options
from voicewright.voices.fit import HeardMel
from voicewright.voices.pack import Voicepack
from voicewright.voices.phones import open_phone_ear
from voicewright.voices.studio import SENTENCES, Studio
from voicewright.voices.style_encoders import (
    ENCODERS,
    PROSODY,
    TIMBRE,
    StyleEncoder,
    StyleEncoders,
    load_encoders,
)

__all__ = ["folder"]
STEP = {"learning_rate": 1e-3, "warmup": 1, "betas": [0.9, 0.99], "weight_decay": 0}


def recipe(**changes: Any) -> CloneRecipe:
    data: dict[str, Any] = {
        "name": "small",
        "kind": "clone",
        "width": 8,
        "precision": "fp32",
        "every": 3,
        "log_every": 1,
        "checkpoint_every": 2,
        "checkpoint_minutes": None,
        "judge": {"every": 3, "sentences": 1, "keep": 2},
        "stages": [
            {
                "stage": "prosody",
                "steps": 3,
                "clips": 2,
                "noise": 0.1,
                "optimizer": STEP,
                "losses": {"prosody": 1, "leash": 0.01},
            },
            {
                "stage": "timbre",
                "steps": 4,
                "clips": 2,
                "optimizer": STEP,
                "losses": {"mel": 1, "identity": 1, "phones": 1, "tones": 1, "lines": 1, "leash": 0.01},
            },
        ],
    }
    return CloneRecipe.model_validate(data | changes)


def run(
    folder: Path, out: Path, resume: bool = False, options: Options | None = None, **changes: Any
) -> tuple[Any, list[str]]:
    torch.set_num_threads(1)
    net = load_model(folder)[0].float().fold()
    ear = open_phone_ear(pytest.fail)
    assert ear is not None
    curve = torch.from_numpy(pack(3).rows[:, 0].copy())
    readers = []
    for index in range(5):
        item = reference(index)
        item = replace(item, phones=ear(item.sound[None]))
        numbers = torch.from_numpy(
            np.random.default_rng(index).standard_normal((2, PROSODY + TIMBRE))
        ).float()
        wanted = [identity(item.sound[None, :39_600])[0]]
        mel = HeardMel([item], 7_600.0)
        readers.append(Reader(f"r{index}", own_clips(net, [item], curve), [numbers], wanted, mel))
    torch.manual_seed(3)
    lesson = Lesson(net, StyleEncoders(8), readers, [2], [identity], ear)
    said: list[str] = []
    card = {"name": "encoders of m"}
    plan = recipe(**changes)
    return teach(plan, lesson, out, card=card, resume=resume, options=options, line=said.append), said


@pytest.fixture(scope="module")
def straight(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "straight"
    result, said = run(folder, out)
    assert result.finished and result.steps == 7 and result.model == out / "best"
    assert sum("judged: score" in line for line in said) == 3
    return out


def test_the_best_is_written_with_its_figures(straight: Path) -> None:
    net, facts = load_encoders(straight / "best" / ENCODERS)
    assert isinstance(net, StyleEncoders) and facts["name"] == "encoders of m"
    ranking = json.loads((straight / "best" / "card.json").read_text("utf-8"))
    assert ranking["figures"]["score"] == pytest.approx(facts["figures"]["score"])
    scores = [
        json.loads(path.read_text("utf-8"))["figures"]["score"]
        for path in (straight / "judged").glob("*/card.json")
    ]
    assert facts["figures"]["score"] == pytest.approx(max(scores))
    assert {"prosody", "mel", "identity", "phones", "timbre_leash"} <= set(facts["figures"])


def test_every_loss_of_the_recipe_is_logged(straight: Path) -> None:
    log = [json.loads(line) for line in (straight / "log.jsonl").read_text("utf-8").splitlines()]
    for stage in recipe().stages:
        seen = {key for entry in log if entry.get("stage") == stage.stage for key in entry}
        assert set(stage.losses) <= seen


def test_readers_come_nearer(folder: Path, straight: Path, tmp_path: Path) -> None:
    """With readers whose numbers tell them apart, more steps lose less."""
    stages = recipe().model_dump(mode="json")["stages"]
    result, _ = run(folder, tmp_path / "r", stages=[{**stages[0], "steps": 60}], every=3)
    log = [json.loads(line) for line in (tmp_path / "r" / "log.jsonl").read_text("utf-8").splitlines()]
    losses = [entry["prosody"] for entry in log if entry["kind"] == "train"]
    assert result.finished and np.mean(losses[-8:]) < 0.9 * np.mean(losses[:8])


@pytest.mark.parametrize("crash", [2, 5])
def test_resumed_is_bit_identical(
    folder: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: int
) -> None:
    follow = Trainer._follow

    def followed(self: Trainer) -> None:
        follow(self)
        if self.counters.total == crash:
            raise RuntimeError("dead")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_follow", followed)
        with pytest.raises(RuntimeError, match="dead"):
            run(folder, tmp_path / "r")
    run(folder, tmp_path / "r", resume=True)
    one, other = last(straight), last(tmp_path / "r")
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


def test_a_checkpoint_holds_encoders_alone(straight: Path) -> None:
    found = {key.split("|")[1].split(".")[0] for key in last(straight) if key.startswith("net|")}
    assert found == {"encoders"}


def test_a_dry_run_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    made, said = run(folder, tmp_path / "r", options=Options(dry_run=True))
    assert made.finished and not (tmp_path / "r").exists()
    assert said[0].startswith("7 steps on cpu: prosody 3 of 2 clips")


def test_the_regression_finds_what_was_drawn() -> None:
    """Numbers that are a linear picture of a style give it back, for people near them too."""
    rng = np.random.default_rng(0)
    way = rng.standard_normal((128, TIMBRE))
    halves = rng.standard_normal((900, 128))
    encoder = StyleEncoder(TIMBRE, 4)
    begin(encoder, halves @ way, halves, halves[:20] @ way, 0.01, 0)
    heard = encoder.eval().requires_grad_(False)(torch.from_numpy(halves[:50] @ way).float())
    assert float((heard - torch.from_numpy(halves[:50]).float()).abs().max()) < 0.05


def test_drawn_voices_lie_around_the_known_ones() -> None:
    packs = [pack(seed) for seed in range(2, 12)]
    spread = Spread.of(packs)
    styles = np.stack([spread.draw(np.random.default_rng(n)) for n in range(60)])
    known = np.linalg.norm(spread.halves - spread.halves.mean(0), axis=1)
    drawn = np.linalg.norm(styles - spread.halves.mean(0), axis=1)
    assert drawn.max() < 3 * known.max() and np.median(drawn) > 0.3 * np.median(known)
    assert len(np.unique(styles[:, 0])) == 60
    np.testing.assert_allclose(spread.pack(styles[0]).rows[:, 0].mean(0), styles[0], atol=1e-4)


def test_a_reader_is_kept_and_read_again(tmp_path: Path) -> None:
    item = replace(reference(1), phones=torch.randn(1, 178, reference(1).frames))
    numbers = torch.randn(4, PROSODY + TIMBRE)
    keep_reader(tmp_path / "r.safetensors", Heard([item], [numbers]))
    found = kept_reader(tmp_path / "r.safetensors")
    assert found.references[0].id == item.id and torch.equal(found.references[0].tokens, item.tokens)
    torch.testing.assert_close(found.references[0].sound, item.sound, atol=1e-3, rtol=1e-2)
    torch.testing.assert_close(found.numbers[0], numbers, atol=1e-2, rtol=1e-2)
    keep_reader(tmp_path / "none.safetensors", None)
    assert kept_reader(tmp_path / "none.safetensors").references == []
    (tmp_path / "r.safetensors").write_bytes(b"no")
    with pytest.raises(VoicewrightError, match="delete it and resume"):
        kept_reader(tmp_path / "r.safetensors")


@pytest.mark.parametrize(
    ("corpus", "words", "code", "said"),
    [
        ({"speakers": ("a", "b")}, [], 1, "holds 2 speakers"),
        (
            {"speakers": tuple(f"s{n}" for n in range(24)), "count": 24},
            ["-m", "tiny"],
            2,
            "known voices here",
        ),
        ({}, ["--voice", "x.pt"], 2, "leave --voice out"),
        ({}, ["--voices", "nowhere"], 2, "no voices at nowhere"),
        ({}, ["--recogniser", "pocketsphinx"], 2, "leave --recogniser"),
        ({}, ["--no-judge"], 2, "leave --recogniser"),
        ({}, ["--resume"], 2, "no run to go on with"),
    ],
)
def test_refusals(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    corpus: dict[str, Any],
    words: list[str],
    code: int,
    said: str,
) -> None:
    assert refused(tmp_path, "clone", corpus, words) == code
    error = capsys.readouterr().err
    assert said in error, error


def test_the_scale_of_a_real_reader_counts() -> None:
    encoder = StyleEncoder(TIMBRE, 4)
    rng = np.random.default_rng(1)
    numbers, real = rng.standard_normal((60, TIMBRE)), 10 * rng.standard_normal((60, TIMBRE))
    begin(encoder, numbers, rng.standard_normal((60, 128)), real, 1.0, 0)
    assert float(encoder.scale.mean()) == pytest.approx(7.1, rel=0.1)


def test_a_corpus_of_speakers_becomes_encoders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`train clone` from recordings to a pack that `say` opens, stopped and resumed in between."""
    pytest.importorskip("silero_vad")
    try:
        CamEncoder()
    except VoicewrightError as error:
        pytest.skip(str(error))
    torch.set_num_threads(1)
    monkeypatch.setattr("voicewright.jobs.teach.FEWEST", 3)
    monkeypatch.setattr("voicewright.jobs.teach.FEWEST_KNOWN", 3)
    monkeypatch.setattr("voicewright.training.clone.map._STEPS", 40)
    monkeypatch.setattr("voicewright.voices.studio.SENTENCES", SENTENCES[:3])
    studio = Studio("tiny", None, lambda _: None)
    own = next(iter(studio.packs.values()))
    (tmp_path / "voices").mkdir()
    (tmp_path / "readers").mkdir()
    rows, lines = [], studio.lines(SENTENCES[:3], "en-us")
    for number, line in enumerate(lines):
        way = np.random.default_rng(number).standard_normal(256).astype(np.float32) / 16
        voice = Voicepack(own.rows + 0.5 * way)
        voice.write(tmp_path / "voices" / f"v{number}.safetensors")
        soundfile.write(tmp_path / "readers" / f"c{number}.wav", studio.clips(voice, [line])[0], 24_000)
        rows.append(f"c{number}|{line.text}|reader{number}\n")
    (tmp_path / "readers" / "metadata.csv").write_text("".join(rows), "utf-8")
    corpus, out = tmp_path / "corpus", tmp_path / "run"
    assert main(["prepare", str(tmp_path / "readers"), "-o", str(corpus), "--language", "en-us"]) == 0
    plan = recipe(model="tiny", drawn={"voices": 20, "mapped": 200}).model_dump(
        mode="json", exclude_none=True
    )
    (tmp_path / "small.yaml").write_text(json.dumps(plan), "utf-8")
    given = ["train", str(tmp_path / "small.yaml"), "--corpus", str(corpus), "--out", str(out)]
    given += ["--voices", str(tmp_path / "voices")]
    assert main([*given, "--dry-run"]) == 0
    assert "minutes, come first" in capsys.readouterr().err and not out.exists()
    assert main(given) == 0, capsys.readouterr().err
    net, facts = load_encoders(out / "best" / ENCODERS)
    assert facts["readers"] == 3 and facts["known_voices"] == 4 and net.curve.abs().max() > 0
    assert net.map.taught and "Pitch is mapped to" in capsys.readouterr().err
    assert len(list((out / "material").glob("reader*.safetensors"))) == 3
    for name in ("hear_reader", "drawn_pairs"):  # what was heard and drawn is not again
        monkeypatch.setattr(f"voicewright.training.clone.material.{name}", pytest.fail)
    assert main([*given, "--resume"]) == 0
    assert "Resumed at step 7 of 7" in capsys.readouterr().err
