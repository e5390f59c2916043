"""The flow between prior and latent (`flow`), and the posterior encoder that training needs (`enc_q`).

Facts (shapes, order, key names) follow VITS and RVC.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from voicewright.model.tts.source import random_like
from voicewright.rvc.network.config import SynthesizerConfig
from voicewright.rvc.network.layers import NormedConv, float_mask

KERNEL = 5
FLOW_LAYERS, POSTERIOR_LAYERS, COUPLINGS = 3, 16, 4


class WaveNet(nn.Module):
    """Gated convolutions without dilation: [B,C,T] → [B,C,T], steered by the speaker g [B,gin,1]."""

    def __init__(self, channels: int, layers: int, gin: int) -> None:
        super().__init__()
        self.channels = channels
        self.cond_layer = NormedConv(gin, 2 * channels * layers, 1)
        self.in_layers = nn.ModuleList(NormedConv(channels, 2 * channels, KERNEL) for _ in range(layers))
        self.res_skip_layers = nn.ModuleList(
            NormedConv(channels, channels if i + 1 == layers else 2 * channels, 1) for i in range(layers)
        )

    def forward(self, x: Tensor, mask: Tensor, g: Tensor) -> Tensor:
        steering = self.cond_layer(g).chunk(len(self.in_layers), dim=1)
        total: Tensor | None = None
        for gate, mix, own in zip(self.in_layers, self.res_skip_layers, steering, strict=True):
            signal, opening = (gate(x) + own).chunk(2, dim=1)
            y = mix(torch.tanh(signal) * torch.sigmoid(opening))
            if y.shape[1] > self.channels:  # all layers but the last carry on
                x = (x + y[:, : self.channels]) * mask
                y = y[:, self.channels :]
            total = y if total is None else total + y
        assert total is not None
        return total * mask


class Coupling(nn.Module):
    """Half of the channels shifts the other half, which is undone exactly."""

    def __init__(self, config: SynthesizerConfig) -> None:
        super().__init__()
        half = config.inter // 2
        self.pre = nn.Conv1d(half, config.hidden, 1)
        self.enc = WaveNet(config.hidden, FLOW_LAYERS, config.gin)
        self.post = nn.Conv1d(config.hidden, half, 1)
        nn.init.zeros_(self.post.weight)
        assert self.post.bias is not None
        nn.init.zeros_(self.post.bias)

    def forward(self, x: Tensor, mask: Tensor, g: Tensor, reverse: bool = False) -> Tensor:
        """x [B,inter,T], mask [B,1,T], g [B,gin,1] → [B,inter,T]."""
        still, moved = x.chunk(2, dim=1)
        shift = self.post(self.enc(self.pre(still) * mask, mask, g)) * mask
        moved = (moved - shift) * mask if reverse else shift + moved * mask
        return torch.cat([still, moved], dim=1)


class Flip(nn.Module):
    """Channels in reverse order; it has no weights, but its place in the list counts in the key names."""

    def forward(self, x: Tensor) -> Tensor:
        """[B,inter,T] → [B,inter,T]."""
        return x.flip(1)


class Flow(nn.Module):
    """Four couplings with flips between: latent → prior, or back with `reverse`."""

    def __init__(self, config: SynthesizerConfig) -> None:
        super().__init__()
        self.flows = nn.ModuleList()
        for _ in range(COUPLINGS):
            self.flows.append(Coupling(config))
            self.flows.append(Flip())

    def forward(self, x: Tensor, mask: Tensor, g: Tensor, reverse: bool = False) -> Tensor:
        """x [B,inter,T], mask [B,1,T], g [B,gin,1] → [B,inter,T]."""
        for step in reversed(self.flows) if reverse else self.flows:
            x = step(x, mask, g, reverse) if isinstance(step, Coupling) else step(x)
        return x


class PosteriorEncoder(nn.Module):
    """`enc_q`: linear spectrum [B,bins,T] → latent z [B,inter,T], its mean and log deviation, mask."""

    def __init__(self, config: SynthesizerConfig) -> None:
        super().__init__()
        self.pre = nn.Conv1d(config.spec_channels, config.hidden, 1)
        self.enc = WaveNet(config.hidden, POSTERIOR_LAYERS, config.gin)
        self.proj = nn.Conv1d(config.hidden, 2 * config.inter, 1)

    def forward(
        self, spectrum: Tensor, lengths: Tensor, g: Tensor, generator: torch.Generator | None = None
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mask = float_mask(lengths, spectrum.shape[2], spectrum)
        x = self.enc(self.pre(spectrum) * mask, mask, g)
        mean, logs = (self.proj(x) * mask).chunk(2, dim=1)
        noise = random_like(mean.shape, mean.device, generator, normal=True).to(mean.dtype)
        return (mean + noise * torch.exp(logs)) * mask, mean, logs, mask
