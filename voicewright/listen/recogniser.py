"""Which recogniser hears: one vocabulary for every command, the best that is there first, always offline.

`auto`: Whisper where faster-whisper and a model are, else pocketsphinx for English. `whisper`: the best
Whisper model there is. `whisper:NAME_OR_FOLDER`: that one. `pocketsphinx`: English, weak, always the same.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, replace
from typing import Literal

from voicewright.errors import UsageError, VoicewrightError
from voicewright.listen import whisper
from voicewright.listen.heard import Hearing, Recogniser

__all__ = ["Choice", "Hearing", "Recogniser", "available", "choose", "open_recogniser"]

NAMES = "auto, pocketsphinx, whisper or whisper:NAME_OR_FOLDER"


@dataclass(frozen=True)
class Choice:
    """A recogniser that is known to be there, not yet opened. Picklable, so that workers open their own."""

    kind: Literal["pocketsphinx", "whisper"]
    """`pocketsphinx` or `whisper`: what a manifest says of where a text comes from."""
    language: str
    model: whisper.Model | None = None

    @property
    def shown(self) -> str:
        """In a sentence: `Whisper base`, `pocketsphinx`."""
        return f"Whisper {self.model.name}" if self.model is not None else "pocketsphinx"

    @property
    def key(self) -> str:
        """Changes when it may hear otherwise: for journals and caches."""
        return self.kind if self.model is None else f"{self.kind} {self.model.name} {self.model.folder}"

    def ready(self) -> Choice:
        """The same with all that opening would first put together, so that workers need not."""
        return self if self.model is None else replace(self, model=self.model.ready())

    def open(self, processes: int = 2) -> Hearing:
        """Slow: once a process. Raises VoicewrightError."""
        if self.model is not None:
            return whisper.FasterWhisper(self.model, self.language, processes)
        from voicewright.listen.sphinx import PocketSphinx

        return PocketSphinx(processes)


def choose(name: str = "auto", language: str = "en-us") -> Choice:
    """The recogniser that `name` means for a language; looks for it, opens nothing.

    Raises UsageError for an unknown name or a language it does not hear, VoicewrightError, in one
    sentence that says what to install, when it is not there.
    """
    english = language.lower().startswith("en")
    kind, colon, model = name.partition(":")
    if kind not in ("auto", "pocketsphinx", "whisper") or (colon and (kind != "whisper" or not model)):
        raise UsageError(f"there is no recogniser {name!r}: use {NAMES}.")
    if kind == "whisper":
        return Choice("whisper", language, whisper.choose(model, language))
    if kind == "pocketsphinx" and not english:
        raise UsageError(f"pocketsphinx hears English only, not {language!r}: use --recogniser whisper.")
    if kind == "auto":
        try:
            return Choice("whisper", language, whisper.choose("", language))
        except VoicewrightError as error:
            if not english:
                raise VoicewrightError(f"Nothing here hears {language}: {_lacking(error)}") from error
    if importlib.util.find_spec("pocketsphinx") is None:
        raise VoicewrightError(
            "No recogniser is installed: `pip install 'voicewright[judge]'` brings pocketsphinx (English), "
            f"`{whisper.INSTALL}` the better faster-whisper."
        )
    return Choice("pocketsphinx", language)


def _lacking(error: VoicewrightError) -> str:
    if whisper.installed():
        return str(error)
    return f"run `{whisper.INSTALL}`; {whisper.how_to_get()}."


def open_recogniser(name: str = "auto", language: str = "en-us", processes: int = 2) -> Hearing:
    """`choose`, and open it. Raises as `choose` does."""
    return choose(name, language).open(processes)


def available() -> list[str]:
    """What `--recogniser` can name on this machine, best first."""
    found = [f"whisper:{model.name}" for model in whisper.models()] if whisper.installed() else []
    return found + (["pocketsphinx"] if importlib.util.find_spec("pocketsphinx") is not None else [])
