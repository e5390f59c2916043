"""Entities, tags and comments of HTML and its kin in a text: the characters meant, breaks, or nothing."""

from __future__ import annotations

import html
import re
from functools import cache
from html.entities import html5

from voicewright.text.source import Edit, Source, table

_ENTITY = re.compile(
    r"&(?P<again>(?:(?i:amp);){0,3})"
    r"(?P<body>#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31})(?P<end>;?)"
)
_VALUE = r"""(?:"[^"<]{0,2000}+"|'[^'<]{0,2000}+'|[^\s"'=<>`]{1,2000}+)"""
_ATTRIBUTE = rf"[A-Za-z_:@][\w:.-]{{0,60}}+(?:\s{{0,9}}+=\s{{0,9}}+{_VALUE})?"
_TAG = re.compile(
    r"<(?P<close>/?)(?P<name>[A-Za-z][A-Za-z0-9]{0,24}+(?:[:-][A-Za-z0-9]{1,24}+){0,3}+)"
    rf"(?P<attributes>(?:\s{{1,99}}+{_ATTRIBUTE}){{0,40}}+)\s{{0,99}}+(?P<empty>/?)>"
)
_FLAG = re.compile(rf"\s({_ATTRIBUTE})")
_OTHER = re.compile(r"<!(?i:doctype)[^<>]{0,500}>|<!\[CDATA\[|<\?[A-Za-z][^<>]{0,2000}\?>")
_BEGIN = re.compile(r"<(?=[A-Za-z/!?])|\]\]>")
_POWER = re.compile(r"([0-9+n−-]{1,9})</sup>", re.IGNORECASE)
_POWERS = str.maketrans("0123456789+-−n", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻ⁿ")
HIDING = re.compile(r"<(?:!--|(?:script|style|template)\b)", re.IGNORECASE)
"""What begins a stretch that is silent as a whole, to its closing tag."""


def unmarked(source: Source) -> Source:
    """The text without tags and comments and with the characters that entities stand for. Linear in it.

    Tags that end a block are blank lines, `<br>` is a line end, digits in `<sup>` are superscripts; the
    contents of scripts and styles are silent. Tags written with entities go only in pairs: alone, they are
    what a text speaks about.
    """
    if "<" in source.text:
        source = source.edited(_tags(source.text))
    if "&" in source.text:
        edits = _entities(source.text)
        source = source.edited(edits)
        if any(text == "<" for _, _, text in edits):
            source = source.edited(_tags(source.text, in_pairs=True))
    return source


def silent_end(text: str, start: int, stop: int, most: int) -> int:
    """`stop`, or where a comment, script or style that is open there ends, within `most` characters."""
    found = list(HIDING.finditer(text, start, stop))
    if not found:
        return stop
    opened = found[-1]
    closing = _closing(opened[0][1:].lower())
    if closing.search(text, opened.end(), stop) is not None:
        return stop
    end = closing.search(text, opened.end(), stop + most)
    return stop if end is None else end.end()


def _entities(text: str) -> list[Edit]:
    edits: list[Edit] = []
    for match in _ENTITY.finditer(text):
        following = text[match.end() : match.end() + 1]
        meant = _meant(match["body"], match["end"], following)
        if meant is not None:
            edits.append((match.start(), match.end(), meant))
        elif match["again"]:
            edits.append((match.start(), match.start("body"), "&"))
    return edits


def _meant(body: str, end: str, following: str) -> str | None:
    """The characters that an entity stands for; None where it is none."""
    if body[0] == "#":
        return html.unescape(f"&{body};") if end or len(body) > 2 else None
    if end:
        return html5.get(f"{body};") or html5.get(f"{body.lower()};")
    return html.unescape(f"&{body};") if body in _words("bare") and following != "=" else None


@cache
def _words(name: str) -> frozenset[str]:
    return frozenset(table("hypertext")[name].split())


def _closing(name: str) -> re.Pattern[str]:
    return re.compile("-->" if name == "!--" else rf"</{name}\s{{0,9}}>", re.IGNORECASE)


def _tags(text: str, in_pairs: bool = False) -> list[Edit]:
    closed = {name.lower() for name in re.findall(r"</([A-Za-z][\w:-]{0,60})", text)}
    endless: set[str] = set()
    edits: list[Edit] = []
    position, literal = 0, False
    for begin in _BEGIN.finditer(text):
        at = begin.start()
        if at < position:
            continue
        if hiding := HIDING.match(text, at):
            name = hiding[0][1:].lower()
            found = None if name in endless else _closing(name).search(text, hiding.end())
            if found is not None and not (in_pairs and name == "!--"):
                edits.append((at, position := found.end(), ""))
                continue
            endless.add(name)
        if other := _OTHER.match(text, at):
            literal = literal or other[0] == "<![CDATA["
            edits.append((at, position := other.end(), ""))
            continue
        if begin[0] == "]]>":
            if literal:
                edits.append((at, position := begin.end(), ""))
            continue
        tag = _TAG.match(text, at)
        if tag is None or not _is_tag(tag, closed, in_pairs):
            continue
        edits.append((at, position := tag.end(), _effect(tag)))
        if tag["name"].lower() == "sup" and (power := _POWER.match(text, position)):
            edits.append((position, position := power.end(), power[1].translate(_POWERS)))
    return edits


def _is_tag(tag: re.Match[str], closed: set[str], in_pairs: bool) -> bool:
    """Is this a tag, rather than "a<b and c>d" or "List<String>"?"""
    name = tag["name"].lower()
    if in_pairs:
        return name in closed or bool(tag["empty"])
    if tag["close"]:
        return not tag["attributes"]
    attributes = [found[1] for found in _FLAG.finditer(tag["attributes"])]
    if any("=" not in found and found.lower() not in _words("flags") for found in attributes):
        return False
    if tag["empty"] or attributes or name in closed:
        return True
    if len(name) == 1:
        # A letter between comparisons? Paragraphs are often left open, others by mistake.
        around = tag.string[max(0, tag.start() - 1) : tag.start()], tag.string[tag.end() : tag.end() + 1]
        return name == "p" or (name in _words("inline") and not around[0].isalnum() and around[1].isalnum())
    return any(name in _words(kind) for kind in ("blocks", "lines", "inline"))


def _effect(tag: re.Match[str]) -> str:
    name = tag["name"].lower().rpartition(":")[2]
    return "\n\n" if name in _words("blocks") else "\n" if name in _words("lines") else ""
