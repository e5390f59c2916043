"""English words → Kokoro phonemes, through kokorog2p's lexicon and, for words it lacks, espeak-ng.

kokorog2p's own sentence loop wants spaCy's tagger for words whose sound depends on their part of speech; this
one asks neighbouring words instead (tagger.py). What is Kokoro's convention is kept: reductions before vowels
and consonants ("the", "to"), the stress of compounds, `T` for the American flap.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from voicewright.text.english.known import is_word, open_lexicon
from voicewright.text.english.tables import GRAMMAR
from voicewright.text.english.tagger import SHOUTED, tag
from voicewright.text.espeak.library import Espeak
from voicewright.text.lexicon import Lexicon
from voicewright.text.pieces import Kind, Piece

_VOWELS = frozenset("AIOQWYaiuæɑɒɔəɛɜɪʊʌᵻɐ")
_CONSONANTS = frozenset("bdfhjklmnpstvwzðŋɡɹɾʃʒʤʧθT")
_STOPS = frozenset(";:,.!?—…")
_HEAVY = frozenset("AIOQWYʤʧ")
_CAMEL = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_MOST_CACHED = 50_000


class English:
    """Pronounces pieces of English. The lexicon and espeak-ng are opened on first use, once."""

    def __init__(self, british: bool, lexicon: Lexicon | None = None) -> None:
        self.british = british
        self.user = lexicon
        self._lexicon: Any = None
        self._espeak: Espeak | None = None
        self._cache: dict[tuple[str, str, bool | None, bool], str] = {}
        self._senses: dict[str, frozenset[str]] = {}
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return English, (self.british, self.user)

    def pronounce(self, pieces: Sequence[Piece]) -> list[str]:
        """Phonemes of every piece, in order; empty for spaces, breaks and unknown symbols."""
        words: list[str | None] = []
        owners: list[int] = []
        for index, piece in enumerate(pieces):
            if piece.kind is Kind.WORD:
                said = [piece.spoken] if piece.phonemes is not None else piece.spoken.split()
                words.extend(None if word in _STOPS else word for word in said)
                owners.extend([index] * len(said))
            elif piece.kind is Kind.BREAK or (piece.kind is Kind.MARK and piece.phonemes in _STOPS):
                words.append(None)
                owners.append(index)
        with self._lock:
            self._open()
            return self._right_to_left(pieces, words, owners)

    def _right_to_left(
        self, pieces: Sequence[Piece], words: Sequence[str | None], owners: Sequence[int]
    ) -> list[str]:
        """A word is reduced by what follows it, so the last word comes first."""
        sounds: list[list[str]] = [[] for _ in pieces]
        vowel: bool | None = None
        for at in range(len(words) - 1, -1, -1):
            word, owner = words[at], owners[at]
            piece = pieces[owner]
            if word is None:
                vowel = None
                if piece.kind is Kind.WORD:
                    sounds[owner].append(",")
                continue
            if piece.phonemes is not None:
                sound = piece.phonemes
            else:
                before_to = at + 1 < len(words) and (words[at + 1] or "").lower() == "to"
                sense = tag(words, at, self._senses_of(word))
                if sense == SHOUTED:
                    word, sense = word.lower(), ""
                sound = self._cached(word, sense, vowel, before_to)
            if sound:
                sounds[owner].append(sound)
            vowel = _first_sound(sound, vowel)
        result = [" ".join(reversed(said)).replace(" ,", ",") for said in sounds]
        for index, piece in enumerate(pieces):
            if piece.kind is Kind.MARK and piece.phonemes is not None:
                result[index] = piece.phonemes
        return result

    def knows(self, word: str) -> bool:
        """Is it a word of the lexicon, or a form of one?"""
        with self._lock:
            self._open()
            return self._entry(word) is not None

    def _open(self) -> None:
        if self._lexicon is None:
            self._lexicon = open_lexicon(self.british)

    def _senses_of(self, word: str) -> frozenset[str]:
        """Parts of speech that the lexicon tells apart for a word."""
        found = self._senses.get(word)
        if found is None:
            if len(self._senses) > _MOST_CACHED:
                self._senses.clear()
            golds = self._lexicon.golds
            entry = golds.get(word) or golds.get(word.lower()) if word.isascii() else None
            found = (
                frozenset(entry)
                if isinstance(entry, Mapping)
                else frozenset(GRAMMAR.own.get(word.lower(), ()))
            )
            self._senses[word] = found
        return found

    def _cached(self, word: str, sense: str, vowel: bool | None, before_to: bool) -> str:
        key = (word, sense, vowel, before_to)
        sound = self._cache.get(key)
        if sound is None:
            if len(self._cache) > _MOST_CACHED:
                self._cache.clear()
            sound = self._word(word, sense, vowel, before_to)
            self._cache[key] = sound
        return sound

    def _word(self, word: str, sense: str = "", vowel: bool | None = False, before_to: bool = False) -> str:
        own = self._from_user(word)
        if own is None:
            sounds = GRAMMAR.own.get(word.lower(), {})
            own = sounds.get(sense) or sounds.get("any")
        if own is not None:
            return own
        sound = self._clipped(word) or self._from_lexicon(word, sense, vowel, before_to)
        if sound is None:
            sound = self._composed(word)
        if sound is None:
            sound = self._from_espeak(word)
        return sound.replace("ɾ", "T").replace("ʔ", "t")

    def _from_user(self, word: str) -> str | None:
        if self.user is None:
            return None
        own = self.user.get(word)
        if own is None and word.endswith(("'s", "s'")):
            own = self.user.get(word[:-2])
            own = self._lexicon._s(own) if own else None
        return own

    def _from_lexicon(self, word: str, sense: str, vowel: bool | None, before_to: bool) -> str | None:
        from kokorog2p.en.lexicon import TokenContext

        if not word.isascii():
            return self._accented(word)
        if word.isupper() and len(word) > 5 and word.isalpha() and word.lower() not in self._lexicon.golds:
            return None  # too long to be spelled out
        if not sense and word.lower() not in self._lexicon.golds:
            # Made from a verb, where its stem may be a noun too: "lived" is of "to live", not of a live show.
            low = word.lower()
            sense = "VBD" if low.endswith("ed") else "VBG" if low.endswith("ing") else ""
        # Kokoro's convention: capitals bring out the stress of words that have none.
        stress = None if word == word.lower() else self._lexicon.cap_stresses[int(word == word.upper())]
        context = TokenContext(future_vowel=vowel, future_to=before_to)
        sound, _ = self._lexicon.get_word(word, sense, stress, context)
        return sound

    def _clipped(self, word: str) -> str | None:
        """ "makin'" is "making" without g, "'ouse" is "house" without h."""
        low = word.lower()
        if low.endswith("in'"):
            sound, _ = self._lexicon.get_word(f"{low[:-1]}g", "VBG", None, None)
            return f"{sound[:-1]}n" if sound and sound[-1] == "ŋ" else None
        if low[0] != "'" or is_word(low, self.british):
            return None
        sound, _ = self._lexicon.get_word(f"h{low[1:]}", "", None, None)
        return sound.replace("h", "", 1) if sound else None

    def _accented(self, word: str) -> str | None:
        """ "naïve" is in the lexicon without its accent; a final é changes the sound, espeak-ng knows how."""
        plain = "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))
        if word.endswith(("é", "è", "ée")) or not plain.isascii():
            return None
        return self._from_lexicon(plain, "", False, False)

    def _composed(self, word: str) -> str | None:
        """Words made of words: "red-haired", "YouTube"."""
        if "-" in word:
            parts = [part for part in word.split("-") if part]
        else:
            parts = _CAMEL.findall(word)
            if "".join(parts) != word or any(len(part) < 2 or self._entry(part) is None for part in parts):
                return None
        if len(parts) < 2:
            return None
        if parts[0] == "a" and parts[-1].endswith(("ing", "in'")):
            return f"ɐ{self._word(parts[1])}" if len(parts) == 2 else None  # "a-hunting"
        return self._join(parts, [self._word(part) for part in parts])

    def _entry(self, word: str) -> str | None:
        return self._from_lexicon(word, "", False, False)

    def _join(self, parts: Sequence[str], sounds: list[str]) -> str:
        """One word of several: its lighter half gives up its main stress (Kokoro's convention)."""
        from kokorog2p.en.lexicon import apply_stress

        weights = sorted(
            ("ˈ" in sound, sum(2 if symbol in _HEAVY else 1 for symbol in sound), at)
            for at, sound in enumerate(sounds)
            if sound
        )
        if len(sounds) == 2 and len(weights) == 2 and len(parts[0]) == 1:
            sounds[1] = apply_stress(sounds[1], -0.5) or ""
        elif len(weights) >= 2 and sum(stressed for stressed, _, _ in weights) > (len(weights) + 1) // 2:
            for _, _, at in weights[: len(weights) // 2]:
                sounds[at] = apply_stress(sounds[at], -0.5) or ""
        return "".join(sounds)

    def _from_espeak(self, word: str) -> str:
        from kokorog2p.phonemes import from_espeak

        if self._espeak is None:
            self._espeak = Espeak("en-gb" if self.british else "en-us")
        raw = self._espeak.ipa(word.lower() if word.isupper() else word)
        sounds = [from_espeak(part, british=self.british) for part in raw.split()]
        return self._join(sounds, sounds) if len(sounds) > 1 else "".join(sounds)


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
