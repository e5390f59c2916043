"""What there is to prepare: recordings and texts found in a folder and paired. Reads no audio.

Texts come from lists (`lists.py`), from a file for each recording (`layouts.py`), or are left to a
recogniser; given texts are never passed over without a word.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Literal

from voicewright.audio.kinds import is_recording
from voicewright.corpus.items import Item, fold, safe_id, tables
from voicewright.corpus.layouts import (
    beside,
    heard_lists,
    named_by_tables,
    text_of,
    with_folder_speakers,
    without_times,
)
from voicewright.corpus.lists import List, list_above, listlike, read_list
from voicewright.corpus.pairing import Recordings, composed
from voicewright.corpus.walk import Found, is_about, is_sound, is_text_beside, look, relative_name, strangers
from voicewright.errors import VoicewrightError

__all__ = ["Item", "Sources", "Transcribe", "discover", "safe_id"]

Transcribe = Literal["auto", "always", "never"]

_METADATA = frozenset(["metadata.csv", "metadata.tsv", "metadata.txt"])
"""Lists whatever they hold: lines that name nothing are refused one by one."""
_LACKING = ("phonemes_given", "no_text")
"""Refusals of a line for which a text from elsewhere may stand."""
_MANY = 8
"""Lists that are named one by one where it is said whose texts were taken."""


@dataclass(frozen=True)
class Sources:
    """`items` have a text or a reason; `untranscribed` are recordings in a folder without any text.

    `notes` are sentences on what was found and not taken.
    """

    folder: Path
    items: tuple[Item, ...]
    untranscribed: tuple[Item, ...]
    notes: tuple[str, ...] = ()


def discover(
    source: Path, out: Path | None = None, transcribe: Transcribe = "auto", speaker: str | None = None
) -> Sources:
    """Find what there is to prepare in a folder, list or single recording; `out` is left alone.

    Recordings without a text are for transcribing when no recording of the folder has one (`auto`), or
    `always`, or `never`; otherwise they are refused with `no_text`. Where a `speaker` is named, folders name
    none. Raises VoicewrightError when there is neither a recording nor a text, when lists contradict one
    another, and when a recogniser's words would take the place of given texts that cannot be read.
    """
    if not source.exists():
        raise VoicewrightError(f"{source} does not exist: name a folder with recordings.")
    if source.is_file() and (is_recording(source) or is_sound(source)):
        return _single(source, transcribe)
    found = look(source if source.is_dir() else source.parent, out)
    recordings = Recordings(found.folder, found.audio)
    notes = strangers(found)
    if source.is_file():
        lists, texts = [_named(source, recordings)], {}
        rest: list[Path] = []
    else:
        own = beside(recordings, found.audio, found.files)
        texts = dict(own.texts)
        lists, rest = _lists(recordings, own.rest)
        lists, unheard = heard_lists(lists)
        notes += [f"{found.name} is not taken: its recordings were not confirmed." for found in unheard]
        rest = [path for path in rest if path not in {found.path for found in unheard}]
    items, claimed = _merged(lists, texts, recordings, notes)
    orphans = [path for path in rest if is_text_beside(path)]
    if lists and orphans:
        name = relative_name(orphans[0], found.folder)
        notes.append(
            f"{len(orphans)} files of texts belong to no recording: {name}{' …' if orphans[1:] else ''}"
        )
    refused = [] if lists else [_orphan(path, found.folder) for path in orphans]
    twins = [_twin(path, recordings, claimed) for path in found.audio if path not in claimed]
    items += [item for item in refused + twins if item is not None]
    claimed |= {item.path for item in items if item.path is not None}
    loose = [_loose(path, found.folder) for path in found.audio if path not in claimed]
    if not items and not loose:
        hint = f" {notes[0]}" if notes else ""
        raise VoicewrightError(
            f"{source} holds neither recordings nor texts: name a folder with recordings.{hint}"
        )
    given = bool(lists) or bool(texts)
    unread = [path for path in rest if _unreadable(path, found)]
    if unread and loose and not given and transcribe == "auto":
        raise VoicewrightError(_cannot_read(unread, found))
    notes += [f"{relative_name(path, found.folder)} may hold texts, and was not read." for path in unread]
    if loose and not given and (above := list_above(found.folder)):
        notes.append(f"{above.name} lies above {found.folder.name} and was not read: give {above.parent}.")
    refuse = transcribe == "never" or (transcribe == "auto" and given)
    lacking = f"{lists[0].name} has no line for it" if lists else "no .txt or .lab lies beside it"
    if speaker is None:
        both = with_folder_speakers(items + loose, recordings)
        items, loose = both[: len(items)], both[len(items) :]
    return _sources(found.folder, items, loose, refuse, lacking, notes)


def _single(source: Path, transcribe: Transcribe) -> Sources:
    """One recording, with its text where a file beside it or a list in its folder has one."""
    folder = source.parent
    recordings = Recordings(folder, [source])
    files = [path for path in sorted(folder.iterdir()) if path.is_file() and not is_recording(path)]
    own = beside(recordings, [source], [path for path in files if not path.name.startswith(".")])
    notes: list[str] = []
    items, _ = _merged(_lists(recordings, own.rest)[0], dict(own.texts), recordings, notes)
    items = [item for item in items if item.path == source][:1]
    loose = [] if items else [_loose(source, folder)]
    return _sources(folder, items, loose, transcribe == "never", "it has no text", notes)


def _sources(
    folder: Path, items: list[Item], loose: list[Item], refuse: bool, lacking: str, notes: Sequence[str]
) -> Sources:
    if refuse:
        detail = f"{lacking}: add its text, or have all transcribed (--transcribe always)"
        items, loose = items + [item.refused("no_text", detail) for item in loose], []
    together = _unique(items + loose)
    return Sources(folder, tuple(together[: len(items)]), tuple(together[len(items) :]), tuple(notes))


def _named(source: Path, recordings: Recordings) -> List:
    """The list that the user named."""
    found = read_list(source, recordings, force=True)
    if found is None:
        raise VoicewrightError(f"{source} is no list: a line is `name of the recording|its text`.")
    if not len(recordings):
        raise VoicewrightError(
            f"No recordings lie in {source.parent}, beside {source.name}: name the folder that holds both."
        )
    return found


def _lists(recordings: Recordings, files: Sequence[Path]) -> tuple[list[List], list[Path]]:
    """The lists among files, those nearest to the top first, and the files that are none."""
    kaldi = named_by_tables(recordings, files)
    lists: list[List] = []
    rest = []
    for path in files:
        always = path.parent == recordings.folder and fold(path.name) in _METADATA
        known = always or (not is_about(path) and path.suffix.lower().lstrip(".") not in _not_lists())
        found = read_list(path, recordings, force=always) if known else None
        if found is None:
            rest.append(path)
        else:
            lists.append(found)
    if kaldi:
        lists = [_with_speakers(found, kaldi) for found in lists]
    lists.sort(key=lambda found: (len(found.path.parts), fold(found.path.name) not in _METADATA, found.name))
    if len(lists) > _MANY:
        name = f"{len(lists)} lists such as {lists[0].name}"
        lists = [
            replace(found, items=tuple(replace(item, origin=name) for item in found.items)) for found in lists
        ]
    return lists, rest


def _not_lists() -> Sequence[str]:
    files = tables()["files"]
    return [*files["unreadable"], *files["unreadable_texts"], *files["sounds"]]


def _with_speakers(found: List, speakers: dict[str, str]) -> List:
    items = [replace(item, speaker=item.speaker or speakers.get(item.id)) for item in found.items]
    return replace(found, items=tuple(items))


def _merged(
    lists: Sequence[List], texts: dict[Path, tuple[Path, ...]], recordings: Recordings, notes: list[str]
) -> tuple[list[Item], set[Path]]:
    """One item for each recording and one for each line without; lists before files beside.

    Raises VoicewrightError where two lists contradict one another.
    """
    own = {path: text_of(_loose(path, recordings.folder), files) for path, files in texts.items()}
    own = dict(zip(own, without_times(list(own.values())), strict=True))
    items: list[Item] = []
    first: dict[Path, tuple[int, List]] = {}
    other: list[Path] = []
    for found in lists:
        for item in found.items:
            at, earlier = first.get(item.path, (len(items), found)) if item.path is not None else (-1, found)
            if earlier is not found:
                items[at] = _one_of(items[at], item, earlier, found)
                continue
            path = item.path
            if path is not None:
                first.setdefault(path, (at, found))
                near = own.get(path)
                if near is not None and near.text and item.reason in _LACKING:
                    item = replace(near, speaker=item.speaker)
                elif near is not None and near.text and item.text and not _agree(near.text, item.text):
                    other.append(texts[path][0])
            items.append(item)
    if other:
        shown = ", ".join(relative_name(path, recordings.folder) for path in sorted(other)[:3])
        notes.append(f"{len(other)} texts beside differ from {lists[0].name}, which was followed: {shown}.")
    for path, item in own.items():
        if path not in first:
            items += [item, *_second_texts(texts[path], recordings.folder)]
    return items, set(first) | set(own)


def _second_texts(files: Sequence[Path], folder: Path) -> Iterator[Item]:
    """Refusals for texts of another kind beside a recording that has one: `a.lab` beside `a.txt`."""
    for path in files[1:]:
        if path.suffix.lower() in (".txt", ".lab") and path.suffix.lower() != files[0].suffix.lower():
            item = Item(id=safe_id(path.stem), source=relative_name(path, folder))
            yield item.refused("duplicate_id", "another text lies beside the same recording")


def _agree(some: str, other: str) -> bool:
    return composed(some) == composed(other)


def _one_of(item: Item, other: Item, earlier: List, later: List) -> Item:
    """What two lists say of one recording, if they do not contradict one another."""
    if item.text and other.text:
        speakers = {item.speaker, other.speaker} - {None}
        if _agree(item.text, other.text) and len(speakers) < 2:
            return replace(
                item, speaker=item.speaker or other.speaker, language=item.language or other.language
            )
        said = "texts" if not _agree(item.text, other.text) else "speakers"
        raise VoicewrightError(
            f"{earlier.name} and {later.name} give other {said} for {item.source}: name the one to follow, "
            f"as in `prepare {later.path}`."
        )
    if other.text and item.reason in _LACKING:
        return other
    return item


def _loose(path: Path, folder: Path) -> Item:
    relative = relative_name(path, folder)
    name = str(PurePosixPath(relative).with_suffix("")).replace("/", "-")
    return Item(id=safe_id(name), source=relative, path=path)


def _orphan(path: Path, folder: Path) -> Item:
    item = Item(id=safe_id(path.stem), source=relative_name(path, folder))
    return item.refused("no_audio", "no recording of the same name lies beside this text")


def _twin(path: Path, recordings: Recordings, claimed: set[Path]) -> Item | None:
    """A recording whose clip is taken in another form: another microphone, another format."""
    taken = next((other for other in recordings.twins(path) if other in claimed), None)
    if taken is None or (taken.parent == path.parent and taken.stem == path.stem):
        return None
    name = relative_name(taken, recordings.folder)
    return _loose(path, recordings.folder).refused("duplicate_id", f"the same clip is taken from {name}")


def _unreadable(path: Path, found: Found) -> bool:
    """Whether a file that was not read may hold the texts of the recordings."""
    files = tables()["files"]
    ending = path.suffix.lower().lstrip(".")
    if ending in files["unreadable"]:
        return True
    if ending in files["unreadable_texts"]:
        return listlike(path.with_suffix(".txt")) or any(fold(path.stem) == fold(a.stem) for a in found.audio)
    return not is_about(path) and listlike(path)


def _cannot_read(paths: Sequence[Path], found: Found) -> str:
    names = ", ".join(relative_name(path, found.folder) for path in paths[:3])
    ending = paths[0].suffix.lower().lstrip(".")
    if ending in _not_lists():
        how = "save it as CSV or as UTF-8 text"
    else:
        how = "a line of a list is `name of the recording|its text`, with a name of a file that is here"
    return (
        f"{names} in {found.folder} may hold the recordings' texts, but names none of the {len(found.audio)} "
        f"recordings: {how}; or say --transcribe always to have a recogniser write them."
    )


def _unique(items: Sequence[Item]) -> list[Item]:
    """Ids made safe as file names, and refused where two recordings would share one."""
    shared: dict[str, set[Path]] = defaultdict(set)
    for item in items:
        if item.path is not None and item.reason is None:
            shared[safe_id(item.id).lower()].add(item.path)
    seen: set[str] = set()
    result = []
    for item in items:
        if item.reason is None:
            name = safe_id(item.id)
            if len(shared[name.lower()]) > 1 and "/" in item.source:
                name = safe_id(str(PurePosixPath(item.source).with_suffix("")).replace("/", "-"))
            item = replace(item, id=name)
            if item.id.lower() in seen:
                item = item.refused("duplicate_id", f"another recording is called {item.id!r} too")
            else:
                seen.add(item.id.lower())
        result.append(item)
    return result
