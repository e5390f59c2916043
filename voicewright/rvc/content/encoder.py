"""Who hears what is said for an RVC voice: a HuBERT, or a Voicewright model's own content network.

Features of the latter stand in ContentVec's place: the same frames of 20 ms, the text features first and
zeros up to the width that the version reads. A voice trained with them says so (`embedder_model`), and needs
the same network to convert; it opens everywhere, but programs that know only ContentVec would give it wrong
features.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from voicewright.audio.files import resample
from voicewright.audio.mel import LogMel
from voicewright.catalogue.places import CONFIG, CONTENT, WEIGHTS, embedded_model
from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.config import ModelConfig
from voicewright.model.content.bottleneck import MEL, ContentNet, mean_spectrum, normalised
from voicewright.model.content.files import load_content
from voicewright.model.precision import Precision
from voicewright.model.reading import printable
from voicewright.rvc.content.files import ALIASES, EMBEDDERS, open_content, resolve
from voicewright.rvc.content.hubert import ContentEncoder
from voicewright.units import FRAME, SAMPLE_RATE

EMBEDDED = "embedded"
"""The name of the shipped model's network."""
RATE = 16_000
STRIDE, FIELD = 320, 400
"""Samples from one frame of HuBERT to the next, and those that one frame is made of."""
WIDTHS = {"v1": 256, "v2": 768}


class OwnContent(nn.Module):
    """`encode` as `rvc/content/files.py`'s encoders have it, by a model's content network."""

    def __init__(self, net: ContentNet) -> None:
        super().__init__()
        self.net = net
        self.mel = LogMel(MEL)

    @torch.inference_mode()
    def encode(self, samples: Tensor, version: str) -> Tensor:
        """Samples [B, n] at 16 kHz → [B, (n - 400) // 320 + 1, 256 | 768].

        Raises VoicewrightError when the network has more features than the version reads.
        """
        width = WIDTHS[version]
        if self.net.text_width > width:
            raise VoicewrightError(
                f"the content network gives {self.net.text_width} features, RVC {version} reads {width}; "
                "use version v2."
            )
        count = max(0, (samples.shape[1] - FIELD) // STRIDE + 1)
        device = self.mel.window.device
        rows = [self._row(row.detach().cpu().numpy(), count, device) for row in samples]
        return nn.functional.pad(torch.stack(rows), (0, width - self.net.text_width))

    def _row(self, samples: np.ndarray, count: int, device: torch.device) -> Tensor:
        """Text features [count, H], taken from frames of 25 ms to the middles of frames of 20 ms."""
        wave = resample(samples.astype(np.float32), RATE, SAMPLE_RATE)
        wave = np.pad(wave, (0, max(-len(wave) % FRAME, 2 * FRAME - len(wave))))
        mel = self.mel(torch.from_numpy(wave).to(device)[None])[:, :, : 2 * (len(wave) // FRAME)]
        text = self.net(normalised(mel, mean_spectrum(mel))).text[0].float().T
        middle = (torch.arange(count, device=device) * STRIDE + FIELD / 2) / RATE
        at = (middle * SAMPLE_RATE / FRAME - 0.5).clamp(0, len(text) - 1)
        low = at.floor().long()
        high = (low + 1).clamp_max(len(text) - 1)
        part = (at - low).unsqueeze(1)
        return text[low] * (1 - part) + text[high] * part


def is_own(name_or_path: str | Path) -> bool:
    """Whether this names a content network of ours: `embedded`, or a model folder that has one."""
    return str(name_or_path) == EMBEDDED or (Path(name_or_path) / CONTENT / CONFIG).is_file()


def weights_of(name_or_path: str | Path) -> Path:
    """The weights file that a name, a file or a folder means. Raises VoicewrightError, UsageError."""
    if not is_own(name_or_path):
        return resolve(name_or_path)
    return _folder(name_or_path) / CONTENT / WEIGHTS


def open_listener(name_or_path: str | Path, precision: Precision = "auto") -> ContentEncoder | OwnContent:
    """`embedded` or a model folder of ours: its content network; else what `vc/content.py` opens.

    precision: of a HuBERT. Raises VoicewrightError, UsageError, each in one sentence.
    """
    if not is_own(name_or_path):
        return open_content(name_or_path, precision)
    folder = _folder(name_or_path)
    return OwnContent(load_content(folder, ModelConfig.read(folder / CONFIG)).net).eval()


def open_named(name: str, precision: Precision = "auto") -> ContentEncoder | OwnContent:
    """The content model that a voice's file names: a name only, as no path from a file is trusted.

    Raises UsageError for any other word, or when the model is not on this machine.
    """
    known = ALIASES.get(name.strip().lower(), name.strip().lower())
    if known not in (EMBEDDED, *EMBEDDERS):
        raise UsageError(
            f"the voice was trained with a content model of its own, {printable(name)!r}; "
            "give its file or folder with --embedder."
        )
    return open_listener(known, precision)


def said_name(name_or_path: str) -> str:
    """What a voice's file says of its content model: a published name, else the last part of a path."""
    return Path(name_or_path).name if Path(name_or_path).exists() else name_or_path


def _folder(name_or_path: str | Path) -> Path:
    return embedded_model() if str(name_or_path) == EMBEDDED else Path(name_or_path)
