"""The 54 public packs of Kokoro 1.0, where `VOICEWRIGHT_VOICEPACKS` names their folder."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from voicewright.voices.blend import Shelf, parse, read_mix
from voicewright.voices.files import ENDINGS, ONE_ONLY, read_arrays, write_arrays
from voicewright.voices.geometry import Geometry, kokoro
from voicewright.voices.lint import lint
from voicewright.voices.pack import Voicepack
from voicewright.voices.repair import mend
from voicewright.voices.rows import SHORT

FOLDER = os.environ.get("VOICEWRIGHT_VOICEPACKS")
pytestmark = pytest.mark.skipif(
    FOLDER is None, reason="VOICEWRIGHT_VOICEPACKS names no folder of public voicepacks"
)


@pytest.fixture(scope="module")
def packs() -> dict[str, Voicepack]:
    found = {path.stem: Voicepack.read(path) for path in sorted(Path(str(FOLDER)).glob("*.bin"))}
    assert len(found) == 54
    return found


def test_no_finding_in_any_and_every_swap_found(packs: dict[str, Voicepack]) -> None:
    usual = kokoro()
    for name, pack in packs.items():
        assert lint(name, pack.rows, usual) == []
        swapped = np.concatenate([pack.rows[..., 128:], pack.rows[..., :128]], axis=2)
        assert [finding.code for finding in lint(name, swapped, usual)] == ["swapped-halves"]


def test_the_shipped_geometry_is_theirs(packs: dict[str, Voicepack]) -> None:
    assert Geometry.of("Kokoro 1.0", [pack.rows for pack in packs.values()]) == kokoro()


@pytest.mark.parametrize("form", list(ENDINGS))
def test_round_trips_are_exact(packs: dict[str, Voicepack], tmp_path: Path, form: str) -> None:
    rows = {name: pack.rows for name, pack in packs.items()}
    path = tmp_path / f"v{ENDINGS[form]}"
    if form in ONE_ONLY:
        for name in list(rows)[::6]:
            write_arrays(path, {name: rows[name]}, form)  # type: ignore[arg-type]
            assert Voicepack.read(path).rows.tobytes() == rows[name].tobytes()
        return
    write_arrays(path, rows, form)  # type: ignore[arg-type]
    read = read_arrays(path)
    assert set(read) == set(rows)
    for name, values in rows.items():
        assert read[name].tobytes() == values.tobytes()


def test_mixes_are_kokoro_fastapis(packs: dict[str, Voicepack]) -> None:
    shelf = Shelf({name: Path(str(FOLDER)) / f"{name}.bin" for name in packs})
    names = list(packs)
    for one, two in zip(names, names[7:], strict=False):
        a, b = (torch.from_numpy(packs[name].rows.copy()) for name in (one, two))
        for words, theirs in (
            (f"{one}(2)+{two}(1)", a * (2 / 3) + b * (1 / 3)),
            (f"{one}-{two}(0.3)", a * (1 / 1.3) - b * (0.3 / 1.3)),
            (f"{one},{two}", torch.mean(torch.stack([a, b]), dim=0)),
        ):
            assert read_mix(parse(words, shelf)).rows.tobytes() == theirs.numpy().tobytes()


def test_short_rows_come_back_from_the_others(packs: dict[str, Voicepack]) -> None:
    misses = []
    for name, pack in packs.items():
        broken = pack.rows.copy()
        broken[:SHORT] = np.nan
        repair = mend(name, broken, kokoro())
        assert not repair.left and repair.pack.rows[SHORT:].tobytes() == pack.rows[SHORT:].tobytes()
        truth = pack.rows[:SHORT, 0]
        misses.append(
            np.linalg.norm(repair.pack.rows[:SHORT, 0] - truth, axis=1) / np.linalg.norm(truth, axis=1)
        )
    assert float(np.median(misses)) < 0.02 and float(np.quantile(misses, 0.95)) < 0.1
