"""`convert --serve w-okada`: the command's order as a server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from voicewright.errors import UsageError, VoicewrightError

if TYPE_CHECKING:
    from voicewright.conversion.block import LiveOptions
    from voicewright.jobs.live import LiveOrder


def _first_settings(options: LiveOptions) -> dict[str, str]:
    """The command's options as w-okada's settings; what was not said stays as its clients expect it."""
    from voicewright.conversion import pitch

    method = pitch.resolve(options.method)
    # Harvest alone takes 0.4 of the time there is.
    method = "dio" if options.method == "auto" and method == "harvest" else method
    settings = {"f0Detector": method, "indexRatio": str(options.index_rate), "dstId": str(options.speaker)}
    if options.pitch != "auto":
        settings["tran"] = str(options.pitch)
    if options.silence is not None:
        settings["silentThreshold"] = str(10 ** (options.silence / 20))
    return settings


def serve(order: LiveOrder, options: LiveOptions) -> int:
    """Serve w-okada's clients until Ctrl-C; the exit code. Raises UsageError, VoicewrightError."""
    try:
        from voicewright.wokada.running import run
        from voicewright.wokada.server import Server
    except ImportError as error:
        raise VoicewrightError(f"serving needs {error.name}: `pip install voicewright[serve]`.") from error
    from voicewright.catalogue.places import cache_folder
    from voicewright.conversion.open import open_live
    from voicewright.rvc.convert.live import RvcOpener
    from voicewright.serve.guard import check_origin, is_loopback
    from voicewright.wokada.session import Given, Session
    from voicewright.wokada.slots import Slots, Uploads

    if not 0 <= order.port <= 65_535:
        raise UsageError(f"there is no port {order.port}; give --port 1 to 65535, or 0 for a free one.")
    if order.page is not None and not order.page.is_dir():
        raise UsageError(f"there is no folder {order.page}; --page names the one with w-okada's index.html.")
    origins = tuple(check_origin(origin) for origin in order.origins)
    given = None
    if order.to is not None:
        voice = open_live(order.to, order.index, embedder=order.embedder)
        given = Given(Path(order.to).stem or order.to, voice)
    folder = order.slots or cache_folder() / "w-okada"
    start = _first_settings(options)
    session = Session(Slots(folder), Uploads(folder / ".uploads"), RvcOpener(order.embedder), given, start)
    server = Server(session, hosts=(order.host,), origins=origins, page=order.page)
    if not is_loopback(order.host):
        print(
            f"anyone who reaches {order.host} can use this server and load voices into it.", file=sys.stderr
        )

    def ready(port: int) -> None:
        shown = f"[{order.host}]" if ":" in order.host else order.host
        print(
            f"w-okada's clients can connect to http://{shown}:{port}; Ctrl-C ends",
            file=sys.stderr,
            flush=True,
        )

    run(server, order.host, order.port, ready)
    return 0
