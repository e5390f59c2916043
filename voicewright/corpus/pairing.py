"""The recording that a name in a list means: among the files of the folder, and nowhere else."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from voicewright.audio.files import EXTENSIONS
from voicewright.corpus.items import fold

_FORMAT = re.compile(
    r"(?:wavs?|waves?|flacs?|mp3s?|oggs?|opus|m4as?|audios?|clips|sounds?|recordings?)"
    r"(?:[\s_.-]?\d[\d.]{0,6})?(?:k|khz|hz)?(?:\d{1,2}bits?)?(?:[\s_.-](?:mono|trimmed|silence[_-]trimmed|raw))?",
    re.IGNORECASE,
)
"""A folder whose name says only in which form the recordings are."""
_LOSSLESS = ("wav", "flac", "wave", "aiff", "aif", "w64", "rf64", "caf")
_MICROPHONE = re.compile(r"[_-]mic(\d)$", re.IGNORECASE)
"""VCTK 0.92 has each sentence twice, by two microphones."""


@dataclass(frozen=True)
class Match:
    """`path`, or why there is none: `no_audio` or `unsafe_id`, with the rest of a sentence."""

    path: Path | None
    reason: str = ""
    detail: str = ""


class Recordings:
    """The recordings of a folder by what lists may call them.

    A name is compared exactly, then without case and in composed form; with its folders, then with fewer and
    fewer of them; and counts only where one recording fits. `aliases` are other names (Kaldi's `wav.scp`).
    """

    def __init__(self, folder: Path, audio: Sequence[Path]) -> None:
        self.folder = folder
        self.aliases: dict[str, Path] = {}
        self._parts: dict[Path, tuple[str, ...]] = {}
        self._by_last: dict[str, list[Path]] = defaultdict(list)
        self._numbers: dict[int, list[Path]] = defaultdict(list)
        self._twins: dict[tuple[str, ...], list[Path]] = defaultdict(list)
        for path in audio:
            relative = PurePosixPath(path.relative_to(folder).as_posix())
            self._parts[path] = relative.parts
            for key in {fold(relative.name), fold(relative.stem), fold(_without_microphone(relative.stem))}:
                self._by_last[key].append(path)
            if relative.stem.isascii() and relative.stem.isdigit():
                self._numbers[int(relative.stem)].append(path)
            self._twins[self._clip(path)].append(path)

    def __len__(self) -> int:
        return len(self._parts)

    def known(self, cell: str) -> bool:
        """Whether some recording may be meant; quick, and without a look at folders."""
        cell = cell.strip()
        if not cell or len(cell) > 4096:
            return False
        last = fold(_parts(cell)[-1]) if _parts(cell) else ""
        return (
            any(key in self._by_last for key in (last, fold(bare(last)), fold(cell)))
            or cell in self.aliases
            or (cell.isascii() and cell.isdigit() and int(cell[:18]) in self._numbers)
        )

    def find(self, name: str, base: Path | None = None) -> Match:
        """The one recording that `name` means in a list that lies in the folder `base`."""
        if name in self.aliases:
            return Match(self.aliases[name])
        below = base.relative_to(self.folder).parts if base is not None and base != self.folder else ()
        for parts in dict.fromkeys(((name,), _parts(name))):
            found = self._by_parts(parts, below)
            if len(found) == 1:
                return Match(found[0])
            if found:
                shown = ", ".join("/".join(self._parts[path]) for path in found[:3])
                return Match(None, "no_audio", f"several recordings may be meant by {name[:80]!r}: {shown}")
        if name.isascii() and name.isdigit() and len(numbered := self._numbers[int(name[:18])]) == 1:
            return Match(numbered[0])  # a spreadsheet takes the zeros off 0001
        if _leaves(name, below):
            return Match(None, "unsafe_id", f"{name[:80]!r} leaves the folder")
        return Match(None, "no_audio", f"no recording is called {name[:80]!r}")

    def twins(self, path: Path) -> Iterable[Path]:
        """The other forms of the same clip: another format, another microphone."""
        return (other for other in self._twins[self._clip(path)] if other != path)

    def _clip(self, path: Path) -> tuple[str, ...]:
        *folders, name = self._parts[path]
        stem = _without_microphone(PurePosixPath(name).stem)
        return (*(part for part in folders if not _FORMAT.fullmatch(part)), stem)

    def _by_parts(self, parts: tuple[str, ...], below: tuple[str, ...]) -> list[Path]:
        if not parts:
            return []
        last = parts[-1]
        near = [
            path
            for key in dict.fromkeys((fold(last), fold(bare(last)), fold(_shortened(last))))
            for path in self._by_last.get(key, [])
        ]
        near = list(dict.fromkeys(near))
        for count in range(min(len(parts), 32), 0, -1):
            tail = parts[-count:]
            for same in (_same, _same_folded):
                for stem in (_name, _stem, _no_microphone):
                    found = [path for path in near if _ends(self._parts[path], tail, stem, same)]
                    if found:
                        return self._narrowed(found, parts, below)
        return []

    def _narrowed(self, found: list[Path], parts: tuple[str, ...], below: tuple[str, ...]) -> list[Path]:
        """Of several that fit: the one at the very place, those near the list, one form of one clip."""
        for start in (below, ()):
            here = [path for path in found if _ends(self._parts[path], (*start, *parts), _stem, _same)]
            here = [path for path in here if len(self._parts[path]) == len(start) + len(parts)]
            if here:
                found = here
                break
        else:
            found = [path for path in found if self._parts[path][: len(below)] == below] or found
        if len(found) > 1 and len({self._clip(path) for path in found}) == 1:
            return [min(found, key=lambda path: (_lossless(path), self._parts[path]))]
        return found


def bare(name: str) -> str:
    """A name without the ending of a recording, if it has one."""
    stem, dot, extension = name.rpartition(".")
    return stem if dot and extension.lower() in EXTENSIONS else name


def _shortened(name: str) -> str:
    """Without any ending of letters: lists of other trainers name `.npy` or `.pt` files of the same stem."""
    stem, dot, extension = name.rpartition(".")
    return stem if dot and extension.isalpha() and len(extension) <= 5 else name


def _parts(name: str) -> tuple[str, ...]:
    if name.startswith("file://"):
        name = unquote(name[7:])
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


def _without_microphone(stem: str) -> str:
    return _MICROPHONE.sub("", stem)


def _lossless(path: Path) -> int:
    ending = path.suffix.lower().lstrip(".")
    return _LOSSLESS.index(ending) if ending in _LOSSLESS else len(_LOSSLESS)


def _name(file: str, wanted: str) -> tuple[str, str]:
    return file, wanted


def _stem(file: str, wanted: str) -> tuple[str, str]:
    # By stem as well: lists often name the .wav of recordings since turned into .flac.
    stem = PurePosixPath(file).stem
    return stem, wanted if wanted == stem or fold(wanted) == fold(stem) else _shortened(wanted)


def _no_microphone(file: str, wanted: str) -> tuple[str, str]:
    return _without_microphone(PurePosixPath(file).stem), bare(wanted)


def _same(a: str, b: str) -> bool:
    return a == b


def _same_folded(a: str, b: str) -> bool:
    return a == b or fold(a) == fold(b)


def _ends(
    whole: tuple[str, ...],
    tail: tuple[str, ...],
    last: Callable[[str, str], tuple[str, str]],
    same: Callable[[str, str], bool],
) -> bool:
    """Whether a path ends in these parts; `last` gives what of the two file names is compared."""
    if len(tail) > len(whole) or not same(*last(whole[-1], tail[-1])):
        return False
    return all(map(same, whole[len(whole) - len(tail) : -1], tail[:-1]))


def composed(text: str) -> str:
    """A text in composed form (NFC), blanks and line ends as single blanks."""
    return " ".join(unicodedata.normalize("NFC", text).split())
