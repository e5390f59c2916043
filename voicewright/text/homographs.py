"""Words that one spelling gives two sounds for reasons of meaning: "lead", "read", "live", "bow", "bass".

What is talked about nearby decides where grammar does not. Tags as in tagger.py; METAL is this module's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from voicewright.text.grammar import (
    AUXILIARIES,
    BE,
    DETERMINERS,
    HAVE,
    NUMBERS,
    PREPOSITIONS,
    at,
    group,
    is_plural,
    is_verb_here,
    nearby,
    previous,
)

Words = Sequence[str | None]

OWN: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {"lead": {"METAL": "lˈɛd"}, "protest": {"VERB": "pɹətˈɛst"}, "protests": {"VERB": "pɹətˈɛsts"}}
)
"""Sounds that the lexicon lacks: word → tag → phonemes, the same on both sides of the ocean."""

_THIRD = group("he she it who nobody everybody somebody everyone someone anyone no-one")
_METAL = group(
    "metal metals pipe pipes paint poisoning poisonous poison toxic zinc copper tin iron silver roof "
    "bullet bullets "
    "battery batteries gasoline petrol mine mines ore melted molten solder oxide exposure contaminated "
    "painters acid "
    "pencil pencils weights heavier plumbing glass crystal shielding apron leaded"
)
_METAL_NEXT = group(
    "pipe pipes paint poisoning roof roofs bullet bullets battery shot weight weights glass crystal "
    "mine mines ore "
    "oxide exposure solder acid levels content apron ingot ingots shielding acetate"
)
_STEERING = group("take took taken takes taking lose lost in the follow followed")
_ON_AIR = group(
    "broadcast broadcasting streamed streaming shown aired recorded performed spoke speak speaking sang "
    "sing singing "
    "played play playing reporting report reported seen appear appeared televised going go went watch watched"
)
_LIVE_THINGS = group(
    "show shows music tv television concert concerts performance performances broadcast broadcasts audience "
    "audiences stream streams streaming coverage album recording recordings event events wire wires "
    "ammunition fire "
    "feed video band bands radio bait births animal animals animals chicken chickens fish lobster "
    "report reports "
    "debate interview match game games theatre theater session sessions version act"
)
_NEAR = group(
    "friend friends family relative relatives race call range contact ties look second finish attention "
    "proximity "
    "relationship relationships match game behind enough together quarters combat companion ally allies "
    "cousin "
    "colleague"
)
_STAY = group(
    "stay stays stayed come comes came coming get gets got getting keep keeps kept keeping stand stood "
    "stands sit sat "
    "draw drew live lives lived look looked feel felt remain remained grow grew follow followed hold "
    "holds held"
)
_CLOTH = group(
    "jacket shirt fabric cloth muscle ligament paper page sail tent dress trousers jeans curtain coat "
    "sleeve sheet net "
    "knee shoulder tendon wear"
)
_SHIP = group("ship boat stern deck vessel sailor sailors anchor yacht waves port starboard hull captain")
_FISH = group(
    "fish caught catch fishing lake river sea grilled striped largemouth fillet bait sole cod salmon "
    "trout pond cooked "
    "anglers angler"
)
_PAST_TIMES = group("yesterday ago last once earlier previously formerly")
_HABITS = group("every always often usually sometimes never now today daily rarely")
_PAST_VERBS = group(
    "was were had did went said told came saw took gave found knew thought felt left got made wrote "
    "heard sat stood"
)
_MOVING = group(
    "up around its his her down through round along past between tightly across into onto over back"
)
_TINY = (
    "detail",
    "quantit",
    "amount",
    "particle",
    "difference",
    "trace",
    "fraction",
    "crack",
    "organism",
    "change",
)


def _lead(words: Words, index: int) -> str:
    before, after = at(words, index - 1), at(words, index + 1)
    if after in _METAL_NEXT or before in ("molten", "pencil"):
        return "METAL"
    if is_verb_here(words, index) or (before in ("a", "an") and after not in _METAL):
        return ""
    if (before in _STEERING and after not in _METAL) or after in ("to", "role", "singer", "guitar", "actor"):
        return ""
    return "METAL" if nearby(words, index, 8) & _METAL else ""


def _read(words: Words, index: int) -> str:
    before = previous(words, index)
    if before in HAVE or before in BE or before in ("well", "widely"):
        return "VBN"
    # The nearest auxiliary of the clause decides: "did you read", "have they ever read".
    for back in range(1, 5):
        word = at(words, index - back)
        if not word:
            break
        if word in HAVE:
            return "VBN"
        if word in AUXILIARIES or word == "to":
            return "VBP"
    if not before:
        return "VBP"
    around = nearby(words, index, 12)
    third = (before in _THIRD and before != "who") or (
        not is_plural(before) and _is_name_or_noun(words, index)
    )
    if third:
        return "VBD"
    past = around & _PAST_TIMES or any(word.endswith("ed") and len(word) > 4 for word in around)
    if (past or around & _PAST_VERBS) and not around & _HABITS:
        return "VBD"
    return "VBP" if before != "who" or is_plural(at(words, index - 2)) else "VBD"


def _is_name_or_noun(words: Words, index: int) -> bool:
    """Does a singular noun or a name stand before? Its present tense would be "reads"."""
    before, earlier = words[index - 1] or "", at(words, index - 2)
    if before.lower() in (
        "i",
        "we",
        "you",
        "they",
        "and",
        "or",
        "people",
        "please",
        "children",
        "who",
        "that",
        "to",
    ):
        return False
    return before[:1].isupper() or earlier in DETERMINERS


def _wound(words: Words, index: int) -> str:
    before, after = previous(words, index), at(words, index + 1)
    if before in HAVE or (before in BE and after in _MOVING):
        return "VBN"
    if before in DETERMINERS:
        return "NN"
    subject = before in ("he", "she", "it", "who", "they", "we", "i", "you", "which")
    path = after in _MOVING and at(words, index - 2) in DETERMINERS
    return "VBD" if subject or path or after in ("up", "around", "its", "tightly") else "NN"


def _live(words: Words, index: int) -> str:
    before, after = at(words, index - 1), at(words, index + 1)
    if after in _LIVE_THINGS or before in DETERMINERS or before in BE or before in _ON_AIR:
        return "ADJ"
    return "ADJ" if at(words, index - 2) in _ON_AIR and after in ("", "from", "on", "in") else "VERB"


def _lives(words: Words, index: int) -> str:
    before, after = previous(words, index), at(words, index + 1)
    if (
        before in DETERMINERS
        or before in NUMBERS
        or before in ("of", "many", "save", "saved", "cost", "human", "lost")
    ):
        return "NOUN"
    settled = after in PREPOSITIONS or (
        after in group("alone here there next nearby today now") and after != "of"
    )
    return "VERB" if before in _THIRD or before in ("that", "which") or settled else "NOUN"


def _close(words: Words, index: int) -> str:
    before, after = previous(words, index), at(words, index + 1)
    if (before == "the" and after == "of") or (before in ("a", "its") and not after):
        return "NOUN"
    if (
        after in _NEAR
        or before in _STAY
        or before in ("a", "very", "so", "too", "as", "how", "quite", "this", "that")
    ):
        return "ADJ"
    if after in ("to", "by") and (before in BE or not is_plural(before)) and before not in AUXILIARIES:
        return "ADJ" if before != "to" else "VERB"
    if before in BE:
        return "ADJ"
    if not after and not is_plural(before) and any(at(words, index - back) in _STAY for back in (2, 3, 4)):
        return "ADJ"
    return "VERB" if is_verb_here(words, index) else ""


def _tear(words: Words, index: int) -> str:
    after = at(words, index + 1)
    if after in ("gas", "duct", "ducts", "drop", "drops", "stained"):
        return ""
    return "VERB" if is_verb_here(words, index) or nearby(words, index, 6) & _CLOTH else ""


def _tears(words: Words, index: int) -> str:
    before, after = previous(words, index), at(words, index + 1)
    if before in DETERMINERS or before in PREPOSITIONS or before in ("into", "and", "of", "shed", "wiped"):
        return ""
    apart = after in DETERMINERS or after in group("up down off apart out open easily at away")
    return "VERB" if before in _THIRD or (apart and before) else ""


def _bow(words: Words, index: int) -> str:
    before = at(words, index - 1)
    polite = before == "a" and at(words, index - 2) in group("take took takes taking taken with made gave")
    return "VERB" if polite or is_verb_here(words, index) or nearby(words, index, 8) & _SHIP else ""


def _bass(words: Words, index: int) -> str:
    return "" if nearby(words, index, 8) & _FISH else "ADJ"


def _minute(words: Words, index: int) -> str:
    before, after = previous(words, index), at(words, index + 1)
    tiny = after.startswith(_TINY) and before not in NUMBERS
    small = before in BE or before in ("so", "very", "too", "incredibly", "these")
    return "ADJ" if tiny or (small and after in ("", "and", "but", "compared", "to")) else ""


def _content(words: Words, index: int) -> str:
    before, after = previous(words, index), at(words, index + 1)
    if before in BE or before in group(
        "seem seems seemed feel feels felt look looks looked remain quite very less"
    ):
        return ""
    if before == "and" and after not in ("of", "is", "was"):
        return ""
    return (
        "NOUN"
        if after not in ("with", "to", "yourself", "himself", "herself", "myself") or before == "the"
        else ""
    )


def _dove(words: Words, index: int) -> str:
    before, after = previous(words, index), at(words, index + 1)
    plunged = after in group("into in off under beneath down deep headfirst straight")
    return (
        "VERB" if before in group("he she it who they we i you and") and (plunged or before != "and") else ""
    )


SPECIAL: Mapping[str, Callable[[Words, int], str]] = MappingProxyType(
    {
        "lead": _lead, "read": _read, "reread": _read, "wound": _wound, "live": _live, "lives": _lives,
        "close": _close, "tear": _tear, "tears": _tears, "bow": _bow, "bass": _bass, "minute": _minute,
        "content": _content, "dove": _dove,
    }
)  # fmt: skip
"""Words with rules of their own; each takes the words and an index and gives a tag."""
