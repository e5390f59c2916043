"""What commands print: notes on standard error, one JSON object or a table on standard output."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from collections.abc import Mapping


def mend_streams() -> None:
    """Standard streams that anything can be printed to, whatever the shell has closed or the locale is.

    A closed descriptor is filled with the null device, or the next file to be opened would get its number and
    what a library prints would end in it. Output is UTF-8 where the locale is ASCII, and names that are not
    valid there go out as the bytes that they came in as.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                opened = os.open(os.devnull, mode)
                if opened != number:
                    os.dup2(opened, number)
                    os.close(opened)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        elif isinstance(stream, io.TextIOWrapper):
            ascii_only = stream.encoding.lower() in ("ascii", "ansi_x3.4-1968", "us-ascii", "646")
            stream.reconfigure(
                encoding="utf-8" if ascii_only else None,
                errors="surrogateescape" if name == "stdout" else "backslashreplace",
            )


def note(message: str) -> None:
    """A line for a person, on standard error."""
    print(message, file=sys.stderr, flush=True)


def emit(record: Mapping[str, object]) -> None:
    """One machine-readable object."""
    print(json.dumps(record, ensure_ascii=False))


def table(record: Mapping[str, object], indent: str = "") -> None:
    """Names and values a line, what is nested further in."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            print(f"{indent}{key.replace('_', ' ')}:")
            table(value, indent + "  ")
        else:
            shown = ", ".join(map(str, value)) or "none" if isinstance(value, list | tuple) else value
            print(f"{indent}{key.replace('_', ' ')}: {shown}")
