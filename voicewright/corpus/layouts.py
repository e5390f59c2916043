"""Where known corpora keep what: texts in files of their own, names and speakers in tables and folders."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from voicewright.corpus.columns import by_header, is_phonemes
from voicewright.corpus.dialects import BROKEN, contents, decode
from voicewright.corpus.items import BESIDE, Item, fold, plain_words, tables
from voicewright.corpus.lists import List
from voicewright.corpus.pairing import Recordings

_BESIDE = (
    ".normalized.txt",
    ".normalised.txt",
    ".txt",
    ".lab",
    ".trn",
    ".text",
    ".transcript",
    ".transcription",
    ".json",
    ".original.txt",
)
"""What a recording's own text may be called, the best first."""
_SPEAKERS = (
    re.compile(r"(?:^|/)by_book/(?:female|male|mix)/([^/]+)/"),  # M-AILABS
    re.compile(r"(?:^|/)(\d+)/\d+/\1[-_]\d+[-_][^/]+$"),  # LibriSpeech, LibriTTS, MLS
    re.compile(r"(?:^|/)wav48[^/]*/([^/]+)/"),  # VCTK
)
_TIMES = re.compile(r"0 \d{3,9} (?=\S)")
"""TIMIT writes the first and the last sample before the words."""
_VOTES = "up votes"
_UNHEARD = ("invalidated", "other", "reported", "unvalidated")


@dataclass(frozen=True)
class Beside:
    """Texts in a file each: recording → its files, the best first; and what belongs to no recording."""

    texts: Mapping[Path, tuple[Path, ...]]
    rest: tuple[Path, ...]


def beside(recordings: Recordings, audio: Sequence[Path], files: Sequence[Path]) -> Beside:
    """Pair files of texts with recordings: in the same folder by name, else by the last parts of paths."""
    by_stem: dict[tuple[Path, str], list[Path]] = defaultdict(list)
    for path in audio:
        by_stem[path.parent, fold(path.stem)].append(path)
        by_stem[path.parent, fold(path.name)].append(path)
    texts: dict[Path, list[tuple[int, Path]]] = defaultdict(list)
    rest = []
    for path in files:
        fits = [end for end in _BESIDE if path.name.lower().endswith(end)]
        if not fits:
            rest.append(path)
            continue
        ending = max(fits, key=len)
        if ending == ".json" and not _json_text(contents(path) or ""):
            rest.append(path)
            continue
        rank, stem = _BESIDE.index(ending), path.name[: -len(ending)]
        near = by_stem.get((path.parent, fold(stem)), [])
        exact = [found for found in near if found.stem == stem or found.name == stem]
        found = next(iter(exact or near), None) or _parallel(path, stem, recordings)
        if found is None:
            rest.append(path)
        else:
            texts[found].append((rank, path))
    return Beside(
        {path: tuple(text for _, text in sorted(found)) for path, found in texts.items()}, tuple(rest)
    )


def _parallel(path: Path, stem: str, recordings: Recordings) -> Path | None:
    """The recording of a text in a folder beside that of the sounds (`txt/p1/a.txt`, `wav48/p1/a.wav`)."""
    if path.parent == recordings.folder or plain_words(stem) in tables()["files"]["about"]:
        return None
    folders = path.parent.relative_to(recordings.folder).parts
    own = PurePosixPath(*folders[:-1]) if _is_plain(folders[-1]) else None
    if own is not None:  # ABA/transcript/a1.txt: the sounds are below ABA
        return recordings.find(stem, recordings.folder / own).path
    return recordings.find("/".join((*folders, stem)), recordings.folder).path


def text_of(recording: Item, files: Sequence[Path]) -> Item:
    """A recording's item with the text of its file, or refused."""
    path = files[0]
    try:
        text = decode(path.read_bytes())
    except OSError as error:
        return recording.refused("no_text", f"{path.name} cannot be read: {error.strerror or error}")
    if text is None or BROKEN.search(text):
        return recording.refused("non_utf8", f"{path.name} is not UTF-8 text: save it as UTF-8")
    if path.suffix.lower() == ".json":
        text = _json_text(text)
    text = " ".join(text.split())
    if is_phonemes(text):
        return recording.refused("phonemes_given", f"{path.name} gives phonemes, not words: {text[:60]}")
    return replace(recording, text=text, origin=BESIDE)


def _json_text(text: str) -> str:
    """The text of a record, such as recognisers write beside a recording."""
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    if not isinstance(record, dict):
        return ""
    roles = by_header([str(key) for key in record])
    values = [list(record.values())[roles[role]] for role in ("normalised", "text") if role in roles]
    return next((value for value in values if isinstance(value, str)), "")


def without_times(items: Sequence[Item]) -> list[Item]:
    """Texts without TIMIT's sample numbers, if all have them."""
    own = [item for item in items if item.text]
    if not own or not all(_TIMES.match(item.text or "") for item in own):
        return list(items)
    return [replace(item, text=_TIMES.sub("", item.text or "", 1)) if item.text else item for item in items]


# --- lists


def named_by_tables(recordings: Recordings, files: Sequence[Path]) -> dict[str, str]:
    """Take names from Kaldi's `wav.scp`, and give speakers from its `utt2spk`."""
    speakers: dict[str, str] = {}
    for path in files:
        if path.name not in ("wav.scp", "utt2spk"):
            continue
        text = contents(path) or ""
        for line in text.split("\n"):
            name, _, value = line.strip().partition(" ")
            if path.name == "utt2spk" and value:
                speakers[name] = value.strip()
                continue
            for word in value.split():
                found = recordings.find(word, path.parent).path if recordings.known(word) else None
                if found is not None:
                    recordings.aliases[name] = found
                    break
    return speakers


def heard_lists(lists: Sequence[List]) -> tuple[list[List], list[List]]:
    """Common Voice: its lists of sentences whose recordings people confirmed, and the others."""
    votes = [found for found in lists if _VOTES in map(plain_words, found.header)]
    unheard = [found for found in votes if found.path.stem.lower().startswith(_UNHEARD)]
    return [found for found in lists if found not in unheard], unheard


# --- speakers


def with_folder_speakers(items: Sequence[Item], recordings: Recordings) -> list[Item]:
    """Speakers by what a known corpus calls its folders, else by the folder where there are several.

    A list at the top that names no speakers means one: its folders are books, as in CSS10.
    """
    result = [_by_layout(item) for item in items]
    open_ = [at for at, item in enumerate(result) if item.path is not None and not item.speaker]
    open_ = [at for at in open_ if "/" in result[at].origin or result[at].origin in ("", BESIDE)]
    names = {at: _folder_of(result[at]) for at in open_}
    if len(set(names.values())) < 2 or not all(names.values()):
        return result
    for at, name in names.items():
        result[at] = replace(result[at], speaker=name)
    return result


def _by_layout(item: Item) -> Item:
    if item.speaker or item.path is None:
        return item
    match = next(filter(None, (pattern.search(item.source) for pattern in _SPEAKERS)), None)
    return replace(item, speaker=match[1]) if match else item


def _folder_of(item: Item) -> str:
    parts = PurePosixPath(item.source).parts[:-1]
    return next((part for part in reversed(parts) if not _is_plain(part)), "")


def _is_plain(folder: str) -> bool:
    """Whether a folder's name counts or says what is in it: `wavs`, `wav48`, `chapter 2`."""
    if re.fullmatch(r"\d{4}[-_.]?\d\d[-_.]?\d\d", folder):
        return True  # a day
    known = tables()["folders"]
    words = [word for word in re.split(r"(\d+)|[\s_.-]+", folder.casefold()) if word]
    plain = [word for word in words if word in known["plain"]]
    counted = [word for word in words if word in known["numbers"] or re.fullmatch(r"\d+|[ivx]{1,5}", word)]
    return bool(plain) and len(plain) + len(counted) == len(words)
