"""The adversarial phase of a step: the discriminator's gradients, and those that it gives the generator."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from voicewright.training.task import Gan, Maps, Output, Scores, StagePlan

Update = Callable[[Sequence[Tensor | None]], None]
"""The discriminator's own step, given the gradients of its parameters."""


def ramped(stage: StagePlan, step: int) -> dict[str, float]:
    """Weights of the adversarial losses at a step of a stage; none before its adversarial phase."""
    if stage.gan_start is None or step < stage.gan_start:
        return {}
    ramp = min(1.0, (step - stage.gan_start + 1) / max(1, stage.gan_ramp or 1))
    return {name: ramp * stage.losses[name] for name in ("adversarial", "features")}


Judge = Callable[[Tensor], tuple[Scores, Maps]]


def discriminator_gradients(
    output: Output, judge: Judge, gan: Gan, parameters: Sequence[nn.Parameter], scale: float
) -> tuple[Tensor | None, ...]:
    """Gradients of the discriminator's own loss alone; see adversarial_pass."""
    assert output.fake is not None and output.real is not None
    (real, _), (fake, _) = judge(output.real), judge(output.fake.detach())
    loss = gan.discriminator(real, fake, output.share)
    return torch.autograd.grad(loss * scale, parameters, allow_unused=True)


def adversarial_pass(
    output: Output,
    judge: Judge,
    gan: Gan,
    weights: Mapping[str, float],
    parameters: Sequence[nn.Parameter],
    scale: float,
    update: Update | None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The discriminator's own step, and the gradient that it gives the generator.

    One pass over what was made serves both, and the generator's losses come from before the step; with
    the stage's `discriminator_first` it steps, then judges again. parameters: the discriminator's; scale: of
    losses in fp16; update: None where the discriminator stays as it is.
    Returns a scalar whose gradient is that of the weighted adversarial losses, and the values to log.
    """
    assert output.fake is not None and output.real is not None
    made = output.fake.detach().requires_grad_()
    (real, real_maps), (fake, fake_maps) = judge(output.real), judge(made)
    loss = gan.discriminator(real, fake, output.share)
    own = torch.autograd.grad(
        loss * scale, parameters, retain_graph=not gan.discriminator_first, allow_unused=True
    )
    if gan.discriminator_first:
        if update is not None:
            update(own)
        with torch.no_grad():
            _, real_maps = judge(output.real)
        fake, fake_maps = judge(made)
    values = {
        "adversarial": gan.adversarial(fake, output.share),
        "features": gan.features(real_maps, fake_maps, output.share),
    }
    wanted = torch.stack([weights[name] * value for name, value in values.items()]).sum()
    (slope,) = torch.autograd.grad(wanted * scale, made)
    if update is not None and not gan.discriminator_first:
        update(own)
    logged = {name: value.detach() for name, value in values.items()} | {"discriminator": loss.detach()}
    return (output.fake * (slope / scale)).sum(), logged
