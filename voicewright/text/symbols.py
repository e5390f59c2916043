"""Which sounds of a language a symbol table cannot write: what would be said instead, what falls together.

Kokoro-Vietnamese's lesson: two sounds on one symbol cannot be learnt apart, however long a training takes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from voicewright.errors import VoicewrightError
from voicewright.text.frontend import Frontend, Tokens
from voicewright.text.vocab import N_TOKENS, NEAREST, PAD, spell

TONES = "0123456789˥˦˧˨˩"
"""How phonemes write tones (espeak-ng in digits); nothing stands in for them."""


@dataclass(frozen=True)
class Lacking:
    """A sound that a table has no slot for. `instead`: what is said for it ("": nothing); `word`: one that
    has it."""

    symbol: str
    instead: str
    count: int
    word: str


@dataclass(frozen=True)
class Audit:
    """Of a corpus's texts. `lacking`, the most frequent first; `alike`: pairs of words that the table writes
    alike though they sound different; `unknown`: signs for which there is no sound at all."""

    lacking: tuple[Lacking, ...]
    alike: tuple[tuple[str, str], ...]
    unknown: tuple[str, ...]

    def lines(self, name: str) -> list[str]:
        """What is said of a language of that name."""
        found = [
            f"{name} has {one.symbol} ({one.count} times, as in “{one.word}”), which the model has no symbol "
            f"for: {'it is left out' if not one.instead else f'{one.instead} would be said'}."
            for one in self.lacking
        ]
        if self.alike:
            shown = ", ".join(f"{one} and {other}" for one, other in self.alike[:4])
            more = f" and {len(self.alike) - 4} pairs more" if len(self.alike) > 4 else ""
            found.append(f"Written alike by it: {shown}{more}.")
        return found


def audit(texts: Iterable[str], language: str, vocab: Mapping[str, int]) -> Audit:
    """What of a language's texts a table cannot write. Raises UsageError for a language that no one reads."""
    reader = Frontend(language, None, everything(vocab))
    counts: dict[str, int] = {}
    examples: dict[str, str] = {}
    written: dict[str, dict[str, str]] = {}
    unknown: dict[str, None] = {}
    for text in texts:
        tokens = reader.tokens(text)
        unknown |= dict.fromkeys(tokens.unknown)
        for word, phonemes in _words(tokens):
            for symbol in phonemes:
                if symbol not in vocab:
                    counts[symbol] = counts.get(symbol, 0) + 1
                    examples.setdefault(symbol, word)
            alike = "".join(spell(symbol, vocab) or "" for symbol in phonemes)
            written.setdefault(alike, {}).setdefault(phonemes, word)
    lacking = [Lacking(s, spell(s, vocab) or "", n, examples[s]) for s, n in counts.items()]
    pairs = [tuple(sorted(forms.values()))[:2] for forms in written.values() if len(forms) > 1]
    return Audit(
        tuple(sorted(lacking, key=lambda one: -one.count)),
        tuple((one, other) for one, other in sorted(pairs)),
        tuple(unknown),
    )


def _words(tokens: Tokens) -> list[tuple[str, str]]:
    """Words in small letters and their phonemes, without stress."""
    return [
        (word.text.lower(), tokens.phonemes[word.start : word.stop].replace("ˈ", "").replace("ˌ", ""))
        for word in tokens.words
    ]


def everything(vocab: Mapping[str, int]) -> dict[str, int]:
    """A table that writes every sound which the package knows a stand-in for; only for reading, as what is
    new in it has the pad's id."""
    return dict.fromkeys([*NEAREST, *TONES], PAD) | dict(vocab)


def own_slots(lacking: Sequence[Lacking], vocab: Mapping[str, int], slots: int = N_TOKENS) -> dict[str, int]:
    """A table with a slot of its own for each sound, in slots that nothing uses.

    Raises VoicewrightError where there are too few.
    """
    taken = {PAD, *vocab.values()}
    free = [slot for slot in range(slots) if slot not in taken]
    if len(free) < len(lacking):
        raise VoicewrightError(
            f"the language has {len(lacking)} sounds that the model has no symbol for, and {len(free)} slots "
            "are free; write some of them alike in a lexicon."
        )
    return dict(vocab) | {one.symbol: slot for one, slot in zip(lacking, free, strict=False)}


def reread(text: str, phonemes: str, reader: Frontend, vocab: Mapping[str, int]) -> str:
    """A text's phonemes by a reader with a larger table than `vocab`, by which `phonemes` were written;
    these, where they came about otherwise (by a lexicon, by hand)."""
    fresh = reader.tokens(text).phonemes
    return fresh if "".join(spell(symbol, vocab) or "" for symbol in fresh) == phonemes else phonemes
