"""Who speaks: speaker embeddings by Resemblyzer's network (GE2E; Apache-2.0), from the weights in its wheel.

Only the weights file of the package is used; the network and its front end are written here, because the
package itself imports two libraries (librosa, webrtcvad) that are heavy or hard to build. Differences from
the package: resampling by soxr; long silences are found by level instead of by webrtcvad; loud clips are made
quieter too, not only quiet ones louder, so that level alone never looks like another speaker.
"""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soxr
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from voicewright.audio.melbank import slaney_filters
from voicewright.errors import VoicewrightError
from voicewright.units import SAMPLE_RATE

Samples = NDArray[np.float32]

SPEAKER_RATE = 16_000
EMBEDDING = 256
_MELS, _N_FFT, _HOP = 40, 400, 160
_PARTIAL = 160
"""Mel frames in one partial utterance (1.6 s)."""
_PARTIALS_PER_SECOND = 1.3
_MIN_COVERAGE = 0.75
_LEVEL_DBFS = -30.0
_GATE_FRAME = 480
"""Samples of one silence-gate frame (30 ms)."""
_GATE_DB = 40.0
_GATE_KEEP = 6
"""Gate frames of silence kept around speech (0.18 s)."""


def find_weights() -> Path:
    """Path of `pretrained.pt` inside the Resemblyzer package, without importing it.

    Raises VoicewrightError when the package or the file is absent.
    """
    spec = importlib.util.find_spec("resemblyzer")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "pretrained.pt"
        if path.is_file():
            return path
    raise VoicewrightError(
        "Speaker similarity needs the weights in the Resemblyzer package: "
        "run `pip install --no-deps Resemblyzer==0.1.4` (its own dependencies are not needed)."
    )


def first_line(error: Exception) -> str:
    """What an error says, short; some say nothing."""
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def mel_power(samples: Samples) -> NDArray[np.float32]:
    """Power mel spectrogram [frames, 40] of 16 kHz samples: n_fft 400, hop 160, Hann, centred."""
    padded = np.pad(np.asarray(samples, np.float32), _N_FFT // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, _N_FFT)[::_HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_N_FFT) / _N_FFT)
    power = np.abs(np.fft.rfft(frames * window, axis=1)) ** 2
    return np.asarray(power @ slaney_filters(SPEAKER_RATE, _N_FFT, _MELS).T, np.float32)


def partial_starts(samples: int) -> list[int]:
    """First mel frames of the 1.6 s windows over a clip of so many 16 kHz samples; at least one."""
    frames = -(-(samples + 1) // _HOP)
    step = round(SPEAKER_RATE / _PARTIALS_PER_SECOND / _HOP)
    starts = list(range(0, max(1, frames - _PARTIAL + step + 1), step))
    covered = (samples - starts[-1] * _HOP) / (_PARTIAL * _HOP)
    return starts[:-1] if covered < _MIN_COVERAGE and len(starts) > 1 else starts


def speech_only(samples: Samples) -> Samples:
    """16 kHz samples without long silences: frames 40 dB below the loud ones, 0.18 s of them kept."""
    count = len(samples) // _GATE_FRAME
    if count < 2:
        return samples
    frames = samples[: count * _GATE_FRAME].reshape(count, _GATE_FRAME)
    level = 10 * np.log10(np.mean(frames.astype(np.float64) ** 2, axis=1) + 1e-12)
    loud = level > np.percentile(level, 95) - _GATE_DB
    near = np.convolve(loud, np.ones(2 * _GATE_KEEP + 1), mode="same")[:count] > 0
    return np.ascontiguousarray(frames[near].reshape(-1))


class Encoder(Protocol):
    """Turns clips into unit vectors [256]; the dot product of two is their similarity."""

    name: str
    strangers: str
    """Under which name `listen/data/strangers.toml` holds the mean of strangers; "" where it holds none."""

    def embed(self, samples: Samples, rate: int = SAMPLE_RATE) -> NDArray[np.float32]: ...


class _Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(_MELS, EMBEDDING, 3, batch_first=True)
        self.linear = nn.Linear(EMBEDDING, EMBEDDING)

    def forward(self, mels: Tensor) -> Tensor:
        """[B, frames, 40] to unit vectors [B, 256] without negative entries."""
        _, (hidden, _) = self.lstm(mels)
        raw = torch.relu(self.linear(hidden[-1]))
        return raw / raw.norm(dim=1, keepdim=True).clamp_min(1e-9)


class SpeakerEncoder:
    """Turns clips into unit vectors; the dot product of two is their similarity, 0 to 1."""

    strangers = "resemblyzer"

    def __init__(self, weights: Path | None = None) -> None:
        path = weights or find_weights()
        try:
            state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)["model_state"]
        except (OSError, KeyError, RuntimeError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise VoicewrightError(
                f"{path} is not Resemblyzer's weights file: reinstall Resemblyzer ({first_line(error)})."
            ) from error
        network = _Network()
        # The two similarity parameters belong to the training loss only.
        wanted = {k: v for k, v in state.items() if k not in ("similarity_weight", "similarity_bias")}
        network.load_state_dict(wanted)
        self._network = network.eval().requires_grad_(False)
        self.name = "Resemblyzer pretrained.pt"

    @property
    def network(self) -> nn.Module:
        """The frozen network: mels [B, frames, 40] → unit vectors [B, 256]."""
        return self._network

    def embed(self, samples: Samples, rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
        """Unit vector [256] of one clip (float32 mono). Raises VoicewrightError for a silent clip."""
        clip = np.nan_to_num(np.asarray(samples, np.float32).reshape(-1))
        if rate != SPEAKER_RATE and clip.size:
            clip = soxr.resample(clip, rate, SPEAKER_RATE).astype(np.float32)
        rms = float(np.sqrt(np.mean(clip.astype(np.float64) ** 2))) if clip.size else 0.0
        if rms < 1e-7:
            raise VoicewrightError("A silent clip has no speaker: leave it out of the comparison.")
        gain = 10 ** (_LEVEL_DBFS / 20) / rms
        clip = speech_only(np.asarray(clip * gain, np.float32))
        starts = partial_starts(len(clip))
        needed = (starts[-1] + _PARTIAL) * _HOP
        mel = mel_power(np.pad(clip, (0, max(0, needed - len(clip)))))
        windows = np.stack([mel[start : start + _PARTIAL] for start in starts])
        with torch.inference_mode():
            partials = self._network(torch.from_numpy(windows)).numpy()
        mean = partials.mean(axis=0)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), np.float32)

    def embed_many(self, clips: Sequence[Samples], rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
        """Unit vectors [len(clips), 256]."""
        return np.stack([self.embed(clip, rate) for clip in clips])


def mean_voice(embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
    """The unit vector [256] nearest to all of [N, 256]."""
    mean = embeddings.mean(axis=0)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), np.float32)


def similarity_to_voice(embeddings: NDArray[np.float32], voice: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine [N] of each clip to the mean of the recordings `voice` [M, 256]."""
    return np.asarray(embeddings @ mean_voice(voice), np.float32)


def similarity_among(voice: NDArray[np.float32]) -> NDArray[np.float32]:
    """Cosine [M] of each recording to the mean of the others: the ceiling a synthesised clip is held against.

    With one recording alone there is nothing to compare, and the answer is 1.
    """
    if len(voice) < 2:
        return np.ones(len(voice), np.float32)
    others = (voice.sum(axis=0)[None] - voice) / (len(voice) - 1)
    others = others / np.maximum(np.linalg.norm(others, axis=1, keepdims=True), 1e-9)
    return np.asarray((voice * others).sum(axis=1), np.float32)
