"""The only symbol table: which phoneme symbol has which token id, and what stands in for one that has none.

Three tables exist in the wild, all with 178 slots and id 0 for the pad. Kokoro 1.0 uses 114 of the slots
(source: `config.json` of hexgrad/Kokoro-82M); StyleTTS 2 and Kokoro 0.19 use another assignment
(source: the symbol order of yl4579/StyleTTS2). 103 symbols have the same id in both. Kokoro 1.1-zh writes
Mandarin in bopomofo, in slots that 1.0 leaves free or uses otherwise.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from types import MappingProxyType

PAD = 0
"""Token id of the pad; it stands on both ends of a sequence before a model sees it."""
N_TOKENS = 178
"""Slots in both tables."""
MAX_TOKENS = 510
"""Most tokens in one utterance, pads not counted: PL-BERT has 512 positions, two of them pads."""

# Runs of neighbouring ids; what is not listed is unused.
_KOKORO_RUNS: tuple[tuple[int, str], ...] = (
    (1, ";:,.!?"),
    (9, '—…"()“” \u0303ʣʥʦʨᵝꭧAI'),
    (31, "O"),
    (33, "Q"),
    (35, "ST"),
    (39, "W"),
    (41, "Yᵊabcdef"),
    (50, "hijklmnopqrstuvwxyzɑɐɒæ"),
    (75, "βɔɕç"),
    (80, "ɖðʤə"),
    (85, "ɚɛɜ"),
    (90, "ɟ"),
    (92, "ɡ"),
    (99, "ɥ"),
    (101, "ɨɪʝ"),
    (110, "ɯɰŋɳɲɴø"),
    (118, "ɸθœ"),
    (123, "ɹ"),
    (125, "ɾɻ"),
    (128, "ʁɽʂʃʈʧ"),
    (135, "ʊʋ"),
    (138, "ʌɣɤ"),
    (142, "χʎ"),
    (147, "ʒʔ"),
    (156, "ˈˌː"),
    (162, "ʰ"),
    (164, "ʲ"),
    (169, "↓"),
    (171, "→↗↘"),
    (177, "ᵻ"),
)

_KOKORO_ZH_RUNS: tuple[tuple[int, str], ...] = (
    (1, ";:,.!?/"),
    (9, '—…"()“” \u0303ʣʥʦʨᵝㄓAI'),
    (
        30,
        "ㄅOㄆQRSTㄇㄈWㄉYᵊabcdefㄊhijklmnopqrstuvwxyzɑɐɒæㄋㄌβɔɕçㄍɖðʤəㄎㄦɛɜㄏㄐɟㄑɡㄒㄔㄕㄗㄘㄙ月ㄚɨɪʝㄛㄝㄞㄟㄠㄡɯɰŋɳɲɴøㄢɸθœㄣㄤɹㄥɾㄖㄧʁɽʂʃʈʧㄨʊʋㄩʌɣㄜㄭχʎ十压言ʒʔ阳要阴应用又中ˈˌː穵外万ʰ王ʲ为文瓮我35124",
    ),
    (175, "元云ᵻ"),
)

# The apostrophe owns two slots (174 and 176); the later one is the one that text is given.
_STYLETTS2_ORDER = (
    '$;:,.!?¡¿—…"«»“” '
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    "ɑɐɒæɓʙβɔɕçɗɖðʤəɘɚɛɜɝɞɟʄɡɠɢʛɦɧħɥʜɨɪʝɭɬɫɮʟɱɯɰŋɳɲɴøɵɸθœɶʘɹɺɾɻʀʁɽʂʃʈʧʉʊʋⱱʌɣɤʍχʎʏʑʐʒʔʡʕʢǀǁǂǃ"
    "ˈˌːˑʼʴʰʱʲʷˠˤ˞↓↑→↗↘'\u0329'ᵻ"
)


def _table(runs: tuple[tuple[int, str], ...]) -> Mapping[str, int]:
    return MappingProxyType(
        {symbol: start + offset for start, run in runs for offset, symbol in enumerate(run)}
    )


KOKORO: Mapping[str, int] = _table(_KOKORO_RUNS)
"""Kokoro 1.0: 114 symbols."""

KOKORO_ZH: Mapping[str, int] = _table(_KOKORO_ZH_RUNS)
"""Kokoro 1.1-zh: 171 symbols, 105 of them with the same id (source: `config.json` of Kokoro-82M-v1.1-zh)."""

STYLETTS2: Mapping[str, int] = MappingProxyType(
    {symbol: slot for slot, symbol in enumerate(_STYLETTS2_ORDER)}
)
"""StyleTTS 2 and Kokoro 0.19: 178 slots, 177 distinct symbols, pad `$` at 0."""


_NEAREST_RUNS = (
    ("ʏ", "y"), ("ɵ", "ø"), ("ʉ", "u"), ("ɘ", "ə"), ("ɞ", "ɜ"), ("ɶ", "œ"), ("ɝ", "ɜɹ"), ("ɷ", "ʊ"),
    ("ɩ", "ɪ"),
    ("ε", "ɛ"), ("g", "ɡ"), ("ɫɭɬɮʟ", "l"), ("ʀ", "ʁ"), ("ħɦʜ", "h"), ("ʕʡʢ", "ʔ"), ("ʐʑ", "ʒ"), ("ɱ", "m"),
    ("ʙɓ", "b"), ("ɗᶑ", "d"), ("ɠɢʛ", "ɡ"), ("ʄ", "ɟ"), ("ⱱ", "v"), ("ɺ", "ɾ"), ("ɧ", "ʃ"), ("ʍ", "w"),
    ("ʷ", "w"),
    ("ʱ", "ʰ"), ("ˑ", "ː"), ("ʋ", "v"), ("ʝ", "j"), ("ɻ", "ɹ"), ("ʈ", "t"), ("ɖ", "d"), ("ʂ", "ʃ"),
    ("ɳ", "n"),
    ("ʣ", "dz"), ("ʥ", "dʑ"), ("ʦ", "ts"), ("ʨ", "tɕ"), ("ʤ", "dʒ"), ("ʧ", "tʃ"), ("ᵊ", "ə"), ("ᵻ", "ɪ"),
    ("A", "eɪ"), ("I", "aɪ"), ("O", "oʊ"), ("Q", "əʊ"), ("W", "aʊ"), ("Y", "ɔɪ"), ("S", "ss"), ("T",
    "ɾ"), ("ᵝ", "w"),
    ("ˠˤʼˀˈˌː˞", ""),
)  # fmt: skip
NEAREST: Mapping[str, str] = MappingProxyType(
    {symbol: instead for symbols, instead in _NEAREST_RUNS for symbol in symbols}
)
"""What is said for a sound that a table has no slot for, as other symbols (which may need replacing in turn).

Empty for what only colours the symbol before it. A table that has the symbol itself is never asked.
"""


def spell(symbol: str, vocab: Mapping[str, int]) -> str | None:
    """`symbol` in the symbols of `vocab`: itself, else its nearest; None when there is no way to write it."""
    if symbol in vocab:
        return symbol
    instead = NEAREST.get(symbol)
    if instead is None:
        apart = unicodedata.normalize("NFD", symbol)
        if apart == symbol:
            return "" if unicodedata.combining(symbol) else None
        instead = apart
    parts = [spell(part, vocab) for part in instead]
    return None if None in parts else "".join(part for part in parts if part)


STYLETTS2_SPOKEN: Mapping[str, int] = MappingProxyType(
    {symbol: slot for symbol, slot in STYLETTS2.items() if not "A" <= symbol <= "Z" and symbol not in "ʤʧ"}
)
"""What models with StyleTTS 2's table have heard: 149 symbols. espeak-ng wrote their phonemes, which has no
capitals (Kokoro's diphthongs `A I O Q W Y` have other slots there) and writes dʒ, tʃ as two symbols each."""
