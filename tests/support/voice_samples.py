"""Made-up voicepacks with the geometry of Kokoro's, for tests that must do without real ones."""

from __future__ import annotations

import numpy as np

from voicewright.voices.geometry import HALVES, kokoro
from voicewright.voices.pack import Voicepack
from voicewright.voices.repair import curve_basis
from voicewright.voices.rows import ROWS, WIDTH


def sample_pack(seed: int = 0) -> Voicepack:
    """Kokoro's mean voice plus a random one, on the curve {1, log, t, t²}, with usual norms."""
    rng = np.random.default_rng(seed)
    basis = curve_basis(np.arange(ROWS, dtype=np.float64))
    rows = np.empty((ROWS, WIDTH))
    for name, part in HALVES.items():
        usual = kokoro().half(name)
        target = usual.over_rows("median")
        own = np.asarray(usual.mean) + _of_norm(rng, 1.2)
        # A second direction carries the change with length, so that the norm is the usual one there.
        change = _of_norm(rng, 1.0)
        wanted = np.sqrt(np.maximum(target**2 - float(own @ own), 0.0))
        weights, *_ = np.linalg.lstsq(basis, wanted, rcond=None)
        rows[:, part] = own + (basis @ weights)[:, None] * change
    return Voicepack.of(rows.astype(np.float32))


def _of_norm(rng: np.random.Generator, norm: float) -> np.ndarray:
    vector = rng.standard_normal(WIDTH // 2)
    return np.asarray(norm * vector / np.linalg.norm(vector))
