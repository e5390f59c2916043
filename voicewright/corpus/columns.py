"""What the columns of a list are: name of the recording, text, text as read, speaker, language."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence

from voicewright.corpus.items import plain_words, tables

_NUMBER = re.compile(r"-?\d{1,12}(?:\.\d{1,12})?")
_SECONDS = re.compile(r"\d{1,9}\.\d{1,12}")
_INLINE = re.compile(r"\[[^\[\]]{0,200}\]\(/[^()]{0,400}/\)")
_ADDRESS = re.compile(r"https?://")


def language_of(cell: str) -> str | None:
    """The code of a language that a list names ("EN", "english", "ja-JP"), or None."""
    name = cell.strip().casefold()
    found = tables()["languages"].get(name)
    if found is not None:
        return str(found)
    match = re.fullmatch(r"([a-z]{2,3})(?:[-_][a-z]{2,4})?", name)
    return name.replace("_", "-") if match and match[1] in _codes() else None


@functools.cache
def _codes() -> frozenset[str]:
    # ISO 639-1 as espeak-ng and Whisper have it, and the few longer ones that lists use.
    codes = (
        "af am ar as az be bg bn bs ca cs cy da de el en eo es et eu fa fi fr ga gl gu he hi hr ht hu hy id "
        "is it ja ka kk kn ko ku ky la lb lt lv mi mk ml mn mr ms mt my nb ne nl nn no oc or pa pl ps pt ro "
        "ru sd si sk sl sq sr sv sw ta te tg th tk tl tr tt ug uk ur uz vi yi zh yue cmn"
    )
    return frozenset(codes.split())


def is_phonemes(text: str) -> bool:
    """Whether a text is written in phonetic letters (or ARPABET) instead of in words."""
    text = unicodedata.normalize("NFC", _INLINE.sub("", text))
    letters = sum(character.isalpha() for character in text)
    strong = sum(character in tables()["phonemes"]["ipa"] for character in text)
    if (
        (strong >= 3 or strong > 0.4 * letters > 0)
        and strong >= 0.12 * letters
        and re.search(r"[ˈˌː]|[ʃʒðʧʤɹɚ].*[ʌæɑɪʊəɜ]", text)
    ):
        return True
    symbols = re.findall(r"[A-Z]+(?:[012])?", text.replace("{", " ").replace("}", " "))
    spoken = [symbol for symbol in symbols if symbol.rstrip("012") in tables()["phonemes"]["arpabet"]]
    tokens = [token for token in re.split(r"[\s{}]+", text) if any(map(str.isalnum, token))]
    numbered = sum(symbol[-1] in "012" for symbol in spoken)
    return len(tokens) >= 3 and numbered >= 2 and len(spoken) >= 0.8 * len(tokens)


def by_header(names: Sequence[str]) -> dict[str, int]:
    """Roles of columns by their names; the first name of a role that is there counts."""
    plain = [plain_words(name.split(".")[-1]) if re.fullmatch(r"\w+\.\w+", name) else "" for name in names]
    full = ["" if name.rstrip().endswith(".") else plain_words(name) for name in names]
    found: dict[str, int] = {}
    for role, aliases in tables()["columns"].items():
        for alias in aliases:
            for cells in (full, plain):
                if alias in cells and role not in found and cells.index(alias) not in found.values():
                    found[role] = cells.index(alias)
    return found


def no_texts(cells: Sequence[str]) -> bool:
    """Whether a column holds lengths, sizes or addresses instead of texts."""
    filled = [cell for cell in cells if cell]
    return bool(filled) and (all(map(_SECONDS.fullmatch, filled)) or all(map(_ADDRESS.match, filled)))


def guess(rows: Sequence[Sequence[str]], place: int) -> dict[str, int] | None:
    """Roles of the columns of rows without a header, all of one width; `place` is the name's.

    None where that cannot be told: what would be one text too many may be a piece of the other.
    """
    width = len(rows[0])
    cells = {at: [row[at].strip() for row in rows] for at in range(width) if at != place}
    filled = {at: [cell for cell in column if cell] for at, column in cells.items()}
    filled = {at: column for at, column in filled.items() if column}
    found = {"id": place}
    for at, column in filled.items():
        others = [filled[other] for other in filled if other != at]
        spoken = width > 3 or len(filled) > 2 or any(all(" " in cell for cell in other) for other in others)
        if spoken and others and "language" not in found and all(map(language_of, column)):
            found["language"] = at
    rest = [at for at in filled if at not in found.values()]
    rest = [at for at in rest if not all(map(_ADDRESS.match, filled[at]))]
    if len(rest) > 1:
        rest = [at for at in rest if not all(map(_SECONDS.fullmatch, filled[at]))]
    written = [at for at in rest if not _mostly_phonemes(filled[at]) and not _all_numbers(filled[at])]
    labels = [at for at in rest if _is_label(filled[at])]
    texts = [at for at in written if at not in labels]
    if not texts and len(rest) == 1:
        return found | {"text": rest[0]}
    if (
        not texts
        and not [at for at in rest if at in written]
        and (given := _phonemes(rest, filled)) is not None
    ):
        return found | {"text": given} | _first("speaker", [at for at in labels if at != given])
    if not texts:
        return _of_labels(found, labels, filled)
    if len(texts) == 1:
        return found | {"text": texts[0]} | _first("speaker", labels)
    if _same_words(cells[texts[0]], cells[texts[1]]):
        return found | {"text": texts[0], "normalised": texts[1]} | _first("speaker", labels)
    return None


def _first(role: str, places: Sequence[int]) -> dict[str, int]:
    return {role: places[0]} if places else {}


def _of_labels(
    found: dict[str, int], labels: Sequence[int], filled: Mapping[int, Sequence[str]]
) -> dict[str, int] | None:
    """Two columns of single words: the one with the fewer different ones is the speaker."""
    if len(labels) != 2:
        return None
    few, many = sorted(labels, key=lambda at: len(set(filled[at])))
    if len(set(filled[few])) == len(set(filled[many])):
        return None
    return found | {"text": many, "speaker": few}


def _phonemes(places: Sequence[int], filled: Mapping[int, Sequence[str]]) -> int | None:
    return next((at for at in places if _mostly_phonemes(filled[at])), None)


def _mostly_phonemes(column: Sequence[str]) -> bool:
    return sum(map(is_phonemes, column[:200])) * 2 > len(column[:200])


def _all_numbers(column: Sequence[str]) -> bool:
    return all(re.fullmatch(r"[\d\s.]+", cell) for cell in column)


def _is_label(column: Sequence[str]) -> bool:
    """Names of speakers and the like: short, no sentences, and repeated or plainly names."""
    if any(len(cell.split()) > 3 or re.search(r"[!?,;:\"…。]|\.$|\s$", cell) for cell in column):
        return False
    if _mostly_phonemes(column):
        return False
    different = len(set(column))
    if different * 2 <= len(column) or all(_NUMBER.fullmatch(cell) for cell in column):
        return True
    named = all(word[0].isupper() or not word[0].isalpha() for cell in column for word in cell.split())
    return all(" " not in cell for cell in column) or (named and len(column) <= 3)


def _same_words(some: Sequence[str], others: Sequence[str]) -> bool:
    pairs = [(_words(a), _words(b)) for a, b in zip(some, others, strict=True) if a and b]
    return sum(bool(a & b) for a, b in pairs) * 2 >= len(pairs) > 0


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", unicodedata.normalize("NFC", text).lower()))


def common_width(rows: Sequence[Sequence[str]]) -> tuple[int, float]:
    """The width that most rows have, the smaller of two equally common ones, and the share of such rows."""
    counts = Counter(map(len, rows))
    width = min(counts, key=lambda key: (-counts[key], key))
    return width, counts[width] / len(rows)
