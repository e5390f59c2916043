"""Findings in spoilt voicepacks, none in sound ones, and what mending changes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from voice_samples import sample_pack

from voicewright.catalogue.places import embedded_model, voice_files
from voicewright.errors import VoicewrightError
from voicewright.voices.geometry import KNOTS, Geometry, directions, kokoro
from voicewright.voices.lint import CODES, lint
from voicewright.voices.pack import Voicepack
from voicewright.voices.repair import mend
from voicewright.voices.rows import ROWS, SHORT, WIDTH

KOKORO = kokoro()
GOOD = sample_pack(0).rows
OTHER = sample_pack(1).rows


def codes(values: np.ndarray, name: str = "af_x", geometry: Geometry = KOKORO) -> list[str]:
    return [finding.code for finding in lint(name, values, geometry, KOKORO)]


def spoilt(change: Callable[[np.ndarray], None]) -> np.ndarray:
    rows = GOOD.copy()
    change(rows)
    return rows


def put(where: object, value: float) -> Callable[[np.ndarray], None]:
    return lambda rows: rows.__setitem__(where, value)


def blown_up(rows: np.ndarray) -> None:
    rows[:12] *= np.linspace(8, 1, 12, dtype=np.float32)[:, None, None]


SPOILT: dict[str, tuple[np.ndarray, list[str]]] = {
    "NaN": (spoilt(put((3, 0, 7), np.nan)), ["not-finite"]),
    "inf": (spoilt(put(slice(100, 104), -np.inf)), ["not-finite"]),
    "zero row": (spoilt(put(200, 0.0)), ["zero-rows", "zero-rows"]),
    "zero half": (spoilt(put((200, 0, slice(0, 128)), 0.0)), ["zero-rows"]),
    "509 rows": (GOOD[:509], ["wrong-rows"]),
    "1 row": (GOOD[:1], ["wrong-rows"]),
    "511 rows": (np.concatenate([GOOD[:1], GOOD]), ["kokoro-0.19"]),
    "width 128": (GOOD[:, :, :128], ["wrong-shape"]),
    "integers": (GOOD.astype(np.int32), ["wrong-type"]),
    "a scalar": (np.float32(3), ["wrong-shape"]),
    "float64": (GOOD.astype(np.float64), ["wide-type"]),
    "fp16": (GOOD.astype(np.float16), ["rounded"]),
    "fp16 kept as fp32": (GOOD.astype(np.float16).astype(np.float32), ["rounded"]),
    "bf16": ((GOOD.view(np.uint32) & 0xFFFF0000).view(np.float32), ["rounded"]),
    "tiled": (np.tile(GOOD.mean(axis=0, keepdims=True), (ROWS, 1, 1)), ["tiled-mean"]),
    "swapped": (np.concatenate([GOOD[..., 128:], GOOD[..., :128]], axis=2), ["swapped-halves"]),
    "noise": (np.random.default_rng(0).standard_normal(GOOD.shape).astype(np.float32), ["another-model"]),
    "torn": (spoilt(lambda rows: rows.__setitem__(50, OTHER[50])), ["broken-curve", "broken-curve"]),
    "quiet": (GOOD * np.float32(0.4), ["faint-rows", "faint-rows"]),
    "loud": (
        GOOD * np.float32(2.5),
        ["extreme-rows", "extreme-rows", "extreme-short-rows"],
    ),
}


@pytest.mark.parametrize("fault", SPOILT)
def test_faults_are_found(fault: str) -> None:
    values, expected = SPOILT[fault]
    values = np.asarray(values)
    assert sorted(codes(values)) == sorted(expected)
    for finding in lint("af_x", values, KOKORO):
        assert (finding.severity, CODES[finding.code][0]) == (CODES[finding.code][0], finding.severity)
        assert finding.message and finding.advice and "\n" not in finding.message + finding.advice
        assert set(finding.as_dict()) >= {"code", "severity", "message", "advice"}


def test_rows_are_named() -> None:
    (finding,) = lint("x", SPOILT["inf"][0], KOKORO)
    assert finding.rows == (100, 103) and "rows 100–103" in finding.message
    (finding,) = lint("x", SPOILT["NaN"][0], KOKORO)
    assert finding.rows == (3, 3) and finding.message.startswith("row 3 has NaN")


@pytest.mark.parametrize("seed", range(6))
def test_sound_packs_and_their_mixes_are_clean(seed: int) -> None:
    one, two = sample_pack(seed).rows, sample_pack(seed + 20).rows
    assert codes(one) == [] and codes(0.7 * one + 0.3 * two) == []
    assert codes(one[:, 0]) == []  # [510, 256]


def test_extreme_short_rows_and_one_strange_half() -> None:
    found = codes(spoilt(blown_up))
    assert "extreme-short-rows" in found and "extreme-rows" not in found
    turned = GOOD.copy()
    turned[..., 128:] = turned[..., :127:-1]
    assert codes(turned) == ["odd-half"]


def test_names_of_another_vocabulary() -> None:
    assert codes(GOOD, "zf_001") == ["kokoro-1.1-zh"] and codes(GOOD, "af_maple") == ["kokoro-1.1-zh"]
    assert codes(GOOD, "zf_xiaobei") == []


def test_the_embedded_voice_is_not_kokoros_nor_kokoros_its() -> None:
    (path,) = voice_files(embedded_model()).values()
    own = Voicepack.read(path).rows
    tiny = Geometry.of("tiny", [own])
    assert not tiny.tells_ranges and codes(own, geometry=tiny) == []
    assert codes(own) == ["another-model"]
    assert codes(GOOD, geometry=tiny) == ["another-model"]


def test_geometry_is_summary_statistics() -> None:
    assert KOKORO.packs == 54 and KOKORO.tells_ranges
    text = KOKORO.as_json()
    assert len(text) < 5000  # 256 means and some ranges: not one pack has so few numbers
    again = Geometry.of("x", [sample_pack(seed).rows for seed in range(8)])
    assert again.tells_ranges and len(again.acoustic.lowest) == len(KNOTS)
    assert (again.acoustic.over_rows("lowest") <= again.acoustic.over_rows("highest")).all()
    assert directions(GOOD[:, 0], KOKORO)["acoustic"] > 0.5
    with pytest.raises(VoicewrightError):
        Geometry.of("x", [])


@pytest.mark.parametrize(
    "fault", ["NaN", "inf", "zero row", "zero half", "torn", "509 rows", "511 rows", "swapped"]
)
def test_mending_comes_near_the_truth_and_leaves_the_rest(fault: str) -> None:
    values = SPOILT[fault][0]
    repair = mend("x", values, KOKORO)
    assert repair.done and not repair.left and repair.moved == 0.0
    rows = repair.pack.rows[:, 0]
    assert float(np.linalg.norm(rows - GOOD[:, 0], axis=1).max()) < 0.02
    kept = np.setdiff1d(np.arange(ROWS), repair.replaced)
    assert len(kept) >= ROWS - 4
    if fault not in ("509 rows", "swapped"):
        assert rows[kept].tobytes() == GOOD[kept, 0].tobytes()


def test_extreme_short_rows_are_put_on_the_curve() -> None:
    repair = mend("x", spoilt(blown_up), KOKORO)
    assert not repair.left and repair.moved == 0.0
    assert repair.replaced == tuple(range(SHORT))
    assert repair.pack.rows[SHORT:].tobytes() == GOOD[SHORT:].tobytes()
    miss = np.linalg.norm(repair.pack.rows[:, 0] - GOOD[:, 0], axis=1) / np.linalg.norm(GOOD[:, 0], axis=1)
    assert float(miss.max()) < 0.05


def test_short_texts_can_be_held() -> None:
    held = mend("x", GOOD, KOKORO, hold_below=15)
    assert np.array_equal(held.pack.rows[:14], np.tile(GOOD[14], (14, 1, 1)))
    assert held.pack.rows[14:].tobytes() == GOOD[14:].tobytes()
    assert held.replaced == tuple(range(14)) and "fewer" not in held.done[0]
    assert (
        mend("x", GOOD, KOKORO).done == () and mend("x", GOOD, KOKORO).pack.rows.tobytes() == GOOD.tobytes()
    )


def test_what_cannot_be_mended() -> None:
    for values, says in (
        (GOOD[:10], "fewer than 64"),
        (np.full_like(GOOD, np.nan), "sound"),
        (np.full((100, 1, WIDTH), np.nan, np.float32), "no finite row"),
        (GOOD[..., :100], "wrong-shape"),
        (GOOD.astype(int), "wrong-type"),
    ):
        with pytest.raises(VoicewrightError, match=says):
            mend("x", values, KOKORO)
    assert [finding.code for finding in mend("x", SPOILT["tiled"][0], KOKORO).left] == ["tiled-mean"]
