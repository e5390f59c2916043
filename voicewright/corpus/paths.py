"""The best path through a recording's frames, of its own text and of other clips' texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from voicewright.corpus.monotonic import best_paths
from voicewright.corpus.phones import PAD_FRAMES, Plan

Floats = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

BOTTOM = -30.0
RIVALS = 8
"""Texts of other clips that each text is compared with."""


@dataclass(frozen=True)
class Clip:
    """One recording to align: mel [80, 2F] of the "styletts2" preset, with the pads' silence at both ends."""

    id: str
    phonemes: str
    speaker: str
    mel: npt.NDArray[np.floating]

    @property
    def frames(self) -> int:
        return self.mel.shape[1] // 2


@dataclass
class Work:
    """A clip while it is aligned."""

    clip: Clip
    plan: Plan
    x: Floats
    """[F, 160] normalised input."""
    labels: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    durations: Ints = field(default_factory=lambda: np.zeros(0, np.int64))
    teaches: bool = True
    """Whether the classifier learns from it."""


def groups(lengths: Sequence[int], size: int = 128) -> Iterator[list[int]]:
    """Indices of clips of similar length, a few at a time."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    for start in range(0, len(order), size):
        yield order[start : start + size]


def realign(work: Sequence[Work], scores: Sequence[Floats], prior: Floats | float) -> None:
    """Set durations and frame labels of every clip from class scores [F, C] less `prior` [C]."""
    for chosen in groups([len(item.x) for item in work]):
        durations, _ = _search([(scores[i] - prior, work[i].plan) for i in chosen])
        for row, i in enumerate(chosen):
            work[i].durations = durations[row, : len(work[i].plan.symbols)]
            work[i].labels = _labels(work[i], scores[i])


def margins(
    work: Sequence[Work], scores: Sequence[Floats], prior: Floats | float, others: Sequence[Plan] = ()
) -> list[float | None]:
    """How much better each recording fits its own text than texts of about the same length, in nats a frame.

    About 0 for a text that belongs to another recording. The texts are those of `work`, and `others`. None
    where fewer than three can be compared.
    """
    plans = sorted([*(item.plan for item in work), *others], key=lambda plan: len(plan.symbols))
    lengths = np.array([len(plan.symbols) for plan in plans])
    jobs: list[tuple[int, Plan]] = []
    for i, item in enumerate(work):
        at = int(np.searchsorted(lengths, len(item.plan.symbols)))
        window = plans[max(0, at - 3 * RIVALS) : at + 3 * RIVALS]
        window.sort(key=lambda plan: abs(len(plan.symbols) - len(item.plan.symbols)))
        rivals = [p for p in window if p.symbols != item.plan.symbols and len(p.symbols) <= len(item.x)]
        jobs += [(i, item.plan), *((i, rival) for rival in rivals[:RIVALS])]
    reached = np.zeros(len(jobs), np.float32)
    for chosen in groups([len(work[i].x) for i, _ in jobs]):
        pairs = [jobs[number] for number in chosen]
        _, reached[chosen] = _search([(scores[i] - prior, plan) for i, plan in pairs])
    found: dict[int, list[float]] = {}
    for (i, _), value in zip(jobs, reached.tolist(), strict=True):
        found.setdefault(i, []).append(value)
    return [_margin(found[i], len(item.x) - 2 * PAD_FRAMES) for i, item in enumerate(work)]


def _margin(reached: Sequence[float], frames: int) -> float | None:
    own, others = reached[0], [value for value in reached[1:] if np.isfinite(value)]
    if len(others) < 3 or not np.isfinite(own):
        return None
    return (own - float(np.mean(others))) / max(1, frames)


def _search(jobs: Sequence[tuple[Floats, Plan]]) -> tuple[Ints, Floats]:
    """Durations [B, T] and score [B] of the best path of each plan through its class scores [F, C]."""
    tokens = np.array([len(plan.symbols) for _, plan in jobs])
    frames = np.array([len(scores) for scores, _ in jobs])
    enter = np.full((len(jobs), frames.max(), tokens.max()), -np.inf, np.float32)
    stay = np.full_like(enter, -np.inf)
    for row, (scores, plan) in enumerate(jobs):
        first, later = _emissions(plan, scores)
        enter[row, : frames[row], : tokens[row]] = first
        stay[row, : frames[row], : tokens[row]] = later
    return best_paths(enter, stay, tokens, frames)


def _emissions(plan: Plan, scores: Floats) -> tuple[Floats, Floats]:
    """Entering and staying scores [F, T] from class scores [F, C], with the end pads' frames forced."""
    padded = np.concatenate([np.maximum(scores, BOTTOM), np.full((len(scores), 1), -np.inf, np.float32)], 1)
    enter = (padded[:, plan.enter] + plan.cost).max(2)
    stay = padded[:, plan.stay]
    for part in (enter, stay):
        part[:PAD_FRAMES, 1:] = -np.inf
        part[len(part) - PAD_FRAMES :, :-1] = -np.inf
    return enter, stay


def _labels(item: Work, scores: Floats) -> Ints:
    """The class under each frame of the path; a token that had a choice shows which it took."""
    plan = item.plan
    owner = np.repeat(np.arange(len(plan.symbols)), item.durations)
    labels = plan.stay[owner]
    starts = np.cumsum(item.durations) - item.durations
    padded = np.concatenate([scores, np.full((len(scores), 1), -np.inf, np.float32)], 1)
    options = np.take_along_axis(padded[starts], plan.enter, 1) + plan.cost
    labels[starts] = plan.enter[np.arange(len(starts)), options.argmax(1)]
    return labels
