"""Every file of a folder: which are recordings, which may hold texts, which are about something else."""

from __future__ import annotations

import mimetypes
import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from voicewright.audio.files import AudioError, probe
from voicewright.audio.kinds import is_film, is_recording, is_text
from voicewright.corpus.items import plain_words, tables


@dataclass(frozen=True)
class Found:
    """A folder's recordings, films behind the others, and its other files."""

    folder: Path
    audio: tuple[Path, ...]
    files: tuple[Path, ...]


def is_sound(path: Path) -> bool:
    """Whether a file that was named by itself is a recording, whatever its ending."""
    if is_text(path):
        return False
    try:
        probe(path)
    except AudioError:
        return False
    return True


def look(folder: Path, out: Path | None) -> Found:
    """Every file of a folder. Folders that the user linked into it are the user's own and belong to it.

    A link that leads back to where the walk has been, or above it, is not followed.
    """
    skip = out.resolve() if out is not None else None
    top = folder.resolve()
    files: list[Path] = []
    seen: set[Path] = set()
    for parent, folders, names in os.walk(folder, followlinks=True):
        here = Path(parent).resolve()
        kept = []
        for name in sorted(folders):
            real = Path(parent, name).resolve()
            around = real in (here, top, *here.parents) or top in real.parents
            circle = around and Path(parent, name).is_symlink()
            if name.startswith((".", "__MACOSX")) or real == skip or real in seen or circle:
                continue
            seen.add(real)
            kept.append(name)
        folders[:] = kept
        files += [Path(parent, name) for name in names if not name.startswith(".")]
    files = sorted(path for path in files if path.is_file() or path.is_symlink())
    # Of two recordings of one name the one without pictures is taken: it was cut from the other.
    audio = tuple(sorted(filter(is_recording, files), key=is_film))
    heard = set(audio)
    return Found(folder, audio, tuple(path for path in files if path not in heard and path.is_file()))


def is_text_beside(path: Path) -> bool:
    """Whether a file's name is that of one recording's text."""
    return path.suffix.lower() in (".txt", ".lab") and not is_about(path)


def is_about(path: Path) -> bool:
    """Files about a data set, of programs, and Kaldi's other tables."""
    files = tables()["files"]
    words = plain_words(path.stem)
    return (
        any(words == about or words.startswith(about + " ") for about in files["about"])
        or path.suffix.lower().lstrip(".") in files["programs"]
        or path.name in files["tables"]
    )


def relative_name(path: Path, folder: Path) -> str:
    """A file's path below a folder, with slashes on every system."""
    return path.relative_to(folder).as_posix()


def strangers(found: Found) -> list[str]:
    """What looks like recordings of a kind that is not taken."""
    odd: dict[str, list[Path]] = defaultdict(list)
    for path in found.files:
        ending = path.suffix.lower().lstrip(".")
        kind = mimetypes.guess_type(path.name)[0] or ""
        if ending in tables()["files"]["sounds"] or kind.startswith(("audio/", "video/")):
            odd[ending].append(path)
    return [
        f"{len(paths)} .{ending} files look like recordings and are not taken: convert them to WAV or FLAC "
        f"({relative_name(paths[0], found.folder)}{' and others' if len(paths) > 1 else ''})."
        for ending, paths in odd.items()
    ]
