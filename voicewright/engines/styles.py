"""Styles drawn for a text by a model's style diffusion, in place of a voicepack's row or mixed with it."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from voicewright.catalogue.places import DIFFUSION
from voicewright.errors import UsageError
from voicewright.model.config import ModelConfig
from voicewright.model.diffusion_files import load_diffusion

LEAST_STEPS, MOST_STEPS = 2, 100


@dataclass(frozen=True)
class StyleSampling:
    """How styles are drawn, in StyleTTS 2's terms and with its defaults, but for steps. Raises UsageError.

    steps: of the sampler; StyleTTS 2's five draw styles spread four fifths as far as the recordings' are, ten
    .97. embedding_scale: above 1, styles follow the text more than the recordings did.
    alpha, beta: how much of the drawn style, the rest being the voicepack's, goes into the sound of the voice
    and into its prosody.
    """

    steps: int = 10
    embedding_scale: float = 1.0
    alpha: float = 0.3
    beta: float = 0.7

    def __post_init__(self) -> None:
        if not LEAST_STEPS <= self.steps <= MOST_STEPS:
            raise UsageError(f"style diffusion takes {LEAST_STEPS} to {MOST_STEPS} steps, not {self.steps}.")
        for name, value in (("alpha", self.alpha), ("beta", self.beta)):
            if not 0 <= value <= 1:
                raise UsageError(f"{name} is {value:g}; it is a share, between 0 and 1.")
        if not 0 <= self.embedding_scale <= 10:
            raise UsageError(f"the embedding scale is {self.embedding_scale:g}; it lies between 0 and 10.")


class StyleSampler:
    """A model's style diffusion with the part of the model that it reads texts by."""

    def __init__(
        self,
        model_path: Path,
        bert: nn.Module,
        config: ModelConfig,
        sampling: StyleSampling,
        device: torch.device,
    ) -> None:
        """bert: the model's PL-BERT, which is copied. Raises UsageError where the model has no diffusion."""
        diffusion = load_diffusion(model_path, config)
        if diffusion is None:
            raise UsageError(
                f"{model_path} has no {DIFFUSION}/, so it cannot draw styles; `voicewright train "
                "style_diffusion` teaches one to a model with style encoders."
            )
        self.sampling, self._diffusion = sampling, diffusion.to(device)
        self._bert = copy.deepcopy(bert).float().to(device)
        self._half = config.style_dim

    @torch.inference_mode()
    def style(self, tokens: Tensor, row: Tensor, seed: int) -> Tensor:
        """tokens int64 [1,T] with both pads, the voicepack's row [1,256] -> a style [1,256].

        The noise is the seed's alone: sentences of one text are drawn alike, other seeds read otherwise.
        """
        generator = torch.Generator(tokens.device).manual_seed(seed & (1 << 63) - 1)
        asked = self.sampling
        drawn = self._diffusion.sample(self._bert(tokens), row, asked.steps, asked.embedding_scale, generator)
        share = torch.full_like(row, asked.beta)
        share[:, : self._half] = asked.alpha
        return torch.lerp(row, drawn.to(row.dtype), share)
