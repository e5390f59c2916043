"""The tables of written and spoken English in `data/*.toml`, each file read when it is first needed."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Callable, Mapping
from importlib.resources import files
from types import MappingProxyType
from typing import Any


class Tables:
    """The entries of one file as attributes: a text is a group of words, as a set; a list is a tuple."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, key: str) -> Any:
        if key.startswith("_") or key not in _read(self._name):
            raise AttributeError(f"data/{self._name}.toml has no entry {key!r}")
        return _read(self._name)[key]


@functools.cache
def _read(name: str) -> Mapping[str, Any]:
    entries = tomllib.loads(files("voicewright.text").joinpath(f"data/{name}.toml").read_text("utf-8"))
    forms: Mapping[type, Callable[[Any], Any]] = {str: lambda text: frozenset(text.split()), list: tuple}
    return MappingProxyType(
        {key: forms.get(type(value), MappingProxyType)(value) for key, value in entries.items()}
    )


WORDS = Tables("english_words")
"""Titles, abbreviations, what stands around numerals."""
GRAMMAR = Tables("english_grammar")
"""Word classes, and what stands around words of several sounds."""
