"""The files beside the graph that sherpa-onnx reads.

Facts, from its sources and its wheel 2.0.1: inputs go in by order (tokens with pads, style, speed) and the
first output is the audio. A text of n tokens uses row n of a voice, one more than everybody else's, and a
row that is not there ends the process: so the table is written with its first row doubled. tokens.txt has a
symbol and its id a line. Since 2.0 it reads words from a lexicon, or phonemes that the caller brings
(GenerationConfig.phoneme_codepoints); espeak-ng is gone from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from voicewright.text.wordlist import words
from voicewright.voices.pack import ROWS, Voicepack

PACK_ROWS = ROWS + 1


def tokens(vocab: Mapping[str, int]) -> bytes:
    """tokens.txt: each symbol of the vocabulary with its id."""
    ordered = sorted(vocab.items(), key=lambda item: item[1])
    return "".join(f"{symbol} {number}\n" for symbol, number in ordered).encode()


def voices(packs: Iterable[Voicepack]) -> bytes:
    """voices.bin: float32 [voices, 511, 256], row n for a text of n tokens."""
    tables = [np.concatenate([pack.rows[:1], pack.rows]) for pack in packs]
    return np.stack(tables).astype("<f4").tobytes()


def lexicon(language: str, vocab: Mapping[str, int]) -> bytes:
    """lexicon.txt: a word and its phonemes a line; empty for a language that has no lexicon here."""
    lines = []
    for word, phonemes in words(language):
        said = [symbol for symbol in phonemes if symbol in vocab and symbol != " "]
        if said:
            lines.append(f"{word} {' '.join(said)}\n")
    return "".join(lines).encode()
