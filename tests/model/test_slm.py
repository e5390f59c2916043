"""A speech model as a critic: transformers' numbers, its files, what it teaches, what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from fakes import small_recipe, tone_features
from safetensors.torch import save_file
from torch import Tensor

from voicewright.errors import VoicewrightError
from voicewright.model.slm import SlmConfig, SlmDiscriminator, SpeechModel, load_slm, to_16k
from voicewright.training.recipe import Recipe
from voicewright.training.run import train
from voicewright.training.speaking import Speaking
from voicewright.training.stages import Networks

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "conv_dim": (8,) * 7,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
# transformers 4.57.1: WavLMModel and HubertModel of SIZES with weights and sound as made here; every fifth
# number of the mean over time of the last hidden state.
HEARD = {
    "wavlm": [-3.069074, -0.07918, 0.294882, -0.962517],
    "hubert": [-2.027066, 1.333962, -0.085505, -0.603511],
}


def wave(count: int, pace: float, phase: float) -> Tensor:
    return torch.sin(torch.arange(count, dtype=torch.float64) * pace + phase).float()


def filled(kind: str) -> SpeechModel:
    net = SpeechModel(SlmConfig.model_validate({**SIZES, "model_type": kind})).eval().requires_grad_(False)
    for i, (key, value) in enumerate(sorted(net.state_dict().items())):
        one = 1.0 if ("norm" in key and key.endswith("weight")) or key.endswith("original0") else 0.0
        value.copy_(0.3 * wave(value.numel(), 0.37 + 0.01 * i, float(i)).view(value.shape) + one)
    return net


def folder(path: Path, kind: str = "wavlm", **config: object) -> Path:
    """As transformers writes it; older files name weight norm otherwise."""
    path.mkdir()
    state = {}
    for key, value in filled(kind).state_dict().items():
        name = key.replace("parametrizations.weight.original0", "weight_g")
        state[name.replace("parametrizations.weight.original1", "weight_v")] = value.contiguous()
    save_file(state | {"masked_spec_embed": torch.zeros(16)}, path / "model.safetensors")
    (path / "config.json").write_text(json.dumps({**SIZES, "model_type": kind, "vocab_size": 32, **config}))
    return path


@pytest.mark.parametrize("kind", ["wavlm", "hubert"])
def test_it_hears_what_transformers_hear(kind: str, tmp_path: Path) -> None:
    heard = load_slm(folder(tmp_path / "m", kind))(wave(8000, 0.05, 0.2)[None])
    assert [tuple(layer.shape) for layer in heard] == [(1, 24, 16)] * 3
    torch.testing.assert_close(heard[-1][0].mean(0)[::5], torch.tensor(HEARD[kind]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("hertz", [200, 3000, 6500])
def test_sound_at_its_rate(hertz: int) -> None:
    found = to_16k(wave(24_000, 2 * math.pi * hertz / 24_000, 0.0)[None])
    assert found.shape == (1, 16_000)
    wanted = wave(16_000, 2 * math.pi * hertz / 16_000, 0.0)
    assert (found[0] - wanted)[200:-200].abs().max() < 0.01
    assert to_16k(wave(24_000, 2 * math.pi * 10_000 / 24_000, 0.0)[None])[:, 200:-200].abs().max() < 0.01


def test_a_head_learns_and_the_model_stays() -> None:
    slm = filled("wavlm")
    judge = SlmDiscriminator(slm, channels=8)
    before = {key: value.clone() for key, value in slm.state_dict().items()}
    real, fake = (
        wave(9600, 0.05, 0.0)[None],
        0.3 * torch.randn(1, 9600, generator=torch.Generator().manual_seed(0)),
    )
    optimizer = torch.optim.Adam(judge.parameters(), 3e-3)
    for _ in range(60):
        loss = (1 - judge(real)[0]).square().mean() + judge(fake)[0].square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert judge(real)[0].mean() > 0.8 and judge(fake)[0].mean() < 0.2
    assert all(torch.equal(value, before[key]) for key, value in slm.state_dict().items())
    assert not any("_slm" in key for key in judge.state_dict())  # a checkpoint does not carry it
    made = fake.requires_grad_()
    judge(made)[0].mean().backward()
    assert made.grad is not None and bool(made.grad.any())


def test_a_stage_is_judged_by_it_too(tmp_path: Path) -> None:
    data = small_recipe().model_dump(mode="json")
    data["discriminators"]["slm"] = str(folder(tmp_path / "m"))
    recipe = Recipe.model_validate(data)
    found = Speaking(recipe, Networks(recipe.model), [tone_features(0)], []).discriminators()["waveform"]
    scores, maps = found(0.1 * torch.randn(2, 48_000))
    assert isinstance(found.members[-1], SlmDiscriminator)  # type: ignore[index, union-attr]
    assert (
        len(scores)
        == len(maps)
        == len(small_recipe().discriminators.periods) + len(small_recipe().discriminators.resolutions) + 1
    )
    assert len(maps[-1]) == 3


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"model_type": "wav2vec2"}, "is a wav2vec2"),
        ({"do_stable_layer_norm": True}, "of another kind .do_stable_layer_norm: True"),
        ({"hidden_size": 32}, "does not fit its configuration"),
        ({"conv_dim": "many"}, "cannot be read as a speech model's"),
    ],
)
def test_others_are_refused(config: dict[str, object], said: str, tmp_path: Path) -> None:
    with pytest.raises(VoicewrightError, match=said):
        load_slm(folder(tmp_path / "m", **config))


def test_a_missing_one_is_said_before_anything_is_computed(tmp_path: Path) -> None:
    data = small_recipe().model_dump(mode="json")
    data["discriminators"]["slm"] = str(tmp_path)
    (tmp_path / "r.yaml").write_text(json.dumps(data))
    with pytest.raises(VoicewrightError, match="holds no speech model: give a folder"):
        train(tmp_path / "r.yaml", tmp_path / "no corpus", tmp_path / "out")
