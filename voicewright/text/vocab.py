"""The only symbol table: which phoneme symbol has which token id.

Two tables exist in the wild, both with 178 slots and id 0 for the pad. Kokoro 1.0 uses 114 of the slots
(source: `config.json` of hexgrad/Kokoro-82M); StyleTTS 2 and Kokoro 0.19 use another assignment
(source: the symbol order of yl4579/StyleTTS2). 103 symbols have the same id in both.
"""

from __future__ import annotations

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

# The apostrophe owns two slots (174 and 176); the later one is the one that text is given.
_STYLETTS2_ORDER = (
    '$;:,.!?¡¿—…"«»“” '
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    "ɑɐɒæɓʙβɔɕçɗɖðʤəɘɚɛɜɝɞɟʄɡɠɢʛɦɧħɥʜɨɪʝɭɬɫɮʟɱɯɰŋɳɲɴøɵɸθœɶʘɹɺɾɻʀʁɽʂʃʈʧʉʊʋⱱʌɣɤʍχʎʏʑʐʒʔʡʕʢǀǁǂǃ"
    "ˈˌːˑʼʴʰʱʲʷˠˤ˞↓↑→↗↘'\u0329'ᵻ"
)

KOKORO: Mapping[str, int] = MappingProxyType(
    {symbol: start + offset for start, run in _KOKORO_RUNS for offset, symbol in enumerate(run)}
)
"""Kokoro 1.0: 114 symbols."""

STYLETTS2: Mapping[str, int] = MappingProxyType(
    {symbol: slot for slot, symbol in enumerate(_STYLETTS2_ORDER)}
)
"""StyleTTS 2 and Kokoro 0.19: 178 slots, 177 distinct symbols, pad `$` at 0."""


def remap(source: Mapping[str, int], target: Mapping[str, int]) -> dict[int, int]:
    """Ids of `source` → ids of `target` for every symbol that both tables have, and the pad → the pad.

    Symbols that only one table has are absent from the result: the caller decides what becomes of them.
    """
    return {PAD: PAD} | {slot: target[symbol] for symbol, slot in source.items() if symbol in target}


STYLETTS2_SPOKEN: Mapping[str, int] = MappingProxyType(
    {symbol: slot for symbol, slot in STYLETTS2.items() if not "A" <= symbol <= "Z" and symbol not in "ʤʧ"}
)
"""What models with StyleTTS 2's table have heard: 149 symbols. espeak-ng wrote their phonemes, which has no
capitals (Kokoro's diphthongs `A I O Q W Y` have other slots there) and writes dʒ, tʃ as two symbols each."""
