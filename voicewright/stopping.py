"""Stopping a longer work when somebody wants no more of it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

from voicewright.errors import Cancelled

Cancel: TypeAlias = Callable[[], bool] | threading.Event
"""Says whether to stop: asked before every piece of a longer work."""


def stop_if(cancel: Cancel | None) -> None:
    """Raises Cancelled when `cancel` says so."""
    if cancel is not None and (cancel.is_set() if isinstance(cancel, threading.Event) else cancel()):
        raise Cancelled("Cancelled.")


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Ctrl-C sets the event (an exception amid an encoder's call would be lost); a second one raises."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def asked(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, asked)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
