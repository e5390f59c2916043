"""A text in parts that are synthesised in one go: markup followed, nothing read further ahead than needed."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from voicewright.errors import VoicewrightError
from voicewright.text import markup as tags
from voicewright.text.frontend import Frontend, Tokens, Word
from voicewright.text.hypertext import silent_end

COMFORT = 200
"""Tokens in a part: beyond a few hundred, Kokoro-class models hurry."""
EARLY = 40
"""Tokens in the first part of a stream, so that sound comes soon: about a sentence or a clause."""
_SECOND = 100
"""Tokens in the parts right after it: they are made while the first one is heard."""
_BLOCK = 1000
"""Characters read by the front end at a time, at least: a book need not be read to be begun."""
_FIRST = 150
"""The same for the first block of a stream."""
_PATIENCE = 2000
"""Characters without a word after which a part no longer waits to know whether it is the last one."""
_LONGEST_SILENT = 100_000
"""Characters of a comment, script or style that are read with the text before it."""
_MOST_UNKNOWN = 9
_SENTENCE_MARKS = ".!?…"
_BLANK = re.compile(r"\n[^\S\n]*\n\s*")
_SENTENCE = re.compile(r"(?<=[^\W\d_]{4}[.!?…])[\"'”’)]{0,3}\s+(?=\S)|(?<=[。！？।॥])\s*")
_LINE_END = re.compile(r"(?<=\S)\n\s*(?=\S)")
_SPACE = re.compile(r"(?<=\S)\s+(?=\S)|(?<=[、，；])")


@dataclass(frozen=True)
class Part:
    """What is synthesised in one go, and how it begins and ends."""

    tokens: Tokens
    place: int
    """Where `tokens.text` begins in the written text."""
    voice: str | None
    """The voice that a tag asks for; None is the call's own."""
    rate: float
    paragraph: bool
    last: bool
    before: float
    """Seconds of silence that a tag asks for before it, that no part before it has."""
    pause: float | None
    """Seconds of silence that a tag asks for after it; None is a natural pause."""
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Rest:
    """The text's end, where nothing could be spoken after the last part, or at all."""

    unknown: tuple[str, ...]
    warnings: tuple[str, ...]
    pause: float
    """Seconds of silence that a tag asks for."""


@dataclass(frozen=True)
class _Item:
    """Tokens on their way into a part."""

    tokens: Tokens
    place: int
    voice: str | None
    rate: float
    paragraph: bool = False
    """A blank line follows."""
    joins: bool = False
    """Nothing but tags and spaces stand between it and the item before."""
    fresh: bool = False
    """There is a blank line between it and the item before."""
    spaced: bool = False
    """There is a space between it and the item before."""
    pause: float = 0.0
    """Seconds of silence that a tag asks for before it."""
    warnings: tuple[str, ...] = ()


@dataclass
class _Loose:
    """What belongs to the next item that can be spoken, or to the last one."""

    pause: float = 0.0
    warnings: list[str] = field(default_factory=list)


def parts(
    text: str,
    frontend: Callable[[str | None, str | None], Frontend],
    check_voice: Callable[[str], object],
    early: bool = False,
    markup: bool = True,
) -> Iterator[Part | Rest]:
    """The text in parts of a comfortable length, one ahead so that each knows whether it is the last.

    `frontend(language, voice)` gives the front end for what tags ask for (None where they ask for nothing),
    `check_voice(voice)` raises VoicewrightError for a voice that there is not; a tag that either refuses is
    reported and left out. `early`: begin with a short part. A text that ends in nothing
    that can be spoken (or holds nothing else) may end in a `Rest`.
    """
    held: _Item | None = None
    loose = _Loose()
    unknown: dict[str, None] = {}
    before = 0.0
    for item in _items(text, frontend, check_voice, early, markup):
        if not item.tokens.words:
            loose.pause += item.pause
            loose.warnings += item.warnings
            unknown |= dict.fromkeys(item.tokens.unknown) if len(unknown) < _MOST_UNKNOWN else {}
            if held is not None and item.place - held.place > _PATIENCE:
                # Long nothing: what there is to say is not kept waiting for it.
                yield _part(held, before, loose.pause, last=False)
                held, loose.pause = None, 0.0
            continue
        pause = loose.pause + item.pause
        item = replace(item, pause=pause, warnings=(*loose.warnings, *item.warnings))
        loose = _Loose()
        if held is None:
            before = pause
        else:
            if item.fresh:
                held = replace(held, paragraph=True)
            elif (joined := _joined(held, item)) is not None:
                held = joined
                continue
            yield _part(held, before, pause, last=False)
            before = 0.0
        held = item
    if held is None:
        yield Rest(tuple(unknown), tuple(loose.warnings), loose.pause)
    else:
        held = replace(held, warnings=(*held.warnings, *loose.warnings))
        yield _part(held, before, loose.pause, last=True)


def _part(item: _Item, before: float, after: float, last: bool) -> Part:
    return Part(
        item.tokens,
        item.place,
        item.voice,
        item.rate,
        item.paragraph,
        last,
        before,
        after or None,
        item.warnings,
    )


def _joined(a: _Item, b: _Item) -> _Item | None:
    """One item of two that only a tag of language (or a wrong tag) parts; None where a cut is natural."""
    if not b.joins or b.pause or (a.voice, a.rate) != (b.voice, b.rate):
        return None
    phonemes = a.tokens.phonemes
    if phonemes.rstrip('"”)')[-1:] in _SENTENCE_MARKS or len(phonemes) + len(b.tokens.ids) >= COMFORT:
        return None
    space = " " if b.spaced else ""
    blank = (id_of_space,) if b.spaced and (id_of_space := _space_id(a.tokens, b.tokens)) is not None else ()
    shift = len(phonemes) + len(blank)
    tokens = Tokens(
        a.tokens.text + space + b.tokens.text,
        phonemes + " " * len(blank) + b.tokens.phonemes,
        a.tokens.ids + blank + b.tokens.ids,
        a.tokens.words
        + tuple(Word(word.text, word.start + shift, word.stop + shift) for word in b.tokens.words),
        tuple(dict.fromkeys(a.tokens.unknown + b.tokens.unknown)),
    )
    return replace(a, tokens=tokens, paragraph=b.paragraph, warnings=a.warnings + b.warnings)


def _space_id(*tokens: Tokens) -> int | None:
    for some in tokens:
        if " " in some.phonemes:
            return some.ids[some.phonemes.index(" ")]
    return None


def _items(
    text: str,
    frontend: Callable[[str | None, str | None], Frontend],
    check_voice: Callable[[str], object],
    early: bool,
    markup: bool,
) -> Iterator[_Item]:
    """Items in order; those without words carry pauses, warnings and unknown symbols only."""
    before = ""
    lines = _Lines(text)
    for stretch in tags.stretches(text) if markup else tags.plain(text):
        stretch, reader = _resolved(stretch, frontend, check_voice)
        nothing = Tokens("", "", (), (), ())
        problems = tuple(map(str, stretch.problems))
        blank = _Item(
            nothing, stretch.start, stretch.voice, stretch.rate, pause=stretch.pause, warnings=problems
        )
        if stretch.pause or problems:
            yield blank
        begins = True
        for tokens, place, paragraph in _read(stretch.text, reader, early):
            warnings = _unknown_warning(tokens)
            for fault in tokens.faults:
                warnings += (f"{lines.place(stretch.start + place + fault.place)}: {fault}.",)
            between = before[-100:] + stretch.text[:place] if begins else ""
            yield replace(
                blank,
                tokens=tokens,
                place=stretch.start + place,
                paragraph=paragraph,
                joins=begins,
                fresh=bool(_BLANK.search(between)),
                spaced=between[-1:].isspace(),
                pause=0.0,
                warnings=warnings,
            )
            if tokens.words:
                begins = early = False
                before = ""
        # What stands behind the last word of a stretch, and before the first one of the next.
        before += stretch.text if begins else stretch.text[len(stretch.text.rstrip()) :]


class _Lines:
    """Where characters of a text stand, for those who look them up in order: nothing is counted twice."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._counted = self._line = 0

    def place(self, at: int) -> str:
        at = min(max(at, 0), len(self._text))
        if at < self._counted:
            self._counted = self._line = 0
        self._line += self._text.count("\n", self._counted, at)
        self._counted = at
        return f"Line {self._line + 1}, column {at - self._text.rfind(chr(10), 0, at)}"


def _resolved(
    stretch: tags.Stretch,
    frontend: Callable[[str | None, str | None], Frontend],
    check_voice: Callable[[str], object],
) -> tuple[tags.Stretch, Frontend]:
    """The stretch less the voice and the language that there are not, and its front end."""
    problems = list(stretch.problems)
    if stretch.voice is not None and stretch.voice_at is not None:
        try:
            check_voice(stretch.voice)
        except VoicewrightError as error:
            problems.append(stretch.voice_at.problem(f"cannot be followed ({str(error).rstrip('.')})"))
            stretch = replace(stretch, voice=None)
    try:
        reader = frontend(stretch.language, stretch.voice)
    except VoicewrightError as error:
        at = stretch.language_at or stretch.voice_at
        if at is None:
            raise
        # Either the language of a tag, or the own language of a tag's voice.
        problems.append(at.problem(f"cannot be followed ({str(error).rstrip('.')})"))
        voice = None if stretch.language_at is None else stretch.voice
        stretch = replace(stretch, language=None, voice=voice)
        reader = frontend(None, voice)
    return replace(stretch, problems=tuple(problems)), reader


def _unknown_warning(tokens: Tokens) -> tuple[str, ...]:
    if not tokens.unknown:
        return ()
    shown = " ".join(tokens.unknown[:_MOST_UNKNOWN]) + (" …" if len(tokens.unknown) > _MOST_UNKNOWN else "")
    return (f"No reading is known for {shown}: left out of {tokens.text.strip()[:40]!r}.",)


def _read(text: str, frontend: Frontend, early: bool) -> Iterator[tuple[Tokens, int, bool]]:
    """Chunks of a text without markup: tokens, where they begin in it, whether a paragraph ends with them."""
    for start, stop, blank in blocks(text, _FIRST if early else _BLOCK):
        block = text[start:stop]
        chunks = [chunk for chunk in frontend.chunks(block, COMFORT) if chunk.ids or chunk.unknown]
        if early and chunks:
            chunks[:1] = _early(chunks[0], frontend)
            early = not any(chunk.words for chunk in chunks)
        position = 0
        for number, chunk in enumerate(chunks):
            found = block.find(chunk.text, position)
            place = found if found >= 0 else position
            position = place + len(chunk.text) if found >= 0 else position
            follows = number < len(chunks) - 1
            ends = chunk.paragraph or bool(_BLANK.match(block, _past_spaces(block, position)))
            yield chunk, start + place, ends or (blank and not follows)


def _past_spaces(text: str, at: int) -> int:
    while at < len(text) and text[at] in " \t\r":
        at += 1
    return at


def _early(chunk: Tokens, frontend: Frontend) -> list[Tokens]:
    """A long first chunk as a short one, and the rest in parts of middling length."""
    if len(chunk.ids) <= 1.5 * EARLY:
        return [chunk]
    head = frontend.chunks(chunk.text, EARLY)[0]
    at = chunk.text.find(head.text)
    rest = chunk.text[at + len(head.text) :] if at >= 0 else ""
    if not head.words or not rest.strip():
        return [chunk]
    others = frontend.chunks(rest, _SECOND)
    return [head, *others[:-1], *(replace(last, paragraph=chunk.paragraph) for last in others[-1:])]


def blocks(text: str, first: int = _BLOCK) -> Iterator[tuple[int, int, bool]]:
    """Stretches [start, stop) of a text, and whether each ends a paragraph before another; lazily, linear.

    Cut at blank lines from `first` (then 1000) characters on; inside an endless paragraph at ends of
    sentences that are no abbreviations, four times as far; else between words, else anywhere.
    """
    start, least = 0, first
    while start < len(text):
        stop, following, blank = _cut(text, start, least)
        # A comment or a style is one silent stretch, blank lines in it or not.
        if (beyond := silent_end(text, start, stop, _LONGEST_SILENT)) > stop:
            stop, following, blank = beyond, beyond, False
        yield start, stop, blank
        start, least = following, _BLOCK


def _cut(text: str, start: int, least: int) -> tuple[int, int, bool]:
    """End of the block that begins at `start`, begin of the next one, and whether a blank line parts them."""
    far = start + 4 * least
    for match in _BLANK.finditer(text, start + least, min(len(text), far + least)):
        if match.end() < len(text):
            return match.start(), match.end(), True
    sentence = start + (least if least < _BLOCK else 4 * least)
    for match in _SENTENCE.finditer(text, sentence, min(len(text), start + 8 * least)):
        if match.end() < len(text) and not text[match.end()].islower():
            return match.end(), match.end(), False
    if len(text) - start <= 16 * least:
        return len(text), len(text), False
    near = start + 8 * least, start + 16 * least
    found = _LINE_END.search(text, *near) or _SPACE.search(text, *near)
    if found is not None:
        return found.end(), found.end(), False
    at = start + 16 * least
    while at < len(text) and unicodedata.combining(text[at]):
        at += 1
    return at, at, False
