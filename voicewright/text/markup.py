"""Inline markup: `[pause:1.5s]`, `[rate:1.1]`, `[voice:x]`, `[lang:fr]`; one parser, one pass.

A tag holds until its own closing tag (`[/rate]`, `[/voice]`, `[/lang]`) or the next tag of its kind; closing
goes back to what the call asked for. A wrong tag is reported with its place and not spoken. Inline phonemes
(`[word](/ipa/)`) and links (`[words](address)`) are the front end's and stay in the text.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

SLOWEST, FASTEST = 0.25, 4.0
"""The range of a rate, and of a rate times the speed of the call."""
LONGEST_PAUSE = 60.0
"""Seconds in one tag."""

_NAMES = "pause|rate|voice|lang"
# Every repetition is bounded, so that the time is linear in the text. What "(" follows is not a tag: it is
# the word of inline phonemes or of a link.
_TAG = re.compile(
    rf"\[[ ]?(?P<close>/?)(?:(?P<name>(?i:{_NAMES}))(?:[ ]?:(?P<value>[^\[\]\n]{{0,200}}))?\](?!\()"
    rf"|(?P<cut>(?i:{_NAMES}):[^\s\[\]]{{0,64}})(?![^\[\]\n]{{0,200}}\])"
    r"|(?P<other>[a-z]{2,16})(?::[0-9A-Za-z+.-][^\s\[\]]{0,63})\](?!\()"
    r"|(?<=/)(?P<closed>[a-z]{2,16})\](?!\())"
)
_MOST_PROBLEMS = 16
"""In one stretch, so that a text of nothing but wrong tags stays linear too."""
_PAUSE = re.compile(r"(\d{1,6}(?:\.\d{0,6})?|\.\d{1,6})\s?(ms|s)", re.IGNORECASE)
_NUMBER = re.compile(r"\d{1,3}(?:\.\d{0,6})?|\.\d{1,6}")


@dataclass(frozen=True)
class Problem:
    """A tag that could not be followed; `position` counts characters from 0, line and column from 1."""

    tag: str
    reason: str
    position: int
    line: int
    column: int

    def __str__(self) -> str:
        return f"Line {self.line}, column {self.column}: {self.tag} {self.reason}; the tag is left out."


@dataclass(frozen=True)
class Place:
    """Where a tag stands, so that who finds out later that it is wrong can say where."""

    tag: str
    position: int
    line: int
    column: int

    def problem(self, reason: str) -> Problem:
        return Problem(self.tag, reason, self.position, self.line, self.column)


@dataclass(frozen=True)
class Stretch:
    """Text without tags that is spoken in one manner: `text` is `written[start:start+len(text)]`."""

    text: str
    start: int
    language: str | None = None
    """The code that a tag gave; None is the call's own."""
    voice: str | None = None
    rate: float = 1.0
    """Times the speed of the call."""
    pause: float = 0.0
    """Seconds of silence asked for before this stretch; the last stretch may be only that."""
    language_at: Place | None = None
    voice_at: Place | None = None
    rate_at: Place | None = None
    problems: tuple[Problem, ...] = ()
    """Wrong tags between the stretch before and this one."""


def stretches(text: str) -> Iterator[Stretch]:
    """The stretches of a written text, one after the other, in linear time and without reading ahead.

    Together their texts are the written text less its tags. Empty ones only carry a pause or a problem.
    """
    state = Stretch("", 0)
    position = line = line_start = counted = 0
    for match in _TAG.finditer(text):
        if match.start() > position or len(state.problems) >= _MOST_PROBLEMS:
            yield replace(state, text=text[position : match.start()], start=position)
            state = replace(state, pause=0.0, problems=())
        position = match.end()
        newlines = text.count("\n", counted, match.start())
        if newlines:
            line += newlines
            line_start = text.rfind("\n", counted, match.start()) + 1
        counted = match.start()
        state = _followed(
            state, match, Place(match[0], match.start(), line + 1, match.start() - line_start + 1)
        )
    if position < len(text) or state.pause or state.problems:
        yield replace(state, text=text[position:], start=position)


def plain(text: str) -> Iterator[Stretch]:
    """The text as one stretch, for when markup is switched off."""
    yield Stretch(text, 0)


def _followed(state: Stretch, match: re.Match[str], at: Place) -> Stretch:
    """The state after a tag."""

    def wrong(reason: str) -> Stretch:
        return replace(state, problems=(*state.problems, at.problem(reason)))

    if match["cut"] is not None:
        return wrong("has no closing bracket")
    if match["name"] is None:
        return wrong(f"is unknown (tags are {', '.join(_NAMES.split('|'))})")
    name, value = match["name"].lower(), (match["value"] or "").strip()
    if match["close"]:
        return wrong("should hold no value") if match["value"] is not None else _closed(state, name, wrong)
    if not value:
        return wrong(f"lacks its value, as in {_EXAMPLES[name]}")
    if name == "pause":
        seconds = _seconds(value)
        if seconds is None:
            return wrong(f"is no pause of at most {LONGEST_PAUSE:g} s, as in {_EXAMPLES[name]}")
        return replace(state, pause=state.pause + seconds)
    if name == "rate":
        rate = float(value) if _NUMBER.fullmatch(value) else math.nan
        if not SLOWEST <= rate <= FASTEST:
            return wrong(f"is no rate from {SLOWEST} to {FASTEST:g}")
        return replace(state, rate=rate, rate_at=at)
    if name == "voice":
        return replace(state, voice=value, voice_at=at)
    return replace(state, language=value, language_at=at)


_EXAMPLES = {"pause": "[pause:1.5s]", "rate": "[rate:1.1]", "voice": "[voice:NAME]", "lang": "[lang:fr]"}


def _closed(state: Stretch, name: str, wrong: Callable[[str], Stretch]) -> Stretch:
    """The state after a closing tag."""
    is_open = {"rate": state.rate_at, "voice": state.voice_at, "lang": state.language_at}
    if name == "pause":
        return wrong("closes nothing: a pause has no end")
    if not is_open[name]:
        return wrong("closes nothing")
    if name == "rate":
        return replace(state, rate=1.0, rate_at=None)
    if name == "voice":
        return replace(state, voice=None, voice_at=None)
    return replace(state, language=None, language_at=None)


def _seconds(value: str) -> float | None:
    match = _PAUSE.fullmatch(value)
    if match is None:
        return None
    seconds = float(match[1]) * (0.001 if match[2].lower() == "ms" else 1.0)
    return seconds if seconds <= LONGEST_PAUSE else None
