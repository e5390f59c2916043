"""Any language of espeak-ng → Kokoro's phonemes, the way Kokoro's own pipeline makes them.

A clause goes to espeak-ng whole, because words change each other's sound (liaison, reduction, stress);
its words
are then given back to the written ones, which espeak-ng sometimes joins or takes apart. The folding of
two-letter sounds into Kokoro's symbols is that of hexgrad's misaki, so voices hear what they were trained on.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from typing import Any

from voicewright.text.espeak.library import Espeak
from voicewright.text.lexicon import Lexicon
from voicewright.text.pieces import JOINED, Kind, Piece

_TIE = "\u0361"
_FOLDED = {
    "aɪ": "I", "aʊ": "W", "dz": "ʣ", "dʒ": "ʤ", "eɪ": "A", "oʊ": "O", "əʊ": "Q", "ss": "S", "ts": "ʦ",
    "tʃ": "ʧ",
    "ɔɪ": "Y",
}  # fmt: skip
_TIED = re.compile("|".join(f"{pair[0]}{_TIE}{pair[1]}" for pair in _FOLDED))
_STRESS = str.maketrans("", "", "ˈˌː")
_LONGEST_CLAUSE = 100
"""Words that go to espeak-ng at once when nothing else ends a clause: keeps the time linear in the text."""
_LONGEST_TEXT = 2000
"""Characters of such a clause."""
_MOST_PAIRS = 8000
"""Heard words times written words that are compared."""
_MOST_SYMBOLS = 1500
"""Symbols of a clause whose words are compared; ordinary ones have a tenth of it."""
_ALIKE = 1.6
"""How unlike its own sound a word may be and still be taken for itself (see `_unlike`)."""
_WIDEST = 5
"""Most words that are looked for in one of espeak-ng's, and the other way round."""
_MOST_CACHED = 50_000


class Ipa:
    """Pronounces pieces in one of espeak-ng's languages."""

    def __init__(self, voice: str, lexicon: Lexicon | None = None) -> None:
        self.voice = voice
        self.user = lexicon
        self._espeak = Espeak(voice)
        self._alone: dict[str, list[str]] = {}
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Ipa, (self.voice, self.user)

    def pronounce(self, pieces: Sequence[Piece]) -> list[str]:
        """Phonemes of every piece, in order; empty for spaces, breaks and unknown symbols.

        A word that espeak-ng runs into the one before it begins with JOINED.
        """
        sounds = [""] * len(pieces)
        clause: list[int] = []
        length = 0
        with self._lock:
            for index, piece in enumerate(pieces):
                if piece.kind is Kind.WORD:
                    clause.append(index)
                    length += len(piece.spoken) + 1
                elif piece.kind is not Kind.SPACE:
                    self._clause(pieces, clause, sounds)
                    clause, length = [], 0
                    sounds[index] = piece.phonemes or ""
                if len(clause) >= _LONGEST_CLAUSE or length > _LONGEST_TEXT:
                    self._clause(pieces, clause, sounds)
                    clause, length = [], 0
            self._clause(pieces, clause, sounds)
        return sounds

    def _clause(self, pieces: Sequence[Piece], clause: Sequence[int], sounds: list[str]) -> None:
        """Fills in the sounds of the words `clause`, which belong together."""
        words = [pieces[index].spoken for index in clause]
        if not words:
            return
        heard = self._say(" ".join(words))
        alone = [self._by_itself(word) for word in words]
        for index, sound in zip(clause, share(heard, alone), strict=True):
            own = pieces[index].phonemes
            if own is None and self.user is not None:
                own = self.user.get(pieces[index].spoken)
            sounds[index] = sound if own is None else own

    def _by_itself(self, word: str) -> list[str]:
        found = self._alone.get(word)
        if found is None:
            if len(self._alone) > _MOST_CACHED:
                self._alone.clear()
            found = self._alone[word] = self._say(word)
        return found

    def _say(self, text: str) -> list[str]:
        return fold(self._espeak.ipa(text)).split()


def fold(ipa: str) -> str:
    """espeak-ng's IPA with ties → Kokoro's symbols: one for each diphthong and affricate it knows."""
    folded = _TIED.sub(lambda found: _FOLDED[found[0].replace(_TIE, "")], ipa)
    return folded.replace(_TIE, "").replace("-", "")


def share(heard: Sequence[str], alone: Sequence[Sequence[str]]) -> list[str]:
    """Words heard in a clause, given to the written words; `alone` is what each of those gives by itself.

    A written word gets the words that are its own, with spaces between them. Written words that are
    heard as one share its symbols: all but the first begin with JOINED. Nothing heard is lost, except that a
    clause of too many words to compare (letters or digits that are spelled out) is taken word by word.
    """
    if len(heard) == sum(map(len, alone)):
        result, at = [], 0
        for parts in alone:
            result.append(" ".join(heard[at : at + len(parts)]))
            at += len(parts)
        return result
    front, back = _agreeing(heard, alone), _agreeing(heard[::-1], [parts[::-1] for parts in alone[::-1]])
    back = back[: len(alone) - len(front)]
    while sum(map(len, front)) + sum(map(len, back)) > len(heard):
        back.pop()
    if len(front) + len(back) == len(alone) and sum(map(len, front + back)) < len(heard):
        (back or front).pop()  # what is left over belongs to somebody
    stop = len(heard) - sum(map(len, back))
    middle = _middle(heard[sum(map(len, front)) : stop], alone[len(front) : len(alone) - len(back)])
    return [" ".join(parts) for parts in front] + middle + [" ".join(parts[::-1]) for parts in back[::-1]]


def _agreeing(heard: Sequence[str], alone: Sequence[Sequence[str]]) -> list[Sequence[str]]:
    """What is heard for the first written words, as long as it is much like those by themselves."""
    found: list[Sequence[str]] = []
    at = 0
    for parts in alone:
        said = heard[at : at + len(parts)]
        if not parts or len(said) < len(parts) or _unlike(said, [parts]) > _ALIKE:
            break
        found.append(said)
        at += len(parts)
    return found


def _middle(heard: Sequence[str], alone: Sequence[Sequence[str]]) -> list[str]:
    """`share` for the stretch where words were joined or taken apart."""
    if not alone:
        return []
    if len(heard) * len(alone) > _MOST_PAIRS or sum(map(len, heard)) > _MOST_SYMBOLS:
        return [" ".join(parts) for parts in alone]
    result: list[str] = []
    for parts, words in _pairs(heard, alone):
        if len(words) == 1 or not parts:
            result += [" ".join(parts), *[""] * (len(words) - 1)]
        else:
            result += _cut(" ".join(parts), ["".join(word) for word in words])
    return result


_Pair = tuple[Sequence[str], Sequence[Sequence[str]]]


def _pairs(heard: Sequence[str], alone: Sequence[Sequence[str]]) -> list[_Pair]:
    """The cheapest way to pair runs of heard words with runs of written words, in order."""
    n, m = len(alone), len(heard)
    cost = [[float("inf")] * (m + 1) for _ in range(n + 1)]
    step = [[(0, 0)] * (m + 1) for _ in range(n + 1)]
    cost[0][0] = 0.0
    # Neither side runs far ahead of the other.
    band = abs(n - m) + 2 * _WIDEST
    for i in range(n + 1):
        middle = i * m // max(n, 1)
        for j in range(max(0, middle - band), min(m, middle + band) + 1):
            if cost[i][j] == float("inf"):
                continue
            room = min(m - j, max(_WIDEST, len(alone[i]) + 2 if i < n else 0))
            moves = [(1, k) for k in range(room + 1)] + [(k, 1) for k in range(2, _WIDEST + 1)]
            for take, hear in moves:
                if i + take <= n and j + hear <= m:
                    price = cost[i][j] + _unlike(heard[j : j + hear], alone[i : i + take]) + take + hear - 2
                    if price < cost[i + take][j + hear]:
                        cost[i + take][j + hear] = price
                        step[i + take][j + hear] = take, hear
    if cost[n][m] == float("inf"):
        return [(heard, alone)]
    pairs: list[_Pair] = []
    while n or m:
        take, hear = step[n][m]
        pairs.append((heard[m - hear : m], alone[n - take : n]))
        n, m = n - take, m - hear
    return pairs[::-1]


def _unlike(heard: Sequence[str], alone: Sequence[Sequence[str]]) -> float:
    """How little a run of heard words is like a run of written ones."""
    a = "".join(heard).translate(_STRESS)
    b = "".join("".join(parts) for parts in alone).translate(_STRESS)
    if not a or not b:
        return 3.0 if a or b else 0.0
    rest = list(b)
    for symbol in a:
        if symbol in rest:
            rest.remove(symbol)
    common = len(b) - len(rest)
    return 6.0 * (1 - 2 * common / (len(a) + len(b))) + (a[0] != b[0]) + (a[-1] != b[-1])


def _cut(sound: str, alone: Sequence[str]) -> list[str]:
    """One sound cut among the words that it stands for, near where each would begin by its length."""
    weights = [max(1, len(word.translate(_STRESS))) for word in alone]
    places, done, total = [0], 0, sum(weights)
    for word, weight in zip(alone[1:], weights[:-1], strict=True):
        done += weight
        ideal = max(places[-1], round(done * len(sound) / total))
        first = word.translate(_STRESS)[:1]
        near = sorted(
            range(max(places[-1] + 1, ideal - 2), min(len(sound), ideal + 3)), key=lambda at: abs(at - ideal)
        )
        place = next((at for at in near if sound[at] == first), min(ideal, len(sound)))
        while place > places[-1] and sound[place - 1] in "ˈˌ ":
            place -= 1
        places.append(place)
    parts = [sound[start:stop] for start, stop in zip(places, [*places[1:], len(sound)], strict=True)]
    joined = [part if part.startswith(" ") else JOINED + part for part in parts[1:]]
    return [parts[0].strip(), *(part.strip() if part != JOINED else part for part in joined)]
