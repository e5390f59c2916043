"""From a run's EMA weights to a model folder that speaks: weights, configuration, voicepacks, card."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from voicewright.corpus.features import Features
from voicewright.model.checkpoint import save_model
from voicewright.model.config import ModelConfig
from voicewright.model.content.bottleneck import ContentConfig
from voicewright.model.content.files import Conversion, save_content
from voicewright.model.diffusion_files import save_diffusion
from voicewright.model.tts.diffusion import DiffusionConfig, StyleDiffusion
from voicewright.training.calibrate import match_spectrum, spread_pitch
from voicewright.training.stages import Networks
from voicewright.units import STYLE
from voicewright.voices.encode import encode_voice

Judge = Callable[[Path], Mapping[str, float]]
"""Judges a model folder by held-out speech. The key "score" orders checkpoints: higher is better."""

TRAINED = "trained"
"""Beside the score: the share of the parts that a run trains which had been trained by then."""

TYPICAL = 60
"""Tokens of a sentence whose style stands for the voice when it converts speech: about five seconds."""


def voice_name(speaker: str) -> str:
    """A speaker's id as a voice name: letters, digits, `_` and `-` only."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in speaker)
    return kept.strip("_") or "voice"


def write_model(
    folder: Path,
    config: ModelConfig,
    weights: Mapping[str, Tensor],
    utterances: Sequence[Features],
    card: Mapping[str, Any],
    dtype: torch.dtype = torch.float32,
    held_out: Sequence[Features] = (),
) -> None:
    """Write a complete model folder (replacing an older one only once this one is whole).

    `utterances` give the voicepacks; `held_out` ones of a single speaker calibrate the spread of pitch
    and the long-term spectrum.
    """
    work = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(work, ignore_errors=True)
    networks = Networks(config)
    kept = networks.state_dict().keys()
    networks.load_state_dict({key: value.cpu() for key, value in weights.items() if key in kept})
    networks.eval()
    packs = {}
    for speaker in sorted({f.speaker for f in utterances}):
        packs[speaker] = encode_voice(networks.styles, [f for f in utterances if f.speaker == speaker])
    details = dict(card)
    if held_out and len(packs) == 1:
        pack = next(iter(packs.values()))
        details["pitch_spread"] = spread_pitch(networks.tts, pack, held_out)
        details["spectrum_shift_db"] = match_spectrum(networks.tts, pack, held_out)
    save_model(work, networks.tts, config, style_encoders=networks.styles, card=details, dtype=dtype)
    voices = work / "voices"
    voices.mkdir(exist_ok=True)
    for speaker, pack in packs.items():
        pack.write(voices / f"{voice_name(speaker)}.safetensors")
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    work.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def copy_start(start: Path, folder: Path, changed: Sequence[str]) -> None:
    """Copy the model folder that a run starts from, as it is, but for the networks of it that are trained."""
    work = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(start, work, ignore=shutil.ignore_patterns(*changed))
    shutil.rmtree(folder, ignore_errors=True)
    work.rename(folder)


def write_diffusion(
    folder: Path,
    config: ModelConfig,
    diffusion: DiffusionConfig,
    weights: Mapping[str, Tensor],
    card: Mapping[str, Any],
) -> None:
    """Write a model's style diffusion beside the model."""
    network = StyleDiffusion(diffusion, config.plbert.hidden_size, 2 * config.style_dim)
    head = "diffusion."
    network.load_state_dict(
        {key.removeprefix(head): value.cpu() for key, value in weights.items() if key.startswith(head)}
    )
    save_diffusion(folder, network, card)


def write_converter(
    folder: Path,
    config: ModelConfig,
    content: ContentConfig,
    weights: Mapping[str, Tensor],
    utterances: Sequence[Features],
    card: Mapping[str, Any],
) -> None:
    """Write a model's content network beside the model.

    `utterances` must be of one speaker, the one that is converted to.
    """
    networks = Networks(config, content)
    kept = networks.state_dict().keys()
    networks.load_state_dict({key: value.cpu() for key, value in weights.items() if key in kept})
    assert networks.content is not None
    networks.eval()
    voiced = np.concatenate([f.f0[f.f0 > 0] for f in utterances])
    pack = encode_voice(networks.styles, utterances)
    style = torch.from_numpy(pack.style(TYPICAL)[:STYLE].copy())
    save_content(folder, Conversion(networks.content, style, float(np.median(voiced))), card)


def keep_best(
    out: Path,
    step: int,
    verdict: Mapping[str, float],
    best: list[dict[str, float]],
    keep: int,
    trained: float = 1.0,
) -> bool:
    """Enter a judged candidate (`out/judged/step-N`) into the ranking; `out/best` always holds the top one.

    More of the run's parts `trained` comes before a better score: figures cannot prefer a voice whose pitch
    and timing are still somebody else's. Returns whether this candidate is the best so far. Those beyond
    `keep` are removed.
    """
    best.append({"step": float(step), **{k: float(v) for k, v in verdict.items()}, TRAINED: trained})
    best.sort(key=_rank)
    for entry in best[keep:]:
        shutil.rmtree(candidate(out, int(entry["step"])), ignore_errors=True)
    del best[keep:]
    leads = bool(best) and int(best[0]["step"]) == step
    _write_ranking(out, best, leads)
    return leads


def judge_again(
    out: Path, best: list[dict[str, float]], judge: Callable[[int, Path], Mapping[str, float]]
) -> None:
    """Give the ranked candidates new verdicts, by ears that the old ones cannot be compared with.

    `judge` is called with a candidate's step and folder. Those whose folder is gone leave the ranking.
    """
    found = []
    for entry in best:
        step = int(entry["step"])
        if (folder := candidate(out, step)).is_dir():
            verdict = {key: float(value) for key, value in judge(step, folder).items()}
            found.append({"step": float(step), **verdict, TRAINED: entry.get(TRAINED, 1.0)})
    best[:] = sorted(found, key=_rank)
    if best:
        _write_ranking(out, best, True)


def read_ranking(out: Path) -> list[dict[str, float]]:
    """What `best.json` has; nothing where there is none."""
    path = out / "best.json"
    ranking: list[dict[str, float]] = json.loads(path.read_text("utf-8")) if path.is_file() else []
    return ranking


def rank_again(out: Path, best: list[dict[str, float]]) -> None:
    """Sort entries of which one has got a new verdict, and write them."""
    best.sort(key=_rank)
    _write_ranking(out, best, True)


def _rank(entry: Mapping[str, float]) -> tuple[float, float]:
    return -entry.get(TRAINED, 1.0), -entry["score"]


def candidate(out: Path, step: int) -> Path:
    """The folder of a judged candidate."""
    return out / "judged" / f"step-{step:08d}"


def _write_ranking(out: Path, best: Sequence[Mapping[str, float]], changed: bool) -> None:
    """`best.json`, and `out/best` from the first candidate where that has `changed`."""
    if changed:
        work, final = out / ".best.writing", out / "best"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(candidate(out, int(best[0]["step"])), work)
        shutil.rmtree(final, ignore_errors=True)
        work.rename(final)
    (out / "best.json").write_text(json.dumps(best, indent=1) + "\n", "utf-8")
