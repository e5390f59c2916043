"""What English writes with figures and signs: `data/english_amounts.toml`, read once, and its patterns."""

from __future__ import annotations

import functools
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from typing import Any

_PART = re.compile(r"\{([a-z]+)\}")
_GROUP = re.compile(r"\(\?P(<|=)(\w+)")


@dataclass(frozen=True, slots=True)
class Form:
    """One written form. A group of its pattern is called `name` and the group's own name."""

    kind: str
    name: str
    groups: frozenset[str] = frozenset()
    say: str = ""
    """What is said, as the head of the data file tells; empty where a method of the reader knows."""


@functools.cache
def table(name: str) -> dict[str, Any]:
    """A table of the data file."""
    return dict(_read()[name])


@functools.cache
def listed(name: str) -> frozenset[str]:
    """A list of words of the data file."""
    return frozenset(table("lists")[name].split())


@functools.cache
def months() -> dict[str, str]:
    """Full and short names of months, without their dot → the full name."""
    names = table("months")["names"]
    short = {name: next(m for m in names if m.startswith(name[:3])) for name in table("months")["short"]}
    return {name: name for name in names} | short


@functools.cache
def greek() -> dict[str, str]:
    return dict(zip(table("greek")["letters"], table("greek")["names"].split(), strict=True))


@functools.cache
def units() -> dict[str, tuple[str, str, str]]:
    """Symbol → singular, plural, and where it stands; every prefix that a unit takes is written out."""
    found: dict[str, tuple[str, str, str]] = {}
    spelt: dict[str, tuple[str, str, str]] = {}
    for symbol, (one, many, *more) in table("units").items():
        prefixes, place = (*more, "", "")[:2]
        found[symbol] = (one, many, place)
        for prefix in prefixes:
            lead = table("prefixes")[prefix] + (" " if one[0] == "o" else "")
            entry = (lead + one, lead + many, "")
            found[prefix + symbol] = entry
            if symbol in ("m", "g", "l", "Hz") and prefix in "kcm":
                spelt[(prefix + symbol).upper()] = entry
                spelt.setdefault(prefix.upper() + symbol, entry) if prefix == "k" else None
    return spelt | found


@functools.cache
def forms(british: bool) -> tuple[str, dict[str, Form]]:
    """The pattern of all forms of a dialect, and the forms by the names of their groups."""
    parts, dialect = table("parts") | _made_parts(), "gb" if british else "us"
    groups: list[str] = []
    found: dict[str, Form] = {}
    for group in _read()["group"]:
        patterns = []
        for entry in (group | form for form in group["form"]):
            if entry.get("only", dialect) == dialect:
                name, pattern = f"f{len(found)}", entry["pattern"]
                while _PART.search(pattern):
                    pattern = _PART.sub(lambda part: parts[part[1]], pattern)
                say = entry.get("gb", "") if british else ""
                inner = frozenset(part[2] for part in _GROUP.finditer(pattern))
                found[name] = Form(entry["kind"], name, inner, say or entry.get("say", ""))
                named = _GROUP.sub(rf"(?P\g<1>{name}\g<2>", pattern)
                patterns.append(f"(?P<{name}>{named})")
        groups.append(f"(?={group.get('first', '')})(?:{'|'.join(patterns)})")
    return "|".join(groups), found


@functools.cache
def _read() -> dict[str, Any]:
    file = resources.files("voicewright.text").joinpath("data", "english_amounts.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def _made_parts() -> dict[str, str]:
    """The parts of patterns that follow from the tables."""
    places: dict[str, list[str]] = {"": [], "tight": [], "lone": [], "far": []}
    for symbol, (_, _, place) in units().items():
        places[place].append(symbol)
    lengths = _any(table("lengths")["list"])
    squared = rf"(?:{lengths})(?:²|³|\^?[23](?!\d))"
    per = rf"(?:{squared}|s(?:²|\^?2)|{_any([*units(), *table('periods')])})"
    signs = table("currencies").items()
    # No letter may stand before a sign that begins with one.
    sides = [_any(s for s, row in signs if (row[4:] or ["before"])[0] in (side, "both")) for side in _SIDES]
    return {
        "loose": rf"(?:sq|square|cu|cubic)\.? (?:{lengths})(?!{{alnum}})"
        rf"|(?:{squared}|{_any(places[''])})(?:/{per})?|(?:{_any(places['lone'])})/{per}",
        "tight": rf"(?:{_any(places['tight'] + places['lone'])})",
        "lone": rf"(?:{_any(places['lone'] + places['far'])})(?! [A-Z][a-z])",
        "before": rf"(?<![^\W\d_])(?:{sides[0]})",
        "after": sides[1],
        "scale": _any(table("scales")),
        "periods": per,
        "squared": squared,
    }


_SIDES = ("before", "after")


def _any(names: Iterable[str]) -> str:
    """A pattern of one of the names, the longest that fits; by first letters, so that it is quick."""
    first: dict[str, list[str]] = {}
    for name in sorted(names, key=len, reverse=True):
        first.setdefault(name[0], []).append(re.escape(name[1:]))
    return "|".join(f"{re.escape(letter)}(?:{'|'.join(rest)})" for letter, rest in first.items())
