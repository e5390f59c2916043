"""One thing found, the tables of names in `data/lists.toml`, and file names for any id."""

from __future__ import annotations

import functools
import hashlib
import re
import tomllib
import unicodedata
from dataclasses import dataclass, replace
from importlib import resources
from pathlib import Path
from typing import Any

from voicewright.corpus.manifest import Transcript

BESIDE = "files beside the recordings"
"""Origin of texts that lie in a file of their own for each recording."""


@dataclass(frozen=True)
class Item:
    """One thing found, which becomes one line of the manifest or of the quarantine."""

    id: str
    source: str
    """Relative path of the recording, or `metadata.csv:12` where there is none."""
    path: Path | None = None
    text: str | None = None
    speaker: str | None = None
    reason: str | None = None
    """Already refused, with this code."""
    detail: str = ""
    transcript: Transcript = "given"
    language: str | None = None
    """The language that a list names for it, as a code ("en"): a hint, not checked."""
    origin: str = ""
    """Where the text comes from: a list's name, or `BESIDE`; empty for a recogniser's."""

    def refused(self, reason: str, detail: str) -> Item:
        return replace(self, reason=reason, detail=detail)


@functools.cache
def tables() -> dict[str, Any]:
    """`data/lists.toml`. Shared: not to be changed."""
    file = resources.files("voicewright.corpus") / "data" / "lists.toml"
    return tomllib.loads(file.read_text("utf-8"))


def fold(name: str) -> str:
    """A name as Windows and macOS compare it: composed, without case."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def plain_words(name: str) -> str:
    """A name for the tables: small letters, `_`, `-` and `.` as single blanks."""
    return " ".join(re.split(r"[\s_.-]+", name.strip().casefold())).strip()


def safe_id(text: str) -> str:
    """A file name for any id: letters, digits, `.`, `_`, `-`; others replaced, and a hash added then."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:100]
    if plain and plain == text:
        return plain
    mark = hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
    return f"{plain}-{mark}" if plain else mark
