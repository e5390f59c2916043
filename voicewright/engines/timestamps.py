"""Times of words as JSON, SubRip (.srt) or WebVTT (.vtt)."""

from __future__ import annotations

import json
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from voicewright.engines.protocol import Chunk, Speech, TokenTime, WordTime
from voicewright.errors import UsageError
from voicewright.text.hypertext import unmarked
from voicewright.text.source import Source

FORMATS = (".json", ".srt", ".vtt")
LONGEST_LINE = 42
LONGEST_CUE = 3.0
"""Seconds."""
_SENTENCE_END = ".!?…。！？"
_CARRIED = 3
"""Words at most that go into the next caption with what they belong to, such as "J. R. R."."""
_NEAR = 1e-4
"""Seconds within which two times are the same."""


@dataclass(frozen=True)
class Cue:
    """A caption: text as written, seconds."""

    text: str
    start: float
    end: float


def check_format(path: Path) -> None:
    """Raises UsageError unless the suffix is one that `render` knows."""
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"{path}: timestamps are written as {', '.join(FORMATS)}; choose one of these.")


def render(speech: Speech, suffix: str) -> str:
    """The text of a timestamps file for `.json`, `.srt` or `.vtt`."""
    rows = Rows(suffix, speech.sample_rate)
    return rows.begin() + "".join(map(rows.chunk, speech.chunks)) + rows.end(speech.seconds)


class Rows:
    """The text of a timestamps file in the order in which it can be written while the speech is being made.

    `begin`, then `chunk` for every chunk, then `end`. Raises UsageError for a suffix of another format.
    """

    def __init__(self, suffix: str, sample_rate: int) -> None:
        self._suffix = suffix.lower()
        if self._suffix not in FORMATS:
            raise UsageError(f"timestamps are written as {', '.join(FORMATS)}, not {suffix!r}.")
        self._rate = sample_rate
        self._count = 0

    def begin(self) -> str:
        if self._suffix == ".json":
            return f'{{\n"sample_rate": {self._rate},\n"chunks": ['
        return "WEBVTT\n\n" if self._suffix == ".vtt" else ""

    def chunk(self, chunk: Chunk) -> str:
        if self._suffix == ".json":
            self._count += 1
            comma = "," if self._count > 1 else ""
            return f"{comma}\n{json.dumps(chunk_dict(chunk), ensure_ascii=False)}"
        return "".join(map(self._cue, cues([chunk])))

    def end(self, seconds: float) -> str:
        return f'\n],\n"audio_seconds": {round(seconds, 4)}\n}}\n' if self._suffix == ".json" else ""

    def _cue(self, cue: Cue) -> str:
        self._count += 1
        if self._suffix == ".srt":
            return f"{self._count}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{cue.text}\n\n"
        # In WebVTT text, & and < begin markup.
        text = cue.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        return f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{text}\n\n"


def chunk_dict(chunk: Chunk) -> dict[str, object]:
    """One chunk for JSON."""

    def times(items: Iterable[TokenTime | WordTime]) -> list[dict[str, object]]:
        return [
            {
                key: round(value, 4) if isinstance(value, float) else value
                for key, value in asdict(item).items()
            }
            for item in items
        ]

    return {
        "text": chunk.text,
        "place": chunk.place,
        "voice": chunk.voice,
        "phonemes": chunk.phonemes,
        "start": round(chunk.start, 4),
        "end": round(chunk.end, 4),
        "tokens": times(chunk.tokens),
        "words": times(chunk.words),
    }


def cues(chunks: Sequence[Chunk]) -> list[Cue]:
    """Captions of at most 42 columns and 3 s, broken after sentences first, none over a chunk's end.

    A cue's text is the written text from its first word up to the next cue, punctuation included, without
    tags of HTML and with the characters that entities stand for. A word longer than a line stays whole. A
    sentence ends where the reading has its mark: not at the points of "Dr." and "v2.5".
    """
    out: list[Cue] = []
    for chunk in chunks:
        for text, words in _lines(chunk):
            out.append(Cue(text, words[0].start, max(words[-1].end, words[0].start + 0.001)))
    return out


def _lines(chunk: Chunk) -> list[tuple[str, list[WordTime]]]:
    source = unmarked(Source.of(chunk.text))
    shown = source.text
    spans = [
        (bisect_left(source.starts, start), bisect_left(source.starts, stop))
        for start, stop in _written(chunk)
    ]
    ends = _sentence_ends(chunk, [shown[start:stop] for start, stop in spans])
    lines: list[tuple[int, int, list[WordTime]]] = []
    ended = True
    for at, ((start, stop), word, ends_here) in enumerate(zip(spans, chunk.words, ends, strict=True)):
        if not ended:
            first, _, held = lines[-1]
            fits = _columns(_plain(shown[first:stop])) <= LONGEST_LINE
            if fits and word.end - held[0].start <= LONGEST_CUE:
                lines[-1] = (first, stop, [*held, word])
                ended = ends_here
                continue
            # Where room or time ends a caption, "Dr." goes along with its name.
            kept, texts = len(held), [shown[slice(*span)] for span in spans[at - len(held) : at]]
            while kept > 1 and len(held) - kept < _CARRIED and _open(texts[kept - 1]):
                kept -= 1
            begin = spans[at - len(held) + kept][0]
            fits = _columns(_plain(shown[begin:stop])) <= LONGEST_LINE
            if kept < len(held) and fits and word.end - held[kept].start <= LONGEST_CUE:
                lines[-1] = (first, begin, held[:kept])
                lines.append((begin, stop, [*held[kept:], word]))
                ended = ends_here
                continue
        lines.append((start, stop, [word]))
        ended = ends_here
    return [(_plain(shown[start:stop]), words) for start, stop, words in lines]


def _open(text: str) -> bool:
    """Does a word within a sentence end with a point: an abbreviation, that a caption should not end with?"""
    return _plain(text).endswith(".")


def _sentence_ends(chunk: Chunk, written: Sequence[str]) -> list[bool]:
    """For each word: does a sentence end with it? By the reading; of a chunk without tokens, as `written`."""
    if not chunk.tokens:
        return [_plain(text).rstrip("\"'”’)")[-1:] in _SENTENCE_END for text in written]
    marks = [token for token in chunk.tokens if token.symbol in _SENTENCE_END]
    starts = [mark.start for mark in marks]
    following = [*(word.start for word in chunk.words[1:]), float("inf")]
    ends = []
    for word, until in zip(chunk.words, following, strict=True):
        at = bisect_left(starts, word.end - _NEAR)
        ends.append(at < len(marks) and marks[at].end <= until + _NEAR)
    return ends


def _written(chunk: Chunk) -> list[tuple[int, int]]:
    """For each word the stretch of the written text that shows it: from it to where the next one starts."""
    starts: list[int] = []
    position = 0
    for word in chunk.words:
        found = chunk.text.find(word.text, position)
        # A word that is not in the text as written (a reading that replaced it) follows the previous one.
        starts.append(found if found >= 0 else position)
        position = found + len(word.text) if found >= 0 else position
    if starts:
        # An opening mark belongs to the word that it opens.
        starts = [_with_opening(chunk.text, start) for start in starts]
        starts[0] = 0
    return list(zip(starts, [*starts[1:], len(chunk.text)], strict=True))


def _with_opening(text: str, start: int) -> int:
    while start > 0 and text[start - 1] in "\"'“‘([<«¿¡$€£":
        before = text[start - 2 : start - 1]
        if before and not before.isspace() and before not in "\"'“‘([<«¿¡":
            break
        start -= 1
    return start


def _columns(text: str) -> int:
    """Width of a line: a character of Chinese or Japanese takes the room of two letters."""
    return len(text) + sum(unicodedata.east_asian_width(c) in "WF" for c in text)


def _plain(text: str) -> str:
    return " ".join(text.split())


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{point}{rest % 1000:03}"
