"""FCPE: pitch from mels by depthwise-separable convolutions, with the weights of the torchfcpe wheel.

Only the weights file of the package is used (MIT; CNChTu/FCPE); network and front end are written here, for
the package itself imports torchaudio, einops and local-attention. The network hears 0.9 s on either side of a
frame, but has one group norm whose statistics are those of all it is given.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.pitch import salience
from voicewright.model.precision import Precision, choose, project
from voicewright.model.reading import read_content

THRESHOLD = 0.05
"""Salience from which on a frame is voiced. On speech of known pitch (benchmarks/content.py) upstream's 0.006
calls up to twice as many unvoiced frames voiced, for one voiced frame in a hundred that it misses less."""
UPSTREAM_THRESHOLD = 0.006
WIDTH, WIDE, LAYERS, KERNEL, GROUPS = 512, 1024, 6, 31, 4
WEIGHTS = "assets/fcpe_c_v001.pt"
PACKAGE = "torchfcpe"
INSTALL = "pip install --no-deps torchfcpe==0.0.4"


def find_weights() -> Path | None:
    """The weights inside the torchfcpe package, without importing it; None where it is not installed."""
    spec = importlib.util.find_spec(PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / WEIGHTS
        if path.is_file():
            return path
    return None


class Fcpe(nn.Module):
    """The estimator: samples → F0. State-dict keys are the package's, weight norm folded."""

    cent_table: Tensor
    window: Tensor
    bank: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.input_stack = nn.Sequential(
            nn.Conv1d(salience.MELS, WIDTH, 3, padding=1),
            nn.GroupNorm(GROUPS, WIDTH),
            nn.LeakyReLU(),
            nn.Conv1d(WIDTH, WIDTH, 3, padding=1),
        )
        self.layers = nn.ModuleList(_Layer() for _ in range(LAYERS))
        self.norm = nn.LayerNorm(WIDTH)
        self.output_proj = nn.Linear(WIDTH, salience.CLASSES)
        self.register_buffer("cent_table", torch.zeros(salience.CLASSES))
        self.register_buffer("window", torch.hann_window(salience.N_FFT), persistent=False)
        self.register_buffer("bank", salience.filters(0.0, "slaney"), persistent=False)

    @torch.inference_mode()
    def f0(self, samples: Tensor, threshold: float = THRESHOLD) -> Tensor:
        """Samples [n] at 16 kHz → F0 [n // 160 + 1] in Hz, 0 unvoiced."""
        return salience.to_hertz(self(self.mel(samples)), self.cent_table, threshold, repeat_edges=True)

    def mel(self, samples: Tensor) -> Tensor:
        """Samples [n] → [n // 160 + 1, 128]; frames are centred on sample 160 k + 80, the last is doubled."""
        wave = salience.one_channel(samples)
        left = (salience.N_FFT - salience.HOP) // 2
        right = max(left, salience.N_FFT - len(wave) - left)
        mode = "reflect" if right < len(wave) else "constant"
        padded = F.pad(wave[None, None], (left, right), mode=mode)[0, 0]
        mel = salience.log_mel(padded, self.window, self.bank, inside=1e-9)
        frames = len(wave) // salience.HOP + 1
        return torch.cat((mel, mel[-1:]))[:frames] if frames > len(mel) else mel[:frames]

    def forward(self, mel: Tensor) -> Tensor:
        """Mels [T, 128] → salience [T, 360], 0 to 1."""
        x = self.input_stack(mel.T[None]).transpose(1, 2)
        for layer in self.layers:
            x = layer(x)
        return torch.sigmoid(self.output_proj(self.norm(x)))[0]


class _Layer(nn.Module):
    """Residual: norm, gated widening, 31 frames of each channel, narrowing. Rows of channels throughout."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(WIDTH)
        self.widen = nn.Linear(WIDTH, 2 * WIDE)
        self.along = nn.Conv2d(WIDE, WIDE, (KERNEL, 1), padding=(KERNEL // 2, 0), groups=WIDE)
        self.narrow = nn.Linear(WIDE, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        y = F.glu(project(self.widen, self.norm(x)), dim=2)
        # [1, T, C] seen as an image of C channels, T high and 1 wide, is channels-last as it lies.
        y = F.silu(self.along(y.transpose(1, 2)[..., None]))[..., 0].transpose(1, 2)
        return x + project(self.narrow, y)


_SHAPED = {"2": "widen", "4.conv": "along", "6": "narrow", "0": "norm"}
"""Places in the package's layers → names here."""


def open_fcpe(path: Path | None = None, precision: Precision = "fp32") -> Fcpe:
    """FCPE with the weights of a file, or of the installed torchfcpe package.

    `precision` is that of the layers' products; bf16 moves pitch by less than half a cent. Raises UsageError
    where there are no weights, VoicewrightError for a damaged, hostile or different file.
    """
    found = path or find_weights()
    if found is None:
        raise UsageError(
            f"FCPE's weights are in the torchfcpe package, which is not installed: run `{INSTALL}` "
            "(its own dependencies are not needed), or choose another pitch method."
        )
    content = read_content(found)
    state = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise VoicewrightError(f"{found} is no checkpoint of FCPE: it holds no `model`.")
    network = Fcpe()
    try:
        network.load_state_dict(_ours(state), strict=True)
    except (RuntimeError, LookupError) as error:
        raise VoicewrightError(
            f"{found} is not FCPE's fcpe_c_v001 ({str(error).splitlines()[-1].strip()[:160]}); "
            f"run `{INSTALL}` again."
        ) from error
    network.layers.apply(lambda module: _narrowed(module, choose(precision)))
    return network.eval().requires_grad_(False)


def _narrowed(module: nn.Module, precision: torch.dtype) -> None:
    if isinstance(module, nn.Linear | nn.Conv2d):
        module.to(precision)


def _ours(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """The package's names and shapes → ours, without what only training or attention would use."""
    own: dict[str, Tensor] = {}
    for name, value in state.items():
        parts = name.split(".")
        layered = parts[:2] == ["net", "encoder_layers"]
        if not isinstance(value, Tensor):
            raise KeyError(name)
        if name == "gaussian_blurred_cent_mask" or (layered and parts[3] == "norm"):
            continue
        if layered:
            place, kind = ".".join(parts[5:-1]), parts[-1]
            renamed = _SHAPED[place]
            if renamed in ("widen", "narrow") and kind == "weight":
                value = value.squeeze(-1)
            if renamed == "along" and kind == "weight":
                value = value[..., None]
            own[f"layers.{parts[2]}.{renamed}.{kind}"] = value
        else:
            own[name] = value
    gain, direction = own.pop("output_proj.weight_g"), own.pop("output_proj.weight_v")
    own["output_proj.weight"] = direction * (gain / direction.norm(dim=1, keepdim=True))
    return own
