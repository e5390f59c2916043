"""Give predicted pitch the spread that the speaker has.

A network trained to predict F0 from text alone hedges: its curve is the mean of what the speaker might do,
so it moves less than any speaker. As with the global-variance compensation of parametric synthesis (Toda &
Tokuda 2007), the spread is restored after training, here in the weights of the last layer, so that every
engine speaks with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from voicewright.config import STYLE
from voicewright.corpus.features import Features
from voicewright.model.tts.model import TTSModel
from voicewright.model.tts.prosody import clean_edges
from voicewright.voices.pack import Voicepack

MOST = 1.4
"""More than this would stretch errors, not melody."""
AT_MOST = 48
VOICED = 60.0
"""Hz; both curves must be above."""
ENOUGH = 200
"""Voiced frames without which there is nothing to go by."""


def spread(hertz: NDArray[np.float32]) -> float:
    """Range of the middle 70 % in octaves: the ramps that curves take at voicing borders hardly reach it."""
    low, high = np.percentile(hertz, [15, 85])
    return float(np.log2(high / low))


@torch.no_grad()
def spread_pitch(
    model: TTSModel, pack: Voicepack, utterances: Sequence[Features], factor: float | None = None
) -> float:
    """Scale the F0 layer so that voiced F0 spreads as in the utterances. Returns the factor (1 to MOST).

    F0 moves away from its median, so unvoiced frames (about 0 Hz) go below 0 and stay unvoiced; a factor
    below 1 would lift them, and is not applied. The utterances should be held-out ones of one speaker.
    `factor` overrides the measured one.
    """
    chosen = [utterances[int(i)] for i in np.linspace(0, len(utterances) - 1, min(AT_MOST, len(utterances)))]
    made, real = [], []
    training = model.training
    model.eval()
    for f in chosen:
        tokens = torch.from_numpy(np.array(f.tokens)).unsqueeze(0)
        durations = torch.from_numpy(np.array(f.durations)).unsqueeze(0)
        style = torch.from_numpy(pack.style(len(f.tokens) - 2)[STYLE:].copy()).unsqueeze(0)
        d = model.encode_prosody(tokens, None, style)
        f0 = model.f0_energy(model.expand(d.transpose(1, 2), durations), style)[0]
        curve = (clean_edges(f0) if model.config.voicewright.pitch_edges else f0)[0].numpy()
        both = (curve > VOICED) & (f.f0 > VOICED)
        made.append(curve[both])
        real.append(np.asarray(f.f0)[both])
    model.train(training)
    predicted, wanted = np.concatenate(made), np.concatenate(real)
    if len(predicted) < ENOUGH:
        return 1.0
    measured = spread(wanted) / max(spread(predicted), 1e-6)
    k = float(np.clip(measured if factor is None else factor, 1.0, MOST))
    head, middle = model.predictor.F0_proj, float(np.median(predicted))
    head.weight.mul_(k)
    assert head.bias is not None
    head.bias.copy_(middle + k * (head.bias - middle))
    return k
