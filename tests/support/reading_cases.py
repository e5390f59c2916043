"""Written texts with the words that they are read as: the tables in `cases/`, and the comparison.

A table is tab-separated with a header: kind, language, check, written, right. `⏎` is a line end, `\\t` a tab.
Checks, each on the phonemes of the whole text, stress and blanks aside:

- words: they are those of one of the texts under `right` (alternatives stand apart as " / "); marks do not
  count. "A M (letters)" are letters.
- unbroken: the same, and no mark that pauses stands before the last word.
- pause: a mark, or a cut, stands between the two words or phrases under `right` ("seven | the").
- flowing: neither stands between them.
- without g: as the words under `right`, whose first ends in -ing, with n in place of ng.
- phonemes: they match the regular expression under `right`.
"""

from __future__ import annotations

import csv
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from voicewright.text.frontend import Frontend

FOLDER = Path(__file__).parent / "cases"
_PAUSES = ".,:;!?…—"
_IGNORED = str.maketrans("", "", "ˈˌ “”()")


@dataclass(frozen=True)
class Case:
    file: str
    line: int
    kind: str
    language: str
    check: str
    written: str
    right: str


def cases(name: str) -> Iterator[Case]:
    """The rows of `tests/support/cases/NAME.tsv`."""
    with (FOLDER / f"{name}.tsv").open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        for row in rows:
            written = row["written"].replace("⏎", "\n").replace("\\t", "\t")
            language = row["language"] or "en-us"
            yield Case(name, rows.line_num, row["kind"], language, row["check"], written, row["right"])


@functools.cache
def frontend(language: str) -> Frontend:
    return Frontend(language)


def read(language: str, text: str) -> str:
    """The phonemes of all chunks; a cut is a full stop."""
    return ". ".join(chunk.phonemes for chunk in frontend(language).chunks(text))


def _bare(phonemes: str) -> str:
    # "the" before letters and before what they spell out sounds either way.
    return re.sub(f"[{_PAUSES}]", "", phonemes.translate(_IGNORED)).replace("ði", "ðə")


def _letters(language: str, names: str) -> str:
    """The names of letters: "A M" → eɪɛm, as Kokoro writes it."""
    twice = (_bare(read(language, f"{name}.{name}.")) for name in names.split())
    return "".join(said[: len(said) // 2] for said in twice)


def _expected(language: str, words: str) -> str:
    """Phonemes of words that are written out."""
    parts = re.split(r"((?:\b[A-Z] )+)\(letters\)", words)
    return "".join(
        _letters(language, part) if at % 2 else _bare(read(language, part)) for at, part in enumerate(parts)
    )


def problem(case: Case) -> str:
    """What is wrong with the reading; empty where it is right."""
    try:
        said = read(case.language, case.written)
    except Exception as error:  # any fault of the front end is a wrong reading, and is to be counted as one
        return f"{case.written!r} stops with {type(error).__name__}: {error}"
    if _right(case, said):
        return ""
    return f"{case.file}:{case.line} {case.written!r} is read {said!r}; right: {case.right}"


def _right(case: Case, said: str) -> bool:
    if case.check == "phonemes":
        return re.search(case.right, said.translate(_IGNORED)) is not None
    if case.check == "without g":
        expected = re.sub("ŋ", "n", _bare(read(case.language, case.right)), count=1)
        return _bare(said) == expected
    if case.check in ("pause", "flowing"):
        return _broken(case, said) is (case.check == "pause")
    texts = case.right.split(" / ")
    if case.check == "unbroken" and re.search(f"[{_PAUSES}] *[^{_PAUSES} “”()]", said):
        return False
    return any(_bare(said) == _expected(case.language, text) for text in texts)


def _broken(case: Case, said: str) -> bool | None:
    """Does a mark stand where the second phrase begins after the first? None where the two are not said."""
    first, second = (_expected(case.language, words) for words in case.right.split(" | "))
    gap = f"[{re.escape(_PAUSES)}“”() ]*"
    plain = said.translate(str.maketrans("", "", "ˈˌ"))
    spaced = [gap.join(map(re.escape, words)) for words in (first, second)]
    found = re.search(f"{spaced[0]}({gap}){spaced[1]}", plain)
    return None if found is None else any(mark in _PAUSES for mark in found[1])
