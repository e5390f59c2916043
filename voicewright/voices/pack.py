"""Voicepacks: one style row per sentence length, in every file format that the Kokoro world uses.

Format facts: a pack is float32 [510, 1, 256]; `[:128]` is the acoustic half (decoder), `[128:]` the prosodic
half (predictor); a text of n tokens uses row n - 1. Packs of the first Kokoro release carry a 511th row.
A `.bin` is the raw little-endian array; a file of several packs is an npz, sometimes under the name `.bin`.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from voicewright.config import STYLE
from voicewright.errors import UsageError, VoicewrightError

ROWS = 510
WIDTH = 2 * STYLE
SUFFIXES = (".safetensors", ".pt", ".bin", ".npz", ".npy")
_KEY = "voice"
_MOST_BYTES = 64 * 1024 * 1024
"""A pack is half a megabyte and the largest file of packs in circulation 27 MB; more is not a voicepack."""

Array = NDArray[np.float32]


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
                f"the voicepack's row {bad} holds NaN or infinite values; export it again."
            )

    @classmethod
    def of(cls, values: ArrayLike, source: str = "the voicepack") -> Voicepack:
        """Check and adopt an array of [510 | 511, 1, 256] or [510 | 511, 256]; a 511th row is dropped.

        Raises VoicewrightError that names `source` when shape, type or values are wrong.
        """
        array = np.asarray(values)
        if not np.issubdtype(array.dtype, np.floating):
            raise VoicewrightError(f"{source} holds {array.dtype} values where a voicepack holds float32.")
        if array.ndim == 2:
            array = array[:, None, :]
        if array.ndim != 3 or array.shape[0] not in (ROWS, ROWS + 1) or array.shape[1:] != (1, WIDTH):
            raise VoicewrightError(
                f"{source} has shape {list(np.shape(values))}; a voicepack is [{ROWS}, 1, {WIDTH}]."
            )
        try:
            return cls(np.ascontiguousarray(array[:ROWS], dtype=np.float32))
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
        return self.rows[min(max(token_count - 1, 0), ROWS - 1), 0]

    @classmethod
    def read(cls, path: Path, name: str | None = None) -> Voicepack:
        """Read one pack from .pt, .bin, .npz, .npy or .safetensors.

        `name` picks one of several in a file of packs. Pickles are opened with `weights_only=True`, so a file
        that would execute code is refused. Raises VoicewrightError in one sentence.
        """
        packs = _arrays(path)
        if name is None:
            if len(packs) != 1:
                names = ", ".join(sorted(packs)[:8]) or "none"
                raise VoicewrightError(f"{path} holds {len(packs)} arrays ({names}); say which one to read.")
            name = next(iter(packs))
        if name not in packs:
            raise VoicewrightError(f"{path} holds no voice {name!r}; it has {', '.join(sorted(packs)[:60])}.")
        return cls.of(packs[name], str(path))

    def write(self, path: Path) -> None:
        """Write in the format of the suffix, to a temporary name first, so that no half file is ever seen."""
        if path.suffix not in SUFFIXES:
            raise UsageError(f"{path}: a voicepack is written as {', '.join(SUFFIXES)}; choose one of these.")
        temporary = path.with_name(f".{path.name}.{os.getpid()}{path.suffix}")
        try:
            _save(temporary, path.suffix, self.rows)
            temporary.replace(path)
        except OSError as error:
            raise VoicewrightError(f"{path} cannot be written: {error.strerror or error}.") from error
        finally:
            temporary.unlink(missing_ok=True)


def _save(path: Path, suffix: str, rows: Array) -> None:
    if suffix == ".pt":
        import torch

        torch.save(torch.from_numpy(rows.copy()), path)
    elif suffix == ".safetensors":
        from safetensors.numpy import save_file

        save_file({_KEY: rows}, path)
    elif suffix == ".npz":
        np.savez_compressed(path, voice=rows)  # rows past the longest sentence repeat: five times smaller
    elif suffix == ".npy":
        np.save(path, rows)
    else:
        path.write_bytes(rows.astype("<f4").tobytes())


def _arrays(path: Path) -> Mapping[str, NDArray[np.generic]]:
    """Every array in the file by name; a format without names uses the file's stem."""
    import pickle

    if not path.is_file():
        raise VoicewrightError(f"there is no voicepack at {path}.")
    if path.stat().st_size > _MOST_BYTES:
        raise VoicewrightError(
            f"{path} is {path.stat().st_size >> 20} MB, too large for a file of voicepacks."
        )
    suffix = path.suffix.lower()
    try:
        if suffix == ".pt":
            return _from_torch(path)
        if suffix == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(path)
        if suffix == ".npz" or (suffix == ".bin" and zipfile.is_zipfile(path)):
            return _from_npz(path)
        if suffix == ".npy":
            return {path.stem: np.load(path, allow_pickle=False)}
        if suffix == ".bin":
            return {path.stem: _from_raw(path)}
    except VoicewrightError:
        raise
    except (OSError, ValueError, KeyError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise VoicewrightError(f"{path} is damaged or not a voicepack: {_first_line(error)}.") from error
    except Exception as error:
        # safetensors' own error class derives from Exception alone; anything else is a fault of ours.
        if type(error).__name__ not in ("SafetensorError", "BadZipFile"):
            raise
        raise VoicewrightError(f"{path} is damaged or not a voicepack: {_first_line(error)}.") from error
    raise UsageError(f"{path}: a voicepack is one of {', '.join(SUFFIXES)}; convert it to one of these.")


def _from_torch(path: Path) -> Mapping[str, NDArray[np.generic]]:
    import torch

    held = torch.load(path, map_location="cpu", weights_only=True)
    named = held if isinstance(held, dict) else {path.stem: held}
    return {str(key): value.numpy() for key, value in named.items() if isinstance(value, torch.Tensor)}


def _from_npz(path: Path) -> Mapping[str, NDArray[np.generic]]:
    with zipfile.ZipFile(path) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > _MOST_BYTES:
            raise VoicewrightError(f"{path} unpacks to more than {_MOST_BYTES >> 20} MB; it is refused.")
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _from_raw(path: Path) -> NDArray[np.float32]:
    size = path.stat().st_size
    expected = ROWS * WIDTH * 4
    if size not in (expected, expected + WIDTH * 4):
        raise VoicewrightError(
            f"{path} has {size} bytes; a raw voicepack has {expected} ({ROWS} rows of {WIDTH} float32)."
        )
    return np.fromfile(path, dtype="<f4").astype(np.float32).reshape(-1, 1, WIDTH)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")[:160]


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
