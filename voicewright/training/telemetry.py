"""What a run tells: log.jsonl, TensorBoard, and one live line with the time left."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicewright.units import SAMPLE_RATE


class Telemetry:
    """Writes scalars to `log.jsonl` (full precision) and TensorBoard, and calls `line` with a status text."""

    def __init__(self, out: Path, total_steps: int, line: Callable[[str], None], resume_at: int = 0) -> None:
        self.path = out / "log.jsonl"
        self.line, self.total = line, total_steps
        self._began = time.monotonic()
        self._first = resume_at
        self._drop_after(resume_at)
        self._board: Any = None
        try:
            from torch.utils.tensorboard.writer import SummaryWriter

            self._board = SummaryWriter(str(out / "tensorboard"), purge_step=resume_at)
        except ImportError:
            line("TensorBoard is not installed (extra `train`); log.jsonl carries the scalars.")

    def _drop_after(self, step: int) -> None:
        """Lines of steps that a kill undid would appear twice after resuming."""
        if self.path.exists():
            kept = []
            for text in self.path.read_text("utf-8").splitlines():
                try:
                    if json.loads(text)["step"] <= step:
                        kept.append(text)
                except (json.JSONDecodeError, KeyError):
                    continue  # a line cut by the kill
            self.path.write_text("".join(t + "\n" for t in kept), "utf-8")

    def scalars(self, step: int, stage: str, values: Mapping[str, float], kind: str = "train") -> None:
        with self.path.open("a", encoding="utf-8") as log:
            log.write(json.dumps({"step": step, "stage": stage, "kind": kind, **values}) + "\n")
        if self._board is not None:
            for key, value in values.items():
                self._board.add_scalar(f"{kind}/{stage}/{key}", value, step)

    def status(self, step: int, stage: str, values: Mapping[str, float], audio_rate: float) -> None:
        done = step - self._first
        left = (time.monotonic() - self._began) / max(1, done) * (self.total - step)
        shown = " ".join(f"{key} {value:.3f}" for key, value in values.items())
        self.line(
            f"{stage} {step}/{self.total}  {shown}  {audio_rate:.1f} audio-s/s  "
            f"{int(left // 60)}:{int(left % 60):02d} left"
        )

    def preview(
        self,
        step: int,
        name: str,
        made: NDArray[np.float32],
        real: NDArray[np.float32],
        rate: int = SAMPLE_RATE,
    ) -> None:
        """Sound and spectrogram of a held-out sentence, beside the recording's."""
        if self._board is None:
            return
        for label, samples in (("made", made), ("real", real)):
            self._board.add_audio(f"{name}/{label}", samples[None], step, rate)
        self._board.add_image(f"{name}/made_over_real", picture(made, real), step)

    def close(self) -> None:
        if self._board is not None:
            self._board.close()


def picture(made: NDArray[np.float32], real: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Two log spectrograms, made above real, as one image [1, height, width]."""
    panels = []
    width = max(len(made), len(real))
    for samples in (made, real):
        padded = np.pad(samples, (0, width - len(samples)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, 1024)[::240]
        power = np.abs(np.fft.rfft(frames * np.hanning(1024), axis=1)) ** 2
        decibels = 10 * np.log10(power.T[::-2] + 1e-8)
        panels.append(np.clip((decibels + 60) / 90, 0, 1))
        panels.append(np.ones((2, decibels.shape[1])))
    return (np.concatenate(panels)[None] * 255).astype(np.uint8)


def tenths(line: Callable[[str], None]) -> Callable[[str, float], None]:
    """Progress of features as lines, at most one for each tenth of a stage."""
    said: set[tuple[str, int]] = set()

    def tell(stage: str, done: float) -> None:
        mark = (stage, int(10 * done))
        if mark not in said:
            said.add(mark)
            line(f"{stage}: {done:.0%}")

    return tell
