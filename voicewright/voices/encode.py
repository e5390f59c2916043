"""A voicepack from recordings: the style encoders over a corpus's features, then the curve over length."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from voicewright.errors import VoicewrightError
from voicewright.voices.curve import fit_curve
from voicewright.voices.pack import WIDTH, Voicepack

SHORTEST = 80
"""Mel frames (1 s): the encoders halve time four times and then want a 5 x 5 patch."""


class Encoded(Protocol):
    """What is needed of an utterance: `tokens` int64 [T] with both pads, `mel` [80, frames] "styletts2"."""

    @property
    def tokens(self) -> NDArray[np.int64]: ...
    @property
    def mel(self) -> NDArray[np.float16]: ...


def encode_style(styles: torch.nn.Module, mel: NDArray[np.floating]) -> NDArray[np.float32]:
    """Style [256] (acoustic, then prosodic) of one log-mel [80, frames], frames of 12.5 ms.

    A clip shorter than a second is repeated up to one. `styles` has the children `acoustic` and `prosodic`,
    each [B, 1, 80, frames] → [B, 128].
    """
    if mel.ndim != 2 or mel.shape[1] == 0:
        raise VoicewrightError(f"a style needs a log-mel [80, frames], not {list(mel.shape)}.")
    values = np.asarray(mel, dtype=np.float32)
    if values.shape[1] < SHORTEST:
        values = np.tile(values, (1, -(-SHORTEST // values.shape[1])))
    weight = next(styles.parameters())
    batch = torch.from_numpy(values)[None, None].to(weight.device, weight.dtype)
    was_training = styles.training
    styles.eval()
    with torch.inference_mode():
        halves = [styles.get_submodule(name)(batch).reshape(-1) for name in ("acoustic", "prosodic")]
    styles.train(was_training)
    return torch.cat(halves).float().cpu().numpy()


def encode_voice(styles: torch.nn.Module, utterances: Iterable[Encoded], at_most: int = 600) -> Voicepack:
    """The voice of these utterances: every one encoded, outliers set aside, rows fitted over token count.

    `at_most` utterances, evenly spread, are enough for four numbers a dimension. Raises VoicewrightError when
    there is none.
    """
    chosen = list(utterances)
    if len(chosen) > at_most:
        chosen = [chosen[int(i)] for i in np.linspace(0, len(chosen) - 1, at_most)]
    if not chosen:
        raise VoicewrightError("a voice needs at least one utterance; this corpus has none for it.")
    counts = np.array([max(len(item.tokens) - 2, 1) for item in chosen])
    rows = np.stack([encode_style(styles, item.mel) for item in chosen])
    assert rows.shape[1] == WIDTH
    keep = np.isfinite(rows).all(axis=1)
    if not keep.any():
        raise VoicewrightError("the style encoders gave NaN for every utterance; the model is damaged.")
    counts, rows = counts[keep], rows[keep]
    distance = np.linalg.norm(rows - np.median(rows, axis=0), axis=1)
    inliers = distance <= np.median(distance) * 2.5 + 1e-6
    return fit_curve(counts[inliers].tolist(), rows[inliers])
