"""Progress on standard error: messages, and how far a stage is."""

from __future__ import annotations

import sys


class Progress:
    """Progress on standard error: `(message)`, `(stage, share)` or `(stage, done, total)`.

    On a terminal a stage keeps one line; elsewhere it prints at most ten.
    """

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._stage = ""
        self._tenth = -1
        self._open = False

    def __call__(self, message: str, *numbers: float) -> None:
        if not numbers:
            self.close()
            print(message, file=sys.stderr, flush=True)
            return
        share = numbers[0] if len(numbers) == 1 else numbers[0] / max(numbers[1], 1)
        shown = f"{share:.0%}" if len(numbers) == 1 else f"{numbers[0]:g} of {numbers[1]:g}"
        tenth = int(10 * share)
        if self._live:
            if message != self._stage:
                self.close()
            print(f"\r\x1b[K{message}: {shown}", end="", file=sys.stderr, flush=True)
            self._open = True
        elif message != self._stage or tenth > self._tenth:
            print(f"{message}: {shown}", file=sys.stderr, flush=True)
        self._stage, self._tenth = message, tenth

    def close(self) -> None:
        """End the line that is still open."""
        if self._open:
            print(file=sys.stderr, flush=True)
        self._open = False
