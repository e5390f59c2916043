"""How a voice's style varies with sentence length, fitted from measured styles.

Basis {1, log(t+1), t, t²} with t = token count - 1: over the 54 public voicepacks these four explain
99.8 % of the variation within a voice, so that a few dozen observations determine all 510 rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from voicewright.errors import VoicewrightError
from voicewright.voices.pack import ROWS, WIDTH, Voicepack

MARGIN = 0.1
"""How far beyond the observed lengths the curve is followed, as a share of the end; then it is flat."""
_PENALTIES = np.geomspace(1e-4, 1e6, 31)

Floats = NDArray[np.float64]


def fit_curve(counts: Sequence[int], styles: NDArray[np.float32], margin: float = MARGIN) -> Voicepack:
    """The pack whose rows follow the styles observed at these token counts.

    counts: N token counts (pads not counted); styles: [N, 256]. Ridge regression on the standardised basis,
    so that the penalty pulls towards the mean style; its strength is the one that predicts left-out
    observations best, which is "all the way to the mean" when length tells nothing. Outside the observed
    range (plus `margin`) rows repeat the end of the range. Raises VoicewrightError on empty, mismatched or
    non-finite input.
    """
    count = np.asarray(counts, dtype=np.float64)
    style = np.asarray(styles, dtype=np.float64)
    if count.ndim != 1 or style.shape != (len(count), WIDTH) or len(count) == 0:
        raise VoicewrightError(
            f"fitting a voice needs one style of {WIDTH} values for each token count; "
            f"the shapes are {count.shape} and {style.shape}."
        )
    if not np.isfinite(style).all() or (count < 1).any():
        raise VoicewrightError("fitting a voice needs finite styles and token counts of at least 1.")
    mean = style.mean(axis=0)
    rows = np.tile(mean, (ROWS, 1))
    if len(count) >= 3 and np.ptp(count) > 0:
        basis = length_basis(count)
        centre, spread = basis.mean(axis=0), basis.std(axis=0)
        slopes = _ridge((basis - centre) / spread, style - mean)
        low, high = count.min() * (1 - margin), count.max() * (1 + margin)
        inside = np.clip(np.arange(1, ROWS + 1, dtype=np.float64), low, high)
        rows += ((length_basis(inside) - centre) / spread) @ slopes
    return Voicepack.of(rows)


def length_basis(count: Floats) -> Floats:
    """[N, 3]: log(t+1), t, t² with t on [0, 1] over the table; the constant is the mean, kept apart."""
    t = (count - 1) / (ROWS - 1)
    return np.stack([np.log(np.maximum(count, 1.0)), t, t * t], axis=1)


def _ridge(x: Floats, y: Floats) -> Floats:
    """Slopes [3, 256] for centred x [N, 3] and y [N, 256]; penalty by exact leave-one-out error."""
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    projected = u.T @ y
    n = len(x)
    best, slopes = np.inf, np.zeros((x.shape[1], y.shape[1]))
    for penalty in _PENALTIES * n:
        gain = s * s / (s * s + penalty)
        residual = y - u @ (gain[:, None] * projected)
        # 1/n is the leverage of the mean, which was taken out of both sides beforehand.
        left = 1 - 1 / n - (u * u) @ gain
        error = float(np.mean((residual / np.maximum(left, 1e-9)[:, None]) ** 2))
        if error < best:
            best = error
            slopes = vt.T @ ((s / (s * s + penalty))[:, None] * projected)
    return slopes
