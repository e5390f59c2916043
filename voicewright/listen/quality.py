"""How good speech sounds, without a reference: Distill-MOS, and DNSMOS as a second opinion.

Only weights files are taken from the packages `distillmos` (MIT) and `speechmos` (MIT). Distill-MOS's network
is written here, because its package imports torchaudio and xls-r-sqa, which scoring does not need; DNSMOS's
package imports librosa. Both give 1 (bad) to 5 (excellent) for 16 kHz speech.

A clip's score varies by .3 to .4 for reasons of its own text: compare means over the same texts. DNSMOS
hardly hears lost bandwidth or a comb. Neither was held against listeners here.
"""

from __future__ import annotations

import importlib.util
import math
import pickle
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol

import numpy as np
import soxr
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from voicewright.errors import VoicewrightError
from voicewright.listen.speaker import first_line
from voicewright.units import SAMPLE_RATE

Samples = NDArray[np.float32]

QUALITY_RATE = 16_000
INSTALL = "pip install --no-deps distillmos==0.9.1"
INSTALL_SECOND = "pip install --no-deps speechmos==0.0.1.1"
_WINDOW = 122_880
"""Samples that Distill-MOS hears at once (7.68 s); shorter clips are padded with silence, as in training."""
_STEP = 16_000
_FRAMES = 384
_WIDTH, _HEADS, _LAYERS, _CHANNELS = 200, 8, 7, (64, 64, 128, 256, 256, 256)


class Quality(Protocol):
    """Gives one clip a score from 1 to 5."""

    @property
    def key(self) -> str: ...

    @property
    def name(self) -> str: ...

    def score(self, samples: Samples, rate: int = SAMPLE_RATE) -> float: ...


def inside(package: str, path: str) -> Path | None:
    """A file inside an installed package, which is not imported; None where there is none."""
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (found := Path(folder) / path).is_file():
            return found
    return None


def named(package: str) -> str:
    """The package with its version."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return package


def at_quality_rate(samples: Samples, rate: int) -> Samples:
    """Finite float32 samples [T] at 16 kHz."""
    clip = np.nan_to_num(np.asarray(samples, np.float32).reshape(-1))
    if rate != QUALITY_RATE and clip.size:
        clip = soxr.resample(clip, rate, QUALITY_RATE).astype(np.float32)
    return clip


class _Spectrum(nn.Module):
    """[B, samples] to [B, 256 · bins, frames]: compressed complex spectra, 20 ms every 10, convolved."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 2
        for number, channels in enumerate(_CHANNELS):
            stride = (2 if number else 1, 2 if number == len(_CHANNELS) - 1 else 1)
            layers += [nn.Conv2d(before, channels, (3, 3), stride=stride, padding=(0, 1)), nn.LeakyReLU(0.1)]
            before = channels
        self.cnn = nn.Sequential(*layers)
        self.register_buffer("window", torch.hann_window(320), persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        padded = F.pad(clips, (80, 80), mode="reflect")
        spectrum = torch.stft(
            padded, 320, hop_length=160, window=self.get_buffer("window"), center=False, return_complex=True
        )
        level = spectrum.abs().clamp_min(1e-12)[:, None]
        parts = torch.stack([spectrum.real, spectrum.imag], 1) * level**0.3 / level
        return torch.as_tensor(self.cnn(parts)).flatten(1, 2)


class _Position(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        place = torch.arange(_FRAMES).unsqueeze(1)
        rate = torch.exp(torch.arange(0, _WIDTH, 2) * (-math.log(2 * _FRAMES) / _WIDTH))
        table = torch.zeros(1, _FRAMES, _WIDTH)
        table[0, :, 0::2], table[0, :, 1::2] = torch.sin(place * rate), torch.cos(place * rate)
        self.register_buffer("pe", table)

    def forward(self, rows: Tensor) -> Tensor:
        return rows + self.get_buffer("pe")


class _Transformer(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(inputs)
        self.position_encoding = _Position()
        self.linear_proj = nn.Linear(inputs, _WIDTH)
        layer = nn.TransformerEncoderLayer(_WIDTH, _HEADS, 2 * _WIDTH, dropout=0.0, batch_first=True)
        self.transformer_encoder = nn.TransformerEncoder(layer, _LAYERS, enable_nested_tensor=False)

    def forward(self, rows: Tensor) -> Tensor:
        rows = self.linear_proj(self.norm(rows.transpose(1, 2)).transpose(1, 2))
        return torch.as_tensor(self.transformer_encoder(self.position_encoding(rows)))


class _Pool(nn.Module):
    """Attention over frames, [B, frames, 200] to [B, 1] (NISQA's)."""

    def __init__(self) -> None:
        super().__init__()
        self.linear1 = nn.Linear(_WIDTH, 2 * _WIDTH)
        self.linear2 = nn.Linear(2 * _WIDTH, 1)
        self.linear3 = nn.Linear(_WIDTH, 1)

    def forward(self, rows: Tensor) -> Tensor:
        weights = torch.softmax(self.linear2(torch.relu(self.linear1(rows))), 1)
        return torch.as_tensor(self.linear3((weights * rows).sum(1)))


class _Head(nn.Module):
    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.norm_input = nn.BatchNorm1d(inputs)
        self.transformer = _Transformer(inputs)
        self.norm_trans = nn.BatchNorm1d(_WIDTH)
        self.pool = _Pool()

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, frames] to [B], 0 to 1."""
        rows = self.transformer(self.norm_input(features).transpose(1, 2))
        rows = self.norm_trans(rows.transpose(1, 2)).transpose(1, 2)
        return torch.sigmoid(self.pool(rows))[:, 0]


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cnn = _Spectrum()
        bins = 161
        for number in range(len(_CHANNELS)):
            bins = (bins - 3) // (2 if number else 1) + 1
        self.transformer_pool_attn = _Head(_CHANNELS[-1] * bins)

    def forward(self, clips: Tensor) -> Tensor:
        """[B, 122880] with peaks at 1 to [B], 1 to 5."""
        return 1.0 + 4.0 * torch.as_tensor(self.transformer_pool_attn(self.cnn(clips)))


class DistillMos:
    """Distill-MOS (Stahl and Gamper 2025). Raises VoicewrightError for weights absent or not its own."""

    key = "distillmos"

    def __init__(self, weights: Path | None = None) -> None:
        path = weights or inside("distillmos", "weights/distill_mos_v7.pt")
        if path is None:
            raise VoicewrightError(
                f"Distill-MOS (quality) is not installed: run `{INSTALL}` "
                "(its own dependencies are not needed)."
            )
        network = _Network()
        try:
            network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True)["model"])
        except (OSError, KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise VoicewrightError(
                f"{path} does not hold Distill-MOS's weights: run `{INSTALL} --force-reinstall` "
                f"({first_line(error)})."
            ) from error
        self._network = network.eval().requires_grad_(False)
        self.name = f"Distill-MOS ({named('distillmos')}, {path.name})"

    def score(self, samples: Samples, rate: int = SAMPLE_RATE) -> float:
        """1 to 5 for a clip (float32 mono); long ones are heard in windows a second apart. Silence gets 1."""
        clip = at_quality_rate(samples, rate)
        if not clip.size or float(np.abs(clip).max()) < 1e-5:
            return 1.0
        over = max(0, len(clip) - _WINDOW)
        clip = np.pad(clip, (0, max(0, _WINDOW - len(clip))))
        starts = (np.linspace(0, 1, math.ceil(over / _STEP) + 1) * over).astype(int)
        scores = []
        for start in starts:
            window = clip[start : start + _WINDOW]
            window = window / (np.abs(window).max() + 1e-8)
            with torch.inference_mode():
                scores.append(float(self._network(torch.from_numpy(window.astype(np.float32))[None])[0]))
        return float(np.mean(scores))


class DnsMos:
    """DNSMOS P.835, overall (Reddy et al. 2022). Raises VoicewrightError when it cannot run."""

    key = "dnsmos"
    _SECONDS = 9.01
    _OVERALL = (-0.06766283, 1.11546468, 0.04602535)
    """From the network's answer to a mean opinion score: the polynomial of its authors."""

    def __init__(self, weights: Path | None = None) -> None:
        path = weights or inside("speechmos", "dnsmos_models/sig_bak_ovr.onnx")
        if path is None or importlib.util.find_spec("onnxruntime") is None:
            raise VoicewrightError(
                "DNSMOS (quality, second opinion) is not installed: run "
                f"`{INSTALL_SECOND}` and `pip install 'voicewright[onnx]'`."
            )
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        options.log_severity_level = 3
        try:
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime has no common class for its errors
            raise VoicewrightError(
                f"{path} is not DNSMOS's network: run `{INSTALL_SECOND} --force-reinstall` "
                f"({first_line(error)})."
            ) from error
        self.name = f"DNSMOS P.835 overall ({named('speechmos')})"

    def score(self, samples: Samples, rate: int = SAMPLE_RATE) -> float:
        """1 to 5 for a clip (float32 mono); a short one is repeated up to 9.01 s. Silence gets 1.

        The package hears repeats of a short clip in several shifted windows; here they are heard once.
        """
        clip = at_quality_rate(samples, rate)
        if not clip.size or float(np.abs(clip).max()) < 1e-5:
            return 1.0
        length = int(self._SECONDS * QUALITY_RATE)
        if len(clip) < length:
            clip = np.resize(clip, length)
        clip = np.clip(clip, -1.0, 1.0).astype(np.float32)
        answers = [
            float(self._session.run(None, {"input_1": clip[None, start : start + length]})[0][0][2])
            for start in range(0, len(clip) - length + 1, QUALITY_RATE)
        ]
        return float(np.polyval(self._OVERALL, answers).mean())
