"""Long text in sequences of at most 510 tokens."""

import pytest

from voicewright.errors import VoicewrightError
from voicewright.text.frontend import Frontend


@pytest.fixture(scope="module")
def us() -> Frontend:
    return Frontend("en-us")


def words_of(chunks) -> list[str]:
    return [word.text for chunk in chunks for word in chunk.words]


SENTENCES = "The quick brown fox, it seems, jumps over the lazy dog. It cost $3.50, Dr. Smith said! "


@pytest.mark.parametrize("limit", [510, 200, 100, 40])
def test_no_chunk_is_too_long_and_nothing_is_lost(us, limit):
    text = SENTENCES * 15
    chunks = us.chunks(text, limit)
    assert all(0 < len(chunk.ids) <= limit for chunk in chunks)
    assert words_of(chunks) == [word.text for word in us.tokens(text).words]
    assert "".join(chunk.text for chunk in chunks).replace(" ", "") == text.replace(" ", "")


def test_short_text_is_one_chunk_equal_to_its_tokens(us):
    assert us.chunks("Hello there. How are you?") == [us.tokens("Hello there. How are you?")]


def test_cuts_come_at_sentence_ends_first(us):
    for chunk in us.chunks(SENTENCES * 15, 200):
        assert chunk.text[-1] in ".!"


def test_then_at_clauses_then_between_words(us):
    clauses = us.chunks("the cat sat on the mat, " * 40, 200)
    assert all(chunk.text.endswith(",") for chunk in clauses)
    bare = us.chunks("word after word " * 300)
    assert all(len(chunk.ids) <= 510 for chunk in bare)
    assert words_of(bare) == ["word", "after", "word"] * 300


def test_abbreviations_and_decimals_are_no_sentence_ends(us):
    text = "Mr. Smith of the U.S. Army paid Dr. Jones $3.50 at 5.5 percent. " * 3
    chunks = us.chunks(text, 120)
    assert all(chunk.text.endswith("percent.") for chunk in chunks)


def test_a_closing_quote_stays_with_its_sentence(us):
    chunks = us.chunks('"It is late." "Then go!" ' * 20, 60)
    assert all(chunk.text.startswith('"') and chunk.text.endswith('"') for chunk in chunks)


def test_a_blank_line_always_cuts_and_a_line_end_does_not(us):
    assert [chunk.text for chunk in us.chunks("A title\n\nA line\nand more.\n\n\nEnd")] == [
        "A title",
        "A line\nand more.",
        "End",
    ]


def test_the_last_chunk_is_no_crumb(us):
    sentence = "The quick brown fox jumps over the lazy dog again. "
    tokens = len(us.tokens(sentence).ids) + 1
    chunks = us.chunks(sentence * (510 // tokens + 1))
    assert len(chunks) == 2
    assert len(chunks[1].ids) > 100


def test_a_word_longer_than_the_limit_is_cut_inside(us):
    text = "See https://example.com/" + "abc-def/" * 100 + " now."
    chunks = us.chunks(text)
    assert all(len(chunk.ids) <= 510 for chunk in chunks)
    assert chunks[0].words[0].text == "See"
    assert chunks[-1].words[-1].text == "now"
    heard = " ".join(chunk.phonemes for chunk in chunks)
    assert heard == us.tokens(text).phonemes
    override = us.chunks(f"[x](/{'ə' * 1200}/)")
    assert [len(chunk.ids) for chunk in override] == [510, 510, 180]


def test_text_without_any_space(us):
    for text in ("a" * 5000, "1" * 5000, "東" * 5000, "." * 5000, "a-" * 3000, "x," * 2000):
        chunks = us.chunks(text)
        assert all(len(chunk.ids) <= 510 for chunk in chunks)
    assert us.chunks("東" * 700)[0].unknown == ("東",)


def test_nothing_gives_nothing(us):
    assert us.chunks("") == us.chunks(" \n\n ") == []


def test_unknown_symbols_alone_are_still_reported(us):
    (chunk,) = us.chunks("😀")
    assert chunk.unknown == ("😀",)
    with pytest.raises(VoicewrightError, match="😀"):
        chunk.check()


def test_a_limit_below_one_is_refused(us):
    with pytest.raises(VoicewrightError, match="at least 1"):
        us.chunks("a", 0)


def test_even_a_limit_of_one_ends(us):
    chunks = us.chunks("Hi there, you.", 1)
    assert "".join(chunk.phonemes for chunk in chunks) == us.tokens("Hi there, you.").phonemes.replace(
        " ", ""
    )
