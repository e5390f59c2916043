"""The map from prosodic halves to what is heard of them (`voices/prosody_map.py`) taught by the predictor.

Halves are drawn around the known voices and around what the encoders say of readers; the predictor alone says
their F0, a dozen at once, so that thousands take minutes. What a pitch tracker makes of such curves is then
brought in by a line through voices that were both predicted and heard (Kokoro's packs: pitch r .99, spread
.87). Pace is no part of it: phones counted by ear do not follow what durations the predictor gives (r −.4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from voicewright.errors import VoicewrightError
from voicewright.model.tts.model import TTSModel
from voicewright.training.clone.drawn import Spread
from voicewright.units import STYLE
from voicewright.voices.prosody import VOICED
from voicewright.voices.prosody_map import HEARD, WIDTH, ProsodyMap

Floats = NDArray[np.float64]
_TOGETHER = 16
_STEPS, _BATCH = 4000, 128
_JITTER = 0.02
"""Of the halves' size: what keeps the map smooth between those that were drawn."""
_FEWEST_VOICED = 30
_EDGES = (0.5, 99.5)
"""Percentiles of what the drawn voices do, within which the map is asked."""


def drawn_halves(spread: Spread, said: Floats, count: int, seed: int) -> Floats:
    """Prosodic halves [N, 128]: the known voices' own; others drawn further out than theirs; and as many
    between and around what encoders say of readers, `said` [R, 128], which lie off the known ones' ways."""
    rng = np.random.default_rng([seed, 23])
    known = spread.halves[:, STYLE:]
    middle, size = known.mean(0), np.sqrt(np.square(known - known.mean(0)).mean())
    found = [middle + (spread.draw(rng)[STYLE:] - middle) * rng.uniform(0.8, 1.3) for _ in range(count // 2)]
    for _ in range(count - count // 2):
        one, other = said[rng.integers(len(said), size=2)]
        drawn = one + rng.uniform(-0.3, 1.3) * (other - one)
        found.append(drawn + rng.standard_normal(STYLE) * size * rng.uniform(0.0, 0.5))
    return np.concatenate([known, said, np.stack(found)])


@torch.inference_mode()
def predicted(
    net: TTSModel,
    halves: Floats,
    curve: Tensor,
    texts: Sequence[Tensor],
    told: Callable[[str, int, int], object],
) -> Floats:
    """Pitch and spread [N, 2] that the predictor gives each half over the texts (tokens [1, T] with both
    pads); no numbers where it has no pitch. curve [510, 128]: what is added.

    F0 of all is read under the middle half's times, which pitch hardly depends on: so a batch is one tensor.
    """
    contexts = [net.bert_encoder(net.bert(tokens, None)).transpose(1, 2) for tokens in texts]
    rows = [curve[min(max(tokens.shape[1] - 3, 0), len(curve) - 1)] for tokens in texts]
    middle = torch.from_numpy(halves.mean(0)).float()
    owners = []
    for context, row in zip(contexts, rows, strict=True):
        d = net.predictor.text_encoder(context, (middle + row)[None], None)
        frames = torch.sigmoid(net.duration_logits(d)[0]).sum(1).round().clamp(min=1).long()
        owners.append(torch.repeat_interleave(torch.arange(len(frames)), frames))
    found = []
    for at in range(0, len(halves), _TOGETHER):
        told("mapping prosody", at, len(halves))
        some = torch.from_numpy(halves[at : at + _TOGETHER]).float()
        curves = []
        for context, row, owner in zip(contexts, rows, owners, strict=True):
            style = some + row
            d = net.predictor.text_encoder(context.repeat(len(some), 1, 1), style, None)
            curves.append(net.f0_energy(d.transpose(1, 2)[:, :, owner].contiguous(), style)[0])
        found += [_sung(f0) for f0 in torch.cat(curves, 1).numpy()]
    told("mapping prosody", len(halves), len(halves))
    return np.asarray(found)


def _sung(f0: NDArray[np.float32]) -> tuple[float, float]:
    """Median and spread in semitones of a curve in Hz, as `voices/known.py` measures them."""
    voiced = f0[f0 > VOICED]
    if len(voiced) < _FEWEST_VOICED:
        return float("nan"), float("nan")
    semitones = 12 * np.log2(voiced)
    middle = float(np.median(semitones))
    return middle, 1.4826 * float(np.median(np.abs(semitones - middle)))


def taught_map(
    halves: Floats, said: Floats, known: Floats, both: tuple[Floats, Floats], seed: int
) -> tuple[ProsodyMap, Floats]:
    """The map from halves [N, 128] and what is predicted of them [N, 2], and its error [2] on those held out.

    known [K, 128]: by which ways are measured; both: of voices that were predicted and heard, [M, 2] each.
    Raises VoicewrightError where the predictor gives most of them no pitch.
    """
    usable = np.isfinite(said).all(1)
    if usable.mean() < 0.5:
        raise VoicewrightError("most of the drawn voices have no pitch by the predictor; nothing is mapped.")
    halves, said = halves[usable], said[usable]
    rng = np.random.default_rng([seed, 29])
    order = rng.permutation(len(halves))
    held, rest = order[: len(order) // 10], order[len(order) // 10 :]
    middle = known.mean(0)
    size = float(np.sqrt(np.square(known - middle).mean()))
    mean, scale = said[rest].mean(0), said[rest].std(0) + 1e-6
    x, y = (torch.from_numpy(a).float() for a in ((halves - middle) / size, (said - mean) / scale))
    torch.manual_seed(seed)
    linear = nn.Linear(STYLE, HEARD)
    first, second, last = nn.Linear(STYLE, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, HEARD)
    inner = nn.Sequential(first, nn.SiLU(), second, nn.SiLU(), last)
    parameters = [*linear.parameters(), *inner.parameters()]
    optimizer = torch.optim.AdamW(parameters, 3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, _STEPS)
    for _ in range(_STEPS):
        some = torch.from_numpy(rng.choice(rest, _BATCH))
        z = x[some] + _JITTER * torch.randn(_BATCH, STYLE)
        optimizer.zero_grad()
        (linear(z) + inner(z) - y[some]).square().mean().backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        off = (linear(x[held]) + inner(x[held]) - y[held]).numpy() * scale
    slopes, offsets = zip(*(_line(p, h) for p, h in zip(both[0].T, both[1].T, strict=True)), strict=True)
    slope, offset = np.asarray(slopes), np.asarray(offsets)
    found = ProsodyMap()
    edges = np.percentile(slope * said + offset, _EDGES, axis=0)
    gain = torch.from_numpy(slope * scale).float()
    state = {
        "middle": middle, "size": np.array([size]), "ways": _ways(known), "low": edges[0], "high": edges[1],
        "linear": linear.weight * gain[:, None], "last": last.weight * gain[:, None],
        "first": first.weight, "first_bias": first.bias, "second": second.weight, "second_bias": second.bias,
        "bias": (linear.bias + last.bias) * gain + torch.from_numpy(slope * mean + offset).float(),
    }  # fmt: skip
    found.load_state_dict({key: torch.as_tensor(value).detach().float() for key, value in state.items()})
    return found, np.sqrt(np.square(off * slope).mean(0))


def _line(predicted: Floats, heard: Floats) -> tuple[float, float]:
    """Slope and offset of a line that outliers hardly move (Theil and Sen's)."""
    from scipy.stats import theilslopes

    fitted = theilslopes(heard, predicted)
    return float(fitted.slope), float(fitted.intercept)


def _ways(known: Floats) -> Floats:
    """The known halves' covariance [128, 128], a tenth of it the same in every direction."""
    centred = known - known.mean(0)
    covariance = centred.T @ centred / len(known)
    return np.asarray(0.9 * covariance + 0.1 * np.trace(covariance) / STYLE * np.eye(STYLE))
