"""Training of models that speak, as a task of the one loop: Kokoro's graph with its style encoders."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from voicewright.corpus.features import Features
from voicewright.model.discriminators import ContourDiscriminator, Discriminators
from voicewright.model.losses import SpectralLoss
from voicewright.model.share import Part
from voicewright.model.slm import SlmDiscriminator, load_slm
from voicewright.training.batches import Batch, Sampler
from voicewright.training.recipe import Recipe, Sway
from voicewright.training.stages import STAGES, Networks
from voicewright.training.sway import unsaid
from voicewright.training.task import Output, Source, Task
from voicewright.units import FRAME, SAMPLE_RATE, STYLE
from voicewright.voices.encode import encode_style

Style: TypeAlias = NDArray[np.float32]
"""[256]."""

_MEASURED = 600
"""Clips whose styles say how styles are spread: so many are enough."""
_ALIKE = 0.05
"""Spread of styles in their size below which they say hardly anything (the embedded voice's: 0.016)."""


class ClipStyles:
    """Styles [256] of whole clips, each computed once, by a copy of the encoders: their own weights change
    hands while batches are made ahead (EMA), and back. With `sway`, what the encoders leave unsaid of a
    clip's pitch, pace and energy is measured by the model (training/sway.py) and added."""

    def __init__(self, networks: Networks, sway: Sway | None) -> None:
        self._styles, self._known = copy.deepcopy(networks.styles).eval(), dict[str, Style]()
        self._sway, self._net = sway, copy.deepcopy(networks.tts).eval() if sway is not None else None

    def __call__(self, clip: Features) -> Style:
        if clip.id not in self._known:
            style = encode_style(self._styles, clip.mel)
            if self._sway is not None and self._net is not None:
                half = torch.from_numpy(style[STYLE:]).to(next(self._net.parameters()).device)
                style[STYLE:] += unsaid(self._net, clip, half, self._sway).cpu().numpy()
            self._known[clip.id] = style
        return self._known[clip.id]


@dataclass
class Speaking(Task[Batch]):
    """Training of a speaking model on a corpus's features."""

    stages = STAGES
    parts = True
    recipe: Recipe
    networks: Networks
    training: Sequence[Features]
    validation: Sequence[Features]
    spectral: SpectralLoss = field(default_factory=lambda: SpectralLoss(SAMPLE_RATE))
    _encoded: dict[str, ClipStyles] = field(default_factory=dict)

    def discriminators(self) -> dict[str, nn.Module]:
        sizes = self.recipe.discriminators
        more = [SlmDiscriminator(load_slm(Path(sizes.slm)))] if sizes.slm is not None else []
        return {
            "waveform": Discriminators(
                sizes.periods, sizes.period_channels, sizes.resolutions, sizes.spectrogram_channels, more
            ),
            "contour": ContourDiscriminator(self.networks.tts.bert_encoder.out_features),
        }

    def sampler(self, number: int, budget: int, held_out: bool = False) -> Source[Batch]:
        stage = self.recipe.stages[number]
        return Sampler(
            self.validation if held_out else self.training,
            seed=self.recipe.seed,
            stage=number,
            batch_frames=budget,
            crop=stage.crop if STAGES[stage.stage].crops else None,
            encode=self._clip_styles(stage.sway) if stage.stage == "diffusion" else None,
            references=self.networks.diffusion is not None and self.networks.diffusion.config.reference,
        )

    def _clip_styles(self, sway: Sway | None) -> ClipStyles:
        """What gives clips' styles by the networks as they are now, with what they gave before."""
        digest = hashlib.sha256(repr(sway).encode())
        for network in (self.networks.styles, self.networks.tts)[: 1 if sway is None else 2]:
            for value in network.state_dict().values():
                digest.update(value.cpu().numpy().tobytes())
        key = digest.hexdigest()
        if key not in self._encoded:
            self._encoded[key] = ClipStyles(self.networks, sway)
            while len(self._encoded) > 2:  # the encoders as they are trained, and their EMA
                del self._encoded[next(iter(self._encoded))]
        return self._encoded[key]

    def begin(self, number: int) -> str | None:
        """Style diffusion takes the scale of styles from those of the clips, unless it is gone on with."""
        diffusion = self.networks.diffusion
        if self.recipe.stages[number].stage != "diffusion" or diffusion is None:
            return None
        encode, count = self._clip_styles(self.recipe.stages[number].sway), len(self.training)
        chosen = np.unique(np.linspace(0, count - 1, min(count, _MEASURED)).astype(int))
        styles = np.stack([encode(self.training[i]) for i in chosen])
        if not diffusion.measured:
            diffusion.measure(torch.from_numpy(styles).to(diffusion.mean.device))
        share = np.linalg.norm(styles.std(0)) / max(1e-9, float(np.linalg.norm(styles, axis=1).mean()))
        if share >= _ALIKE:
            return None
        return (
            f"Styles differ by {share:.1%} of their size from clip to clip: drawn ones will be read much "
            "alike. Train prosody with style_mix [1, 0, 0] and `sway` first, and give `sway` here too."
        )

    def output(self, number: int, batch: Batch) -> Output:
        stage = self.recipe.stages[number]
        return STAGES[stage.stage].forward(self.networks, self.spectral, batch, stage)

    def clips(self, batch: Batch) -> int:
        return len(batch.lengths)

    def part(self, batch: Batch, share: Part) -> Batch:
        return batch.part(share)

    def discriminator_arguments(self, discriminator: nn.Module, output: Output) -> tuple[object, ...]:
        per_step = self.recipe.discriminators.per_step
        if isinstance(discriminator, Discriminators) and per_step:
            count = min(per_step, len(discriminator.members))
            return (output.share.randperm(len(discriminator.members))[:count],)
        return (output.condition,) if output.condition is not None else ()

    def seconds(self, number: int, batch: Batch) -> float:
        stage = self.recipe.stages[number]
        made = stage.window if STAGES[stage.stage].crops else batch.frame_token.shape[1]
        return len(batch.lengths) * made * FRAME / SAMPLE_RATE

    def compile(self, discriminators: Mapping[str, nn.Module]) -> None:
        """The convolutional parts; LSTMs and spectrograms stay eager."""
        decoder = self.networks.tts.decoder
        decoder.front = torch.compile(decoder.front, dynamic=False)  # type: ignore[method-assign]
        decoder.generator.synthesise = torch.compile(decoder.generator.synthesise, dynamic=False)  # type: ignore[method-assign]
        discriminator = discriminators["waveform"]
        assert isinstance(discriminator, Discriminators)
        for member in discriminator.members:
            if isinstance(member, SlmDiscriminator):  # its frozen model is no part of it
                continue
            member.forward = torch.compile(member.forward, dynamic=False)
