"""Part of speech, from neighbours, for the few words whose sound depends on it ("the record", "to record").

Tags are those of kokorog2p's lexicon (Penn Treebank tags and NOUN, VERB, ADJ). An empty tag means "no idea":
the lexicon's default is taken. grammar.py tells nouns from verbs, homographs.py has the words that need more.
"""

from __future__ import annotations

from voicewright.text.grammar import BE, Words, group, noun_or_verb
from voicewright.text.homographs import SPECIAL

_LETTERS = group("vitamin plan grade class type group team level hepatitis section point exhibit letter")
_DEMONSTRATIVE = group(
    "of in at for with like from about by on to than and but is was do did does all after before over at not "
    "are were or so if what's how's who's"
)
_ACRONYMS = group("US IT ID OS WHO PA LA GI SAT COD OD")
_AFTER_USED_TO = group("the a an my your his its our their this these those it them us me him that")


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
    if low in SPECIAL:
        return SPECIAL[low](words, index)
    return noun_or_verb(words, index, senses) if senses else ""


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
    if before.lower() in BE and not (third.lower() in _AFTER_USED_TO or third.endswith("ing")):
        return "VBN"
    return "VBD"
