"""Rules of training: recipes, losses, memory, splits, checkpoints on a full disk."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from fakes import small_recipe, tone_features, with_diffusion
from safetensors import SafetensorError

import voicewright.training.run as run
import voicewright.training.state as state
from voicewright.corpus.split import Split
from voicewright.errors import VoicewrightError
from voicewright.training.memory import choose_clips
from voicewright.training.recipe import Recipe
from voicewright.training.stages import STAGES
from voicewright.training.start import start_networks
from voicewright.training.state import Checkpoints, Counters
from voicewright.training.task import check_losses

CPU = torch.device("cpu")


# --- recipes ----------------------------------------------------------------------------------------------


def plain() -> dict[str, Any]:
    """The small recipe as its YAML would be."""
    data: dict[str, Any] = small_recipe().model_dump(mode="json")
    return data


def test_a_recipe_comes_back_from_its_file(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(plain()), "utf-8")
    assert Recipe.read(path) == small_recipe() and Recipe.read(path).total_steps == 16
    named = plain() | {"model": plain()["model"] | {"vocab": "kokoro"}}
    path.write_text(yaml.safe_dump(named), "utf-8")
    assert Recipe.read(path) == small_recipe()


def _unknown(data: dict[str, Any]) -> None:
    data["lerning_rate"] = 1


def _unknown_deep(data: dict[str, Any]) -> None:
    data["stages"][1]["optimizer"]["momentum"] = 0.9


def _no_optimizer(data: dict[str, Any]) -> None:
    del data["stages"][0]["optimizer"]


def _window(data: dict[str, Any]) -> None:
    data["stages"][0]["window"] = 99


def _no_model(data: dict[str, Any]) -> None:
    del data["model"]


def _two_models(data: dict[str, Any]) -> None:
    data["start"] = "embedded"


def _no_discriminator(data: dict[str, Any]) -> None:
    del data["stages"][2]["discriminator"]


def _stage(data: dict[str, Any]) -> None:
    data["stages"][0]["stage"] = "dubbing"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_unknown, "lerning_rate"),
        (_unknown_deep, "stages.1.optimizer.momentum"),
        (_no_optimizer, "stages.0.optimizer"),
        (_window, "window must not exceed crop"),
        (_no_model, "start: scratch needs a `model` block"),
        (_two_models, "given by the start weights"),
        (_no_discriminator, "gan_start needs a `discriminator`"),
        (_stage, "stages.0.stage"),
    ],
)
def test_a_wrong_recipe_is_one_sentence_with_file_and_key(
    change: Callable[[dict[str, Any]], None], words: str, tmp_path: Path
) -> None:
    data = plain()
    change(data)
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data), "utf-8")
    with pytest.raises(VoicewrightError) as caught:
        Recipe.read(path)
    said = str(caught.value)
    assert said.startswith(str(path)) and words in said and "\n" not in said


@pytest.mark.parametrize("text", ["- a list", "stages: [", ""])
def test_what_is_no_recipe_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(VoicewrightError, match="recipe"):
        Recipe.read(path)


def test_losses_must_be_those_of_the_stage() -> None:
    for stage in small_recipe().stages:
        record = STAGES[stage.stage]
        check_losses(record, stage)
        spare = stage.model_copy(update={"losses": stage.losses | {"beauty": 1.0}})
        with pytest.raises(VoicewrightError, match=f"{stage.stage}: unknown losses beauty"):
            check_losses(record, spare)
        for name in stage.losses:
            less = {key: value for key, value in stage.losses.items() if key != name}
            with pytest.raises(VoicewrightError, match=f"missing losses {name}"):
                check_losses(record, stage.model_copy(update={"losses": less}))
        # Without an adversarial phase its losses would have no meaning.
        with pytest.raises(VoicewrightError, match="unknown losses adversarial, features"):
            check_losses(record, stage.model_copy(update={"gan_start": None}))


def test_every_stage_trains_parts_that_exist() -> None:
    recipe = with_diffusion(small_recipe(content={"channels": 8, "blocks": 1}))
    parts = start_networks(recipe, None).parts()
    for record in STAGES.values():
        judge = "none" if record.name == "diffusion" else record.discriminator
        assert set(record.trains) <= set(parts) and record.discriminator in ("waveform", "contour", judge)


# --- memory -----------------------------------------------------------------------------------------------

CLIP = 48 * 2**20


def allocate(clips: int) -> None:
    """Takes so many bytes for each clip, and 64 MiB besides."""
    block = np.ones(64 * 2**20 + clips * CLIP, np.uint8)
    assert block[-1] == 1


@pytest.fixture
def measured() -> None:
    from voicewright.training.memory import peak_of

    if peak_of(lambda: allocate(1), CPU) == 0:
        pytest.skip("memory cannot be measured here")


@pytest.mark.usefixtures("measured")
def test_all_clips_when_there_is_room_and_fewer_when_not() -> None:
    fit = choose_clips(allocate, 8, CPU, "acoustic", free=2**33)
    assert fit.clips == 8 and "instead" not in fit.sentence and "acoustic: 8 clips" in fit.sentence
    assert 0.3 * 2**30 < fit.bytes < 0.6 * 2**30
    assert "GiB more memory, of 8.0 GiB that are free" in fit.sentence
    fit = choose_clips(allocate, 8, CPU, "acoustic", free=500 * 2**20)
    # (0.85 · 500 - 64) / 48 = 7.5, with some play for the allocator.
    assert 5 <= fit.clips <= 7 and f"{fit.clips} clips a step instead of 8" in fit.sentence


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("wanted", [1, 8])
def test_too_little_for_one_clip_is_refused_before_step_one(wanted: int) -> None:
    with pytest.raises(VoicewrightError, match=r"Stage joint needs .* GiB for a single clip .* lower crop"):
        choose_clips(allocate, wanted, CPU, "joint", free=32 * 2**20)


def test_unknown_memory_takes_what_the_recipe_says() -> None:
    asked: list[int] = []
    fit = choose_clips(asked.append, 5, CPU, "prosody", free=0)
    assert fit.clips == 5 and "could not be measured" in fit.sentence and asked


# --- splits -----------------------------------------------------------------------------------------------


def test_test_utterances_are_in_no_part() -> None:
    features = [tone_features(i) for i in range(12)]
    training, held = run.split(features, Split(test="[27]$", validation="5$"))
    assert [f.id[-1] for f in held] == ["5"] and not {f.id for f in training} & {"t0002", "t0005", "t0007"}
    training, held = run.split(features, Split(test="7$", every=4))
    assert len(held) == 2 and len(training) == 9
    assert not {f.id for f in (*training, *held)} & {"t0007"}


def test_the_test_part_never_reaches_features_or_aligner(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def build(corpus: Any, progress: Any = None, split: Any = None, vocab: Any = None) -> list[Any]:
        asked.append(split)
        return []

    monkeypatch.setattr(run, "build_features", build)
    corpus: Any = SimpleNamespace(utterances=())
    run.usable_features(corpus, Split(test="7$"))
    assert asked[0]("t0006") and not asked[0]("t0007")


def test_cards_name_the_corpus_and_what_was_held_out() -> None:
    features = [tone_features(i) for i in range(12)]
    meta = SimpleNamespace(language="en-us", licence="CC0-1.0", source="my recordings")
    corpus: Any = SimpleNamespace(meta=meta, utterances=features)
    card: Any = run.corpus_card(corpus, features, Split(validation="5$"))
    assert card["held_out"] == ["t0005"]
    assert (card["language"], card["licence"]) == ("en-us", "CC0-1.0")
    minutes = sum(int(f.durations.sum()) for f in features if f.id != "t0005") * 0.025 / 60
    assert card["data"] == {
        "speakers": ["tone"],
        "utterances": 11,
        "minutes": pytest.approx(minutes, abs=0.05),
        "source": "my recordings",
    }
    # Checkpoints are chosen by validation; what nothing was chosen by is the better judge.
    card = run.corpus_card(corpus, features, Split(test="7$", validation="5$"))
    assert card["held_out"] == ["t0007"] and card["data"]["utterances"] == 10


# --- checkpoints ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        SafetensorError("I/O error: No space left on device (os error 28)"),
    ],
    ids=["OSError", "SafetensorError"],
)
def test_a_full_disk_is_one_sentence_and_costs_no_older_checkpoint(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Checkpoints(tmp_path / "checkpoints")
    kept.save({"a": torch.ones(3)}, Counters(total=2))

    def full(tensors: object, path: Path) -> None:
        path.write_bytes(b"half of it")
        raise error

    monkeypatch.setattr(state, "save_file", full)
    with pytest.raises(VoicewrightError, match=r"No space left on device.*free space and resume") as caught:
        kept.save({"a": torch.zeros(3)}, Counters(total=4))
    assert "\n" not in str(caught.value)
    assert [path.name for path in kept.folder.iterdir()] == ["step-00000002"]
    loaded = kept.load()
    assert loaded is not None
    tensors, counters, warnings = loaded
    assert torch.equal(tensors["a"], torch.ones(3)) and counters.total == 2 and warnings == []


def test_only_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, keep=2)
    for total in (2, 4, 6):
        kept.save({"a": torch.full((2,), float(total))}, Counters(total=total))
    assert [path.name for path in kept.found()] == ["step-00000006", "step-00000004"]
