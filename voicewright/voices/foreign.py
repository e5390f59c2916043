"""Voices of other formats than voicepacks, as `voice inspect | convert | merge` handle them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol, cast

from voicewright import registry


class VoiceFormat(Protocol):
    """What a plug-in of `voicewright.voice_formats` is, be it a module.

    One that can mix voices has `merge(inputs, output, shares) -> (record, notes)` too."""

    TITLE: str
    """With its article: "an RVC voice"."""
    NAMES: bool
    """Whether `convert` takes names."""

    def find(self, words: str | Path) -> Path | None:
        """The file or folder that is meant; None where it is none of this kind. Raises UsageError for what
        belongs to this kind and is no voice."""
        ...

    def inspect(self, path: Path) -> dict[str, Any]:
        """What a voice is and needs. Raises VoicewrightError for a damaged one."""
        ...

    def convert(
        self, inputs: Sequence[str], output: Path, names: Sequence[str] | None
    ) -> tuple[list[Path], list[str]]:
        """Write voices in the format of `output`'s suffix: the files, and notes. Raises UsageError."""
        ...


def formats() -> list[VoiceFormat]:
    """All that are known here."""
    return [cast("VoiceFormat", plugin.load()) for plugin in registry.plugins("voice_formats").values()]


def find_format(words: Iterable[str | Path]) -> tuple[VoiceFormat, Path] | None:
    """The foreign format that one of these is of, and its file; None where all are voicepacks, or nothing."""
    known = formats()
    for word in words:
        for one in known:
            if (path := one.find(word)) is not None:
                return one, path
    return None
