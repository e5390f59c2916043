"""Clips moved in pitch, pace and energy have their styles moved with them; a predictor learns to follow."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch
from fakes import small_recipe, tone_features, with_diffusion
from torch import Tensor, nn

from voicewright.corpus.features import Features
from voicewright.model.share import WHOLE
from voicewright.model.tts.model import TTSModel
from voicewright.training.recipe import Recipe, Sway
from voicewright.training.speaking import Speaking
from voicewright.training.stages import STAGES, Networks
from voicewright.training.sway import Swayed, directions, swayed, unsaid

FEATURES = [tone_features(i) for i in range(24)]


def clips(count: int = 400) -> Swayed:
    f0 = torch.full((count, 80), 200.0)
    f0[:, 10:20] = 0
    durations = torch.full((count, 20), 2)
    durations[:, 18:] = 0
    return Swayed(torch.zeros(count, 128), f0, torch.full((count, 80), -3.0), durations)


def test_a_clip_and_its_style_move_together() -> None:
    torch.manual_seed(0)
    before = clips()
    after = swayed(before, Sway(pitch=2.0, pace=0.1, energy=0.3), 400, WHOLE)
    along = after.style @ directions(128).T  # in standard deviations
    assert torch.allclose(directions(128) @ directions(128).T, torch.eye(3), atol=1e-6)
    assert after.style.norm(dim=1).pow(2).allclose(along.pow(2).sum(1), atol=1e-4)  # nothing beside the three
    assert along.std(0).allclose(torch.ones(3), atol=0.1)
    pitch = 12 * torch.log2(after.f0[:, 0] / 200)
    assert pitch.allclose(2 * along[:, 0], atol=1e-3) and bool((after.f0[:, 10:20] == 0).all())
    assert (after.energy[:, 0] + 3).allclose(0.3 * along[:, 2], atol=1e-4)
    lengths = after.durations.sum(1)
    wanted = 36 * torch.exp(0.1 * along[:, 1])
    assert bool((lengths - wanted).abs().le(1).all()) and after.durations.dtype == before.durations.dtype
    assert bool((after.durations[:, :18] >= 1).all()) and bool((after.durations[:, 18:] == 0).all())


def test_the_predictor_learns_to_follow() -> None:
    """After some steps a style moved along pitch is answered by a higher pitch, and not before."""
    data = small_recipe().model_dump(mode="json")
    losses = {"duration": 1, "duration_ce": 20, "f0": 1, "energy": 1}
    data["stages"] = [
        data["stages"][1]
        | {"gan_start": None, "discriminator": None, "losses": losses, "sway": {"pitch": 4.0}}
    ]
    task = Speaking(Recipe.model_validate(data), Networks(small_recipe().model), FEATURES, [])
    torch.manual_seed(0)
    stage, source = task.recipe.stages[0], task.sampler(0, 320)
    trained = [p for part in STAGES["prosody"].trains for p in task.networks.parts()[part].parameters()]
    optimizer = torch.optim.Adam(trained, 1e-2)

    def answer() -> float:
        batch = source.batch(0)
        with torch.no_grad():
            style = task.networks.styles.prosodic(batch.style_own[:, None])
            heard = []
            for move in (-1.0, 1.0):
                moved = style + move * directions(style.shape[1])[0]
                d = task.networks.tts.encode_prosody(batch.tokens, batch.lengths, moved)
                under = d.transpose(1, 2).gather(2, batch.frame_token[:, None].expand(-1, d.shape[2], -1))
                heard.append(task.networks.tts.f0_energy(under, moved, batch.frames)[0].mean())
        return float(heard[1] - heard[0])

    first = answer()
    for step in range(60):
        loss = sum(task.output(0, source.batch(step)).losses.values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert stage.sway is not None and answer() > first + 10  # Hz


class Answers:
    """Says of every text the same, and answers a style moved along pitch, pace and energy with `gain`."""

    expand = staticmethod(TTSModel.expand)

    def __init__(self, clip: Features, gain: float) -> None:
        self.clip, self.gain = clip, gain

    def encode_prosody(self, tokens: Tensor, lengths: Tensor, style: Tensor) -> Tensor:
        self.moves = self.gain * directions(128) @ style[0]
        return torch.ones(1, tokens.shape[1], 4)

    def duration_logits(self, d: Tensor, lengths: Tensor) -> Tensor:
        frames = torch.from_numpy(self.clip.durations) * torch.exp(0.1 * self.moves[1])
        return (frames / 100).logit()[None, :, None].expand(1, -1, 100)

    def f0_energy(self, under: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
        f0, energy = torch.tensor(self.clip.f0), torch.tensor(self.clip.energy)
        return (f0 * 2 ** (2 / 12 * self.moves[0]))[None], (energy + 0.3 * self.moves[2])[None]


@pytest.mark.parametrize("gain", [0.7, 1.0, 1.4])
def test_what_a_style_leaves_unsaid_is_measured(gain: float) -> None:
    """Of a model that would say the clip at a style moved so and so, however it answers."""
    clip, sway = tone_features(0), Sway()
    net = cast(TTSModel, Answers(clip, gain))
    wanted = torch.tensor([1.2, -0.5, 0.8])
    away = unsaid(net, clip, -wanted @ directions(128), sway)
    assert (away @ directions(128).T).allclose(wanted, atol=0.1)
    far = unsaid(net, clip, torch.tensor([-9.0, 0, 0]) @ directions(128), sway)
    assert float(far.norm()) == pytest.approx(2.5, abs=0.2)
    silent = replace(clip, f0=np.zeros_like(clip.f0))
    assert not unsaid(net, silent, torch.ones(128), sway).any()


def test_diffusion_learns_what_was_measured() -> None:
    """Its stage adds it to the prosodic half of a clip's style, and to nothing else."""
    data = with_diffusion(small_recipe()).model_dump(mode="json")
    last = len(data["stages"]) - 1
    styles = []
    for sway in (None, {}):
        data["stages"][last]["sway"] = sway
        torch.manual_seed(0)
        recipe = Recipe.model_validate(data)
        task = Speaking(recipe, Networks(recipe.model, None, recipe.diffusion), FEATURES, [])
        nn.init.constant_(task.networks.tts.predictor.F0_proj.bias, 150.0)
        batch = task.sampler(last, 320).batch(0)
        assert batch.style is not None
        styles.append(batch.style)
    moved = styles[1] - styles[0]
    assert not moved[:, :128].any() and bool((moved[:, 128:].norm(dim=1) > 0.5).all())


def test_other_stages_sway_nothing() -> None:
    data = small_recipe().model_dump(mode="json")
    data["stages"][2]["sway"] = {}
    with pytest.raises(ValueError, match="joint sways nothing"):
        Recipe.model_validate(data)
    assert np.isclose(Sway().pitch, 2.0)
