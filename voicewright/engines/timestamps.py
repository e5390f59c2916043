"""Times of words as JSON, SubRip (.srt) or WebVTT (.vtt)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from voicewright.engines.protocol import Chunk, Speech, TokenTime, WordTime
from voicewright.errors import UsageError

FORMATS = (".json", ".srt", ".vtt")
LONGEST_LINE = 42
LONGEST_CUE = 3.0
"""Seconds."""
_SENTENCE_END = ".!?…。！？"


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
    suffix = suffix.lower()
    if suffix == ".json":
        return json.dumps(as_dict(speech), ensure_ascii=False, indent=1) + "\n"
    found = cues(speech.chunks)
    if suffix == ".srt":
        return "".join(
            f"{number}\n{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}\n{cue.text}\n\n"
            for number, cue in enumerate(found, 1)
        )
    if suffix == ".vtt":
        # In WebVTT text, & and < begin markup.
        blocks = (
            f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n"
            f"{cue.text.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')}\n\n"
            for cue in found
        )
        return "WEBVTT\n\n" + "".join(blocks)
    raise UsageError(f"timestamps are written as {', '.join(FORMATS)}, not {suffix!r}.")


def as_dict(speech: Speech) -> dict[str, object]:
    """Chunks with their tokens and words, for JSON; seconds to a tenth of a millisecond."""
    return {
        "sample_rate": speech.sample_rate,
        "audio_seconds": round(speech.seconds, 4),
        "chunks": [chunk_dict(chunk) for chunk in speech.chunks],
    }


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
        "phonemes": chunk.phonemes,
        "start": round(chunk.start, 4),
        "end": round(chunk.end, 4),
        "tokens": times(chunk.tokens),
        "words": times(chunk.words),
    }


def cues(chunks: Sequence[Chunk]) -> list[Cue]:
    """Captions of at most 42 characters and 3 s, broken after sentences first, none over a chunk's end.

    A cue's text is the written text from its first word up to the next cue, punctuation included. A word
    longer than a line stays whole.
    """
    out: list[Cue] = []
    for chunk in chunks:
        for text, words in _lines(chunk):
            out.append(Cue(text, words[0].start, max(words[-1].end, words[0].start + 0.001)))
    return out


def _lines(chunk: Chunk) -> list[tuple[str, list[WordTime]]]:
    spans = _written(chunk)
    lines: list[tuple[int, int, list[WordTime]]] = []
    for (start, stop), word in zip(spans, chunk.words, strict=True):
        if lines:
            first, last, held = lines[-1]
            text = _plain(chunk.text[first:stop])
            ended = _plain(chunk.text[first:last]).rstrip("\"'”’)")[-1:] in _SENTENCE_END
            if not ended and len(text) <= LONGEST_LINE and word.end - held[0].start <= LONGEST_CUE:
                lines[-1] = (first, stop, [*held, word])
                continue
        lines.append((start, stop, [word]))
    return [(_plain(chunk.text[start:stop]), words) for start, stop, words in lines]


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


def _plain(text: str) -> str:
    return " ".join(text.split())


def _clock(seconds: float, point: str) -> str:
    milliseconds = round(seconds * 1000)
    hours, rest = divmod(milliseconds, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02}:{minutes:02}:{rest // 1000:02}{point}{rest % 1000:03}"
