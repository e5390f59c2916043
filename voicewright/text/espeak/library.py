"""espeak-ng: which languages it knows, and its phonemes for a clause.

It is the one in espeakng-loader's wheel, never one that the system happens to have.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

from voicewright.errors import VoicewrightError

_SWITCH = re.compile(r"\([^()]{2,24}\)")
"""espeak-ng's notes that it goes on in another language: "(en)"."""


def open_espeak(voice: str) -> Any:
    """A phonemizer of kokorog2p with one voice. Raises VoicewrightError where espeak-ng does not start."""
    import espeakng_loader
    from kokorog2p.backends.espeak.wrapper import Phonemizer

    class WheelPhonemizer(Phonemizer):
        _custom_library = espeakng_loader.get_library_path()
        _custom_data = espeakng_loader.get_data_path()

    try:
        espeak = WheelPhonemizer()
        espeak.set_voice(voice)
    except (OSError, RuntimeError) as error:
        raise VoicewrightError(
            f"espeak-ng cannot be opened ({error}): reinstall the package espeakng-loader."
        ) from error
    return espeak


class Espeak:
    """One voice, opened on first use. Safe to share between threads."""

    def __init__(self, voice: str) -> None:
        self.voice = voice
        self._espeak: Any = None
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Espeak, (self.voice,)

    def ipa(self, text: str) -> str:
        """IPA of a clause, words apart by spaces, parts of one sound joined by U+0361; no language notes."""
        with self._lock:
            if self._espeak is None:
                self._espeak = open_espeak(self.voice)
            raw = self._espeak.phonemize(text, use_tie=True)
        return _SWITCH.sub("", raw).replace("_", "")


@cache
def languages() -> Mapping[str, str]:
    """Code → English name of every language that espeak-ng's data hold; read from their files, not loaded."""
    import espeakng_loader

    found: dict[str, tuple[int, str]] = {}
    for path in sorted(Path(espeakng_loader.get_data_path(), "lang").rglob("*")):
        if not path.is_file():
            continue
        name = ""
        codes: list[tuple[str, int]] = []
        for line in path.read_text("utf-8", "replace").splitlines():
            key, _, value = line.split("//")[0].strip().partition(" ")
            if key == "name":
                name = value.strip()
            elif key == "language":
                code, _, priority = value.strip().partition(" ")
                codes.append((code.lower(), int(priority) if priority.strip().isdecimal() else 5))
        for code, rank in codes:
            if code not in found or rank < found[code][0]:
                found[code] = rank, name
    return MappingProxyType({code: name for code, (_, name) in sorted(found.items())})
