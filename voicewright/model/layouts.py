"""Every known layout of Kokoro and StyleTTS 2 weights, as a way to the names and shapes of our own graph.

What differs from file to file, all of it mapped here and nowhere else (docs/weights.md has the table):

- wrapping: `{"net": {...}}` of StyleTTS 2 and Kokoro 0.19, nested or flat keys, `module.` of DataParallel;
- weight norm as `weight_g`/`weight_v`, as parametrisation, or folded into a plain `weight`;
- spectral norm as `weight_orig`/`weight_u`/`weight_v`, or as parametrisation;
- MLX: names of its LSTM and layer norm, convolutions with the channels last;
- affine extras of AdaIN's instance norms, as the `kokoro` package declares them: folded into `fc`;
- networks that only training needs (`TRAINING_ONLY`) and buffers that follow from the code (`DERIVED`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from voicewright.errors import VoicewrightError

STYLES = "style_encoders."
TRUNK = ("bert", "bert_encoder", "predictor", "text_encoder", "decoder")
STYLE_NETS = {"style_encoder": STYLES + "acoustic", "predictor_encoder": STYLES + "prosodic"}
DENOISER = "diffusion"
"""Draws styles: `diffusion_files.py` reads it, where they are wanted."""
TRAINING_ONLY = frozenset({DENOISER, "text_aligner", "pitch_extractor", "mpd", "msd", "wd"})
DERIVED = ("bert.embeddings.position_ids", "bert.embeddings.token_type_ids", "decoder.generator.stft.")
"""Buffers that some versions of `transformers` and of the `kokoro` package store, computed by any code."""
NORM = ".parametrizations.weight."
GIVE = "give a Kokoro or StyleTTS 2 weights file"

_MLX_LSTM = {
    f"{mlx}_{way}": f"{torch_name}_l0{tail}"
    for mlx, torch_name in (
        ("Wx", "weight_ih"),
        ("Wh", "weight_hh"),
        ("bias_ih", "bias_ih"),
        ("bias_hh", "bias_hh"),
    )
    for way, tail in (("forward", ""), ("backward", "_reverse"))
}

State = dict[str, Tensor]


@dataclass(frozen=True)
class Weights:
    """A file's tensors under our names, and what its wrapping says about where it comes from."""

    state: State
    wrapped: bool
    """Whether the file was `{"net": …}`."""
    left_out: tuple[str, ...]
    """Networks that only training needs, which were in the file and are not used."""


def canonical(content: Any, path: Path) -> Weights:
    """A file's content under our names. Raises VoicewrightError for what is no state dictionary."""
    wrapped = isinstance(content, Mapping) and isinstance(content.get("net"), Mapping)
    if wrapped:
        content = content["net"]
    if not isinstance(content, Mapping) or not content:
        raise VoicewrightError(f"{path} holds no state dictionary; {GIVE}.")
    flat = _flatten(content, path)
    if all(key.startswith("net.") for key in flat):
        flat = {key.removeprefix("net."): value for key, value in flat.items()}
        wrapped = True
    named: State = {}
    left_out: set[str] = set()
    for key, value in flat.items():
        name = _unwrapped(key)
        head, _, rest = name.partition(".")
        if head in TRAINING_ONLY:
            left_out.add(head)
            continue
        name = f"{STYLE_NETS.get(head, head)}.{rest}" if rest else head
        if name in named:
            raise VoicewrightError(f"{path} holds {name} twice, under two spellings; {GIVE}.")
        if not name.startswith(DERIVED):
            named[name] = value
    packed = [key for key in named if key.endswith((".scales", ".biases"))]
    if packed:
        raise VoicewrightError(
            f"{path} is a quantised MLX file ({packed[0]}), whose packed weights only MLX reads; "
            "take the bf16 or fp32 file."
        )
    return Weights(rename(_from_mlx(named)), wrapped, tuple(sorted(left_out)))


def denoiser(content: Any, path: Path) -> State:
    """The style denoiser of StyleTTS 2's file, under its own names; empty where the file has none.

    Upstream stores it twice, as `unet` and as `diffusion.net`. Raises as `canonical`.
    """
    if isinstance(content, Mapping) and isinstance(content.get("net"), Mapping):
        content = content["net"]
    if not isinstance(content, Mapping):
        return {}
    prefix = f"{DENOISER}.unet."
    named = {_unwrapped(key): value for key, value in _flatten(content, path).items()}
    return {key.removeprefix(prefix): value for key, value in named.items() if key.startswith(prefix)}


def _unwrapped(key: str) -> str:
    """`module.` away, in front and behind the network's name."""
    head, _, rest = key.removeprefix("module.").partition(".")
    return f"{head}.{rest.removeprefix('module.')}" if rest else head


def _flatten(content: Mapping[Any, Any], path: Path) -> State:
    """Nested module dictionaries to one, as `module.key`."""
    flat: State = {}
    for name, part in content.items():
        if isinstance(part, Tensor):
            flat[str(name)] = part
        elif isinstance(part, Mapping) and all(isinstance(value, Tensor) for value in part.values()):
            flat |= {f"{name}.{key}": value for key, value in part.items()}
        else:
            raise VoicewrightError(
                f"{path}: the entry {name!r} is neither a tensor nor a dictionary of tensors; {GIVE}."
            )
    return flat


def rename(state: State) -> State:
    """Old norm hooks to parametrisations."""
    out: State = {}
    for key, value in state.items():
        base, _, last = key.rpartition(".")
        spectral = f"{base}.weight_orig" in state
        if last == "weight_orig":
            key = f"{base}{NORM}original"
        elif spectral and last in ("weight_u", "weight_v"):
            key = f"{base}{NORM}0._{last[-1]}"
        elif last in ("weight_g", "weight_v"):
            key = f"{base}{NORM}original{'gv'.index(last[-1])}"
        out[key] = value
    return out


def _from_mlx(state: State) -> State:
    """MLX's names and channels-last convolutions to torch's. Other files come back as they are.

    Source: mlx-audio's Kokoro, which swaps the last two axes of every convolution whose kernel and channels
    differ in size, when it saves what it has loaded; files it has not loaded itself keep torch's shapes.
    """
    first = "text_encoder.cnn.0.0.weight"
    probe, embedding = state.get(f"{first}_v", state.get(first)), state.get("text_encoder.embedding.weight")
    turned = False
    if probe is not None and embedding is not None and probe.dim() == 3:
        turned = probe.shape[1] != probe.shape[2] == embedding.shape[-1]
    out: State = {}
    for key, value in state.items():
        base, _, last = key.rpartition(".")
        if last in _MLX_LSTM:
            key = f"{base}.{_MLX_LSTM[last]}"
        elif re.fullmatch(r"text_encoder\.cnn\.\d+\.1\.(weight|bias)", key):
            key = f"{base}.{'gamma' if last == 'weight' else 'beta'}"
        elif turned and last in ("weight", "weight_v") and value.dim() == 3:
            value = value.transpose(1, 2) if value.shape[1] != value.shape[2] else value
        out[key] = value
    return out


def conform(state: State, wanted: Mapping[str, Tensor]) -> State:
    """Split folded weights into norm and direction, and fold affine extras, where `wanted` has them so."""
    out = dict(state)
    for key in state:
        base = key.removesuffix(".weight")
        if key == base or key in wanted:
            continue
        if f"{base}{NORM}original1" in wanted:
            weight = out.pop(key)
            norm = torch.norm_except_dim(weight, 2, 0)
            out[f"{base}{NORM}original0"] = norm
            # A channel that was rounded away needs a direction all the same, or it becomes 0/0.
            out[f"{base}{NORM}original1"] = torch.where(norm == 0, torch.ones_like(weight), weight)
        elif base.endswith(".norm"):
            _fold_affine(out, base.removesuffix("norm"))
    return out


def _fold_affine(state: State, prefix: str) -> None:
    """(1+γ)(wx+b)+β is again (1+γ')x+β', with γ' = wγ+w-1 and β' = β+b(1+γ), both linear in the style."""
    names = [prefix + name for name in ("norm.weight", "norm.bias", "fc.weight", "fc.bias")]
    if any(name not in state for name in names):
        return
    scale, shift, weight, bias = (state[name] for name in names)
    if scale.dim() != 1 or scale.shape != shift.shape or weight.shape[0] != 2 * len(scale):
        return
    del state[names[0]], state[names[1]]
    gamma, beta = weight.chunk(2)
    gamma_bias, beta_bias = bias.chunk(2)
    state[names[2]] = torch.cat([gamma * scale[:, None], beta + gamma * shift[:, None]])
    state[names[3]] = torch.cat([gamma_bias * scale + scale - 1, beta_bias + shift * (1 + gamma_bias)])


def compare(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], source: Path) -> None:
    """Raise one VoicewrightError that names every key in which a file and a graph differ."""

    def line(title: str, keys: Iterable[str]) -> list[str]:
        names = sorted(keys)
        return [f"{title} ({len(names)}): {', '.join(names)}"] if names else []

    shapes = [
        f"{key} {list(value.shape)} instead of {list(wanted[key].shape)}"
        for key, value in state.items()
        if key in wanted and value.shape != wanted[key].shape
    ]
    problems = (
        line("missing", wanted.keys() - state.keys())
        + line("unexpected", state.keys() - wanted.keys())
        + line("wrong shape", shapes)
    )
    if problems:
        raise VoicewrightError(
            f"{source} does not fit its configuration; use the config.json that belongs to these weights.\n"
            + "\n".join(problems)
        )
