"""Which sounds there are, which are missing, what to record next."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from synthetic import MEASURED

from voicewright.corpus.coverage import RARE, prompts, sounds, survey
from voicewright.corpus.language import guess
from voicewright.corpus.manifest import Utterance
from voicewright.text.frontend import Frontend


def utterance(number: int, phonemes: str, text: str = "") -> Utterance:
    return Utterance(
        id=f"u{number}",
        audio=f"audio/u{number}.flac",
        text=text or f"text {number}",
        phonemes=phonemes,
        speaker="ann",
        seconds=2.0,
        language="en-us",
        source="x.wav",
        hash="0" * 32,
        measurements=MEASURED,
    )


def test_sounds_leave_marks_out_and_join_words() -> None:
    assert sounds("ˈɔθəɹ ʌv, ðə.") == ["#", "ɔ", "θ", "ə", "ɹ", "ʌ", "v", "#", "ð", "ə", "#"]
    assert sounds("iː “tʰ”") == ["#", "i", "#", "t", "#"]
    assert sounds("") == ["#"]


def test_prompts_are_many_and_each_can_be_read() -> None:
    lines = prompts("en-us")
    assert prompts("en-gb") == lines and prompts("xx") == ()
    assert len(lines) >= 100 == len(set(lines[:100]))
    front = Frontend("en-us")
    for line in lines:
        tokens = front.tokens(line)
        assert not tokens.unknown, line
        assert 3 <= len(tokens.words) <= 14, line
    heard = {symbol for line in lines for symbol in sounds(front.tokens(line).phonemes)}
    assert set("bdfhijklmnpstuvwzæðŋɑɔəɛɜɡɪɹʃʊʌʒʤʧθAIOWY") <= heard


@pytest.mark.parametrize("language", ["de", "nl", "es", "fr-fr", "it", "pt-br", "hi"])
def test_every_language_with_tables_has_prompts(language: str) -> None:
    """Each can be read, they are of that language, and among them they hold nearly all of its sounds."""
    lines = prompts(language)
    assert len(lines) == len(set(lines)) == 60
    assert guess(lines) == language.split("-")[0]
    front = Frontend(language)
    heard: Counter[str] = Counter()
    for line in lines:
        tokens = front.tokens(line)
        assert not tokens.unknown, line
        assert 3 <= len(tokens.words) <= 14, line
        heard.update(sounds(tokens.phonemes))
    assert len(heard) >= 25
    found = survey([utterance(0, front.tokens(lines[0]).phonemes, lines[0])], language, front)
    assert len(found.suggestions) == 10 and found.pairs_lacking > 100


def test_what_is_lacking_is_suggested() -> None:
    """A corpus of all prompts but those with ʒ lacks ʒ: those prompts come first, and bring it."""
    front = Frontend("en-us")
    lines = prompts("en-us")
    read = {line: front.tokens(line).phonemes for line in lines}
    having = [line for line in lines if "ʒ" not in read[line]]
    corpus = [utterance(n, read[line], line) for n, line in enumerate(having * 10)]
    found = survey(corpus, "en-us", front)
    assert found.sounds["ʒ"] == 0
    assert found.pairs_lacking > 0
    assert "ʒ" in found.suggestions[0].sounds
    assert all("ʒ" in read[each.text] for each in found.suggestions)
    assert not {each.text for each in found.suggestions} & set(having)
    counts = list(found.sounds.values())
    assert counts == sorted(counts, reverse=True)
    missing = {first + second for line in lines for first, second in pairwise(sounds(read[line]))}
    assert set(found.suggestions[0].pairs) <= missing


def test_a_corpus_of_everything_needs_nothing() -> None:
    front = Frontend("en-us")
    corpus = [utterance(n, front.tokens(line).phonemes) for n, line in enumerate(prompts("en-us") * RARE)]
    found = survey(corpus, "en-us", front)
    assert found.pairs_lacking == 0 and found.suggestions == ()


def test_languages_without_prompts_still_count() -> None:
    found = survey([utterance(0, "ɑː bɑ.")], "xx", Frontend("en-us"))
    assert found.sounds == {"ɑ": 2, "b": 1}
    assert found.suggestions == ()
