"""A list's bytes → rows of cells, read in every way that a list may be written in.

No ending and no name decides: each reading is offered, and `lists.py` takes the one in which most lines name
a recording.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voicewright.corpus.columns import by_header

BROKEN = re.compile(r"[\udc80-\udcff]")
"""What stands for a byte that is not UTF-8."""
_HEAD = 1 << 16
_LARGEST = 1 << 30
_TABLES = ("|", "\t", ";", ",")
_PAIRS = (":", "||", "::", "=>", "->", "=", "~", "^", "#")
_BLANK = re.compile(r"[ \t\u3000]+")
_QUOTED = re.compile(r'"([^"]*+)"[ \t]+"(.*)"')
_FESTIVAL = re.compile(r'\(\s*(\S+)\s+"((?:[^"\\]|\\.)*+)"\s*\)')
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


@dataclass(frozen=True)
class Row:
    """One line of a list: where it stands, and its cells."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """A list read in one way. Lower `rank` wins where two pair the same lines.

    `delimiter` joins cells again that were cut too often; `header` are column names that the format has.
    `splits` says that the whole line after the first cell is one text, whatever it holds.
    """

    rows: tuple[Row, ...]
    rank: int
    delimiter: str = ""
    header: tuple[str, ...] = ()
    splits: bool = False
    loose: bool = False
    """Prose may look like it: blanks or colons separate."""


def contents(path: Path) -> str | None:
    """The text of a file; None where it holds none, or cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
            if decode(head) is None or path.stat().st_size > _LARGEST:
                return None
            return decode(head + file.read())
    except OSError:
        return None


def decode(data: bytes) -> str | None:
    """Text of UTF-8, or of UTF-16 or UTF-32 with a mark or plainly so; other bytes stay, as surrogates.

    None where it is no text. Line ends become `\\n`.
    """
    for mark, name in _MARKS:
        if data.startswith(mark):
            if name == "utf-8":
                break
            try:
                return _lines(data.decode(name))
            except UnicodeDecodeError:
                return None
    else:
        # UTF-16 of mostly Latin letters without its mark: every second byte is zero.
        head = data[:4096]
        for start, name in ((1, "utf-16-le"), (0, "utf-16-be")):
            half, other = head[start::2], head[1 - start :: 2]
            if len(head) >= 8 and half.count(0) > 0.6 * len(half) and other.count(0) == 0:
                try:
                    return _lines(data.decode(name))
                except UnicodeDecodeError:
                    return None
    text = _lines(data.removeprefix(codecs.BOM_UTF8).decode("utf-8", "surrogateescape"))
    beginning = text[:4096]
    odd = sum(ord(character) < 32 and character not in "\t\n\f\x1b" for character in beginning)
    return None if odd > 0.1 * len(beginning) else text.replace("\0", "")


def readings(text: str) -> Iterator[Reading]:
    """Every way in which a list may be read, the likeliest first."""
    if text.lstrip().startswith(("{", "[")) and (found := _json(text)) is not None:
        yield found
        return
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    if lines and re.fullmatch(r"\"?sep=.\"?", lines[0][1].strip(), re.IGNORECASE):
        text = "\n" * lines[0][0] + text.split("\n", lines[0][0])[-1]
        lines = lines[1:]  # what spreadsheets write above their columns
    matches = [(number, _FESTIVAL.fullmatch(line.strip())) for number, line in lines]
    if any(match for _, match in matches):
        rows = (
            Row(number, (match[1], re.sub(r"\\(.)", r"\1", match[2])) if match else ())
            for number, match in matches
        )
        yield Reading(tuple(rows), 0)
    for place, delimiter in enumerate(_TABLES):
        if delimiter in text:
            yield from _tables(text, lines, delimiter, 10 * (place + 1))
    for place, delimiter in enumerate(_PAIRS):
        if delimiter in text:
            rows = (Row(number, tuple(line.split(delimiter, 1))) for number, line in lines)
            yield Reading(tuple(rows), 60 + place, delimiter, splits=True, loose=True)
    rows = (Row(number, _at_blank(line.strip())) for number, line in lines)
    yield Reading(tuple(rows), 90, " ", splits=True, loose=True)


def _at_blank(line: str) -> tuple[str, ...]:
    quoted = _QUOTED.fullmatch(line)
    return quoted.groups() if quoted else tuple(_BLANK.split(line, maxsplit=1))


def _lines(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _tables(text: str, lines: Sequence[tuple[int, str]], delimiter: str, rank: int) -> Iterator[Reading]:
    literal = Reading(tuple(Row(n, tuple(line.split(delimiter))) for n, line in lines), rank + 4, delimiter)
    if "\\" + delimiter in text:
        cut = re.compile(rf"(?<!\\){re.escape(delimiter)}")
        cells = (
            (n, [cell.replace("\\" + delimiter, delimiter) for cell in cut.split(line)]) for n, line in lines
        )
        yield Reading(tuple(Row(n, tuple(row)) for n, row in cells), rank - 1, delimiter)
    for quote in ('"', "'"):
        if not re.search(rf"(?:^|{re.escape(delimiter)})[ ]?{quote}", text, re.MULTILINE):
            continue
        # In lists of | and tabs a quotation mark is mostly the text's own; in those of spreadsheets never.
        for escape in (None, "\\") if "\\" + quote in text else (None,):
            read = _reader(delimiter, quote, escape)
            whole = _whole(text, read)
            first = delimiter in ",;" or _needs_quotes(whole or (), literal.rows, delimiter, quote)
            shift = (0 if quote == '"' else 1) if first else 6
            if whole is not None:
                yield Reading(whole, rank + shift, delimiter)
            by_line = [_line(line, read) for _, line in lines]
            rows = tuple(
                Row(n, tuple(line.split(delimiter)) if cells is None else cells)
                for (n, line), cells in zip(lines, by_line, strict=True)
            )
            # Lines whose quotes do not close keep them; a form without such lines is likelier.
            yield Reading(rows, rank + shift + 2 * any(cells is None for cells in by_line), delimiter)
    yield literal


_Read = Callable[[Any], Iterator[list[str]]]


def _reader(delimiter: str, quote: str, escape: str | None) -> _Read:
    def read(lines: Any) -> Iterator[list[str]]:
        return csv.reader(
            lines,
            delimiter=delimiter,
            quotechar=quote,
            escapechar=escape,
            doublequote=escape is None,
            skipinitialspace=False,
            strict=True,
        )

    return read


def _whole(text: str, read: _Read) -> tuple[Row, ...] | None:
    """The text as one table, whose quoted texts may hold line ends; None where its quotes do not close."""
    source = read(io.StringIO(text, newline=""))
    rows = []
    line = 1
    try:
        for cells in source:
            number = getattr(source, "line_num", line)
            if any(cell.strip() for cell in cells):
                rows.append(Row(line, tuple(cells)))
            line = number + 1
    except csv.Error:
        return None
    return tuple(rows)


def _line(line: str, read: _Read) -> tuple[str, ...] | None:
    """The cells of one line; None where its quotes do not close."""
    try:
        return tuple(next(read([line])))
    except (csv.Error, StopIteration):
        return None


def _needs_quotes(rows: Sequence[Row], literal: Sequence[Row], delimiter: str, quote: str) -> bool:
    """Whether the quotes are the table's: round a delimiter, a line end, a quote, or round whole columns."""
    if any(quote in cell or delimiter in cell or "\n" in cell for row in rows for cell in row.cells):
        return True
    cells = [[cell.strip() for cell in row.cells] for row in literal]
    around = [[len(cell) > 1 and cell[0] == quote == cell[-1] for cell in row] for row in cells]
    # The first line may be a header.
    return bool(around) and (all(map(all, around)) or (len(around) > 2 and all(map(any, around[1:]))))


# --- JSON


def _json(text: str) -> Reading | None:
    records: list[tuple[int, Any]] = []
    try:
        records = [(number, record) for number, record in enumerate(_records(json.loads(text)), 1)]
    except (ValueError, RecursionError):
        for number, line in enumerate(text.split("\n"), 1):
            if line.strip():
                try:
                    records.append((number, json.loads(line)))
                except (ValueError, RecursionError):
                    records.append((number, None))
        if sum(record is not None for _, record in records) * 2 < len(records):
            return None
    header: dict[str, None] = {}
    flat = [(number, _flat(record)) for number, record in records]
    for _, record in flat:
        header.update(dict.fromkeys(record))
    rows = tuple(Row(number, tuple(record.get(key, "") for key in header)) for number, record in flat)
    return Reading(rows, 0, header=tuple(header))


def _records(value: Any) -> list[Any]:
    """The records of a JSON text: a list, the first list inside an object, names and texts, or columns."""
    if isinstance(value, list):
        return value
    if not isinstance(value, dict):
        return []
    columns = list(value.values())
    roles = by_header([str(name) for name in value])
    if any(isinstance(columns[roles[role]], str) for role in ("text", "normalised") if role in roles):
        return [value]
    if columns and len(columns) > 1 and all(isinstance(column, list) for column in columns):
        return [dict(zip(value, cells, strict=False)) for cells in zip(*columns, strict=False)]
    inner = [column for column in columns if isinstance(column, list) and column]
    if inner:
        return list(inner[0])
    if columns and all(isinstance(column, dict) for column in columns):
        keys = [tuple(column) for column in columns]
        if len(set(keys)) == 1 and keys[0][:1] == ("0",):  # as pandas writes a table
            return [{name: value[name][key] for name in value} for key in keys[0]]
        return [{"file": name, **record} for name, record in value.items()]
    if all(isinstance(column, str) for column in columns):
        return [{"file": name, "text": text} for name, text in value.items()]
    return [value]


def _flat(record: Any) -> dict[str, str]:
    """A record's cells as texts; of an object inside, its own cells."""
    if isinstance(record, list):
        record = {str(place): cell for place, cell in enumerate(record)}
    if not isinstance(record, dict):
        return {}
    flat: dict[str, str] = {}
    for key, cell in record.items():
        if isinstance(cell, dict):
            flat.update({f"{key}.{name}": _cell(inner) for name, inner in cell.items()})
        else:
            flat[str(key)] = _cell(cell)
    return flat


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "" if value is None or isinstance(value, list | dict | bool) else str(value)
