"""Lists of recordings with their texts, whatever they are called and however they are written.

Of all readings of a file (`dialects.py`) the one counts in which most lines name a recording that is there. A
text is taken whole or the line is refused: never cut.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from voicewright.corpus.columns import by_header, common_width, guess, is_phonemes, language_of, no_texts
from voicewright.corpus.dialects import BROKEN, Reading, Row, contents, readings
from voicewright.corpus.items import Item, plain_words, tables
from voicewright.corpus.pairing import Recordings, bare
from voicewright.errors import VoicewrightError

_SAMPLE = 4000
"""Rows that decide how a list is read."""


@dataclass(frozen=True)
class List:
    """A list that was read: a line of it is an item, with its recording where that was found."""

    path: Path
    name: str
    """Relative to the folder."""
    items: tuple[Item, ...]
    claimed: frozenset[Path]
    """Recordings that some line names, even one that is refused."""
    header: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Layout:
    reading: Reading
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    id: int
    paired: int


_ABOVE = ("metadata", "transcripts", "transcript", "validated", "train", "texts", "filelist")


def listlike(path: Path) -> bool:
    """Whether a file's name says that it is a list."""
    files = tables()["files"]
    endings = [ending.lower().lstrip(".") for ending in path.suffixes[-2:]]
    if any(ending in files["list_endings"] for ending in endings):
        return True
    if endings[-1:] and endings[-1] not in ("txt", "json", "data", "cleaned", "tab", "dat"):
        return False
    return bool(set(plain_words(path.name).split()) & set(files["list_words"]))


def list_above(folder: Path) -> Path | None:
    """The list by name beside a folder called `wavs`, where such a folder alone was given; never opened."""
    here = folder.resolve()
    if here.name.lower() not in ("wav", "wavs", "clips", "audio"):
        return None
    try:
        beside = sorted(path for path in here.parent.iterdir() if path.stem.lower() in _ABOVE)
    except OSError:
        return None
    return next((path for path in beside if listlike(path)), None)


def read_list(path: Path, recordings: Recordings, force: bool = False) -> List | None:
    """Read a file as a list; None where it is none, or holds no texts. `force` takes it whatever it holds.

    Raises VoicewrightError for a list that was forced and cannot be read.
    """
    text = contents(path)
    if text is None:
        if force:
            raise VoicewrightError(f"{path} is neither a recording nor a list that can be read (UTF-8 text).")
        return None
    layout = _best(text, recordings, path)
    if layout is None or (not force and not _is_list(layout, path, recordings)):
        if force and text.strip():
            raise VoicewrightError(f"{path} holds no list: a line is `name of the recording|its text`.")
        return None
    name = path.relative_to(recordings.folder).as_posix()
    roles, _ = _columns(layout)
    if (
        not force
        and roles is not None
        and no_texts([_cell(row, roles.get("text", 1)) for row in layout.rows])
    ):
        return None
    items, claimed = _items(layout, path, name, recordings)
    if not force and not any(item.text or item.reason == "phonemes_given" for item in items if item.path):
        return None
    return List(path, name, tuple(_without_duplicates(items)), frozenset(claimed), layout.header)


def _best(text: str, recordings: Recordings, path: Path) -> _Layout | None:
    """The reading that pairs most rows; of equals, that with fewest other rows, then the likelier form."""
    best: tuple[tuple[int, int, int], _Layout] | None = None
    for reading in readings(text):
        if reading.loose and best is not None and best[1].paired:
            break
        layout = _layout(reading, recordings)
        if layout is None:
            continue
        rest = len(layout.rows) - layout.paired
        score = (-layout.paired, rest, reading.rank) if layout.paired else (0, -_wide(layout), reading.rank)
        if best is None or score < best[0]:
            best = score, layout
    return best[1] if best is not None else None


def _wide(layout: _Layout) -> int:
    return sum(len(row.cells) > 1 for row in layout.rows) if not layout.reading.loose else 0


def _layout(reading: Reading, recordings: Recordings) -> _Layout | None:
    rows = reading.rows
    if not rows:
        return None
    counts: Counter[int] = Counter()
    for row in rows[:_SAMPLE]:
        cells = row.cells[:1] if reading.splits else row.cells[:64]
        # The text cell alone is no line of a list: some other cell must hold something.
        counts.update(at for at, cell in enumerate(cells) if recordings.known(cell) and _others(row, at))
    place = min(counts, key=lambda at: (-counts[at], at)) if counts else 0
    header = reading.header
    if not header and not (counts and recordings.known(_cell(rows[0], place))):
        roles = by_header(rows[0].cells)
        both = "id" in roles and bool({"text", "normalised"} & set(roles))
        likely = ("id" in roles or len(roles) > 1) and bool(counts) and len(rows) > 1 and _names(rows[0])
        if both or likely:
            header = rows[0].cells
        rows = rows[1:] if header else rows
    if header and not counts:
        place = by_header(header).get("id", 0)
    paired = sum(recordings.known(_cell(row, place)) and _others(row, place) for row in rows)
    return _Layout(reading, tuple(header), tuple(rows), place, paired)


def _cell(row: Row, at: int) -> str:
    return row.cells[at].strip() if at < len(row.cells) else ""


def _others(row: Row, at: int) -> bool:
    return any(cell.strip() for other, cell in enumerate(row.cells) if other != at)


def _names(row: Row) -> bool:
    """Whether cells look like names of columns."""
    return all(re.fullmatch(r"[\w ()\[\]#-]{0,40}", cell) for cell in row.cells)


def _is_list(layout: _Layout, path: Path, recordings: Recordings) -> bool:
    """Enough lines name recordings that it cannot be chance."""
    paired, rows = layout.paired, len(layout.rows)
    if listlike(path):
        return paired > 0 and (paired * 2 >= rows or not layout.reading.loose)
    if layout.reading.loose:
        return paired * 2 >= rows and paired > 1
    return paired > 0 and (paired * 2 >= rows or (paired >= 3 and paired * 2 >= len(recordings)))


# --- rows → items


def _columns(layout: _Layout) -> tuple[dict[str, int] | None, int]:
    """Roles and width; with None for the roles, rows of that width cannot be told apart."""
    if layout.header:
        width = len(layout.header)
        filled = {at for row in layout.rows for at, cell in enumerate(row.cells) if cell.strip()}
        names = [name if at in filled else "" for at, name in enumerate(layout.header)]
        named = {role: at for role, at in by_header(names).items() if at != layout.id}
        if not {"text", "normalised"} & set(named):  # a header in words that nobody knows
            cells = [row.cells for row in layout.rows if len(row.cells) == width]
            free = width - len(set(named.values()) | {layout.id})
            guessed = guess(cells, layout.id) if cells and free else None
            text = layout.id if guessed is None else guessed["text"]
            numbers = guessed is not None and all(_cell(row, text).isdigit() for row in layout.rows)
            if guessed is None or numbers or text in named.values():
                return named | {"id": layout.id, "text": width}, width
            return guessed | named, width
        return named | {"id": layout.id}, width
    if layout.reading.splits:
        return {"id": 0, "text": 1}, 2
    cells = [row.cells for row in layout.rows if len(row.cells) > 1]
    if not cells:
        return {"id": layout.id, "text": 1 - min(layout.id, 1)}, max(2, layout.id + 1)
    cells = _without_empty_ends(cells)
    width, share = common_width(cells)
    whole = {"id": layout.id, "text": layout.id + 1}
    if width <= 2:
        return {"id": layout.id, "text": 1 - min(layout.id, 1)}, max(2, layout.id + 1)
    wide = [row for row in cells if len(row) == width][:_SAMPLE]
    separator = layout.reading.delimiter
    punctuation = separator in ",;" or _blanks_tell(wide, layout.id)
    if punctuation and (share < 0.8 or _blanks_tell(wide, layout.id)) and layout.id == 0:
        return whole, 2
    roles = guess(wide, layout.id)
    if roles is None and layout.id == 0 and separator in ",;":
        return whole, 2
    return roles, width


def _without_empty_ends(rows: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Rows without columns at the end that are empty everywhere."""
    keep = max((at + 1 for row in rows for at in range(len(row)) if row[at].strip()), default=0)
    return [row[:keep] for row in rows]


def _blanks_tell(rows: Sequence[Sequence[str]], place: int) -> bool:
    """Whether a blank follows later separators and not the first: they are the text's own then."""
    if place != 0:
        return False
    first = sum(row[1].startswith(" ") for row in rows)
    later = sum(any(cell.startswith(" ") for cell in row[2:]) for row in rows)
    return later * 2 > len(rows) and first * 2 <= len(rows)


def _items(layout: _Layout, path: Path, name: str, recordings: Recordings) -> tuple[list[Item], set[Path]]:
    roles, width = _columns(layout)
    whole = [row for row in layout.rows if len(row.cells) == width]
    seen = {at: {_cell(row, at) for row in whole} for at in (roles or {}).values()}
    items: list[Item] = []
    claimed: set[Path] = set()
    for row in layout.rows:
        where = f"{name}:{row.line}"
        if roles is not None and roles["id"] > roles.get("text", 0) and len(row.cells) > width:
            seen[roles["id"]].update(filter(recordings.known, map(str.strip, row.cells[-width:])))
        cells = None if roles is None else _fitted(row, roles, width, layout.reading.delimiter, seen)
        identity = _cell(row if cells is None else replace(row, cells=cells), layout.id)
        item = Item(id=bare(identity), source=where, origin=name)
        match = recordings.find(identity, path.parent) if identity else None
        if match is not None and match.path is not None:
            # Claimed even when the line is refused, so that one mistake is not counted twice.
            claimed.add(match.path)
            relative = match.path.relative_to(recordings.folder).as_posix()
            item = replace(item, source=relative, path=match.path)
        broken = next(filter(BROKEN.search, row.cells), None)
        if broken is not None:
            items.append(item.refused("non_utf8", f"{where}: {_broken(broken)}: save the file as UTF-8"))
        elif len(row.cells) < 2 or not identity:
            shown = layout.reading.delimiter.join(row.cells)[:80]
            items.append(item.refused("bad_row", f"{where} is not `id|text`: {shown}"))
        elif match is not None and match.reason == "unsafe_id":
            items.append(replace(item, path=None).refused(match.reason, f"{where}: {match.detail}"))
        elif roles is None or cells is None:
            items.append(item.refused("bad_row", f"{where} {_unclear(row, roles, width)}"))
        else:
            items.append(_item(item, where, cells, roles, "" if match is None else match.detail))
    return items, claimed


def _item(item: Item, where: str, cells: Sequence[str], roles: dict[str, int], missing: str) -> Item:
    cell = {role: cells[at].strip() if at < len(cells) else "" for role, at in roles.items()}
    text = " ".join((cell.get("normalised") or cell.get("text") or "").split("\n")).strip()
    text = re.sub(r"\\([\"'])", r"\1", text)  # nobody says a backslash before a quotation mark
    if not text:
        return item.refused("no_text", f"{where} has an empty text")
    if item.path is None:
        return item.refused("no_audio", f"{where}: {missing}")
    try:
        offset = float(cell.get("offset") or 0.0)
    except ValueError:
        offset = 0.0
    if offset > 0:
        detail = f"{where} names a stretch of the recording (from {offset:g} s): cut it out first"
        return item.refused("bad_row", detail)
    if is_phonemes(text):
        detail = f"{where} gives phonemes, not words: {text[:60]}: name a list with the written texts"
        return item.refused("phonemes_given", detail)
    speaker = cell.get("speaker") or None
    return replace(item, text=text, speaker=speaker, language=language_of(cell.get("language", "")))


def _fitted(
    row: Row, roles: dict[str, int], width: int, delimiter: str, seen: dict[int, set[str]]
) -> tuple[str, ...] | None:
    """The cells of a row, those of a text that its own separators cut put together; None if unclear.

    `seen` are the values that each column has in rows of the right width.
    """
    cells = row.cells
    while len(cells) > width and not cells[-1].strip():
        cells = cells[:-1]
    over = len(cells) - width
    text = roles.get("text", roles.get("normalised", 1))
    if over < 0:
        # A last column may be left out, as long as what is there stands where it should.
        there = max(text, roles["id"]) < len(cells) and text == min(1, len(cells) - 1)
        return cells if there else None
    if over == 0:
        return cells
    if ("normalised" in roles and "text" in roles) or text >= width:
        return None
    joined = (*cells[:text], delimiter.join(cells[text : text + over + 1]), *cells[text + over + 1 :])
    # What stands behind the text must be what stands there in other rows.
    behind = [at for at in roles.values() if at > text]
    if text < width - 1 and not behind:
        return None
    return joined if all(joined[at].strip() in seen[at] for at in behind) else None


def _unclear(row: Row, roles: dict[str, int] | None, width: int) -> str:
    if roles is None:
        return (
            "has columns that cannot be told apart: say what they are in a first line such as "
            "`file|text|speaker`"
        )
    return f"has {len(row.cells)} columns, others have {width}: quote the text, or take its separators out"


def _broken(cell: str) -> str:
    try:
        cell.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError as error:
        return f"{error.reason} at byte {error.start}"
    return "a byte that is no UTF-8"


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
