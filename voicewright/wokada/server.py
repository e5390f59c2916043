"""A server that w-okada's voice changer clients can use: version 1's REST and Socket.IO, and
VCClient 2's chunks.

Version 1 (MIT; protocol read from its server and client library): Socket.IO namespace `/test`, event
`request_message` with one list `[timestamp, int16 bytes]`, answered by `response` `[timestamp, int16 bytes,
[0, seconds, 0]]`; `POST /test` with base64 in JSON; forms for settings, uploads and slots. Fewer than 256
bytes in an answer mean that nothing was converted; the reason then comes in a `message` event. Version 2's
source is not published: `convert_chunk`, its configuration and slots are what its users' programs show.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import socketio
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from voicewright.errors import UsageError, VoicewrightError
from voicewright.serve.guard import App, Guard
from voicewright.wokada.session import Behind, Busy, Session
from voicewright.wokada.slots import ICONS, slot_number

PORT = 18_888
LARGEST_PART = 1 << 23
"""Bytes of a request: clients send files in parts of 1 MiB, sound in pieces of at most 10 s."""
NOTHING = b"\0\0"
"""What clients take for: no sound came of it."""

Samples = NDArray[np.float32]
T = TypeVar("T")


def from_int16(data: bytes) -> Samples:
    """Little-endian 16 bit → float32 within ±1."""
    if len(data) % 2:
        raise UsageError("sound must be 16 bit samples: an even number of bytes.")
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / 32768.0


def to_int16(samples: Samples) -> bytes:
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2").tobytes()


class Server:
    """The ASGI application around a session. `page`: a folder with w-okada's own web page, if the
    user has it."""

    def __init__(
        self,
        session: Session,
        *,
        hosts: Iterable[str] = (),
        origins: Iterable[str] = (),
        page: Path | None = None,
    ) -> None:
        self.session = session
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="convert")
        """One thread converts and changes settings, in the order in which they were asked for."""
        origins = list(origins)
        # Origins are checked by Guard, for Socket.IO too; with [] it would answer none at all.
        self.sio = socketio.AsyncServer(
            async_mode="asgi", cors_allowed_origins="*", max_http_buffer_size=LARGEST_PART, logger=False
        )
        self.sio.on("request_message", self._on_sound, namespace="/test")
        self.sio.on("connect", self._on_connect, namespace="/test")
        self.sio.on("disconnect", self._on_disconnect, namespace="/test")
        rest = Starlette(
            routes=self._routes(page),
            exception_handlers={
                VoicewrightError: _failed,
                HTTPException: _refused,
                OSError: _disk,
                ClientDisconnect: _gone,
            },
            lifespan=None,
        )
        self.app: App = Guard(
            socketio.ASGIApp(self.sio, rest), hosts=hosts, origins=origins, largest=LARGEST_PART
        )

    def _routes(self, page: Path | None) -> list[Route | Mount]:
        routes: list[Route | Mount] = [
            Route("/api/hello", self._hello),
            Route("/info", self._info),
            Route("/performance", self._performance),
            Route("/test", self._test, methods=["POST"]),
            Route("/update_settings", self._update, methods=["POST"]),
            Route("/upload_file", self._upload, methods=["POST"]),
            Route("/concat_uploaded_file", self._concatenate, methods=["POST"]),
            Route("/load_model", self._load, methods=["POST"]),
            Route("/update_model_default", self._defaults, methods=["POST"]),
            Route("/update_model_info", self._edit, methods=["POST"]),
            Route("/upload_model_assets", self._asset, methods=["POST"]),
            Route("/slots/{number}/{name}", self._icon),
            Route("/onnx", self._not_here),
            Route("/merge_model", self._not_here, methods=["POST"]),
            *self._second_version(),
        ]
        if page:
            routes.append(Mount("/", StaticFiles(directory=page, html=True)))
        return routes

    def _second_version(self) -> list[Route | Mount]:
        return [
            Route("/api/voice-changer/convert_chunk", self._chunk, methods=["POST"]),
            Route("/api/voice-changer/convert_chunk_bulk", self._chunk, methods=["POST"]),
            Route("/api/configuration-manager/configuration", self._configuration, methods=["GET", "PUT"]),
            Route("/api/slot-manager/slots", self._all_slots),
            Route("/api/slot-manager/slots/{number}", self._one_slot, methods=["GET", "PUT"]),
        ]

    def close(self) -> None:
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _do(self, work: Callable[..., T], *values: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work, *values)

    async def _convert(self, who: str, samples: Samples) -> Samples:
        with self.session.admitted(who):
            return await self._do(self.session.convert, samples)

    # ---- Socket.IO

    async def _on_connect(self, sid: str, environ: dict[str, Any]) -> None:
        """Anyone whom Guard let through may connect; the first to send sound owns the stream."""

    async def _on_disconnect(self, sid: str, reason: object = None) -> None:
        self.session.leave(sid)

    async def _on_sound(self, sid: str, message: object) -> None:
        stamp: object = 0
        size = 0
        try:
            if not isinstance(message, list) or len(message) < 2 or not isinstance(message[1], bytes):
                raise UsageError("request_message takes one list: a timestamp, and 16 bit samples as bytes.")
            stamp, size = int(message[0]), len(message[1])
            sound = await self._convert(sid, from_int16(message[1]))
            answer = [stamp, to_int16(sound), self.session.performance]
        except Behind as late:
            answer = [stamp, bytes(size), [0, 0, 0]]  # as long, and silent
            await self._say(sid, str(late))
        except (VoicewrightError, TypeError, ValueError, OverflowError) as error:
            answer = [stamp, NOTHING, [0, 0, 0]]
            await self._say(sid, str(error))
        await self.sio.emit("response", answer, to=sid, namespace="/test")

    async def _say(self, sid: str, text: str) -> None:
        await self.sio.emit("message", [text], to=sid, namespace="/test")

    # ---- version 1's REST

    async def _hello(self, request: Request) -> Response:
        return JSONResponse({"result": "Index"})

    async def _info(self, request: Request) -> Response:
        return JSONResponse(await self._do(self.session.info))

    async def _performance(self, request: Request) -> Response:
        return JSONResponse(self.session.performance)

    async def _test(self, request: Request) -> Response:
        said = _object(await request.body())
        try:
            stamp = int(said["timestamp"])
            data = base64.b64decode(said["buffer"], validate=True)
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise UsageError("send {timestamp: number, buffer: base64 of 16 bit samples}.") from None
        try:
            sound = to_int16(await self._convert("rest", from_int16(data)))
        except Behind:
            sound = bytes(len(data))
        return JSONResponse({"timestamp": stamp, "changedVoiceBase64": base64.b64encode(sound).decode()})

    async def _update(self, request: Request) -> Response:
        form = await _form(request)
        await self._do(self.session.set, _text(form, "key"), _text(form, "val"))
        return await self._info(request)

    async def _upload(self, request: Request) -> Response:
        form = await _form(request)
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise UsageError("send the part as a form's field `file`.")
        kept = await self._do(self.session.uploads.part, _text(form, "filename"), await file.read())
        return JSONResponse({"status": "OK", "msg": f"uploaded files {kept} "})

    async def _concatenate(self, request: Request) -> Response:
        form = await _form(request)
        count = _whole(_text(form, "filenameChunkNum"), "filenameChunkNum")
        path = await self._do(self.session.uploads.join, _text(form, "filename"), count)
        return JSONResponse({"status": "OK", "msg": f"concat files {path.name} "})

    async def _load(self, request: Request) -> Response:
        form = await _form(request)
        await self._do(self.session.load, _object(_text(form, "params")))
        return await self._info(request)

    async def _defaults(self, request: Request) -> Response:
        await self._do(self.session.keep_defaults)
        return await self._info(request)

    async def _edit(self, request: Request) -> Response:
        said = _object(_text(await _form(request), "newData"))
        number = slot_number(said.get("slot"))
        await self._do(self.session.slots.edit, number, str(said.get("key")), said.get("val"))
        return await self._info(request)

    async def _asset(self, request: Request) -> Response:
        said = _object(_text(await _form(request), "params"))
        if said.get("name") != "iconFile":
            raise UsageError("only an iconFile can be kept with a slot.")
        picture = self.session.uploads.take(said.get("file"), ICONS)
        await self._do(self.session.slots.set_icon, slot_number(said.get("slot")), picture)
        return await self._info(request)

    async def _icon(self, request: Request) -> Response:
        number = slot_number(request.path_params["number"])
        path = self.session.slots.icon(number, request.path_params["name"])
        if path is None:
            raise HTTPException(404, "there is no such picture.")
        return FileResponse(path, headers={"x-content-type-options": "nosniff"})

    async def _not_here(self, request: Request) -> Response:
        raise HTTPException(501, "not by this server; `voicewright voice` merges voices.")

    # ---- version 2

    async def _chunk(self, request: Request) -> Response:
        wave = (await _form(request)).get("waveform")
        data = await wave.read() if isinstance(wave, UploadFile) else b""
        if not data or len(data) % 4:
            raise UsageError("send float32 samples as a form's file `waveform`.")
        sound = await self._convert("chunks", np.frombuffer(data, dtype="<f4").astype(np.float32))
        stamp = request.headers.get("x-timestamp", "0")[:40]
        headers = {"x-timestamp": stamp, "x-performance": json.dumps(self.session.performance)}
        return Response(sound.astype("<f4").tobytes(), media_type="application/octet-stream", headers=headers)

    def _configured(self) -> dict[str, Any]:
        settings = self.session.settings
        rate = int(settings["inputSampleRate"])
        return {
            "input_sample_rate": rate,
            "output_sample_rate": settings["outputSampleRate"],
            "current_slot_index": settings["modelSlotIndex"],
            "extra_frame_sec": settings["extraConvertSize"] / rate,
            "crossfade_sec": settings["crossFadeOverlapSize"] / rate,
            "sola_search_frame_sec": 0.012,
            "pass_through": settings["passThrough"],
        }

    async def _configuration(self, request: Request) -> Response:
        if request.method == "PUT":
            said = _object(await request.body())
            now = self._configured()
            # Sizes are in samples of the input's rate, which therefore comes first.
            for key in sorted(said.keys() & now.keys(), key=lambda name: name != "input_sample_rate"):
                if said[key] != self._configured()[key]:
                    await self._do(self.session.set, *self._first_version(key, said[key]))
        return JSONResponse(self._configured())

    def _first_version(self, key: str, value: object) -> tuple[str, str]:
        """A setting of version 2 as version 1's key and words."""
        rate = int(self.session.settings["inputSampleRate"])
        names = {
            "input_sample_rate": "inputSampleRate",
            "output_sample_rate": "outputSampleRate",
            "current_slot_index": "modelSlotIndex",
            "pass_through": "passThrough",
        }
        if key in names:
            return names[key], str(value).lower()
        samples = {"extra_frame_sec": "extraConvertSize", "crossfade_sec": "crossFadeOverlapSize"}
        if key not in samples or not isinstance(value, int | float):
            raise UsageError(f"{key} cannot be changed here.")
        if not abs(value) < 1e6:
            raise UsageError(f"{str(value)[:40]} is no value for {key}.")
        return samples[key], str(round(value * rate))

    def _shown(self) -> list[dict[str, Any]]:
        """Slots under version 2's names."""
        settings = self.session.settings
        shown = []
        for slot in self.session.info()["modelSlots"]:
            chosen = slot["slotIndex"] == settings["modelSlotIndex"]
            entry = {
                "slot_index": slot["slotIndex"],
                "voice_changer_type": slot.get("voiceChangerType"),
                "name": slot.get("name"),
                "model_file": slot.get("modelFile", ""),
                "index_file": slot.get("indexFile", ""),
                "sample_rate": slot.get("samplingRate"),
                "pitch_shift": settings["tran"] if chosen else slot.get("defaultTune", 0),
                "index_ratio": settings["indexRatio"] if chosen else slot.get("defaultIndexRatio", 0),
                "protect_ratio": settings["protect"] if chosen else slot.get("defaultProtect", 0.5),
                "pitch_estimator": settings["f0Detector"],
            }
            shown.append(entry)
        return shown

    async def _all_slots(self, request: Request) -> Response:
        return JSONResponse(await self._do(self._shown))

    async def _one_slot(self, request: Request) -> Response:
        number = slot_number(request.path_params["number"])
        slot = next((slot for slot in await self._do(self._shown) if slot["slot_index"] == number), None)
        if slot is None:
            raise HTTPException(404, f"slot {number} is empty.")
        if request.method == "PUT":
            await self._put_slot(slot, _object(await request.body()))
            slot = next(slot for slot in await self._do(self._shown) if slot["slot_index"] == number)
        return JSONResponse(slot)

    async def _put_slot(self, slot: dict[str, Any], said: dict[str, Any]) -> None:
        """Whole objects come back with a value or two changed: those are set, in the stream or
        in the folder."""
        chosen = slot["slot_index"] == self.session.settings["modelSlotIndex"]
        names = {
            "pitch_shift": ("tran", "defaultTune"),
            "index_ratio": ("indexRatio", "defaultIndexRatio"),
            "protect_ratio": ("protect", "defaultProtect"),
        }
        for key, (setting, kept) in names.items():
            if key in said and said[key] != slot[key]:
                if chosen:
                    await self._do(self.session.set, setting, str(said[key]))
                else:
                    await self._do(self.session.slots.edit, slot["slot_index"], kept, said[key])


async def _form(request: Request) -> FormData:
    return await request.form(max_files=2, max_fields=16, max_part_size=LARGEST_PART)


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    if not isinstance(value, str):
        raise UsageError(f"the form lacks the field {name}.")
    return value


def _whole(text: str, name: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"{name} must be a whole number.")
    return int(text[:9])


def _object(data: str | bytes) -> dict[str, Any]:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise UsageError("send a JSON object.")
    return said


def _failed(request: Request, error: Exception) -> Response:
    status = 409 if isinstance(error, Busy) else 503 if isinstance(error, Behind) else 400
    return JSONResponse({"status": "ERROR", "msg": str(error)}, status_code=status)


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"status": "ERROR", "msg": error.detail}, status_code=error.status_code)


def _disk(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    why = f"the server's disk refused ({error.strerror or type(error).__name__}); free some space."
    return JSONResponse({"status": "ERROR", "msg": why}, status_code=507)


def _gone(request: Request, error: Exception) -> Response:
    """Nobody hears it, unless Guard cut the body off."""
    return JSONResponse({"status": "ERROR", "msg": "the request's body is too long."}, status_code=413)


def run(
    server: Server, host: str = "127.0.0.1", port: int = PORT, ready: Callable[[int], None] | None = None
) -> None:
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
        import uvicorn

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
        import socket

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
