"""Voices in words: a name, a file, a member of a file, or a mix of them.

    voice  = term { ("+" | "-") term } | term { "," term }
    term   = name [ "(" weight ")" ]
    name   = a voice's name, a file, file ":" member, or either in quotes

`af_bella(2)+af_sky(1)` is two thirds of one and one third of the other; `a,b` is their mean;
`a-b(0.3)` takes something of b away. Weights are divided by their total as Kokoro-FastAPI does it
(source: its `tts_service.py`): a weight that is subtracted counts in the total like any other, so
`a-b(0.3)` is (a − 0.3 b) / 1.3, whose shares sum to 0.54. `normalise="sum"` divides by the sum of the
shares instead (here 0.7), which keeps the level of the voices; `"none"` takes weights as they are (its
switch `voice_weight_normalization` off).

The sums are made in float32, in the order written, as there: the results are equal to the last bit. A
comma alone follows the `kokoro` package, whose mean adds first and divides then.

Strings never open files by themselves: a `Shelf` holds the names that are allowed, and looks at the file
system only where it was made with `paths=True` (the command line, whose user owns the machine). A name
from elsewhere, a request to a server say, is a key of a dictionary and nothing else.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Literal, NoReturn, TypeAlias

import numpy as np

from voicewright.errors import UsageError, VoicewrightError
from voicewright.voices.files import SUFFIXES, Arrays, pick, read_arrays
from voicewright.voices.pack import Voicepack

Normalise: TypeAlias = Literal["total", "sum", "none"]
Found: TypeAlias = tuple[str, Path, str | None]
"""A name, its file, and the member of that file."""
LONGEST = 2000
"""Characters in the words for a voice."""
MOST = 32
"""Voices in a mix."""
_OPERATORS = "+-,"
_FEW = 12
"""So many names are listed in an error as they are; of more, those like the one given."""
_LEAST = 1e-6
"""Shares whose sum is nearer to nothing than this leave no voice."""


@dataclass(frozen=True)
class Term:
    """One voice of a mix: what it was called, its file, its name in a file of several, its weight (> 0) and
    sign, and the character where it was written."""

    name: str
    path: Path
    member: str | None
    weight: float
    sign: int
    at: int


@dataclass(frozen=True)
class Mix:
    """What was asked for. `words` is the text as given; with `mean` the terms were joined by bare commas."""

    words: str
    terms: tuple[Term, ...]
    mean: bool = False
    normalise: Normalise = "total"

    @property
    def shares(self) -> tuple[float, ...]:
        """What each term is multiplied with. Raises UsageError when nothing would be left."""
        signed = [term.sign * term.weight for term in self.terms]
        if len(signed) == 1 and self.normalise != "none":
            return (1.0,)
        if self.normalise == "none":
            return tuple(signed)
        total = sum(term.weight for term in self.terms) if self.normalise == "total" else sum(signed)
        if abs(total) < _LEAST:
            raise UsageError(
                f"voice {self.words!r}: its weights sum to {total:g}, which cannot divide them; change one."
            )
        return tuple(share / total for share in signed)

    @property
    def name(self) -> str:
        """Short words for the mix, without folders: what speech made with it is labelled with."""
        parts = []
        for number, term in enumerate(self.terms):
            said = term.member or (term.path.stem if _is_path(term.name) else term.name)
            weight = "" if term.weight == 1 else f"({term.weight:g})"
            join = "" if number == 0 else "-" if term.sign < 0 else "," if self.mean else "+"
            parts.append(f"{join}{said}{weight}")
        return "".join(parts) if len(parts) > 1 else parts[0].split("(")[0]


@dataclass(frozen=True)
class Shelf:
    """The voices that words may name: `files` by name, `members` of files of several by name; with `paths`,
    files of the machine too. `owner` is what to call the shelf in an error."""

    files: Mapping[str, Path] = field(default_factory=dict)
    members: Mapping[str, tuple[Path, str]] = field(default_factory=dict)
    paths: bool = False
    owner: str = "the model"

    def find(self, words: str) -> Found | None:
        """What the words mean, or None. Looks only at what may be looked at."""
        if (path := self._path(words)) is not None:
            return words, path, None
        if words in self.members:
            return words, *self.members[words]
        name, colon, member = words.rpartition(":")
        if colon and name and member and (path := self._path(name)) is not None:
            return name, path, member
        return None

    def _path(self, name: str) -> Path | None:
        if name in self.files:
            return self.files[name]
        return Path(name) if self.paths and _is_path(name) and _is_file(name) else None

    def missing(self, words: str, where: str = "") -> VoicewrightError:
        """The error for words that name no voice, with what would; `where` goes before it."""
        name = words.rpartition(":")[0] or words
        if self.paths and _is_path(name):
            return VoicewrightError(f"{where}there is no voicepack at {name}.")
        return UsageError(f"{where}{self._what_there_is(words)}.")

    def _what_there_is(self, words: str) -> str:
        names = [*self.files, *self.members]
        if len(names) > _FEW and (close := get_close_matches(words, names, 3)):
            return f"{self.owner} has no voice {words!r}; did you mean {' or '.join(close)}"
        more = f" and {len(names) - 60} more" if len(names) > 60 else ""
        return f"{self.owner} has no voice {words!r}; it has {', '.join(names[:60]) or 'none'}{more}"


def _is_path(name: str) -> bool:
    return os.sep in name or "/" in name or Path(name).suffix.lower() in SUFFIXES


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # a name too long for a file, or with a null character
        return False


def parse(words: str, shelf: Shelf, normalise: Normalise = "total") -> Mix:
    """The mix that the words ask for. Nothing is read yet, names are looked up.

    Where a name itself has `+`, `-`, `,` or brackets in it, the longest one on the shelf is meant. Raises
    UsageError that names the character, VoicewrightError for a file that is not there.
    """
    if len(words) > LONGEST:
        raise UsageError(f"the words for a voice have {len(words)} characters; {LONGEST} are allowed.")
    reader = _Reader(words, shelf)
    terms = [reader.term(1)]
    operators: list[str] = []
    while (operator := reader.operator()) is not None:
        if operators and (operator == ",") != (operators[0] == ","):
            reader.fail(reader.at - 1, "commas and + or - cannot stand in one mix; use + for all")
        if len(terms) == MOST:
            reader.fail(reader.at - 1, f"a mix has at most {MOST} voices")
        operators.append(operator)
        terms.append(reader.term(-1 if operator == "-" else 1))
    weighted = any(term.weight != 1 for term in terms)
    mix = Mix(words, tuple(terms), bool(operators) and operators[0] == "," and not weighted, normalise)
    _ = mix.shares
    return mix


class _Reader:
    """Goes through the words from left to right; `at` is the next character."""

    def __init__(self, words: str, shelf: Shelf) -> None:
        self.words, self.shelf, self.at = words, shelf, 0

    def where(self, at: int) -> str:
        shown = repr(self.words[at]) if at < len(self.words) else "the end"
        words = self.words
        if len(words) > 80:
            words = f"{'…' * (at > 40)}{words[max(at - 40, 0) : at + 40]}{'…' * (at + 40 < len(words))}"
        return f"voice {words!r}, character {at + 1} ({shown}): "

    def fail(self, at: int, why: str) -> NoReturn:
        raise UsageError(f"{self.where(at)}{why}.")

    def blanks(self) -> None:
        while self.at < len(self.words) and self.words[self.at].isspace():
            self.at += 1

    def operator(self) -> str | None:
        self.blanks()
        if self.at == len(self.words):
            return None
        found = self.words[self.at]
        if found not in _OPERATORS:
            self.fail(self.at, "a voice is followed by +, -, a comma or the end")
        self.at += 1
        return found

    def term(self, sign: int) -> Term:
        self.blanks()
        begin = self.at
        found = self.quoted() if self.words[begin : begin + 1] in ("'", '"') else self.bare()
        return Term(*found, self.weight(), sign, begin)

    def quoted(self) -> Found:
        begin = self.at
        end = self.words.find(self.words[begin], begin + 1)
        if end < 0:
            self.fail(begin, "this quote is never closed")
        self.at = end + 1
        return self.known(self.words[begin + 1 : end], begin)

    def bare(self) -> Found:
        """The longest stretch that ends at an operator, a bracket or the end, and is known.

        A member with such a character in its name needs quotes: whether a file has it is not known here.
        """
        begin = self.at
        stops = [i for i in range(begin, len(self.words)) if self.words[i] in _OPERATORS + "("]
        for end in [len(self.words), *reversed(stops)]:
            name = self.words[begin:end].strip()
            found = self.shelf.find(name) if name else None
            if found is not None and not (found[2] and set(found[2]) & set(_OPERATORS + "(")):
                self.at = end
                return found
        self.at = stops[0] if stops else len(self.words)
        return self.known(self.words[begin : self.at].strip(), begin)

    def known(self, name: str, begin: int) -> Found:
        if not name:
            self.fail(begin, "a voice's name is missing here")
        found = self.shelf.find(name)
        if found is None:
            raise self.shelf.missing(name, "" if name == self.words.strip() else self.where(begin))
        return found

    def weight(self) -> float:
        self.blanks()
        if self.words[self.at : self.at + 1] != "(":
            return 1.0
        begin = self.at + 1
        end = self.words.find(")", begin)
        if end < 0:
            self.fail(self.at, "this bracket is never closed")
        written = self.words[begin:end].strip()
        try:
            value = float(written)
        except ValueError:
            value = math.nan
        if not math.isfinite(value) or not 0 < value <= 1e6 or "_" in written:
            self.fail(begin, f"a weight is a number above 0, as in (0.5), not {written!r}; subtract with -")
        self.at = end + 1
        return value


def blend(packs: Sequence[Voicepack], shares: Sequence[float]) -> Voicepack:
    """The sum of packs times their shares, in float32 and in this order.

    Raises VoicewrightError when nothing is left of them.
    """
    # A Python float times a float32 array is float32 in NumPy and in torch alike.
    rows = packs[0].rows * shares[0]
    for pack, share in zip(packs[1:], shares[1:], strict=True):
        rows = rows + pack.rows * share if share > 0 else rows - pack.rows * -share
    return _checked(rows)


def mean(packs: Sequence[Voicepack]) -> Voicepack:
    """The mean of packs, added in order and then divided, in float32: `"a,b"` of the `kokoro` package."""
    rows = packs[0].rows
    for pack in packs[1:]:
        rows = rows + pack.rows
    return _checked(rows / np.float32(len(packs)))


def _checked(rows: np.ndarray) -> Voicepack:
    if float(np.abs(rows).max()) < _LEAST:
        raise VoicewrightError("the voices of this mix cancel each other out; nothing is left to speak with.")
    return Voicepack(rows)


def read_mix(mix: Mix, check: Callable[[Term, Voicepack], None] = lambda term, pack: None) -> Voicepack:
    """The pack that a mix asks for; every file is read once. `check` may raise for a term's own pack.

    Raises VoicewrightError as `Voicepack.read`.
    """
    files: dict[Path, Arrays] = {}
    packs = []
    for term in mix.terms:
        if term.path not in files:
            files[term.path] = read_arrays(term.path)
        name, values = pick(files[term.path], term.path, term.member)
        packs.append(Voicepack.of(values, str(term.path) if term.member is None else f"{term.path}:{name}"))
        check(term, packs[-1])
    if len(packs) == 1 and mix.shares == (1.0,):
        return packs[0]
    if mix.mean and mix.normalise != "none":
        return mean(packs)
    return blend(packs, mix.shares)
