"""The prosody predictor: durations, F0 and energy from text features and the prosodic style."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.model.layers import (
    AdaINConvBlock,
    AdaLayerNorm,
    LinearNorm,
    length_mask,
    ragged,
    run_lstm,
)

VOICED_FROM = 0.55
"""Share of the median pitch from which a predicted frame counts as voiced ..."""
FIRM_FROM = 0.75
"""... and from which, with both its neighbours, its pitch is believed."""
REACH = 8
"""Frames (of 12.5 ms) over which a firm pitch is carried to soft frames."""


def clean_edges(f0: Tensor) -> Tensor:
    """Predicted F0 [B,T] in Hz without the ramps at the edges of voicing; unvoiced frames become 0.

    Soft frames (voiced, but below or beside `FIRM_FROM`) take the nearest firm pitch within `REACH`; without
    one they are unvoiced. Speech of less than an octave around its median comes through as it was.
    """
    heard = torch.where(f0 > 40.0, f0, torch.nan)
    middle = heard.nanmedian(dim=1, keepdim=True).values.nan_to_num(torch.inf)
    voiced = f0 > VOICED_FROM * middle
    high = F.pad(f0 > FIRM_FROM * middle, (1, 1), value=True)
    firm = high[:, 1:-1] & high[:, :-2] & high[:, 2:]
    steps = torch.arange(f0.shape[1], device=f0.device).expand_as(f0)
    before = torch.where(firm, steps, -(10**6)).cummax(dim=1).values
    after = torch.where(firm, steps, 10**6).flip(1).cummin(dim=1).values.flip(1)
    nearest = torch.where(steps - before <= after - steps, before, after)
    near = (nearest - steps).abs() <= REACH
    held = f0.gather(1, nearest.clamp(0, f0.shape[1] - 1))
    return torch.where(voiced & near, held, torch.zeros_like(f0))


class DurationEncoder(nn.Module):
    """BiLSTMs and style-driven layer norms; the style is joined again after each norm."""

    def __init__(self, style: int, width: int, depth: int, dropout: float) -> None:
        super().__init__()
        self.lstms = nn.ModuleList()
        for _ in range(depth):
            self.lstms.append(nn.LSTM(width + style, width // 2, batch_first=True, bidirectional=True))
            self.lstms.append(AdaLayerNorm(style, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, style: Tensor, lengths: Tensor | None = None) -> Tensor:
        """x [B,width,T], style [B,S] -> [B,T,width+S]; padding comes out as 0."""
        x = x.transpose(1, 2)
        spread = style[:, None].expand(-1, x.shape[1], -1).to(x.dtype)
        keep: Tensor | None = None
        if lengths is not None and ragged(lengths, x.shape[1]):
            keep = length_mask(lengths, x.shape[1], x.device)[:, :, None]

        def join(part: Tensor) -> Tensor:
            both = torch.cat([part, spread.to(part.dtype)], dim=2)
            return both if keep is None else both * keep

        x = join(x)
        for block in self.lstms:
            if isinstance(block, nn.LSTM):
                x = self.dropout(run_lstm(block, x, lengths))
            else:
                x = join(block(x, style))
        return x


class ProsodyPredictor(nn.Module):
    """Kokoro's `predictor`. `width` is the hidden size H, `style` S = 128."""

    def __init__(self, style: int, width: int, depth: int, max_dur: int, dropout: float) -> None:
        super().__init__()
        self.text_encoder = DurationEncoder(style, width, depth, dropout)
        self.lstm = nn.LSTM(width + style, width // 2, batch_first=True, bidirectional=True)
        self.duration_proj = LinearNorm(width, max_dur)
        self.shared = nn.LSTM(width + style, width // 2, batch_first=True, bidirectional=True)

        def stack() -> nn.ModuleList:
            return nn.ModuleList(
                [
                    AdaINConvBlock(width, width, style, dropout=dropout),
                    AdaINConvBlock(width, width // 2, style, upsample=True, dropout=dropout),
                    AdaINConvBlock(width // 2, width // 2, style, dropout=dropout),
                ]
            )

        self.F0 = stack()
        self.N = stack()
        self.F0_proj = nn.Conv1d(width // 2, 1, 1)
        self.N_proj = nn.Conv1d(width // 2, 1, 1)

    def duration_logits(self, d: Tensor, lengths: Tensor | None = None) -> Tensor:
        """d [B,T,H+S] -> [B,T,max_dur]; the duration in frames is the sum of the sigmoids."""
        x = run_lstm(self.lstm, d, lengths)
        logits: Tensor = self.duration_proj(F.dropout(x, 0.5, self.training))
        return logits

    def f0_energy(self, x: Tensor, style: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """x [B,H+S,F] -> F0 in Hz [B,2F] and energy [B,2F].

        With `lengths` [B] (in frames F) a padded batch gives what each item gives alone.
        """
        mask: Tensor | None = None
        if lengths is not None and ragged(lengths, x.shape[2]):
            mask = length_mask(lengths, x.shape[2], x.device)[:, None].float()
        shared = run_lstm(self.shared, x.transpose(1, 2), lengths).transpose(1, 2)
        curves = []
        for blocks, head in ((self.F0, self.F0_proj), (self.N, self.N_proj)):
            y, wide = shared, mask
            for block in blocks:
                y = block(y, style, wide)
                if wide is not None and y.shape[2] != wide.shape[2]:
                    wide = wide.repeat_interleave(2, dim=2)
            curves.append(head(y).squeeze(1))
        return curves[0], curves[1]
