"""The text that a command is to work on: an argument, a file or standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from voicewright.errors import UsageError
from voicewright.storage import decoded


def read_text(text: str | None, file: Path | None) -> str:
    """The text to speak, from exactly one of argument, file and standard input."""
    if text is not None and file is not None:
        raise UsageError("give the text either as an argument or with -f, not both.")
    if file is not None and str(file) != "-":
        try:
            data = file.read_bytes()
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror or error}.") from error
        return decoded(data, str(file))
    if text is not None and text != "-":
        return argument_text(text)
    asked = text is not None or file is not None
    if sys.stdin is None or (not asked and sys.stdin.isatty()):
        closed = ", and standard input is closed" if sys.stdin is None else ""
        raise UsageError(f"there is nothing to say{closed}: give a text, -f FILE, or text on standard input.")
    try:
        data = sys.stdin.buffer.read()
    except OSError as error:
        raise UsageError(f"standard input cannot be read: {error.strerror or error}.") from error
    return decoded(data, "standard input")


def argument_text(text: str) -> str:
    """A text of the command line. Where the locale is not UTF-8, Python has kept its bytes as surrogates."""
    if not any("\udc80" <= character <= "\udcff" for character in text):
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
