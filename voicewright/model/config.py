"""Model configuration: Kokoro's own `config.json` schema, plus one block for what upstream hard-codes.

Source of the schema: hexgrad/kokoro `config.json` (v1.0). The `voicewright` block is ours; when it is absent,
every value is Kokoro's, so that a plain Kokoro file describes exactly the 82 M graph.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Literal

from pydantic import ValidationError, model_validator

from voicewright.errors import VoicewrightError
from voicewright.records import Strict
from voicewright.units import HOP, STYLE


class IstftNet(Strict):
    upsample_rates: tuple[int, ...] = (10, 6)
    upsample_kernel_sizes: tuple[int, ...] = (20, 12)
    gen_istft_n_fft: int = 20
    gen_istft_hop_size: int = 5
    resblock_kernel_sizes: tuple[int, ...] = (3, 7, 11)
    resblock_dilation_sizes: tuple[tuple[int, ...], ...] = ((1, 3, 5), (1, 3, 5), (1, 3, 5))
    upsample_initial_channel: int = 512

    @model_validator(mode="after")
    def _check(self) -> IstftNet:
        product = math.prod(self.upsample_rates) * self.gen_istft_hop_size
        if not self.upsample_rates or product != HOP:
            raise ValueError(
                f"upsample_rates {list(self.upsample_rates)} times hop {self.gen_istft_hop_size} "
                f"is {product}, but features come every {HOP} samples; make the product {HOP}"
            )
        if len(self.upsample_kernel_sizes) != len(self.upsample_rates):
            raise ValueError("upsample_kernel_sizes needs one kernel for each of upsample_rates")
        if any(k < r for k, r in zip(self.upsample_kernel_sizes, self.upsample_rates, strict=True)):
            raise ValueError("each of upsample_kernel_sizes must be at least its rate")
        if len(self.resblock_kernel_sizes) != len(self.resblock_dilation_sizes):
            raise ValueError("resblock_dilation_sizes needs one list for each of resblock_kernel_sizes")
        if any(kernel % 2 == 0 for kernel in self.resblock_kernel_sizes):
            raise ValueError("resblock_kernel_sizes must be odd")
        if self.gen_istft_n_fft % 2 or self.gen_istft_n_fft < 2 * self.gen_istft_hop_size:
            raise ValueError("gen_istft_n_fft must be even and at least twice gen_istft_hop_size")
        if self.upsample_initial_channel % 2 ** len(self.upsample_rates):
            raise ValueError("upsample_initial_channel must halve evenly at every stage")
        return self


class PlBert(Strict):
    hidden_size: int = 768
    num_attention_heads: int = 12
    intermediate_size: int = 2048
    max_position_embeddings: int = 512
    num_hidden_layers: int = 12
    dropout: float = 0.1
    """Kept because the published file has it; ALBERT has no such key, real dropouts are 0."""


class StyleEncoder(Strict):
    """Widths of the two style encoders (acoustic, prosodic); StyleTTS 2 uses 64 and 512."""

    channels: int = 64
    max_channels: int = 512


class Extension(Strict):
    """What upstream hard-codes. The defaults are Kokoro's values."""

    decoder: Literal["istftnet", "hifigan"] = "istftnet"
    """`hifigan`: StyleTTS 2's LibriTTS decoder. It reads rates, kernels and channels from the `istftnet`
    block; its rates alone make a hop, so `gen_istft_hop_size` is 1 there."""
    decoder_channels: int = 1024
    """Width of decoder.encode and decoder.decode.0-2."""
    decoder_residual: int = 64
    """Width of decoder.asr_res."""
    bert_embedding: int = 128
    """ALBERT's factorised embedding width."""
    harmonics: int = 8
    """Overtones above F0 in the sine source."""
    excitation: Literal["sines", "pulse"] = "sines"
    """`pulse`: one band-limited pulse train (harmonics up to 11 kHz) instead of a learned mix of sines."""
    voiced_noise: float = 0.003
    """Level of the noise beside a voiced excitation of level 0.1."""
    source_stft: Literal["polar", "cartesian"] = "polar"
    """How the source's STFT enters the generator: magnitude and phase, or real and imaginary parts."""
    phase_scale: float = 1.0
    """Output phase is `phase_scale * sin(x)`; Kokoro 1, pi reaches the whole circle."""
    source_gain: bool = False
    """Add the source's own spectrum, weighted by a learned gain for each bin, to the output's: harmonics
    then come in phase from the excitation (as in source-filter vocoders) instead of being drawn anew.
    Needs `source_stft: cartesian`."""
    source_phase_from: float | None = None
    """Hz from which the phase of voiced frames is the excitation's, not the network's, which only shapes
    magnitudes there: harmonics are then as regular as the excitation. Needs `source_stft: cartesian`."""
    pitch_edges: bool = False
    """Predicted F0 is a mean of voiced and unvoiced cases, so it ramps through pitches that nobody speaks at
    where voicing begins and ends. On: such frames take the pitch of voiced frames beside them, or none."""
    noise_kernel: int = 11
    """Kernel of the last stage's noise_res block."""
    style_encoder: StyleEncoder | None = None


class ModelConfig(Strict):
    """One graph: Kokoro's 82 M and a voice of a few million parameters differ only here."""

    istftnet: IstftNet = IstftNet()
    dim_in: int = 64
    dropout: float = 0.2
    hidden_dim: int = 512
    max_conv_dim: int = 512
    max_dur: int = 50
    multispeaker: bool = True
    n_layer: int = 3
    n_mels: int = 80
    n_token: int = 178
    style_dim: int = STYLE
    text_encoder_kernel_size: int = 5
    plbert: PlBert = PlBert()
    vocab: dict[str, int]
    voicewright: Extension = Extension()

    @model_validator(mode="after")
    def _check(self) -> ModelConfig:
        if self.plbert.hidden_size % self.plbert.num_attention_heads:
            raise ValueError("plbert.hidden_size must be a multiple of plbert.num_attention_heads")
        if self.hidden_dim % 2:
            raise ValueError("hidden_dim must be even, as each LSTM direction has half of it")
        if self.voicewright.noise_kernel % 2 == 0:
            raise ValueError("voicewright.noise_kernel must be odd")
        self._check_decoder()
        if self.voicewright.source_stft != "cartesian":
            for name in ("source_gain", "source_phase_from"):
                if getattr(self.voicewright, name) not in (False, None):
                    raise ValueError(f"voicewright.{name} needs voicewright.source_stft: cartesian")
        return self

    def _check_decoder(self) -> None:
        """What one decoder can build and the other cannot."""
        net, extension = self.istftnet, self.voicewright
        if extension.decoder == "istftnet":
            for kernel, rate in zip(net.upsample_kernel_sizes, net.upsample_rates, strict=True):
                if (kernel - rate) % 2:
                    raise ValueError(
                        f"istftnet: kernel {kernel} does not fit rate {rate}; add an even number to the rate"
                    )
            return
        if net.gen_istft_hop_size != 1:
            raise ValueError("istftnet.gen_istft_hop_size must be 1 with voicewright.decoder: hifigan")
        if extension.excitation != "sines" or extension.source_stft != "polar" or extension.source_gain:
            raise ValueError(
                "voicewright.decoder: hifigan has no switches for its source; leave out excitation, "
                "source_stft and source_gain"
            )

    @classmethod
    def read(cls, path: Path) -> ModelConfig:
        """Read `config.json`. Raises VoicewrightError that names the file and the offending key."""
        try:
            return cls.model_validate(json.loads(path.read_text("utf-8")))
        except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
            raise VoicewrightError(f"{path} cannot be read as a model configuration: {error}.") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "model"
            raise VoicewrightError(
                f"{path}: {where}: {first['msg']}. Use Kokoro's config.json schema."
            ) from error

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(self.model_dump(), ensure_ascii=False, indent=1) + "\n", "utf-8")
