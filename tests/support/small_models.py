"""The smallest graphs that still have every branch."""

from __future__ import annotations

import math
from typing import Any

from voicewright.model.config import Extension, IstftNet, ModelConfig, PlBert, StyleEncoder

ISTFT = {
    "upsample_rates": (10,),
    "upsample_kernel_sizes": (20,),
    "gen_istft_n_fft": 120,
    "gen_istft_hop_size": 30,
    "resblock_kernel_sizes": (3, 7),
    "resblock_dilation_sizes": ((1, 3), (1, 3)),
    "upsample_initial_channel": 32,
}
EXTENSION = {
    "decoder_channels": 24,
    "decoder_residual": 8,
    "bert_embedding": 8,
    "noise_kernel": 3,
    "excitation": "pulse",
    "source_stft": "cartesian",
    "phase_scale": math.pi,
    "style_encoder": StyleEncoder(channels=4, max_channels=16),
}


def small(istft: dict[str, Any] | None = None, **extension: Any) -> ModelConfig:
    """A graph of some ten thousand weights: one upsampling, pulse source; the arguments override."""
    return ModelConfig(
        vocab={},
        hidden_dim=16,
        n_layer=2,
        plbert=PlBert(hidden_size=16, num_attention_heads=2, intermediate_size=32, num_hidden_layers=2),
        istftnet=IstftNet(**(ISTFT if istft is None else istft)),
        voicewright=Extension(**{**EXTENSION, **extension}),
    )


def kokoro_like() -> ModelConfig:
    """A small graph of Kokoro's kind: two upsamplings, sines, magnitude and phase."""
    return ModelConfig(
        vocab={},
        hidden_dim=16,
        n_layer=2,
        plbert=PlBert(hidden_size=16, num_attention_heads=2, intermediate_size=32, num_hidden_layers=2),
        istftnet=IstftNet(upsample_initial_channel=32),
        voicewright=Extension(decoder_channels=24, decoder_residual=8, bert_embedding=8),
    )


def hifigan_like() -> ModelConfig:
    """A small graph with StyleTTS 2's HiFi-GAN decoder and style encoders."""
    net = IstftNet(
        upsample_rates=(10, 5, 3, 2),
        upsample_kernel_sizes=(20, 10, 6, 4),
        gen_istft_hop_size=1,
        upsample_initial_channel=16,
    )
    extension = Extension(
        decoder="hifigan",
        decoder_channels=24,
        decoder_residual=8,
        bert_embedding=8,
        style_encoder=StyleEncoder(channels=4, max_channels=16),
    )
    return kokoro_like().model_copy(update={"istftnet": net, "voicewright": extension})


def bare_like(hifigan: bool = False) -> ModelConfig:
    """Narrow but for PL-BERT, which has its published size: what a file without configuration is known by."""
    config = hifigan_like() if hifigan else kokoro_like()
    extension = config.voicewright.model_copy(update={"bert_embedding": 128})
    return config.model_copy(update={"plbert": PlBert(), "voicewright": extension})
