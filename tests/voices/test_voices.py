"""Voicepack files, the length curve, and packs from style encoders."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from voicewright.errors import UsageError, VoicewrightError
from voicewright.voices.curve import fit_curve
from voicewright.voices.encode import encode_style, encode_voice
from voicewright.voices.pack import ROWS, SUFFIXES, WIDTH, Voicepack

PUBLIC = os.environ.get("VOICEWRIGHT_VOICEPACKS")


def a_pack(seed: int = 0) -> Voicepack:
    return Voicepack(np.random.default_rng(seed).standard_normal((ROWS, 1, WIDTH)).astype(np.float32))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_returns_the_same_numbers(tmp_path: Path, suffix: str) -> None:
    pack = a_pack()
    path = tmp_path / f"voice{suffix}"
    pack.write(path)
    assert np.array_equal(Voicepack.read(path).rows, pack.rows)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_bin_is_raw_little_endian_and_may_have_511_rows(tmp_path: Path) -> None:
    pack = a_pack()
    path = tmp_path / "v.bin"
    pack.write(path)
    assert path.stat().st_size == 522_240
    path.write_bytes(bytes(1024) + path.read_bytes())  # the row for no tokens comes first
    assert np.array_equal(Voicepack.read(path).rows, pack.rows)


def test_row_is_token_count_minus_one_clamped() -> None:
    pack = a_pack()
    for count, row in ((0, 0), (1, 0), (2, 1), (510, 509), (511, 509), (9999, 509)):
        assert np.array_equal(pack.style(count), pack.rows[row, 0])


def test_file_of_several_packs_wants_a_name(tmp_path: Path) -> None:
    path = tmp_path / "voices.bin"
    with path.open("wb") as file:
        np.savez(file, one=a_pack(1).rows, two=a_pack(2).rows)
    with pytest.raises(VoicewrightError, match="one, two"):
        Voicepack.read(path)
    assert np.array_equal(Voicepack.read(path, "two").rows, a_pack(2).rows)
    with pytest.raises(VoicewrightError, match="three"):
        Voicepack.read(path, "three")


class Trap:
    """A pickle that would create a file when opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_executes_is_refused(tmp_path: Path) -> None:
    mark = tmp_path / "executed"
    for number, data in enumerate((pickle.dumps(Trap(mark)), None)):
        path = tmp_path / f"evil{number}.pt"
        if data is None:
            torch.save({"voice": Trap(mark)}, path)
        else:
            path.write_bytes(data)
        with pytest.raises(VoicewrightError):
            Voicepack.read(path)
    with (tmp_path / "evil.npz").open("wb") as file:
        np.savez(file, voice=np.array([Trap(mark)], dtype=object))
    with pytest.raises(VoicewrightError):
        Voicepack.read(tmp_path / "evil.npz")
    assert not mark.exists()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_cut_files_are_one_sentence(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"voice{suffix}"
    a_pack().write(path)
    whole = path.read_bytes()
    for keep in (0, 10, len(whole) // 2, len(whole) - 4):
        path.write_bytes(whole[:keep])
        with pytest.raises(VoicewrightError) as caught:
            Voicepack.read(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((509, 1, 256), np.float32),
        np.zeros((510, 1, 255), np.float32),
        np.zeros((510, 2, 256), np.float32),
        np.zeros((510, 1, 256), np.int64),
        np.zeros((), np.float32),
        np.full((510, 1, 256), np.nan, np.float32),
        np.full((510, 1, 256), np.inf, np.float32),
    ],
)
def test_wrong_arrays_are_refused(values: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "v.npy"
    np.save(path, values)
    with pytest.raises(VoicewrightError, match=r"v\.npy"):
        Voicepack.read(path)


def test_unknown_suffix_is_wrong_use(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        a_pack().write(tmp_path / "v.wav")
    (tmp_path / "v.wav").write_bytes(b"x")
    with pytest.raises(UsageError):
        Voicepack.read(tmp_path / "v.wav")
    with pytest.raises(VoicewrightError):
        Voicepack.read(tmp_path / "absent.pt")


def truth(count: np.ndarray, seed: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    base, log, line, square = rng.standard_normal((4, WIDTH))
    t = (count - 1)[:, None] / 509
    return base + 0.3 * log * np.log(count)[:, None] + line * t + square * t * t


def test_curve_follows_length_and_holds_its_ends() -> None:
    rng = np.random.default_rng(0)
    count = rng.integers(15, 180, 200)
    styles = truth(count) + 0.3 * rng.standard_normal((200, WIDTH))
    pack = fit_curve(count.tolist(), styles.astype(np.float32))
    inside = np.arange(15, 181)
    miss = pack.rows[inside - 1, 0] - truth(inside)
    assert float(np.sqrt(np.mean(miss**2))) < 0.1  # the observations themselves are off by 0.3
    assert np.array_equal(pack.rows[300], pack.rows[509])
    assert np.array_equal(pack.rows[0], pack.rows[11])
    assert np.abs(pack.rows).max() < 3 * np.abs(styles).max()


def test_curve_shrinks_to_the_mean_where_length_tells_nothing() -> None:
    rng = np.random.default_rng(1)
    count = rng.integers(10, 200, 12)
    styles = rng.standard_normal((12, WIDTH)).astype(np.float32)
    pack = fit_curve(count.tolist(), styles)
    mean = styles.mean(axis=0)
    assert float(np.abs(pack.rows[:, 0] - mean).max()) < 0.05
    single = fit_curve([40], styles[:1])
    assert np.allclose(single.rows[:, 0], styles[0])
    same = fit_curve([40, 40, 40], styles[:3])
    assert np.allclose(same.rows[0, 0], styles[:3].mean(axis=0), atol=1e-6)


def test_curve_refuses_bad_input() -> None:
    styles = np.zeros((3, WIDTH), np.float32)
    for counts, given in (
        ([], styles[:0]),
        ([1, 2], styles),
        ([0, 1, 2], styles),
        ([1, 2, 3], styles + np.nan),
    ):
        with pytest.raises(VoicewrightError):
            fit_curve(counts, given)


@dataclass
class Clip:
    tokens: np.ndarray
    mel: np.ndarray


class MeanStyle(torch.nn.Module):
    """Stands for a style encoder: a linear map of the mean mel frame, so that the answer is known."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.weight = torch.nn.Parameter(torch.randn(80, 128, generator=generator) / 9)

    def forward(self, mel: torch.Tensor) -> torch.Tensor:
        assert mel.shape[-1] >= 80
        return mel.mean(dim=(1, 3)) @ self.weight


class Pair(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.acoustic, self.prosodic = MeanStyle(0), MeanStyle(1)


def test_voice_of_a_corpus_sets_outliers_aside() -> None:
    rng = np.random.default_rng(0)
    styles = Pair()
    level = rng.standard_normal((80, 1)).astype(np.float32)
    clips = []
    for number in range(40):
        frames = 40 if number == 3 else 200
        mel = level + 0.3 * rng.standard_normal((80, frames)).astype(np.float32)
        if number == 7:
            mel = mel + 50 * rng.standard_normal((80, 1)).astype(np.float32)
        clips.append(Clip(np.zeros(int(rng.integers(20, 120)), np.int64), mel.astype(np.float16)))
    pack = encode_voice(styles, clips)
    expected = encode_style(styles, np.tile(level, (1, 100)))
    assert float(np.abs(pack.rows[:, 0] - expected).max()) < 0.2
    with pytest.raises(VoicewrightError):
        encode_voice(styles, [])


@pytest.mark.skipif(PUBLIC is None, reason="VOICEWRIGHT_VOICEPACKS names no folder of public voicepacks")
def test_public_packs_are_explained_by_the_curve(tmp_path: Path) -> None:
    assert PUBLIC is not None
    paths = sorted(Path(PUBLIC).glob("*.bin"))
    assert len(paths) == 54
    left = []
    for path in paths:
        pack = Voicepack.read(path)
        again = tmp_path / "again.pt"
        pack.write(again)
        assert np.array_equal(Voicepack.read(again).rows, pack.rows)
        counts = list(range(20, ROWS + 1))
        rows = pack.rows[19:, 0]
        fitted = fit_curve(counts, rows).rows[19:, 0]
        left.append(float(np.sum((fitted - rows) ** 2) / np.sum((rows - rows.mean(axis=0)) ** 2)))
    assert max(left) < 0.05
