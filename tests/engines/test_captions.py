"""Captions end where sentences do by the reading, and a written word has one entry in the times."""

from __future__ import annotations

import json
from functools import cache

import numpy as np
import pytest

from voicewright.engines.protocol import Chunk, Speech, TokenTime, WordTime
from voicewright.engines.timestamps import cues, render
from voicewright.text.english.tables import WORDS
from voicewright.text.frontend import Frontend


@cache
def front(language: str) -> Frontend:
    return Frontend(language)


def spoken(text: str, language: str = "en-us", pace: float = 0.02) -> tuple[Chunk, ...]:
    """The text as an engine would record it, `pace` seconds a symbol."""
    chunks, at = [], 0.0
    for tokens in front(language).chunks(text):
        times = tuple(
            TokenTime(symbol, at + pace * n, at + pace * (n + 1)) for n, symbol in enumerate(tokens.phonemes)
        )
        words = tuple(WordTime(w.text, times[w.start].start, times[w.stop - 1].end) for w in tokens.words)
        end = at + pace * len(times)
        chunks.append(Chunk(tokens.text, tokens.phonemes, "v", times, words, at, end))
        at = end + 0.3
    return tuple(chunks)


def lines(text: str, language: str = "en-us") -> list[str]:
    return [cue.text for cue in cues(spoken(text, language))]


TITLES = sorted({f"{title}." for title in WORDS.titles if title.isalpha()})
ABBREVIATIONS = ["e.g.", "i.e.", "vs.", "approx.", "U.S.", "No. 5", "Fig. 2", "p. 7", "Vol. 3", "ca.", "a.m."]


@pytest.mark.parametrize("title", TITLES)
def test_no_caption_ends_after_a_title(title: str) -> None:
    assert lines(f"So {title} Hale left.") == [f"So {title} Hale left."]


@pytest.mark.parametrize("written", ABBREVIATIONS)
def test_no_caption_ends_after_an_abbreviation(written: str) -> None:
    assert lines(f"It was {written} so far.") == [f"It was {written} so far."]


@pytest.mark.parametrize(
    "text",
    [
        "J. R. R. Moss left.",
        "It is 3.5 m, or v2.5 now.",
        "Use node.js here.",
        "It cost $3.50 at 5.30.",
        "See x.org now.",
        "He left St. Ives.",
        "He has a Ph.D. in it.",
    ],
)
def test_initials_decimals_and_points_inside_end_none(text: str) -> None:
    assert lines(text) == [text]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("It rained. He left! Why? So… it is.", ["It rained.", "He left!", "Why?", "So…", "it is."]),
        ("“Go.” He went.", ["“Go.”", "He went."]),
        ("He met Mr. Hale. Dr. Moss left at 5 p.m. Then it rained.",
         ["He met Mr. Hale.", "Dr. Moss left at 5 p.m.", "Then it rained."]),
        ("Fish &amp; <b>chips</b>. Tea.", ["Fish & chips.", "Tea."]),
    ],
)  # fmt: skip
def test_sentences_still_end_captions(text: str, shown: list[str]) -> None:
    assert lines(text) == shown


@pytest.mark.parametrize("language", ["de", "fr-fr", "es"])
def test_other_languages(language: str) -> None:
    text = {
        "de": "Dr. Moos kam. Es war ca. 3,5 m.",
        "fr-fr": "M. Moss est là. Il va.",
        "es": "El Sr. Moss va. Ya.",
    }
    parts = text[language].replace(". Es", ".|Es").replace(". Il", ".|Il").replace(". Ya", ".|Ya").split("|")
    assert lines(text[language], language) == parts


@pytest.mark.parametrize("suffix", [".srt", ".vtt"])
def test_both_formats(suffix: str) -> None:
    text = "It was late when Mr. Hale and Dr. Moss met near St. Ives."
    speech = Speech(np.zeros(24000, np.float32), 24000, spoken(text))
    shown = [line for line in render(speech, suffix).splitlines() if line and not line[0].isdigit()]
    shown = [line for line in shown if line != "WEBVTT"]
    assert " ".join(shown) == text
    assert not any(line.endswith(("Mr.", "Dr.", "St.")) for line in shown)


@pytest.mark.parametrize(
    "word", ["node.js", "v2.5", "AT&T", "16:9", "x=5", "C++", "$3.50", "a.m.", "2h30m", "1990s"]
)
def test_a_written_word_has_one_entry(word: str) -> None:
    record = json.loads(render(Speech(np.zeros(9, np.float32), 24000, spoken(f"It is {word} now.")), ".json"))
    assert [entry["text"] for entry in record["chunks"][0]["words"]] == ["It", "is", word, "now"]


@pytest.mark.parametrize(
    "text",
    [
        "Hill and Dow, Pratt and Capt. Fox, with Maj. Orr and Pvt. Lee sat there.",
        "See vol. 3, no. 4 of the series, and pp. 12-15 there, or fig. 2.1 and ch. 7 of the book.",
        "Smith vs. Jones, five inches wide, i.e. that, e.g. this, approx. 5 of them, were shown to all.",
        "It was a long walk for old J. R. R. Tolkien and for C. S. Lewis that day.",
    ],
)
@pytest.mark.parametrize("pace", [0.02, 0.05, 0.055, 0.06, 0.07, 0.075, 0.08])
def test_room_and_time_part_no_abbreviation_from_what_follows(text: str, pace: float) -> None:
    shown = [cue.text for cue in cues(spoken(text, pace=pace))]
    assert " ".join(shown) == text and len(shown) > 1
    assert not [line for line in shown[:-1] if line.endswith(".")]
    assert all(len(line) <= 42 for line in shown)
