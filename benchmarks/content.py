"""What content and pitch of a conversion cost on a CPU beside upstream's networks, and how right pitch is.

`benchmarks/convert.py` has the whole of a conversion; here are all precisions side by side.

    python benchmarks/content.py [--seconds 10] [--repetitions 5] [--threads 1] [--rvc FOLDER] [--json]
    python benchmarks/content.py --accuracy SPEECH [--clips 8]

Speed: random weights, the same for each pair; they take turns, so that a busy machine slows all alike. Times
are of the processor, in milliseconds for a second of audio, medians. HuBERT beside transformers' HubertModel;
RMVPE beside upstream's own modules in a checkout of RVC-WebUI's branch 20240604 (`--rvc`; librosa is stood in
for, as only its mel filters are wanted); FCPE beside torchfcpe's own modules.

Accuracy: recordings are analysed by WORLD, their pitch smoothed within voiced stretches, and spoken again by
WORLD with exactly that pitch: what every method should then find is known. White noise is added at 20 and 10
dB. `within` is the share of frames within 50 cents where both are voiced, `octave` that off by more than 600;
`missed` of the voiced frames and `false` of the unvoiced ones.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[1]
Runs = dict[str, Callable[[], Any]]


def hubert(samples: torch.Tensor) -> Runs:
    """transformers' model and ours; v1 stops at the ninth layer."""
    from transformers import HubertConfig, HubertModel

    from voicewright.rvc.content.hubert import ContentConfig, ContentEncoder, expected_shapes

    rng = torch.Generator().manual_seed(0)
    config = ContentConfig()
    weights = {name: 0.02 * torch.randn(s, generator=rng) for name, s in expected_shapes(config).items()}
    theirs = HubertModel(HubertConfig()).eval()
    exact = ContentEncoder(config, weights)
    near = ContentEncoder(config, weights, torch.bfloat16)
    batch = samples[None]
    return {
        "HuBERT transformers": lambda: theirs(batch),
        "HuBERT fp32 v2": lambda: exact.encode(batch, "v2"),
        "HuBERT fp32 v1": lambda: exact.encode(batch, "v1"),
        "HuBERT bf16 v2": lambda: near.encode(batch, "v2"),
        "HuBERT bf16 v1": lambda: near.encode(batch, "v1"),
    }


def rmvpe(samples: torch.Tensor, checkout: Path | None) -> Runs:
    sys.path.insert(0, str(ROOT / "tests" / "support"))
    import rmvpe_reference

    from voicewright.model.pitch.rmvpe import from_state

    state = rmvpe_reference.state()
    exact, near = from_state(state), from_state(state, "bf16")
    runs: Runs = {"RMVPE fp32": lambda: exact.f0(samples), "RMVPE bf16": lambda: near.f0(samples)}
    if checkout is None:
        return runs
    whole = upstream_rmvpe(checkout, state)
    return {"RMVPE upstream": lambda: whole.infer_from_audio(samples, 0.03), **runs}


def upstream_rmvpe(checkout: Path, state: dict[str, torch.Tensor]) -> Any:
    """Upstream's estimator with these weights; its packages are named but not run, and our mel filters stand
    in for librosa's."""
    from voicewright.audio.melbank import slaney_filters

    def mel(*, sr: int, n_fft: int, n_mels: int, fmin: float, fmax: float, htk: bool = False) -> Any:
        return slaney_filters(sr, n_fft, n_mels, fmin, fmax, "htk" if htk else "slaney")

    for name in ("librosa", "librosa.util", "librosa.filters", "infer", "infer.lib", "infer.lib.jit"):
        sys.modules[name] = types.ModuleType(name)
    for name in ("normalize", "pad_center", "tiny"):
        setattr(sys.modules["librosa.util"], name, None)
    sys.modules["librosa.filters"].mel = mel  # type: ignore[attr-defined]
    sys.modules["infer.lib"].jit = sys.modules["infer.lib.jit"]  # type: ignore[attr-defined]
    sys.modules["infer.lib"].__path__ = [str(checkout / "infer" / "lib")]
    import importlib

    upstream = importlib.import_module("infer.lib.rmvpe")
    whole = object.__new__(upstream.RMVPE)
    whole.is_half, whole.device = False, "cpu"
    whole.model = upstream.E2E(4, 1, (2, 2)).eval()
    whole.model.load_state_dict(state)
    whole.mel_extractor = upstream.MelSpectrogram(False, 128, 16_000, 1024, 160, None, 30, 8000)
    whole.cents_mapping = np.pad(20 * np.arange(360) + 1997.3794084376191, (4, 4))
    return whole


def fcpe(samples: torch.Tensor) -> Runs:
    from voicewright.model.pitch.fcpe import open_fcpe

    for name in ("torchaudio", "torchaudio.transforms", "local_attention", "einops"):
        sys.modules.setdefault(name, types.ModuleType(name))
    for name, parts in (
        ("torchaudio.transforms", ["Resample"]),
        ("local_attention", ["LocalAttention"]),
        ("einops", ["rearrange", "repeat"]),
    ):
        for part in parts:
            setattr(sys.modules[name], part, None)
    import torchfcpe

    theirs = torchfcpe.spawn_bundled_infer_model("cpu")
    exact, near = open_fcpe(), open_fcpe(precision="bf16")
    wave = samples[None, :, None]
    return {
        "FCPE torchfcpe": lambda: theirs.infer(wave, 16_000),
        "FCPE fp32": lambda: exact.f0(samples),
        "FCPE bf16": lambda: near.f0(samples),
    }


def speed(options: argparse.Namespace) -> dict[str, float]:
    torch.set_num_threads(options.threads)
    rng = torch.Generator().manual_seed(1)
    samples = 0.1 * torch.randn(round(options.seconds * 16_000), generator=rng).clamp(-4, 4)
    found: dict[str, float] = {}
    for make in (hubert, lambda wave: rmvpe(wave, options.rvc), fcpe):
        runs = make(samples)
        spent: dict[str, list[float]] = {name: [] for name in runs}
        with torch.inference_mode():
            for turn in range(options.repetitions + 1):
                for name, run in runs.items():
                    began = time.process_time()
                    run()
                    if turn:  # the first warms up
                        spent[name].append(1000 * (time.process_time() - began) / options.seconds)
        found |= {name: statistics.median(times) for name, times in spent.items()}
    return found


def smoothed(f0: np.ndarray) -> np.ndarray:
    """Pitch without leaps: medians and means within voiced stretches, those under 60 ms left out."""
    from scipy.ndimage import median_filter

    out = np.zeros_like(f0)
    ends = np.flatnonzero(np.diff(np.concatenate(([0], (f0 > 0).astype(int), [0]))))
    for start, stop in zip(ends[::2], ends[1::2], strict=True):
        if stop - start >= 6:
            logs = median_filter(np.log(f0[start:stop]), 7, mode="nearest")
            window = np.hanning(9)[1:-1] / np.hanning(9).sum()
            out[start:stop] = np.exp(np.convolve(np.pad(logs, 3, mode="edge"), window, "valid"))
    return out


def respoken(samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Speech by WORLD with a pitch that is known: samples, F0 a frame."""
    import pyworld

    double = samples.astype(np.float64)
    double *= 0.5 / max(np.abs(double).max(), 1e-9)
    f0, times = pyworld.dio(double, 16_000, f0_floor=60, f0_ceil=600, frame_period=10)
    f0 = smoothed(pyworld.stonemask(double, f0, times, 16_000))
    spectrum = pyworld.cheaptrick(double, f0, times, 16_000)
    noise = pyworld.d4c(double, f0, times, 16_000)
    noise[f0 == 0] = 1.0
    spoken = pyworld.synthesize(f0, spectrum, noise, 16_000, 10.0)
    return (0.5 * spoken / max(np.abs(spoken).max(), 1e-9)).astype(np.float32), f0


def accuracy(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    from voicewright.audio.files import read
    from voicewright.conversion import pitch
    from voicewright.model.pitch.fcpe import UPSTREAM_THRESHOLD

    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    methods = {"fcpe": ("fcpe", None), "fcpe 0.006": ("fcpe", UPSTREAM_THRESHOLD)}
    methods |= {name: (name, None) for name in ("harvest", "dio")}
    totals: dict[str, np.ndarray] = {}
    files = sorted(p for p in options.accuracy.rglob("*") if p.suffix in (".wav", ".flac", ".ogg"))
    for path in files[:: max(1, len(files) // options.clips)][: options.clips]:
        spoken, truth = respoken(read(path, 16_000)[: 5 * 16_000])
        level = float(np.sqrt(np.mean(spoken**2)))
        for noise in (None, 20, 10):
            added = 0.0 if noise is None else level * 10 ** (-noise / 20)
            heard = (spoken + added * rng.standard_normal(len(spoken))).astype(np.float32)
            for label, (method, threshold) in methods.items():
                found = pitch.estimate(heard, method, threshold=threshold)[: len(truth)]
                voiced, real = found > 0, truth[: len(found)] > 0
                both = voiced & real
                cents = np.abs(1200 * np.log2(found[both] / truth[: len(found)][both]))
                counts = (
                    (cents < 50).sum(),
                    (cents > 600).sum(),
                    both.sum(),
                    (real & ~voiced).sum(),
                    real.sum(),
                )
                key = f"{label}, {'clean' if noise is None else f'{noise} dB'}"
                row = np.array([*counts, (voiced & ~real).sum(), (~real).sum()], np.float64)
                totals[key] = totals.get(key, 0) + row
    return {
        key: {"within": r[0] / r[2], "octave": r[1] / r[2], "missed": r[3] / r[4], "false": r[5] / r[6]}
        for key, r in totals.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rvc", type=Path, help="a checkout of RVC-WebUI")
    parser.add_argument("--accuracy", type=Path, metavar="SPEECH", help="a folder of recordings")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    results = accuracy(options) if options.accuracy else speed(options)
    if options.json:
        print(json.dumps(results))
    elif options.accuracy:
        for key, row in results.items():
            print(f"{key:22}", *(f"{name} {value:.3f}" for name, value in row.items()))
    else:
        for key, value in results.items():
            print(f"{key:22} {value:7.1f} ms")


if __name__ == "__main__":
    main()
