"""Pitch for conversion: WORLD, FCPE and RMVPE on one grid; codes, transposition, long and bad sounds."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rmvpe_reference as reference
import torch

from voicewright.conversion import pitch
from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.pitch import fcpe, rmvpe, salience

# Upstream's own modules gave these for `reference.state()` and `reference.sound()`: every 1777th salience,
# every fourth or sixth pitch. RVC's classic line (branch 20240604, d60cd3d); torchfcpe 0.0.4, its weights.
RMVPE_SALIENCE = [
    0.458121, 0.994198, 0.856027, 0.003665, 0.001449, 0.805167, 0.001307, 0.380488, 0.010192, 0.045317,
    0.185286, 0.128519, 0.236689, 0.021127, 0.488552, 0.793425, 0.000559, 0.90163, 0.334588,
]  # fmt: skip
RMVPE_F0 = [
    92.346, 1568.153, 54.997, 1301.038, 1296.839, 55.105, 55.26, 1300.239, 984.318, 1297.665, 55.111, 54.833,
    55.285, 55.145, 55.106, 1309.207, 55.075, 54.827, 54.914, 66.931, 1609.007, 54.94, 54.944,
]  # fmt: skip
RMVPE_MEL = [
    -0.35688, -7.10233, -6.88597, -7.32824, -6.41734, -6.91629, -7.32764, -5.68621, -6.56224, -0.78552,
]  # fmt: skip
FCPE_F0 = [
    151.242, 154.878, 159.598, 164.49, 169.204, 173.991, 178.892, 183.331, 188.368, 193.3, 197.976, 203.076,
    207.587, 212.224, 217.529, 222.189, 226.369, 0.0, 0.0, 0.0, 0.0,
]  # fmt: skip
FCPE_MEL = [
    -0.56776, -6.89217, -6.98761, -6.58814, -7.12957, -7.30883, -6.45009, -6.35222, -3.95671, -6.13137,
]  # fmt: skip

needs_fcpe = pytest.mark.skipif(
    fcpe.find_weights() is None, reason=f"the torchfcpe package is not installed: {fcpe.INSTALL}"
)


@pytest.fixture(scope="module")
def state() -> dict[str, torch.Tensor]:
    return reference.state()


@pytest.fixture(autouse=True)
def forget_networks() -> Iterator[None]:
    yield
    pitch._network.cache_clear()


# --- RMVPE


def test_rmvpe_gives_upstreams_numbers(state: dict[str, torch.Tensor], figure: Callable[[str], None]) -> None:
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    learned = sum(value.numel() for name, value in state.items() if not name.endswith(statistics))
    assert (len(state), learned) == (741, 90_423_165)
    network = rmvpe.from_state(state)
    samples = reference.sound(0.9)
    mel = network.mel(samples)
    assert torch.allclose(mel.flatten()[::1013][:10], torch.tensor(RMVPE_MEL), atol=1e-4)
    with torch.inference_mode():
        found = network(mel)
    off = float((found.flatten()[::1777] - torch.tensor(RMVPE_SALIENCE)).abs().max())
    assert off < 1e-4
    f0 = network.f0(samples)
    assert f0.shape == (len(samples) // 160 + 1,)
    cents = 1200 * torch.log2(f0[::4] / torch.tensor(RMVPE_F0))
    assert cents.abs().max() < 0.1
    with torch.inference_mode():
        near = rmvpe.from_state(state, "bf16")(mel)
    logits = torch.logit(found, 1e-6)
    noise = (torch.logit(near, 1e-6) - logits).square().mean()
    ratio = float(10 * torch.log10((logits - logits.mean(0)).square().mean() / noise))
    assert 15 < ratio < 80
    figure(f"RMVPE: salience within {off:.0e} of upstream's; bf16 {ratio:.0f} dB from fp32 at random weights")


def test_rmvpes_file_loads_strictly(
    tmp_path: Path, state: dict[str, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    for change, says in (
        ({"cnn.bias": None}, "cnn.bias is missing"),
        ({"cnn.bias": torch.zeros(4)}, r"cnn.bias is \[4\] instead of \[3\]"),
        ({"more": torch.zeros(1)}, "more is unknown"),
    ):
        wrong = {name: value for name, value in {**state, **change}.items() if value is not None}
        with pytest.raises(VoicewrightError, match=says):
            rmvpe.from_state(wrong)
    path = tmp_path / "rmvpe.pt"
    torch.save({"a": 1}, path)
    with pytest.raises(VoicewrightError, match="not RMVPE"):
        rmvpe.open_rmvpe(path)
    monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path / "none"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"models pull rmvpe.*rmvpe\.pt of lj1995"):
        pitch.estimate(np.ones(16_000, np.float32), "rmvpe")


def test_classes_become_hertz() -> None:
    cents = 20.0 * torch.arange(360) + 1997.3794084376191
    peaks = torch.zeros(4, 360)
    peaks[0, 100:103] = torch.tensor([0.5, 1.0, 0.5])  # symmetric: the middle class itself
    peaks[1, 0], peaks[1, 1] = 1.0, 1.0  # at the edge there are only five
    peaks[2, 200] = 0.03  # no more than the threshold
    peaks[3, 359] = 0.5
    found = salience.to_hertz(peaks, cents, 0.03)
    wanted = [
        10 * 2 ** (cents[101] / 1200),
        10 * 2 ** ((cents[0] + 10) / 1200),
        0,
        10 * 2 ** (cents[359] / 1200),
    ]
    assert torch.allclose(found, torch.tensor(wanted), rtol=1e-5)
    repeated = salience.to_hertz(peaks, cents, 0.03, repeat_edges=True)
    # Class 0 counts five times: itself and four that are missing below it.
    assert repeated[1] == pytest.approx(10 * 2 ** (float(cents[0] + 20 / 6) / 1200), rel=1e-5)


# --- FCPE


@needs_fcpe
def test_fcpe_gives_torchfcpes_numbers(figure: Callable[[str], None]) -> None:
    network = fcpe.open_fcpe()
    samples = reference.sound(1.2)
    mel = network.mel(samples)
    assert torch.allclose(mel.flatten()[::1013][:10], torch.tensor(FCPE_MEL), atol=1e-4)
    f0 = network.f0(samples, fcpe.UPSTREAM_THRESHOLD)
    off = float((f0[::6] - torch.tensor(FCPE_F0)).abs().max())
    assert f0.shape == (len(samples) // 160 + 1,) and off < 2e-3
    near = fcpe.open_fcpe(precision="bf16").f0(samples, fcpe.UPSTREAM_THRESHOLD)
    both = (f0 > 0) & (near > 0)
    cents = float((1200 * torch.log2(near[both] / f0[both])).abs().quantile(0.99))
    assert float((both == (f0 > 0)).float().mean()) > 0.95 and 0 < cents < 3
    figure(f"FCPE: within {off:.0e} Hz of torchfcpe; bf16 moves pitch by {cents:.2f} cents (99 %)")
    for length in (160, 300, 700):
        assert network.f0(samples[:length]).shape == (length // 160 + 1,)


def test_fcpes_absence_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fcpe, "PACKAGE", "torchfcpe_that_is_not_there")
    assert pitch.resolve("auto") == "harvest"
    with pytest.raises(UsageError, match="pip install --no-deps torchfcpe"):
        pitch.estimate(np.ones(16_000, np.float32), "fcpe")
    for content in ({"a": 1}, {"model": {"net.encoder_layers": torch.zeros(1)}}, {"model": {"x": 3}}):
        torch.save(content, tmp_path / "x.pt")
        with pytest.raises(VoicewrightError):
            fcpe.open_fcpe(tmp_path / "x.pt")


# --- every method on the same grid


def glide(seconds: float, low: float = 150.0, slope: float = 80.0) -> tuple[pitch.Floats, pitch.Floats]:
    """A voice-like glide, and its pitch at each frame."""
    samples = reference.sound(seconds).numpy()
    frames = np.arange(len(samples) // 160 + 1) * 0.01
    return samples, np.where(frames < 0.8 * seconds, low + slope * frames, 0).astype(np.float32)


@pytest.mark.parametrize("method", ["harvest", "dio", pytest.param("fcpe", marks=needs_fcpe)])
def test_a_glide_is_followed(method: str, figure: Callable[[str], None]) -> None:
    samples, truth = glide(2.0)
    found = pitch.estimate(samples, method)
    assert found.dtype == np.float32 and found.shape == truth.shape
    inner = np.zeros(len(truth), bool)
    inner[5:155] = True
    voiced = inner & (found > 0)
    assert voiced.sum() > 0.95 * inner.sum()
    cents = np.abs(1200 * np.log2(found[voiced] / truth[voiced]))
    assert np.mean(cents < 50) > 0.97
    figure(f"{method}: median error {np.median(cents):.1f} cents on a glide")


def test_long_sounds_come_in_windows_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = np.tile(glide(2.0)[0], 4)
    whole = pitch.estimate(samples, "dio", whole=True)
    monkeypatch.setattr(pitch, "WINDOW", 2 * pitch.RATE)
    monkeypatch.setattr(pitch, "CONTEXT", pitch.RATE)
    pieces = pitch.estimate(samples, "dio")
    assert pieces.shape == whole.shape == (len(samples) // 160 + 1,)
    assert np.mean((pieces > 0) == (whole > 0)) > 0.99
    both = (pieces > 0) & (whole > 0)
    assert np.median(np.abs(pieces[both] - whole[both])) < 0.1


@pytest.mark.parametrize("method", ["harvest", "dio", pytest.param("fcpe", marks=needs_fcpe)])
def test_strange_sounds(method: str) -> None:
    for length in (0, 1, 159, 160, 700, 1600):
        assert pitch.estimate(np.zeros(length, np.float32), method).tolist() == [0.0] * (length // 160 + 1)
        assert len(pitch.estimate(np.ones(length, np.float32), method)) == length // 160 + 1
    noise = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    noise[100], noise[200] = np.nan, np.inf
    found = pitch.estimate(noise, method)
    assert np.isfinite(found).all() and (found >= 0).all()


def test_words_that_mean_nothing() -> None:
    second = np.ones(16_000, np.float32)
    with pytest.raises(UsageError, match="choose one of auto"):
        pitch.estimate(second, "crepes")
    with pytest.raises(UsageError, match="no threshold"):
        pitch.estimate(second, "dio", threshold=0.1)
    with pytest.raises(UsageError, match="0 < low < high"):
        pitch.estimate(second, "dio", f0_min=200, f0_max=100)
    with pytest.raises(VoicewrightError, match="one channel"):
        pitch.estimate(np.ones((2, 16_000), np.float32), "dio")


# --- curves


def test_coarse_codes_are_rvcs() -> None:
    curve = np.array([0, 30, 50, 100, 220, 440, 880, 1100, 2000], np.float32)
    assert pitch.coarse(curve).tolist() == [1, 1, 1, 20, 60, 122, 217, 255, 255]
    assert pitch.coarse(curve).dtype == np.int64


def test_curves_are_moved_and_filled() -> None:
    curve = np.array([0, 0, 100, 0, 0, 130, 0], np.float32)
    assert np.allclose(pitch.transpose(curve, 12), 2 * curve)
    assert pitch.transpose(curve, -7).dtype == np.float32
    assert np.allclose(pitch.interpolate_unvoiced(curve), [100, 100, 100, 110, 120, 130, 130])
    assert curve[0] == 0
    assert not pitch.interpolate_unvoiced(np.zeros(3, np.float32)).any()
    assert np.allclose(
        pitch.median3(np.array([0, 200, 0, 100, 101, 99, 0], np.float32)), [0, 0, 100, 100, 100, 99, 0]
    )


def test_a_transposition_goes_from_median_to_median() -> None:
    assert pitch.semitones_between(110.0, 220.0) == 12
    assert pitch.semitones_between(110.0, 104.0) == -1
    assert pitch.semitones_between(0.0, 220.0) == pitch.semitones_between(110.0, 0.0) == 0


# --- people


def recordings(folder: str, count: int) -> list[Any]:
    from voicewright.audio.files import read

    root = os.environ.get("VOICEWRIGHT_SPEECH")
    if not root or not (Path(root) / folder).is_dir():
        pytest.skip(f"VOICEWRIGHT_SPEECH does not name a folder with {folder}")
    files = sorted(
        path for path in (Path(root) / folder).rglob("*") if path.suffix in (".wav", ".flac", ".ogg")
    )
    assert files
    return [read(path, 16_000) for path in files[:: max(1, len(files) // count)][:count]]


@needs_fcpe
@pytest.mark.parametrize("folder", ["libri10", "ljspeech32"])
def test_fcpe_agrees_with_world_on_people(folder: str, figure: Callable[[str], None]) -> None:
    """Where WORLD's two estimators agree within half a semitone, so does FCPE."""
    near, octaves, counted, voicing, frames = 0, 0, 0, 0, 0
    for samples in recordings(folder, 4):
        ours, harvest, dio = (
            pitch.estimate(samples[:80_000], method) for method in ("fcpe", "harvest", "dio")
        )
        sure = (harvest > 0) & (dio > 0)
        sure[sure] = np.abs(12 * np.log2(harvest[sure] / dio[sure])) < 0.5
        both = sure & (ours > 0)
        cents = np.abs(1200 * np.log2(ours[both] / harvest[both]))
        near, octaves = near + int((cents < 50).sum()), octaves + int((cents > 600).sum())
        counted, frames = counted + int(both.sum()), frames + int(sure.sum())
        voicing += int(both.sum())
    assert near > 0.9 * counted and octaves < 0.01 * counted and voicing > 0.9 * frames
    figure(
        f"FCPE on {folder}: {near / counted:.3f} of frames within 50 cents where harvest and dio agree, "
        f"{octaves / counted:.4f} an octave off; {voicing / frames:.3f} of those frames voiced"
    )
