"""What is said, without who says it: HuBERT-base and its like, as voice conversion reads them.

Written from the published architecture (Hsu et al. 2021; ContentVec: Qian et al. 2022) for inference alone:
activations are rows of channels, strided convolutions are matrix products over them, the group norm of the
first layer is folded into that layer's weights anew for each recording, projections of queries, keys and
values are one product, and no layer runs whose output is not asked for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.errors import VoicewrightError
from voicewright.model.precision import project
from voicewright.model.reading import shown

RATE = 16_000
BLOCK = 64
"""Frames that the convolutions make at a time."""
LAYERS = {"v1": 9, "v2": 12}
"""RVC's version → the layer whose output it reads."""


@dataclass(frozen=True)
class ContentConfig:
    """The shape of a HuBERT; defaults are HuBERT-base's. Field names as in transformers' configuration."""

    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    intermediate_size: int = 3072
    conv_dim: tuple[int, ...] = (512,) * 7
    conv_kernel: tuple[int, ...] = (10, 3, 3, 3, 3, 2, 2)
    conv_stride: tuple[int, ...] = (5, 2, 2, 2, 2, 2, 2)
    num_conv_pos_embeddings: int = 128
    num_conv_pos_embedding_groups: int = 16
    layer_norm_eps: float = 1e-5
    projection: int | None = 256
    """Width of `final_proj`; None without one."""

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return math.prod(self.conv_stride)

    @property
    def field(self) -> int:
        """Samples that one frame is made of."""
        field = 1
        for kernel, stride in zip(reversed(self.conv_kernel), reversed(self.conv_stride), strict=True):
            field = (field - 1) * stride + kernel
        return field

    def frames(self, samples: int) -> int:
        """How many frames so many samples give: (samples - 400) // 320 + 1 for HuBERT-base."""
        return max(0, (samples - self.field) // self.hop + 1)


class ContentEncoder(nn.Module):
    """A HuBERT that answers with the features of one layer.

    Attention looks at everything at once: memory grows with the length and time with its square, so
    give at most some 40 s at a time, as the pipeline's chunks do; beyond `MOST_SECONDS` it refuses.
    """

    MOST_SECONDS = 180

    def __init__(
        self, config: ContentConfig, weights: Mapping[str, Tensor], precision: torch.dtype = torch.float32
    ) -> None:
        """`weights` by transformers' names, weight norm folded; see `expected_shapes`.

        `precision` is that of products; first layer, norms and the sum of layers stay in fp32. Raises
        VoicewrightError, with the names, for missing, unknown or misshapen weights.
        """
        super().__init__()
        check_weights(config, weights)
        self.config = config
        own = {name: value.detach().to("cpu", torch.float32) for name, value in weights.items()}
        self.convolutions = nn.ModuleList(
            _RowConvolution(own[f"{_CONV.format(i)}.conv.weight"], stride)
            for i, stride in enumerate(config.conv_stride)
        )
        first = _CONV.format(0)
        self.register_buffer("gain", own[f"{first}.layer_norm.weight"].clone())
        self.register_buffer("shift", own[f"{first}.layer_norm.bias"].clone())
        self.input_norm = _norm(own, "feature_projection.layer_norm", config.layer_norm_eps)
        self.input = _linear(own, "feature_projection.projection")
        self.position = _PositionalConvolution(
            own[f"{_POS}.weight"], own[f"{_POS}.bias"], config.num_conv_pos_embedding_groups
        )
        self.norm = _norm(own, "encoder.layer_norm", config.layer_norm_eps)
        self.layers = nn.ModuleList(_Layer(own, i, config) for i in range(config.num_hidden_layers))
        self.final_proj = _linear(own, "final_proj") if config.projection else None
        for module in self.modules():
            if module is not self.convolutions[0] and isinstance(
                module, nn.Linear | _RowConvolution | _PositionalConvolution
            ):
                # torch 2.13 multiplies odd groups wrongly in bf16 on processors with AMX.
                odd = isinstance(module, _PositionalConvolution) and module.weight.shape[1] % 16
                module.to(torch.float32 if odd else precision)
        self.eval().requires_grad_(False)

    gain: Tensor
    shift: Tensor

    @torch.inference_mode()
    def encode(self, samples: Tensor, version: str = "v2") -> Tensor:
        """[B, n] samples at 16 kHz → [B, frames, 768] of the last layer (v2), or [B, frames, 256] (v1).

        v1 is the ninth layer through `final_proj`. A frame every 20 ms, each made of 25: (n - 400) // 320 + 1
        frames, none for fewer than 400 samples. The waveform is taken as it is, not normalised. Raises
        VoicewrightError for an unknown version, v1 without `final_proj`, and more than MOST_SECONDS.
        """
        if version not in LAYERS:
            raise VoicewrightError(f"there is no RVC version {version!r}; it is v1 or v2.")
        if version == "v2":
            return self.hidden(samples)
        if self.final_proj is None:
            raise VoicewrightError(
                "this content model has no final_proj, which voices of RVC v1 need; give them ContentVec."
            )
        return project(self.final_proj, self.hidden(samples, min(LAYERS["v1"], len(self.layers)))).float()

    @torch.inference_mode()
    def hidden(self, samples: Tensor, layer: int | None = None) -> Tensor:
        """[B, n] samples → [B, frames, width] after `layer` layers (all where not said; 0: before them)."""
        if samples.dim() != 2:
            raise VoicewrightError(f"content is read from samples [B, n], not from {list(samples.shape)}.")
        if samples.shape[1] > self.MOST_SECONDS * RATE:
            raise VoicewrightError(
                f"{samples.shape[1] / RATE:.0f} s are too long for one look at their content; "
                f"give at most {self.MOST_SECONDS} s at a time."
            )
        count = len(self.layers) if layer is None else layer
        if not 0 <= count <= len(self.layers):
            raise VoicewrightError(f"there is no layer {count}; this content model has {len(self.layers)}.")
        frames = self.config.frames(samples.shape[1])
        if not frames or not len(samples):
            return samples.new_zeros(len(samples), frames, self.config.hidden_size, dtype=torch.float32)
        x = torch.stack([self._features(one) for one in samples.to(self.gain)])
        x = project(self.input, self.input_norm(x)).float()
        x = self.norm(x + self.position(x))
        for index in range(count):
            x = self.layers[index](x)
        return x

    def _features(self, wave: Tensor) -> Tensor:
        """Samples [n] → rows [frames, 512], some frames at a time so that they stay in the cache."""
        config = self.config
        first, *others = self.convolutions
        bias, weight = self._normalised(wave, first.get_buffer("weight"))
        frames = config.frames(len(wave))
        blocks = []
        for start in range(0, frames, BLOCK):
            end = min(frames, start + BLOCK)
            part = wave[start * config.hop : (end - 1) * config.hop + config.field]
            rows = torch.addmm(bias, part.unfold(0, config.conv_kernel[0], config.conv_stride[0]), weight)
            rows = F.gelu(rows).to(self.input.weight.dtype)
            for convolution in others:
                rows = F.gelu(convolution(rows))
            blocks.append(rows)
        return torch.cat(blocks).float()

    def _normalised(self, wave: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Bias and weights of the first layer with its group norm over the whole recording folded in.

        Each channel of w · window has mean w · m and variance wᵀ C w over time, with the windows' mean m and
        covariance C: statistics of the windows' few samples say all about hundreds of channels.
        """
        double = wave.double().unfold(0, self.config.conv_kernel[0], self.config.conv_stride[0])
        mean = double.mean(0)
        covariance = double.T @ double / len(double) - mean[:, None] * mean[None, :]
        wide = weight.double()
        variance = (wide * (covariance @ wide)).sum(0).clamp_min(0)
        scale = self.gain.double() / (variance + 1e-5).sqrt()
        bias = self.shift.double() - (mean @ wide) * scale
        return bias.to(weight), (wide * scale).to(weight)


class _RowConvolution(nn.Module):
    """A convolution without padding or bias over rows of channels: [T, in] → [T', out]."""

    weight: Tensor

    def __init__(self, weight: Tensor, stride: int) -> None:
        """weight: [out, in, kernel] as torch's convolutions have it."""
        super().__init__()
        self.kernel, self.stride = weight.shape[2], stride
        self.register_buffer("weight", weight.permute(2, 1, 0).flatten(0, 1).contiguous())

    def forward(self, rows: Tensor) -> Tensor:
        """Taps that fit between one window and the next are read as one long row, without a copy."""
        length, width = rows.shape
        out = (length - self.kernel) // self.stride + 1
        total = None
        for tap in range(0, self.kernel, self.stride):
            taps = min(self.stride, self.kernel - tap)
            part = rows.as_strided(
                (out, taps * width), (self.stride * width, 1), rows.storage_offset() + tap * width
            )
            weight = self.weight[tap * width : (tap + taps) * width]
            total = part @ weight if total is None else torch.addmm(total, part, weight)
        assert total is not None
        return total


class _PositionalConvolution(nn.Module):
    """Where a frame stands, from its neighbours: a grouped convolution as wide as 2.5 s, then GELU."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.register_buffer("weight", weight.clone())
        self.register_buffer("bias", bias.clone())

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] → the same shape. An even kernel has one output too many, which is dropped."""
        kernel = self.weight.shape[2]
        columns = x.transpose(1, 2).to(self.weight.dtype)
        out = F.conv1d(columns, self.weight, self.bias, padding=kernel // 2, groups=self.groups)
        return F.gelu(out[:, :, : x.shape[1]]).transpose(1, 2)


class _Layer(nn.Module):
    """One transformer layer, normalised after each half."""

    def __init__(self, weights: Mapping[str, Tensor], index: int, config: ContentConfig) -> None:
        super().__init__()
        name = f"encoder.layers.{index}"
        self.heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        parts = [f"{name}.attention.{which}_proj" for which in "qkv"]
        self.qkv.weight = _parameter(torch.cat([weights[f"{part}.weight"] for part in parts]))
        self.qkv.bias = _parameter(torch.cat([weights[f"{part}.bias"] for part in parts]))
        self.out = _linear(weights, f"{name}.attention.out_proj")
        self.norm = _norm(weights, f"{name}.layer_norm", config.layer_norm_eps)
        self.widen = _linear(weights, f"{name}.feed_forward.intermediate_dense")
        self.narrow = _linear(weights, f"{name}.feed_forward.output_dense")
        self.final_norm = _norm(weights, f"{name}.final_layer_norm", config.layer_norm_eps)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        three = project(self.qkv, x).view(batch, length, 3, self.heads, width // self.heads)
        q, k, v = three.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, width)
        x = self.norm(x + project(self.out, seen))
        return self.final_norm(x + project(self.narrow, F.gelu(project(self.widen, x))))


_CONV = "feature_extractor.conv_layers.{}"
_POS = "encoder.pos_conv_embed.conv"


def _parameter(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.contiguous(), requires_grad=False)


def _linear(weights: Mapping[str, Tensor], name: str) -> nn.Linear:
    weight = weights[f"{name}.weight"]
    linear = nn.Linear(weight.shape[1], weight.shape[0])
    linear.weight, linear.bias = _parameter(weight), _parameter(weights[f"{name}.bias"])
    return linear


def _norm(weights: Mapping[str, Tensor], name: str, eps: float) -> nn.LayerNorm:
    norm = nn.LayerNorm(weights[f"{name}.weight"].shape[0], eps=eps)
    norm.weight, norm.bias = _parameter(weights[f"{name}.weight"]), _parameter(weights[f"{name}.bias"])
    return norm


def expected_shapes(config: ContentConfig) -> dict[str, tuple[int, ...]]:
    """Every weight by transformers' name, the positional convolution's weight norm folded."""
    width, wide = config.hidden_size, config.intermediate_size
    shapes: dict[str, tuple[int, ...]] = {}
    inputs = (1, *config.conv_dim[:-1])
    for i, (source, out, kernel) in enumerate(zip(inputs, config.conv_dim, config.conv_kernel, strict=True)):
        shapes[f"{_CONV.format(i)}.conv.weight"] = (out, source, kernel)

    def affine(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"] = shape
        shapes[f"{name}.bias"] = shape[:1]

    affine(f"{_CONV.format(0)}.layer_norm", config.conv_dim[0])
    affine("feature_projection.layer_norm", config.conv_dim[-1])
    affine("feature_projection.projection", width, config.conv_dim[-1])
    affine(_POS, width, width // config.num_conv_pos_embedding_groups, config.num_conv_pos_embeddings)
    affine("encoder.layer_norm", width)
    for index in range(config.num_hidden_layers):
        name = f"encoder.layers.{index}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            affine(f"{name}.attention.{part}", width, width)
        affine(f"{name}.layer_norm", width)
        affine(f"{name}.feed_forward.intermediate_dense", wide, width)
        affine(f"{name}.feed_forward.output_dense", width, wide)
        affine(f"{name}.final_layer_norm", width)
    if config.projection:
        affine("final_proj", config.projection, width)
    return shapes


def check_weights(config: ContentConfig, weights: Mapping[str, Tensor]) -> None:
    """Raises VoicewrightError, naming the first few, unless exactly the expected weights are there."""
    expected = expected_shapes(config)
    wrong = [f"{name} is missing" for name in expected if name not in weights]
    wrong += [f"{shown(name, 100)} is unknown" for name in weights if name not in expected]
    wrong += [
        f"{name} is {list(weights[name].shape)} instead of {list(shape)}"
        for name, shape in expected.items()
        if name in weights and tuple(weights[name].shape) != shape
    ]
    if wrong:
        more = f" and {len(wrong) - 4} more" if len(wrong) > 4 else ""
        raise VoicewrightError(
            f"these are no HuBERT weights of the expected shape: {'; '.join(wrong[:4])}{more}."
        )
