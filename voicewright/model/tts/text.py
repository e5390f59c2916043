"""The acoustic text encoder: what is said, without prosody."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from voicewright.model.layers import ChannelNorm, length_mask, ragged, run_lstm


class TextEncoder(nn.Module):
    """Embedding, convolutions, BiLSTM: tokens int64 [B,T] -> [B,channels,T]; dropout 0.2 in training."""

    def __init__(self, channels: int, kernel: int, depth: int, tokens: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(tokens, channels)
        self.cnn = nn.ModuleList(
            nn.Sequential(
                weight_norm(nn.Conv1d(channels, channels, kernel, padding=(kernel - 1) // 2)),
                ChannelNorm(channels),
                nn.LeakyReLU(0.2),
                nn.Dropout(0.2),
            )
            for _ in range(depth)
        )
        self.lstm = nn.LSTM(channels, channels // 2, batch_first=True, bidirectional=True)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Positions at or past `lengths` [B] come out as 0 and influence nothing."""
        x = self.embedding(tokens).transpose(1, 2)
        if lengths is None or not ragged(lengths, tokens.shape[1]):
            for block in self.cnn:
                x = block(x)
            return run_lstm(self.lstm, x.transpose(1, 2)).transpose(1, 2)
        keep = length_mask(lengths, tokens.shape[1], tokens.device)[:, None]
        x = x * keep
        for block in self.cnn:
            x = block(x) * keep
        return run_lstm(self.lstm, x.transpose(1, 2), lengths).transpose(1, 2)
