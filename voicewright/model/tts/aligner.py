"""The aligner's network: which phone does each 25 ms frame belong to?

A frame classifier, not a sequence model: three convolutions see 225 ms around a frame. Stress marks,
lengths, spaces and punctuation are not classes of its own; `voicewright.corpus.align` ties them to the
phones around them.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from voicewright.audio.files import write_atomically
from voicewright.errors import VoicewrightError

INPUTS = 160
"""Two log-mel frames of 80 bins make one input frame."""
_FORMAT = "voicewright-aligner-2"


class AlignerNet(nn.Module):
    """Phone classifier. forward: x [B, 160, F] normalised log-mel pairs → log-probabilities [B, classes, F].

    `symbols` names the classes: the first is silence (""), every other one a phoneme symbol. What it needs to
    know about the speech it was taught with travels along: mean and std [80] of its log-mels, and prior
    [classes], the log share of frames of each class.
    """

    mean: Tensor
    std: Tensor
    prior: Tensor

    def __init__(self, symbols: tuple[str, ...], width: int = 192, dropout: float = 0.2) -> None:
        super().__init__()
        self.symbols = symbols
        self.width = width
        self.register_buffer("mean", torch.zeros(INPUTS // 2))
        self.register_buffer("std", torch.ones(INPUTS // 2))
        self.register_buffer("prior", torch.zeros(len(symbols)))
        self.layers = nn.Sequential(
            nn.Conv1d(INPUTS, width, 5, padding=2),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Conv1d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Conv1d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Conv1d(width, len(symbols), 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.log_softmax(self.layers(x), dim=1)

    def adopt(self, other: AlignerNet) -> list[str]:
        """Start from another aligner's weights; classes are matched by symbol. Returns the symbols it lacked.

        Raises VoicewrightError when the widths differ.
        """
        if other.width != self.width:
            raise VoicewrightError(
                f"The aligner to start from is {other.width} wide, not {self.width}; give one of this width."
            )
        with torch.no_grad():
            for mine, theirs in zip(list(self.layers)[:-1], list(other.layers)[:-1], strict=True):
                mine.load_state_dict(theirs.state_dict())
            head, source = self.layers[-1], other.layers[-1]
            assert isinstance(head, nn.Conv1d) and isinstance(source, nn.Conv1d)
            assert head.bias is not None and source.bias is not None
            self.mean.copy_(other.mean)
            self.std.copy_(other.std)
            for index, symbol in enumerate(self.symbols):
                if symbol in other.symbols:
                    row = other.symbols.index(symbol)
                    self.prior[index] = other.prior[row]
                    head.weight[index] = source.weight[row]
                    head.bias[index] = source.bias[row]
        return [symbol for symbol in self.symbols if symbol not in other.symbols]


def save_aligner(net: AlignerNet, path: Path) -> None:
    """Write an aligner as fp16 safetensors (under 1 MB). Raises VoicewrightError when the disk refuses."""
    meta = {
        "format": _FORMAT,
        "symbols": json.dumps(net.symbols, ensure_ascii=False),
        "width": str(net.width),
    }
    tensors = {name: value.detach().cpu().half().contiguous() for name, value in net.state_dict().items()}
    write_atomically(path, save(tensors, metadata=meta))


def load_aligner(path: Path) -> AlignerNet:
    """Read what `save_aligner` wrote. Raises VoicewrightError that names the file."""
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise VoicewrightError(f"{path} cannot be read as an aligner: {error}.") from error
    if meta.get("format") != _FORMAT:
        raise VoicewrightError(f"{path} is not an aligner of format {_FORMAT}; train a new one.")
    net = AlignerNet(tuple(json.loads(meta["symbols"])), int(meta["width"]))
    net.load_state_dict(tensors)
    return net.eval()
