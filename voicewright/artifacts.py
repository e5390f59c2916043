"""Where models are: inside the package, folders, training runs, the local cache. Nothing is fetched."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from voicewright.errors import UsageError, VoicewrightError

EMBEDDED = "tiny"
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
VOICES = "voices"
CARD = "card.json"
VOICE_SUFFIXES = (".safetensors", ".pt", ".bin", ".npz", ".npy")
RUN_FOLDERS = ("best", "export")
"""Where a training run keeps its models, the one chosen by judgement first."""


@dataclass(frozen=True)
class ModelEntry:
    """A model found on this machine."""

    name: str
    folder: Path
    voices: tuple[str, ...]
    card: Mapping[str, object]
    bytes: int


def cache_folder() -> Path:
    """Where artefacts are kept: $VOICEWRIGHT_CACHE, else the platform's folder for caches. May not exist."""
    if named := os.environ.get("VOICEWRIGHT_CACHE"):
        return Path(named)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "voicewright"


def embedded_model() -> Path:
    """The folder of the model that ships inside the package. Raises VoicewrightError where it is missing."""
    folder = Path(str(resources.files("voicewright"))) / "weights" / EMBEDDED
    if not (folder / CONFIG).is_file():
        raise VoicewrightError(
            f"this installation lacks the embedded model ({folder} holds no {CONFIG}); "
            "install the package again or name a model with --model."
        )
    return folder


def resolve_model(model: Path | str | None = None) -> Path:
    """The model that a user's words name: a model folder, or a weight file with its config.json beside it.

    None or "tiny" is the embedded model. A folder is a model when it holds config.json; a training run holds
    its models in `best` or `export`. Raises UsageError when nothing is there, VoicewrightError when what is
    there holds no model.
    """
    if model is None:
        return embedded_model()
    path = Path(model)
    if path.is_file():
        return path
    if path.is_dir():
        for folder in (path, *(path / name for name in RUN_FOLDERS)):
            if (folder / CONFIG).is_file():
                if not any(folder.glob("*.safetensors")) and not any(folder.glob("*.pth")):
                    raise VoicewrightError(
                        f"{folder} has a {CONFIG} but no weights; a model folder holds {WEIGHTS} too."
                    )
                return folder
        raise VoicewrightError(
            f"{path} holds no model: no {CONFIG} in it, nor in {' or '.join(RUN_FOLDERS)} inside it; "
            "name a model folder, or a training run that has saved one."
        )
    if str(model) == EMBEDDED:
        return embedded_model()
    cached = cache_folder() / "models" / path
    if len(path.parts) == 1 and (cached / CONFIG).is_file():
        return cached
    raise UsageError(f"there is no model at {path}; `voicewright models` lists what is on this machine.")


def voice_files(model: Path) -> dict[str, Path]:
    """The voicepacks of a model (folder, or weight file), by name, in alphabetical order."""
    folder = (model if model.is_dir() else model.parent) / VOICES
    found: dict[str, Path] = {}
    if folder.is_dir():
        for path in sorted(folder.iterdir()):
            if path.suffix in VOICE_SUFFIXES and path.is_file() and not path.name.startswith("."):
                found.setdefault(path.stem, path)
    return dict(sorted(found.items()))


def read_card(model: Path) -> dict[str, object]:
    """The model's card.json; empty when there is none. Raises VoicewrightError unless a JSON object."""
    path = (model if model.is_dir() else model.parent) / CARD
    if not path.is_file():
        return {}
    try:
        card = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise VoicewrightError(f"{path} cannot be read: {error}.") from error
    if not isinstance(card, dict):
        raise VoicewrightError(f"{path} is not a model card: it must be a JSON object.")
    return card


def list_models(folders: Iterable[Path] = ()) -> list[ModelEntry]:
    """The embedded model, those in the cache, and those in `folders` or one level below (runs, models)."""
    candidates: list[tuple[str, Path]] = [
        (EMBEDDED, Path(str(resources.files("voicewright"))) / "weights" / EMBEDDED)
    ]
    for base in (cache_folder() / "models", *folders):
        if base.is_dir():
            candidates.append((str(base), base))
            candidates += [(str(path), path) for path in sorted(base.iterdir()) if path.is_dir()]
    entries: dict[Path, ModelEntry] = {}
    for name, path in candidates:
        for folder in (path, *(path / inner for inner in RUN_FOLDERS)):
            if (folder / CONFIG).is_file() and folder.resolve() not in entries:
                size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                entry = ModelEntry(name, folder, tuple(voice_files(folder)), read_card(folder), size)
                entries[folder.resolve()] = entry
                break
    return list(entries.values())
