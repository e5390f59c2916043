"""An index made from a voice's features, as RVC makes it, in the file that faiss and every
RVC program open."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from voicewright.audio.files import write_atomically
from voicewright.errors import UsageError, VoicewrightError
from voicewright.rvc.convert.index import WIDTHS, Floats

REDUCED_FROM = 200_000
"""Rows beyond which RVC indexes the centres of clusters instead."""
REDUCED_TO = 10_000
_PER_CELL = 39
"""Rows a cell needs at least, by faiss's own advice."""
_ROUNDS = 10
_BATCH = 4096
_UNUSED = 1 << 20
"""What faiss writes into the two unused numbers of a header."""

Progress = Callable[[str, float], object]


def cells_for(count: int) -> int:
    """RVC's number of cells for so many rows; at least 1, as its later versions have it."""
    return max(1, min(int(16 * np.sqrt(count)), count // _PER_CELL))


def index_name(cells: int, name: str, version: str) -> str:
    """The file name by which RVC programs find an index."""
    return f"added_IVF{cells}_Flat_nprobe_1_{name}_{version}.index"


def build_index(
    rows: Floats,
    folder: Path,
    name: str,
    version: str = "v2",
    *,
    seed: int = 0,
    total: bool = True,
    progress: Progress | None = None,
) -> Path:
    """Write the index of features [N, 256 | 768] into `folder`, and with `total` also `total_fea.npy`.

    Returns the index file. Raises UsageError for features of another width, VoicewrightError when there are
    none, when they hold values that are not numbers, or when the disk refuses.
    """
    if version not in WIDTHS:
        raise UsageError(f"RVC has no version {version!r}; use {' or '.join(WIDTHS)}.")
    rows = np.ascontiguousarray(rows, np.float32)
    if rows.ndim != 2 or rows.shape[1] != WIDTHS[version]:
        raise UsageError(
            f"features of {name} have the shape {list(rows.shape)}; {version} needs [N, {WIDTHS[version]}]."
        )
    if not len(rows):
        raise VoicewrightError(f"there are no features of {name} to index.")
    if not np.isfinite(rows).all():
        raise VoicewrightError(
            f"the features of {name} hold values that are not numbers; extract them again."
        )
    random = np.random.default_rng(seed)
    shuffled = rows[random.permutation(len(rows))]
    if len(shuffled) > REDUCED_FROM:
        shuffled = reduce(shuffled, REDUCED_TO, random, progress)
    cells = cells_for(len(shuffled))
    centroids = cluster(shuffled, cells, random, progress)
    path = folder / index_name(cells, name, version)
    write_atomically(path, encode(centroids, shuffled))
    if total:
        buffer = io.BytesIO()
        np.save(buffer, shuffled)
        write_atomically(folder / "total_fea.npy", buffer.getvalue())
    return path


def nearest(rows: Floats, centroids: Floats) -> tuple[NDArray[np.int64], Floats]:
    """The nearest centroid of every row, and its squared distance."""
    lengths = np.einsum("nc,nc->n", centroids, centroids)
    owner = np.empty(len(rows), np.int64)
    apart = np.empty(len(rows), np.float32)
    for start in range(0, len(rows), _BATCH):
        part = rows[start : start + _BATCH]
        distances = lengths - 2.0 * (part @ centroids.T)
        owner[start : start + _BATCH] = best = distances.argmin(axis=1)
        own = np.einsum("nc,nc->n", part, part)
        apart[start : start + _BATCH] = distances[np.arange(len(part)), best] + own
    return owner, apart


def cluster(
    rows: Floats, count: int, random: np.random.Generator, progress: Progress | None = None
) -> Floats:
    """Lloyd's k-means from random rows: centroids [count, C]. Empty clusters take the rows farthest off."""
    centroids = rows[random.choice(len(rows), count, replace=False)].copy()
    if count == 1:
        return rows.mean(axis=0, keepdims=True, dtype=np.float64).astype(np.float32)
    before: NDArray[np.int64] | None = None
    for turn in range(_ROUNDS):
        owner, apart = nearest(rows, centroids)
        order = np.argsort(owner, kind="stable")
        filled, starts, sizes = np.unique(owner[order], return_index=True, return_counts=True)
        centroids[filled] = np.add.reduceat(rows[order], starts, axis=0) / sizes[:, None]
        empty = np.setdiff1d(np.arange(count), filled)
        centroids[empty] = rows[np.argsort(-apart, kind="stable")[: len(empty)]]
        if progress is not None:
            progress("clustering", (turn + 1) / _ROUNDS)
        if before is not None and not len(empty) and np.mean(owner != before) < 1e-3:
            break
        before = owner
    return centroids


def reduce(
    rows: Floats,
    count: int,
    random: np.random.Generator,
    progress: Progress | None = None,
    passes: int = 2,
) -> Floats:
    """Mini-batch k-means (Sculley 2010): centres [count, C] that stand for more rows than an
    index should hold."""
    centres = rows[random.choice(len(rows), count, replace=False)].astype(np.float32)
    seen = np.ones(count)
    steps = [start for _ in range(passes) for start in range(0, len(rows), _BATCH)]
    for number, start in enumerate(steps):
        if start == 0:
            order = random.permutation(len(rows))
        batch = rows[order[start : start + _BATCH]]
        owner, _ = nearest(batch, centres)
        by_owner = np.argsort(owner, kind="stable")
        filled, starts, sizes = np.unique(owner[by_owner], return_index=True, return_counts=True)
        sums = np.add.reduceat(batch[by_owner], starts, axis=0)
        # A centre is the mean of all rows that it ever owned.
        centres[filled] += (sums - sizes[:, None] * centres[filled]) / (seen[filled] + sizes)[:, None]
        seen[filled] += sizes
        if progress is not None:
            progress("reducing", (number + 1) / len(steps))
    return centres


def encode(centroids: Floats, rows: Floats) -> bytes:
    """faiss's IVFFlat file (its layout: `rvc/convert/index.py`); row i gets id i."""
    owner, _ = nearest(rows, centroids)
    order = np.argsort(owner, kind="stable")
    sizes = np.bincount(owner, minlength=len(centroids))
    width = rows.shape[1]

    def header(total: int) -> bytes:
        return struct.pack("<iqqqBi", width, total, _UNUSED, _UNUSED, 1, 1)

    parts = [b"IwFl", header(len(rows)), struct.pack("<QQ", len(centroids), 1)]
    parts += [b"IxF2", header(len(centroids)), struct.pack("<Q", centroids.size)]
    parts += [centroids.astype("<f4").tobytes(), struct.pack("<BQ", 0, 0)]
    parts += [b"ilar", struct.pack("<QQ", len(centroids), 4 * width), b"full"]
    parts += [struct.pack("<Q", len(centroids)), sizes.astype("<u8").tobytes()]
    at = 0
    for size in sizes.tolist():
        own = order[at : at + size]
        parts += [rows[own].astype("<f4").tobytes(), own.astype("<i8").tobytes()]
        at += size
    return b"".join(parts)
