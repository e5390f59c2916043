"""Written English cut into tokens: one pattern, made of the forms of the data file, in one pass.

Each repetition in the pattern is bounded or possessive, so the time is linear in the text whatever it holds.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass

from voicewright.text.english.written import Form, forms

_SPECIAL = Form("special", "special")


@dataclass(slots=True)
class Token:
    """One stretch of text and the form that it has."""

    kind: str
    text: str
    start: int
    stop: int
    form: Form
    parts: dict[str, str | None]
    """What the groups of the form hold. A match itself is as large as all forms together, so none is kept."""

    def part(self, group: str) -> str | None:
        """What a group holds; None where it holds nothing, or the form has no such group."""
        return self.parts.get(group)


_NO_PARTS: dict[str, str | None] = {}


def scanner(british: bool, special: str | None = None) -> Callable[[str], list[Token]]:
    """A function from text to tokens that cover it; what matches `special` comes first."""

    def scan(text: str) -> list[Token]:
        pattern, found = _compiled(british, special)
        tokens = []
        for match in pattern.finditer(text):
            form = found[match.lastgroup or ""]
            parts = {name: match[form.name + name] for name in form.groups} if form.groups else _NO_PARTS
            tokens.append(Token(form.kind, match[0], match.start(), match.end(), form, parts))
        return tokens

    return scan


@functools.cache
def _compiled(british: bool, special: str | None) -> tuple[re.Pattern[str], dict[str, Form]]:
    pattern, found = forms(british)
    if special is not None:
        pattern, found = f"(?P<special>{special})|{pattern}", found | {"special": _SPECIAL}
    return re.compile(pattern, re.DOTALL), found
