"""Written English → pieces."""

from __future__ import annotations

import re

from voicewright.text.pieces import Kind, Piece

_SCAN = re.compile(
    r"\[(?P<alias>[^\[\]\n]{1,200})\]\(/(?P<given>[^()/\n]{0,400})/\)"
    r"|(?P<word>[^\W\d_]+(?:['’-][^\W\d_]+)*['’]?|\d+)"
    r"|(?P<blank>\s+)"
    r"|(?P<other>.)",
    re.DOTALL,
)
_MARKS = {c: c for c in ';:,.!?—…()“”"'} | {"–": "—"}


def normalise(text: str, dialect: str = "us") -> list[Piece]:
    """Cut `text` into pieces that cover it from start to end, in order. Linear in the text."""
    from num2words import num2words

    pieces: list[Piece] = []
    for match in _SCAN.finditer(text):
        start, stop = match.span()
        if match["alias"] is not None:
            pieces.append(Piece(Kind.WORD, start, stop, match["alias"], match["given"]))
        elif word := match["word"]:
            spoken = num2words(int(word)).replace("-", " ") if word[0].isdigit() else word.replace("’", "'")
            pieces.append(Piece(Kind.WORD, start, stop, spoken))
        elif blank := match["blank"]:
            pieces.append(Piece(Kind.BREAK if blank.count("\n") > 1 else Kind.SPACE, start, stop))
        elif (mark := _MARKS.get(match["other"])) is not None:
            pieces.append(Piece(Kind.MARK, start, stop, phonemes=mark))
        else:
            pieces.append(Piece(Kind.UNKNOWN, start, stop))
    return pieces
