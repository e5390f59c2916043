"""From a run's weights to the small file that every RVC program opens; how near held-out speech it comes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voicewright.audio.files import write_atomically
from voicewright.rvc.files.checkpoint import save_voice
from voicewright.rvc.network.losses import VoiceMel
from voicewright.rvc.network.synthesizer import Synthesizer
from voicewright.rvc.train.features import FRAMES, MUTE, Slice
from voicewright.rvc.train.recipe import MELS, VoiceRecipe

IndexBuilder = Callable[[NDArray[np.float32], Path, str, str], Path]
"""(rows [N, width], folder, name, version) → the index file it wrote, total_fea.npy beside it."""


def speaking(recipe: VoiceRecipe, weights: Mapping[str, Tensor]) -> Synthesizer:
    """The synthesizer of a run's weights (`synthesizer.…`), without the posterior, on the CPU."""
    synthesizer = Synthesizer(recipe.config, posterior=False)
    own = {key.removeprefix("synthesizer."): value.cpu() for key, value in weights.items()}
    synthesizer.load_state_dict({k: v for k, v in own.items() if not k.startswith("enc_q.")})
    return synthesizer.eval()


def write_candidate(
    folder: Path, name: str, synthesizer: Synthesizer, info: Mapping[str, Any], card: Mapping[str, Any]
) -> Path:
    """`folder/name.pth` with its card, replacing an older folder once this one is whole."""
    work = folder.with_name(f".{folder.name}.writing")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    save_voice(work / f"{name}.pth", synthesizer, info)
    (work / "card.json").write_text(json.dumps(card, indent=1, ensure_ascii=False) + "\n", "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    work.rename(folder)
    return folder / f"{name}.pth"


@torch.no_grad()
def copied(
    synthesizer: Synthesizer,
    slices: Sequence[Slice],
    speakers: Sequence[str],
    coarse: Callable[[NDArray[np.float32]], NDArray[np.integer]],
) -> list[tuple[Slice, NDArray[np.float32], NDArray[np.float32]]]:
    """Held-out slices said again from content, pitch and speaker alone: (slice, made, recording)."""
    config = synthesizer.config
    found = []
    for number, one in enumerate(slices):
        stored = one.load()
        f0 = stored["f0"][: one.frames]
        phone = np.repeat(stored["phone"].astype(np.float32), 2, axis=0)[: one.frames]
        pitch = torch.from_numpy(coarse(f0).astype(np.int64))[None] if config.f0 else None
        made = synthesizer.infer(
            torch.from_numpy(phone)[None],
            torch.tensor([one.frames]),
            pitch,
            torch.from_numpy(f0)[None] if config.f0 else None,
            torch.tensor([list(speakers).index(one.speaker)]),
            generator=torch.Generator().manual_seed(number),
        )
        found.append((one, made[0].numpy(), stored["samples"][: one.frames * config.hop]))
    return found


def distance(recipe: VoiceRecipe, pairs: Sequence[tuple[Slice, NDArray[Any], NDArray[Any]]]) -> float:
    """Mean distance of log-mels in dB between what was made and the recordings."""
    rate = recipe.config.sample_rate
    mel = VoiceMel(rate, recipe.n_fft, rate // FRAMES, MELS[rate])
    apart = []
    for _, made, real in pairs:
        a, b = (mel(torch.from_numpy(np.array(x))[None]) for x in (made, real))
        apart.append(float((a - b).abs().mean()))
    return 20 / np.log(10) * float(np.mean(apart))


def held_out(slices: Sequence[Slice], count: int) -> list[Slice]:
    """At most `count` of them, evenly spread, silence left out."""
    sound = [s for s in slices if s.utterance != MUTE]
    if len(sound) <= count:
        return sound
    return [sound[round(i * (len(sound) - 1) / max(1, count - 1))] for i in range(count)]


def write_index(
    slices: Sequence[Slice], recipe: VoiceRecipe, out: Path, name: str, build: IndexBuilder
) -> Path:
    """The retrieval index of all features that were trained on."""
    rows = [s.load()["phone"].astype(np.float32) for s in slices if s.utterance != MUTE]
    return build(np.concatenate(rows), out, name, recipe.version)


def publish(best: Path, out: Path) -> Path:
    """The best candidate's voice as `out/NAME.pth`, beside its index."""
    voice = next(best.glob("*.pth"))
    write_atomically(out / voice.name, voice.read_bytes())
    return out / voice.name
