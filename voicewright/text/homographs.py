"""Words that one spelling gives two sounds for reasons of meaning: "lead", "read", "live", "bow", "bass".

What is talked about nearby decides where grammar does not. Tags as in tagger.py; METAL is this module's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from voicewright.text.grammar import Words, at, is_adjective, is_plural, is_verb_here, nearby, previous
from voicewright.text.tables import GRAMMAR


def _lead(words: Words, index: int) -> str:
    before, after = at(words, index - 1), at(words, index + 1)
    if after in GRAMMAR.metal_next or before in ("molten", "pencil"):
        return "METAL"
    if is_verb_here(words, index) or (before in ("a", "an") and after not in GRAMMAR.metal):
        return ""
    if (before in GRAMMAR.steering and after not in GRAMMAR.metal) or after in (
        "to",
        "role",
        "singer",
        "guitar",
        "actor",
    ):
        return ""
    return "METAL" if nearby(words, index, 8) & GRAMMAR.metal else ""


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
    around = nearby(words, index, 12)
    third = (before in GRAMMAR.third and before != "who") or (
        not is_plural(before) and _is_name_or_noun(words, index)
    )
    if third:
        return "VBD"
    past = around & GRAMMAR.past_times or any(word.endswith("ed") and len(word) > 4 for word in around)
    if (past or around & GRAMMAR.past_verbs) and not around & GRAMMAR.habits:
        return "VBD"
    return "VBP" if before != "who" or is_plural(at(words, index - 2)) else "VBD"


def _is_name_or_noun(words: Words, index: int) -> bool:
    """Does a singular noun or a name stand before? Its present tense would be "reads"."""
    before, earlier = words[index - 1] or "", at(words, index - 2)
    if before.lower() in GRAMMAR.no_names:
        return False
    return before[:1].isupper() or earlier in GRAMMAR.determiners


def _wound(words: Words, index: int) -> str:
    before, after = previous(words, index), at(words, index + 1)
    if before in GRAMMAR.have or (before in GRAMMAR.be and after in GRAMMAR.moving):
        return "VBN"
    if before in GRAMMAR.determiners:
        return "NN"
    named = is_plural(before) or (words[index - 1] or "")[:1].isupper()
    subject = before in GRAMMAR.divers or (index > 0 and named and after in GRAMMAR.objects)
    path = after in GRAMMAR.moving and at(words, index - 2) in GRAMMAR.determiners
    return "VBD" if subject or path or after in ("up", "around", "its", "tightly") else "NN"


def _live(words: Words, index: int) -> str:
    before, after = at(words, index - 1), at(words, index + 1)
    if (
        after in GRAMMAR.live_things
        or before in GRAMMAR.determiners
        or before in GRAMMAR.be
        or before in GRAMMAR.on_air
    ):
        return "ADJ"
    return "ADJ" if at(words, index - 2) in GRAMMAR.on_air and after in ("", "from", "on", "in") else "VERB"


def _lives(words: Words, index: int) -> str:
    before, after = previous(words, index), at(words, index + 1)
    if (
        before in GRAMMAR.determiners
        or before in GRAMMAR.numbers
        or before in ("of", "many", "save", "saved", "cost", "human", "lost")
    ):
        return "NOUN"
    settled = after in GRAMMAR.prepositions or (after in GRAMMAR.settled and after != "of")
    return "VERB" if before in GRAMMAR.third or before in ("that", "which") or settled else "NOUN"


def _close(words: Words, index: int) -> str:
    before, after = previous(words, index), at(words, index + 1)
    if (before == "the" and after == "of") or (before in ("a", "its") and not after):
        return "NOUN"
    if (
        after in GRAMMAR.near
        or before in GRAMMAR.stay
        or before in ("a", "very", "so", "too", "as", "how", "quite", "this", "that")
    ):
        return "ADJ"
    if (
        after in ("to", "by")
        and (before in GRAMMAR.be or not is_plural(before))
        and before not in GRAMMAR.auxiliaries
    ):
        return "ADJ" if before != "to" else "VERB"
    if before in GRAMMAR.be:
        return "ADJ"
    if (
        not after
        and not is_plural(before)
        and any(at(words, index - back) in GRAMMAR.stay for back in (2, 3, 4))
    ):
        return "ADJ"
    return "VERB" if is_verb_here(words, index) else ""


def _tear(words: Words, index: int) -> str:
    after = at(words, index + 1)
    if after in ("gas", "duct", "ducts", "drop", "drops", "stained"):
        return ""
    return "VERB" if is_verb_here(words, index) or nearby(words, index, 6) & GRAMMAR.cloth else ""


def _tears(words: Words, index: int) -> str:
    before, after = previous(words, index), at(words, index + 1)
    if (
        before in GRAMMAR.determiners
        or before in GRAMMAR.prepositions
        or before in ("into", "and", "of", "shed", "wiped")
    ):
        return ""
    apart = after in GRAMMAR.determiners or after in GRAMMAR.torn
    return "VERB" if before in GRAMMAR.third or (apart and before) else ""


def _bow(words: Words, index: int) -> str:
    before = at(words, index - 1)
    polite = before == "a" and at(words, index - 2) in GRAMMAR.bowing
    return "VERB" if polite or is_verb_here(words, index) or nearby(words, index, 8) & GRAMMAR.ship else ""


def _bass(words: Words, index: int) -> str:
    return "" if nearby(words, index, 8) & GRAMMAR.fish else "ADJ"


def _minute(words: Words, index: int) -> str:
    before, after = previous(words, index), at(words, index + 1)
    tiny = after.startswith(GRAMMAR.tiny) and before not in GRAMMAR.numbers
    small = before in GRAMMAR.be or before in ("so", "very", "too", "incredibly", "these")
    return "ADJ" if tiny or (small and after in ("", "and", "but", "compared", "to")) else ""


def _content(words: Words, index: int) -> str:
    before, after = previous(words, index), at(words, index + 1)
    if before in GRAMMAR.be or before in GRAMMAR.contented:
        return ""
    if before == "and" and after not in ("of", "is", "was"):
        return ""
    return (
        "NOUN"
        if after not in ("with", "to", "yourself", "himself", "herself", "myself") or before == "the"
        else ""
    )


def _dove(words: Words, index: int) -> str:
    """ "The girls dove in", "prices dove"; but "the white dove in the cage"."""
    before, after = previous(words, index), at(words, index + 1)
    plunged = after in GRAMMAR.plunging
    if before in GRAMMAR.divers or before in GRAMMAR.have:
        return "VERB"
    if before in GRAMMAR.determiners or before in GRAMMAR.kinds_of_dove or is_adjective(before):
        return "VERB" if before == "all" or (before == "that" and plunged and after != "in") else ""
    if not before or before in GRAMMAR.prepositions or before in GRAMMAR.conjunctions or before in GRAMMAR.be:
        return (
            "VERB"
            if after in GRAMMAR.headlong
            or (plunged and (before or at(words, index - 1)) and before not in GRAMMAR.prepositions)
            else ""
        )
    subject = is_plural(before) or _is_name_or_noun(words, index) or (before in GRAMMAR.mass)
    return "VERB" if plunged or (subject and (not after or after in GRAMMAR.after_dive)) else ""


SPECIAL: Mapping[str, Callable[[Words, int], str]] = MappingProxyType(
    {
        "lead": _lead, "read": _read, "reread": _read, "wound": _wound, "live": _live, "lives": _lives,
        "close": _close, "tear": _tear, "tears": _tears, "bow": _bow, "bass": _bass, "minute": _minute,
        "content": _content, "dove": _dove,
    }
)  # fmt: skip
"""Words with rules of their own; each takes the words and an index and gives a tag."""
