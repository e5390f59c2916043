"""What voicepacks of one model have in common, as a few numbers: what `lint` and `inspect` compare with.

`data/kokoro.json` holds such numbers of the 54 public packs of Kokoro 1.0, and no pack: the mean of all
voices, and how far norms, steps between rows and directions of single voices go
(`benchmarks/voice_geometry.py` wrote it). "Cosine" below is between a half's mean over the long rows and
the mean of all voices there; for the public packs each voice was left out of the mean that it was
compared with.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicewright.errors import VoicewrightError
from voicewright.units import STYLE
from voicewright.voices.rows import ROWS, SHORT

KNOTS = (0, 1, 2, 3, 5, 7, 10, 14, 19, 30, 50, 75, 100, 150, 200, 300, 400, 508)
"""Rows at which ranges are kept; between them they are interpolated over log(row + 1)."""
HALVES = {"acoustic": slice(0, STYLE), "prosodic": slice(STYLE, 2 * STYLE)}
ENOUGH = 8
"""So many packs tell what is usual; fewer only tell a direction."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Half:
    """One half of the rows. Ranges are over voices, at `KNOTS`."""

    mean: tuple[float, ...]
    """[128] mean over voices of the mean over rows from `SHORT` on."""
    lowest: tuple[float, ...]
    """Smallest norm of a row."""
    median: tuple[float, ...]
    highest: tuple[float, ...]
    step: tuple[float, ...]
    """Largest distance from one row to the next."""
    cosine: float
    """Smallest cosine of a voice with the mean of the others."""
    spread: float
    """Smallest mean distance of a voice's rows from their mean."""

    def over_rows(self, name: str) -> Floats:
        """[510] `lowest`, `median`, `highest` or `step`, at every row."""
        at = np.log1p(np.arange(ROWS))
        return np.interp(at, np.log1p(KNOTS), np.asarray(getattr(self, name)))


@dataclass(frozen=True)
class Geometry:
    """Numbers of `packs` packs of the model called `model`."""

    model: str
    packs: int
    acoustic: Half
    prosodic: Half

    def half(self, name: str) -> Half:
        found: Half = getattr(self, name)
        return found

    @property
    def tells_ranges(self) -> bool:
        """False where there were too few packs to say what is out of the ordinary."""
        return self.packs >= ENOUGH

    def as_json(self) -> str:
        return json.dumps(asdict(self), indent=None, separators=(",", ":")) + "\n"

    @classmethod
    def of(cls, model: str, packs: Sequence[NDArray[np.floating]]) -> Geometry:
        """Measured over packs [510, 1, 256]. Raises VoicewrightError when there is none."""
        if not packs:
            raise VoicewrightError(f"there is no voicepack to learn the geometry of {model} from.")
        stacked = np.stack([np.asarray(pack, dtype=np.float64).reshape(ROWS, -1) for pack in packs])
        halves = {name: _measure(stacked[:, :, part]) for name, part in HALVES.items()}
        return cls(model, len(packs), halves["acoustic"], halves["prosodic"])


def kokoro() -> Geometry:
    """Of the 54 public packs of Kokoro 1.0."""
    path = resources.files("voicewright") / "voices" / "data" / "kokoro.json"
    fields = json.loads(path.read_text("utf-8"))
    return Geometry(fields["model"], fields["packs"], _half(fields["acoustic"]), _half(fields["prosodic"]))


def _half(fields: dict[str, Any]) -> Half:
    held: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in fields.items()}
    return Half(**held)


def _measure(half: Floats) -> Half:
    """half: [voices, 510, 128]."""
    norms = np.linalg.norm(half, axis=2)
    steps = np.linalg.norm(np.diff(half, axis=1), axis=2)
    means = half[:, SHORT:].mean(axis=1)
    spread = np.linalg.norm(half - half.mean(axis=1, keepdims=True), axis=2).mean(axis=1)
    others = (means.sum(axis=0) - means) / max(len(means) - 1, 1) if len(means) > 1 else means
    # Between two knots a step may be larger than at both, so a knot speaks for all rows up to the next.
    bounds = [*KNOTS[1:], ROWS - 1]
    largest = [float(steps[:, a : max(b, a + 1)].max()) for a, b in zip(KNOTS, bounds, strict=True)]
    return Half(
        mean=_rounded(means.mean(axis=0)),
        lowest=_rounded(norms[:, KNOTS].min(axis=0)),
        median=_rounded(np.median(norms[:, KNOTS], axis=0)),
        highest=_rounded(norms[:, KNOTS].max(axis=0)),
        step=_rounded(np.array(largest)),
        cosine=round(min(cosine(a, b) for a, b in zip(means, others, strict=True)), 4),
        spread=round(float(spread.min()), 4),
    )


def _rounded(values: Floats) -> tuple[float, ...]:
    return tuple(round(float(value), 4) for value in values)


def cosine(a: NDArray[np.floating], b: NDArray[np.floating] | Sequence[float]) -> float:
    """Of two vectors; 0 where one of them is zero."""
    one, two = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    size = float(np.linalg.norm(one) * np.linalg.norm(two))
    return float(one @ two) / size if size > 0 else 0.0


def directions(rows: NDArray[np.floating], geometry: Geometry) -> dict[str, float]:
    """Cosine of each half with the model's mean, and as if the halves were swapped; rows [510, 256]."""
    long = np.asarray(rows, dtype=np.float64)[SHORT:]
    long = long[np.isfinite(long).all(axis=1)]
    mean = long.mean(axis=0) if len(long) else np.zeros(rows.shape[1])
    acoustic, prosodic = mean[HALVES["acoustic"]], mean[HALVES["prosodic"]]
    return {
        "acoustic": cosine(acoustic, geometry.acoustic.mean),
        "prosodic": cosine(prosodic, geometry.prosodic.mean),
        "acoustic_swapped": cosine(prosodic, geometry.acoustic.mean),
        "prosodic_swapped": cosine(acoustic, geometry.prosodic.mean),
    }
