"""Written Mandarin → words → Kokoro 1.0's phonemes, through jieba, pypinyin and kokorog2p's transcription.

Chinese is written without spaces: jieba finds the words, after cn2an has said the numbers. Latin words
are read as
American English.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

from voicewright.errors import VoicewrightError
from voicewright.text.clean import clean, cluster_end
from voicewright.text.english.g2p import English
from voicewright.text.lexicon import Lexicon
from voicewright.text.pieces import Kind, Piece

_HAN = r"[\u4e00-\u9fff]"
_UNIT = r"(?=[克斤吨米升元角分个只条张块瓶杯份本辆台匹头位亩天秒岁年月人次])"
_TOKEN = re.compile(
    rf"""
  (?P<given>\[(?P<alias>[^\[\]\n]{{1,200}})\]\(/(?P<phonemes>[^()/\n]{{0,2000}})/\))
| (?P<number>\d{{2,4}}年(?:\d{{1,2}}月)?(?:\d{{1,2}}[日号])?|\d{{1,2}}月\d{{1,2}}[日号]
    |\d{{4}}[-/]\d{{1,2}}[-/]\d{{1,2}}(?!\d)|(?:[01]?\d|2[0-4]):[0-5]\d(?!\d)
    |\d{{1,9}}(?:\.\d{{1,9}})?[-~]\d{{1,9}}(?:\.\d{{1,9}})?{_UNIT}|\d{{1,9}}/\d{{1,9}}(?!\d)
    |(?P<money>[¥￥$€£])\ ?\d{{1,15}}(?:,\d{{3}}){{0,4}}(?:\.\d{{1,9}})?
    |(?:(?<![\w.])-)?(?:\d{{1,3}}(?:,\d{{3}}){{1,4}}(?!\d)|\d{{1,400}}+)(?:\.\d{{1,40}}+)?(?:%|°C|℃)?)
| (?P<han>{_HAN}{{1,400}}+)
| (?P<latin>[A-Za-z]{{1,64}}+(?:['-][A-Za-z]{{1,64}}+){{0,11}}+)
| (?P<blank>\s{{1,1000}}+)
| (?P<dots>[.…]{{2,20}}|…)
| (?P<dash>[—–-]{{2,20}}|[—–])
| (?P<other>.)
""",
    re.VERBOSE | re.DOTALL,
)
_MARKS = {
    ";": ";", ":": ":", ",": ",", ".": ".", "!": "!", "?": "?", "“": "“", "”": "”", '"': '"', "(": "(",
    ")": ")",
    "[": "(", "]": ")", "《": "“", "》": "”", "〈": "“", "〉": "”", "【": "“", "】": "”", "〖": "“",
    "〗": "”",
}  # fmt: skip
MARKS = frozenset([*_MARKS.values(), "…", "—"])
_CLOSING = frozenset(";:,.!?”)…—")
_OPENING = frozenset("“(")
_SILENT = frozenset("*_~^|\\'-<>·•‣▪●○・/~～")
_SIGNS = {
    "%": "百分号",
    "&": "和",
    "+": "加",
    "=": "等于",
    "@": "艾特",
    "°": "度",
    "×": "乘",
    "÷": "除以",
    "#": "井号",
}
_CURRENCY = {"¥": "元", "￥": "元", "$": "美元", "€": "欧元", "£": "英镑"}
_MOST_CACHED = 50_000
_LONGEST_RUN = 400
"""Characters without a mark that are cut into words together."""


def require() -> None:
    """Raises VoicewrightError that says how to install what Mandarin needs, where that is missing."""
    missing = [name for name in ("jieba", "pypinyin", "cn2an", "ordered_set") if find_spec(name) is None]
    if missing:
        raise VoicewrightError(
            f"Mandarin needs {', '.join(missing)}, which this installation lacks: "
            "pip install 'voicewright[zh]'."
        )


def normaliser(lexicon: Lexicon | None = None) -> Callable[[str], list[Piece]]:
    """A function from text to pieces, one for every word that jieba finds. Raises as `require`."""
    require()
    words = Words()

    def normalise(text: str) -> list[Piece]:
        plain, origin = clean(text)
        return placed(Reader(plain, words, lexicon).read(), text, origin)

    return normalise


def placed(pieces: list[Piece], text: str, origin: Sequence[int]) -> list[Piece]:
    """Pieces of a cleaned text at their places in the written one."""
    if isinstance(origin, range):
        return pieces
    return [
        Piece(p.kind, origin[p.start], _end(text, origin, p.start, p.stop), p.spoken, p.phonemes)
        for p in pieces
    ]


def _end(text: str, origin: Sequence[int], start: int, stop: int) -> int:
    return origin[stop] if start == stop else cluster_end(text, origin[stop - 1])


def cutter() -> Any:
    """jieba with its own dictionary; no cache in a folder that others write to."""
    import jieba

    found = jieba.Tokenizer()
    found.FREQ, found.total = found.gen_pfdict(found.get_dict_file())
    found.initialized = True
    return found


class Words:
    """jieba, opened on first use."""

    def __init__(self) -> None:
        self._jieba: Any = None
        self._lock = threading.Lock()

    def cut(self, text: str) -> list[str]:
        with self._lock:
            if self._jieba is None:
                self._jieba = cutter()
        return list(self._jieba.cut(text, cut_all=False))

    def __reduce__(self) -> tuple[Any, ...]:
        return Words, ()


class Reader:
    """Goes through the tokens; numbers and characters that stand together are cut into words together."""

    def __init__(self, text: str, words: Words, lexicon: Lexicon | None) -> None:
        self.text = text
        self.words = words
        self.lexicon = lexicon
        self.pieces: list[Piece] = []
        self.size = 0
        self.run: list[tuple[int, int, str]] = []
        """Start, stop and reading of the tokens of a stretch that is yet to be cut into words."""

    def read(self) -> list[Piece]:
        for token in _TOKEN.finditer(self.text):
            kind = token.lastgroup or ""
            reading = self._reading(kind, token)
            if reading:
                self.run.append((token.start(), token.end(), reading))
                self.size += len(reading)
            if not reading or self.size > _LONGEST_RUN:
                self._flush()
            if not reading:
                getattr(self, f"_{kind}")(token)
        self._flush()
        return self.pieces

    def _taken(self) -> tuple[str, list[int], list[int]]:
        """The stretch as it is read, with start and stop of every character in the text; it is empty then."""
        said = "".join(reading for _, _, reading in self.run)
        starts: list[int] = []
        stops: list[int] = []
        for start, stop, reading in self.run:
            literal = self.text[start:stop] == reading
            for at in range(len(reading)):
                starts.append(start + at if literal else start)
                stops.append(start + at + 1 if literal else stop)
        self.run, self.size = [], 0
        return said, starts, stops

    def _flush(self) -> None:
        """The stretch as words. Words that share a number's characters stay one piece."""
        if not self.run:
            return
        said, starts, stops = self._taken()
        at = 0
        for word in self.words.cut(said):
            start, stop = starts[at], stops[at + len(word) - 1]
            at += len(word)
            last = self.pieces[-1] if self.pieces else None
            if last is not None and last.kind is Kind.WORD and start < last.stop:
                merged = Piece(Kind.WORD, last.start, max(stop, last.stop), f"{last.spoken} {word}")
                self.pieces[-1] = merged
            else:
                self.pieces.append(Piece(Kind.WORD, start, stop, word))

    def _reading(self, kind: str, token: re.Match[str]) -> str:
        """The characters that a token is read as; nothing for marks, blanks and other scripts."""
        if kind == "han":
            return token[0]
        if kind == "number":
            return _number(token)
        return _SIGNS.get(token[0], "") if kind == "other" else ""

    def _mark(self, start: int, stop: int, symbol: str) -> None:
        """Full-width marks bring their own space, which is no character of the text."""
        last = self.pieces[-1] if self.pieces else None
        if last is not None and last.kind is Kind.MARK and last.phonemes == symbol and symbol not in "()“”":
            return
        if symbol in _OPENING and last is not None and last.kind is not Kind.BREAK:
            self.pieces.append(Piece(Kind.SPACE, start, start))
        elif symbol in _CLOSING and last is not None and last.kind is Kind.SPACE and last.start == last.stop:
            self.pieces.pop()
        self.pieces.append(Piece(Kind.MARK, start, stop, phonemes=symbol))
        if symbol in _CLOSING:
            self.pieces.append(Piece(Kind.SPACE, stop, stop))

    def _given(self, token: re.Match[str]) -> None:
        self.pieces.append(Piece(Kind.WORD, token.start(), token.end(), token["alias"], token["phonemes"]))

    def _latin(self, token: re.Match[str]) -> None:
        own = self.lexicon.get(token[0]) if self.lexicon is not None else None
        self.pieces.append(Piece(Kind.WORD, token.start(), token.end(), token[0], own))

    def _blank(self, token: re.Match[str]) -> None:
        kind = Kind.BREAK if token[0].count("\n") > 1 else Kind.SPACE
        self.pieces.append(Piece(kind, token.start(), token.end()))

    def _dots(self, token: re.Match[str]) -> None:
        self._mark(token.start(), token.end(), "…")

    def _dash(self, token: re.Match[str]) -> None:
        self._mark(token.start(), token.end(), "—")

    def _other(self, token: re.Match[str]) -> None:
        if symbol := mark(token):
            self._mark(token.start(), token.end(), symbol)
        elif token[0] not in _SILENT:
            self.pieces.append(Piece(Kind.UNKNOWN, token.start(), token.end()))


def mark(token: re.Match[str]) -> str:
    """The mark that a token is, in Kokoro's symbols, or nothing."""
    return {"dots": "…", "dash": "—"}.get(token.lastgroup or "") or _MARKS.get(token[0], "")


def _number(token: re.Match[str]) -> str:
    """A number, date, time or amount in characters."""
    import cn2an

    written = token[0]
    if token["money"]:
        return str(cn2an.transform(written[1:].strip().replace(",", ""), "an2cn")) + _CURRENCY[token["money"]]
    if ":" in written:
        hour, minute = written.split(":")
        said = f"{int(hour)}点{int(minute)}分" if int(minute) else f"{int(hour)}点"
        return str(cn2an.transform(said, "an2cn"))
    if re.fullmatch(r"\d{4}[-/]\d{1,2}[-/]\d{1,2}", written):
        year, month, day = re.split(r"[-/]", written)
        return str(cn2an.transform(f"{year}年{int(month)}月{int(day)}日", "an2cn"))
    digits = re.sub(r",(?=\d{3})", "", written).replace("°C", "℃")
    if re.fullmatch(r"0\d+|\d{13,}", digits):
        return "".join("零一二三四五六七八九"[int(digit)] for digit in digits)
    if digits.endswith("℃"):
        below = "零下" if digits.startswith("-") else ""
        return f"{below}{cn2an.transform(digits.strip('-℃'), 'an2cn')}摄氏度"
    low, between, high = digits.partition("-" if "-" in digits[1:] else "~")
    if between and low:
        return f"{cn2an.transform(low, 'an2cn')}到{cn2an.transform(high, 'an2cn')}"
    return str(cn2an.transform(digits, "an2cn"))


class Mandarin:
    """Pronounces pieces of Mandarin, with American English for Latin words."""

    def __init__(self, lexicon: Lexicon | None = None) -> None:
        require()
        self.user = lexicon
        self._english = English(False, lexicon)
        self._g2p: Any = None
        self._cache: dict[str, str] = {}
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Mandarin, (self.user,)

    def pronounce(self, pieces: Sequence[Piece]) -> list[str]:
        """Phonemes of every piece, in order; empty for spaces, breaks and unknown symbols."""
        with self._lock:
            latin = [
                piece if _is_latin(piece) or piece.kind is Kind.BREAK else _gap(piece) for piece in pieces
            ]
            english = self._english.pronounce(latin) if any(map(_is_latin, pieces)) else [""] * len(pieces)
            return [
                said if _is_latin(piece) else self._piece(piece)
                for piece, said in zip(pieces, english, strict=True)
            ]

    def _piece(self, piece: Piece) -> str:
        if piece.phonemes is not None:
            return piece.phonemes
        return " ".join(map(self._word, piece.spoken.split())) if piece.kind is Kind.WORD else ""

    def _word(self, word: str) -> str:
        sound = self._cache.get(word)
        if sound is None:
            own = self.user.get(word) if self.user is not None else None
            if len(self._cache) > _MOST_CACHED:
                self._cache.clear()
            sound = self._cache[word] = own if own is not None else self._transcribed(word)
        return sound

    def _transcribed(self, word: str) -> str:
        if self._g2p is None:
            from kokorog2p.zh.g2p import ChineseG2P

            self._g2p = ChineseG2P(version="1.0")
        try:
            return str(self._g2p.word2ipa(word)).replace("\u032f", "")
        except (KeyError, ValueError, IndexError):
            return ""  # a character that pypinyin has no reading for: reported as unknown


def _is_latin(piece: Piece) -> bool:
    return piece.kind is Kind.WORD and piece.phonemes is None and piece.spoken.isascii()


def _gap(piece: Piece) -> Piece:
    """A stand-in that English reads as a pause."""
    return Piece(Kind.MARK, piece.start, piece.stop, phonemes=",") if piece.kind is not Kind.SPACE else piece
