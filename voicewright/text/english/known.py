"""What the lexicon of English knows: kokorog2p's, opened on first use."""

from __future__ import annotations

import functools
from typing import Any


@functools.cache
def open_lexicon(british: bool) -> Any:
    """kokorog2p's lexicon of a dialect."""
    from kokorog2p.en.lexicon import Lexicon

    return Lexicon(british=british)


@functools.lru_cache(50_000)
def is_word(spelling: str, british: bool = False) -> bool:
    """Has the lexicon an entry of this very spelling? "it" and "IT" are two."""
    return spelling in open_lexicon(british).golds
