"""Batches as a pure function of (seed, stage, step): what makes resuming exact, and prefetching safe.

The order of an epoch, the crops and the style references all come from counters, never from a running
generator.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from voicewright.audio.mel import PRESETS
from voicewright.corpus.features import Features
from voicewright.errors import VoicewrightError
from voicewright.model.share import WHOLE, Part, Share
from voicewright.units import FRAME

T = TypeVar("T")
STYLE_FRAMES = 160
"""Mel frames (12.5 ms) of a style reference: 2 s."""
_OF_ALL = ("style_own", "style_other", "speaker")
SILENT_MEL = PRESETS["styletts2"].silence


@dataclass
class Batch:
    """What a step reads. Fields that a stage does not name are None.

    tokens [B, T] int64 (PAD beyond), lengths [B] (on the CPU), durations [B, T] frames, frame_token [B, L]
    the token under each frame, frames [B] how many of the L are the clip's own (on the CPU), f0 and energy
    [B, 2L] (f0 is 0 where unvoiced), frame_mask [B, L], audio [B, 600 L] float, style_own and
    style_other [B, 80, STYLE_FRAMES], speaker [B]; style and reference [B, 256], those of the whole clips. Of
    a part of a batch style_own, style_other and speaker are those of all its clips: a clip's style may be a
    mean over them.
    """

    tokens: Tensor
    lengths: Tensor
    frames: Tensor
    durations: Tensor
    frame_token: Tensor
    frame_mask: Tensor
    f0: Tensor
    energy: Tensor
    style_own: Tensor
    style_other: Tensor
    speaker: Tensor
    audio: Tensor | None = None
    style: Tensor | None = None
    reference: Tensor | None = None
    share: Share = WHOLE

    def part(self, share: Part) -> Batch:
        """The clips of a part."""
        rows = torch.tensor(share.rows)
        mine: dict[str, Any] = {
            name: value[rows] if isinstance(value, Tensor) and name not in _OF_ALL else value
            for name, value in vars(self).items()
        }
        return Batch(**mine | {"share": share})

    def to(self, device: torch.device) -> Batch:
        moved: dict[str, Any] = {
            name: value
            if name in ("lengths", "frames") or not isinstance(value, Tensor)
            else value.to(device, non_blocking=True)
            for name, value in vars(self).items()
        }
        return Batch(**moved)


def _up(n: int, multiple: int) -> int:
    return -(-n // multiple) * multiple


def _reference(mel: NDArray[np.float16], rng: np.random.Generator) -> NDArray[np.float32]:
    """A random STYLE_FRAMES window; short clips are continued with silence, not zeros (zero is loud)."""
    frames = mel.shape[1]
    start = int(rng.integers(0, max(1, frames - STYLE_FRAMES + 1)))
    piece = mel[:, start : start + STYLE_FRAMES].astype(np.float32)
    short = STYLE_FRAMES - piece.shape[1]
    return np.pad(piece, ((0, 0), (0, short)), constant_values=SILENT_MEL) if short else piece


class Sampler:
    """Length-bucketed batches under a frame budget; `batch(step)` is deterministic.

    With `crop`, every clip contributes a window of exactly that many frames (a shorter clip is continued with
    silence that its final pad token owns); without, whole clips are used, bucketed by length. `encode` gives
    a clip's style [256]; batches then hold styles, and with `references` those of other clips too.
    """

    def __init__(
        self,
        features: Sequence[Features],
        *,
        seed: int,
        stage: int,
        batch_frames: int,
        crop: int | None,
        max_clips: int | None = None,
        encode: Callable[[Features], NDArray[np.float32]] | None = None,
        references: bool = False,
    ) -> None:
        if not features:
            raise VoicewrightError("There is nothing to train on: the corpus has no aligned utterances.")
        self.features = features
        self.seed, self.stage, self.crop = seed, stage, crop
        self.frames = np.array([int(f.durations.sum()) for f in features])
        self.batch_frames, self.max_clips = batch_frames, max_clips
        self._encode, self._references = encode, references
        names = sorted({f.speaker for f in features})
        self.speakers = np.array([names.index(f.speaker) for f in features])
        self.by_speaker = [np.flatnonzero(self.speakers == i) for i in range(len(names))]
        self._epochs: dict[int, list[NDArray[np.int64]]] = {}
        self._starts: list[int] = [0]  # first step of each epoch known so far

    def _rng(self, *path: int) -> np.random.Generator:
        return np.random.default_rng([self.seed, self.stage, *path])

    def _epoch(self, epoch: int) -> list[NDArray[np.int64]]:
        if epoch not in self._epochs:
            rng = self._rng(0, epoch)
            if self.crop is None:
                entries: NDArray[np.int64] = np.arange(len(self.features))
                cost = self.frames
            else:
                # Drawn in proportion to length, so that every second of speech is seen equally often.
                entries = np.repeat(np.arange(len(self.features)), np.maximum(1, self.frames // self.crop))
                cost = np.full(len(self.features), self.crop)
            jitter = self.frames[entries] * rng.uniform(0.9, 1.1, len(entries))
            entries = entries[np.argsort(jitter, kind="stable")]
            batches: list[NDArray[np.int64]] = []
            current: list[int] = []
            for index in entries:
                longest = max(int(cost[i]) for i in (*current, index))
                full = longest * (len(current) + 1) > self.batch_frames
                if current and (full or len(current) == self.max_clips):
                    batches.append(np.array(current))
                    current = []
                current.append(int(index))
            if current:
                if self.crop is not None and batches:
                    # Crops come in batches of one size: the last is filled up, so that no clip is left out.
                    more = rng.choice(entries, len(batches[0]) - len(current))
                    current.extend(int(index) for index in more)
                batches.append(np.array(current))
            order = rng.permutation(len(batches))
            self._epochs = {epoch: [batches[i] for i in order]}
        return self._epochs[epoch]

    @property
    def unit(self) -> int:
        """What a clip takes of the batch's budget, in frames."""
        return self.crop or int(self.frames.max())

    @property
    def epoch_steps(self) -> int:
        """Batches of the first epoch; others differ by a few."""
        return len(self._epoch(0))

    def heaviest(self) -> int:
        """The step among the first eight whose longest clip is longest."""
        return min(range(8), key=lambda step: -self.frames[self.indices(step)].max())

    def indices(self, step: int) -> NDArray[np.int64]:
        """Which clips make up the batch of this step (0-based within the stage)."""
        while True:
            epoch = len(self._starts) - 1
            if step < self._starts[-1]:
                epoch = int(np.searchsorted(self._starts, step, "right")) - 1
            batches = self._epoch(epoch)
            if step - self._starts[epoch] < len(batches):
                return batches[step - self._starts[epoch]]
            if epoch == len(self._starts) - 1:
                self._starts.append(self._starts[epoch] + len(batches))

    def batch(self, step: int, clips: int | None = None) -> Batch:
        """The batch of one step; `clips` cuts it down (for memory probing)."""
        chosen = self.indices(step)[:clips]
        rng = self._rng(1, step)
        longest_text = _up(max(len(self.features[i].tokens) for i in chosen), 16)
        window = self.crop or _up(int(self.frames[chosen].max()), 8)
        rows = [self._row(self.features[i], longest_text, window, rng) for i in chosen]
        other = [int(rng.choice(self.by_speaker[self.speakers[i]])) for i in chosen]
        stacked: dict[str, Any] = {
            key: torch.from_numpy(np.stack([row[key] for row in rows])) for key in rows[0]
        }
        return Batch(
            lengths=torch.tensor([len(self.features[i].tokens) for i in chosen]),
            frames=torch.from_numpy(np.minimum(self.frames[chosen], window)),
            style_other=torch.from_numpy(np.stack([_reference(self.features[i].mel, rng) for i in other])),
            speaker=torch.from_numpy(self.speakers[chosen]),
            style=self._style(chosen.tolist()),
            reference=self._style(other) if self._references else None,
            **stacked,
        )

    def _style(self, clips: Sequence[int]) -> Tensor | None:
        if self._encode is None:
            return None
        return torch.from_numpy(np.stack([self._encode(self.features[i]) for i in clips]))

    def _row(
        self, f: Features, text: int, window: int, rng: np.random.Generator
    ) -> dict[str, NDArray[np.generic]]:
        total = int(f.durations.sum())
        owner = np.repeat(np.arange(len(f.tokens)), f.durations)
        start = int(rng.integers(0, total - window + 1)) if total > window else 0
        stop = min(total, start + window)
        short = window - (stop - start)
        row: dict[str, NDArray[np.generic]] = {
            "tokens": np.pad(f.tokens, (0, text - len(f.tokens))),
            "durations": np.pad(f.durations, (0, text - len(f.tokens))),
            # Beyond the clip its last pad token goes on: silence, with silence's pitch and energy.
            "frame_token": np.pad(owner[start:stop], (0, short), constant_values=len(f.tokens) - 1),
            "frame_mask": np.arange(window) < stop - start,
            "f0": np.pad(f.f0[2 * start : 2 * stop], (0, 2 * short)).astype(np.float32),
            "energy": np.pad(f.energy[2 * start : 2 * stop], (0, 2 * short), mode="edge").astype(np.float32),
            "style_own": _reference(f.mel, rng),
        }
        if self.crop is not None:
            piece = f.samples[FRAME * start : FRAME * stop].astype(np.float32) / 32768
            row["audio"] = np.pad(piece, (0, FRAME * short))
        return row


def prefetch(make: Callable[[int], T], first: int, last: int, depth: int = 4) -> Generator[T, None, None]:
    """Yield make(first) … make(last - 1), computed ahead in one background thread."""
    ready: queue.Queue[T | BaseException] = queue.Queue(depth)
    stop = threading.Event()

    def put(item: T | BaseException) -> bool:
        while not stop.is_set():
            try:
                ready.put(item, timeout=0.2)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for step in range(first, last):
                if not put(make(step)):
                    return
        except Exception as error:  # carried to the consumer, which raises it
            put(error)

    thread = threading.Thread(target=work, name="batches", daemon=True)
    thread.start()
    try:
        for _ in range(first, last):
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
