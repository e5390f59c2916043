"""Style diffusion (StyleTTS 2, Li et al. 2023): styles drawn for a text by EDM (Karras et al. 2022).

One vector of both halves is denoised in a few steps, conditioned on PL-BERT's features of the text and, in a
model of many speakers, on a reference style. The denoiser has StyleTTS 2's names and shapes, so that its
published weights fit; with them mean is 0 and scale 1. What is trained here sees styles along the axes of
their own spread, as multiples of it, so that even a denoiser that has learnt nothing draws styles spread as
the recordings' are; and padding counts for nothing (upstream attends to it).
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.errors import VoicewrightError
from voicewright.model.layers import length_mask
from voicewright.model.share import WHOLE, Share
from voicewright.records import Strict
from voicewright.units import STYLE

SIGMA_DATA = 0.2
"""Spread of what is denoised: about that of StyleTTS 2's styles, which its noise levels are made for."""
_LEAST_SPREAD = 0.01
"""Of an axis, in that of a mean dimension: what is less is noise."""
SIGMAS, RHO = (1e-4, 3.0), 9.0
"""Karras's schedule as StyleTTS 2's inference has it."""


class DiffusionConfig(Strict):
    """Widths of the denoiser, and its noise in training; the defaults are StyleTTS 2's."""

    layers: int = Field(3, gt=0)
    heads: int = Field(8, gt=0)
    head_features: int = Field(64, gt=0)
    multiplier: int = Field(2, gt=0)
    reference: bool = False
    """Whether another clip of the speaker conditions it: for models of many speakers."""
    positions: int = Field(512, gt=0)
    """Tokens of the longest text, both pads counted."""
    mask: float = Field(0.1, ge=0, lt=1)
    """How often the text is hidden in training, so that `embedding_scale` has something to exceed."""
    mean: float = -3.0
    std: float = Field(1.0, gt=0)
    """Of the logarithm of training's noise levels."""


class AdaLayerNorm(nn.Module):
    """Layer norm whose gain and shift a vector says."""

    def __init__(self, condition: int, channels: int) -> None:
        super().__init__()
        self.fc = nn.Linear(condition, 2 * channels)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        """x [B,T,C], condition [B,S] -> [B,T,C]."""
        gamma, beta = self.fc(condition)[:, None].chunk(2, 2)
        return (1 + gamma) * F.layer_norm(x, x.shape[-1:]) + beta


class Output(nn.Module):
    """The projection behind attention's heads."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.to_out = nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """[B,T,inner] -> [B,T,width]."""
        return self.to_out(x)


class SelfAttention(nn.Module):
    """Attention without positions: queries and keys are normed apart, as upstream has it."""

    def __init__(self, width: int, heads: int, features: int, condition: int | None) -> None:
        super().__init__()
        self.heads, inner = heads, heads * features
        self.norm, self.norm_context = (
            nn.LayerNorm(width) if condition is None else AdaLayerNorm(condition, width) for _ in range(2)
        )
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.attention = Output(inner, width)

    def forward(self, x: Tensor, condition: Tensor | None, mask: Tensor | None) -> Tensor:
        """x [B,T,C]; mask bool [B,1,1,T], where to attend -> [B,T,C]."""
        extra = () if condition is None else (condition,)
        key, value = self.to_kv(self.norm_context(x, *extra)).chunk(2, 2)
        queries, keys, values = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.to_q(self.norm(x, *extra)), key, value)
        )
        heads = F.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.attention(heads.transpose(1, 2).flatten(2))


class Block(nn.Module):
    def __init__(self, width: int, config: DiffusionConfig, condition: int | None) -> None:
        super().__init__()
        self.attention = SelfAttention(width, config.heads, config.head_features, condition)
        inner = config.multiplier * width
        self.feed_forward = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))

    def forward(self, x: Tensor, condition: Tensor | None, mask: Tensor | None) -> Tensor:
        """x [B,T,C] -> [B,T,C]."""
        x = self.attention(x, condition, mask) + x
        return self.feed_forward(x) + x


class NoiseLevel(nn.Module):
    """A noise level as learned Fourier features, itself in front: [B] -> [B, 1 + features]."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.randn(features // 2))

    def forward(self, level: Tensor) -> Tensor:
        angles = level[:, None] * self.weights * (2 * math.pi)
        return torch.cat([level[:, None], angles.sin(), angles.cos()], 1)


class Positions(nn.Module):
    """What stands for a hidden text."""

    def __init__(self, positions: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.embedding = nn.Embedding(positions, width)

    def forward(self, x: Tensor) -> Tensor:
        """x [B,T,C] -> [B,T,C], the same for every x of this shape."""
        return self.embedding.weight[: x.shape[1]].expand_as(x)


class StyleDenoiser(nn.Module):
    """A noisy style, its level and the text's features -> what StyleTTS 2's network says of them."""

    def __init__(self, config: DiffusionConfig, context: int, style: int = 2 * STYLE) -> None:
        super().__init__()
        width, condition = style + context, style if config.reference else None
        self.blocks = nn.ModuleList([Block(width, config, condition) for _ in range(config.layers)])
        self.to_out = nn.Sequential(nn.Identity(), nn.Conv1d(width, style, 1))
        self.to_mapping = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.to_time = nn.Sequential(nn.Sequential(NoiseLevel(style), nn.Linear(style + 1, width)), nn.GELU())
        if config.reference:
            self.to_features = nn.Sequential(nn.Linear(style, width), nn.GELU())
        self.fixed_embedding = Positions(config.positions, context)

    def forward(
        self,
        x: Tensor,
        level: Tensor,
        text: Tensor,
        reference: Tensor | None = None,
        lengths: Tensor | None = None,
    ) -> Tensor:
        """x [B,S], level [B], text [B,T,C], reference [B,S] or None, lengths [B] on the CPU -> [B,S]."""
        mapping = self.to_time(level)
        if reference is not None:
            mapping = mapping + self.to_features(reference)
        mapping = self.to_mapping(mapping)[:, None]
        tokens = text.shape[1]
        inside = None if lengths is None else length_mask(lengths, tokens, text.device)
        mask = None if inside is None else inside[:, None, None]
        h = torch.cat([x[:, None].expand(-1, tokens, -1), text], 2)
        for block in self.blocks:
            h = block(h + mapping, reference, mask)
        weight = h.new_ones(h.shape[:2]) if inside is None else inside.to(h.dtype)
        mean = (h * weight[:, :, None]).sum(1) / weight.sum(1, keepdim=True)
        out: Tensor = self.to_out(mean[:, :, None])
        return out[:, :, 0]


class StyleDiffusion(nn.Module):
    """The denoiser with the scale of its styles: its loss, and styles drawn by it. Styles are [B,256]."""

    mean: Tensor
    scale: Tensor
    axes: Tensor
    spread: Tensor
    sigma_data: Tensor

    def __init__(self, config: DiffusionConfig, context: int, style: int = 2 * STYLE) -> None:
        super().__init__()
        self.config = config
        self.measured = False
        """Whether the scale of its styles is known: `measure` was called, or it was read from a file."""
        self.denoiser = StyleDenoiser(config, context, style)
        for last in self.denoiser.to_out.parameters():  # it begins as the best one that knows no text
            nn.init.zeros_(last)
        self.register_buffer("mean", torch.zeros(style))
        self.register_buffer("scale", torch.ones(style))
        self.register_buffer("axes", torch.eye(style))
        self.register_buffer("spread", torch.ones(style))
        self.register_buffer("sigma_data", torch.tensor(SIGMA_DATA))

    @torch.no_grad()
    def measure(self, styles: Tensor) -> None:
        """Take mean, spread and axes of these styles [N,256], N > 1, as those of all."""
        self.mean.copy_(styles.mean(0))
        self.scale.copy_(styles.std(0).clamp_min(1e-3) / SIGMA_DATA)
        alike = ((styles - self.mean) / self.scale / SIGMA_DATA).double()
        values, axes = torch.linalg.eigh(alike.T @ alike / (len(styles) - 1))
        self.axes.copy_(axes)
        self.spread.copy_(values.clamp_min(0).sqrt().clamp_min(_LEAST_SPREAD))
        self.sigma_data.fill_(SIGMA_DATA)
        self.measured = True

    def loss(
        self,
        style: Tensor,
        text: Tensor,
        reference: Tensor | None = None,
        lengths: Tensor | None = None,
        share: Share = WHOLE,
        clips: int | None = None,
    ) -> Tensor:
        """EDM's weighted error of styles [B,256] denoised from levels of their own; 1 is knowing nothing.

        share, clips: what these are of a batch, and how many clips that has.
        """
        x = self._scaled(style)
        config, count = self.config, len(x) if clips is None else clips
        draw = share.randn(count, 1, device=x.device)
        sigma = share.mine((config.mean + config.std * draw).exp())
        noisy = x + sigma * share.mine(share.randn(count, x.shape[1], device=x.device))
        hidden = share.mine(share.rand(count, 1, 1, device=x.device)) < (
            config.mask if self.training else 0.0
        )
        text = torch.where(hidden, self.denoiser.fixed_embedding(text), text)
        error = self._denoised(noisy, sigma, text, self._reference(reference), lengths) - x
        weight = (sigma.square() + self.sigma_data.square()) / (sigma * self.sigma_data).square()
        weight = (
            weight * self.spread.square() / self.spread.square().mean()
        )  # what moves styles much counts much
        return share.mean((weight * error.square()).mean())

    @torch.no_grad()
    def sample(
        self,
        text: Tensor,
        reference: Tensor | None = None,
        steps: int = 10,
        embedding_scale: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Styles [B,256] for texts [B,T,C] without padding, by ADPM2 (rho 1) on Karras's schedule.

        Above 1, `embedding_scale` makes them follow the text more than the data did (guidance). Raises
        VoicewrightError for a text longer than the denoiser has positions, or fewer than 2 steps.
        """
        if steps < 2:
            raise VoicewrightError(f"style diffusion takes at least 2 steps, not {steps}.")
        if text.shape[1] > self.config.positions:
            raise VoicewrightError(
                f"a text of {text.shape[1]} tokens is longer than the {self.config.positions} that this "
                "style diffusion reads; give shorter sentences."
            )
        known = self._reference(reference)
        nothing = self.denoiser.fixed_embedding(text)

        def denoise(x: Tensor, sigma: float) -> Tensor:
            level = x.new_full((len(x), 1), sigma)
            with_text = self._denoised(x, level, text, known, None)
            if embedding_scale == 1:
                return with_text
            without = self._denoised(x, level, nothing, known, None)
            return without + (with_text - without) * embedding_scale

        def noise() -> Tensor:
            shape = (len(text), len(self.mean))
            return torch.randn(shape, generator=generator, device=text.device, dtype=text.dtype)

        levels = schedule(steps)
        x = levels[0] * noise()
        for now, following in pairwise(levels):
            up = math.sqrt(following**2 * (now**2 - following**2) / now**2)
            down = math.sqrt(following**2 - up**2)
            middle = (now + down) / 2
            halfway = x + (x - denoise(x, now)) / now * (middle - now)
            x = x + (halfway - denoise(halfway, middle)) / middle * (down - now) + up * noise()
        return (x * self.spread) @ self.axes.T * self.scale + self.mean

    def _reference(self, reference: Tensor | None) -> Tensor | None:
        if not self.config.reference:
            return None
        assert reference is not None, "a denoiser of many speakers needs a reference"
        return self._scaled(reference)

    def _scaled(self, style: Tensor) -> Tensor:
        return ((style - self.mean) / self.scale) @ self.axes / self.spread

    def _denoised(
        self, x: Tensor, sigma: Tensor, text: Tensor, reference: Tensor | None, lengths: Tensor | None
    ) -> Tensor:
        """EDM's preconditioning: x [B,S] noisy by sigma [B,1]."""
        data = self.sigma_data
        whole = (sigma.square() + data.square()).sqrt()
        said = self.denoiser(x / whole, sigma[:, 0].log() / 4, text, reference, lengths)
        return x * (data / whole).square() + said * (sigma * data / whole)


def schedule(steps: int) -> list[float]:
    """Noise levels from the highest to the lowest, equally spaced in their RHO-th root."""
    low, high = (level ** (1 / RHO) for level in SIGMAS)
    return [(high + i / (steps - 1) * (low - high)) ** RHO for i in range(steps)]
