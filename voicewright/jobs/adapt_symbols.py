"""Before a training begins: what of a corpus's language the base cannot write, and a base that can."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from voicewright.errors import VoicewrightError

if TYPE_CHECKING:
    from voicewright.corpus.manifest import Corpus
    from voicewright.text.symbols import Audit
    from voicewright.training.adapt.recipe import AdaptRecipe

BASE = "base"
"""Of a run's folder: the base with symbols of its own, where the language needs them."""


def with_symbols(
    plan: AdaptRecipe, corpus: Corpus, out: Path, dry_run: bool, resume: bool, line: Callable[..., None]
) -> tuple[AdaptRecipe, Corpus]:
    """The plan and the corpus as the base can write them. Says which sounds of the language it has no symbol
    for; where the recipe gives them some, they get a base of the run's own (not in a dry run).

    Raises VoicewrightError for a finetune that would learn words alike which are not, and for a language with
    more sounds than there is room for; UsageError for one that nobody reads.
    """
    from voicewright.catalogue.places import CONFIG, read_card, resolve_model, weights_sha256
    from voicewright.model.config import ModelConfig
    from voicewright.model.extend import write_extended
    from voicewright.text.g2p import find_language
    from voicewright.text.symbols import audit, own_slots

    folder = resolve_model(plan.model)
    vocab = ModelConfig.read(folder / CONFIG).vocab
    if resume and folder == (out / BASE).resolve():
        new = read_card(folder).get("new_symbols")
        return plan, _reread(corpus, vocab, [s for s in vocab if isinstance(new, Mapping) and s in new])
    language = corpus.meta.language
    found = audit((item.text for item in corpus.utterances), language, vocab)
    for sentence in found.lines(find_language(language).name):
        line(sentence)
    if not found.lacking:
        return plan, corpus
    if plan.symbols == "base":
        _check(found, plan)
        return plan, corpus
    larger = own_slots(found.lacking, vocab)
    nearest = {one.symbol: one.instead for one in found.lacking}
    shown = ", ".join(f"{symbol} (begun as {near or 'the mean of all'})" for symbol, near in nearest.items())
    line(f"New symbols: {shown}.")
    if dry_run:
        return plan, corpus
    own = (out / BASE).resolve()
    mark = {"base_sha256": weights_sha256(folder), "new_symbols": nearest}
    if not (own.is_dir() and all(read_card(own).get(key) == value for key, value in mark.items())):
        out.mkdir(parents=True, exist_ok=True)
        write_extended(folder, larger, nearest, own)
    return plan.model_copy(update={"model": str(own)}), _reread(corpus, larger, list(nearest))


def _check(found: Audit, plan: AdaptRecipe) -> None:
    if found.alike and plan.whole:
        one, other = found.alike[0]
        raise VoicewrightError(
            f"with the base's symbols {one} and {other} would be learnt as one word, and {len(found.alike)} "
            "such pairs in all: `voicewright train language` gives the language symbols of its own."
        )


def _reread(corpus: Corpus, vocab: Mapping[str, int], new: list[str]) -> Corpus:
    """The corpus with phonemes in the larger table, whose symbols `new` its phonemes do not have yet."""
    from voicewright.corpus.reread import reread

    return reread(corpus, {symbol: slot for symbol, slot in vocab.items() if symbol not in new}, vocab)
