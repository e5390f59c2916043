"""Written Japanese → words → Kokoro's phonemes, through MeCab (fugashi, UniDic) and kokorog2p.

Japanese is written without spaces: MeCab finds the words and how they are read, after num2kana has said the
numbers. Latin words are read as American English.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from voicewright.errors import VoicewrightError
from voicewright.text.clean import clean, cluster_end
from voicewright.text.english.g2p import English
from voicewright.text.lexicon import Lexicon
from voicewright.text.pieces import JOINED, Kind, Piece

_TOKEN = re.compile(
    r"""
  (?P<given>\[(?P<alias>[^\[\]\n]{1,200})\]\(/(?P<phonemes>[^()/\n]{0,2000})/\))
| (?P<latin>[A-Za-z]{1,64}+(?:['-][A-Za-z]{1,64}+){0,11}+)
| (?P<break>\n\s{0,1000}\n\s{0,1000})
| (?P<number>(?:\d{1,3}(?:,\d{3}){1,4}(?!\d)|\d{1,16}+))
| (?P<wave>[〜~](?=\d))
| (?P<other>.)
""",
    re.VERBOSE | re.DOTALL,
)
_MARKS = {
    ";": ";", ":": ":", ",": ",", ".": ".", "!": "!", "?": "?", "…": "…", "—": "—", "–": "—", "“": "“",
    "”": "”",
    '"': '"', "(": "(", ")": ")", "[": "(", "]": ")", "《": "“", "》": "”", "〈": "“", "〉": "”",
    "【": "“", "】": "”",
}  # fmt: skip
_CLOSING = frozenset(";:,.!?”)…—")
_OPENING = frozenset("“(")
_SIGNS = {
    "%": "パーセント",
    "&": "アンド",
    "+": "プラス",
    "=": "イコール",
    "@": "アット",
    "¥": "円",
    "×": "かける",
    "÷": "わる",
}
_SILENT = frozenset("*_~〜^|\\'-<>·•‣▪●○・/#゛゜")
_SMALL = str.maketrans("ㇰㇱㇲㇳㇴㇵㇶㇷㇸㇹㇺㇻㇼㇽㇾㇿ", "クシストヌハヒフヘホムラリルレロ")
_STRETCH = 300
"""Characters after which a sentence's end, and twice that after which any character, ends what MeCab sees."""
_KANA_WORD, _UNKNOWN_KANA = 6, 7
"""MeCab's classes of characters (char.def of UniDic): hiragana, katakana."""
_GROUP = 12
"""Most of MeCab's words that the lexicon of compounds joins."""


def require() -> None:
    """Raises VoicewrightError that says how to install what Japanese needs, where that is missing."""
    missing = [name for name in ("fugashi", "jaconv", "mojimoji") if find_spec(name) is None]
    if find_spec("unidic_lite") is None and find_spec("unidic") is None:
        missing.append("unidic-lite")
    if missing:
        raise VoicewrightError(
            f"Japanese needs {', '.join(missing)}, which this installation lacks: "
            "pip install 'voicewright[ja]'."
        )


@dataclass(frozen=True)
class _Node:
    """One word of MeCab's: where it stands in what MeCab saw, and its reading in hiragana."""

    surface: str
    start: int
    reading: str
    kind: int


class _Analyser:
    """MeCab and the lexicon of compounds, opened on first use."""

    def __init__(self) -> None:
        self._cutlet: Any = None
        self._compounds: frozenset[str] = frozenset()
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return _Analyser, ()

    def _open(self) -> Any:
        if self._cutlet is None:
            from kokorog2p.ja.cutlet import Cutlet

            try:
                self._cutlet = Cutlet()
            except RuntimeError as error:
                raise VoicewrightError(
                    "MeCab has no dictionary to read Japanese with: pip install 'voicewright[ja]'."
                ) from error
            # Asked for every run of words; a look-up in the packed lexicon takes half a millisecond.
            self._compounds = frozenset(self._cutlet.ja_words.layer("words"))
        return self._cutlet

    def words(self, text: str) -> list[_Node]:
        """Words of a stretch, compounds of the lexicon joined."""
        import jaconv

        with self._lock:
            cutlet = self._open()
            nodes, at = [], 0
            for node in cutlet.tagger(text):
                at = text.index(node.surface, at)
                reading = jaconv.kata2hira(node.feature.pron or node.feature.kana or node.surface)
                known = node.char_type == _UNKNOWN_KANA or not node.is_unk
                nodes.append(_Node(node.surface, at, reading, _KANA_WORD if known else node.char_type))
                at += len(node.surface)
            return self._joined(nodes)

    def _joined(self, nodes: Sequence[_Node]) -> list[_Node]:
        joined, at = [], 0
        while at < len(nodes):
            end = at + 1
            while end < min(len(nodes), at + _GROUP) and nodes[end].kind == nodes[at].kind:
                end += 1
            while end > at + 1 and "".join(node.surface for node in nodes[at:end]) not in self._compounds:
                end -= 1
            group = nodes[at:end]
            surface, reading = (
                "".join(part) for part in zip(*((n.surface, n.reading) for n in group), strict=True)
            )
            joined.append(_Node(surface, group[0].start, reading, group[0].kind))
            at = end
        return joined

    def phonemes(self, reading: str) -> str:
        """Kokoro's phonemes of hiragana."""
        from kokorog2p.ja.cutlet import Word

        with self._lock:
            return str(self._open()._romaji_word(Word(reading, reading, _KANA_WORD))).replace("っ", "")


def normaliser(lexicon: Lexicon | None = None) -> Callable[[str], list[Piece]]:
    """A function from text to pieces, one for every word that MeCab finds. Raises as `require`."""
    require()
    analyser = _Analyser()

    def normalise(text: str) -> list[Piece]:
        plain, origin = clean(text)
        pieces = _Reader(plain.translate(_SMALL), analyser, lexicon).read()
        if isinstance(origin, range):
            return pieces
        return [
            Piece(
                p.kind,
                origin[p.start],
                origin[p.stop] if p.start == p.stop else cluster_end(text, origin[p.stop - 1]),
                p.spoken,
                p.phonemes,
            )
            for p in pieces
        ]

    return normalise


class _Reader:
    """Collects what MeCab sees of a stretch, with the way back to the text, and writes down its words."""

    def __init__(self, text: str, analyser: _Analyser, lexicon: Lexicon | None) -> None:
        self.text = text
        self.analyser = analyser
        self.lexicon = lexicon
        self.pieces: list[Piece] = []
        self.seen: list[str] = []
        self.spans: list[tuple[int, int]] = []

    def read(self) -> list[Piece]:
        for token in _TOKEN.finditer(self.text):
            kind = token.lastgroup
            span = token.span()
            if kind in ("given", "latin", "break"):
                self._flush()
                self._alone(kind, token)
            elif kind == "number":
                self._see(" " + _number(token[0]), span)
            elif kind == "wave":
                self._see("から", span)
            else:
                self._see(_SIGNS.get(token[0], token[0]), span)
            long = len(self.seen) > _STRETCH and token[0] in ".!?\n"
            if long or len(self.seen) > 2 * _STRETCH:
                self._flush()
        self._flush()
        return self.pieces

    def _see(self, said: str, span: tuple[int, int]) -> None:
        self.seen.extend(said)
        self.spans.extend([span] * len(said))

    def _alone(self, kind: str | None, token: re.Match[str]) -> None:
        start, stop = token.span()
        if kind == "break":
            self.pieces.append(Piece(Kind.BREAK, start, stop))
        elif kind == "given":
            self.pieces.append(Piece(Kind.WORD, start, stop, token["alias"], token["phonemes"]))
        else:
            own = self.lexicon.get(token[0]) if self.lexicon is not None else None
            self.pieces.append(Piece(Kind.WORD, start, stop, token[0], own))

    def _flush(self) -> None:
        text, spans = "".join(self.seen), self.spans
        self.seen, self.spans = [], []
        if not text.strip():
            if text:
                self.pieces.append(Piece(Kind.SPACE, spans[0][0], spans[-1][1]))
            return
        at = 0
        for node in self.analyser.words(text):
            self._between(text, spans, at, node.start)
            at = node.start + len(node.surface)
            start, stop = spans[node.start][0], spans[at - 1][1]
            if all(symbol in _MARKS or symbol in _SILENT or _is_odd(symbol) for symbol in node.surface):
                for offset, symbol in enumerate(node.surface):
                    self._symbol(symbol, *spans[node.start + offset])
            else:
                self._word(node, start, stop)
        self._between(text, spans, at, len(text))

    def _between(self, text: str, spans: Sequence[tuple[int, int]], start: int, stop: int) -> None:
        """Blanks of the writer's own; those before numbers are ours."""
        own = [at for at in range(start, stop) if self.text[spans[at][0]].isspace()]
        if own:
            self.pieces.append(Piece(Kind.SPACE, spans[own[0]][0], spans[own[-1]][1]))

    def _word(self, node: _Node, start: int, stop: int) -> None:
        if node.kind != _KANA_WORD:
            self.pieces.extend(Piece(Kind.UNKNOWN, at, at + 1) for at in range(start, stop))
            return
        own = self.lexicon.get(node.surface) if self.lexicon is not None else None
        last = self.pieces[-1] if self.pieces else None
        if last is not None and last.kind is Kind.WORD and start < last.stop:
            # Two words of one number.
            self.pieces[-1] = Piece(
                Kind.WORD, last.start, max(stop, last.stop), f"{last.spoken} {node.reading}"
            )
        else:
            self.pieces.append(Piece(Kind.WORD, start, stop, node.reading, own))

    def _symbol(self, symbol: str, start: int, stop: int) -> None:
        if symbol in _MARKS:
            self._mark(start, stop, _MARKS[symbol])
        elif symbol not in _SILENT and not symbol.isspace():
            self.pieces.append(Piece(Kind.UNKNOWN, start, stop))

    def _mark(self, start: int, stop: int, symbol: str) -> None:
        """Full-width marks bring their own space, which is no character of the text."""
        last = self.pieces[-1] if self.pieces else None
        before = (
            self.pieces[-2] if len(self.pieces) > 1 and last is not None and last.start == last.stop else last
        )
        if (
            before is not None
            and before.phonemes == symbol
            and before.kind is Kind.MARK
            and symbol not in "()“”"
        ):
            return
        if symbol in _OPENING and last is not None and last.kind is not Kind.BREAK:
            self.pieces.append(Piece(Kind.SPACE, start, start))
        elif symbol in _CLOSING and last is not None and last.kind is Kind.SPACE and last.start == last.stop:
            self.pieces.pop()
        self.pieces.append(Piece(Kind.MARK, start, stop, phonemes=symbol))
        if symbol in _CLOSING:
            self.pieces.append(Piece(Kind.SPACE, stop, stop))


def _is_odd(symbol: str) -> bool:
    """Neither letter, nor digit, nor a mark of Japanese that sounds."""
    return not symbol.isalnum() and symbol not in "ー々ゝゞヽヾ〃"


def _number(written: str) -> str:
    from kokorog2p.ja.num2kana import Convert

    digits = written.replace(",", "")
    if len(digits) > 12 or (len(digits) > 1 and digits[0] == "0"):
        return "".join(
            ["ゼロ", "いち", "に", "さん", "よん", "ご", "ろく", "なな", "はち", "きゅう"][int(digit)]
            for digit in digits
        )
    return str(Convert(digits))


class Japanese:
    """Pronounces pieces of Japanese, with American English for Latin words."""

    def __init__(self, lexicon: Lexicon | None = None) -> None:
        require()
        self.user = lexicon
        self._english = English(False, lexicon)
        self._analyser = _Analyser()

    def __reduce__(self) -> tuple[Any, ...]:
        return Japanese, (self.user,)

    def pronounce(self, pieces: Sequence[Piece]) -> list[str]:
        """Phonemes of every piece, in order; empty for spaces, breaks and unknown symbols.

        A glottal stop belongs to both words that it stands between: the second begins with JOINED.
        """
        latin = [piece if _is_latin(piece) else _gap(piece) for piece in pieces]
        english = self._english.pronounce(latin) if any(map(_is_latin, pieces)) else [""] * len(pieces)
        sounds: list[str] = []
        after_word = stopped = False
        for piece, said in zip(pieces, english, strict=True):
            sound = said if _is_latin(piece) else self._piece(piece)
            if piece.kind is Kind.WORD and sound:
                if after_word and (stopped or sound.startswith("ʔ")):
                    sound = JOINED + sound
                stopped = sound.endswith("ʔ")
            elif piece.kind is not Kind.SPACE or piece.start < piece.stop:
                stopped = False
            after_word = piece.kind is Kind.WORD
            sounds.append(sound)
        return sounds

    def _piece(self, piece: Piece) -> str:
        if piece.phonemes is not None:
            return piece.phonemes
        if piece.kind is not Kind.WORD:
            return ""
        return " ".join(self._analyser.phonemes(reading) for reading in piece.spoken.split())


def _is_latin(piece: Piece) -> bool:
    return piece.kind is Kind.WORD and piece.phonemes is None and piece.spoken.isascii()


def _gap(piece: Piece) -> Piece:
    """A stand-in that English reads as a pause."""
    return Piece(Kind.MARK, piece.start, piece.stop, phonemes=",") if piece.kind is not Kind.SPACE else piece
