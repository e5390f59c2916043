"""Voicepacks: one style row per sentence length, in every file format that the Kokoro world uses.

A pack is float32 [510, 1, 256]; `[:128]` is the acoustic half (decoder), `[128:]` the prosodic half
(predictor); a text of n tokens uses row n - 1 (`rows.py` says what other tools do). The formats:
`files.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from voicewright.errors import VoicewrightError
from voicewright.units import STYLE
from voicewright.voices.files import SUFFIXES, pick, read_arrays, write_arrays
from voicewright.voices.rows import OLD_ROWS, ROWS, WIDTH, Array, row, without_row_zero

__all__ = ["ROWS", "SUFFIXES", "WIDTH", "Array", "Voicepack", "describe"]


@dataclass(frozen=True, eq=False)
class Voicepack:
    """A voice: `rows` float32 [510, 1, 256], all finite."""

    rows: Array

    def __post_init__(self) -> None:
        rows = self.rows
        if not isinstance(rows, np.ndarray) or rows.dtype != np.float32 or rows.shape != (ROWS, 1, WIDTH):
            raise VoicewrightError(
                f"a voicepack is float32 [{ROWS}, 1, {WIDTH}], not "
                f"{getattr(rows, 'dtype', type(rows).__name__)} {list(getattr(rows, 'shape', ()))}."
            )
        if not np.isfinite(rows).all():
            bad = int(np.argmax(~np.isfinite(rows).all(axis=(1, 2))))
            raise VoicewrightError(
                f"the voicepack's row {bad} holds NaN or infinite values; export it again, or mend it with "
                "`voicewright voice lint --fix`."
            )

    @classmethod
    def of(cls, values: ArrayLike, source: str = "the voicepack") -> Voicepack:
        """Check and adopt an array of [510 | 511, 1, 256] or [510 | 511, 256]; of 511 rows the first goes.

        Raises VoicewrightError that names `source` when shape, type or values are wrong.
        """
        array = np.asarray(values)
        if not np.issubdtype(array.dtype, np.floating):
            raise VoicewrightError(f"{source} holds {array.dtype} values where a voicepack holds float32.")
        if array.ndim == 2:
            array = array[:, None, :]
        if array.ndim != 3 or array.shape[0] not in (ROWS, OLD_ROWS) or array.shape[1:] != (1, WIDTH):
            raise VoicewrightError(
                f"{source} has shape {list(np.shape(values))}; a voicepack is [{ROWS}, 1, {WIDTH}]."
            )
        try:
            return cls(np.ascontiguousarray(without_row_zero(array), dtype=np.float32))
        except VoicewrightError as error:
            raise VoicewrightError(f"{source}: {error}") from error

    @classmethod
    def constant(cls, style: Array) -> Voicepack:
        """The pack whose 510 rows are all `style` [256]."""
        if np.shape(style) != (WIDTH,):
            raise VoicewrightError(f"a style vector has {WIDTH} values, not {list(np.shape(style))}.")
        return cls.of(np.tile(np.asarray(style, dtype=np.float32), (ROWS, 1)))

    def style(self, token_count: int) -> Array:
        """The row [256] for a text of `token_count` tokens (pads not counted), clamped to the table."""
        return self.rows[row(token_count), 0]

    @classmethod
    def read(cls, path: Path, name: str | None = None) -> Voicepack:
        """Read one pack from .pt, .bin, .npz, .npy or .safetensors.

        `name` picks one of several in a file of packs. Pickles are opened with `weights_only=True`, so a file
        that would execute code is refused. Raises VoicewrightError in one sentence.
        """
        found, values = pick(read_arrays(path), path, name)
        return cls.of(values, str(path) if name is None else f"{path}:{found}")

    def write(self, path: Path) -> None:
        """Write in the format of the suffix, to a temporary name first, so that no half file is ever seen."""
        write_arrays(path, {"voice": self.rows})


def describe(pack: Voicepack) -> dict[str, object]:
    """Facts of a voicepack: norms of its halves at some lengths, and how much its rows vary with length."""
    rows = pack.rows[:, 0]
    norms: dict[str, dict[str, float]] = {}
    for name, half in (("acoustic", rows[:, :STYLE]), ("prosodic", rows[:, STYLE:])):
        length = np.linalg.norm(half, axis=1)
        spread = np.linalg.norm(half - half.mean(axis=0), axis=1).mean()
        norms[name] = {
            f"norm_at_{count}_tokens": round(float(length[count - 1]), 4) for count in (1, 20, 100, 510)
        }
        norms[name]["norm_of_mean"] = round(float(np.linalg.norm(half.mean(axis=0))), 4)
        norms[name]["spread_over_lengths"] = round(float(spread), 4)
    return {
        "shape": list(pack.rows.shape),
        "varies_with_length": bool(np.ptp(rows, axis=0).max() > 0),
        **norms,
    }
