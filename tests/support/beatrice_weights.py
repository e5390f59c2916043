"""State dictionaries with the keys and shapes of Beatrice's rc.0 trainer, filled from their names."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]


def trained(voices: int = 2) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Tensor]]:
    """What the trainer's checkpoint holds: phone_extractor, pitch_estimator, net_g."""
    return _filled(phone_shapes()), _filled(pitch_shapes()), _filled(generator_shapes(voices))


def phone_shapes() -> Shapes:
    shapes: Shapes = {}
    layers = ((16, 1, 10), (32, 16, 3), (64, 32, 3), (128, 64, 3), (128, 128, 3), (128, 128, 2))
    for number, (outputs, inputs, kernel) in enumerate(layers):
        shapes[f"feature_extractor.conv{number}.weight_g"] = (outputs, 1, 1)
        shapes[f"feature_extractor.conv{number}.weight_v"] = (outputs, inputs, kernel)
    shapes |= _pair("feature_projection.norm", (128,))
    shapes |= _stack("backbone.", 128, 384, 20, 9, 17, "self")
    shapes |= {"head.weight_g": (128, 1, 1), "head.weight_v": (128, 128, 1), "head.bias": (128,)}
    return shapes


def pitch_shapes() -> Shapes:
    shapes = _pair("instfreq_embed_0", (192, 192, 1)) | _pair("instfreq_embed_1", (192, 192, 1))
    shapes |= _pair("corr_embed_0", (192, 256, 1)) | _pair("corr_embed_1", (192, 192, 1))
    shapes |= _stack("backbone.", 192, 384, 9, 3, 33, scaled=True)
    return shapes | _pair("head", (448, 192, 1))


def generator_shapes(voices: int) -> Shapes:
    shapes: Shapes = {"vq.codebooks": (voices, 512, 128)}
    shapes |= _pair("embed_phone", (256, 128, 1)) | {"embed_quantized_pitch.weight": (448, 256)}
    shapes |= _pair("embed_pitch_features", (256, 4, 1))
    shapes |= {"embed_speaker.weight": (voices, 256), "embed_formant_shift.weight": (9, 256)}
    shapes["key_value_speaker_embedding.weight"] = (voices, 384 * 128)
    shapes |= _stack("vocoder.prenet.", 256, 512, 4, 7, 33, "voice", scaled=True)
    shapes["vocoder.ir_window"] = (512,)
    for part, blocks, outputs, biased in (
        ("ir", 2, 512, True),
        ("aperiodicity", 1, 240, False),
        ("post_filter", 1, 512, False),
    ):
        shapes |= _stack(f"vocoder.{part}_generator.", 256, 512, blocks, 3, 33, standard=True, scaled=True)
        shapes |= _standard(f"vocoder.{part}_generator_post", (outputs, 256, 1), biased)
        shapes[f"vocoder.{part}_scale"] = ()
    return shapes


def _pair(key: str, shape: tuple[int, ...]) -> Shapes:
    return {f"{key}.weight": shape, f"{key}.bias": shape[:1]}


def _standard(key: str, shape: tuple[int, ...], biased: bool = True) -> Shapes:
    shapes = {f"{key}.weight": shape, f"{key}.gain": (shape[0], *(1 for _ in shape[1:]))}
    return shapes | ({f"{key}.bias": shape[:1]} if biased else {})


def _stack(
    prefix: str,
    channels: int,
    inner: int,
    blocks: int,
    embed: int,
    kernel: int,
    attention: str = "",
    standard: bool = False,
    scaled: bool = False,
) -> Shapes:
    pair = _standard if standard else _pair
    shapes = pair(f"{prefix}embed", (channels, channels, embed))
    if not standard:
        shapes |= _pair(f"{prefix}norm", (channels,)) | _pair(f"{prefix}final_layer_norm", (channels,))
    for number in range(blocks):
        block = f"{prefix}convnext.{number}."
        if attention:
            shapes |= _pair(f"{block}attn_norm", (channels,))
        if attention == "self":
            shapes[f"{block}mha.in_proj_weight"] = (3 * channels, channels)
            shapes[f"{block}mha.in_proj_bias"] = (3 * channels,)
            shapes |= _pair(f"{block}mha.out_proj", (channels, channels))
        if attention == "voice":
            shapes |= _pair(f"{block}mha.q_projection", (128, channels))
            shapes |= _pair(f"{block}mha.kv_projection", (256, 128))
            shapes |= _pair(f"{block}mha.out_projection", (channels, 128))
        shapes |= pair(f"{block}dwconv", (channels, 1, kernel))
        shapes |= pair(f"{block}pwconv1", (inner, channels)) | pair(f"{block}pwconv2", (channels, inner))
        if not standard:
            shapes |= _pair(f"{block}norm", (channels,)) | {f"{block}gamma": (channels,)}
        if scaled:
            shapes |= {f"{block}{name}": () for name in ("pre_scale", "post_scale", "post_scale_weight")}
    return shapes


def _filled(shapes: Shapes) -> dict[str, Tensor]:
    return {key: _values(key, shape) for key, shape in shapes.items()}


def _values(key: str, shape: tuple[int, ...]) -> Tensor:
    noise = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape).astype(np.float32)
    if key == "feature_projection.norm.bias":
        return torch.zeros(shape)  # folding it is inexact where taps meet padding
    if key == "vq.codebooks":
        return torch.from_numpy(noise / np.linalg.norm(noise, axis=-1, keepdims=True)).half().float()
    if key.endswith(("post_filter_scale", "aperiodicity_scale")):
        return torch.tensor(0.01)
    centred = key.endswith(("_scale", "post_scale_weight", "gain", "weight_g", "ir_window"))
    if centred or (key.endswith("norm.weight")):
        return torch.from_numpy(np.asarray(1 + 0.1 * noise, np.float32))
    if key.endswith("gamma"):
        return torch.from_numpy(0.2 + 0.02 * noise)
    if key.endswith(".bias") or key.endswith("_bias"):
        return torch.from_numpy(0.05 * noise)
    fan = int(np.prod(shape[1:])) or 1
    if key.endswith("embedding.weight") or (key.startswith("embed_") and len(shape) == 2):
        fan = 1
    return torch.from_numpy(noise / fan**0.5)


def sound(seconds: float = 1.0) -> Tensor:
    """Two hums with noise, [2, n] at 16 kHz."""
    time = np.arange(int(16_000 * seconds)) / 16_000
    noise = np.random.default_rng(0).standard_normal((2, len(time)))
    hums = np.stack(
        [np.sin(2 * np.pi * f * time) + 0.5 * np.sin(4 * np.pi * f * time) for f in (147.0, 233.0)]
    )
    return torch.from_numpy((0.2 * hums + 0.02 * noise).astype(np.float32))
