"""What a run leaves: frozen parts untouched, models that speak, the best one kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import small_recipe, tone_features, with_diffusion
from pydantic import ValidationError
from small_models import hifigan_like
from test_checkpoint import kokoro_layout, old_spectral

from voicewright.catalogue.places import read_card, resolve_model, voice_files
from voicewright.model.checkpoint import load_model
from voicewright.model.config import ModelConfig
from voicewright.model.diffusion_files import load_diffusion
from voicewright.model.tts.diffusion import DiffusionConfig, StyleDiffusion
from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.style import StyleEncoders
from voicewright.text.vocab import STYLETTS2_SPOKEN
from voicewright.training.export import keep_best, voice_name
from voicewright.training.lifecycle import Result, hear_again
from voicewright.training.loop import Trainer
from voicewright.training.recipe import Recipe
from voicewright.training.run import train_features
from voicewright.training.speaking import Speaking
from voicewright.training.stages import STAGES
from voicewright.training.start import start_networks, start_vocab
from voicewright.training.task import GAN
from voicewright.voices.pack import Voicepack

FEATURES = [tone_features(i, "Ada L." if i % 3 else "two") for i in range(18)]
SCORES = {4: 0.95, 8: 0.1, 12: 0.9, 16: 0.5}
"""The first is judged before prosody has been trained: its score must not count for more than that."""


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path, list[Path]]:
    """A run judged at steps 4, 8, 12 and 16 by a judge that likes step 4 best."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("run")
    asked: list[Path] = []

    def judge(folder: Path) -> dict[str, float]:
        asked.append(folder)
        return {"score": SCORES[int(folder.name[-8:])], "wer": 0.5}

    recipe = small_recipe(judge={"every": 4, "sentences": 2, "keep": 2})
    card = {"language": "en-us", "licence": "CC0-1.0"}
    result = train_features(
        recipe, FEATURES, out, device=torch.device("cpu"), judge=judge, card=card, line=lambda text: None
    )
    return result, out, asked


def test_best_is_what_the_judge_liked_of_what_is_trained(
    judged: tuple[Result, Path, list[Path]],
) -> None:
    result, out, asked = judged
    assert [path.name for path in asked] == [f"step-{step:08d}" for step in SCORES]
    assert result.finished and result.steps == 16 and result.model == out / "best"
    assert [(entry["step"], entry["score"]) for entry in result.best] == [(12.0, 0.9), (16.0, 0.5)]
    assert json.loads((out / "best.json").read_text("utf-8")) == result.best
    assert sorted(path.name for path in (out / "judged").iterdir()) == ["step-00000012", "step-00000016"]
    best = (out / "best" / "model.safetensors").read_bytes()
    assert best == (out / "judged" / "step-00000012" / "model.safetensors").read_bytes()
    assert best != (out / "judged" / "step-00000016" / "model.safetensors").read_bytes()
    assert [path.name for path in out.iterdir() if path.name.startswith(".")] == []


def test_the_export_speaks_with_every_voice(judged: tuple[Result, Path, list[Path]]) -> None:
    _, out, _ = judged
    folder = resolve_model(out)
    assert folder == out / "best"
    card = read_card(folder)
    held = [f.id for i, f in enumerate(FEATURES) if i % 6 == 5]
    assert card["held_out"] == held and card["name"] == "small" and card["licence"] == "CC0-1.0"
    voices = voice_files(folder)
    assert set(voices) == {"Ada_L", "two"} and card["voice"] == "Ada_L"
    model, _, styles = load_model(folder)
    assert styles is not None
    tokens = torch.tensor([[0, 43, 47, 51, 0]])
    for path in voices.values():
        style = torch.from_numpy(Voicepack.read(path).style(3)).unsqueeze(0)
        spoken = model.speak(tokens, style, generator=torch.Generator().manual_seed(0))
        samples = spoken.audio.numpy()
        assert len(samples) == 600 * int(spoken.durations.sum()) > 0
        assert np.isfinite(samples).all() and np.abs(samples).max() > 0


def test_judgement_and_validation_are_in_the_log(judged: tuple[Result, Path, list[Path]]) -> None:
    _, out, _ = judged
    log = [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]
    for kind in ("judged", "validation"):
        assert [entry["step"] for entry in log if entry["kind"] == kind] == list(SCORES)
    assert all(np.isfinite(value) for e in log for value in e.values() if isinstance(value, float))


def test_keep_best_keeps_the_best_and_removes_the_rest(tmp_path: Path) -> None:
    best: list[dict[str, float]] = []
    leads = []
    for step, score in ((1, 0.2), (2, 0.1), (3, 0.7), (4, 0.4)):
        folder = tmp_path / "judged" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(str(step), "utf-8")
        leads.append(keep_best(tmp_path, step, {"score": score}, best, keep=2))
    assert leads == [True, False, True, False]
    assert sorted(path.name for path in (tmp_path / "judged").iterdir()) == ["step-00000003", "step-00000004"]
    assert (tmp_path / "best" / "config.json").read_text("utf-8") == "3"


def test_an_untrained_stage_cannot_win(tmp_path: Path) -> None:
    """The worse checkpoint was kept once: before the prosody stage, for a figure that it did not touch."""
    best: list[dict[str, float]] = []
    for step, score, trained in ((165, -0.05, 0.5), (250, -0.4, 1.0), (330, -0.2, 1.0)):
        folder = tmp_path / "judged" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        keep_best(tmp_path, step, {"score": score}, best, keep=2, trained=trained)
    assert [entry["step"] for entry in best] == [330.0, 250.0]
    older = [{"step": 1.0, "score": 0.0}]  # a run begun before shares were recorded
    (tmp_path / "judged" / "step-00000002").mkdir()
    assert not keep_best(tmp_path, 2, {"score": -1.0}, older, keep=2)


class Heard:
    """A judge with named ears that likes early steps, or late ones."""

    def __init__(self, ears: str, sign: float) -> None:
        self.ears, self.sign = ears, sign
        self.asked: list[int] = []

    def __call__(self, folder: Path) -> dict[str, float]:
        self.asked.append(int(folder.name[-8:]))
        return {"score": self.sign * self.asked[-1]}


def test_other_ears_judge_what_was_kept_again(tmp_path: Path) -> None:
    """Apples and pears: scores by other ears are not compared, and the best so far may change."""
    trainer = Trainer(
        Speaking(small_recipe(), start_networks(small_recipe(), None), FEATURES, []),
        tmp_path,
        torch.device("cpu"),
        fingerprint="x",
        line=lambda text: said.append(text),
    )
    said: list[str] = []
    for step in (4, 8, 12):
        folder = tmp_path / "judged" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(str(step), "utf-8")
        keep_best(tmp_path, step, {"score": 5.0 - step}, trainer.counters.best, keep=3, trained=step > 4)
    trainer.counters.ears = "pocketsphinx"
    assert (tmp_path / "best" / "config.json").read_text("utf-8") == "8"

    same = Heard("pocketsphinx", 1.0)
    hear_again(trainer, same.ears, lambda step, folder: same(folder))
    assert same.asked == [] and said == []
    other = Heard("Whisper", 1.0)
    hear_again(trainer, other.ears, lambda step, folder: other(folder))
    assert sorted(other.asked) == [4, 8, 12] and trainer.counters.ears == "Whisper"
    assert len(said) == 1 and "Whisper" in said[0] and "before by pocketsphinx" in said[0]
    # What an early stage lacks still counts first.
    assert [(e["step"], e["score"]) for e in trainer.counters.best] == [(12.0, 12.0), (8.0, 8.0), (4.0, 4.0)]
    assert (tmp_path / "best" / "config.json").read_text("utf-8") == "12"
    assert json.loads((tmp_path / "best.json").read_text("utf-8")) == trainer.counters.best

    shutil.rmtree(tmp_path / "judged" / "step-00000012")
    hear_again(trainer, "", lambda step, folder: {"score": float(step)})
    assert [e["step"] for e in trainer.counters.best] == [8.0, 4.0] and "by nobody" in said[-1]


def test_a_resumed_run_knows_who_judged_before(tmp_path: Path) -> None:
    recipe = small_recipe(judge={"every": 8, "sentences": 2, "keep": 2})

    def run(judge: Heard, resume: bool) -> tuple[Result, list[str]]:
        said: list[str] = []
        result = train_features(
            recipe,
            FEATURES,
            tmp_path,
            resume=resume,
            device=torch.device("cpu"),
            judge=judge,
            line=said.append,
        )
        return result, said

    early, late = Heard("one", -1.0), Heard("two", 1.0)
    first, _ = run(early, False)
    assert [entry["step"] for entry in first.best] == [8.0, 16.0] or first.best[0]["trained"] == 1.0
    again, said = run(late, True)
    assert sorted(late.asked) == [8, 16] and again.best[0]["score"] == 16.0
    assert any("by two from here on, before by one" in text for text in said)
    third, said = run(Heard("two", 1.0), True)
    assert third.best == again.best or any("judged again" in text for text in said)


def test_how_much_is_trained(tmp_path: Path) -> None:
    """acoustic, prosody, joint: what a stage trains counts from its first step on."""
    recipe = small_recipe()
    trainer = Trainer(
        Speaking(recipe, start_networks(recipe, None), FEATURES, []),
        tmp_path,
        torch.device("cpu"),
        fingerprint="x",
        line=lambda text: None,
    )
    shares = {}
    for stage, step in ((0, 0), (0, 1), (0, 6), (1, 0), (1, 1), (2, 0), (2, 5)):
        trainer.counters.stage, trainer.counters.step = stage, step
        shares[stage, step] = trainer.trained
    assert list(shares.values()) == [0.0, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0]


def test_voice_names_are_file_names() -> None:
    assert [voice_name(name) for name in ("af_sky", "Ada L.", "../x", "…", "")] == [
        "af_sky",
        "Ada_L",
        "x",
        "voice",
        "voice",
    ]


def one_stage(name: str) -> Recipe:
    """The small recipe's stage of that name alone; `spectrum` and `content` are its acoustic one, changed."""
    if name == "diffusion":
        recipe = with_diffusion(small_recipe(), steps=2)
        return recipe.model_copy(update={"stages": recipe.stages[-1:]})
    recipe = small_recipe(content={"channels": 8, "blocks": 1})
    acoustic = name in ("spectrum", "content")
    found = next(s for s in recipe.stages if s.stage == ("acoustic" if acoustic else name))
    if name == "content":
        losses = {"text": 1.0, "phones": 1.0, "energy": 1.0, "voicing": 1.0, "front": 1.0}
        stage = found.model_copy(update={"stage": name, "steps": 2, "gan_start": None, "losses": losses})
        return recipe.model_copy(update={"stages": (stage,)})
    stage = found.model_copy(update={"stage": name, "steps": 2, "gan_start": 1})
    return recipe.model_copy(update={"stages": (stage,)})


@pytest.mark.parametrize("name", list(STAGES))
def test_a_stage_moves_what_it_says_and_nothing_else(name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    recipe = one_stage(name)
    networks = start_networks(recipe, None)
    before = {key: value.clone() for key, value in networks.named_parameters()}
    trainer = Trainer(
        Speaking(recipe, networks, FEATURES, []),
        tmp_path,
        torch.device("cpu"),
        fingerprint="x",
        line=lambda text: None,
    )
    trainer.run()
    parts = networks.parts()
    trained = {id(p) for part in STAGES[name].trains for p in parts[part].parameters()}
    moved = {id(p) for key, p in networks.named_parameters() if not torch.equal(p, before[key])}
    assert moved <= trained
    for part in STAGES[name].trains:
        own = {id(p) for p in parts[part].parameters()}
        assert len(own & moved) > 0.5 * len(own), f"{part} hardly moved"
    # The last layers are a part of the decoder: who trains that trains them.
    if "decoder" in STAGES[name].trains:
        assert {id(p) for p in parts["spectrum"].parameters()} <= moved


def test_style_diffusion_is_taught_beside_a_voice(tmp_path: Path) -> None:
    """After the voice's own stages, and to a model that speaks already, which then stays byte for byte."""
    torch.set_num_threads(1)
    asked: list[Path] = []

    def judge(folder: Path) -> dict[str, float]:
        asked.append(folder)
        return {"score": 100.0}

    def run(recipe: Recipe, out: Path) -> Result:
        return train_features(
            recipe, FEATURES, out, device=torch.device("cpu"), judge=judge, line=lambda text: None
        )

    whole = with_diffusion(small_recipe(judge={"every": 7, "sentences": 2, "keep": 3}))
    result = run(whole, tmp_path / "whole")
    # What judges hears the voice; a denoiser is chosen by its loss on what is held out, and comes last.
    assert [path.name for path in asked] == ["step-00000007", "step-00000014"]
    assert [entry["step"] for entry in result.best][:1] == [21.0]
    best = tmp_path / "whole" / "best"
    assert not (tmp_path / "whole" / "judged" / "step-00000014" / "diffusion").exists()
    drawn = load_diffusion(best, ModelConfig.read(best / "config.json"))
    assert drawn is not None and float(drawn.scale.mean()) != 1.0
    # The EMA of networks that one stage alone trains holds nothing of their beginning.
    fresh = start_networks(whole, None).diffusion
    assert fresh is not None and float(drawn.mean.abs().sum()) > 0

    beside = whole.model_copy(update={"start": str(best), "model": None, "stages": whole.stages[-1:]})
    more = run(beside, tmp_path / "more").model
    assert more is not None and len(asked) == 2
    for name in ("model.safetensors", "config.json", "voices/two.safetensors"):
        assert (more / name).read_bytes() == (best / name).read_bytes()
    again = load_diffusion(more, ModelConfig.read(best / "config.json"))
    assert again is not None and not torch.equal(
        again.denoiser.to_out[1].weight, drawn.denoiser.to_out[1].weight
    )


def test_a_diffusion_block_and_its_stage_belong_together() -> None:
    recipe = with_diffusion(small_recipe())
    alone = recipe.model_dump(mode="json") | {"diffusion": None}
    with pytest.raises(ValidationError, match="stage `diffusion` needs a `diffusion` block"):
        Recipe.model_validate(alone)
    idle = recipe.model_dump(mode="json") | {"stages": recipe.model_dump(mode="json")["stages"][:-1]}
    with pytest.raises(ValidationError, match="needs a stage `diffusion`"):
        Recipe.model_validate(idle)


@pytest.mark.parametrize("several", [False, True])
def test_styletts2s_checkpoint_is_gone_on_with(several: bool, tmp_path: Path) -> None:
    """With its own decoder, style encoders, symbols and diffusion, whatever sizes the recipe has."""
    torch.set_num_threads(1)
    torch.manual_seed(3)
    config = hifigan_like().model_copy(update={"vocab": dict(STYLETTS2_SPOKEN)})
    model, styles = TTSModel(config), StyleEncoders(config).eval()
    sizes = DiffusionConfig(layers=2, heads=2, head_features=4, reference=several)
    diffusion = StyleDiffusion(sizes, config.plbert.hidden_size)
    nets = {
        **kokoro_layout(model),
        "style_encoder": old_spectral(styles.acoustic),
        "predictor_encoder": old_spectral(styles.prosodic),
        "diffusion": {f"module.unet.{key}": value for key, value in diffusion.denoiser.state_dict().items()},
    }
    start = tmp_path / "s2"
    start.mkdir()
    torch.save({"net": nets}, start / "epoch_2nd_00100.pth")
    config.write(start / "config.json")
    recipe = with_diffusion(small_recipe(judge={"every": 7, "sentences": 2, "keep": 3}), steps=2)
    assert recipe.diffusion is not None and recipe.diffusion.layers == 1
    short = tuple(stage.model_copy(update={"steps": 2, "gan_start": None}) for stage in recipe.stages[1:])
    short = tuple(
        stage.model_copy(update={"losses": {k: v for k, v in stage.losses.items() if k not in GAN}})
        for stage in short
    )
    recipe = recipe.model_copy(update={"start": str(start), "model": None, "stages": short})
    assert start_vocab(recipe, None) == STYLETTS2_SPOKEN
    result = train_features(
        recipe, FEATURES, tmp_path / "run", device=torch.device("cpu"), line=lambda text: None
    )
    assert result.finished and result.model is not None
    made, found, _ = load_model(result.model)
    assert found.voicewright.decoder == "hifigan" and found.vocab == config.vocab
    drawn = load_diffusion(result.model, found)
    assert drawn is not None and drawn.config.layers == 2 and drawn.config.reference is several
    assert (
        float(drawn.scale.min()) == float(drawn.scale.max()) == 1.0
    )  # upstream's, whose weights know no other
    assert not torch.equal(made.decoder.encode.conv1.bias, model.decoder.encode.conv1.bias)
