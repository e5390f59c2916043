"""What English words around a word say about it: is it a verb here, a noun, an adjective?

A handful of word classes and their order, as rules in `data/english_grammar.toml`; no parser.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from voicewright.text.english.tables import GRAMMAR

Words = Sequence[str | None]
"""Spoken words in order; None is a pause."""
_PLACES = {"last": -1, "second": -2, "third": -3, "after": 1, "beyond": 2}


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


def is_name_or_noun(words: Words, index: int) -> bool:
    """Does a singular noun or a name stand before? Its present tense ends in s."""
    before = (words[index - 1] or "") if index else ""
    if before.lower() in GRAMMAR.no_names:
        return False
    return before[:1].isupper() or at(words, index - 2) in GRAMMAR.determiners


def judge(words: Words, index: int, name: str, senses: frozenset[str] = frozenset()) -> str:
    """The tag of the first rule of `name` (`data/english_grammar.toml`) whose conditions hold; or nothing."""
    before = previous(words, index)
    for tag, *conditions in GRAMMAR.rules[name]:
        if all(_holds(words, index, before, senses, what) for what in conditions):
            return str(tag)
    return ""


def _holds(words: Words, index: int, before: str, senses: frozenset[str], what: str) -> bool:
    denied, name, members = _condition(what)
    if name in _PLACES:
        found = at(words, index + _PLACES[name]) in members
    elif name == "before":
        found = before in members
    elif name.startswith("near"):
        found = not members.isdisjoint(nearby(words, index, int(name[4:])))
    else:
        after = at(words, index + 1)
        found = {
            "sense": lambda: not members.isdisjoint(senses),
            "earlier": lambda: any(at(words, index - back) in members for back in (2, 3, 4)),
            "verb": lambda: bool(judge(words, index, "is a verb")),
            "plural": lambda: is_plural(before),
            "adjective": lambda: is_adjective(before),
            "beyond-ing": lambda: at(words, index + 2).endswith("ing"),
            "adverb": lambda: at(words, index - 1) != before,
            "possessive": lambda: before.endswith("'s"),
            "next-plural": lambda: is_plural(after),
            "next-adjective": lambda: is_adjective(after) or after.endswith("ly"),
            "capital": lambda: index > 0 and (words[index - 1] or "")[:1].isupper(),
            "name": lambda: is_name_or_noun(words, index),
        }[name]()
    return found is not denied


@functools.cache
def _condition(text: str) -> tuple[bool, str, frozenset[str]]:
    """ "!after=to,@be" → is it denied, what is looked at, the words it may be; "-" is none, "@" a group."""
    name, _, values = text.lstrip("!").partition("=")
    listed = values.split(",")
    members = frozenset(value.strip("-") for value in listed if value[:1] != "@")
    return text[0] == "!", name, members.union(*(getattr(GRAMMAR, v[1:]) for v in listed if v[:1] == "@"))
