"""The tables of languages in `voicewright/text/data/locales`, and text made to break their readers."""

import random
import re
from itertools import pairwise

import pytest

from voicewright.errors import VoicewrightError
from voicewright.text.espeak import locales
from voicewright.text.espeak.locales import locale_of
from voicewright.text.espeak.numerals import value_of
from voicewright.text.frontend import Frontend
from voicewright.text.g2p import LANGUAGES, find_language

_TABLES = sorted(path.stem for path in locales._FOLDER.glob("[a-z]*.toml"))
_BITS = re.findall(
    r"\S+",
    """
€ $ km m² °C h min Uhr % º ª ° e er XIV II. siècle ½ ⅒ ⁶ ² ➀ ❿ ⓿ No. № x = < − – - . , / ' + _ : ( ) l'
Nr. n.º Luis s. Sr. 5 12 007 1999 123456789012345678901 ٣ ५
""",
)


@pytest.mark.parametrize("code", _TABLES)
def test_every_table_is_read_and_has_what_its_words_need(code):
    table = locale_of(code)
    assert not table.months or len(table.months) == 12
    assert not table.short_months or len(table.short_months) == 12
    assert all(len(names) >= 2 for names in (*table.money.values(), *table.every_unit.values()))
    assert set(table.roman.suffixes) <= set(table.ordinals)
    assert find_language(code).code


def test_a_region_reads_as_its_language_and_others_have_what_is_common():
    assert locale_of("fr-ch") == locale_of("fr-fr") and locale_of("es-419") == locale_of("es")
    assert locale_of("pt").num2words == "pt" and locale_of("pt").months == locale_of("pt-br").months
    assert locale_of("pl").minus == "minus" and locale_of("hy").full_stops == "։"
    assert not locale_of("ka").numerals


def test_a_wrong_key_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "xx.toml").write_text('minus = "moins"\nmounths = "a b"\n', "utf-8")
    monkeypatch.setattr(locales, "_FOLDER", tmp_path)
    with pytest.raises(VoicewrightError, match=r"xx\.toml: mounths: .*Mend that key"):
        locale_of("xx")


def test_numerals_have_values():
    assert [value_of(text) for text in ("I", "iv", "XLII", "MCMXCIX", "MMMCMXCIX")] == [1, 4, 42, 1999, 3999]
    assert [value_of(text) for text in ("", "IIII", "VX", "civil", "IC")] == [0] * 5


@pytest.mark.parametrize(
    "code", [*sorted(set(LANGUAGES) - {"en-us", "en-gb", "ja", "zh"}), "pl", "ru", "sv", "ka", "fr-be"]
)
def test_no_text_stops_the_reader_and_nothing_is_out_of_order(code):
    """Four hundred lines made of digits, signs and abbreviations; the same ones every time."""
    chance = random.Random(code)
    front = Frontend(code)
    normalise = find_language(code).normaliser(None)
    for _ in range(400):
        bits = [
            chance.choice(_BITS)
            if chance.random() < 0.6
            else str(chance.randrange(10 ** chance.randrange(1, 8)))
            for _ in range(chance.randrange(1, 10))
        ]
        text = (
            chance.choice(("", "am ", "il ", "el rey "))
            + chance.choice(("", " ")).join(bits)
            + chance.choice((".", " x"))
        )
        pieces = normalise(text)
        assert all(a.stop <= b.start for a, b in pairwise(pieces)), text
        assert all(0 <= piece.start < piece.stop <= len(text) for piece in pieces), text
        front.chunks(text)


@pytest.mark.parametrize(
    ("code", "word"), [("fr-fr", "romain"), ("de", "römisch"), ("hi", "roman"), ("hr", "rimski")]
)
def test_no_numeral_is_said_to_be_roman(code, word):
    front = Frontend(code)
    root = re.sub("[ˈˌ ]", "", front.tokens(word if code != "hi" else "रोमन").phonemes)[:4]
    foreign = {"hi": "ɹQmən"}.get(code, root)
    for numeral in ("II", "iv", "VI", "ix", "XIV", "XL", "xl", "XLII", "MIX", "di", "CXX", "MMXXIV", "xxiii"):
        for text in (numeral, f"le {numeral}.", f"LE {numeral} EST", f"x {numeral}, y", f"page {numeral} ff"):
            assert foreign not in re.sub("[ˈˌ ]", "", front.tokens(text).phonemes), text
