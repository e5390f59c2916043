"""A corpus's phonemes in another table of symbols than that of its preparation: a larger or a strange one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from voicewright.corpus.manifest import Corpus
from voicewright.text.frontend import Frontend
from voicewright.text.symbols import reread as reread_text
from voicewright.text.vocab import spell


def reread(corpus: Corpus, older: Mapping[str, int], vocab: Mapping[str, int]) -> Corpus:
    """The corpus with its texts read by a table `vocab`, which holds the table `older`; where its phonemes
    came about otherwise than by that (by a lexicon, by hand), they stay. Raises UsageError for a language
    that nobody reads."""
    reader = Frontend(corpus.meta.language, None, vocab)
    items = [
        item.model_copy(update={"phonemes": reread_text(item.text, item.phonemes, reader, older)})
        for item in corpus.utterances
    ]
    return replace(corpus, utterances=tuple(items))


def respelt(corpus: Corpus, older: Mapping[str, int], vocab: Mapping[str, int]) -> Corpus:
    """The corpus in a table of its own, such as StyleTTS 2's: texts are read anew by it; phonemes that came
    about otherwise are written in its symbols one by one, without those that have no way to be. Raises as
    `reread`."""
    before = Frontend(corpus.meta.language, None, older)
    reader = Frontend(corpus.meta.language, None, vocab)

    def phonemes(text: str, known: str) -> str:
        if before.tokens(text).phonemes == known:
            return reader.tokens(text).phonemes
        return "".join(spell(symbol, vocab) or "" for symbol in known)

    items = [
        item.model_copy(update={"phonemes": phonemes(item.text, item.phonemes)}) for item in corpus.utterances
    ]
    return replace(corpus, utterances=tuple(items))
