"""What RVC conversions share: the voice, what it says of itself, transposition, protection,
what was heard."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from voicewright.conversion.pitch import semitones_between
from voicewright.conversion.protocol import ConvertOptions, Samples
from voicewright.errors import UsageError
from voicewright.stopping import Cancel

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from voicewright.rvc.convert.index import Index

Floats = NDArray[np.float32]


class Content(Protocol):
    """What hears what is said: `rvc/content/files.py` has it."""

    def encode(self, samples: Tensor, version: Any) -> Tensor:
        """[B, n] at 16 kHz → [B, frames of 20 ms, 256 | 768]."""
        ...


class Voice(Protocol):
    """An RVC voice: `rvc/files/checkpoint.py` opens them."""

    @property
    def config(self) -> Any: ...

    @property
    def synthesizer(self) -> Any: ...

    @property
    def info(self) -> Any: ...


class Estimate(Protocol):
    """F0 of samples [n] at 16 kHz in Hz every 10 ms, 0 where unvoiced: [n // 160 + 1]."""

    def __call__(
        self, samples: Floats, method: str, *, f0_min: float, f0_max: float, whole: bool
    ) -> Floats: ...


class Parts(Protocol):
    """What every way of converting is made of; `pipeline.RvcConverter` has them."""

    voice: Voice
    device: str

    @property
    def name(self) -> str: ...

    def estimate(self, samples: Floats, options: ConvertOptions) -> Floats: ...

    def features(
        self, samples: Floats, options: ConvertOptions, cancel: Cancel | None
    ) -> tuple[Floats, Floats]: ...

    def synthesise(
        self,
        features: Floats,
        f0: Floats | None,
        pitch: NDArray[np.int64] | None,
        speaker: int,
        generator: torch.Generator,
        cancel: Cancel | None,
    ) -> Samples: ...


def settle(options: ConvertOptions, name: str, voice: Voice, voiced: Floats) -> tuple[float, str | None]:
    """Semitones for "auto", from the source's median to the target's, and what there is to say of it."""
    target = options.target_pitch or known_pitch(voice)
    if target is None:
        return 0.0, (
            f"{name} does not say how high it speaks, so the pitch is left as it is; give "
            "--pitch +N in semitones, or --target-pitch with the voice's median in Hz."
        )
    source = options.source_pitch or (float(np.median(voiced)) if len(voiced) else 0.0)
    return semitones_between(source, target), None


def expected_pitch(voice: Voice, options: ConvertOptions) -> str | None:
    """What there is to say where a voice's own file wants its pitch otherwise than the options give it."""
    said = voice.info.get("unvoiced") if hasattr(voice.info, "get") else None
    if not voice.config.f0 or said != "interpolate" or options.unvoiced == said or options.exact:
        return None
    return "the voice was trained on pitch without gaps: --unvoiced interpolate gives it that."


def known_pitch(voice: Voice) -> float | None:
    """The median F0 in Hz that a voice's own file gives, where it does (`median_f0`)."""
    said = voice.info.get("median_f0") if hasattr(voice.info, "get") else None
    plain = isinstance(said, int | float) and not isinstance(said, bool)
    return float(said) if plain and 30 <= said <= 2000 else None  # type: ignore[arg-type, operator]


def speaker_row(voice: Voice, speaker: int, name: str) -> int:
    """The row of the speaker table that is meant. Raises UsageError in one sentence."""
    count = int(voice.config.speakers)
    if not 0 <= speaker < count:
        table = f"its table goes from 0 to {count - 1}" if count > 1 else "it has only speaker 0"
        raise UsageError(f"{name} has no speaker {speaker}; {table}.")
    return speaker


def protect(features: Floats, plain: Floats, f0: Floats, share: float) -> Floats:
    """Unvoiced frames get only `share` of what retrieval changed; at 0.5 and above they are left alone."""
    if share >= 0.5 or features is plain:
        return features
    kept = np.where(f0 < 1, np.float32(share), np.float32(1))[:, None]
    return np.asarray(features * kept + plain * (1 - kept), np.float32)


def ignored(voice: Voice, indexed: bool) -> dict[str, str]:
    """Options that change nothing with an RVC voice → why."""
    found: dict[str, str] = {}
    if not indexed:
        found |= dict.fromkeys(("index_rate", "protect"), "there is no --index")
    if not voice.config.f0:
        names = ("pitch", "target_pitch", "method", "unvoiced", "protect")
        found |= dict.fromkeys(names, "the voice was trained without pitch")
    return found


def doubled(features: Floats, frames: int) -> Floats:
    """Every 20 ms twice, [frames, C]; the last one held where the encoder gave too few."""
    twice = np.repeat(features, 2, axis=0)[:frames]
    return np.pad(twice, ((0, frames - len(twice)), (0, 0)), "edge") if len(twice) < frames else twice


def check_index(index: Index | None, voice: Voice, name: str) -> None:
    """Raises UsageError for an index of another width than the voice's features."""
    if index is not None and index.width != voice.config.phone_width:
        raise UsageError(
            f"{index.path} is {index.width} wide, and {name} needs {voice.config.phone_width}: it belongs to "
            "another version of RVC; give the index that came with the voice."
        )
