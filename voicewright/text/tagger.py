"""Part of speech, from neighbours, for the few words whose sound depends on it ("the record", "to record").

Tags are those of kokorog2p's lexicon (Penn Treebank tags and NOUN, VERB, ADJ). An empty tag means "no idea":
the lexicon's default is taken. This covers what decides most cases; it is no parser.
"""

from __future__ import annotations

from collections.abc import Sequence


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DETERMINERS = _words("a an the this these those my your his her its our their no some any each every")
_PREPOSITIONS = _words(
    "of in on at by from with without into onto for about over under between through against during "
    "after before "
    "upon toward towards per via"
)
_BEFORE_NOUN = _DETERMINERS | _PREPOSITIONS | _words("one two three four five whose what which another")
_BEFORE_VERB = _words(
    "to he she will would can could shall should may might must do does did don't doesn't didn't won't "
    "wouldn't can't "
    "cannot couldn't shouldn't let let's please i you we they who i'll you'll he'll she'll we'll "
    "they'll it'll "
    "i'd you'd he'd she'd we'd they'd"
)
_SKIPPED = _words("not never always just ever also still only really often soon even now then")
_OBJECTS = _words("the a an my your his its our their this these those it them us me him that")
_HAVE = _words("have has had having i've you've we've they've he'd she'd i'd")
_BE = _words("be been being is are was were am i'm you're we're they're he's she's it's isn't wasn't")
_MEASURES = _words("very so too more most quite rather less as")
_ADJECTIVES = _words("close closer absent frequent invalid separate present live perfect moderate")
_AFTER_LIVE = _words(
    "show shows music tv television concert performance broadcast audience stream streaming coverage "
    "album recording "
    "event events wire ammunition fire feed video band radio bait births"
)
_AFTER_LIVES = _words("in on at with here there alone near next by under just")
_LETTERS = _words("vitamin plan grade class type group team level hepatitis section point exhibit letter")
_DEMONSTRATIVE = _words(
    "of in at for with like from about by on to than and but is was do did does all after before over at not "
    "are were or so if what's how's who's"
)
_ACRONYMS = _words("US IT ID OS WHO PA LA GI SAT COD OD")

Words = Sequence[str | None]
"""Spoken words in order; None is a pause."""


def tag(words: Words, index: int, senses: frozenset[str]) -> str:
    """The tag of `words[index]`, whose entry in the lexicon distinguishes `senses` (may be empty)."""
    word = words[index] or ""
    before, after = _at(words, index - 1), _at(words, index + 1)
    if word in ("a", "A"):
        return _article(word, before, after)
    if word == "I":
        return "PRP"
    if word.lower() in ("the", "to"):
        return "DT" if word.lower() == "the" else "TO"
    if word.lower() in ("in", "by", "vs", "vs."):
        return "IN"
    if (
        word in _ACRONYMS
        and not (before.isupper() and len(before) > 1)
        and not (after.isupper() and len(after) > 1)
    ):
        return "NNP"
    low = word.lower()
    if low == "that":
        return "DT" if not before or before.lower() in _DEMONSTRATIVE or not after else "IN"
    if low == "used":
        return _used(before, after, _at(words, index + 2))
    if not senses:
        return ""
    if low in ("read", "reread", "wound"):
        return _past(low, words, index)
    if low in ("live", "lives"):
        return _live(low, before.lower(), after.lower())
    return _noun_or_verb(low, words, index, senses)


def _at(words: Words, index: int) -> str:
    return (words[index] or "") if 0 <= index < len(words) else ""


def _article(word: str, before: str, after: str) -> str:
    """ "a cat", but "vitamin A" and "from A to B"."""
    if not after or before.lower() in _LETTERS:
        return "NN"
    return "NN" if word == "A" and before and not after[0].isupper() else "DT"


def _used(before: str, after: str, third: str) -> str:
    """ "used to go", "is used to it"; but "is used to make"."""
    if after.lower() != "to":
        return "VBN"
    if before.lower() in _BE and not (third.lower() in _OBJECTS or third.endswith("ing")):
        return "VBN"
    return "VBD"


def _previous(words: Words, index: int) -> str:
    """The word before, adverbs passed over."""
    at = index - 1
    while at > index - 4 and (_at(words, at).lower() in _SKIPPED or _at(words, at).endswith("ly")):
        at -= 1
    return _at(words, at).lower()


def _past(low: str, words: Words, index: int) -> str:
    before, after = _previous(words, index), _at(words, index + 1).lower()
    if low == "wound":
        moves = after in ("up", "around", "its", "his", "her", "down", "through", "round", "tightly")
        moves = moves or before in ("he", "she", "it", "who", "they", "we", "i", "you", "which")
        return "VBD" if moves and before not in _DETERMINERS else "NN"
    if before in _HAVE or before in _BE:
        return "VBN"
    return "VBD" if before in ("he", "she", "it", "who") else "VBP"


def _live(low: str, before: str, after: str) -> str:
    if low == "live":
        if (
            before in _DETERMINERS
            or before in _BE
            or after in _AFTER_LIVE
            or before in ("go", "went", "going")
        ):
            return "ADJ"
        return "VERB"
    return (
        "VERB" if before in ("he", "she", "it", "who", "that", "which") or after in _AFTER_LIVES else "NOUN"
    )


def _noun_or_verb(low: str, words: Words, index: int, senses: frozenset[str]) -> str:
    before, after = _previous(words, index), _at(words, index + 1).lower()
    if before in _MEASURES or (before in _BE and "ADJ" in senses and low != "learned"):
        return "ADJ"
    if low == "minute" and after.startswith(
        ("detail", "quantit", "amount", "particle", "difference", "trace")
    ):
        return "ADJ"
    if before in _BEFORE_NOUN or before.endswith("'s"):
        content = bool(after) and after not in _BEFORE_NOUN and after not in _BEFORE_VERB and after not in _BE
        modifies = low in _ADJECTIVES or ("ADJ" in senses and low != "minute")
        return (
            "ADJ"
            if content and modifies and before in _DETERMINERS and after not in ("and", "or")
            else "NOUN"
        )
    if before in _BEFORE_VERB:
        return "VERB"
    if before in _BE:
        return ""
    if after in _OBJECTS:
        return "VERB"
    # "a sudden ally", but "the workers object".
    closes = not after or after in _PREPOSITIONS or after in _BE or after in ("and", "or", "that", "which")
    plural = before.endswith("s") and not before.endswith(("ss", "us"))
    if closes and not plural and _at(words, index - 2).lower() in _DETERMINERS | _MEASURES:
        return "NOUN"
    return ""
