"""Clips' times kept on disk, so that a run that goes on does not find them again: it takes minutes."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from voicewright.storage import write_with

EVERY = 50
"""Clips between two savings."""

Times = NDArray[np.int64]


class KeptTimes:
    """Durations by clip, in one file, each under a hash of all that it follows from: the clip, and `mark`,
    which says what else (weights, voices)."""

    def __init__(self, path: Path, mark: str) -> None:
        self._path, self._mark = path, mark
        self._known: dict[str, Times] = {}
        self._new = 0
        with contextlib.suppress(OSError, SafetensorError):  # none yet, or damaged: they are found again
            self._known = load_file(path)

    def key(self, samples: NDArray[np.float32], tokens: NDArray[np.int64]) -> str:
        told = hashlib.sha256(self._mark.encode())
        told.update(np.ascontiguousarray(tokens).tobytes())
        told.update(np.ascontiguousarray(samples).tobytes())
        return told.hexdigest()[:32]

    def get(self, key: str) -> Times | None:
        return self._known.get(key)

    def put(self, key: str, times: Times) -> None:
        self._known[key] = np.asarray(times, np.int64)
        self._new += 1
        if self._new >= EVERY:
            self.save()

    def save(self) -> None:
        """Write what is new. Raises VoicewrightError where that fails."""
        if not self._new:
            return
        content = save(self._known)
        write_with(self._path, lambda place: place.write_bytes(content))
        self._new = 0
