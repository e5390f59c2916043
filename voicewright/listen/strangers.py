"""How alike a voice is to strangers: the zero of a normalised similarity.

A cosine says little by itself: one encoder gives two strangers .1, another .6. What is shipped
(`data/strangers.toml`) is, for each encoder, the mean of the vectors of 251 readers. By linearity its product
with a voice is the mean similarity of those 251 to it, so the mean serves as well as a table of people's
vectors would; and a mean of 251 is no one's biometric data. One fixed list keeps figures comparable from
corpus to corpus and from machine to machine.
"""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Strangers:
    """A list of strangers under one encoder. `mean` is of unit vectors, not itself one: [256]."""

    name: str
    count: int
    mean: NDArray[np.float32]

    def similarity(self, voice: NDArray[np.float32]) -> float:
        """Mean cosine of the strangers' clips to a voice (unit vector [256])."""
        return float(self.mean @ voice)


@functools.lru_cache(maxsize=4)
def strangers(encoder: str) -> Strangers | None:
    """The shipped list for an encoder (`Encoder.strangers`); None where there is none."""
    data = tomllib.loads(files("voicewright.listen").joinpath("data/strangers.toml").read_text("utf-8"))
    mean = data["mean"].get(encoder)
    if mean is None:
        return None
    return Strangers(data["name"], data["count"], np.asarray(mean, np.float32))
