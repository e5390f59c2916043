"""What a run of adapters writes: folders that speak, with their voice and card; and what is heard of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from voicewright.audio.files import write as write_sound
from voicewright.catalogue.adapted import write_adapter
from voicewright.catalogue.places import CARD, CONFIG, VOICES, resolve_model
from voicewright.corpus.sources import safe_id
from voicewright.model.adapters import PARTS, READING, merge_whole, pairs, wholes
from voicewright.model.checkpoint import load_model, save_model
from voicewright.model.config import ModelConfig
from voicewright.model.tts.model import TTSModel
from voicewright.storage import plain, write_atomically
from voicewright.units import SAMPLE_RATE, STYLE
from voicewright.voices.pack import Voicepack

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Base:
    """The model that is adapted. net: folded, fp32. words: what names it; sha256: of its weights file;
    source: of what that was imported from."""

    net: TTSModel
    config: ModelConfig
    words: str
    sha256: str
    source: str


@dataclass(frozen=True)
class Heard:
    """A judgement: figures ("score" orders candidates) and what was spoken for it, by name; `before`: what
    there was to hear before anything was learnt, told once."""

    figures: Mapping[str, float]
    sounds: Mapping[str, Samples] = field(default_factory=dict)
    before: Mapping[str, Samples] = field(default_factory=dict)


AdaptJudge = Callable[[Path, Mapping[str, float]], Heard]
"""Judges the folder of an adapter, beside the run's first figures (empty for the start itself)."""


def write_candidate(
    folder: Path, base: Base, weights: Mapping[str, Tensor], start: Voicepack, card: Mapping[str, Any]
) -> None:
    """An adapter's folder, replacing an older one only once this one is whole.

    weights: a state dict of AdaptNetworks. Raises VoicewrightError when a number is none.
    """
    work = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    found = {name: pair for part in PARTS for name, pair in pairs(weights, part).items()}
    moved = {name: pair for name, pair in found.items() if bool(pair[1].any())}
    arrays = {
        name: (a.cpu().float().numpy(), b.cpu().float().numpy()) for name, (a, b) in (moved or found).items()
    }
    write_adapter(work, arrays, base.words, base.sha256, base.source)
    base.config.write(work / CONFIG)
    finish(work, folder, _moved(start, weights), card)


def write_whole(
    folder: Path, base: Base, weights: Mapping[str, Tensor], start: Voicepack, card: Mapping[str, Any]
) -> None:
    """A model's folder: the base with whole matrices merged, replacing an older one only once it is whole.

    Raises VoicewrightError when a number is none.
    """
    work = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    network, config, _ = load_model(resolve_model(base.words))
    state = dict(network.state_dict())
    merge_whole(
        state, {name: value for part in (*PARTS, *READING) for name, value in wholes(weights, part).items()}
    )
    network.load_state_dict(state)
    save_model(work, network, config)
    finish(work, folder, _moved(start, weights), card)


def _moved(start: Voicepack, weights: Mapping[str, Tensor]) -> Samples:
    """The start's rows [510, 1, 256] with what a state dict of AdaptNetworks adds to them."""
    rows = start.rows.copy()
    rows[..., :STYLE] += weights["acoustic.value"].cpu().numpy()
    rows[..., STYLE:] += weights["prosodic.value"].cpu().numpy()
    return rows


def finish(work: Path, folder: Path, rows: Samples, card: Mapping[str, Any]) -> None:
    """The voice and the card of a candidate; its folder then gets its name. rows [510, 1, 256]."""
    (work / VOICES).mkdir()
    Voicepack.of(rows.squeeze()).write(work / VOICES / f"{card['voice']}.safetensors")
    write_card(work, card)
    shutil.rmtree(folder, ignore_errors=True)
    work.rename(folder)


def write_card(folder: Path, card: Mapping[str, Any]) -> None:
    text = json.dumps(plain(card), indent=1, ensure_ascii=False) + "\n"
    write_atomically(folder / CARD, text.encode())


def heard(judge: AdaptJudge | None, step: int, folder: Path, first: Mapping[str, float]) -> Heard:
    """What a judge hears of a candidate; without one the later is the better."""
    return judge(folder, first) if judge is not None else Heard({"score": float(step)})


def keep_sounds(folder: Path, sounds: Mapping[str, Samples]) -> None:
    """By name, as WAV."""
    for name, samples in sounds.items():
        folder.mkdir(parents=True, exist_ok=True)
        write_sound(folder / f"{safe_id(name)}.wav", samples, SAMPLE_RATE)
