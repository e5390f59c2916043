"""The recording that a name in a list means: among the files of the folder, and nowhere else."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from voicewright.audio.kinds import EXTENSIONS
from voicewright.corpus.items import fold

_FORMAT = re.compile(
    r"(?:wavs?|waves?|flacs?|mp3s?|oggs?|opus|m4as?|audios?|clips|sounds?|recordings?)"
    r"(?:[\s_.-]?\d[\d.]{0,6})?(?:k|khz|hz)?(?:\d{1,2}bits?)?(?:[\s_.-](?:mono|trimmed|silence[_-]trimmed|raw))?",
    re.IGNORECASE,
)
"""A folder whose name says only in which form the recordings are."""
_LOSSLESS = ("wav", "flac", "wave", "aiff", "aif", "w64", "rf64", "caf")
_LONGEST = 4096
"""Characters of a path."""
_AROUND = " \t\n\r\f\v\xa0\u3000\ufeff\u200b\u200c\u200d\u200e\u200f\"'`“”‘’«»„"
_MICROPHONE = re.compile(r"[_-]mic(\d)$", re.IGNORECASE)
"""VCTK 0.92 has each sentence twice, by two microphones."""


@dataclass(frozen=True)
class Match:
    """`path`, or why there is none: `no_audio` or `unsafe_id`, with the rest of a sentence."""

    path: Path | None
    reason: str = ""
    detail: str = ""


class _File:
    """A recording's path taken apart once: its folders, its name, its stem, its stem without a microphone."""

    def __init__(self, path: Path, folder: Path) -> None:
        relative = path.relative_to(folder).as_posix()
        *folders, name = relative.split("/")
        stem = PurePosixPath(name).stem
        self.path, self.relative = path, relative
        self.folders = tuple(folders)
        self.names = (name, stem, _MICROPHONE.sub("", stem))
        self.folded_folders = tuple(map(fold, folders))
        self.folded_names = tuple(map(fold, self.names))
        self.clip = (*(part for part in folders if not _FORMAT.fullmatch(part)), self.names[2])


class Recordings:
    """The recordings of a folder by what lists may call them.

    A name is compared exactly, then without case and in composed form; with its folders, then with fewer and
    fewer of them; and counts only where one recording fits. `aliases` are other names (Kaldi's `wav.scp`).
    """

    def __init__(self, folder: Path, audio: Sequence[Path]) -> None:
        self.folder = folder
        self.aliases: dict[str, Path] = {}
        self._files = {path: _File(path, folder) for path in audio}
        self._by_name: dict[str, list[_File]] = defaultdict(list)
        self._numbers: dict[int, list[Path]] = defaultdict(list)
        self._clips: dict[tuple[str, ...], list[Path]] = defaultdict(list)
        for path, file in self._files.items():
            for key in set(file.folded_names):
                self._by_name[key].append(file)
            if _is_number(file.names[1]):
                self._numbers[int(file.names[1])].append(path)
            self._clips[file.clip].append(path)

    def __len__(self) -> int:
        return len(self._files)

    def known(self, cell: str) -> bool:
        """Whether some recording may be meant; quick, and without a look at folders."""
        return any(map(self._known, _spellings(cell)))

    def _known(self, cell: str) -> bool:
        if cell in self.aliases or fold(cell) in self._by_name:
            return True
        last = cell.replace("\\", "/").rpartition("/")[2]
        names = {fold(name) for name in (last, bare(last), _shortened(last))}
        named = any(name in self._by_name for name in names)
        return named or (_is_number(cell) and int(cell) in self._numbers)

    def find(self, name: str, base: Path | None = None) -> Match:
        """The one recording that `name` means in a list that lies in the folder `base`."""
        if name in self.aliases:
            return Match(self.aliases[name])
        below = base.relative_to(self.folder).parts if base is not None and base != self.folder else ()
        ways = (way for spelt in _spellings(name) for way in ((spelt,), _parts(spelt)))
        for parts in dict.fromkeys(ways):
            found = self._by_parts(parts, below)
            if len(found) == 1:
                return Match(found[0].path)
            if found:
                shown = ", ".join(file.relative for file in found[:3])
                return Match(None, "no_audio", f"several recordings may be meant by {name[:80]!r}: {shown}")
        if _is_number(name) and len(numbered := self._numbers.get(int(name), [])) == 1:
            return Match(numbered[0])  # a spreadsheet takes the zeros off 0001
        if _leaves(name, below):
            return Match(None, "unsafe_id", f"{name[:80]!r} leaves the folder")
        return Match(None, "no_audio", f"no recording is called {name[:80]!r}")

    def twins(self, path: Path) -> Iterable[Path]:
        """The other forms of the same clip: another format, another microphone."""
        return (other for other in self._clips[self._files[path].clip] if other != path)

    def _by_parts(self, parts: tuple[str, ...], below: tuple[str, ...]) -> list[_File]:
        if not parts:
            return []
        # By stem as well: lists often name the .wav of recordings since turned into .flac.
        wanted = ((parts[-1],), (parts[-1], _shortened(parts[-1])), (bare(parts[-1]),))
        folded = tuple(tuple(map(fold, names)) for names in wanted)
        keys = dict.fromkeys(name for names in folded for name in names)
        near = list({file.path: file for key in keys for file in self._by_name.get(key, [])}.values())
        folders = parts[:-1]
        folded_folders = tuple(map(fold, folders))
        for start in range(len(folders) + 1):
            tail = folded_folders[start:]
            here = [file for file in near if file.folded_folders[len(file.folders) - len(tail) :] == tail]
            here = [file for file in here if len(file.folders) >= len(tail)]
            same = [file for file in here if file.folders[len(file.folders) - len(tail) :] == folders[start:]]
            for level in range(len(wanted)):
                found = [file for file in same if file.names[level] in wanted[level]]
                if found:
                    return _narrowed(found, folders, below)
            for level in range(len(wanted)):
                found = [file for file in here if file.folded_names[level] in folded[level]]
                if found:
                    return _narrowed(found, folders, below)
        return []


def _narrowed(found: list[_File], folders: tuple[str, ...], below: tuple[str, ...]) -> list[_File]:
    """Of several that fit: the one at the very place, those near the list, one form of one clip."""
    for place in ((*below, *folders), folders):
        here = [file for file in found if file.folders == place]
        if here:
            found = here
            break
    else:
        found = [file for file in found if file.folders[: len(below)] == below] or found
    if len(found) > 1 and len({file.clip for file in found}) == 1:
        return [min(found, key=lambda file: (_lossless(file.path), file.relative))]
    return found


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit() and len(name) < 18


def bare(name: str) -> str:
    """A name without the ending of a recording, if it has one."""
    stem, dot, extension = name.rpartition(".")
    return stem if dot and extension.lower() in EXTENSIONS else name


def _shortened(name: str) -> str:
    """Without any ending of letters: lists of other trainers name `.npy` or `.pt` files of the same stem."""
    stem, dot, extension = name.rpartition(".")
    return stem if dot and extension.isalpha() and len(extension) <= 5 else name


def _spellings(name: str) -> tuple[str, ...]:
    """A name as it stands, without quotation marks and signs of no width, and read as an address."""
    if not name or len(name) > _LONGEST:
        return ()
    plain = name.strip(_AROUND)
    address = unquote(plain.removeprefix("file://"))
    return tuple(spelt for spelt in dict.fromkeys((name.strip(), plain, address)) if spelt)


def _parts(name: str) -> tuple[str, ...]:
    parts = [part for part in re.sub(r"^[A-Za-z]:", "", name).replace("\\", "/").split("/") if part]
    return tuple(part for part in parts if part not in (".", ".."))


def _leaves(name: str, below: tuple[str, ...]) -> bool:
    depth = len(below)
    plain = name.replace("\\", "/")
    for part in plain.split("/"):
        depth += -1 if part == ".." else part not in ("", ".")
        if depth < 0:
            return True
    return plain.startswith(("/", "~")) or re.match(r"[A-Za-z][A-Za-z+.-]{0,16}:", plain) is not None


def _lossless(path: Path) -> int:
    ending = path.suffix.lower().lstrip(".")
    return _LOSSLESS.index(ending) if ending in _LOSSLESS else len(_LOSSLESS)


def composed(text: str) -> str:
    """A text in composed form (NFC), blanks and line ends as single blanks."""
    return " ".join(unicodedata.normalize("NFC", text).split())
