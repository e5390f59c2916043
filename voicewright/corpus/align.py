"""Durations from recordings and their phonemes: a small aligner trained on the corpus itself.

1. Flat start: each clip's phones are spread evenly over its loud frames.
2. Gaussians: one per phone over decorrelated mel frames, re-estimated from the best monotonic path.
3. A convolutional classifier (`voicewright.model.tts.aligner`) learns the path and finds it again.

With `init`, weights of an earlier aligner replace steps 1 and 2 when they know every phone. After the first
round of step 3 clips whose text seems to be another's stop teaching, and what they taught is forgotten.
Frames are 25 ms throughout: frame j covers samples [600 j, 600 j + 600).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from voicewright.corpus.doubt import suspects
from voicewright.corpus.paths import BOTTOM, Clip, Floats, Ints, Work, groups, margins, realign
from voicewright.corpus.phones import (
    MAX_FRAMES,
    PAD_FRAMES,
    SILENCE,
    VOWELS,
    Plan,
    free_pauses,
    inventory,
    is_phone,
    plan,
    tidy_pauses,
)
from voicewright.errors import VoicewrightError
from voicewright.model.tts.aligner import AlignerNet

__all__ = ["AlignerSettings", "Alignment", "Clip", "Progress", "align", "apply", "plausible"]

Progress = Callable[[str, float], None]

_PHONE_LIMIT = 14
"""A phone longer than this (350 ms) is hardly one."""
_HELD = 32
"""A phone longer than this (0.8 s) swallows speech that the text lacks."""
_QUIET = 18.0 / 10 * np.log(10.0)
"""Frames that lie further below loud speech (18 dB, natural logarithm of power) may be a pause."""
_LEAN = 2400
"""Mel frames (30 s) of a speaker that weigh as much as what the aligner was taught with."""


@dataclass(frozen=True)
class AlignerSettings:
    """How the aligner is trained. Part of the cache key of durations."""

    seed: int = 0
    width: int = 192
    gaussian_rounds: int = 8
    rounds: int = 4
    steps: int = 120
    """Optimizer steps a round, at most: a small corpus takes fewer, about ten passes over it."""
    batch_frames: int = 1600
    rate: float = 2e-3
    prior: float = 0.4
    """How much of the log prior of each class is taken off its log-probability."""


@dataclass(frozen=True)
class Alignment:
    """durations int64 [tokens + 2] in frames, pads included, summing to the clip's frames.

    confidence 0..1: mean probability, over the frames of phones, that the frame belongs to its phone; 0
    when the clip cannot be aligned (`reason` says why). margin: how much better, in nats a frame, the text
    fits than texts of other clips; None where there were too few of them.
    """

    id: str
    durations: Ints
    confidence: float
    reason: str = ""
    margin: float | None = None


def align(
    clips: Sequence[Clip],
    settings: AlignerSettings | None = None,
    init: AlignerNet | None = None,
    progress: Progress | None = None,
) -> tuple[list[Alignment], AlignerNet]:
    """Train an aligner on the clips and align them; the same input gives the same output.

    Returns one Alignment per clip, in order, and the trained aligner for `apply`. Raises VoicewrightError
    when no clip is long enough for its phonemes.
    """
    settings = settings or AlignerSettings()
    tell = progress or (lambda stage, done: None)
    fitting = [clip for clip in clips if _fits(clip)]
    if not fitting:
        raise VoicewrightError("No recording is long enough for its text; check that they belong together.")
    symbols = inventory(clip.phonemes for clip in fitting)
    net = _seeded(lambda: AlignerNet(symbols, settings.width), settings.seed)
    missing = net.adopt(init) if init is not None else list(symbols)
    spectra = [_log_power(clip) for clip in fitting]
    if missing:
        every = np.concatenate(spectra)
        net.mean.copy_(torch.from_numpy(every.mean(0)))
        net.std.copy_(torch.from_numpy(every.std(0)))
    work = _work(fitting, spectra, net)
    if missing:
        _gaussian_start(work, settings, tell)
    else:
        realign(work, _scores(net, work), _weighed_prior(net, settings))
    for number in range(settings.rounds):
        fresh = number == 0
        if number == 1 and _dismiss(work, net, settings):
            # From here on it must not know the doubtful clips: they would look right to it.
            learnt = net
            net = _seeded(lambda: AlignerNet(symbols, settings.width), settings.seed + 1)
            net.mean.copy_(learnt.mean)
            net.std.copy_(learnt.std)
            fresh = True
        _train(net, work, settings, number, fresh, tell)
        net.prior.copy_(_log_share(work, len(symbols)))
        realign(work, _scores(net, work), _weighed_prior(net, settings))
    return _finish(clips, work, _scores(net, work), _weighed_prior(net, settings)), net


def apply(
    net: AlignerNet,
    clips: Sequence[Clip],
    settings: AlignerSettings | None = None,
    others: Sequence[str] = (),
) -> list[Alignment]:
    """Align clips with a trained aligner as it is. A clip with a phone it does not know gets confidence 0.

    others: phonemes of further clips, whose texts each clip's own is compared with.
    """
    known = set(net.symbols)
    fitting = [c for c in clips if _fits(c) and all(s in known for s in c.phonemes if is_phone(s))]
    work = _work(fitting, [_log_power(clip) for clip in fitting], net)
    scores = _scores(net, work)
    prior = _weighed_prior(net, settings or AlignerSettings())
    realign(work, scores, prior)
    classes = {symbol: index for index, symbol in enumerate(net.symbols)}
    rivals = [plan(line, classes) for line in others if known.issuperset(s for s in line if is_phone(s))]
    return _finish(clips, work, scores, prior, rivals)


def _fits(clip: Clip) -> bool:
    return bool(clip.phonemes) and clip.frames >= len(clip.phonemes) + 2 * PAD_FRAMES


def _dismiss(work: list[Work], net: AlignerNet, settings: AlignerSettings) -> bool:
    """Whether some clips look so unlike the others that they had better not teach; they no longer do."""
    found = margins(work, _scores(net, work), _weighed_prior(net, settings))
    odd = suspects(found, [item.clip.speaker for item in work])
    for item, doubtful in zip(work, odd, strict=True):
        item.teaches = not doubtful
    return any(odd)


def _seeded(make: Callable[[], AlignerNet], seed: int) -> AlignerNet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


# --- input ------------------------------------------------------------------------------------------------


def _log_power(clip: Clip) -> Floats:
    """[2F, 80]; digital silence and a room's noise are brought to the same floor, 40 dB below speech."""
    power = np.exp(4.0 * clip.mel[:, : 2 * clip.frames].astype(np.float32) - 4.0).T
    loud = np.percentile(power.sum(1), 95) / power.shape[1]
    return np.log(power + np.float32(1e-4 * loud))


def _work(clips: Sequence[Clip], spectra: Sequence[Floats], net: AlignerNet) -> list[Work]:
    """Inputs normalised per speaker: mean and std of what is there, leaning on the aligner's own."""
    classes = {symbol: index for index, symbol in enumerate(net.symbols)}
    groups: dict[str, list[int]] = {}
    for index, clip in enumerate(clips):
        groups.setdefault(clip.speaker, []).append(index)
    inputs: dict[int, Floats] = {}
    mean, spread = net.mean.numpy(), net.std.numpy() ** 2
    for group in groups.values():
        every = np.concatenate([spectra[index] for index in group])
        trust = len(every) / (len(every) + _LEAN)
        centre = trust * every.mean(0) + (1 - trust) * mean
        scale = np.sqrt(trust * every.var(0) + (1 - trust) * spread) + 1e-3
        for index in group:
            normal = (spectra[index] - centre) / scale
            inputs[index] = normal.reshape(-1, 2 * normal.shape[1]).astype(np.float32)
    return [Work(clip, plan(clip.phonemes, classes), inputs[i]) for i, clip in enumerate(clips)]


def _log_share(work: list[Work], classes: int) -> torch.Tensor:
    share = np.bincount(np.concatenate([w.labels for w in work]), minlength=classes) + 1.0
    return torch.from_numpy(np.log(share / share.sum()))


def _weighed_prior(net: AlignerNet, settings: AlignerSettings) -> Floats:
    return (settings.prior * net.prior.numpy()).astype(np.float32)


# --- the start --------------------------------------------------------------------------------------------


def _gaussian_start(work: list[Work], settings: AlignerSettings, tell: Progress) -> None:
    classes = 1 + max(int(item.plan.stay.max()) for item in work)
    vectors = _decorrelated(work)
    for item in work:
        _spread(item)
    for number in range(settings.gaussian_rounds):
        tell("aligner: start", number / settings.gaussian_rounds)
        scores = _gaussian_scores(vectors, [item.labels for item in work], classes)
        realign(work, scores, 0.0)


def _decorrelated(work: list[Work], keep: int = 30) -> list[Floats]:
    """Principal components of frames with their slope, whitened: [F, keep] for each clip."""
    rows = []
    for item in work:
        pair = item.x.reshape(len(item.x), 2, -1)
        slope = np.gradient(pair.mean(1), axis=0)
        rows.append(np.concatenate([pair.mean(1), 2.0 * slope], 1))
    every = np.concatenate(rows)
    mean = every.mean(0)
    values, basis = np.linalg.eigh(np.cov((every - mean).T))
    basis = basis[:, ::-1][:, :keep] / np.sqrt(values[::-1][:keep] + 1e-6)
    return [((row - mean) @ basis).astype(np.float32) for row in rows]


def _spread(item: Work) -> None:
    """Flat start: quiet frames are silence, phones share the others evenly."""
    loud = np.exp(item.x).mean(1)
    level = np.log(loud + 1e-6)
    quiet = level < np.percentile(level, 90) - 2.2
    quiet[:PAD_FRAMES] = quiet[-PAD_FRAMES:] = True
    phones = [int(c) for c, s in zip(item.plan.stay, item.plan.symbols, strict=True) if s and is_phone(s)]
    labels = np.zeros(len(quiet), np.int64)
    count = int((~quiet).sum())
    if phones and count:
        labels[~quiet] = np.array(phones)[np.arange(count) * len(phones) // count]
    item.labels = labels


def _gaussian_scores(vectors: list[Floats], labels: list[Ints], classes: int) -> list[Floats]:
    """Log-density of every frame under every class: own mean, variance shrunk towards the common one."""
    every, label = np.concatenate(vectors), np.concatenate(labels)
    count = np.bincount(label, minlength=classes).astype(np.float64)
    one_hot = np.zeros((classes, len(label)), np.float32)
    one_hot[label, np.arange(len(label))] = 1.0
    mean = (one_hot @ every) / np.maximum(count, 1)[:, None]
    within = ((every - mean[label]) ** 2).mean(0)
    square = (one_hot @ ((every - mean[label]) ** 2) + 50.0 * within) / (count + 50.0)[:, None]
    weight = 1.0 / square
    constant = -0.5 * (np.log(square).sum(1) + (mean**2 * weight).sum(1))
    out = []
    for rows in vectors:
        density = -0.5 * (rows**2) @ weight.T + rows @ (mean * weight).T + constant
        density -= density.max(1, keepdims=True)
        out.append(np.maximum(density, BOTTOM).astype(np.float32))
    return out


# --- the classifier ---------------------------------------------------------------------------------------


def _train(
    net: AlignerNet, work: list[Work], settings: AlignerSettings, number: int, fresh: bool, tell: Progress
) -> None:
    work = [item for item in work if item.teaches]
    rng = np.random.default_rng([settings.seed, number])
    lengths = np.array([len(item.x) for item in work])
    steps = int(np.clip(10 * lengths.sum() // settings.batch_frames, 20, settings.steps))
    optimizer = torch.optim.AdamW(net.parameters(), lr=settings.rate, weight_decay=1e-2)
    peak = settings.rate * (1.0 if fresh else 0.5)
    net.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed * 1000 + number)
        for step in range(steps):
            for group in optimizer.param_groups:
                group["lr"] = peak * min(1.0, (step + 1) / 10) * (1.0 - step / steps)
            chosen = _draw(rng, lengths, settings.batch_frames)
            x, y = _batch(work, chosen)
            noise = torch.randn(len(chosen), x.shape[1], 1) * 0.1
            loss = torch.nn.functional.nll_loss(net(x + noise), y, ignore_index=-1)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
            optimizer.step()
            tell("aligner: training", (number + step / steps) / settings.rounds)
    net.eval()


def _draw(rng: np.random.Generator, lengths: Ints, budget: int) -> list[int]:
    """Clips of about the same length, up to `budget` frames together."""
    order = np.argsort(lengths + rng.uniform(0, 20, len(lengths)), kind="stable")
    at = int(rng.integers(len(order)))
    count = max(1, budget // int(lengths[order[at]]))
    start = max(0, min(at - count // 2, len(order) - count))
    return [int(i) for i in order[start : start + count]]


def _batch(work: list[Work], chosen: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(work[i].x) for i in chosen)
    x = np.zeros((len(chosen), longest, work[0].x.shape[1]), np.float32)
    y = np.full((len(chosen), longest), -1, np.int64)
    for row, i in enumerate(chosen):
        x[row, : len(work[i].x)] = work[i].x
        if work[i].labels.size:
            y[row, : len(work[i].x)] = work[i].labels
    return torch.from_numpy(x).transpose(1, 2), torch.from_numpy(y)


@torch.no_grad()
def _scores(net: AlignerNet, work: list[Work]) -> list[Floats]:
    """Log-probabilities [F, C] of every clip."""
    net.eval()
    out: list[Floats] = [np.zeros(0, np.float32)] * len(work)
    for chosen in groups([len(item.x) for item in work], 32):
        x, _ = _batch(work, chosen)
        values = net(x).transpose(1, 2).numpy()
        for row, i in enumerate(chosen):
            out[i] = values[row, : len(work[i].x)].copy()
    return out


# --- what comes out ---------------------------------------------------------------------------------------


def _finish(
    clips: Sequence[Clip],
    work: list[Work],
    scores: list[Floats],
    prior: Floats,
    rivals: Sequence[Plan] = (),
) -> list[Alignment]:
    found: dict[int, Alignment] = {}
    for item, score, margin in zip(work, scores, margins(work, scores, prior, rivals), strict=True):
        durations = tidy_pauses(item.durations, item.plan.symbols)
        durations = free_pauses(durations, item.plan.symbols, _quiet(item.clip))
        trust = round(_trust(score, item.labels), 4)
        reason = _too_long(durations, item.plan.symbols)
        trust = 0.0 if reason else trust
        found[id(item.clip)] = Alignment(
            item.clip.id, durations, trust, reason, None if margin is None else round(margin, 4)
        )
    out = []
    for clip in clips:
        known = found.get(id(clip))
        if known is None:
            need = (len(clip.phonemes) + 2 * PAD_FRAMES) * 0.025
            has = f"{clip.frames * 0.025:.2f} s of sound"
            reason = f"{has} for {len(clip.phonemes)} tokens, which need {need:.2f} s"
            if clip.phonemes and clip.frames * 0.025 >= need:
                reason = "it holds a phone that the aligner was not trained on"
            known = Alignment(clip.id, np.zeros(len(clip.phonemes) + 2, np.int64), 0.0, reason)
        out.append(known)
    return out


def _quiet(clip: Clip) -> npt.NDArray[np.bool_]:
    """Frames [F] that lie far below the clip's speech."""
    power = np.exp(4.0 * clip.mel[:, : 2 * clip.frames].astype(np.float32) - 4.0).sum(0)
    level = np.log(power.reshape(-1, 2).mean(1))
    return np.asarray(level < np.percentile(level, 90) - _QUIET, bool)


def _too_long(durations: Ints, symbols: tuple[str, ...]) -> str:
    """Why a clip with these durations cannot be used; empty when it can."""
    for count, symbol in zip(durations.tolist(), symbols, strict=True):
        limit = _HELD if symbol and is_phone(symbol) else MAX_FRAMES
        if count > limit:
            name = repr(symbol) if symbol else "the silence at an end"
            return f"{name} lasts {count * 0.025:.2f} s, more than {limit * 0.025:.2f}; words may be missing"
    return ""


def _trust(scores: Floats, labels: Ints) -> float:
    """Mean probability of the path's class over the frames of phones."""
    sounding = labels > 0
    return float(np.exp(scores[np.arange(len(scores)), labels])[sounding].mean()) if sounding.any() else 0.0


def plausible(phonemes: str, durations: Ints, f0: npt.NDArray[np.floating]) -> bool:
    """Whether durations look like speech: no phone over 350 ms, 3 of 4 vowel frames voiced, pads in place.

    f0 [2F] decides what is voiced. A check of the aligner as a whole; one clip may fail it honestly.
    """
    symbols = (SILENCE, *phonemes, SILENCE)
    if durations[0] < PAD_FRAMES or durations[-1] < PAD_FRAMES or int(durations.sum()) * 2 != len(f0):
        return False
    if any(d > _PHONE_LIMIT for s, d in zip(symbols, durations, strict=True) if s and is_phone(s)):
        return False
    vowel = np.repeat(np.array([s in VOWELS if s else False for s in symbols]), durations * 2)
    return not vowel.any() or float((f0[vowel] > 0).mean()) >= 0.75
