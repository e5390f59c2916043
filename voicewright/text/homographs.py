"""Words that one spelling gives two sounds for reasons of meaning: "lead", "read", "live", "bow", "bass".

What is talked about nearby decides where grammar does not: the rules are in `data/english_grammar.toml`, those of
"read" here. Tags as in tagger.py; METAL is the rules' own.
"""

from __future__ import annotations

import functools

from voicewright.text.grammar import Words, at, is_adjective, is_plural, is_verb_here, nearby, previous
from voicewright.text.tables import GRAMMAR


def sense_of(words: Words, index: int) -> str | None:
    """The tag of the first rule that fits; None for a word without rules."""
    word = at(words, index)
    if word in ("read", "reread"):
        return _read(words, index)
    if word not in GRAMMAR.rules:
        return None
    fits = (rule[0] for rule in GRAMMAR.rules[word] if all(_holds(words, index, what) for what in rule[1:]))
    return next(fits, "")


@functools.cache
def _condition(text: str) -> tuple[bool, str, frozenset[str]]:
    """ "!after=to,@be" → is it denied, what is looked at, the words it may be; "-" is none, "@" a group."""
    name, _, values = text.lstrip("!").partition("=")
    listed = values.split(",")
    members = {value.replace("-", "") for value in listed if not value.startswith("@")}
    return (
        text.startswith("!"),
        name,
        members.union(*(getattr(GRAMMAR, v[1:]) for v in listed if v[:1] == "@")),
    )


def _holds(words: Words, index: int, what: str) -> bool:
    denied, name, members = _condition(what)
    places = {"last": -1, "second": -2, "after": 1}
    before = previous(words, index)
    if name in places:
        found = at(words, index + places[name]) in members
    elif name.startswith("near"):
        found = not members.isdisjoint(nearby(words, index, int(name[4:])))
    else:
        found = {
            "before": lambda: before in members,
            "earlier": lambda: any(at(words, index - back) in members for back in (2, 3, 4)),
            "verb": lambda: is_verb_here(words, index),
            "plural": lambda: is_plural(before),
            "adjective": lambda: is_adjective(before),
            "capital": lambda: index > 0 and (words[index - 1] or "")[:1].isupper(),
            "name": lambda: _is_name_or_noun(words, index),
        }[name]()
    return found is not denied


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
        not is_plural(before) and _is_name_or_noun(words, index)
    ):
        return "VBD"
    around = nearby(words, index, 12)
    past = around & (GRAMMAR.past_times | GRAMMAR.past_verbs) or any(
        word.endswith("ed") and len(word) > 4 for word in around
    )
    if past and not around & GRAMMAR.habits:
        return "VBD"
    return "VBP" if before != "who" or is_plural(at(words, index - 2)) else "VBD"


def _is_name_or_noun(words: Words, index: int) -> bool:
    """Does a singular noun or a name stand before? Its present tense would be "reads"."""
    before, earlier = words[index - 1] or "", at(words, index - 2)
    if before.lower() in GRAMMAR.no_names:
        return False
    return before[:1].isupper() or earlier in GRAMMAR.determiners
