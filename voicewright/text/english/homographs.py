"""Words that one spelling gives two sounds for reasons of meaning: "lead", "read", "live", "bow", "bass".

What is talked about nearby decides where grammar does not, by rules in `data/english_grammar.toml`; those of
"read" are here. Tags as in tagger.py; METAL is the rules' own.
"""

from __future__ import annotations

from voicewright.text.english.grammar import Words, at, is_name_or_noun, is_plural, judge, nearby, previous
from voicewright.text.english.tables import GRAMMAR


def sense_of(words: Words, index: int) -> str | None:
    """The tag of the first rule that fits; None for a word without rules."""
    word = at(words, index)
    if word in ("read", "reread"):
        return _read(words, index)
    return judge(words, index, word) if word in GRAMMAR.rules else None


def _read(words: Words, index: int) -> str:
    before = previous(words, index)
    if before in GRAMMAR.have or before in GRAMMAR.be or before in ("well", "widely"):
        return "VBN"
    # The nearest auxiliary of the clause decides: "did you read", "have they ever read".
    for back in range(1, 5):
        word = at(words, index - back)
        if not word:
            break
        if word in GRAMMAR.have:
            return "VBN"
        if word in GRAMMAR.auxiliaries or word == "to":
            return "VBP"
    if not before:
        return "VBP"
    if (before in GRAMMAR.third and before != "who") or (
        not is_plural(before) and is_name_or_noun(words, index)
    ):
        return "VBD"
    around = nearby(words, index, 12)
    past = around & (GRAMMAR.past_times | GRAMMAR.past_verbs) or any(
        word.endswith("ed") and len(word) > 4 for word in around
    )
    if past and not around & GRAMMAR.habits:
        return "VBD"
    return "VBP" if before != "who" or is_plural(at(words, index - 2)) else "VBD"
