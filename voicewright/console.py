"""What commands print: notes on standard error, one JSON object or a table on standard output."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping


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
