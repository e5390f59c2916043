"""Voices of a w-okada server: a folder with a numbered folder each, holding `params.json`, a model,
perhaps an index.

The layout is w-okada's own, so that its `model_dir` can be used as it is. Nothing that a file or a client
says is taken for a path: names are looked up in the slot's own folder, and only there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from voicewright.audio.files import write_atomically
from voicewright.errors import UsageError, VoicewrightError

MODELS = (".pth", ".safetensors")
INDEXES = (".index",)
ICONS = (".png", ".jpg", ".jpeg", ".gif", ".webp")
LARGEST_SLOT = 499
LARGEST_PARAMS = 1 << 20
LONGEST_NAME = 200
"""Bytes; file systems have 255, and a name gets a number and a suffix while it is written."""
STALE = 3600.0
"""Seconds after which what was not loaded makes room for other uploads."""
_NAME = re.compile(r"[^\x00-\x1f\x7f/\\:*?\"<>|\ud800-\udfff]{1,200}")
_EDITABLE = {
    "name": str,
    "description": str,
    "credit": str,
    "termsOfUseUrl": str,
    "defaultTune": int,
    "defaultIndexRatio": float,
    "defaultProtect": float,
    "speakers": dict,
}


def safe_name(name: object, suffixes: tuple[str, ...]) -> str:
    """The last part of a client's file name, if it is one that may be stored. Raises UsageError."""
    text = str(name).replace("\\", "/").rsplit("/", 1)[-1]
    fits = _NAME.fullmatch(text) and len(text.encode()) <= LONGEST_NAME
    if not fits or text.startswith(".") or Path(text).suffix.lower() not in suffixes:
        raise UsageError(f"{text[:80]!r} cannot be taken; send a file that ends in {', '.join(suffixes)}.")
    return text


def slot_number(value: object) -> int:
    """0 to 499; clients put the time in front of it, in thousands."""
    try:
        number = int(str(value)) % 1000
    except ValueError:
        number = -1
    if not 0 <= number <= LARGEST_SLOT:
        raise UsageError(f"there is no slot {str(value)[:40]!r}; slots are 0 to {LARGEST_SLOT}.")
    return number


class Uploads:
    """Files that come in numbered parts, held in a folder until they are loaded. `room`: bytes
    of all together."""

    def __init__(self, folder: Path, room: int = 2 << 30) -> None:
        self.folder = folder
        self.room = room

    def part(self, name: str, data: bytes) -> str:
        """Keep one part, `model.pth_0`; → the name it is kept under."""
        match = re.fullmatch(r"(.*)_(\d{1,5})", str(name), re.DOTALL)
        if not match:
            raise UsageError("a part of a file must be named after the file, with its number: model.pth_0.")
        kept = f"{safe_name(match[1], MODELS + INDEXES + ICONS)}_{int(match[2])}"
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._held() + len(data) > self.room and self._held(time.time() - STALE) + len(data) > self.room:
            raise VoicewrightError(f"uploads may take {self.room >> 20} MB together; load some first.")
        write_atomically(self.folder / kept, data, sync=False)
        return kept

    def _held(self, since: float | None = None) -> int:
        """Bytes that are here; with `since` after what is older was deleted."""
        held = 0
        for entry in os.scandir(self.folder):
            if not entry.is_file(follow_symlinks=False):
                continue
            about = entry.stat()
            if since is not None and about.st_mtime < since:
                Path(entry).unlink(missing_ok=True)
            else:
                held += about.st_size
        return held

    def join(self, name: str, count: int) -> Path:
        """Parts 0 to `count` - 1 → the file; the parts are gone."""
        kept = safe_name(name, MODELS + INDEXES + ICONS)
        if not 1 <= count <= 99_999:
            raise UsageError(f"{kept} cannot have {count} parts.")
        parts = [self.folder / f"{kept}_{number}" for number in range(count)]
        missing = next((part.name for part in parts if not part.is_file()), None)
        if missing:
            raise UsageError(f"{kept} cannot be put together: {missing} did not come; upload it again.")
        joining = self.folder / f".{kept}.joining"
        with joining.open("wb") as out:
            for part in parts:
                with part.open("rb") as piece:
                    shutil.copyfileobj(piece, out)
                part.unlink()
        target = self.folder / kept
        joining.replace(target)
        return target

    def take(self, name: object, suffixes: tuple[str, ...]) -> Path:
        path = self.folder / safe_name(name, suffixes)
        if not path.is_file() or path.is_symlink():
            raise UsageError(f"{path.name} was not uploaded; upload it, then load it.")
        return path


class Slots:
    """The folder of voices. Reading is tolerant of w-okada's own entries, writing makes RVC's alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _folder(self, number: int) -> Path:
        return self.folder / str(slot_number(number))

    def read(self, number: int) -> dict[str, Any] | None:
        """What `params.json` of a slot says; None if there is none, or none that can be read."""
        path = self._folder(number) / "params.json"
        try:
            if path.stat().st_size > LARGEST_PARAMS:
                return None
            said = json.loads(path.read_text(encoding="utf-8"))
            _written(said)
        except (OSError, ValueError, RecursionError):
            return None
        return said if isinstance(said, dict) else None

    def listed(self) -> list[dict[str, Any]]:
        """Every slot that is filled, with its number, as `/info` lists them."""
        numbers = sorted(
            int(entry.name)
            for entry in (self.folder.iterdir() if self.folder.is_dir() else ())
            if re.fullmatch("[0-9]{1,3}", entry.name) and int(entry.name) <= LARGEST_SLOT
        )
        filled = [(number, self.read(number)) for number in numbers]
        return [{**said, "slotIndex": number} for number, said in filled if said]

    def files(self, number: int) -> tuple[Path, Path | None]:
        """A slot's model and index. Raises VoicewrightError if it has no RVC voice."""
        said = self.read(number)
        if not said or said.get("voiceChangerType") != "RVC":
            raise VoicewrightError(f"slot {number} holds no RVC voice; load one into it first.")
        model = self._inside(number, said.get("modelFile"), MODELS)
        if model is None:
            raise VoicewrightError(
                f"slot {number} names no .pth or .safetensors file in its folder; load the voice again."
            )
        return model, self._inside(number, said.get("indexFile"), INDEXES)

    def icon(self, number: int, name: str) -> Path | None:
        return self._inside(number, name, ICONS)

    def _inside(self, number: int, name: object, suffixes: tuple[str, ...]) -> Path | None:
        if not name:
            return None
        try:
            path = self._folder(number) / safe_name(name, suffixes)
        except UsageError:
            return None
        return path if path.is_file() and not path.is_symlink() else None

    def fill(self, number: int, model: Path, index: Path | None, facts: Mapping[str, Any]) -> None:
        """Move uploaded files into a slot, in place of what it held; it is never half there."""
        target = self._folder(number)
        making = self.folder / f".{target.name}.new"
        shutil.rmtree(making, ignore_errors=True)
        making.mkdir(parents=True)
        said = {
            "slotIndex": -1,
            "voiceChangerType": "RVC",
            "name": model.stem,
            **{"description": "", "credit": "", "termsOfUseUrl": "", "iconFile": ""},
            "speakers": {"0": "target"},
            "modelFile": model.name,
            "indexFile": index.name if index else "",
            **{"defaultTune": 0, "defaultIndexRatio": 0, "defaultProtect": 0.5},
            **{"isONNX": False, "deprecated": False, "sampleId": ""},
            **facts,
        }
        (making / "params.json").write_text(json.dumps(said, indent=4), encoding="utf-8")
        for path in (model, index):
            if path:
                shutil.move(path, making / path.name)
        old = self.folder / f".{target.name}.old"
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        making.rename(target)
        shutil.rmtree(old, ignore_errors=True)

    def edit(self, number: int, key: str, value: Any) -> None:
        """Change one of the facts that a client may change. Raises UsageError for any other."""
        said = self.read(number)
        if said is None:
            raise VoicewrightError(f"slot {number} is empty; load a voice into it first.")
        kind = _EDITABLE.get(key)
        if kind is None:
            raise UsageError(f"{key[:40]!r} of a slot cannot be changed; {', '.join(_EDITABLE)} can.")
        try:
            said[key] = json.loads(value) if kind is dict and isinstance(value, str) else kind(value)
            data = _written(said)
        except (TypeError, ValueError, OverflowError, RecursionError):
            raise UsageError(f"what was sent is no value for {key}.") from None
        if kind is dict and not isinstance(said[key], dict):
            raise UsageError(f"{key} must be an object of numbers and names.")
        if len(data) > LARGEST_PARAMS:
            raise UsageError(
                f"{key} is too long; a slot's facts may have {LARGEST_PARAMS >> 20} MB together."
            )
        write_atomically(self._folder(number) / "params.json", data)

    def set_icon(self, number: int, picture: Path) -> None:
        said = self.read(number)
        if said is None:
            raise VoicewrightError(f"slot {number} is empty; load a voice into it first.")
        shutil.move(picture, self._folder(number) / picture.name)
        said["iconFile"] = f"slots/{number}/{picture.name}"
        write_atomically(self._folder(number) / "params.json", json.dumps(said, indent=4).encode())


def _written(said: Any) -> bytes:
    """JSON that every client can read. Raises ValueError for what has none: NaN, halves of characters."""
    return json.dumps(said, indent=4, ensure_ascii=False, allow_nan=False).encode()
