"""A server for w-okada's voice changer clients: version 1's REST and Socket.IO, version 2's beside them.

Version 1 (MIT; protocol read from its server and client library): Socket.IO namespace `/test`, event
`request_message` with one list `[timestamp, int16 bytes]`, answered by `response` `[timestamp, int16 bytes,
[0, seconds, 0]]`; `POST /test` with base64 in JSON; forms for settings, uploads and slots. Fewer than 256
bytes in an answer mean that nothing was converted; the reason then comes in a `message` event.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import socketio
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from voicewright.errors import UsageError, VoicewrightError
from voicewright.serve.guard import App, Guard
from voicewright.wokada.requests import (
    LARGEST_PART,
    REFUSALS,
    field,
    form_of,
    from_int16,
    json_object,
    to_int16,
    whole_number,
)
from voicewright.wokada.second import SecondVersion
from voicewright.wokada.session import Behind, Session
from voicewright.wokada.slots import ICONS, slot_number
from voicewright.wokada.turns import Turns

NOTHING = b"\0\0"
"""What clients take for: no sound came of it."""


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
        self._turns = Turns(session)
        origins = list(origins)
        # Origins are checked by Guard, for Socket.IO too; with [] it would answer none at all.
        self.sio = socketio.AsyncServer(
            async_mode="asgi", cors_allowed_origins="*", max_http_buffer_size=LARGEST_PART, logger=False
        )
        self.sio.on("request_message", self._on_sound, namespace="/test")
        self.sio.on("connect", self._on_connect, namespace="/test")
        self.sio.on("disconnect", self._on_disconnect, namespace="/test")
        rest = Starlette(routes=self._routes(page), exception_handlers=REFUSALS, lifespan=None)
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
            *SecondVersion(self.session, self._turns).routes(),
        ]
        if page:
            routes.append(Mount("/", StaticFiles(directory=page, html=True)))
        return routes

    def close(self) -> None:
        self._turns.close()

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
            sound = await self._turns.convert(sid, from_int16(message[1]))
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
        return JSONResponse(await self._turns.do(self.session.info))

    async def _performance(self, request: Request) -> Response:
        return JSONResponse(self.session.performance)

    async def _test(self, request: Request) -> Response:
        said = json_object(await request.body())
        try:
            stamp = int(said["timestamp"])
            data = base64.b64decode(said["buffer"], validate=True)
        except (KeyError, TypeError, ValueError, binascii.Error):
            raise UsageError("send {timestamp: number, buffer: base64 of 16 bit samples}.") from None
        try:
            sound = to_int16(await self._turns.convert("rest", from_int16(data)))
        except Behind:
            sound = bytes(len(data))
        return JSONResponse({"timestamp": stamp, "changedVoiceBase64": base64.b64encode(sound).decode()})

    async def _update(self, request: Request) -> Response:
        form = await form_of(request)
        await self._turns.do(self.session.set, field(form, "key"), field(form, "val"))
        return await self._info(request)

    async def _upload(self, request: Request) -> Response:
        form = await form_of(request)
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise UsageError("send the part as a form's field `file`.")
        kept = await self._turns.do(self.session.uploads.part, field(form, "filename"), await file.read())
        return JSONResponse({"status": "OK", "msg": f"uploaded files {kept} "})

    async def _concatenate(self, request: Request) -> Response:
        form = await form_of(request)
        count = whole_number(field(form, "filenameChunkNum"), "filenameChunkNum")
        path = await self._turns.do(self.session.uploads.join, field(form, "filename"), count)
        return JSONResponse({"status": "OK", "msg": f"concat files {path.name} "})

    async def _load(self, request: Request) -> Response:
        form = await form_of(request)
        await self._turns.do(self.session.load, json_object(field(form, "params")))
        return await self._info(request)

    async def _defaults(self, request: Request) -> Response:
        await self._turns.do(self.session.keep_defaults)
        return await self._info(request)

    async def _edit(self, request: Request) -> Response:
        said = json_object(field(await form_of(request), "newData"))
        number = slot_number(said.get("slot"))
        await self._turns.do(self.session.slots.edit, number, str(said.get("key")), said.get("val"))
        return await self._info(request)

    async def _asset(self, request: Request) -> Response:
        said = json_object(field(await form_of(request), "params"))
        if said.get("name") != "iconFile":
            raise UsageError("only an iconFile can be kept with a slot.")
        picture = self.session.uploads.take(said.get("file"), ICONS)
        await self._turns.do(self.session.slots.set_icon, slot_number(said.get("slot")), picture)
        return await self._info(request)

    async def _icon(self, request: Request) -> Response:
        number = slot_number(request.path_params["number"])
        path = self.session.slots.icon(number, request.path_params["name"])
        if path is None:
            raise HTTPException(404, "there is no such picture.")
        return FileResponse(path, headers={"x-content-type-options": "nosniff"})

    async def _not_here(self, request: Request) -> Response:
        raise HTTPException(501, "not by this server; `voicewright voice` merges voices.")
