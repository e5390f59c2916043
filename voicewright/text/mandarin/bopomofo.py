"""Written Mandarin → Kokoro 1.1-zh's phonemes: bopomofo, Han characters for compound finals, tone digits.

1.1-zh was trained with another front end than 1.0: PaddleSpeech's, which changes tones by their neighbours
(third tones in a row, 不, 一, neutral tones), joins a final 儿 to its word, and writes `/` between words. All
of that asks for parts of speech and for neighbours, so phonemes are found while words are cut. The rules for
tones are kokorog2p's (Apache 2.0). Readings come from tables of our own here: upstream loads its larger
dictionary into pypinyin itself, which would change what 1.0 says in the same process.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

from voicewright.errors import VoicewrightError
from voicewright.text.clean import clean
from voicewright.text.lexicon import Lexicon
from voicewright.text.mandarin import g2p as mandarin
from voicewright.text.pieces import Kind, Piece

_SYMBOLS: Mapping[str, str] = MappingProxyType({
    "b": "ㄅ", "p": "ㄆ", "m": "ㄇ", "f": "ㄈ", "d": "ㄉ", "t": "ㄊ", "n": "ㄋ", "l": "ㄌ",
    "g": "ㄍ", "k": "ㄎ", "h": "ㄏ", "zh": "ㄓ", "ch": "ㄔ", "sh": "ㄕ", "r": "ㄖ", "z": "ㄗ",
    "c": "ㄘ", "s": "ㄙ", "j": "ㄐ", "q": "ㄑ", "x": "ㄒ", "a": "ㄚ", "o": "ㄛ", "e": "ㄜ",
    "ie": "ㄝ", "ai": "ㄞ", "ei": "ㄟ", "ao": "ㄠ", "ou": "ㄡ", "an": "ㄢ", "en": "ㄣ", "ang": "ㄤ",
    "eng": "ㄥ", "er": "ㄦ", "i": "ㄧ", "u": "ㄨ", "v": "ㄩ", "ii": "ㄭ", "iii": "十", "ve": "月",
    "ia": "压", "ian": "言", "iang": "阳", "iao": "要", "in": "阴", "ing": "应", "iong": "用",
    "iou": "又", "ong": "中", "ua": "穵", "uai": "外", "uan": "万", "uang": "王", "uei": "为",
    "uen": "文", "ueng": "瓮", "uo": "我", "van": "元", "vn": "云", "": "",
})  # fmt: skip
"""Initials and finals as 1.1-zh writes them; compound finals are Han characters that have them."""
_COLOURED = frozenset((
    "小院儿", "胡同儿", "范儿", "老汉儿", "撒欢儿", "寻老礼儿", "妥妥儿", "媳妇儿",
))  # fmt: skip
_NOT_COLOURED = frozenset((
    "虐儿", "为儿", "护儿", "瞒儿", "救儿", "替儿", "有儿", "一儿", "我儿", "俺儿", "妻儿", "拐儿",
    "聋儿", "乞儿", "患儿", "幼儿", "孤儿", "婴儿", "婴幼儿", "连体儿", "脑瘫儿", "流浪儿", "体弱儿",
    "混血儿", "蜜雪儿", "舫儿", "祖儿", "美儿", "应采儿", "可儿", "侄儿", "孙儿", "侄孙儿", "女儿",
    "男儿", "红孩儿", "花儿", "虫儿", "马儿", "鸟儿", "猪儿", "猫儿", "狗儿", "少儿",
))  # fmt: skip
"""Which words 1.1-zh's training text wrote with and without the colour, whatever their part of speech."""
_SPECIAL: Mapping[str, str] = MappingProxyType({
    "开户行": "ka1i hu4 hang2", "发卡行": "fa4 ka3 hang2", "放款行": "fa4ng kua3n hang2",
    "茧行": "jia3n hang2", "行号": "hang2 ha4o", "各地": "ge4 di4", "借还款": "jie4 hua2n kua3n",
    "时间为": "shi2 jia1n we2i", "为准": "we2i zhu3n", "色差": "se4 cha1", "嗲": "dia3",
    "呗": "bei5", "不": "bu4", "咗": "zuo5", "嘞": "lei5", "掺和": "chan1 huo5",
})  # fmt: skip
SYMBOL = "ㄅ"
"""A vocabulary that has it is 1.1-zh's."""
BETWEEN = "/"
_MOST_CACHED = 50_000
_LONGEST_PHRASE = 32


def require() -> None:
    """Raises VoicewrightError that says how to install what this needs, where that is missing."""
    mandarin.require()
    if find_spec("pypinyin_dict") is None:
        raise VoicewrightError(
            "Mandarin for Kokoro 1.1-zh needs pypinyin-dict, which this installation lacks: "
            "pip install 'voicewright[zh]'."
        )


def normaliser(lexicon: Lexicon | None = None) -> Callable[[str], list[Piece]]:
    """A function from text to pieces, words with their phonemes. Raises as `require`."""
    require()
    sounds = Sounds()

    def normalise(text: str) -> list[Piece]:
        plain, origin = clean(text)
        return mandarin.placed(_Reader(plain, sounds, lexicon).read(), text, origin)

    return normalise


class Sounds:
    """Words of a stretch of Han characters and marks with their phonemes; opened on first use."""

    def __init__(self) -> None:
        self._rules: Any = None
        self._words: Any = None
        self._cache: dict[tuple[str, str], str] = {}
        self._lock = threading.RLock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Sounds, ()

    def cut(self, text: str) -> list[tuple[str, str]]:
        """Words with their parts of speech, whose concatenation is the text; neighbours that change each
        other's tones are one word."""
        with self._lock:
            if self._rules is None:
                self._words, self._rules = _open()
            words = self._rules.pre_merge_for_modify(list(map(tuple, self._words.cut(text))))
            return [(str(word), str(pos)) for word, pos in words]

    def phonemes(self, word: str, pos: str) -> str:
        """Of a word that `cut` gave; empty where a character has no reading."""
        with self._lock:
            found = self._cache.get((word, pos))
            if found is None:
                if len(self._cache) > _MOST_CACHED:
                    self._cache.clear()
                found = self._cache[word, pos] = self._said(word, pos)
            return found

    def _said(self, word: str, pos: str) -> str:
        tones = self._rules
        try:
            initials = tones.readings.lazy_pinyin(word, _style("INITIALS"))
            finals = list(map(_buzzing, initials, tones.finals(word)))
            finals = _coloured(word, pos, tones.modified_tone(word, pos, finals))
            # A colour has taken the last character's place.
            return "".join(_syllable(*pair) for pair in zip(initials, finals, strict=False))
        except (KeyError, ValueError, IndexError):
            return ""  # a character that nothing has a reading for: reported as unknown


def _style(name: str) -> Any:
    from pypinyin import Style

    return getattr(Style, name)


def _open() -> tuple[Any, Any]:
    """A tagger of jieba with its own dictionary, and kokorog2p's rules for tones over readings of our own."""
    import jieba.posseg
    from kokorog2p.zh.tone_sandhi import ToneSandhi

    cutter = mandarin.cutter()

    class Tones(ToneSandhi):
        """kokorog2p's, asking our readings and our dictionary."""

        def __init__(self) -> None:
            super().__init__()
            self.readings = _readings()

        def finals(self, word: str) -> list[str]:
            found: list[str] = self.readings.lazy_pinyin(word, _style("FINALS_TONE3"))
            # pypinyin has no vowel for 嗯; the rules want a tone on every character.
            pairs = zip(word, found, strict=True)
            return ["n2" if character == "嗯" else final for character, final in pairs]

        def _split_word(self, word: str) -> list[str]:
            first = min(cutter.cut_for_search(word), key=len)
            if word.startswith(first):
                return [first, word[len(first) :]]
            return [word[: -len(first)], first]

        def _merge_continuous_three_tones(self, seg: Any) -> Any:
            return self._merge_thirds(seg, lambda one, two: self._all_tone_three([*one, *two]))

        def _merge_continuous_three_tones_2(self, seg: Any) -> Any:
            return self._merge_thirds(seg, lambda one, two: one[-1][-1] == two[0][-1] == "3")

        def _merge_thirds(self, seg: Any, meet: Callable[[list[str], list[str]], bool]) -> list[list[str]]:
            """Neighbours joined whose third tones meet, up to three characters; no word into two."""
            tones = [["0"] if pos in ("x", "eng") else self.finals(word) for word, pos in seg]
            merged: list[list[str]] = []
            joined = False
            for at, (word, pos) in enumerate(seg):
                before = seg[at - 1][0] if at else ""
                joined = (
                    at > 0
                    and not joined
                    and pos not in ("x", "eng")
                    and meet(tones[at - 1], tones[at])
                    and not self._is_reduplication(before)
                    and len(before) + len(word) <= 3
                )
                if joined:
                    merged[-1][0] += word
                else:
                    merged.append([word, pos])
            return merged

    return jieba.posseg.POSTokenizer(cutter), Tones()


def _coloured(word: str, pos: str, finals: list[str]) -> list[str]:
    """Finals of a word that ends in 儿, which colours the syllable before it where it is no syllable."""
    if word[-1] != "儿" or len(finals) != len(word):
        return finals
    if finals[-1] == "er1":
        finals = [*finals[:-1], "er2"]
    own = word not in _COLOURED and (word in _NOT_COLOURED or pos in ("a", "j", "nr"))
    if own or len(word) < 2 or word[-2:] in _NOT_COLOURED or finals[-1] not in ("er2", "er5"):
        return finals
    return [*finals[:-2], f"{finals[-2][:-1]}R{finals[-2][-1]}"]


def _syllable(initial: str, final: str) -> str:
    """Symbols of an initial and a final such as "uan4" or, coloured, "uanR4". Raises KeyError."""
    found = re.fullmatch(r"([a-zê]*?)(R?)(\d?)", final)
    if found is None:
        raise KeyError(final)
    vowel, colour, tone = found.groups()
    if (vowel, colour) == ("e", "R"):
        vowel, colour = "er", ""
    return _SYMBOLS[initial] + _SYMBOLS[vowel] + colour + tone


def _buzzing(initial: str, final: str) -> str:
    """The vowels of zi and zhi are no i."""
    if re.match(r"i\d", final):
        if initial in ("z", "c", "s"):
            return "i" + final
        if initial in ("zh", "ch", "sh", "r"):
            return "ii" + final
    return final


def _readings() -> Any:
    """pypinyin over upstream's dictionary: the large one, some words of banking, 地 as de first."""
    from pypinyin.constants import PHRASES_DICT, PINYIN_DICT
    from pypinyin.converter import UltimateConverter
    from pypinyin.core import Pinyin

    phrases = {**_phrases([PHRASES_DICT, *_large()]), **_SPECIAL}
    singles: Mapping[int, str] = {**PINYIN_DICT, ord("地"): "de,di4"}

    def split(text: str) -> list[str]:
        """The longest phrases, from the left."""
        found: list[str] = []
        start = 0
        while start < len(text):
            stops = range(min(len(text), start + _LONGEST_PHRASE), start + 1, -1)
            stop = next((stop for stop in stops if text[start:stop] in phrases), start + 1)
            found.append(text[start:stop])
            start = stop
        return found

    class Own(UltimateConverter):
        def _phrase_pinyin(
            self, phrase: str, style: Any, heteronym: bool, errors: Any, strict: bool
        ) -> list[list[str]]:
            if phrase in phrases:
                return [[sound] for sound in phrases[phrase].split(" ")]
            return [singles[ord(character)].split(",") for character in phrase]

    class Reading(Pinyin):
        def get_seg(self, **given: Any) -> Callable[[str], list[str]]:
            return split

    return Reading(Own(neutral_tone_with_five=True))


def _phrases(tables: Iterable[Mapping[str, list[list[str]]]]) -> dict[str, str]:
    """Phrases with the first sound of every character; later tables win. As lists they would take 350 MB."""
    return {
        phrase: " ".join(sounds[0] for sounds in readings)
        for table in tables
        for phrase, readings in table.items()
    }


def _large() -> Iterator[Mapping[str, list[list[str]]]]:
    """The tables of pypinyin-dict's large dictionary, each gone from memory when the next one comes."""
    import importlib.util
    import pkgutil

    from pypinyin_dict import phrase_pinyin_data

    names = [module.name for module in pkgutil.iter_modules(phrase_pinyin_data.__path__)]
    for name in sorted((n for n in names if re.fullmatch(r"large_pinyin_\d+", n)), key=_number):
        spec = importlib.util.find_spec(f"{phrase_pinyin_data.__name__}.{name}")
        if spec is None or spec.loader is None:
            raise VoicewrightError(
                "pypinyin-dict is damaged; install it again: pip install 'voicewright[zh]'."
            )
        table = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(table)
        yield table.phrases_dict


def _number(name: str) -> int:
    return int(name.rpartition("_")[2])


class _Reader(mandarin.Reader):
    """As for 1.0, but marks stay in the stretch that is cut, and words come with their phonemes."""

    def __init__(self, text: str, sounds: Sounds, lexicon: Lexicon | None) -> None:
        super().__init__(text, mandarin.Words(), lexicon)
        self.sounds = sounds

    def _reading(self, kind: str, token: re.Match[str]) -> str:
        # jieba takes a full stop for a part of what stands before it; the space ends that.
        symbol = mandarin.mark(token)
        return super()._reading(kind, token) or (". " if symbol == "." else symbol)

    def _flush(self) -> None:
        said, starts, stops = self._taken()
        at = 0
        for word, pos in self.sounds.cut(said) if said else ():
            # The rules may have joined a word and the full stop behind it.
            bare = word.rstrip(_ENDS)
            if bare:
                self._word(bare, pos, starts[at], stops[at + len(bare) - 1])
            for place in range(at + len(bare), at + len(word)):
                if said[place] != " ":
                    self._mark(starts[place], stops[place], said[place])
            at += len(word)

    def _word(self, word: str, pos: str, start: int, stop: int) -> None:
        own = self.lexicon.get(word) if self.lexicon is not None else None
        sound = self.sounds.phonemes(word, pos) if own is None else own
        last = self.pieces[-1] if self.pieces else None
        if last is not None and last.kind is Kind.WORD:
            if start < last.stop:
                both = f"{last.phonemes or ''}{BETWEEN}{sound}"
                merged = Piece(Kind.WORD, last.start, max(stop, last.stop), last.spoken + word, both)
                self.pieces[-1] = merged
                return
            if not last.spoken.isascii():
                self.pieces.append(Piece(Kind.MARK, start, start, phonemes=BETWEEN))
        # Without a sound, no phonemes: the pronouncer looks it up in vain, and the word is reported.
        self.pieces.append(Piece(Kind.WORD, start, stop, word, sound or None))


_ENDS = "".join(mandarin.MARKS) + " "
