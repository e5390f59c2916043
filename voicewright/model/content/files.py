"""A model folder's content network on disk: what lets the model convert speech (`<model>/content/`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from voicewright.catalogue.places import CONFIG, CONTENT, WEIGHTS
from voicewright.errors import VoicewrightError
from voicewright.model.checkpoint import Unfilled, write_network
from voicewright.model.config import ModelConfig
from voicewright.model.content.bottleneck import ContentConfig, ContentNet
from voicewright.model.layouts import compare
from voicewright.model.reading import read_content

_STYLE = "style"


@dataclass(frozen=True)
class Conversion:
    """What lets a model convert speech: the content network, and the voice's acoustic style [128] and median
    pitch in Hz."""

    net: ContentNet
    style: torch.Tensor
    pitch: float


def save_content(
    folder: Path,
    conversion: Conversion,
    card: Mapping[str, object] | None = None,
    dtype: torch.dtype = torch.float16,
) -> None:
    """Write a model folder's content network. Raises VoicewrightError when the disk refuses or a weight does
    not fit the type."""
    net = conversion.net
    state = {**net.state_dict(), _STYLE: conversion.style}
    facts = {
        "network": net.config.model_dump(),
        "text": net.text_width,
        "phones": net.phones.out_features,
        "pitch": round(float(conversion.pitch), 2),
    }
    write_network(Path(folder) / CONTENT, facts, state, card, dtype)


def load_content(folder: Path, config: ModelConfig) -> Conversion:
    """The content network of a model folder, in fp32 and eval mode.

    Raises VoicewrightError when there is none, or when it does not belong to a model of this configuration.
    """
    inner = Path(folder) / CONTENT
    path = inner / CONFIG
    if not path.is_file():
        raise VoicewrightError(
            f"{folder} cannot convert speech: it has no {CONTENT}/{CONFIG}; train one with a recipe whose "
            "`start` is this folder (see recipes/convert_tiny.yaml), or convert to tiny."
        )
    try:
        facts = json.loads(path.read_text("utf-8"))
        network = ContentConfig.model_validate(facts["network"])
        text, phones, pitch = int(facts["text"]), int(facts["phones"]), float(facts["pitch"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VoicewrightError(f"{path} cannot be read as a content network: {error}.") from error
    if (text, phones) != (config.hidden_dim, config.n_token) or not 20 < pitch < 2000:
        raise VoicewrightError(f"{path} belongs to another model: its widths or its pitch do not fit.")
    found = read_content(inner / WEIGHTS)
    state = {key: value.float().clone() for key, value in found.items() if isinstance(value, torch.Tensor)}
    with torch.device("meta"), Unfilled():
        net = ContentNet(network, text, phones)
    wanted = net.state_dict()
    compare(state, {**wanted, _STYLE: torch.empty(config.style_dim, device="meta")}, inner / WEIGHTS)
    net.load_state_dict({key: state[key].contiguous() for key in wanted}, assign=True)
    return Conversion(net.eval(), state[_STYLE], pitch)
