"""Written English → spoken words."""

import time
from itertools import pairwise

import pytest

from voicewright.text.clean import clean
from voicewright.text.english.normalise import normaliser
from voicewright.text.pieces import Kind

US, GB = normaliser(False), normaliser(True)


def said(text: str, normalise=US) -> str:
    """Words and marks as they are said, one blank between them."""
    pieces = normalise(text)
    return " ".join(
        piece.spoken or piece.phonemes or "" for piece in pieces if piece.kind in (Kind.WORD, Kind.MARK)
    )


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("0", "zero"),
        ("105", "one hundred five"),
        ("1,234,567", "one million two hundred thirty four thousand five hundred sixty seven"),
        ("3.14", "three point one four"),
        (".5", "point five"),
        ("-7", "minus seven"),
        ("−7", "minus seven"),
        ("007", "zero zero seven"),
        ("1" * 20, " ".join(["one"] * 20)),
        ("21st", "twenty first"),
        ("1,000th", "one thousandth"),
        ("50%", "fifty percent"),
        ("12.5 %", "twelve point five percent"),
        ("1/2", "one half"),
        ("3/4", "three quarters"),
        ("1 1/2", "one and a half"),
        ("2½", "two and a half"),
        ("24/7", "twenty four seven"),
        ("10-20", "ten to twenty"),
        ("1990–1995", "nineteen ninety to nineteen ninety five"),
        ("in 1066", "in ten sixty six"),
        ("in 1905", "in nineteen oh five"),
        ("2000", "two thousand"),
        ("2007", "two thousand seven"),
        ("2021", "twenty twenty one"),
        ("1900", "nineteen hundred"),
        ("1990s", "nineteen nineties"),
        ("the '80s", "the eighties"),
        ("#5", "number five"),
        ("2+2=4", "two plus two equals four"),
        ("5 * 3", "five times three"),
        ("16:9", "sixteen to nine"),
    ],
)
def test_numbers(written, spoken):
    assert said(written) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("$3.50", "three dollars and fifty cents"),
        ("$1", "one dollar"),
        ("$0.99", "ninety nine cents"),
        ("£0.01", "one penny"),
        ("£2m", "two million pounds"),
        ("€1,000", "one thousand euros"),
        ("$3.5 million", "three point five million dollars"),
        ("-$5", "minus five dollars"),
        ("¥500", "five hundred yen"),
        ("50€", "fifty euros"),
        ("10 km", "ten kilometers"),
        ("1 km", "one kilometer"),
        ("5GB", "five gigabytes"),
        ("60 km/h", "sixty kilometers per hour"),
        ("20 °C", "twenty degrees Celsius"),
        ("100 m²", "one hundred square meters"),
        ("5'10\"", "five foot ten"),
        ("5 ft. tall", "five feet tall"),
        ("3.5-inch", "three point five inch"),
        ("in an hour", "in an hour"),
    ],
)
def test_money_and_measures(written, spoken):
    assert said(written) == spoken


@pytest.mark.parametrize(
    ("written", "american", "british"),
    [
        ("3 May 2021", "the third of May twenty twenty one", "the third of May twenty twenty one"),
        ("May 3rd", "May third", "May the third"),
        ("May 3, 2021", "May third , twenty twenty one", "May the third , twenty twenty one"),
        ("the 3rd of May", "the third of May", "the third of May"),
        ("Jan. 5", "January fifth", "January the fifth"),
        ("2021-05-03", "May third , twenty twenty one", "the third of May , twenty twenty one"),
        ("12/25/1999", "December twenty fifth , nineteen ninety nine",
         "the twenty fifth of December , nineteen ninety nine"),
        ("03/04/2020", "March fourth , twenty twenty", "the third of April , twenty twenty"),
        ("105", "one hundred five", "one hundred and five"),
    ],
)  # fmt: skip
def test_dates_follow_the_dialect(written, american, british):
    assert said(written) == american
    assert said(written, GB) == british


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("5:30pm", "five thirty p.m"),
        ("5:30 PM", "five thirty P.M"),
        ("17:05", "seventeen oh five"),
        ("12:00", "twelve o'clock"),
        ("5:00 p.m. today", "five p.m today"),
        ("9am", "nine a.m"),
        ("I am 5", "I am five"),
        ("at 5 p.m. Then", "at five p.m . Then"),
        ("1:02:03", "one oh two and three seconds"),
    ],
)
def test_times(written, spoken):
    assert said(written) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ("Dr. Smith and Mrs. Jones", "Doctor Smith and Mrs Jones"),
        ("Mr Smith", "Mister Smith"),
        ("St. Paul", "Saint Paul"),
        ("on Main St. today", "on Main street today"),
        ("cats, dogs, etc. He left", "cats , dogs , etc . He left"),
        ("e.g. this, i.e. that", "for example this , that is that"),
        ("us vs. them", "us versus them"),
        ("No. 5 but no. Yes", "number five but no . Yes"),
        ("pp. 10-12", "pages ten to twelve"),
        ("J. R. R. Tolkien", "J R R Tolkien"),
        ("So do I. The end", "So do I . The end"),
        ("the U.S. Army", "the U.S Army"),
        ("in the U.S. The law", "in the U.S . The law"),
        ("Henry VIII", "Henry the eighth"),
        ("Chapter IV", "Chapter four"),
        ("World War II", "World War two"),
        ("I saw", "I saw"),
        ("MP3", "MP three"),
        ("COVID-19", "COVID nineteen"),
        ("24-hour", "twenty four hour"),
        ("well-known", "well-known"),
        ("AT&T", "AT and T"),
        ("C++", "C plus plus"),
        ("and/or", "and or"),
        ("node.js v1.2.3", "node dot js V one point two point three"),
        ("snake_case **bold**", "snake case bold"),
        ("555-123-4567", "five five five , one two three , four five six seven"),
        ("192.168.0.1", "one hundred ninety two dot one hundred sixty eight dot zero dot one"),
        ("bob@example.com", "bob at example dot com"),
        ("https://example.com/a-b.", "example dot com slash a dash b ."),
        ("see [this page](https://example.com/x).", "see this page ."),
    ],
)
def test_abbreviations_names_and_addresses(written, spoken):
    assert said(written) == spoken


@pytest.mark.parametrize(
    ("written", "spoken"),
    [
        ('"Hello," she said.', "“ Hello , ” she said ."),
        ("'It's fine,' he said", "“ It's fine , ” he said"),
        ("the boys' toys", "the boys toys"),
        ("goin' home", "goin' home"),
        ("don’t", "don't"),
        ("«oui»", "“ oui ”"),
        ("wait... what?! No!!!", "wait … what ? ! No !"),
        ("a - b -- c – d", "a — b — c — d"),
        ("- item\n- other", "item other"),
        ("[x] {y}", "( x ) ( y )"),
        ("\ufeffzero\u200bwidth\u00adhyphen", "zerowidthhyphen"),
        ("tabs\tand\r\nlines", "tabs and lines"),
        ("ｆｕｌｌ ﬁne", "full fine"),
        ("α decay", "alpha decay"),
        ("== ==", ""),
    ],
)
def test_marks_and_odd_characters(written, spoken):
    assert said(written) == spoken


def test_overrides_keep_the_written_word_and_its_phonemes():
    (piece,) = US("[phonemes](/fˈOnimz/)")
    assert (piece.spoken, piece.phonemes) == ("phonemes", "fˈOnimz")


def test_unknown_symbols_are_pieces_of_their_own():
    text = "tower 東京 😀"
    assert [text[p.start : p.stop] for p in US(text) if p.kind is Kind.UNKNOWN] == ["東", "京", "😀"]


def test_pieces_point_into_the_written_text():
    text = "\ufeffCafe\u0301 ﬁne: $3.50\u200b, “May” 3rd…"
    words = [text[p.start : p.stop] for p in US(text) if p.kind is Kind.WORD]
    assert words == ["Cafe\u0301", "ﬁne", "$3.50", "May", "3rd"]


def test_pieces_are_in_order_and_do_not_overlap():
    text = "On 3 May, Dr. X paid $5 (or £4)...\n\nThen 'it' was 5 p.m. [a](/ə/) 東 x²"
    pieces = US(text)
    assert all(a.stop <= b.start for a, b in pairwise(pieces))
    assert all(p.start < p.stop for p in pieces)
    skipped = set(range(len(text))) - {i for p in pieces for i in range(p.start, p.stop)}
    assert {text[i] for i in skipped} <= set("'.")


def test_clean_maps_every_position_back():
    for text in ("plain", "e\u0301\u200bﬁ…", "a\r\nb", "\ud83d x", "x" + "\u0301" * 5):
        plain, origin = clean(text)
        assert len(origin) == len(plain) + 1
        assert origin[len(plain)] == len(text)
        assert all(a <= b for a, b in pairwise(origin))


@pytest.mark.parametrize(
    "unit", ["1,", "a.", "a-", "'", '"', "[a](/", "1/", "$", "a@", "www.", "1-", "+1 ", "東", "e\u0301"]
)
def test_time_grows_with_the_text_alone(unit):
    """No input makes the pattern backtrack: twice the text takes about twice as long."""

    def seconds(count: int) -> float:
        text = unit * count
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            US(text)
            best = min(best, time.process_time() - start)
        return best

    # Four times the text: 4 when linear, 16 when quadratic; the room between is for a busy machine.
    assert seconds(8_000) < 9 * seconds(2_000) + 0.1
