"""A checkpoint of the rc.0 trainer → a model: norms, scales and weight normalisation multiplied into weights.

Keys and arithmetic follow the trainer's state dictionary; every key must be used.
"""

from __future__ import annotations

import gzip
import tempfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from voicewright.beatrice.files import MAX_VOICES
from voicewright.beatrice.network.extractors import PHONES
from voicewright.beatrice.network.layers import HEADS, Stack
from voicewright.beatrice.network.model import CODES, BeatriceModel, BeatriceVoice
from voicewright.beatrice.network.vocoder import Vocoder
from voicewright.errors import VoicewrightError
from voicewright.model.reading import read_content

_BLOCK = 1 << 20
MOST_BYTES = 2 << 30
"""Unpacked; the trainer's checkpoints, optimizers and all, have some hundred MB."""


class _Weights:
    """Tensors by key, each to be taken once."""

    def __init__(self, tensors: Mapping[str, Tensor], prefix: str = "") -> None:
        self.left = dict(tensors)
        self.prefix = prefix

    def has(self, key: str) -> bool:
        return self.prefix + key in self.left

    def take(self, key: str) -> Tensor:
        name = self.prefix + key
        if not isinstance(self.left.get(name), Tensor):
            raise VoicewrightError(f"The checkpoint lacks {name}: it is not one of Beatrice's rc.0 trainer.")
        return self.left.pop(name).detach().float()

    def under(self, key: str) -> _Weights:
        part = _Weights({}, self.prefix + key)
        part.left = self.left
        return part

    def normalised(self, key: str) -> Tensor:
        """Weight normalisation: g · v / ‖v‖, the norm over all but the first axis."""
        length, direction = self.take(f"{key}.weight_g"), self.take(f"{key}.weight_v")
        return length * direction / direction.flatten(1).norm(dim=1).view(length.shape)

    def standardised(self, key: str) -> Tensor:
        """Scaled weight standardisation (Brock et al., 2021)."""
        weight, gain = self.take(f"{key}.weight"), self.take(f"{key}.gain")
        axes = tuple(range(1, weight.ndim))
        variance, mean = torch.var_mean(weight, axes, keepdim=True)
        return gain * (weight[0].numel() * variance + 1e-8).rsqrt() * (weight - mean)


def open_trained(path: Path, voices: tuple[BeatriceVoice, ...] | None = None) -> BeatriceModel:
    """A model from `checkpoint_….pt.gz`, or the same unpacked. Checkpoints hold no names of voices.

    Raises VoicewrightError for a file that is none, and when `voices` are not as many as it has.
    """
    with tempfile.TemporaryDirectory(prefix="voicewright-") as folder:
        plain = _unpacked(path, Path(folder)) if path.suffix == ".gz" else path
        content = read_content(plain)
    parts = ("phone_extractor", "pitch_estimator", "net_g")
    if not isinstance(content, Mapping) or not all(isinstance(content.get(p), Mapping) for p in parts):
        raise VoicewrightError(
            f"{path} is not a checkpoint of Beatrice's trainer: it lacks {', '.join(parts)}."
        )
    try:
        return fold(
            content["phone_extractor"], content["pitch_estimator"], content["net_g"], voices, path.stem
        )
    except (RuntimeError, LookupError, TypeError, ValueError, AttributeError) as problem:
        told = " ".join(str(problem)[:200].split())
        raise VoicewrightError(f"{path} does not fit Beatrice rc.0: {told}.") from problem


def fold(
    phone: Mapping[str, Tensor],
    pitch: Mapping[str, Tensor],
    generator: Mapping[str, Tensor],
    voices: tuple[BeatriceVoice, ...] | None = None,
    name: str = "",
) -> BeatriceModel:
    """A model from the trainer's three state dictionaries."""
    net = _Weights({k: v for k, v in generator.items() if not k.startswith("melspectrograms.")})
    books = net.take("vq.codebooks")
    if books.dim() != 3 or not 0 < len(books) <= MAX_VOICES or books.shape[1:] != (CODES, PHONES):
        # Checked before a model of so many voices is made.
        raise VoicewrightError(
            f"The checkpoint's table of voices is {list(books.shape)}, which rc.0's is not."
        )
    if voices is not None and len(voices) != len(books):
        raise VoicewrightError(f"The checkpoint has {len(books)} voices, {len(voices)} were named.")
    named = voices or tuple(BeatriceVoice(f"voice {number}") for number in range(len(books)))
    model = BeatriceModel(named, name)
    with torch.no_grad():
        _fold_phones(model, _Weights(phone))
        _fold_pitch(model, _Weights(pitch))
        _fold_generator(model, net)
        model.speakers.codebooks.copy_(books)
        _set(model.speakers.speakers, net.take("embed_speaker.weight"))
        _set(model.speakers.formants, net.take("embed_formant_shift.weight"))
        memories = net.take("key_value_speaker_embedding.weight")
        model.speakers.memories.copy_(memories.view(model.speakers.memories.shape))
    if net.left:
        raise VoicewrightError(
            f"The checkpoint has keys that rc.0 has not: {', '.join(sorted(net.left)[:4])}."
        )
    for key, value in model.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            raise VoicewrightError(f"The checkpoint's {key} has values that are no numbers: it is damaged.")
    return model.eval()


def _unpacked(path: Path, folder: Path) -> Path:
    target, size = folder / "checkpoint.pt", 0
    try:
        with gzip.open(path, "rb") as packed, target.open("wb") as file:
            while block := packed.read(_BLOCK):
                size += len(block)
                if size > MOST_BYTES:
                    raise VoicewrightError(f"{path} unpacks to more than {MOST_BYTES >> 30} GiB; not opened.")
                file.write(block)
    except (OSError, EOFError, zlib.error) as problem:
        raise VoicewrightError(f"{path} cannot be unpacked: {problem}.") from problem
    return target


def _set(layer: nn.Module, weight: Tensor, bias: Tensor | None = None) -> None:
    assert isinstance(layer.weight, Tensor)
    if layer.weight.shape != weight.shape:  # copying alone would spread a smaller tensor
        raise ValueError(f"a weight is {list(weight.shape)} instead of {list(layer.weight.shape)}")
    layer.weight.copy_(weight)
    if bias is not None:
        assert isinstance(layer.bias, Tensor)
        layer.bias.copy_(bias)


def _plain(layer: nn.Module, weights: _Weights, key: str) -> None:
    bias = f"{key}.bias"
    _set(layer, weights.take(f"{key}.weight"), weights.take(bias) if weights.has(bias) else None)


def _standardised(layer: nn.Module, weights: _Weights, key: str, scale: Tensor | float = 1.0) -> None:
    bias = f"{key}.bias"
    folded = weights.standardised(key) * scale
    _set(layer, folded, weights.take(bias) * scale if weights.has(bias) else None)


def _fold_phones(model: BeatriceModel, weights: _Weights) -> None:
    net = model.phone_extractor
    for number, layer in enumerate(net.features):
        _set(layer, weights.normalised(f"feature_extractor.conv{number}"))
    _fold_stack(net.backbone, weights.under("backbone."))
    # The features' norm goes into the convolution behind it, its bias through every tap: at the first frames,
    # where taps meet padding, that is not quite what the trainer computes.
    gain, shift = weights.take("feature_projection.norm.weight"), weights.take("feature_projection.norm.bias")
    embed = net.backbone.embed
    assert embed.bias is not None
    embed.bias += (embed.weight * shift[None, :, None]).sum((1, 2))
    embed.weight *= gain[None, :, None]
    _set(net.head, weights.normalised("head"), weights.take("head.bias"))


def _fold_pitch(model: BeatriceModel, weights: _Weights) -> None:
    net = model.pitch_estimator
    for number in (0, 1):
        _plain(net.partials[number], weights, f"instfreq_embed_{number}")
        _plain(net.periods[number], weights, f"corr_embed_{number}")
    _fold_stack(net.backbone, weights.under("backbone."))
    _plain(net.head, weights, "head")


def _fold_generator(model: BeatriceModel, weights: _Weights) -> None:
    net = model.generator
    _plain(net.phones, weights, "embed_phone")
    _set(net.pitches, weights.take("embed_quantized_pitch.weight"))
    _plain(net.pitch_features, weights, "embed_pitch_features")
    _fold_vocoder(net.vocoder, weights.under("vocoder."))


def _fold_vocoder(net: Vocoder, weights: _Weights) -> None:
    _fold_stack(net.prenet, weights.under("prenet."))
    net.window.copy_(weights.take("ir_window"))
    parts = (
        (net.response, net.response_out, "ir"),
        (net.noise, net.noise_out, "aperiodicity"),
        (net.filter, net.filter_out, "post_filter"),
    )
    for stack, out, key in parts:
        _fold_stack(stack, weights.under(f"{key}_generator."))
        _standardised(out, weights, f"{key}_generator_post", weights.take(f"{key}_scale"))


def _fold_stack(stack: Stack, weights: _Weights) -> None:
    if stack.first_norm is None or stack.last_norm is None:
        _standardised(stack.embed, weights, "embed")
    else:
        _plain(stack.embed, weights, "embed")
        _plain(stack.first_norm, weights, "norm")
        _plain(stack.last_norm, weights, "final_layer_norm")
    for number, block in enumerate(stack.layers()):
        part = weights.under(f"convnext.{number}.")
        if block.attention is not None or block.voice is not None:
            _fold_attention(block, part)
        if block.normed:
            gain, shift = part.take("norm.weight"), part.take("norm.bias")
            widen = part.take("pwconv1.weight")
            _plain(block.depthwise, part, "dwconv")
            _set(block.widen, widen * gain, part.take("pwconv1.bias") + widen @ shift)
            layer_scale = part.take("gamma")
            weight = part.take("pwconv2.weight") * layer_scale[:, None]
            _set(block.narrow, weight, part.take("pwconv2.bias") * layer_scale)
        else:
            for layer, key in (
                (block.depthwise, "dwconv"),
                (block.widen, "pwconv1"),
                (block.narrow, "pwconv2"),
            ):
                _standardised(layer, part, key)
        if part.has("pre_scale"):
            block.depthwise.weight *= part.take("pre_scale")
            after = part.take("post_scale") * part.take("post_scale_weight")
            block.narrow.weight.mul_(after)
            block.narrow.bias.mul_(after)


def _fold_attention(block: nn.Module, weights: _Weights) -> None:
    gain, shift = weights.take("attn_norm.weight"), weights.take("attn_norm.bias")
    if (attention := getattr(block, "attention", None)) is not None:
        weight, bias = weights.take("mha.in_proj_weight"), weights.take("mha.in_proj_bias")
        channels = weight.shape[1]
        size = channels // HEADS
        bias = bias + weight @ shift
        scale = torch.ones(3 * channels)
        scale[: 2 * channels] = size**-0.25
        by_head = (weight * gain * scale[:, None]).view(3, HEADS, size, channels).transpose(0, 1)
        _set(attention.inputs, by_head.reshape(weight.shape))
        attention.inputs.bias.copy_((bias * scale).view(3, HEADS, size).transpose(0, 1).reshape(-1))
        _plain(attention.output, weights, "mha.out_proj")
        return
    voice = getattr(block, "voice", None)
    assert voice is not None
    weight, bias = weights.take("mha.q_projection.weight"), weights.take("mha.q_projection.bias")
    scale = (weight.shape[0] // HEADS) ** -0.25
    _set(voice.query, weight * gain * scale, (bias + weight @ shift) * scale)
    _plain(voice.output, weights, "mha.out_projection")
    weight, bias = weights.take("mha.kv_projection.weight"), weights.take("mha.kv_projection.bias")
    rows = weight.shape[0] // 2
    factor = torch.ones(2 * rows)
    factor[:rows] = scale
    shape = (2, HEADS, rows // HEADS)
    by_head = (weight * factor[:, None]).view(*shape, -1).transpose(0, 1)
    _set(voice.memory, by_head.reshape(weight.shape))
    voice.memory.bias.copy_((bias * factor).view(shape).transpose(0, 1).reshape(-1))
