"""What style encoders are taught with: many readers' clips under the model's own times, and drawn voices.

Both cost minutes of rendering, so each is kept in the run's folder as it comes and a stopped run goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from voicewright.errors import VoicewrightError
from voicewright.listen.speaker import Encoder, Samples, mean_voice
from voicewright.storage import replacing
from voicewright.training.adapt.batches import own_clips
from voicewright.training.clone.drawn import Spread
from voicewright.training.clone.task import Reader
from voicewright.units import SAMPLE_RATE
from voicewright.voices.fit import CROP, HeardMel
from voicewright.voices.known import Portrait, assembled, nearest, portrait, prosody_blend
from voicewright.voices.phones import PhoneEar, StartsPhones
from voicewright.voices.references import Energy, Reference, Take, aligned
from voicewright.voices.studio import Line, Studio
from voicewright.voices.style_encoders import Impression, impression

_VIEWS = 4
"""Numbers of a clip: of the whole, and of sections of it."""
_SECTION = (1.7, 4.0)
"""Seconds of a section, from and to."""
_BAND = 7_600.0
"""Hz up to which log-mels are compared: many readers' recordings end at 8 kHz."""
_TOGETHER = 2
"""Sentences that a drawn voice speaks."""

Told = Callable[[str, int, int], object]


@dataclass(frozen=True)
class Ears:
    """Who listens to readers and to drawn voices: CAM++, Resemblyzer, phones."""

    surest: Encoder
    second: Encoder
    phones: PhoneEar

    def of(self, clips: Sequence[Samples]) -> Impression:
        return impression(clips, self.surest, self.second, self.phones)


@dataclass(frozen=True)
class Heard:
    """A reader as she is kept: references with phones, and of each the numbers [V, 452]."""

    references: list[Reference]
    numbers: list[Tensor]


def hear_reader(
    takes: Sequence[Take], studio: Studio, ears: Ears, known: dict[str, Portrait], scale: Energy, seed: int
) -> Heard | None:
    """A reader's clips, aligned by the known voice that is nearest to her; None where none is of use."""
    own = [take.samples for take in takes]
    try:
        wanted = portrait(own, [len(take.tokens) - 2 for take in takes], ears.surest)
        whole = ears.of(own)
    except VoicewrightError:  # no pitch: a whisperer, or no speech
        return None
    names = nearest(wanted, known, 3)
    references, _ = aligned(takes, studio.render, {names[0]: studio.packs[names[0]]}, scale)
    references = [item for item in references if item.frames > CROP]
    if not references:
        return None
    start = assembled(dict.fromkeys(names, 1 / 3), prosody_blend(wanted, known), studio.packs)
    says = StartsPhones(studio.net, start, ears.phones, studio.precision)
    numbers = [_views(item.sound.numpy(), whole, ears, np.random.default_rng(seed)) for item in references]
    return Heard([replace(item, phones=says.of(item)) for item in references], numbers)


def _views(sound: Samples, whole: Impression, ears: Ears, rng: np.random.Generator) -> Tensor:
    found = []
    for number in range(_VIEWS):
        length = len(sound) if number == 0 else min(len(sound), int(SAMPLE_RATE * rng.uniform(*_SECTION)))
        at = int(rng.integers(0, len(sound) - length + 1))
        part = sound[at : at + length]
        timbre = np.concatenate([ears.surest.embed(part), ears.second.embed(part)])
        found.append(replace(whole, timbre=timbre).prosody())
    return torch.from_numpy(np.stack(found))


def keep_reader(path: Path, heard: Heard | None) -> None:
    """Kept in half precision; an empty file's worth for one who is of no use."""
    state: dict[str, Tensor] = {}
    for n, (item, numbers) in enumerate(zip(heard.references, heard.numbers, strict=True) if heard else ()):
        assert item.phones is not None
        state |= {
            f"{n}.tokens": item.tokens, f"{n}.durations": item.durations, f"{n}.sound": item.sound.half(),
            f"{n}.f0": item.f0.half(), f"{n}.energy": item.energy.half(), f"{n}.phones": item.phones.half(),
            f"{n}.numbers": numbers.half(),
        }  # fmt: skip
    ids = [item.id for item in heard.references] if heard else []
    with replacing(path) as part:
        save_file({key: value.contiguous() for key, value in state.items()}, part, {"ids": json.dumps(ids)})


def kept_reader(path: Path) -> Heard:
    """Raises VoicewrightError for a damaged file."""
    try:
        with safe_open(path, framework="pt") as file:
            ids = json.loads((file.metadata() or {})["ids"])
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        found = Heard([], [])
        for n, name in enumerate(ids):
            phones = state[f"{n}.phones"].float()
            found.references.append(
                Reference(
                    name,
                    state[f"{n}.tokens"],
                    state[f"{n}.durations"],
                    state[f"{n}.sound"].float(),
                    state[f"{n}.f0"].float(),
                    state[f"{n}.energy"].float(),
                    phones,
                )
            )
            found.numbers.append(state[f"{n}.numbers"].float())
        return found
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise VoicewrightError(
            f"{path} is damaged ({type(error).__name__}); delete it and resume."
        ) from error


def reader_of(name: str, heard: Heard, studio: Studio, curve: Tensor) -> Reader:
    """For training. curve [510, 256]: what is added to what the encoders say."""
    vectors = np.concatenate([numbers[:1, 4:].numpy() for numbers in heard.numbers])
    wanted = [torch.from_numpy(mean_voice(part)) for part in (vectors[:, :192], vectors[:, 192:])]
    clips = own_clips(studio.net, heard.references, curve)
    return Reader(name, clips, heard.numbers, wanted, HeardMel(heard.references, _BAND))


def drawn_pairs(
    path: Path,
    count: int,
    seed: int,
    spread: Spread,
    studio: Studio,
    ears: Ears,
    lines: Sequence[Line],
    told: Told,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Numbers [N, 452] of drawn voices as they sound, and their styles [N, 256]; kept in `path`."""
    heard, styles, drawn = kept_pairs(path)
    while drawn < count:
        told("drawing voices", drawn, count)
        rng = np.random.default_rng([seed, drawn])
        style = spread.draw(rng)
        drawn += 1
        pack = spread.pack(style)
        spoken = studio.clips(pack, [lines[int(n)] for n in rng.choice(len(lines), _TOGETHER, replace=False)])
        try:
            heard.append(ears.of([_levelled(clip, rng.random() < 0.5) for clip in spoken]).prosody())
        except VoicewrightError:  # silent, or without a pitch: a voice that nobody has
            continue
        styles.append(style)
        if drawn % 50 == 0:
            _keep_pairs(path, heard, styles, drawn)
    told("drawing voices", count, count)
    _keep_pairs(path, heard, styles, drawn)
    heard, styles, _ = kept_pairs(path)  # as a run that goes on reads them
    return np.stack(heard).astype(np.float64), np.stack(styles)


def _levelled(clip: Samples, narrow: bool) -> Samples:
    """At a recording's level; narrow: without what is above 8 kHz."""
    sound = clip * (0.06 / max(float(np.sqrt(np.mean(clip**2))), 1e-6))
    if narrow:
        bins = np.fft.rfft(sound)
        bins[len(bins) * 16_000 // SAMPLE_RATE :] = 0
        sound = np.fft.irfft(bins, len(sound))
    return np.asarray(sound, np.float32)


def _keep_pairs(
    path: Path, heard: list[NDArray[np.float32]], styles: list[NDArray[np.float64]], drawn: int
) -> None:
    state = {"heard": torch.from_numpy(np.stack(heard)), "styles": torch.from_numpy(np.stack(styles)).float()}
    with replacing(path) as part:
        save_file(state, part, {"drawn": str(drawn)})


def kept_pairs(path: Path) -> tuple[list[NDArray[np.float32]], list[NDArray[np.float64]], int]:
    """Numbers, styles, and how many were drawn. Raises VoicewrightError for a damaged file."""
    if not path.is_file():
        return [], [], 0
    try:
        with safe_open(path, framework="np") as file:
            drawn = int((file.metadata() or {})["drawn"])
            return list(file.get_tensor("heard")), list(file.get_tensor("styles").astype(np.float64)), drawn
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise VoicewrightError(
            f"{path} is damaged ({type(error).__name__}); delete it and resume."
        ) from error
