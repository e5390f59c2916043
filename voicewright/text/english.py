"""English words → Kokoro phonemes, through kokorog2p's lexicon and, for words it lacks, espeak-ng."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from voicewright.text.pieces import Kind, Piece

_VOWELS = frozenset("AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻ")
_CONSONANTS = frozenset("bdfhjklmnpstvwzðŋɡɹɾʃʒʤʧθT")
_STOPS = frozenset(";:,.!?—…")


class English:
    """Pronounces pieces of English. `british` chooses the lexicon; the G2P is built on first use."""

    def __init__(self, british: bool) -> None:
        self.british = british
        self._g2p: Any = None

    def _engine(self) -> Any:
        if self._g2p is None:
            from kokorog2p.en import EnglishG2P

            self._g2p = EnglishG2P(
                language="en-gb" if self.british else "en-us", use_espeak_fallback=True, use_spacy=False
            )
        return self._g2p

    def pronounce(self, pieces: Sequence[Piece]) -> list[str]:
        """Phonemes of every piece (empty for spaces, breaks and what has no sound)."""
        from kokorog2p.en.lexicon import TokenContext

        engine = self._engine()
        result = [""] * len(pieces)
        vowel: bool | None = None
        following = ""
        for index in range(len(pieces) - 1, -1, -1):
            piece = pieces[index]
            if piece.phonemes is not None:
                result[index] = piece.phonemes
                vowel = _first_sound(piece.phonemes, vowel)
                following = piece.spoken if piece.kind is Kind.WORD else ""
                continue
            if piece.kind is not Kind.WORD:
                continue
            said: list[str] = []
            for word in reversed(piece.spoken.split()):
                context = TokenContext(future_vowel=vowel, future_to=following.lower() == "to")
                tag = {"a": "DT", "A": "DT", "I": "PRP", "in": "IN", "In": "IN"}.get(word)
                phonemes, _ = engine.lexicon(word, tag, None, context)
                if phonemes is None:
                    phonemes, _ = engine.fallback(word)
                phonemes = (phonemes or "").replace("ɾ", "T").replace("ʔ", "t")
                said.append(phonemes)
                vowel = _first_sound(phonemes, vowel)
                following = word
            result[index] = " ".join(reversed(said))
        return result


def _first_sound(phonemes: str, otherwise: bool | None) -> bool | None:
    """Does what follows begin with a vowel? None before a pause."""
    for symbol in phonemes:
        if symbol in _VOWELS:
            return True
        if symbol in _CONSONANTS:
            return False
        if symbol in _STOPS:
            return None
    return otherwise
