"""Characters made uniform before anything is read, with the way back to the written text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

# Kept as they are: their compatibility forms would lose what they mean ("…" is a pause, "²" a power).
_KEEP = frozenset("…½⅓⅔¼¾⅕⅖⅗⅘⅙⅚⅛⅜⅝⅞¹²³™´¨¯″′‼⁇⁈⁉")
_SIGNS = frozenset("⅐⅑⅒⅟↉⁰⁴⁵⁶⁷⁸⁹⁺⁻⁽⁾ⁿⁱˣ№º")
"""Kept for English, whose reader knows them."""
_CHANGE = {
    "’": "'", "‘": "'", "ʼ": "'", "‛": "'", "ʹ": "'", "´": "'", "`": "'", "ˋ": "'", "ˊ": "'",
    "„": '"', "‟": '"', "«": "“", "»": "”", "‹": "“", "›": "”", "「": "“", "」": "”", "『": "“", "』": "”",
    "‐": "-", "‑": "-", "⁃": "-", "‒": "–", "―": "—", "⸺": "—", "⸻": "—",
    "。": ".", "、": ",", "‼": "!", "⁇": "?", "⁈": "?", "⁉": "!", "¿": "", "¡": "",
    "\u2028": "\n", "\u2029": "\n\n", "\x0b": "\n", "\x0c": "\n\n", "\x85": "\n", "\r": "\n",
}  # fmt: skip
_LETTER = r"[^\W\d_]"
# Between letters they are apostrophes: primes, accents, and in English the okina and its like, which are
# letters elsewhere; quotation marks and the sign of stress only before what an apostrophe stands before.
_APOSTROPHE = re.compile(rf"(?<={_LETTER})[′‵ʹꞌ՚᾽᾿ߴߵ](?={_LETTER})")
_OKINA = re.compile(rf"(?<={_LETTER})[ʻʽʾʿ](?={_LETTER})")
_MEANT = re.compile(r"(?:[\"“”„‟″‚‹›ˮ]|ˈ(?!re|ve))(?<=[^\W\d_].)(?=(?i:t|s|d|m|re|ve|ll)(?![^\W_]))")
_ODD = re.compile(r"[^\x09\x0a\x20-\x5f\x61-\x7e]+")
_GONE = frozenset({"Cf", "Cc", "Mn", "Me"})
_CONTROLS = frozenset({"Cf", "Cc", "Me"})
_JOINERS = frozenset("\u200c\u200d")
"""They decide how letters of Indic scripts and of Persian join, so they are part of a word there."""


def clean(text: str, marks: bool = False) -> tuple[str, Sequence[int]]:
    """`text` in plain characters, and for every position of it (and its end) the position in `text`.

    Curly apostrophes, exotic spaces, dashes and quotes, full-width letters and letters with combining
    accents become their common forms. Zero-width characters, a byte order mark, soft hyphens and other
    controls go away; they have no reading. Linear in the text.

    marks: keep what languages other than English write with: vowel signs and other marks on letters, joiners,
    and the inverted marks of Spanish.
    """
    text = _MEANT.sub("'", text)
    if _ODD.search(text) is None:
        return text, range(len(text) + 1)
    text = _APOSTROPHE.sub("'", text if marks else _OKINA.sub("'", text))
    out: list[str] = []
    origin: list[int] = []
    position = 0
    for match in _ODD.finditer(text):
        start, stop = match.span()
        # A combining accent belongs to the plain letter before it.
        if unicodedata.combining(text[start]) and start > position:
            start -= 1
        out.append(text[position:start])
        origin.extend(range(position, start))
        for at, cluster in _clusters(text, start, stop):
            plain = _marked(cluster) if marks else _plain(cluster)
            if plain[:1].isdecimal() and not cluster.isdecimal() and _counts(text[at - 1 : at], out[-1]):
                plain = cluster  # a small or circled figure is no part of the number before it
            out.append(plain)
            origin.extend([at] * len(plain))
        position = stop
    out.append(text[position:])
    origin.extend(range(position, len(text) + 1))
    return "".join(out), origin


def _counts(before: str, plain: str) -> bool:
    """Would a figure after this character become part of another number? Not the second one of "H₁₂"."""
    return before.isdecimal() or (before.isnumeric() and (before >= "①" or plain == before))


def cluster_end(text: str, at: int) -> int:
    """Position after the character at `at` and the combining marks that follow it."""
    end = at + 1
    while end < len(text) and unicodedata.combining(text[end]):
        end += 1
    return end


def _clusters(text: str, start: int, stop: int) -> list[tuple[int, str]]:
    """Characters of text[start:stop], each with the combining marks that follow it."""
    found: list[tuple[int, str]] = []
    at = start
    while at < stop:
        end = min(cluster_end(text, at), stop)
        if text[at] == "\r" and text[end : end + 1] == "\n":
            found.append((at, ""))
        else:
            found.append((at, text[at:end]))
        at = end
    return found


def _marked(cluster: str) -> str:
    """A character with its marks kept."""
    if cluster in "¿¡ºª" or cluster in _JOINERS:
        return cluster
    if cluster in _CHANGE or cluster in _KEEP or cluster.isspace() or "\ud800" <= cluster <= "\udfff":
        return _plain(cluster)
    whole = _compatible(cluster)
    return "".join(
        _CHANGE.get(c, c) for c in whole if c in _JOINERS or unicodedata.category(c) not in _CONTROLS
    )


def _compatible(cluster: str) -> str:
    """The characters that a cluster stands for; "㎡" keeps its small 2."""
    parts = unicodedata.decomposition(cluster) if len(cluster) == 1 else ""
    if parts.startswith("<square>") and parts.endswith(("00B2", "00B3")):
        return "".join(chr(int(part, 16)) for part in parts.split()[1:]).replace("∕", "/")
    return unicodedata.normalize("NFKC", cluster).replace("∕", "/")


def _plain(cluster: str) -> str:
    if cluster in _CHANGE:
        return _CHANGE[cluster]
    if cluster in _KEEP or cluster in _SIGNS:
        return cluster
    if cluster.isspace():
        return " "
    if "\ud800" <= cluster <= "\udfff":
        return "\ufffd"  # half of a surrogate pair: not a character, and no file can hold it
    whole = _compatible(cluster)
    # Accents that no letter of Unicode carries have no reading; digits of every script are numbers.
    return "".join(
        str(unicodedata.decimal(c)) if c.isdecimal() else _CHANGE.get(c, c)
        for c in whole
        if unicodedata.category(c) not in _GONE
    )
