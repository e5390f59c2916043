"""What an RVC file is: a dictionary of unknown origin → tensors, configuration, and what else it says.

Three kinds are known: the small file that all tools exchange (`weight`, `config`, …), the training checkpoint
(`model`, without a configuration), and our own safetensors, whose metadata has what the small file has.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from torch import Tensor

from voicewright.errors import VoicewrightError
from voicewright.model.reading import printable, shown
from voicewright.rvc.network.config import RVC_PRESETS, SynthesizerConfig, Version

METADATA = "rvc"
"""Key of a safetensors file's metadata under which a JSON object has `config`, `version`, `f0`, `sr`, …"""
NORMS = (
    (".parametrizations.weight.original0", ".weight_g"),
    (".parametrizations.weight.original1", ".weight_v"),
)
"""Names that some of Applio's files have → upstream's."""
STRUCTURE = frozenset({"weight", "model", "config", "version", "f0", "sr"})
_NOT_INFO = STRUCTURE | {"optimizer"}
_LONGEST_TEXT, _MOST_ITEMS = 2000, 64

Info = dict[str, Any]


@dataclass(frozen=True)
class Found:
    """`state`: tensors under upstream's names; `notes`: what was mended, in sentences."""

    state: dict[str, Tensor]
    config: SynthesizerConfig
    info: Info
    kind: str
    notes: list[str] = field(default_factory=list)


def recognised(content: Any, path: Path, metadata: Mapping[str, str] | None = None) -> Found:
    """Raises VoicewrightError in one sentence for whatever is no RVC voice that can be used here."""
    if metadata is not None:
        kind, tensors, facts = "safetensors", content, _facts(path, metadata)
    elif not isinstance(content, Mapping):
        raise VoicewrightError(f"{path} holds no dictionary, so it is no RVC voice.")
    elif "weight" in content:
        kind, tensors, facts = "voice", content["weight"], content
    elif "model" in content:
        kind, tensors, facts = "training checkpoint", content["model"], content
    else:
        raise VoicewrightError(
            f"{path} is no RVC voice: it has neither `weight` nor `model`; an .index goes to --index, and a "
            "voicepack or a text-to-speech model to `voicewright say`."
        )
    state = _state(tensors, path)
    try:
        config, notes = _configuration(state, facts)
    except VoicewrightError as error:
        raise VoicewrightError(f"{path}: {error}") from error
    return Found(state, config, plain_info(facts), kind, notes)


def _facts(path: Path, metadata: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        facts = json.loads(metadata.get(METADATA, "null"))
    except (ValueError, RecursionError):
        facts = None
    if not isinstance(facts, dict):
        raise VoicewrightError(
            f"{path} has no description of an RVC voice in its metadata; convert the .pth with "
            "`voicewright voice convert` instead."
        )
    return facts


def _state(tensors: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(tensors, Mapping) or not tensors:
        raise VoicewrightError(f"{path} holds no weights where an RVC voice has them.")
    state: dict[str, Tensor] = {}
    for name, value in tensors.items():
        if not isinstance(name, str) or not isinstance(value, Tensor) or not value.is_floating_point():
            raise VoicewrightError(
                f"{path}: {shown(name, 60)} is no tensor of weights, so this is no RVC voice."
            )
        for theirs, ours in NORMS:
            name = name.replace(theirs, ours)
        state[name] = value
    return state


def _configuration(
    state: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> tuple[SynthesizerConfig, list[str]]:
    notes: list[str] = []
    _refuse_others(facts)
    version, f0 = _version(state, facts, notes), _f0(state, facts, notes)
    given = facts.get("config")
    if given is None or (isinstance(given, Mapping) and "model" in facts):
        config = _from_shapes(state, version, f0)
        notes.append(
            f"It has no configuration; its shapes are those of {config.version} at {config.rate_name}."
        )
    else:
        config = SynthesizerConfig.from_list(given, version, f0)
    speakers = _speakers(state)
    if speakers != config.speakers:
        # upstream writes what the pretrained model had and believes the table when it loads
        config = config.with_speakers(speakers)
    _check_rate(facts, config, notes)
    return config, notes


def _refuse_others(facts: Mapping[str, Any]) -> None:
    """Relatives of RVC whose networks are others."""
    config, version = facts.get("config"), facts.get("version", "v1")
    if version == "voras_beta":
        raise VoicewrightError("this is a VoRAS model, whose network is not RVC's; it cannot be used here.")
    vocoder = facts.get("vocoder")
    if vocoder not in (None, "HiFi-GAN"):
        raise VoicewrightError(
            f"its vocoder is {shown(vocoder)}, which Applio alone has; only voices with "
            "HiFi-GAN can be used here."
        )
    fork = "embedder_name" in facts or "embedder_output_layer" in facts
    if isinstance(config, list | tuple) and len(config) != 18 and (fork or len(config) in (17, 19)):
        raise VoicewrightError(
            f"this is a voice of the DDPN fork ({len(config)} configuration items instead of 18), whose "
            "content features are its own; only voices of RVC-WebUI and Applio can be used here."
        )


def _version(state: Mapping[str, Tensor], facts: Mapping[str, Any], notes: list[str]) -> Version:
    said = facts.get("version")
    if said not in (None, "v1", "v2"):
        raise VoicewrightError(f"its version is {shown(said)}; v1 and v2 can be used here.")
    shape = _shape(state, "enc_p.emb_phone.weight")
    true = {256: "v1", 768: "v2"}.get(shape[-1] if len(shape) == 2 else 0)
    if true is None:
        raise VoicewrightError(
            f"its content features are {shape[-1:]} wide; RVC's have 256 (v1) or 768 (v2)."
        )
    if said is not None and said != true:
        notes.append(f"It says that it is {said}, but its weights are {true}'s; they are believed.")
    return cast(Version, true)


def _f0(state: Mapping[str, Tensor], facts: Mapping[str, Any], notes: list[str]) -> bool:
    said = facts.get("f0")
    if said is not None and (not isinstance(said, bool | int | str) or said not in (0, 1, "0", "1")):
        raise VoicewrightError("its f0 is neither 0 nor 1.")
    true = "enc_p.emb_pitch.weight" in state
    if said is not None and bool(int(said)) != true:
        # RVC-WebUI's merging writes 0 in every language but Chinese, and other tools then whisper
        does = "follow" if true else "know no"
        notes.append(f"It says f0={int(said)}, but its weights {does} F0; they are believed.")
    return true


def _check_rate(facts: Mapping[str, Any], config: SynthesizerConfig, notes: list[str]) -> None:
    said = facts.get("sr")
    if (
        isinstance(said, bool)
        or not isinstance(said, str | int)
        or said in (config.rate_name, config.sample_rate)
    ):
        return
    if shown(said) in (str(config.sample_rate), str(config.sample_rate // 1000)):
        return
    notes.append(f"It says sr={shown(said, 20)}; its configuration's {config.sample_rate} Hz counts.")


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    value = state.get(name)
    if value is None:
        raise VoicewrightError(f"it has no {name}, so it is no RVC voice.")
    return tuple(value.shape)


def _from_shapes(state: Mapping[str, Tensor], version: Version, f0: bool) -> SynthesizerConfig:
    """A training checkpoint's configuration: the preset with its kernels, in its widths."""
    stages = 0
    while f"dec.ups.{stages}.weight_v" in state:
        stages += 1
    kernels = tuple(_last(state, f"dec.ups.{i}.weight_v") for i in range(stages))
    strides = [_last(state, f"dec.noise_convs.{i}.weight") // 2 for i in range(stages - 1)] if f0 else None
    bins = _shape(state, "enc_q.pre.weight")[1] if "enc_q.pre.weight" in state else None
    fits = []
    for preset in RVC_PRESETS.values():
        later = [math.prod(preset.upsample_rates[i + 1 :]) for i in range(len(preset.upsample_rates) - 1)]
        if preset.version != version or preset.upsample_kernels != kernels:
            continue
        if (strides is None or strides == later) and bins in (None, preset.spec_channels):
            fits.append(preset)
    if len(fits) != 1:
        raise VoicewrightError(
            "it has no configuration, and its shapes do not tell one; extract the small model with the tool "
            "that trained it."
        )
    try:
        layers = 0
        while f"enc_p.encoder.norm_layers_1.{layers}.gamma" in state:
            layers += 1
        hidden = _shape(state, "enc_p.emb_phone.weight")[0]
        inner, _, kernel = _shape(state, "enc_p.encoder.ffn_layers.0.conv_1.weight")
        top, gin, _ = _shape(state, "dec.cond.weight")
        width = _shape(state, "enc_p.encoder.attn_layers.0.emb_rel_k")[2]
        found = replace(
            fits[0],
            inter=_shape(state, "enc_p.proj.weight")[0] // 2,
            hidden=hidden,
            filter=inner,
            heads=max(1, hidden // max(1, width)),
            layers=layers,
            kernel=kernel,
            initial_channels=top,
            gin=gin,
            spec_channels=bins or fits[0].spec_channels,
            speakers=_speakers(state),
            f0=f0,
        )
        # by way of the list, which checks every number
        return SynthesizerConfig.from_list(found.to_list(), version, f0)
    except (ValueError, IndexError) as error:
        raise VoicewrightError("its weights have shapes that no RVC voice has.") from error


def _speakers(state: Mapping[str, Tensor]) -> int:
    shape = _shape(state, "emb_g.weight")
    if len(shape) != 2 or not shape[0]:
        raise VoicewrightError("its table of speakers, emb_g.weight, is no table.")
    return shape[0]


def _last(state: Mapping[str, Tensor], name: str) -> int:
    shape = _shape(state, name)
    return shape[-1] if shape else 0


def plain_info(facts: Mapping[Any, Any]) -> Info:
    """What a file says beside its weights, where that is plain: numbers, short texts, lists of these."""
    info: Info = {}
    for key, value in facts.items():
        if len(info) >= _MOST_ITEMS or not isinstance(key, str) or key in _NOT_INFO:
            continue
        taken = _plain(value)
        if taken is not None:
            info[printable(key)[:60]] = taken
    return info


def _plain(value: Any, deep: bool = True) -> Any:
    if isinstance(value, str):
        return printable(value)[:_LONGEST_TEXT]
    if isinstance(value, float):
        return value if math.isfinite(value) else None  # JSON has no other
    if isinstance(value, int):
        return value if abs(value) < 1 << 63 else None
    if isinstance(value, list | tuple) and deep:
        items = [_plain(item, deep=False) for item in value[:_MOST_ITEMS]]
        return [item for item in items if item is not None]
    return None
