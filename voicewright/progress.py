"""Progress on standard error: messages, and how far a stage is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID


class Progress:
    """Progress on standard error: `(message)`, `(stage, share)` or `(stage, done, total)`.

    On a terminal a stage has a bar with the time that is left (rich); elsewhere it prints at most ten lines.
    """

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._stage = ""
        self._tenth = -1
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __call__(self, message: str, *numbers: float) -> None:
        if not numbers:
            self.close()
            print(message, file=sys.stderr, flush=True)
            return
        done, total = (numbers[0], 1.0) if len(numbers) == 1 else (numbers[0], max(numbers[1], 1))
        if self._live:
            self._show(message, done, total, counted=len(numbers) > 1)
            return
        tenth = int(10 * done / total)
        if message != self._stage or tenth > self._tenth:
            shown = f"{done:.0%}" if len(numbers) == 1 else f"{numbers[0]:g} of {numbers[1]:g}"
            print(f"{message}: {shown}", file=sys.stderr, flush=True)
        self._stage, self._tenth = message, tenth

    def _show(self, stage: str, done: float, total: float, counted: bool) -> None:
        if self._bar is None or stage != self._stage:
            self.close()
            self._bar, self._stage = _bar(counted), stage
            self._task = self._bar.add_task(stage, total=total)
            self._bar.start()
        assert self._task is not None
        self._bar.update(self._task, completed=done, total=total)

    def close(self) -> None:
        """End the line that is still open."""
        if self._bar is not None:
            self._bar.stop()
        self._bar, self._task, self._stage = None, None, ""


class Silent(Progress):
    """Says nothing: of several processes that do the same, one speaks."""

    def __call__(self, message: str, *numbers: float) -> None:
        pass


def _bar(counted: bool) -> Bar:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.progress import Progress as Bar

    numbers = MofNCompleteColumn() if counted else TaskProgressColumn()
    columns = (TextColumn("{task.description}", markup=False), BarColumn(24), numbers, TimeRemainingColumn())
    return Bar(*columns, console=Console(stderr=True), redirect_stdout=False, redirect_stderr=False)
