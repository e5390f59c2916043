"""Where voices come from: a model's folder, a folder or a file of packs, the user's own files."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from voicewright.catalogue.places import CONFIG, VOICES, read_card, resolve_model, voice_files
from voicewright.errors import UsageError, VoicewrightError
from voicewright.voices.blend import Shelf
from voicewright.voices.files import SUFFIXES, pick, read_arrays
from voicewright.voices.geometry import Geometry, kokoro
from voicewright.voices.lint import is_of, is_stranger
from voicewright.voices.pack import Voicepack


def shelf_of(model: str | Path | None, packs: Path | None = None, owner: str | None = None) -> Shelf:
    """Names of the model's voices, names of what is in `packs`, and any file of the machine."""
    files = dict(voice_files(resolve_model(model)))
    members: dict[str, tuple[Path, str]] = {}
    if packs is not None and packs.is_dir():
        files |= pack_files(packs)
    elif packs is not None:
        members = {name: (packs, name) for name in read_arrays(packs)}
    return Shelf(files, members, True, owner or "the model" + (f" with {packs}" if packs else ""))


def pack_files(folder: Path) -> dict[str, Path]:
    """The files of voicepacks in a folder by name; of two formats of one name the first.

    Raises UsageError when there is none.
    """
    found: dict[str, Path] = {}
    for path in _files(folder):
        found.setdefault(path.stem, path)
    return found


def _files(folder: Path) -> list[Path]:
    found = [
        path
        for path in sorted(folder.iterdir())
        if path.suffix in SUFFIXES and path.is_file() and not path.name.startswith(".")
    ]
    if not found:
        raise UsageError(f"{folder} holds no voicepacks ({', '.join(SUFFIXES)}).")
    return found


Damaged: TypeAlias = Callable[[Path, VoicewrightError], None]


def arrays_of(
    words: Sequence[str], shelf: Shelf, damaged: Damaged | None = None
) -> list[tuple[str, Path, Any]]:
    """(name, file, array) of every voice that the words name: a folder or a file means all in it.

    A file that cannot be read raises VoicewrightError, or is passed to `damaged`; UsageError where the words
    name nothing.
    """
    found: list[tuple[str, Path, Any]] = []
    for word in words:
        places: list[tuple[Path, str | None]]
        if Path(word).is_dir() and word not in shelf.files:
            places = [(path, None) for path in _files(Path(word))]
        elif (place := shelf.find(word)) is not None:
            places = [place[1:]]
        else:
            raise shelf.missing(word)
        for path, member in places:
            try:
                arrays = read_arrays(path)
                chosen = [pick(arrays, path, member)] if member is not None else list(arrays.items())
                if not chosen:
                    raise VoicewrightError(f"{path} holds no arrays; it is no file of voicepacks.")
            except VoicewrightError as error:
                if damaged is None:
                    raise
                damaged(path, error)
                continue
            found += [(name, path, values) for name, values in chosen]
    return found


def _model_of(path: Path) -> str | None:
    """The model in whose `voices` folder the file lies."""
    folder = path.resolve().parent
    return str(folder.parent) if folder.name == VOICES and (folder.parent / CONFIG).is_file() else None


def geometry_for(path: Path, model: str | None) -> Geometry:
    """Of the voices of the model named, else of the model whose folder the file is in, else of Kokoro.

    A model of Kokoro's kind, and one without voices of its own, is measured by the public packs.
    """

    public = kokoro()
    named = model if model is not None else _model_of(path)
    if named is None:
        return public
    folder = resolve_model(named)
    own = []
    for file in voice_files(folder).values():
        try:
            own.append(Voicepack.read(file).rows)
        except VoicewrightError:  # that one is damaged, or a file of several; the others tell enough
            continue
    if not own:
        return public
    if is_of(np.mean(own, axis=0)[:, 0], public):
        return public
    return Geometry.of(str(read_card(folder).get("name") or folder.name), own)


def refuse_stranger(words: str, pack: Voicepack, model: str, own: Iterable[Path]) -> None:
    """Raise VoicewrightError for a pack of Kokoro's where the model's own voices are of another kind.

    words: what the pack was called; own: the model's voice files, of which the first is looked at. Nothing is
    refused where they tell nothing.
    """
    path = next(iter(own), None)
    try:
        known = None if path is None else Voicepack.read(path)
    except VoicewrightError:  # damaged, or a file of several; speaking with it will say so
        return
    if known is not None:
        refuse_unlike(words, pack, model, known)


def refuse_unlike(words: str, pack: Voicepack, model: str, known: Voicepack) -> None:
    """The same, where one voice of the model is known."""
    if is_stranger(pack.rows[:, 0], known.rows[:, 0]):
        raise VoicewrightError(
            f"{words} is a voice of Kokoro's and would be noise with {model}; name its model with --model."
        )
