"""Voicewright gives Kokoro-class text-to-speech new voices.

import voicewright

voice = voicewright.load("kokoro", voice="kathleen")
voice.say("Hello there.").save("hello.wav")
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from voicewright.version import __version__

if TYPE_CHECKING:
    from voicewright.api import Voice, clone, convert, fit, judge, load
    from voicewright.corpus.prepare import prepare
    from voicewright.errors import Cancelled, Interrupted, UsageError, VoicewrightError
    from voicewright.jobs.train import train

__all__ = [
    "Cancelled",
    "Interrupted",
    "UsageError",
    "Voice",
    "VoicewrightError",
    "__version__",
    "clone",
    "convert",
    "fit",
    "judge",
    "load",
    "prepare",
    "train",
]
_PLACES = {
    "api": ("Voice", "clone", "convert", "fit", "judge", "load"),
    "corpus.prepare": ("prepare",),
    "errors": ("Cancelled", "Interrupted", "UsageError", "VoicewrightError"),
    "jobs.train": ("train",),
}
"""Module → names; each is imported when it is first asked for."""


def __getattr__(name: str) -> Any:
    for module, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(f"voicewright.{module}"), name)
    raise AttributeError(f"module 'voicewright' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
