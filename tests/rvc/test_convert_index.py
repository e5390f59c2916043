"""Indices: faiss's file read and written with NumPy, its search and RVC's weighting reproduced and mended."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from voicewright.errors import UsageError, VoicewrightError
from voicewright.rvc.convert.index import NEIGHBOURS, Index, weigh
from voicewright.rvc.convert.index_build import build_index, cells_for, encode, index_name, reduce


def features(count: int, width: int = 256, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    centres = np.random.default_rng(99).standard_normal((12, width))
    values = centres[random.integers(0, 12, count)] + 0.4 * random.standard_normal((count, width))
    return values.astype(np.float32)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_index(features(900), tmp_path_factory.mktemp("index"), "singer", "v1")


def nearest_by_hand(index: Index, query: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of the query's one cell, by plain float64 differences."""
    cell = np.square(index.centroids.astype(np.float64) - query).sum(1).argmin()
    rows = np.arange(index.bounds[cell], index.bounds[cell + 1])
    apart = np.square(index.rows[rows].astype(np.float64) - query).sum(1)
    order = apart.argsort()[:k]
    return apart[order], rows[order]


def test_an_index_is_named_and_filled_as_rvc_has_it(built: Path) -> None:
    assert built.name == "added_IVF23_Flat_nprobe_1_singer_v1.index" == index_name(23, "singer", "v1")
    index = Index.open(built, "v1")
    assert (index.width, len(index.rows), index.nprobe) == (256, 900, 1)
    total = np.load(built.parent / "total_fea.npy")
    assert np.array_equal(index.reconstruct(), total)
    assert np.array_equal(np.sort(total, axis=0), np.sort(features(900), axis=0))


def test_cells_are_as_many_as_rvc_makes() -> None:
    assert [cells_for(n) for n in (1, 38, 1000, 30_000, 200_000)] == [1, 1, 25, 769, 5128]


def test_the_file_has_faiss_bytes() -> None:
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)
    data = encode(np.array([[0, 1], [5, 6]], np.float32), rows)
    header = struct.pack("<iqqqBi", 2, 4, 1 << 20, 1 << 20, 1, 1)
    assert data.startswith(b"IwFl" + header + struct.pack("<QQ", 2, 1) + b"IxF2")
    assert b"ilar" + struct.pack("<QQ", 2, 8) + b"full" + struct.pack("<QQQ", 2, 2, 2) in data
    assert data.endswith(rows[2:].tobytes() + struct.pack("<qq", 2, 3))
    assert len(data) == (4 + 33 + 16) + (4 + 33 + 8 + 16) + 9 + (4 + 16 + 4 + 24) + 4 * (8 + 8)


@pytest.mark.parametrize("nprobe", [1, 3])
def test_searching_finds_what_plain_sums_find(built: Path, nprobe: int) -> None:
    index = Index.open(built)
    queries = features(60, seed=1)
    distances, rows = index.search(queries, NEIGHBOURS, nprobe)
    assert (np.diff(distances) >= 0).all()
    if nprobe == 1:
        for query, apart, row in zip(queries, distances, rows, strict=True):
            wanted, where = nearest_by_hand(index, query, NEIGHBOURS)
            found = row[row >= 0]
            assert np.array_equal(found, where)
            np.testing.assert_allclose(apart[: len(where)], wanted, rtol=1e-5)
    else:
        assert (distances <= index.search(queries, NEIGHBOURS, 1)[0] + 1e-4).all()


def test_neighbours_weigh_by_the_fourth_power_of_their_distance(built: Path) -> None:
    index = Index.open(built)
    queries = features(40, seed=2)
    mixed = index.blend(queries, 0.6)
    for query, got in zip(queries, mixed, strict=True):
        apart, rows = nearest_by_hand(index, query, NEIGHBOURS)
        weights = 1 / apart**2
        mean = (weights[:, None] * index.rows[rows]).sum(0) / weights.sum()
        np.testing.assert_allclose(got, 0.6 * mean + 0.4 * query, atol=2e-5)
    assert index.blend(queries, 0.0) is queries


def test_exact_hits_and_missing_neighbours_give_numbers(built: Path) -> None:
    index = Index.open(built)
    hit = index.blend(index.rows[:20].copy(), 1.0)
    np.testing.assert_array_equal(hit, index.rows[:20])
    tiny = Index(built, index.centroids[:1], index.rows[:3], np.array([0, 3]), np.arange(3))
    distances, rows = tiny.search(features(2, seed=4))
    assert (rows[:, 3:] == -1).all() and np.isinf(distances[:, 3:]).all()
    assert np.isfinite(tiny.blend(features(2, seed=4), 0.9)).all()
    weights = weigh(np.array([[0.0, 0.0, 3.0], [1e-30, 2e-30, np.inf], [1e30, 1e30, np.inf]], np.float32))
    np.testing.assert_allclose(weights, [[0.5, 0.5, 0], [0.8, 0.2, 0], [0.5, 0.5, 0]], atol=1e-6)


def test_a_search_never_ends_in_an_empty_cell(tmp_path: Path) -> None:
    rows = features(20)
    far = np.vstack([rows.mean(0), np.full((1, 256), 50.0)]).astype(np.float32)
    path = tmp_path / "added_x.index"
    path.write_bytes(encode(far, rows))
    found = Index.open(path).blend(np.full((1, 256), 49.0, np.float32), 1.0)
    assert np.isfinite(found).all()


def faults(data: bytes) -> dict[str, tuple[bytes, str]]:
    def put(at: int, form: str, value: int) -> bytes:
        return data[:at] + struct.pack("<" + form, value) + data[at + struct.calcsize("<" + form) :]

    return {
        "truncated": (data[: len(data) // 2], "cut short"),
        "no index": (b"PK\x03\x04" + data[4:], "no IVFFlat index"),
        "short": (data[:10], "claims more than its"),
        "width": (put(4, "i", -5), "damaged or no index"),
        "total": (put(8, "q", 1 << 60), "do not hold the"),
        "cells": (put(37, "Q", 1 << 62), "damaged"),
        "floats": (put(90, "Q", 1 << 61), "damaged"),
        "metric": (put(33, "i", 0), "no index of RVC"),
        "trained": (put(8, "q", 0), "trained_"),
    }


@pytest.mark.parametrize("fault", list(faults(bytes(200))))
def test_a_bad_file_is_one_sentence(built: Path, tmp_path: Path, fault: str) -> None:
    path = tmp_path / "added_bad.index"
    data, words = faults(built.read_bytes())[fault]
    path.write_bytes(data)
    with pytest.raises(VoicewrightError) as caught:
        Index.open(path)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_lying_sizes_allocate_nothing(built: Path, tmp_path: Path) -> None:
    """Sizes of cells that add up to the total promised, and to more than any memory holds."""
    data = built.read_bytes()
    at = data.index(b"ilar") + 4 + 16 + 4 + 8
    total = 1 << 33
    lying = data[:8] + struct.pack("<q", total) + data[16:at] + struct.pack("<Q", total)
    lying += bytes(8 * 22) + data[at + 8 * 23 :]
    path = tmp_path / "added_lying.index"
    path.write_bytes(lying)
    with pytest.raises(VoicewrightError, match=r"damaged|do not fit"):
        Index.open(path)


def test_a_file_does_not_say_how_long_a_search_takes(tmp_path: Path) -> None:
    """As many probes as cells would take gigabytes for a thousand queries."""
    rows = features(2000)
    data = bytearray(encode(rows[:1000], rows))
    assert struct.unpack_from("<QQ", data, 37) == (1000, 1)
    struct.pack_into("<Q", data, 45, 1 << 40)
    (tmp_path / "added_slow.index").write_bytes(data)
    index = Index.open(tmp_path / "added_slow.index")
    assert len(index.centroids) > 900 and index.nprobe <= 256


def test_an_index_of_another_version_and_no_index(built: Path, tmp_path: Path) -> None:
    with pytest.raises(VoicewrightError, match=r"256 wide, of v1, and the voice is v2, 768 wide"):
        Index.open(built, "v2")
    with pytest.raises(UsageError, match="there is no index"):
        Index.open(tmp_path / "none.index")
    with pytest.raises(UsageError, match="is a folder"):
        Index.open(tmp_path)
    poisoned = features(50)
    poisoned[3, 3] = np.nan
    with pytest.raises(VoicewrightError, match="not numbers"):
        build_index(poisoned, tmp_path, "x", "v1")
    with pytest.raises(UsageError, match="needs"):
        build_index(features(50), tmp_path, "x", "v2")


def test_many_rows_are_reduced_to_their_middles() -> None:
    rows = features(6000, 16)
    centres = reduce(rows, 24, np.random.default_rng(0))
    apart = np.square(rows[:, None] - centres[None]).sum(2).min(1).mean()
    chosen = rows[np.random.default_rng(0).choice(len(rows), 24, replace=False)]
    assert apart < 0.75 * np.square(rows[:, None] - chosen[None]).sum(2).min(1).mean()


def test_faiss_opens_it_and_finds_the_same(built: Path, tmp_path: Path) -> None:
    faiss = pytest.importorskip("faiss")
    queries = features(200, seed=7)
    theirs = faiss.read_index(str(built))
    ours = Index.open(built)
    assert np.array_equal(theirs.reconstruct_n(0, theirs.ntotal), ours.reconstruct())
    trained = faiss.index_factory(256, "IVF20,Flat")
    trained.train(features(900))
    faiss.write_index(trained, str(tmp_path / "trained_x.index"))
    with pytest.raises(VoicewrightError, match="trained_"):
        Index.open(tmp_path / "trained_x.index")
    trained.add(features(900))
    faiss.write_index(trained, str(tmp_path / "added_x.index"))
    for there, here in ((theirs, ours), (trained, Index.open(tmp_path / "added_x.index", "v1"))):
        for nprobe in (1, 4):
            faiss.extract_index_ivf(there).nprobe = nprobe
            distances, ids = there.search(queries, 8)
            apart, rows = here.search(queries, 8, nprobe)
            held = rows >= 0
            assert np.array_equal(np.where(held, here.ids[rows], -1), ids)
            np.testing.assert_allclose(apart[held], distances[held], rtol=1e-5)
