"""RVC's synthesizer: content features, pitch and a speaker become samples.

Facts (shapes, key names, order of random numbers) follow the RVC WebUI; all its versions, sample rates and
models without F0 are one class here, which a SynthesizerConfig shapes.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
from torch import Tensor, nn

from voicewright.model.tts.source import random_like
from voicewright.rvc.network.config import SynthesizerConfig
from voicewright.rvc.network.decoder import Decoder
from voicewright.rvc.network.encoder import TextEncoder
from voicewright.rvc.network.flow import Flow, PosteriorEncoder

NOISE = 0.66666
"""Part of the prior's deviation that inference draws with."""
FLOW_CONTEXT = 24
"""Frames before the returned ones that the flow sees, when the head is skipped."""

Trained: TypeAlias = tuple[
    Tensor, Tensor, Tensor, Tensor, tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]
]
"""Samples [B,1,hop·segment], first frames [B], masks [B,1,T] of content and of spectrum, and
(z, z_p, m_p, logs_p, m_q, logs_q), each [B,inter,T]."""


class Synthesizer(nn.Module):
    """`enc_p`, `flow`, `dec`, `emb_g`, and `enc_q` unless `posterior` is False (voices for use have none)."""

    def __init__(self, config: SynthesizerConfig, posterior: bool = True) -> None:
        super().__init__()
        config.check()
        self.config = config
        self.enc_p = TextEncoder(config)
        self.dec = Decoder(config)
        if posterior:
            self.enc_q = PosteriorEncoder(config)
        self.flow = Flow(config)
        self.emb_g = nn.Embedding(config.speakers, config.gin)

    @torch.inference_mode()
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
        """Speak: phone [B,T,256|768], lengths [B], pitch [B,T] long (1 … 255), f0 [B,T] in Hz (0 unvoiced),
        speaker [B] long → samples [B, hop·T], fp32. A frame has 10 ms.

        Models without F0 ignore `pitch` and `f0`. skip_head and return_length: only those frames come back,
        the ones before are context. decode_length: the latent is stretched to so many frames before it is
        decoded (formant shift; upstream's return_length2). Without a generator torch's own state is drawn
        from; the order of draws is upstream's, so equal seeds give equal samples.
        """
        g = self.emb_g(speaker)[:, :, None]
        z = latent(self.enc_p, self.flow, phone, lengths, pitch, g, generator, skip_head, return_length)
        if f0 is not None:
            f0 = returned(f0, skip_head or 0, return_length)
        return self.dec(z, f0, g, decode_length, generator)[:, 0]

    def forward(
        self,
        phone: Tensor,
        lengths: Tensor,
        pitch: Tensor | None,
        f0: Tensor | None,
        spectrum: Tensor,
        spectrum_lengths: Tensor,
        speaker: Tensor,
        *,
        generator: torch.Generator | None = None,
    ) -> Trained:
        """The training pass: as `infer`, with the linear spectrum [B,bins,T] of the wanted samples and its
        lengths [B], of which a random segment of `config.segment_frames` is decoded."""
        segment = self.config.segment_frames
        g = self.emb_g(speaker)[:, :, None]
        m_p, logs_p, mask = self.enc_p(phone, pitch, lengths)
        z, m_q, logs_q, spectrum_mask = self.enc_q(spectrum, spectrum_lengths, g, generator)
        z_p = self.flow(z, spectrum_mask, g)
        places = spectrum_lengths.to(z.device) - segment + 1
        drawn = random_like(torch.Size([len(z)]), z.device, generator, normal=False)
        first = (drawn * places).long().clamp(min=0)
        frames = first[:, None] + torch.arange(segment, device=z.device)
        part = z.gather(2, frames[:, None].expand(-1, z.shape[1], -1))
        audio = self.dec(part, None if f0 is None else f0.gather(1, frames), g, generator=generator)
        return audio, first, mask, spectrum_mask, (z, z_p, m_p, logs_p, m_q, logs_q)


def latent(
    enc_p: nn.Module,
    flow: nn.Module,
    phone: Tensor,
    lengths: Tensor,
    pitch: Tensor | None,
    g: Tensor,
    generator: torch.Generator | None = None,
    skip_head: int | None = None,
    return_length: int | None = None,
) -> Tensor:
    """What the decoder reads, [B,inter,T], drawn from the prior; arguments as `infer`, g [B,gin,1]."""
    head = skip_head or 0
    early = max(head - FLOW_CONTEXT, 0)
    mean, logs, mask = enc_p(phone, pitch, lengths, early)
    noise = random_like(mean.shape, mean.device, generator, normal=True).to(mean.dtype)
    z: Tensor = flow((mean + torch.exp(logs) * noise * NOISE) * mask, mask, g, reverse=True)
    return returned(z * mask, head - early, return_length)


def returned(x: Tensor, head: int, length: int | None) -> Tensor:
    """The last axis from `head` on, `length` steps of it where given."""
    return x[..., head : None if length is None else head + length]
