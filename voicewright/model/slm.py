"""A large speech model as a critic of sound (StyleTTS 2's SLM): WavLM and HuBERT-base, with gradients.

The graph has transformers' names, so that its files fit (Chen et al. 2022; Hsu et al. 2021). It is frozen.
What it hears of a recording and of what was made is compared layer by layer, and a small head on all of its
layers learns to tell them apart (Li et al. 2023).
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from voicewright.catalogue.places import CONFIG
from voicewright.errors import VoicewrightError
from voicewright.model.layouts import compare
from voicewright.model.reading import read_content
from voicewright.units import SAMPLE_RATE

RATE = 16_000
FILES = ("model.safetensors", "pytorch_model.bin")
_FIXED = ("feat_extract_norm", "do_stable_layer_norm", "conv_bias", "hidden_act", "feat_extract_activation")
_TAPS = 48
"""Of the resampler's kernel, samples at 24 kHz."""


class SlmConfig(BaseModel):
    """Shape of a WavLM or HuBERT of the base kind, by transformers' names; the defaults are base's."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    model_type: str = "wavlm"
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    conv_dim: tuple[int, ...] = (512,) * 7
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    num_buckets: int = 320
    max_bucket_distance: int = 800
    layer_norm_eps: float = 1e-5
    feat_extract_norm: str = "group"
    do_stable_layer_norm: bool = False
    conv_bias: bool = False
    hidden_act: str = "gelu"
    feat_extract_activation: str = "gelu"


class _Attention(nn.Module):
    """Attention; WavLM's scores are moved by how far apart frames lie, as far as each query's gate lets."""

    def __init__(self, config: SlmConfig, first: bool) -> None:
        super().__init__()
        width, self.heads, self.config = config.hidden_size, config.num_attention_heads, config
        self.q_proj, self.k_proj, self.v_proj, self.out_proj = (nn.Linear(width, width) for _ in range(4))
        self.gated = config.model_type == "wavlm"
        if self.gated:
            self.gru_rel_pos_const = nn.Parameter(torch.ones(1, self.heads, 1, 1))
            self.gru_rel_pos_linear = nn.Linear(width // self.heads, 8)
            if first:
                self.rel_attn_embed = nn.Embedding(config.num_buckets, self.heads)

    def apart(self, frames: int) -> Tensor:
        """What the distances of so many frames say, [H, F, F]: of all layers, as the first has learnt it."""
        config, device = self.config, self.rel_attn_embed.weight.device
        steps = torch.arange(frames, device=device)
        offset = steps[None] - steps[:, None]
        half = config.num_buckets // 2
        exact, far = half // 2, offset.abs().clamp_min(1).float()
        coarse = exact + (far / exact).log() / math.log(config.max_bucket_distance / exact) * (half - exact)
        bucket = torch.where(offset.abs() < exact, offset.abs(), coarse.long().clamp_max(half - 1))
        found: Tensor = self.rel_attn_embed(bucket + half * (offset > 0))
        return found.permute(2, 0, 1)

    def forward(self, x: Tensor, apart: Tensor | None) -> Tensor:
        """x [B, F, C] → the same shape."""
        heads = x.unflatten(2, (self.heads, -1)).transpose(1, 2)
        bias = None
        if apart is not None:
            gates = self.gru_rel_pos_linear(heads).unflatten(3, (2, 4)).sum(4).sigmoid()
            by_query, by_head = gates.chunk(2, 3)
            bias = (by_query * (by_head * self.gru_rel_pos_const - 1) + 2) * apart
        q, k, v = (
            part(x).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        seen = F.scaled_dot_product_attention(q, k, v, attn_mask=None if bias is None else bias.to(q.dtype))
        out: Tensor = self.out_proj(seen.transpose(1, 2).flatten(2))
        return out


class _Layer(nn.Module):
    def __init__(self, config: SlmConfig, first: bool) -> None:
        super().__init__()
        width, wide, eps = config.hidden_size, config.intermediate_size, config.layer_norm_eps
        self.attention = _Attention(config, first)
        self.layer_norm = nn.LayerNorm(width, eps)
        self.feed_forward = nn.ModuleDict(
            {"intermediate_dense": nn.Linear(width, wide), "output_dense": nn.Linear(wide, width)}
        )
        self.final_layer_norm = nn.LayerNorm(width, eps)

    def forward(self, x: Tensor, apart: Tensor | None) -> Tensor:
        x = self.layer_norm(x + self.attention(x, apart))
        inner = F.gelu(self.feed_forward["intermediate_dense"](x))
        out: Tensor = self.final_layer_norm(x + self.feed_forward["output_dense"](inner))
        return out


class SpeechModel(nn.Module):
    """Samples [B, N] at 16 kHz → what each layer hears, 1 + layers of [B, F, C], a frame every 20 ms."""

    def __init__(self, config: SlmConfig) -> None:
        super().__init__()
        width, self.config = config.hidden_size, config
        layers = []
        for i, (a, b) in enumerate(zip((1, *config.conv_dim), config.conv_dim, strict=False)):
            conv = nn.Conv1d(a, b, config.conv_kernel[i], config.conv_stride[i], bias=False)
            parts: dict[str, nn.Module] = {"conv": conv}
            if i == 0:
                parts["layer_norm"] = nn.GroupNorm(b, b)
            layers.append(nn.ModuleDict(parts))
        self.feature_extractor = nn.ModuleDict({"conv_layers": nn.ModuleList(layers)})
        last, eps, kernel = config.conv_dim[-1], config.layer_norm_eps, config.num_conv_pos_embeddings
        self.feature_projection = nn.ModuleDict(
            {"layer_norm": nn.LayerNorm(last, eps), "projection": nn.Linear(last, width)}
        )
        position = nn.Conv1d(
            width, width, kernel, padding=kernel // 2, groups=config.num_conv_pos_embedding_groups
        )
        self.encoder = nn.ModuleDict(
            {
                "pos_conv_embed": nn.ModuleDict({"conv": weight_norm(position, dim=2)}),
                "layer_norm": nn.LayerNorm(width, eps),
                "layers": nn.ModuleList(_Layer(config, not i) for i in range(config.num_hidden_layers)),
            }
        )

    def forward(self, sound: Tensor) -> list[Tensor]:
        x = sound[:, None]
        convolutions = self.feature_extractor["conv_layers"]
        assert isinstance(convolutions, nn.ModuleList)
        for layer in convolutions:
            assert isinstance(layer, nn.ModuleDict)
            x = layer["conv"](x)
            x = F.gelu(layer["layer_norm"](x) if "layer_norm" in layer else x)
        x = self.feature_projection["projection"](self.feature_projection["layer_norm"](x.transpose(1, 2)))
        position = self.encoder["pos_conv_embed"]
        assert isinstance(position, nn.ModuleDict)
        around = position["conv"](x.transpose(1, 2))[..., : x.shape[1]]
        heard = [self.encoder["layer_norm"](x + F.gelu(around).transpose(1, 2))]
        blocks = self.encoder["layers"]
        assert isinstance(blocks, nn.ModuleList)
        apart = None
        if self.config.model_type == "wavlm":
            apart = blocks[0].attention.apart(x.shape[1])  # type: ignore[union-attr, operator]
        for block in blocks:
            heard.append(block(heard[-1], apart))
        return heard


def load_slm(folder: Path) -> SpeechModel:
    """A frozen WavLM or HuBERT of the base kind from a folder of transformers' (config.json beside
    model.safetensors or pytorch_model.bin). Raises VoicewrightError for others, damaged or incomplete.
    """
    weights = next((folder / name for name in FILES if (folder / name).is_file()), None)
    if weights is None or not (folder / CONFIG).is_file():
        raise VoicewrightError(
            f"{folder} holds no speech model: give a folder with config.json and one of {', '.join(FILES)} "
            "of WavLM or HuBERT (microsoft/wavlm-base-plus is StyleTTS 2's)."
        )
    try:
        config = SlmConfig.model_validate(json.loads((folder / CONFIG).read_text("utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        raise VoicewrightError(f"{folder / CONFIG} cannot be read as a speech model's: {error}.") from error
    plain = SlmConfig()
    for name in _FIXED:
        if (said := getattr(config, name)) != getattr(plain, name):
            raise VoicewrightError(
                f"{folder} is of another kind ({name}: {said}); give the base of WavLM or HuBERT."
            )
    if config.model_type not in ("wavlm", "hubert"):
        raise VoicewrightError(f"{folder} is a {config.model_type}; give WavLM or HuBERT.")
    net = SpeechModel(config)
    wanted = net.state_dict()
    found = read_content(weights)
    state = {}
    for key, value in found.items() if isinstance(found, dict) else ():
        name = str(key).removeprefix("wavlm.").removeprefix("hubert.")
        name = name.replace("conv.weight_g", "conv.parametrizations.weight.original0")
        name = name.replace("conv.weight_v", "conv.parametrizations.weight.original1")
        if name != "masked_spec_embed" and isinstance(value, Tensor):
            state[name] = value.float()
    compare(state, wanted, weights)
    net.load_state_dict(state)
    return net.eval().requires_grad_(False)


def to_16k(sound: Tensor) -> Tensor:
    """[B, N] at 24 kHz → [B, 2 N / 3] at 16 kHz, by a windowed sinc; with gradients."""
    steps = torch.arange(-_TAPS, _TAPS + 1, device=sound.device, dtype=torch.float32)
    ratio, phases = RATE / SAMPLE_RATE, []
    for phase in (0.0, 0.5):  # outputs lie at every third sample, and one and a half later
        at = steps - 3 * phase
        window = torch.cos(math.pi / 2 * (at / (_TAPS + 2)).clamp(-1, 1)).square()
        phases.append(0.95 * ratio * torch.sinc(0.95 * ratio * at) * window)
    kernel = torch.stack(phases)[:, None]
    made = F.conv1d(sound.float()[:, None], kernel, stride=3, padding=_TAPS)
    return made.transpose(1, 2).flatten(1)[:, : sound.shape[1] * 2 // 3]


class SlmDiscriminator(nn.Module):
    """A head on all layers of a frozen speech model; its feature maps are those layers.

    The model itself is no part of the discriminator's state: a checkpoint would carry it each time.
    """

    def __init__(self, slm: SpeechModel, channels: int = 64) -> None:
        super().__init__()
        self._slm = (slm,)
        width = slm.config.hidden_size * (slm.config.num_hidden_layers + 1)
        self.pre = weight_norm(nn.Conv1d(width, channels, 1))
        sizes = ((channels, 2 * channels), (2 * channels, 4 * channels), (4 * channels, 4 * channels))
        self.convs = nn.ModuleList(weight_norm(nn.Conv1d(a, b, 5, padding=2)) for a, b in sizes)
        self.post = weight_norm(nn.Conv1d(4 * channels, 1, 3, padding=1))

    def forward(self, audio: Tensor) -> tuple[Tensor, list[Tensor]]:
        """audio [B, N] at 24 kHz → score [B, 1, frames], what the layers hear."""
        (slm,) = self._slm
        if next(slm.parameters()).device != audio.device:
            slm.to(audio.device)
        heard = slm(to_16k(audio))
        x = self.pre(torch.cat(heard, 2).transpose(1, 2))
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.1)
        return self.post(x), heard
