"""Version 2's REST: VCClient 2's chunks, its configuration and its slots, over the same session.

Its source is not published: these are the requests that its users' programs show.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from voicewright.errors import UsageError
from voicewright.wokada.requests import form_of, json_object
from voicewright.wokada.session import Session
from voicewright.wokada.slots import slot_number
from voicewright.wokada.turns import Turns


class SecondVersion:
    """Version 2's requests, answered from a session that version 1's clients share."""

    def __init__(self, session: Session, turns: Turns) -> None:
        self.session = session
        self._turns = turns

    def routes(self) -> list[Route]:
        """Where version 2's clients look for what is here."""
        return [
            Route("/api/voice-changer/convert_chunk", self._chunk, methods=["POST"]),
            Route("/api/voice-changer/convert_chunk_bulk", self._chunk, methods=["POST"]),
            Route("/api/configuration-manager/configuration", self._configuration, methods=["GET", "PUT"]),
            Route("/api/slot-manager/slots", self._all_slots),
            Route("/api/slot-manager/slots/{number}", self._one_slot, methods=["GET", "PUT"]),
        ]

    async def _chunk(self, request: Request) -> Response:
        wave = (await form_of(request)).get("waveform")
        data = await wave.read() if isinstance(wave, UploadFile) else b""
        if not data or len(data) % 4:
            raise UsageError("send float32 samples as a form's file `waveform`.")
        sound = await self._turns.convert("chunks", np.frombuffer(data, dtype="<f4").astype(np.float32))
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
            said = json_object(await request.body())
            now = self._configured()
            # Sizes are in samples of the input's rate, which therefore comes first.
            for key in sorted(said.keys() & now.keys(), key=lambda name: name != "input_sample_rate"):
                if said[key] != self._configured()[key]:
                    await self._turns.do(self.session.set, *self._first_version(key, said[key]))
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
        return JSONResponse(await self._turns.do(self._shown))

    async def _one_slot(self, request: Request) -> Response:
        number = slot_number(request.path_params["number"])
        slot = next(
            (slot for slot in await self._turns.do(self._shown) if slot["slot_index"] == number), None
        )
        if slot is None:
            raise HTTPException(404, f"slot {number} is empty.")
        if request.method == "PUT":
            await self._put_slot(slot, json_object(await request.body()))
            slot = next(slot for slot in await self._turns.do(self._shown) if slot["slot_index"] == number)
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
                    await self._turns.do(self.session.set, setting, str(said[key]))
                else:
                    await self._turns.do(self.session.slots.edit, slot["slot_index"], kept, said[key])
