"""Models that others have published and Voicewright can fetch: where each file is, how large, with what hash.

Every hash was published by others than us: the models' own cards (Kokoro 1.0, 0.19), and several independent
projects that pin the same files. Nothing is guessed: a file of unknown revision or hash is fetched only when
the user accepts the hash that it turned out to have. The table is `data/published.toml`.
"""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

KOKORO_INT8_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"
"""Of Kokoro 1.0 as kokoro-onnx's users have it: exported, its weights rounded to int8."""


@dataclass(frozen=True)
class PublishedFile:
    """One file: its path in the repository, its name in our folder, its size (or the most it may have)."""

    path: str
    name: str
    bytes: int | None
    sha256: str | None
    most: int = 0

    @property
    def limit(self) -> int:
        """The most bytes that may arrive for it."""
        return self.bytes or self.most


@dataclass(frozen=True)
class Published:
    """A model of a Hugging Face repository at one revision."""

    name: str
    repository: str
    revision: str
    licence: str
    about: str
    files: tuple[PublishedFile, ...]
    voice: str = ""
    language: str = "en-us"
    kind: str = "speech"
    """`speech` for a model that speaks; `part` for a network that voice conversion needs."""
    also: tuple[str, ...] = ()
    """Where Hugging Face's cache may have such weights too: repository:path."""

    @property
    def weights(self) -> PublishedFile:
        return self.files[0]

    @property
    def megabytes(self) -> int:
        """Of all its files, rounded up."""
        return -(-sum(file.limit for file in self.files) // 1_000_000)

    @property
    def pinned(self) -> bool:
        """Whether revision and every hash are known."""
        return len(self.revision) == 40 and all(file.sha256 for file in self.files)


class Catalogue(Mapping[str, Published]):
    """The table, read when it is first asked."""

    def __getitem__(self, name: str) -> Published:
        return _table()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_table())

    def __len__(self) -> int:
        return len(_table())


@functools.cache
def _table() -> dict[str, Published]:
    text = (files("voicewright.catalogue") / "data" / "published.toml").read_text("utf-8")
    return {row["name"]: _published(row) for row in tomllib.loads(text)["model"]}


def _published(row: dict[str, Any]) -> Published:
    known = tuple(
        PublishedFile(
            file["path"],
            file.get("name", file["path"]),
            file.get("bytes"),
            file.get("sha256"),
            file.get("most", 0),
        )
        for file in row["files"]
    )
    return Published(**{**row, "files": known, "also": tuple(row.get("also", ()))})


PUBLISHED = Catalogue()
"""By the name that `models pull` and `--model` take."""


def same_kokoro() -> frozenset[str]:
    """Hashes of files that hold one and the same Kokoro 1.0, rounded or whole."""
    whole = (PUBLISHED[name].weights.sha256 for name in ("kokoro-v1.0", "kokoro-v1.0-mlx"))
    return frozenset({KOKORO_INT8_SHA256, *filter(None, whole)})


def speaking() -> list[Published]:
    """The published models that speak."""
    return [entry for entry in PUBLISHED.values() if entry.kind == "speech"]
