"""Everything that touches a session, one thing after the other, away from the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from voicewright.wokada.requests import Samples
from voicewright.wokada.session import Session

T = TypeVar("T")


class Turns:
    """One thread converts and changes settings, in the order in which they were asked for."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="convert")

    async def do(self, work: Callable[..., T], *values: Any) -> T:
        """What `work` returns or raises, once it was its turn."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *values)

    async def convert(self, who: str, samples: Samples) -> Samples:
        """A client's piece of sound, converted. Raises Busy, Behind, UsageError."""
        with self._session.admitted(who):
            return await self.do(self._session.convert, samples)

    def close(self) -> None:
        """What waits is forgotten; what runs ends by itself."""
        self._worker.shutdown(wait=False, cancel_futures=True)
