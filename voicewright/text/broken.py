"""Words broken at a line's end: "exam-⏎ple" is one word, "well-⏎known" keeps its hyphen."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from voicewright.text.source import Edit, table

_BLANKS = r"[ \t\u00a0]"
_BREAK = re.compile(
    rf"(?<=[^\W_])(?P<mark>[-‐‑\u00ad¬⸗])\ufeff?(?:{_BLANKS}{{0,40}}(?:\r\n|[\n\r\x0b\x85\u2028]){_BLANKS}{{0,80}}"
    rf"|(?<=\u00ad){_BLANKS}{{1,8}})(?=[^\W_])"
)
_LEFT = re.compile(r"(?<![./@\\])\b(?:[^\W\d_]{1,3}['’])?[^\W_]{1,40}$")
_LONGEST = 60
"""Letters of a word in many pieces."""
_RIGHT = re.compile(r"[^\W_]{1,40}")


def mended(text: str, language: str, known: Callable[[str], bool] | None) -> list[Edit]:
    """What goes of every hyphen and line end that part a word.

    `known`: is a word in the language's lexicon? Without one, small letters go on a word.
    """
    edits: list[Edit] = []
    joined, joined_at = "", -1
    for match in _BREAK.finditer(text):
        left = _LEFT.search(text, max(0, match.start() - 42), match.start())
        right = _RIGHT.match(text, match.end())
        if left is None or right is None:
            continue
        # "gov-⏎ern-⏎ment": what was joined before is the left part now.
        first = joined if left.start() == joined_at and len(joined) < _LONGEST else left[0]
        soft = match["mark"] in "\u00ad¬⸗"
        whole = soft or _is_whole(first, right[0], language, known)
        if whole is None:
            continue
        edits.append((match.start() if whole else match.start() + 1, match.end(), ""))
        joined, joined_at = (first + right[0], match.end()) if whole else ("", -1)
    return edits


def _is_whole(left: str, right: str, language: str, known: Callable[[str], bool] | None) -> bool | None:
    """Are the two one word without a hyphen? None where they are two, and the hyphen stands for a third."""
    low = right.lower()
    if left[-1].isdecimal() or right[0].isdecimal():
        return False
    cased = right != low or right != right.upper()
    if not cased:
        return None
    if left.isupper() and right.isupper() and len(left) + len(right) > 3:
        left, right = left.lower(), low
    whole = left + right
    in_lexicon = known is not None and any(map(known, (whole, whole.lower())))
    hanging = low in _words(language, "joining") and (known is None or known(left.lower()))
    if hanging and not in_lexicon:
        return None
    if not right[0].islower():
        return False
    if known is None:
        return low not in _words(language, "hyphened")
    if in_lexicon:
        return not known(f"{left}-{right}".lower())
    return not (known(left.lower()) and known(low))


@cache
def _words(language: str, name: str) -> frozenset[str]:
    return frozenset(table("lines").get(language[:2], {}).get(name, "").split())
