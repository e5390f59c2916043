"""What lies below hearing, taken away: a constant offset, a drift, the slow waves of wind."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

CUTOFF_HZ = 20.0
"""−6 dB here, −0.1 dB at 60 Hz, where the deepest voices begin, −48 dB at 5 Hz."""
_ORDER = 2
_MIRRORED = 0.1
"""Seconds mirrored at the ends, in which the filter settles."""
_MUCH = 0.001
"""Of the power of what is heard: less than that disturbs nothing, and recordings stay as they are."""


@functools.lru_cache(maxsize=16)
def _sections(rate: int) -> NDArray[np.float64]:
    from scipy.signal import butter

    return butter(_ORDER, CUTOFF_HZ, "high", fs=rate, output="sos")


def without_offset(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Samples [T] around zero: their mean is taken away, and what moves slowly too where there is much of it.

    That goes through a high-pass without delay; ends are mirrored, so that nothing rings there.
    """
    from scipy.signal import sosfiltfilt

    if not len(samples):
        return samples
    centred = (samples - samples.mean(dtype=np.float64)).astype(np.float32)
    pad = min(len(samples) - 1, round(_MIRRORED * rate))
    passed = sosfiltfilt(_sections(rate), centred, padlen=pad).astype(np.float32)
    slow = float(np.square(centred - passed, dtype=np.float64).mean())
    return passed if slow > _MUCH * float(np.square(passed, dtype=np.float64).mean()) else centred
