"""Which sounds a corpus holds, which it lacks, and which sentences would add them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import pairwise
from typing import Protocol

from voicewright.corpus.manifest import Utterance
from voicewright.text.frontend import Tokens

_MARKS = frozenset("ˈˌːʰʲ̃")
RARE = 20
"""A sound heard less often is worth recording."""
RARE_PAIR = 3
_EDGE = "#"
"""Stands for silence in a pair of sounds."""


class Reader(Protocol):
    def tokens(self, text: str) -> Tokens: ...


@dataclass(frozen=True)
class Suggestion:
    """A sentence worth recording, and the sounds and pairs of sounds that the corpus has too rarely."""

    text: str
    sounds: tuple[str, ...]
    pairs: tuple[str, ...]


@dataclass(frozen=True)
class Coverage:
    """How often each sound of the language occurs."""

    sounds: dict[str, int]
    """Sound → occurrences, most frequent first; sounds of the language that are missing count 0."""
    pairs: int
    """Different pairs of neighbouring sounds in the corpus."""
    pairs_lacking: int
    """Pairs that the prompts of the language hold and the corpus does not."""
    suggestions: tuple[Suggestion, ...]
    prompted: bool = True
    """Whether there are prompts in the language."""

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        return {
            "sounds": self.sounds,
            "pairs": self.pairs,
            "pairs_lacking": self.pairs_lacking,
            "record_next": [
                {"text": each.text, "sounds": list(each.sounds), "pairs": list(each.pairs)}
                for each in self.suggestions
            ],
        }


def sounds(phonemes: str) -> list[str]:
    """Speech sounds of a phoneme string, and `#` where speech pauses: stress and length marks left out.

    Neighbouring words stand next to each other, as they are spoken; punctuation parts them.
    """
    result = [_EDGE]
    for symbol in phonemes:
        if symbol.isalpha() and symbol not in _MARKS:
            result.append(symbol)
        elif symbol not in _MARKS and not symbol.isspace() and result[-1] != _EDGE:
            result.append(_EDGE)
    if result[-1] != _EDGE:
        result.append(_EDGE)
    return result


def _pairs(chain: Sequence[str]) -> list[str]:
    return [first + second for first, second in pairwise(chain)]


def prompts(language: str) -> tuple[str, ...]:
    """Phonetically rich sentences for a language code; empty where the package has none."""
    path = resources.files("voicewright.corpus") / "data" / f"prompts_{language.split('-')[0]}.txt"
    if not path.is_file():
        return ()
    return tuple(line for line in path.read_text("utf-8").splitlines() if line.strip())


def survey(utterances: Sequence[Utterance], language: str, reader: Reader, count: int = 10) -> Coverage:
    """Count what the corpus holds and choose up to `count` prompts that add most to it."""
    heard: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    for utterance in utterances:
        chain = sounds(utterance.phonemes)
        heard.update(symbol for symbol in chain if symbol != _EDGE)
        pairs.update(_pairs(chain))
    spoken = {utterance.text.strip().lower() for utterance in utterances}
    chains = {text: sounds(reader.tokens(text).phonemes) for text in prompts(language)}
    inventory = {symbol for chain in chains.values() for symbol in chain} - {_EDGE}
    prompted = {pair for chain in chains.values() for pair in _pairs(chain)}
    ordered = dict(heard.most_common()) | dict.fromkeys(sorted(inventory - set(heard)), 0)
    return Coverage(
        sounds=ordered,
        pairs=len(pairs),
        pairs_lacking=len(prompted - set(pairs)),
        suggestions=_choose(
            {text: chain for text, chain in chains.items() if text.lower() not in spoken}, heard, pairs, count
        ),
        prompted=bool(chains),
    )


def _choose(
    chains: dict[str, list[str]], heard: Counter[str], pairs: Counter[str], count: int
) -> tuple[Suggestion, ...]:
    """Greedy: each time the sentence with most new or rare sounds and pairs for its length."""
    heard, pairs = heard.copy(), pairs.copy()
    left = dict(chains)
    chosen: list[Suggestion] = []
    while left and len(chosen) < count:
        text = max(left, key=lambda each: _worth(left[each], heard, pairs))
        chain = left.pop(text)
        rare = sorted({symbol for symbol in chain if symbol != _EDGE and heard[symbol] < RARE})
        new = sorted({pair for pair in _pairs(chain) if pairs[pair] < RARE_PAIR})
        if not rare and not new:
            break
        chosen.append(Suggestion(text, tuple(rare), tuple(new)))
        heard.update(symbol for symbol in chain if symbol != _EDGE)
        pairs.update(_pairs(chain))
    return tuple(chosen)


def _worth(chain: Sequence[str], heard: Counter[str], pairs: Counter[str]) -> float:
    rare = sum(
        1.0 - heard[symbol] / RARE for symbol in set(chain) if symbol != _EDGE and heard[symbol] < RARE
    )
    new = sum(1.0 / (1 + pairs[pair]) ** 2 for pair in set(_pairs(chain)) if pairs[pair] < RARE_PAIR)
    return (3.0 * rare + new) / len(chain) ** 0.5
