"""What clients' requests hold, read strictly, and how errors are answered.

Forms, JSON objects and 16 bit sound come in; every refusal goes out as `{status, msg}`.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ExceptionHandler

from voicewright.errors import UsageError, VoicewrightError
from voicewright.wokada.session import Behind, Busy

LARGEST_PART = 1 << 23
"""Bytes of a request: clients send files in parts of 1 MiB, sound in pieces of at most 10 s."""

Samples = NDArray[np.float32]


def from_int16(data: bytes) -> Samples:
    """Little-endian 16 bit → float32 within ±1. Raises UsageError for half a sample."""
    if len(data) % 2:
        raise UsageError("sound must be 16 bit samples: an even number of bytes.")
    return np.frombuffer(data, dtype="<i2").astype(np.float32) / 32768.0


def to_int16(samples: Samples) -> bytes:
    """float32 → little-endian 16 bit, limited to ±1."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype("<i2").tobytes()


async def form_of(request: Request) -> FormData:
    """A request's form: at most two files and sixteen fields. Raises HTTPException for a larger one."""
    return await request.form(max_files=2, max_fields=16, max_part_size=LARGEST_PART)


def field(form: FormData, name: str) -> str:
    """A form's text field. Raises UsageError where it is missing or a file."""
    value = form.get(name)
    if not isinstance(value, str):
        raise UsageError(f"the form lacks the field {name}.")
    return value


def whole_number(text: str, name: str) -> int:
    """A field's digits as a number. Raises UsageError for anything else."""
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"{name} must be a whole number.")
    return int(text[:9])


def json_object(data: str | bytes) -> dict[str, Any]:
    """Raises UsageError for what is no JSON object."""
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


REFUSALS: dict[Any, ExceptionHandler] = {
    VoicewrightError: _failed,
    HTTPException: _refused,
    OSError: _disk,
    ClientDisconnect: _gone,
}
"""Starlette's exception handlers: what a request raised → what is answered."""
