"""In which language are these texts? Guessed from letters and common words."""

from __future__ import annotations

import functools
import re
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from voicewright.errors import UsageError, VoicewrightError
from voicewright.text.g2p import LANGUAGES, find_language

_WORDS = 12
"""Fewer words tell nothing."""
_SHARE = 0.12
"""Share of common words from which on a language is believed; running text has 0.3 to 0.5."""
_LEAD = 1.5
"""How many times the share of the next language it must have."""
_MOST = 4000
"""Words looked at."""
_OWN = {"en": "en-us", "fr": "fr-fr", "pt": "pt-br"}
"""Codes of ours that say more than the language."""


@dataclass(frozen=True)
class _Signs:
    scripts: Mapping[str, tuple[str, str]]
    words: Mapping[str, frozenset[str]]
    letters: Mapping[str, frozenset[str]]


@functools.cache
def _signs() -> _Signs:
    path = resources.files("voicewright.corpus") / "data" / "languages.toml"
    data = tomllib.loads(path.read_text("utf-8"))
    return _Signs(
        {code: (first, last) for code, (first, last) in data["scripts"].items()},
        {code: frozenset(line.split()) for code, line in data["words"].items()},
        {code: frozenset(line) for code, line in data["letters"].items()},
    )


def guess(texts: Sequence[str]) -> str | None:
    """The language of texts as a two-letter code, when there is little doubt; None otherwise."""
    signs = _signs()
    step = max(1, len(texts) // 400)
    words: list[str] = []
    for text in texts[::step]:
        words += re.findall(r"[^\W\d_]++", text.lower())
        if len(words) >= _MOST:
            break
    letters = Counter("".join(words))
    total = letters.total()
    for code, (first, last) in signs.scripts.items():
        count = sum(number for letter, number in letters.items() if first <= letter <= last)
        # Japanese mixes kana with characters; the others keep to their script.
        if total >= 6 and count > total * (0.15 if code == "ja" else 0.5):
            return code
    if len(words) < _WORDS:
        return None
    counts = Counter(words)
    holders = Counter(word for common in signs.words.values() for word in common)
    # A word that several languages have speaks for each of them only in part.
    worth = {
        code: sum(counts[word] / holders[word] for word in common)
        + 0.5 * sum(letters[letter] for letter in signs.letters.get(code, ()))
        for code, common in signs.words.items()
    }
    best, second = sorted(worth, key=worth.__getitem__, reverse=True)[:2]
    share = sum(counts[word] for word in signs.words[best]) / len(words)
    return best if share >= _SHARE and worth[best] >= _LEAD * worth[second] else None


def settle(
    said: str | None,
    texts: Sequence[str],
    held: str | None,
    where: Path,
    out: Path,
    listed: str | None = None,
) -> tuple[str, str]:
    """The language to prepare in, and a note on how it was found; empty where nothing is to be said.

    said: as the user did. held: that of the corpus already in `out`. listed: what the list itself says.
    Raises UsageError where what was said is neither the texts' language nor the corpus's: one of the two
    is a mistake.
    """
    found = _base(listed) if listed is not None else guess(texts)
    if said is not None:
        if found is not None and found != _base(said):
            raise UsageError(
                f"the texts in {where} look {_name(found)}, not {_name(said)}: say --lang {_code(found)}, "
                "or --no-check-language if they are what you say."
            )
        chosen, note = said, ""
    elif held is not None and found in (None, _base(held)):
        chosen, note = held, ""
    elif found is not None and _readable(found):
        chosen = _code(found)
        note = (
            ""
            if chosen == "en-us"
            else f"The texts look {_name(found)}: read as {chosen}; --lang says it otherwise."
        )
    elif found is not None:
        raise UsageError(
            f"the texts in {where} look {_name(found)}, which no front end reads; say --lang if they are not."
        )
    else:
        chosen = "en-us"
        note = (
            "The texts do not show their language: read as en-us; --lang says it otherwise." if texts else ""
        )
    if held is not None and _base(held) != _base(chosen):
        raise UsageError(
            f"{out} holds a corpus in {_name(held)}, and this would make it {_name(chosen)}: choose another "
            "folder, or say --no-check-language to replace it."
        )
    return chosen, note


def heard(recording: Path) -> str | None:
    """The language that Whisper hears in half a minute of a recording; None where it is not at hand."""
    from voicewright.audio.files import AudioError, blocks
    from voicewright.listen import whisper

    try:
        model = whisper.choose("", "de")  # one that hears more than English
        samples = next(iter(blocks(recording, 16_000, 12 * 3600.0)), None)
        if samples is None:
            return None
        language, probability = whisper.FasterWhisper(model).spoken_language(samples[: 30 * 16_000], 16_000)
    except (AudioError, VoicewrightError):
        return None
    return language if probability >= 0.8 else None


def _readable(code: str) -> bool:
    try:
        find_language(_code(code))
    except UsageError:
        return False
    return True


def _base(code: str) -> str:
    """`de` for de, de-DE and German."""
    try:
        return find_language(code).code.split("-")[0]
    except UsageError:
        return code.lower().split("-")[0]


def _code(base: str) -> str:
    return _OWN.get(base, base)


def _name(code: str) -> str:
    known = LANGUAGES.get(_code(code))
    if known is not None and code in _OWN:
        return {"en": "English", "pt": "Portuguese"}.get(code, known.name)
    try:
        return find_language(_code(code)).name
    except UsageError:
        return code
