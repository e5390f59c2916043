"""What English words around a word say about it: is it a verb here, a noun, an adjective?

A handful of word classes and their order; this covers what decides most cases, and is no parser.
"""

from __future__ import annotations

from collections.abc import Sequence

Words = Sequence[str | None]
"""Spoken words in order; None is a pause."""


def group(text: str) -> frozenset[str]:
    """The words of a text, as a set."""
    return frozenset(text.split())


DETERMINERS = group(
    "a an the this these those my your his her its our their no some any each every another whose which what"
)
NUMBERS = group(
    "one two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty hundred"
)
PREPOSITIONS = group(
    "of in on at by from with without into onto for about over under between through against during "
    "after before "
    "upon toward towards per via near behind beyond within across along among like since until"
)
PRONOUNS = group("i you we they he she it who")
AUXILIARIES = group(
    "will would can could shall should may might must do does did don't doesn't didn't won't wouldn't "
    "can't cannot "
    "couldn't shouldn't i'll you'll he'll she'll we'll they'll it'll i'd you'd he'd she'd we'd they'd "
    "let let's please"
)
OBJECTS = group("the a an my your his its our their this these those it them us me him her that every all")
HAVE = group("have has had having i've you've we've they've he'd she'd i'd haven't hasn't hadn't")
BE = group(
    "be been being is are was were am i'm you're we're they're he's she's it's isn't wasn't aren't "
    "weren't that's"
)
MEASURES = group("very so too more most quite rather less as")
_ADVERBS = group(
    "not never always just ever also still only really often soon even now then usually sometimes"
)
_PLURALS = group("people children men women police fish sheep both many few others most all some themselves")
_NOT_PLURAL = group(
    "this his its is was has does us thus yes always perhaps less unless across towards as plus minus "
    "news sometimes "
    "nowadays besides whereas ours yours theirs hers"
)
_ADJECTIVES = group(
    "big small large little new old young good bad poor fresh high low long short main local great "
    "early late heavy "
    "light dark white black red green blue cold hot warm dry wet free full empty first second third "
    "last next final "
    "major minor strange simple strong weak public private social human national international foreign "
    "domestic real "
    "true false best worst better worse same other own only single double whole entire various several "
    "official legal "
    "medical annual daily weekly monthly personal recent current modern former sudden sharp steep "
    "slight huge vast "
    "tiny rapid slow quick direct open lovely fine nice clear common rare certain proper average total "
    "double "
    "building work world tax fat water student peace rescue"
)
_ADJECTIVE_ENDS = ("ful", "ous", "ive", "ical", "able", "ible", "less", "ary", "ional", "ish")
_AFTER_VERB = group(
    "when if because every again only slowly quickly easily well badly here there together how why "
    "where what whether "
    "and or to out up down off back away more less too very much both each such new no water electricity"
)
_CONJUNCTIONS = group("and or but nor")


def at(words: Words, index: int) -> str:
    """The word at an index in lower case; empty for a pause and beyond the ends."""
    return (words[index] or "").lower() if 0 <= index < len(words) else ""


def previous(words: Words, index: int) -> str:
    """The word before, adverbs passed over."""
    back = index - 1
    while back > index - 4 and (
        at(words, back) in _ADVERBS or (at(words, back).endswith("ly") and at(words, back - 1))
    ):
        back -= 1
    return at(words, back)


def nearby(words: Words, index: int, reach: int) -> frozenset[str]:
    """Words within `reach` on either side, the word itself left out."""
    around = [at(words, near) for near in range(index - reach, index + reach + 1) if near != index]
    return frozenset(word for word in around if word)


def is_plural(word: str) -> bool:
    """Does a word look like a plural, which takes a verb's plain form?"""
    if word in _PLURALS:
        return True
    return (
        word.endswith("s")
        and len(word) > 3
        and not word.endswith(("ss", "us", "'s", "ous"))
        and word not in _NOT_PLURAL
    )


def is_adjective(word: str) -> bool:
    return word in _ADJECTIVES or (len(word) > 5 and word.endswith(_ADJECTIVE_ENDS))


def is_verb_here(words: Words, index: int) -> bool:
    """Is a word that may be a verb's plain form one here?"""
    before, after = previous(words, index), at(words, index + 1)
    if before == "to":
        return at(words, index - 2) not in ("according", "due", "thanks") and after not in BE
    if before in PRONOUNS or before in AUXILIARIES:
        return before != "it" or after in OBJECTS
    if before in DETERMINERS or before in PREPOSITIONS or before.endswith("'s"):
        return False
    # "do you …", "would they …": the subject was passed, so an auxiliary two or three back.
    if not before:
        return after in OBJECTS
    if is_plural(before):
        return after not in BE and after not in HAVE and after not in AUXILIARIES and _may_follow(after)
    if before in _CONJUNCTIONS:
        return after in OBJECTS
    if any(
        at(words, index - back) in ("did", "does", "do", "will", "would", "can", "could") for back in (2, 3)
    ):
        return not is_adjective(before)
    return after in OBJECTS and not is_adjective(before)


def _may_follow(after: str) -> bool:
    """What comes after a verb rather than after a noun that is the subject of another verb."""
    return (
        not after
        or after in OBJECTS
        or after in PREPOSITIONS
        or after in _AFTER_VERB
        or after in DETERMINERS
        or after in NUMBERS
        or is_adjective(after)
        or is_plural(after)
        or after.endswith("ly")
    )


def noun_or_verb(words: Words, index: int, senses: frozenset[str]) -> str:
    """NOUN, VERB, ADJ, or nothing where the neighbours do not say, for a word with these `senses`."""
    before, after = previous(words, index), at(words, index + 1)
    adjective = "ADJ" in senses or ("VERB" in senses and "NOUN" not in senses)
    if before in MEASURES:
        return "ADJ"
    if before in BE:
        return "ADJ" if "ADJ" in senses else ""
    if is_verb_here(words, index):
        return "VERB"
    if before in DETERMINERS or before in PREPOSITIONS or before in NUMBERS or before.endswith("'s"):
        content = bool(after) and after not in PREPOSITIONS | BE | AUXILIARIES | DETERMINERS | _CONJUNCTIONS
        if "ADJ" in senses and content and before in DETERMINERS:
            return "ADJ"
        return "NOUN"
    if is_adjective(before) or at(words, index - 2) in DETERMINERS | MEASURES | NUMBERS:
        return "NOUN"
    closes = not after or after in PREPOSITIONS or after in BE or after in _CONJUNCTIONS
    if not before and not adjective:
        return "NOUN" if closes or is_plural(after) else ""
    return "NOUN" if closes and not is_plural(before) else ""
