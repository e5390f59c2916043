"""Whatever is written, in every language: nothing raises, nothing of it is silently left out.

Texts are made of every block of Unicode, of digits, signs, tags, entities and line structure.
"""

from __future__ import annotations

import functools
import random
import re
import sys
import unicodedata

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from voicewright.text.faults import confined
from voicewright.text.frontend import Frontend
from voicewright.text.g2p import LANGUAGES
from voicewright.text.hypertext import unmarked
from voicewright.text.lines import lined
from voicewright.text.pieces import Kind
from voicewright.text.source import Source

ODD = [
    "12-05-24", "1-23-456", "+1234567", "3.14.15", "1,000", "07:5", "24:61", "1/0", "½", "10⁶",
    "x²", "➀", "❷", "⓿", "Ⅷ", "ⅳ", "٣", "१२", "#1", "№5", "$-20", "€5–10", "₹1,00,000", "CA$4",
    "9am", "2h30m", "5µm", "°F", "IV", "mcmxc", "No.", "Mr.", "Dr. and", "et al.", "e.g.", "U.S.",
    "don′t", 'don"t', "goin'", "'n'", "l’eau", "&amp;", "&#39;", "&#x110000;", "&#0;", "&#55296;",
    "&nbsp;", "&bogus;", "&", "&amp;amp;lt;", "AT&T", "<b>", "</b>", "<br/>", "<p class='a'>",
    "<a b c>", "<", ">", "<!--", "-->", "<script>", "</script>", "<3", "<sup>2</sup>", "<![CDATA[",
    "]]>", "- ", "* ", "1. ", "a) ", "II. ", "[x] ", "[ ] ", "# ", "Chapter 7", "---", "exam-\nple",
    "well-\nknown", "soft\xadhyphen", "-\n", "\n", "\n\n", "\r\n", "\r", "\u2028", "\x0c", " ", " ",
    " ", "\t", "\u200b", "\u200d", "\ufeff", "\ud83d", "\x00", "�", "é", "́", "[x](/ə/)", "[x](y)",
    "[", "](", "http://x.y/z?a=1&lt=2", "a@b.c", "😀", "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "東京", "ひらがな", "한글", "การ", "שלום", "a", "I", "the", "hello", "Straße", "naïve", "word", ".",
    "...", "!", "?", ",", ":", ";", "—", "–", "-", "'", '"', "“", "”", "(", ")", "/", "%", "=", "+",
    "_", "|", "\\", "^", "~", "@", "§", "¶",
]  # fmt: skip


@functools.cache
def blocks() -> list[str]:
    """Two characters of every run of 64 that has any: all blocks of Unicode."""
    found = []
    for begin in range(0, sys.maxunicode, 64):
        # Of scripts of ten thousand signs, some are enough.
        if begin < 0x3400 or begin % 1024 == 0 or 0xA000 <= begin < 0xAC00 or 0xF900 <= begin < 0x10FFF:
            held = [
                chr(c) for c in range(begin, begin + 64) if unicodedata.category(chr(c)) not in ("Cn", "Co")
            ]
            found += held[:1] + held[-1:]
    return found


@functools.cache
def front(language: str) -> Frontend:
    return Frontend(language)


def check(language: str, text: str) -> None:
    reader = front(language)
    units, faults = confined(text, reader._units)
    # No fault is left that is confined: the readers themselves hold.
    assert not faults, (language, text, faults)
    position = 0
    heard = bytearray(len(text))
    for unit in units:
        piece = unit.piece
        assert position <= piece.start <= piece.stop <= len(text), (language, text, piece)
        position = piece.start
        if piece.kind in (Kind.WORD, Kind.UNKNOWN):
            heard[piece.start : piece.stop] = b"\1" * (piece.stop - piece.start)
    # What is left after tags, entities and marks of lists is read or reported, letter by letter.
    source = lined(unmarked(Source.of(text)), reader.language, reader._known)
    links = bytearray(len(source.text))
    for target in re.finditer(r"\]\([^()\s]{1,500}\)", source.text):
        links[target.start() : target.end()] = b"\1" * (target.end() - target.start())
    for at, symbol in enumerate(source.text):
        if (symbol.isalpha() or symbol.isdecimal()) and not links[at]:
            assert heard[source.starts[at]], (language, text, symbol)
    tokens = reader.tokens(text)
    assert all(0 <= a.start < a.stop <= len(tokens.ids) and a.text in text for a in tokens.words)
    assert all(a.stop <= b.start for a, b in zip(tokens.words, tokens.words[1:], strict=False))
    chunks = reader.chunks(text, 60)
    assert all(len(chunk.ids) <= 60 and chunk.text in text for chunk in chunks)


@pytest.mark.parametrize("language", [*LANGUAGES, "ru"])
def test_every_block_of_unicode_is_read_or_reported(language: str) -> None:
    symbols = blocks()
    for begin in range(0, len(symbols), 60):
        check(language, " x".join(symbols[begin : begin + 60]))


@pytest.mark.parametrize("language", [*LANGUAGES, "ru"])
@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.lists(st.one_of(st.sampled_from(ODD), st.text(max_size=3)), max_size=14).map("".join))
@example("The fair is on 12-05-24. +1234567 10-12-15")
@example("&lt;b&gt;I&#39;m<br>a <!-- <script> --> b")
def test_any_mixture_is_read_or_reported(language: str, text: str) -> None:
    check(language, text)


def test_digits_with_any_separators(language: str = "en-us") -> None:
    draw = random.Random(1)
    for _ in range(1500):
        count = draw.randint(3, 20)
        text = "".join(
            draw.choice("0123456789") + draw.choice(["", "", "-", ".", "/", " ", "+", ":", ","])
            for _ in range(count)
        )
        check(draw.choice(["en-us", "en-gb", "de", "fr-fr"]), f"On {text} it {text}.")
