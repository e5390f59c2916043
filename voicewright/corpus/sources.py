"""What there is to prepare: recordings and texts found in a folder and paired. Reads no audio.

Three layouts are known: a metadata file (`id|text`, `id|raw|normalised`, `id|text|speaker`,
`id|speaker|text`, or comma- or tab-separated with a header line), a `.txt` or `.lab` beside each recording,
and recordings alone.
"""

from __future__ import annotations

import csv
import hashlib
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from voicewright.audio.kinds import EXTENSIONS, is_film, is_recording, is_text
from voicewright.corpus.manifest import Transcript
from voicewright.errors import VoicewrightError

Transcribe = Literal["auto", "always", "never"]

METADATA_NAMES = ("metadata.csv", "metadata.tsv", "metadata.txt")
_TEXTS = (".txt", ".lab")
_NOT_TEXTS = frozenset(
    [
        *("readme", "license", "licence", "copying", "notice", "speakers", "credits"),
        *("changelog", "authors", "requirements", "metadata"),
    ]
)
_COLUMNS = {
    "id": ("id", "file", "file_name", "filename", "audio", "audio_file", "path", "clip", "wav"),
    "text": ("text", "transcription", "transcript", "sentence", "raw", "raw_text"),
    "normalised": (
        "normalised",
        "normalized",
        "normalised_text",
        "normalized_text",
        "normalized_transcription",
    ),
    "speaker": ("speaker", "speaker_id", "speaker_name", "client_id"),
}


@dataclass(frozen=True)
class Item:
    """One thing found, which becomes one line of the manifest or of the quarantine."""

    id: str
    source: str
    """Relative path of the recording, or `metadata.csv:12` where there is none."""
    path: Path | None = None
    text: str | None = None
    speaker: str | None = None
    reason: str | None = None
    """Already refused, with this code."""
    detail: str = ""
    transcript: Transcript = "given"

    def refused(self, reason: str, detail: str) -> Item:
        return replace(self, reason=reason, detail=detail)


@dataclass(frozen=True)
class Sources:
    """`items` have a text or a reason; `untranscribed` are recordings in a folder without any text."""

    folder: Path
    items: tuple[Item, ...]
    untranscribed: tuple[Item, ...]


def discover(source: Path, out: Path | None = None, transcribe: Transcribe = "auto") -> Sources:
    """Find what there is to prepare in a folder, metadata file or single recording; `out` is left alone.

    Recordings without a text are for transcribing when no recording of the folder has one (`auto`), or
    `always`, or `never`; otherwise they are refused with `no_text`. Raises VoicewrightError when there is
    neither a recording nor a text.
    """
    if not source.exists():
        raise VoicewrightError(f"{source} does not exist: name a folder with recordings.")
    if source.is_file() and (is_recording(source) or not is_text(source)):
        item = Item(id=safe_id(source.stem), source=source.name, path=source)
        return _sources(source.parent, [], [item], transcribe == "never", "it has no text")
    folder = source if source.is_dir() else source.parent
    files = sorted(_walk(folder, out))
    # Of two recordings of one name the one without pictures is taken: it was cut from the other.
    audio = sorted(filter(is_recording, files), key=is_film)
    metadata = source if source.is_file() else next(filter(Path.is_file, _candidates(folder)), None)
    if metadata is not None:
        items, claimed = _from_metadata(metadata, folder, audio)
        lacking = f"{metadata.name} has no line for it"
        refuse = transcribe != "always"
    else:
        items, claimed = _from_sidecars(folder, files, audio)
        lacking = "no .txt or .lab lies beside it"
        refuse = transcribe == "never" or (transcribe == "auto" and bool(claimed))
    loose = [_loose(path, folder) for path in audio if path not in claimed]
    if not items and not loose:
        raise VoicewrightError(f"{source} holds neither recordings nor texts: name a folder with recordings.")
    return _sources(folder, items, loose, refuse, lacking)


def _sources(folder: Path, items: list[Item], loose: list[Item], refuse: bool, lacking: str) -> Sources:
    if refuse:
        detail = f"{lacking}: add its text, or have it transcribed"
        items, loose = items + [item.refused("no_text", detail) for item in loose], []
    together = _unique(items + loose)
    return Sources(folder, tuple(together[: len(items)]), tuple(together[len(items) :]))


def safe_id(text: str) -> str:
    """A file name for any id: letters, digits, `.`, `_`, `-`; others replaced, and a hash added then."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:100]
    if plain and plain == text:
        return plain
    mark = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
    return f"{plain}-{mark}" if plain else mark


def _candidates(folder: Path) -> Iterable[Path]:
    return (folder / name for name in METADATA_NAMES)


def _walk(folder: Path, out: Path | None) -> Iterable[Path]:
    skip = out.resolve() if out is not None else None
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith((".", "__MACOSX")) and Path(parent, name).resolve() != skip
        )
        yield from (Path(parent, name) for name in names if not name.startswith("."))


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix()


def _loose(path: Path, folder: Path) -> Item:
    relative = _relative(path, folder)
    name = str(PurePosixPath(relative).with_suffix("")).replace("/", "-")
    return Item(id=safe_id(name), source=relative, path=path)


# --- texts beside recordings


def _from_sidecars(
    folder: Path, files: Sequence[Path], audio: Sequence[Path]
) -> tuple[list[Item], set[Path]]:
    by_stem: dict[Path, list[Path]] = defaultdict(list)
    for path in audio:
        by_stem[path.with_suffix("")].append(path)
    items: list[Item] = []
    claimed: set[Path] = set()
    for path in files:
        if path.suffix.lower() not in _TEXTS:
            continue
        recordings = [found for found in by_stem.get(path.with_suffix(""), []) if found not in claimed]
        if not recordings:
            taken = path.with_suffix("") in by_stem
            if path.stem.lower() in _NOT_TEXTS and not taken:
                continue
            item = Item(id=safe_id(path.stem), source=_relative(path, folder))
            if taken:
                items.append(item.refused("duplicate_id", "another text lies beside the same recording"))
            else:
                items.append(item.refused("no_audio", "no recording of the same name lies beside this text"))
            continue
        claimed.add(recordings[0])
        item = _loose(recordings[0], folder)
        try:
            text = path.read_bytes().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            items.append(item.refused("non_utf8", f"{path.name}: {error.reason} at byte {error.start}"))
            continue
        items.append(replace(item, text=" ".join(text.split())))
    return items, claimed


# --- metadata files


@dataclass(frozen=True)
class _Row:
    line: int
    cells: tuple[str, ...]
    problem: str | None = None


def _from_metadata(path: Path, folder: Path, audio: Sequence[Path]) -> tuple[list[Item], set[Path]]:
    rows = _rows(path)
    header, rows = _header(rows)
    columns = header or _guess_columns([row.cells for row in rows if row.problem is None])
    index = _AudioIndex(folder, audio)
    items: list[Item] = []
    claimed: set[Path] = set()
    for row in rows:
        where = f"{path.name}:{row.line}"
        cell = {name: row.cells[at].strip() if at < len(row.cells) else "" for name, at in columns.items()}
        identity = cell.get("id", "")
        item = Item(id=_bare(identity), source=where)
        found = index.find(identity)
        if found is not None:
            # Claimed even when the line is refused, so that one mistake is not counted twice.
            claimed.add(found)
            item = replace(item, source=_relative(found, folder), path=found)
        text = cell.get("normalised") or cell.get("text") or ""
        if row.problem is not None:
            item = item.refused("non_utf8", f"{where}: {row.problem}: save the file as UTF-8")
        elif len(row.cells) < 2 or not identity:
            item = item.refused("bad_row", f"{where} is not `id|text`: {'|'.join(row.cells)[:80]}")
        elif _unsafe(identity):
            item = replace(item, path=None).refused(
                "unsafe_id", f"{where}: {identity[:80]!r} leaves the folder"
            )
        elif not text:
            item = item.refused("no_text", f"{where} has an empty text")
        elif found is None:
            item = item.refused("no_audio", f"{where}: no recording is called {identity[:80]!r}")
        else:
            item = replace(item, text=text, speaker=cell.get("speaker") or None)
        items.append(item)
    return _without_duplicates(items), claimed


def _rows(path: Path) -> list[_Row]:
    data = path.read_bytes()
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            data = data.decode("utf-16").encode()
        except UnicodeDecodeError as error:
            raise VoicewrightError(f"{path} is damaged UTF-16: save it as UTF-8.") from error
    lines = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    sample = b"\n".join(lines[:50])
    delimiter = "|" if b"|" in sample else "\t" if b"\t" in sample else ","
    rows = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            text, problem = line.decode("utf-8"), None
        except UnicodeDecodeError as error:
            text, problem = line.decode("utf-8", "replace"), f"{error.reason} at byte {error.start}"
        plain = text.replace("\0", "")
        cells = next(csv.reader([plain])) if delimiter == "," else plain.split(delimiter)
        rows.append(_Row(number, tuple(cells), problem))
    return rows


def _header(rows: list[_Row]) -> tuple[dict[str, int] | None, list[_Row]]:
    if not rows or rows[0].problem:
        return None, rows
    names = [cell.strip().lower() for cell in rows[0].cells]
    columns = {
        column: names.index(alias)
        for column, aliases in _COLUMNS.items()
        for alias in reversed(aliases)
        if alias in names
    }
    return (columns, rows[1:]) if "id" in columns and "text" in columns else (None, rows)


def _guess_columns(rows: Sequence[tuple[str, ...]]) -> dict[str, int]:
    """Columns of a headless file: the third is a speaker unless it says the same words as the second."""
    if not rows or Counter(len(row) for row in rows).most_common(1)[0][0] < 3:
        return {"id": 0, "text": 1}
    wide = [row for row in rows if len(row) >= 3]
    same = sum(bool(_words(row[1]) & _words(row[2])) for row in wide)
    if same * 2 >= len(wide):
        return {"id": 0, "text": 1, "normalised": 2}
    spaces = [sum(" " in row[at].strip() for row in wide) for at in (1, 2)]
    if spaces[1] > spaces[0]:
        return {"id": 0, "speaker": 1, "text": 2}
    return {"id": 0, "text": 1, "speaker": 2}


def _bare(identity: str) -> str:
    stem, dot, extension = identity.rpartition(".")
    return stem if dot and extension.lower() in EXTENSIONS else identity


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))


def _unsafe(identity: str) -> bool:
    parts = identity.replace("\\", "/").split("/")
    return ".." in parts or identity.startswith(("/", "\\", "~")) or ":" in parts[0] or "\0" in identity


class _AudioIndex:
    """Finds recordings by id among the files of the folder, and nowhere else."""

    def __init__(self, folder: Path, audio: Sequence[Path]) -> None:
        self._exact: dict[str, Path] = {}
        self._stem: dict[str, Path] = {}
        for path in audio:
            relative = PurePosixPath(_relative(path, folder))
            for name in (str(relative), relative.name):
                self._exact.setdefault(name, path)
            for name in (str(relative.with_suffix("")), relative.stem):
                self._stem.setdefault(name, path)

    def find(self, identity: str) -> Path | None:
        if not identity or _unsafe(identity):
            return None
        name = identity.replace("\\", "/").removeprefix("./")
        # By stem as well: lists often name the .wav of recordings since turned into .flac.
        found = self._exact.get(name) or self._stem.get(name)
        return found or self._stem.get(_bare(name))


def _without_duplicates(items: list[Item]) -> list[Item]:
    """The first of identical lines stays; where texts or speakers differ, none is known to be true."""
    groups: dict[str, list[int]] = defaultdict(list)
    for at, item in enumerate(items):
        if item.reason is None:
            groups[str(item.path)].append(at)
    result = list(items)
    for group in groups.values():
        if len(group) < 2:
            continue
        alike = len({(items[at].text, items[at].speaker) for at in group}) == 1
        for at in group[1:] if alike else group:
            detail = "an identical line comes earlier" if alike else "several lines with other texts name it"
            result[at] = items[at].refused("duplicate_id", detail)
    return result


def _unique(items: Sequence[Item]) -> list[Item]:
    """Ids made safe as file names, and refused where two recordings would share one."""
    seen: set[str] = set()
    result = []
    for item in items:
        if item.reason is None:
            item = replace(item, id=safe_id(item.id))
            if item.id.lower() in seen:
                item = item.refused("duplicate_id", f"another recording is called {item.id!r} too")
            else:
                seen.add(item.id.lower())
        result.append(item)
    return result
