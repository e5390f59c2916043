"""What was already done, so that an interrupted preparation goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

from pydantic import ValidationError

from voicewright.audio.files import write_atomically
from voicewright.corpus.clips import Outcome
from voicewright.corpus.manifest import content_hash
from voicewright.errors import VoicewrightError

JOURNAL = ".journal.jsonl"


class Journal:
    """Outcomes by key, appended as they come. A line that a kill cut in half is passed over on reading.

    Used as a context manager: the file stays open for appending.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / JOURNAL
        self._known: dict[str, Outcome] = {}
        text = ""
        if self._path.exists():
            text = self._path.read_bytes().decode("utf-8", "replace")
        for line in text.split("\n"):
            try:
                outcome = Outcome.model_validate_json(line)
            except ValidationError:
                continue
            self._known[outcome.key] = outcome
        try:
            self._file = self._path.open("ab")
            if text and not text.endswith("\n"):
                self._file.write(b"\n")
        except OSError as error:
            raise VoicewrightError(
                f"{self._path} could not be written: {error.strerror or error}."
            ) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def find(self, key: str) -> Outcome | None:
        """The outcome under this key, if the audio it made is still there, byte for byte."""
        outcome = self._known.get(key)
        if outcome is None or outcome.utterance is None:
            return outcome
        try:
            data = (self._folder / outcome.utterance.audio).read_bytes()
        except OSError:
            return None
        return outcome if content_hash(data) == outcome.utterance.hash else None

    def add(self, outcome: Outcome) -> None:
        """Append. Raises VoicewrightError when the disk refuses."""
        try:
            self._file.write(_line(outcome))
            self._file.flush()
        except OSError as error:
            raise VoicewrightError(
                f"{self._path} could not be written: {error.strerror or error}. Free some space."
            ) from error

    def keep(self, outcomes: Iterable[Outcome]) -> None:
        """Replace the file by these outcomes alone."""
        write_atomically(self._path, b"".join(_line(outcome) for outcome in outcomes if outcome.key))


def _line(outcome: Outcome) -> bytes:
    return (json.dumps(outcome.model_dump(mode="json"), ensure_ascii=False) + "\n").encode()
