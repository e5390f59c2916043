"""What the lines of a text are: headings, items of lists, check boxes, words broken at a line's end.

A line's end is a blank, as in text wrapped at a fixed width, unless one of its two lines shows that it is a
line of its own; then it is a paragraph's end. Nothing here depends on how a language is read.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from voicewright.text.broken import mended
from voicewright.text.english import numbers
from voicewright.text.headings import AROUND, LONGEST_TITLE, Headings, headings, title_case
from voicewright.text.source import Edit, Source

_END = re.compile(r"\r\n|[\n\r\x0b\x0c\x85\u2028\u2029]")
_BLANK = " \t\u00a0\u2007\u202f\u3000"
_FINAL = frozenset(".!?:;…。！？：；।॥")
_CLOSERS = "\"'”’»)]*_›」』" + _BLANK
_STARTS = re.compile(r"[^\w\s\"'“‘«¿¡]|\d|[^\W\d_]{1,7}[.)\]:]|第")
"""How a text of one line begins where it may be an item or a heading."""
_MARKER = re.compile(
    rf"""
  (?P<bullet>[-–—*+·○◦▪■□‣•●⁃→➤►▶⇒➢✦◆◇](?=[{_BLANK}]|\[[ xX]\])|[•‣▪●◦⁃](?=\w))
| (?P<sharp>\#{{1,6}}(?=[{_BLANK}]+(?!of\b)\S))
| (?P<sign>[①-⓿❶-➓](?=[{_BLANK}]*[^\W\d_]))
| (?P<open>[(\[]?)(?P<value>\d{{1,3}}|[A-Za-z]{{1,7}}|[^\W\d_])
    (?P<close>\.\)|[.)\]:](?=[{_BLANK}])|[-/](?=[{_BLANK}])(?<=\d.)
    |[.)](?<=\d.)(?=[^\W\d_])|\)(?=[^\W\d_]))
    (?![{_BLANK}]*$)
| (?P<deep>\d{{1,3}}(?:\.\d{{1,3}}){{1,4}}\.?(?=[{_BLANK}]+[^\W\d_]))
| (?P<bare>(?:\d{{1,3}}|[A-Z](?=[{_BLANK}]+[-–—][{_BLANK}]))
    (?P<dash>[{_BLANK}]+[-–—])?(?=[{_BLANK}]+[^\W\d_]))
""",
    re.VERBOSE,
)
_BOX = re.compile(r"(?:\[[ ]?[ xX✓✔✗✘*/~-]?[ ]?\]|\( \)|[☐☑☒✅❌❎✓✔✗✘⬜⬛🗹🗷])\ufe0f?(?![(\[])")
_QUOTED = re.compile(rf"(?:>[{_BLANK}]?){{1,8}}(?![{_BLANK}]*[\d=<>]|$)")
_RULE = re.compile(rf"([-*_=~#•·+◆◇■□●○★☆❦❧✽])(?:[{_BLANK}]{{0,4}}\1){{2,2000}}|[⁂❦❧✽]")
_FAR = 12
"""Lines between items that still belong together."""
_NARROW = 40
"""Characters of a line that no page's width ended."""


@dataclass(slots=True)
class _Line:
    """One line; places are those in the text."""

    start: int
    """Of its first character that is no blank."""
    stop: int
    """After its last one."""
    end: int
    """Of its line end."""
    text: str
    indent: int
    edits: list[Edit] = field(default_factory=list)
    own: bool = False
    """It is a line of its own."""
    style: str = ""
    """Of its marker."""
    value: int = 0
    marker: re.Match[str] | None = None
    boxed: bool = False


def lined(source: Source, language: str, known: Callable[[str], bool] | None) -> Source:
    """The text with a blank line around every line of its own, broken words joined and markers made readable.

    `known`: is a word in the language's lexicon? None where it has none. Linear in the text.
    """
    text = source.text
    ends = list(_END.finditer(text))
    if not ends and "\u00ad" not in text and _STARTS.match(text.lstrip(_BLANK)) is None:
        return source
    mends = mended(text, language, known)
    joined = {start for start, _, _ in mends}
    lines = _cut(text, ends)
    _Marks(lines, headings(language), language.startswith("en")).find()
    edits = [*mends, *(edit for line in lines for edit in line.edits)]
    for before, line, end in zip(lines, lines[1:], ends, strict=False):
        if before.text and line.text and _parts(before, line) and before.stop - 1 not in joined:
            edits.append((end.start(), end.end(), "\n\n"))
        elif line.marker is not None and not line.own and line.marker["bullet"]:
            # A dash within a sentence, that a page's width brought to a line's start.
            edits.append((end.start(), line.start, " "))
    return source.edited(_apart(edits))


def _apart(edits: Sequence[Edit]) -> list[Edit]:
    """In order, without those that overlap the one before."""
    kept: list[Edit] = []
    for edit in sorted(edits):
        if not kept or edit[0] >= kept[-1][1]:
            kept.append(edit)
    return kept


def _parts(before: _Line, line: _Line) -> bool:
    """Is the line end between them a paragraph's end?"""
    if line.own:
        return True
    if not before.own or (before.style and line.indent > before.indent):
        return False
    if not before.style:
        return True
    # An item may go on: in small letters, or where the page's width ended its line.
    return not line.text[0].islower() and len(before.text) < _NARROW


def _cut(text: str, ends: Sequence[re.Match[str]]) -> list[_Line]:
    lines: list[_Line] = []
    begin = 0
    for stop, after in [*((end.start(), end.end()) for end in ends), (len(text), len(text))]:
        whole = text[begin:stop]
        bare = whole.strip(_BLANK)
        indent = len(whole) - len(whole.lstrip(_BLANK)) if bare else len(whole)
        line = _Line(begin + indent, begin + indent + len(bare), stop, bare, indent)
        if quoted := _QUOTED.match(bare):
            line.edits.append((line.start, line.start + quoted.end(), ""))
            line.start += quoted.end()
            line.text = bare[quoted.end() :]
        lines.append(line)
        begin = after
    return lines


class _Marks:
    """Finds the lines of their own, one after the other, each with its neighbours in view."""

    def __init__(self, lines: Sequence[_Line], headings: Headings, english: bool) -> None:
        self.lines = lines
        self.headings = headings
        self.english = english
        """Elsewhere a capital with a point is as often a title ("M. Dupont", "S. 12")."""
        self.values: dict[str, list[tuple[int, int]]] = {}
        """Style of marker → index and value of its lines."""
        self.places: dict[int, int] = {}
        """Index of a line → its place among those of its style."""

    def find(self) -> None:
        for index, line in enumerate(self.lines):
            if line.text:
                self._mark(index, line)
        for index, line in enumerate(self.lines):
            if line.text and not line.own:
                line.own = self._rule(index) or self._item(index) or self._heading(index)

    def _mark(self, index: int, line: _Line) -> None:
        """What a line may be an item by."""
        text, at = line.text, line.start
        marker = _MARKER.match(text) if _BOX.match(text) is None else None
        after = marker.end() if marker is not None and not marker["sharp"] else 0
        rest = text[after:].lstrip(_BLANK)
        box = _BOX.match(rest)
        if box and (after or rest[box.end() : box.end() + 1] in tuple(_BLANK)):
            line.boxed = True
            begin = at + len(text) - len(rest)
            line.edits.append((begin, begin + box.end(), ""))
        if marker is None:
            return
        value = marker["value"] or ""
        if len(value) > 1 and not value.isdecimal() and not numbers.roman(value):
            return
        line.marker = marker
        if marker["bullet"]:
            line.style = marker["bullet"]
        elif marker["deep"]:
            line.style = "deep"
        elif marker["sign"]:
            line.style, line.value = "sign", int(unicodedata.numeric(marker["sign"], 0))
        elif marker["bare"]:
            first = marker["bare"].split()[0].rstrip("-–—")
            line.style = "-" if marker["dash"] else "bare"
            line.value = int(first) if first.isdecimal() else ord(first)
        elif value:
            kind = "1" if value.isdecimal() else "a" if value.islower() else "A"
            line.style = f"{marker['open']}{kind}{marker['close']}"
            line.value = int(value) if value.isdecimal() else ord(value) if len(value) == 1 else 0
        found = self.values.setdefault(line.style, [])
        self.places[index] = len(found)
        found.append((index, line.value))

    # Neighbours

    def _complete(self, index: int) -> bool:
        """Does nothing run into this line?"""
        before = self.lines[index - 1] if index else None
        if before is None or not before.text or before.own:
            return True
        return before.text.rstrip(_CLOSERS)[-1:] in _FINAL

    def _next(self, index: int) -> str:
        """The next line, which may be empty."""
        return self.lines[index + 1].text if index + 1 < len(self.lines) else ""

    def _siblings(self, index: int, numeral: Callable[[_Line], int]) -> bool:
        """Does an item of the same style come just before or after, with the neighbouring number?"""
        line = self.lines[index]
        place = self.places[index]
        own = numeral(line)
        for step in (-1, 1):
            at = place + step
            if 0 <= at < len(self.values[line.style]):
                other = self.values[line.style][at][0]
                if abs(other - index) <= _FAR and own and numeral(self.lines[other]) == own + step:
                    return True
        return False

    def _alike(self, index: int) -> bool:
        """Does an item of the same style stand just before or after?"""
        near = (self.lines[at] for at in (index - 1, index + 1) if 0 <= at < len(self.lines))
        return any(line.style == self.lines[index].style for line in near)

    # Kinds

    def _rule(self, index: int) -> bool:
        """A ruler or the line under a heading: silent."""
        line = self.lines[index]
        if _RULE.fullmatch(line.text) is None:
            return False
        line.edits = [(line.start, line.stop, "")]
        return True

    def _item(self, index: int) -> bool:
        line = self.lines[index]
        marker = line.marker
        if marker is None:
            return line.boxed
        if marker["sharp"]:
            return self._sharp(line, marker)
        if marker["bullet"]:
            return self._bullet(index, line, marker)
        if marker["deep"]:
            return self._complete(index) and not self._sentence(line)
        if marker["sign"]:
            return self._complete(index) or self._siblings(index, lambda line: line.value)
        if marker["bare"]:
            capital = line.text[marker.end() :].lstrip(_BLANK)[:1].isupper()
            return capital and self._siblings(index, lambda line: line.value)
        return self._counted(index, line, marker)

    def _sharp(self, line: _Line, marker: re.Match[str]) -> bool:
        line.edits.append((line.start, line.start + marker.end(), ""))
        line.style = ""
        shut = len(line.text.rstrip("#"))
        if line.text[shut - 1] in _BLANK:
            line.edits.append((line.start + shut, line.stop, ""))
        return True

    def _bullet(self, index: int, line: _Line, marker: re.Match[str]) -> bool:
        before = self.lines[index - 1].text if index else ""
        dash = marker[0] in "-–—+"
        if not (
            line.boxed
            or self._alike(index)
            or (self._complete(index) and marker[0] != "+")
            or (len(before) < _NARROW and marker[0] != "+")
            or not dash
        ):
            return False
        line.edits.insert(0, (line.start, line.start + marker.end(), ""))
        return True

    def _counted(self, index: int, line: _Line, marker: re.Match[str]) -> bool:
        """A number, letter or numeral with its point or bracket."""
        value, close = marker["value"], marker["close"]
        complete = self._complete(index)
        if value.isdecimal():
            listed = self._siblings(index, lambda line: line.value)
            return listed or (complete and close not in ":-/")
        lettered = len(value) == 1 and self._siblings(index, _letter)
        numbered = self._siblings(index, _numeral)
        alone = complete and (close in (")", ".)") or (close == "." and self._stands(index, line, marker)))
        small = (
            numbers.roman(value) and set(value.upper()) <= set("IVX") and (len(value) > 1 or value in "Ii")
        )
        if numbered or (alone and small and not lettered):
            self._say(line, marker, str(numbers.roman(value)), close)
        elif lettered or (alone and len(value) == 1 and (close != "." or self.english)):
            self._say(line, marker, value.upper(), "" if close == ":" else ",")
        else:
            return False
        return True

    def _stands(self, index: int, line: _Line, marker: re.Match[str]) -> bool:
        """Is a letter with its point at a line's start a marker by itself, rather than an initial?"""
        value, rest = marker["value"], line.text[marker.end() :].lstrip(_BLANK)
        numeral = numbers.roman(value) and set(value) <= set("IVX")
        if not value.isupper() or rest[1:2] == "." or self._sentence(line):
            return False
        return title_case(rest) and bool(numeral or self._next(index))

    def _say(self, line: _Line, marker: re.Match[str], said: str, close: str) -> None:
        """The marker as every language reads it; a letter is one by itself before a comma."""
        if close == ",":
            line.edits.append((line.start, line.start + marker.start("value"), ""))
            line.edits.append((line.start + marker.start("close"), line.start + marker.end(), ", "))
        line.edits.append((line.start + marker.start("value"), line.start + marker.end("value"), said))

    def _sentence(self, line: _Line) -> bool:
        return len(line.text) > LONGEST_TITLE or line.text.rstrip(_CLOSERS)[-1:] in ".!?,;"

    def _heading(self, index: int) -> bool:
        line = self.lines[index]
        if len(line.text) > 2 * LONGEST_TITLE:
            return False
        if not self._complete(index) and not self._continues(index):
            return False
        kind = self.headings.kind(line.text)
        core = line.text.strip(AROUND)
        following = self._next(index)
        if not kind or (len(self.lines) == 1 and kind in ("number", "numeral", "capitals")):
            return False
        small = following[:1].islower()
        if kind == "capitals":
            line.style = ""
            return not small and following.upper() != following and not self._sentence(line)
        if small and kind != "number":
            return False
        if kind == "numeral":
            at = line.start + line.text.index(core)
            line.edits.append((at, at + len(core), str(numbers.roman(core))))
        if kind in ("number", "numeral", "counting") and self._is_title(index + 1):
            self.lines[index + 1].own = True
        line.style = ""
        return True

    def _continues(self, index: int) -> bool:
        """Is this the next one of headings with a word and a number ("Step 2")?"""
        first = self.lines[index].text.strip(AROUND).split(maxsplit=1)[:1]
        if not first or not self.headings.is_counting(first[0]):
            return False
        return any(
            line.own and line.text.strip(AROUND).split(maxsplit=1)[:1] == first
            for line in self.lines[max(0, index - _FAR) : index]
            if line.text
        )

    def _is_title(self, index: int) -> bool:
        """Is this line, right behind a number, the title to it?"""
        if index + 1 >= len(self.lines):
            return False
        line, following = self.lines[index], self.lines[index + 1].text
        if not line.text or not following or following[0].islower() or line.text[0].islower():
            return False
        return not self._sentence(line) and (title_case(line.text) or len(line.text) < len(following) // 2)


def _letter(line: _Line) -> int:
    marker = line.marker
    return ord(marker["value"]) if marker is not None and len(marker["value"] or "") == 1 else 0


def _numeral(line: _Line) -> int:
    return numbers.roman(line.marker["value"] or "") if line.marker is not None else 0
