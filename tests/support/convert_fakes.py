"""A content encoder and a synthesiser without weights, whose output tells what they were given."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

RATE = 16_000


class FakeContent(nn.Module):
    """Levels and differences of 400 samples every 320, projected at random: [B, n] → [B, frames, width]."""

    def __init__(self, width: int = 768) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.width = width
        self.projection = nn.Linear(20, width)
        with torch.no_grad():
            for value in self.projection.parameters():
                value.copy_(torch.randn(value.shape, generator=generator))
        self.calls = 0

    def encode(self, samples: Tensor, version: str) -> Tensor:
        self.calls += 1
        frames = samples.unfold(1, 400, 320)
        return torch.as_tensor(self.projection(frames.unflatten(2, (20, 20)).mean(3)))


class FakeSynthesizer(nn.Module):
    """A sine of F0, louder or softer by the features and the speaker, and a little noise; phase adds up as
    RVC's."""

    def __init__(self, rate: int = 40_000, noise: float = 0.001) -> None:
        super().__init__()
        self.rate, self.hop, self.noise = rate, rate // 100, noise
        self.inner = nn.Identity()
        self.calls: list[int] = []

    def infer(
        self,
        phone: Tensor,
        lengths: Tensor,
        pitch: Tensor | None,
        f0: Tensor | None,
        speaker: Tensor,
        *,
        generator: torch.Generator | None = None,
        skip_head: int | None = None,
        return_length: int | None = None,
        decode_length: int | None = None,
    ) -> Tensor:
        assert lengths.tolist() == [phone.shape[1]]
        self.calls.append(phone.shape[1])
        level = torch.sigmoid(self.inner(phone).mean(2) * 0.5 + 0.1 * speaker[:, None])
        level = 0.05 + 0.3 * level
        noise = torch.randn(1, phone.shape[1] * self.hop, generator=generator) * self.noise
        if f0 is None or pitch is None:
            wave = torch.ones(1, phone.shape[1] * self.hop)
        else:
            assert f0.shape == pitch.shape == phone.shape[:2]
            step = f0.double() / self.rate
            turns = (
                step[:, :, None] * torch.arange(1, self.hop + 1)
                + torch.cumsum(F.pad(step * self.hop, (1, -1)), 1)[:, :, None]
            )
            wave = torch.sin(2 * torch.pi * turns.flatten(1)).float() * (1 + pitch.float().mean() / 1000)
            wave = wave * (f0 > 0).float().repeat_interleave(self.hop, 1)
        out = wave * level.repeat_interleave(self.hop, 1) + noise
        if decode_length is not None and decode_length != phone.shape[1]:
            out = F.interpolate(out[:, None], size=decode_length * self.hop, mode="linear")[:, 0]
        return out


def fake_voice(
    rate: int = 40_000, version: str = "v2", f0: bool = True, info: dict[str, object] | None = None
) -> SimpleNamespace:
    config = SimpleNamespace(
        sample_rate=rate,
        hop=rate // 100,
        version=version,
        f0=f0,
        speakers=3,
        phone_width=256 if version == "v1" else 768,
    )
    return SimpleNamespace(config=config, synthesizer=FakeSynthesizer(rate), info=info or {})


def spoken(seconds: float, rate: int = RATE, pitch: float = 140.0, seed: int = 0) -> np.ndarray:
    """Something like speech: a gliding voice that comes and goes, breath, pauses. float32 [n]."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    f0 = pitch * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * time))
    phase = 2 * np.pi * np.cumsum(f0) / rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 12) if k * pitch * 1.2 < rate / 2)
    syllables = np.clip(np.sin(2 * np.pi * 2.1 * time) + 0.4, 0, 1)
    phrases = (np.sin(2 * np.pi * time / 3.7) > -0.75).astype(float)
    wave = 0.2 * voice * syllables * phrases + 0.003 * random.standard_normal(len(time))
    return wave.astype(np.float32)
