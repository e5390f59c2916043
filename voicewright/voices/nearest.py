"""Which voices a voice is near to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from voicewright.voices.geometry import HALVES, Geometry, cosine
from voicewright.voices.pack import Voicepack
from voicewright.voices.rows import SHORT


@dataclass(frozen=True)
class Neighbour:
    """Distance is between the means over rows from the 20th on; cosines are of what sets the two apart from
    the mean voice of the model, half by half."""

    name: str
    family: str
    distance: float
    acoustic_cosine: float
    prosodic_cosine: float


def family(name: str) -> str:
    """Kokoro's two letters, language and sex (`af`: American, female); `other` for a name without them."""
    found = re.match(r"([a-z][fm])_", name)
    return found[1] if found else "other"


def neighbours(pack: Voicepack, others: Mapping[str, Voicepack], geometry: Geometry) -> list[Neighbour]:
    """All the others, nearest first."""
    mine = pack.rows[SHORT:, 0].mean(axis=0, dtype=np.float64)
    found = []
    for name, other in others.items():
        its = other.rows[SHORT:, 0].mean(axis=0, dtype=np.float64)
        cosines = {
            half: cosine(mine[part] - geometry.half(half).mean, its[part] - geometry.half(half).mean)
            for half, part in HALVES.items()
        }
        distance = float(np.linalg.norm(mine - its))
        found.append(Neighbour(name, family(name), distance, cosines["acoustic"], cosines["prosodic"]))
    return sorted(found, key=lambda neighbour: neighbour.distance)


def by_family(found: list[Neighbour]) -> dict[str, list[Neighbour]]:
    """Grouped, the family of the nearest voice first."""
    families: dict[str, list[Neighbour]] = {}
    for neighbour in found:
        families.setdefault(neighbour.family, []).append(neighbour)
    return families
