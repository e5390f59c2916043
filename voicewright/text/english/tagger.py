"""Part of speech, from neighbours, for the few words whose sound depends on it ("the record", "to record").

Tags are those of kokorog2p's lexicon (Penn Treebank tags and NOUN, VERB, ADJ). An empty tag means "no idea":
the lexicon's default is taken. grammar.py tells nouns from verbs, homographs.py has the words that need more.
"""

from __future__ import annotations

import re

from voicewright.text.english.grammar import Words, judge
from voicewright.text.english.homographs import sense_of
from voicewright.text.english.known import is_word
from voicewright.text.english.tables import GRAMMAR

_LETTERED = frozenset({"DEFAULT", "NOUN"})
"""The senses of an entry in capitals that is a word, or, as a noun, its letters."""
_SAYABLE = re.compile(
    r"(?=[A-Z]{4,5}\Z)(?![AEIOU]{2})(?:(?![AEIOU]?([AEIOU])\1)[^AEIOUY]{0,2}[AEIOUY]{1,2}){1,3}[^AEIOUY]{0,2}"
)
"""Letters that may be a name rather than an acronym, in a text in capitals."""
SHOUTED = "shouted"
"""The tag of a word in a run of capitals that alone would be an acronym."""
_FARTHEST = 24
"""Words that are looked at on either side to tell capitals of a heading from an acronym."""


def tag(words: Words, index: int, senses: frozenset[str]) -> str:
    """The tag of `words[index]`, whose entry in the lexicon distinguishes `senses` (may be empty)."""
    word = words[index] or ""
    before, after = _at(words, index - 1), _at(words, index + 1)
    if word in ("a", "A"):
        return _article(word, before, after)
    if word == "I":
        return "PRP"
    if word.lower() in GRAMMAR.fixed:
        return sense_of(words, index) or ""
    if len(word) > 1 and word.isupper() and (word in GRAMMAR.acronyms or senses == _LETTERED):
        return _capitals(words, index, before.lower(), after.lower(), senses)
    named = word in GRAMMAR.short_names and before.lower() not in GRAMMAR.articles
    sayable = _SAYABLE.fullmatch(word) and not is_word(word.lower())
    if (named or sayable) and _shouted(words, index):
        return SHOUTED
    sense = sense_of(words, index)
    return sense if sense is not None else judge(words, index, "noun or verb", senses) if senses else ""


def _at(words: Words, index: int) -> str:
    return (words[index] or "") if 0 <= index < len(words) else ""


def _capitals(words: Words, index: int, before: str, after: str, senses: frozenset[str]) -> str:
    """ "the IT crew" and "AM radio" are letters; "IT IS LATE" is not."""
    word = words[index] or ""
    if word == "AM" and (
        after in GRAMMAR.after_am or (after in ("and", "or") and _at(words, index + 2) == "FM")
    ):
        return "NNP"
    shouted = _shouted(words, index)
    articles = GRAMMAR.owners if shouted else GRAMMAR.articles
    noun = before in articles or (word == "US" and (not before or before in GRAMMAR.us_after))
    if shouted and word not in GRAMMAR.spelled:
        return "NNP" if noun and word in GRAMMAR.acronyms else SHOUTED
    return "NNP" if word in GRAMMAR.acronyms else judge(words, index, "noun or verb", senses)


def _shouted(words: Words, index: int) -> bool:
    """Does a word in capitals stand in a run of such words that are no acronyms?"""
    ends = []
    for step in (-1, 1):
        at = index
        while (
            abs(at + step - index) < _FARTHEST
            and (_at(words, at + step) or "X").isupper()
            and 0 <= at < len(words)
        ):
            at += step
        ends.append(at)
    low, high = ends
    said = [word for word in words[max(low, 0) : high + 1] if word]
    if any(map(_is_plain, said)):
        return True
    alone = low < 0 and high >= len(words)
    among_small = bool(_at(words, low) and _at(words, low - 1)) or bool(
        _at(words, high) and _at(words, high + 1)
    )
    return sum(word.lower() in GRAMMAR.little for word in said) > (0 if alone else 1 + among_small)


def _is_plain(word: str) -> bool:
    """Is a word in capitals one of the language, and no acronym?"""
    low = word.lower()
    stems = (low, *(low.removesuffix(end) for end in ("s", "es", "d", "ed", "ing", "'s")))
    return len(word) > 1 and not is_word(word) and (low.endswith("in'") or any(map(is_word, stems)))


def _article(word: str, before: str, after: str) -> str:
    """ "a cat", but "vitamin A" and "from A to B"."""
    if not after or before.lower() in GRAMMAR.letters:
        return "NN"
    return "NN" if word == "A" and before and not after[0].isupper() else "DT"
