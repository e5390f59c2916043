"""One pass of the discriminator over what was made gives both sides the gradients that two passes would."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from fakes import small_recipe, tone_features

from voicewright.errors import VoicewrightError
from voicewright.model.losses import discriminator_loss, feature_loss, generator_loss
from voicewright.training.loop import Trainer
from voicewright.training.speaking import Speaking
from voicewright.training.stages import Networks
from voicewright.training.task import Output

WEIGHTS = {"adversarial": 0.7, "features": 1.3}


def trainer(folder: Path, update: dict[str, object]) -> Trainer:
    recipe = small_recipe()
    recipe = recipe.model_copy(update={"discriminators": recipe.discriminators.model_copy(update=update)})
    assert recipe.model is not None
    made = Trainer(
        Speaking(recipe, Networks(recipe.model), [tone_features(0), tone_features(1)], []),
        folder,
        torch.device("cpu"),
        fingerprint="x",
        line=print,
    )
    made.enter_stage()
    return made


@pytest.mark.parametrize("update_discriminator", [True, False])
def test_gradients_are_those_of_two_passes_and_the_discriminator_steps_only_when_asked(
    tmp_path: Path, update_discriminator: bool
) -> None:
    loop = trainer(tmp_path, {"per_step": None})
    discriminator = loop.learners.discriminators["waveform"]
    rng = torch.Generator().manual_seed(0)
    fake, real = (0.1 * torch.randn(2, 4800, generator=rng) for _ in range(2))

    alone = fake.clone().requires_grad_()
    _, theirs_maps = discriminator(real)
    ours, ours_maps = discriminator(alone)
    expected = WEIGHTS["adversarial"] * generator_loss(ours)
    expected = expected + WEIGHTS["features"] * feature_loss(theirs_maps, ours_maps)
    (slope,) = torch.autograd.grad(expected, alone)
    loss = discriminator_loss(*(discriminator(x)[0] for x in (real, fake)))
    parameters = list(discriminator.parameters())
    own = torch.autograd.grad(loss, parameters)
    before = [p.detach().clone() for p in parameters]

    made = fake.clone().requires_grad_()
    scalar, logged = loop._adversarial(Output({}, fake=made, real=real), WEIGHTS, update_discriminator, 3)
    scalar.backward()
    assert made.grad is not None
    torch.testing.assert_close(made.grad, slope)
    torch.testing.assert_close(logged["discriminator"], loss.detach())
    assert all(p.grad is None for p in parameters)
    moved = [not torch.equal(p.detach(), old) for p, old in zip(parameters, before, strict=True)]
    assert all(moved) if update_discriminator else not any(moved)
    if update_discriminator:
        # AdamW's first step goes against the gradient's sign, whatever its size.
        against = [
            ((old - p.detach()).sign() == g.sign())[g.abs() > 1e-6].float().mean()
            for p, old, g in zip(parameters, before, own, strict=True)
            if bool((g.abs() > 1e-6).any())
        ]
        assert torch.stack(against).mean() > 0.95


def test_discriminators_are_taken_over_from_another_run(tmp_path: Path) -> None:
    first = trainer(tmp_path / "first", {})
    with torch.no_grad():
        for parameter in first.learners.discriminators["waveform"].parameters():
            parameter.add_(1.0)
    second = trainer(tmp_path / "second", {})
    with pytest.raises(VoicewrightError, match="holds no checkpoint"):
        second.learners.take_discriminators(tmp_path / "first")
    first.save()
    second.learners.take_discriminators(tmp_path / "first")
    for name, discriminator in first.learners.discriminators.items():
        for key, value in discriminator.state_dict().items():
            assert torch.equal(second.learners.discriminators[name].state_dict()[key], value), key
    other = trainer(tmp_path / "other", {"periods": (2,)})
    with pytest.raises(VoicewrightError, match="unexpected"):
        other.learners.take_discriminators(tmp_path / "first")
