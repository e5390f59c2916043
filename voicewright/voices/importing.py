"""Models and voices of other layouts made into a folder of ours in the cache, to be named from then on."""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from voicewright.catalogue.adapted import is_adapter, read_adapter
from voicewright.catalogue.packaged import PACKAGED, installed, joined, packaged_path
from voicewright.catalogue.places import VOICES, adapted, cache_folder, model_in
from voicewright.catalogue.shipped import shipped_adapter
from voicewright.errors import UsageError, VoicewrightError
from voicewright.voices.files import check_name, read_arrays, write_arrays
from voicewright.voices.pack import Voicepack
from voicewright.voices.sources import pack_files

_ARCHIVES = (".tgz", ".tar.gz", ".tar")
_MOST_MEMBERS, _MOST_BYTES = 20_000, 4 << 20
"""Entries of an archive that are looked at, and bytes of one voicepack in it; both far more than are."""

_ABANDONED = 3600.0
"""Seconds after which a folder half written is of no import that still runs."""


@dataclass(frozen=True)
class Imported:
    """`notes`: what the weights were taken for, and how they were rounded."""

    name: str
    folder: Path
    voices: tuple[str, ...]
    notes: tuple[str, ...]


def imported_folder(name: str) -> Path:
    """Where a model of this name is kept once it has been imported."""
    return cache_folder() / "models" / name


def make_ready(name: str, note: Callable[[str], object]) -> None:
    """Import what is named and comes inside installed packages, the first time that it is asked for.

    Of an adapter, its base.
    """
    folder = model_in(Path(name)) if Path(name).is_dir() else shipped_adapter(name)
    if folder is not None and is_adapter(folder):
        make_ready(read_adapter(folder).base, note)
    item = PACKAGED.get(name)
    if item is not None and installed(item) and model_in(imported_folder(name)) is None:
        note(f"{name}: {item.about}; made ready once in {imported_folder(name)}.")
        import_packaged(name)


def ready(
    model: Path | str | None, adapters: Sequence[Path | str], note: Callable[[str], object]
) -> Path | str | None:
    """What an engine is to open for a model with adapters upon it, each first made ready.
    Raises as `artifacts.adapted`."""
    make_ready(str(model), note)
    for words in adapters:
        make_ready(str(words), note)
    return adapted(model, adapters) if adapters else model


def import_any(
    source: str,
    name: str | None = None,
    into: str | None = None,
    progress: Callable[..., object] | None = None,
) -> Imported:
    """What `models import` means by its words. Raises UsageError for options that do not go together."""
    if into is not None:
        if name is not None:
            raise UsageError("--name is for weights, and --voices-into for voicepacks; give one of them.")
        return import_voices(Path(source), into)
    if source in PACKAGED and not Path(source).exists():
        if name is not None:
            raise UsageError(f"{source} has its name already; leave --name out.")
        if model_in(imported_folder(source)) is not None:
            raise UsageError(f"{source} is imported already, in {imported_folder(source)}.")
        return import_packaged(source, progress)
    path = Path(source)
    if not path.is_file():
        raise UsageError(f"there is no file {source} to import; name weights, or {', '.join(PACKAGED)}.")
    return import_weights(path, name)


def import_packaged(name: str, progress: Callable[..., object] | None = None) -> Imported:
    """A model of installed packages as a folder of ours. Raises UsageError, VoicewrightError."""
    item = PACKAGED[name]
    path = joined(item, progress)
    card: dict[str, object] = {
        "name": item.title,
        "language": "en-us",
        "licence": item.licence,
        "summary": item.about,
        "source": item.source,
        "sha256": item.sha256,
    }
    made = import_weights(path, name, card)
    voices = packaged_path(*item.voices) if item.voices else None
    return made if voices is None else import_voices(voices, name)


def import_weights(path: Path, name: str | None = None, card: dict[str, object] | None = None) -> Imported:
    """A weights file of any layout known here (docs/weights.md) as a folder of ours, strictly.

    Raises UsageError for a name that is taken or none, VoicewrightError for a file that is no Kokoro.
    """
    called = name or re.sub(r"[^\w.-]+", "-", path.stem)
    if not re.fullmatch(r"[\w][\w.-]{0,80}", called):
        raise UsageError(f"{called!r} is no name for a model: use letters, digits, dots, dashes.")
    folder = imported_folder(called)
    if model_in(folder) is not None:
        raise UsageError(
            f"there is a model {called} in {folder} already; choose another with --name, or remove it."
        )
    from voicewright.model.checkpoint import load_model, save_model
    from voicewright.model.diffusion_files import load_diffusion, save_diffusion

    notes: list[str] = []
    model, config, styles = load_model(path, note=notes.append)
    diffusion = load_diffusion(path, config, notes.append)
    said = card or {"name": called, "licence": "as its source says", "source": str(path.name)}
    folder.parent.mkdir(parents=True, exist_ok=True)
    _clear(folder)
    work = Path(tempfile.mkdtemp(prefix=f".{called}-", dir=folder.parent))
    try:
        save_model(work, model, config, styles, said)
        if diffusion is not None:
            save_diffusion(work, diffusion)
        (work / VOICES).mkdir()
        work.chmod(0o755)
        work.rename(folder)
    except OSError as error:
        raise VoicewrightError(f"{folder} could not be written: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Imported(called, folder, (), tuple(notes))


def _clear(folder: Path) -> None:
    """Remove what killed imports of this name have left beside it; one that may still be going on stays."""
    for left in folder.parent.glob(f".{folder.name}-*"):
        if left.is_dir() and time.time() - left.stat().st_mtime > _ABANDONED:
            shutil.rmtree(left, ignore_errors=True)


def import_voices(source: Path, into: str) -> Imported:
    """Voicepacks into an imported model: a folder, an .npz, kokoro-onnx's voices.bin, or an archive of packs.

    An archive is kokoro-js's .tgz from the npm registry, or any like it: only voicepacks are read of it, by
    their last names. Voices of the same name are replaced. Raises UsageError where there is no such model or
    nothing to import, VoicewrightError for damaged files.
    """
    folder = imported_folder(into)
    if model_in(folder) is None:
        raise UsageError(f"there is no imported model {into}; `voicewright models import` makes one first.")
    if not source.exists():
        raise UsageError(f"there is no {source} to import; name a file or a folder.")
    with tempfile.TemporaryDirectory() as scratch:
        if source.name.lower().endswith(_ARCHIVES):
            source = _unpacked(source, Path(scratch))
        files = list(pack_files(source).values()) if source.is_dir() else [source]
        packs: dict[str, Voicepack] = {}
        for file in files:
            packs |= {
                name: Voicepack.of(rows, f"{file.name}:{name}") for name, rows in read_arrays(file).items()
            }
        for name, pack in packs.items():
            write_arrays(folder / VOICES / f"{check_name(name)}.bin", {name: pack.rows})
    return Imported(into, folder, tuple(sorted(packs)), ())


def _unpacked(archive: Path, folder: Path) -> Path:
    """The voicepacks of a tar archive as files of a folder; nothing else of it is written anywhere."""
    try:
        with tarfile.open(archive) as tar:
            for count, member in enumerate(tar):
                if count > _MOST_MEMBERS:
                    raise VoicewrightError(f"{archive} has more than {_MOST_MEMBERS} entries; it is refused.")
                name = PurePosixPath(member.name).name
                fits = member.isfile() and member.size <= _MOST_BYTES and not name.startswith(".")
                if fits and PurePosixPath(name).suffix in (".bin", ".pt", ".npy", ".safetensors"):
                    file = tar.extractfile(member)
                    if file is not None:
                        (folder / name).write_bytes(file.read(_MOST_BYTES))
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise VoicewrightError(f"{archive} is damaged or no archive ({error}); copy it again.") from error
    return folder
