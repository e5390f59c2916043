"""Retrieval: features of the target's own recordings, looked up in faiss's IVFFlat `.index` files with NumPy.

RVC's indices are `IVF{n},Flat` with squared Euclidean distances: n cells around centroids, and
in each the features nearest to its centroid. faiss's file, little-endian, as faiss 1.7 to 1.15
write it (`index_write.cpp`)::

    "IwFl" header  uint64 nlist, nprobe
    "IxF2" header  uint64 count, float32 centroids [nlist, d]
    uint8 kind of direct map, uint64 count, int64 entries
    "ilar" uint64 nlist, uint64 code_size, "full" | "sprs", uint64 count, uint64 sizes
    per cell that holds some: float32 [size, d], int64 ids [size]

    header: int32 d, int64 ntotal, 2 × int64 unused, uint8 trained, int32 metric (1: squared L2)

No size in a file is believed before the file has proved long enough for it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicewright.errors import UsageError, VoicewrightError

Floats = NDArray[np.float32]

NEIGHBOURS = 8
"""How many neighbours RVC mixes."""
WIDTHS = {"v1": 256, "v2": 768}
"""Feature widths of RVC's versions."""
MOST_BYTES = 8 * 2**30
_SPARE = 8
"""Candidates beyond those wanted, from distances that BLAS rounds; they are measured again exactly."""
_MOST_PROBES = 256
"""Cells of a search, whatever a file says: each costs time and memory. RVC writes 1, its ancestors
up to 16."""
_QUERIES = 1024
"""Queries looked up at a time: their distances to all centroids are held."""
_L2 = 1


class IndexFileError(VoicewrightError):
    """An index that cannot be used."""


class _Reader:
    """A file's bytes from the front, each length checked against what is left before it is read."""

    def __init__(self, path: Path, data: memoryview) -> None:
        self._path, self._data, self._at = path, data, 0

    def take(self, count: int) -> memoryview:
        if count < 0 or count > len(self._data) - self._at:
            raise IndexFileError(
                f"{self._path} is damaged: it claims more than its {len(self._data)} bytes hold; copy or "
                "download it again."
            )
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def unpack(self, form: str) -> tuple[int, ...]:
        layout = struct.Struct("<" + form)
        return layout.unpack(self.take(layout.size))

    def code(self) -> bytes:
        return bytes(self.take(4))

    def count(self) -> int:
        return self.unpack("Q")[0]

    def array(self, kind: str, count: int) -> NDArray[Any]:
        width = np.dtype(kind).itemsize
        # The bytes first: nothing is allocated for a count that the file does not hold.
        return np.frombuffer(self.take(count * width), kind)

    def header(self) -> tuple[int, int, bool, int]:
        """Width, number of vectors, whether trained, metric."""
        width, total, _, _, trained, metric = self.unpack("iqqqBi")
        if metric > 1:
            self.take(4)  # its argument
        return width, total, bool(trained), metric


@dataclass(frozen=True, eq=False)
class Index:
    """Features float32 [N, C] sorted by cell; cell i holds rows bounds[i] to bounds[i + 1]; none is empty.

    ids int64 [N]: where each row stood when the index was made. nprobe: cells that a search looks into.
    """

    path: Path
    centroids: Floats
    rows: Floats
    bounds: NDArray[np.int64]
    ids: NDArray[np.int64]
    nprobe: int = 1

    @property
    def width(self) -> int:
        return self.rows.shape[1]

    @classmethod
    def open(cls, path: Path, version: str | None = None) -> Index:
        """Read an `added_*.index`. version: of the voice that it shall serve, "v1" or "v2".

        Raises VoicewrightError in one sentence: missing, damaged, empty (`trained_*`), of another kind, or of
        another version's width.
        """
        try:
            size = path.stat().st_size
            if path.is_dir():
                raise UsageError(f"{path} is a folder; name the added_….index file in it.")
            if size > MOST_BYTES:
                raise IndexFileError(f"{path} has {size / 1e9:.1f} GB, more than any index; it was not read.")
            data = path.read_bytes()
        except FileNotFoundError as error:
            raise UsageError(
                f"there is no index {path}; give the added_….index file of the voice."
            ) from error
        except OSError as error:
            raise IndexFileError(f"{path} cannot be read: {error.strerror or error}.") from error
        return _parse(cls, path, memoryview(data), version)

    def reconstruct(self) -> Floats:
        """Features [N, C] in the order in which they were put in."""
        return np.asarray(self.rows[np.argsort(self.ids, kind="stable")])

    def search(
        self, features: Floats, k: int = NEIGHBOURS, nprobe: int | None = None
    ) -> tuple[Floats, NDArray[np.int64]]:
        """The k nearest within the `nprobe` nearest cells that hold any, nearest first.

        features: [T, C]. Returns squared distances [T, k] and rows of `rows` [T, k]; inf and -1 where those
        cells hold fewer than k.
        """
        if features.ndim != 2 or features.shape[1] != self.width:
            raise VoicewrightError(
                f"features of shape {list(features.shape)} do not fit {self.path.name}, {self.width} wide."
            )
        queries = np.ascontiguousarray(features, np.float32)
        probes = max(1, min(nprobe or self.nprobe, len(self.centroids)))
        found = [
            self._search(queries[start : start + _QUERIES], k, probes)
            for start in range(0, len(queries), _QUERIES)
        ]
        if not found:
            return np.zeros((0, k), np.float32), np.zeros((0, k), np.int64)
        return np.concatenate([d for d, _ in found]), np.concatenate([rows for _, rows in found])

    def _search(self, queries: Floats, k: int, probes: int) -> tuple[Floats, NDArray[np.int64]]:
        cells = _nearest_cells(queries, self.centroids, probes)
        wanted = k + _SPARE
        candidates = np.full((len(queries), probes, wanted), -1, np.int64)
        order = np.argsort(cells, axis=None, kind="stable")
        sorted_cells = cells.ravel()[order]
        starts = np.flatnonzero(np.diff(sorted_cells, prepend=-1))
        for start, stop in zip(starts, [*starts[1:], len(order)], strict=True):
            asking, probe = np.divmod(order[start:stop], probes)
            first, last = self.bounds[sorted_cells[start] : sorted_cells[start] + 2]
            held = int(last - first)
            if held <= wanted:
                candidates[asking, probe, :held] = np.arange(first, last)
                continue
            inside = self.rows[first:last]
            # |x|² is the same for all of them and left out.
            rough = np.einsum("nc,nc->n", inside, inside) - 2.0 * (queries[asking] @ inside.T)
            best = np.argpartition(rough, wanted - 1, axis=1)[:, :wanted]
            candidates[asking, probe] = first + best
        flat = candidates.reshape(len(queries), -1)
        distances = self._distances(queries, flat)
        nearest = np.argsort(distances, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(distances, nearest, 1), np.take_along_axis(flat, nearest, 1)

    def _distances(self, queries: Floats, rows: NDArray[np.int64]) -> Floats:
        """Squared distances [T, K] by differences, as faiss takes them within a cell; inf for row -1."""
        distances = np.full(rows.shape, np.inf, np.float32)
        step = max(1, (1 << 22) // max(1, rows.shape[1] * self.width))
        for start in range(0, len(rows), step):
            part = rows[start : start + step]
            apart = self.rows[part] - queries[start : start + step, None]
            distances[start : start + step] = np.where(
                part < 0, np.inf, np.einsum("tkc,tkc->tk", apart, apart)
            )
        return distances

    def blend(self, features: Floats, rate: float, k: int = NEIGHBOURS, nprobe: int | None = None) -> Floats:
        """rate · (mean of the neighbours) + (1 - rate) · features; [T, C].

        Neighbours weigh by d⁻² of faiss's *squared* distance d, as RVC has it. Where a neighbour is hit
        exactly RVC gets 0/0; here it takes all the weight, which is what the formula tends to. Ids of -1
        weigh nothing.
        """
        if rate == 0 or not len(features):
            return features
        distances, rows = self.search(features, k, nprobe)
        weights = weigh(distances)
        found = np.einsum("tk,tkc->tc", weights, self.rows[rows])
        return np.asarray(np.float32(rate) * found + np.float32(1 - rate) * features, np.float32)


def weigh(distances: Floats) -> Floats:
    """Weights [T, K] of neighbours at squared distances [T, K] (inf: none there), each row's sum 1."""
    near = distances.astype(np.float64)
    closest = near.min(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Relative to the closest, so that neither tiny nor huge distances leave the range of numbers.
        weights = np.where(closest > 0, np.square(closest / near), near == 0)
    weights = np.where(np.isfinite(near), weights, 0.0)
    return np.asarray(weights / weights.sum(axis=1, keepdims=True), np.float32)


def _nearest_cells(queries: Floats, centroids: Floats, probes: int) -> NDArray[np.int64]:
    """The `probes` nearest centroids of every query, int64 [T, probes], in no order."""
    distances = np.einsum("nc,nc->n", centroids, centroids) - 2.0 * (queries @ centroids.T)
    if probes == 1:
        return np.argmin(distances, axis=1)[:, None]
    if probes >= len(centroids):
        return np.broadcast_to(np.arange(len(centroids)), (len(queries), len(centroids))).copy()
    return np.argpartition(distances, probes - 1, axis=1)[:, :probes]


def _parse(cls: type[Index], path: Path, data: memoryview, version: str | None) -> Index:
    reader = _Reader(path, data)
    kind = reader.code()
    if kind != b"IwFl":
        named = kind.decode("latin-1") if kind.isalnum() else "unknown"
        raise IndexFileError(
            f"{path} is no IVFFlat index of faiss (it begins with {named!r}); give the voice's added_….index."
        )
    width, total, trained, metric = reader.header()
    if width < 1 or total < 0 or metric != _L2 or not trained:
        raise IndexFileError(
            f"{path} is damaged or no index of RVC ({width} wide, {total} vectors, metric {metric})."
        )
    if version is not None and width != WIDTHS[version]:
        other = next((name for name, wide in WIDTHS.items() if wide == width), "another model")
        raise IndexFileError(
            f"{path} is {width} wide, of {other}, and the voice is {version}, {WIDTHS[version]} wide; give "
            "the index that came with the voice."
        )
    if total == 0:
        raise IndexFileError(
            f"{path} is empty: `trained_` files hold no features; give the file named added_….index instead."
        )
    nlist, nprobe = reader.unpack("QQ")
    centroids = _centroids(path, reader, width, nlist)
    _skip_direct_map(path, reader)
    sizes = _sizes(path, reader, width, nlist)
    if int(sizes.sum(dtype=np.float64)) != total:
        raise IndexFileError(f"{path} is damaged: its cells do not hold the {total} features that it claims.")
    if total * (4 * width + 8) > len(data):
        raise IndexFileError(f"{path} is cut short: {total} features do not fit into its {len(data)} bytes.")
    rows, ids = np.empty((total, width), np.float32), np.empty(total, np.int64)
    at = 0
    for size in sizes[sizes > 0].tolist():
        rows[at : at + size] = reader.array("<f4", size * width).reshape(size, width)
        ids[at : at + size] = reader.array("<i8", size)
        at += size
    if not (np.isfinite(rows).all() and np.isfinite(centroids).all()):
        raise IndexFileError(f"{path} holds values that are not numbers: it is damaged; copy it again.")
    bounds = np.concatenate([[0], np.cumsum(sizes[sizes > 0])]).astype(np.int64)
    # Cells without features are left out: a search that ends in one finds nothing, and RVC NaN.
    return cls(path, centroids[sizes > 0], rows, bounds, ids, max(1, min(int(nprobe), _MOST_PROBES)))


def _centroids(path: Path, reader: _Reader, width: int, nlist: int) -> Floats:
    kind = reader.code()
    if kind not in (b"IxF2", b"IxFI"):
        raise IndexFileError(
            f"{path} keeps its centroids in a way that RVC's indices do not; it cannot be read."
        )
    inner_width, inner_total, _, _ = reader.header()
    count = reader.count()
    if inner_width != width or inner_total != nlist or count != nlist * width:
        raise IndexFileError(f"{path} is damaged: its centroids are not the {nlist} that it claims.")
    return np.array(reader.array("<f4", count).reshape(nlist, width), np.float32)


def _skip_direct_map(path: Path, reader: _Reader) -> None:
    (kind,) = reader.unpack("B")
    reader.take(8 * reader.count())
    if kind == 2:
        reader.take(16 * reader.count())
    elif kind > 2:
        raise IndexFileError(f"{path} is damaged: it has a direct map of no known kind.")


def _sizes(path: Path, reader: _Reader, width: int, nlist: int) -> NDArray[np.int64]:
    """How many features each cell holds, int64 [nlist]."""
    kind = reader.code()
    if kind != b"ilar":
        raise IndexFileError(f"{path} keeps its features in another file or packing; it cannot be read.")
    lists, code_size = reader.unpack("QQ")
    if lists != nlist or code_size != 4 * width:
        raise IndexFileError(f"{path} is damaged: its cells are not those of its centroids.")
    form, count = reader.code(), reader.count()
    values = reader.array("<u8", count)
    sizes = np.zeros(nlist, np.uint64)
    if form == b"full" and count == nlist:
        sizes[:] = values
    elif form == b"sprs" and count % 2 == 0 and (values[::2] < nlist).all():
        sizes[values[::2].astype(np.int64)] = values[1::2]
    else:
        raise IndexFileError(f"{path} is damaged: the sizes of its cells cannot be read.")
    if (sizes > MOST_BYTES).any():
        raise IndexFileError(f"{path} is damaged: a cell claims more features than any file holds.")
    return sizes.astype(np.int64)
