"""What English words around a word say about it: is it a verb here, a noun, an adjective?

A handful of word classes and their order; this covers what decides most cases, and is no parser.
"""

from __future__ import annotations

from collections.abc import Sequence

from voicewright.text.tables import GRAMMAR

Words = Sequence[str | None]
"""Spoken words in order; None is a pause."""


def at(words: Words, index: int) -> str:
    """The word at an index in lower case; empty for a pause and beyond the ends."""
    return (words[index] or "").lower() if 0 <= index < len(words) else ""


def previous(words: Words, index: int) -> str:
    """The word before, adverbs passed over."""
    back = index - 1
    while back > index - 4 and (
        at(words, back) in GRAMMAR.adverbs or (at(words, back).endswith("ly") and at(words, back - 1))
    ):
        back -= 1
    return at(words, back)


def nearby(words: Words, index: int, reach: int) -> frozenset[str]:
    """Words within `reach` on either side, the word itself left out."""
    around = [at(words, near) for near in range(index - reach, index + reach + 1) if near != index]
    return frozenset(word for word in around if word)


def is_plural(word: str) -> bool:
    """Does a word look like a plural, which takes a verb's plain form?"""
    if word in GRAMMAR.plurals:
        return True
    return (
        word.endswith("s")
        and len(word) > 3
        and not word.endswith(("ss", "us", "'s", "ous"))
        and word not in GRAMMAR.not_plural
    )


def is_adjective(word: str) -> bool:
    return word in GRAMMAR.adjectives or (len(word) > 5 and word.endswith(GRAMMAR.adjective_ends))


def is_verb_here(words: Words, index: int) -> bool:
    """Is a word that may be a verb's plain form one here?"""
    before, after = previous(words, index), at(words, index + 1)
    if before == "to":
        return at(words, index - 2) not in ("according", "due", "thanks") and after not in GRAMMAR.be
    if before in GRAMMAR.pronouns or before in GRAMMAR.auxiliaries:
        return before != "it" or after in GRAMMAR.objects
    if before in GRAMMAR.determiners or before in GRAMMAR.prepositions or before.endswith("'s"):
        return False
    # "do you …", "would they …": the subject was passed, so an auxiliary two or three back.
    if not before:
        return after in GRAMMAR.objects
    if is_plural(before):
        return (
            after not in GRAMMAR.be
            and after not in GRAMMAR.have
            and after not in GRAMMAR.auxiliaries
            and _may_follow(after)
        )
    if before in GRAMMAR.conjunctions:
        return after in GRAMMAR.objects
    if any(
        at(words, index - back) in ("did", "does", "do", "will", "would", "can", "could") for back in (2, 3)
    ):
        return not is_adjective(before)
    return after in GRAMMAR.objects and not is_adjective(before)


def _may_follow(after: str) -> bool:
    """What comes after a verb rather than after a noun that is the subject of another verb."""
    return (
        not after
        or after in GRAMMAR.objects
        or after in GRAMMAR.prepositions
        or after in GRAMMAR.after_verb
        or after in GRAMMAR.determiners
        or after in GRAMMAR.numbers
        or is_adjective(after)
        or is_plural(after)
        or after.endswith("ly")
    )


def noun_or_verb(words: Words, index: int, senses: frozenset[str]) -> str:
    """NOUN, VERB, ADJ, or nothing where the neighbours do not say, for a word with these `senses`."""
    before, after = previous(words, index), at(words, index + 1)
    adjective = "ADJ" in senses or ("VERB" in senses and "NOUN" not in senses)
    if before in GRAMMAR.measures:
        return "ADJ"
    if before in GRAMMAR.be:
        return "ADJ" if "ADJ" in senses else ""
    if is_verb_here(words, index):
        return "VERB"
    if (
        before in GRAMMAR.determiners
        or before in GRAMMAR.prepositions
        or before in GRAMMAR.numbers
        or before.endswith("'s")
    ):
        content = (
            bool(after)
            and after
            not in GRAMMAR.prepositions
            | GRAMMAR.be
            | GRAMMAR.auxiliaries
            | GRAMMAR.determiners
            | GRAMMAR.conjunctions
        )
        if "ADJ" in senses and content and before in GRAMMAR.determiners:
            return "ADJ"
        return "NOUN"
    if (
        is_adjective(before)
        or at(words, index - 2) in GRAMMAR.determiners | GRAMMAR.measures | GRAMMAR.numbers
    ):
        return "NOUN"
    closes = (
        not after or after in GRAMMAR.prepositions or after in GRAMMAR.be or after in GRAMMAR.conjunctions
    )
    if not before and not adjective:
        return "NOUN" if closes or is_plural(after) else ""
    return "NOUN" if closes and not is_plural(before) else ""
