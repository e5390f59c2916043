"""A server answering on a port, under uvicorn, until it is interrupted or stopped from elsewhere."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import uvicorn

from voicewright.errors import VoicewrightError
from voicewright.wokada.requests import LARGEST_PART
from voicewright.wokada.server import Server


def run(server: Server, host: str, port: int, ready: Callable[[int], None] | None = None) -> None:
    """Serve until interrupted. `ready` is told the port once requests are answered (`port` 0 takes
    a free one).

    Raises VoicewrightError if the port is taken."""
    runner = Runner(server, host, port)
    try:
        runner.serve(ready)
    finally:
        server.close()


class Runner:
    """uvicorn around a server, to be stopped from elsewhere."""

    def __init__(self, server: Server, host: str, port: int) -> None:
        config = uvicorn.Config(
            server.app,
            host=host,
            port=port,
            ws="wsproto",
            log_level="error",
            lifespan="off",
            server_header=False,
            ws_max_size=LARGEST_PART,
            timeout_graceful_shutdown=2,
        )
        self._host, self._port = host, port
        self._uvicorn = uvicorn.Server(config)

    def stop(self) -> None:
        self._uvicorn.should_exit = True

    def serve(self, ready: Callable[[int], None] | None = None) -> None:
        asyncio.run(self._serve(ready))

    async def _serve(self, ready: Callable[[int], None] | None) -> None:
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self._host, self._port))
        except OSError as error:
            listening.close()
            raise VoicewrightError(
                f"cannot listen on {self._host}:{self._port} ({error.strerror}); choose another --port."
            ) from None
        serving = asyncio.create_task(self._uvicorn.serve(sockets=[listening]))
        while not self._uvicorn.started and not serving.done():
            await asyncio.sleep(0.01)
        if ready and not serving.done():
            ready(listening.getsockname()[1])
        await serving
