"""What a conversion said beside its samples, kept."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from voicewright.conversion.protocol import Converted, Samples

Floats = NDArray[np.float32]


@dataclass
class Notes:
    """A Note that keeps everything."""

    warnings: dict[str, None] = field(default_factory=dict)
    semitones: float = 0.0
    source: list[Floats] = field(default_factory=list)
    target: list[Floats] = field(default_factory=list)

    def warn(self, message: str) -> None:
        self.warnings[message] = None

    def transposed(self, semitones: float) -> None:
        self.semitones = semitones

    def pitch(self, f0_source: Floats, f0_target: Floats) -> None:
        self.source.append(f0_source)
        self.target.append(f0_target)

    def converted(self, samples: Samples, rate: int) -> Converted:
        nothing = [np.zeros(0, np.float32)]
        return Converted(
            samples,
            rate,
            np.concatenate(self.source or nothing),
            np.concatenate(self.target or nothing),
            self.semitones,
            tuple(self.warnings),
        )
