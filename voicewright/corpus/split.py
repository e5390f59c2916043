"""Which utterances are held out: the one rule, for training and for judging."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from voicewright.errors import UsageError
from voicewright.records import Strict

if TYPE_CHECKING:
    from voicewright.corpus.features import Features
    from voicewright.corpus.manifest import Corpus, Utterance

    Item = TypeVar("Item", Features, Utterance)

T = TypeVar("T")


class Split(Strict):
    """Which utterances are held out. Patterns are regular expressions searched in the utterance id."""

    test: str | None = None
    """Never trained on, never chosen by."""
    validation: str | None = None
    """Never trained on; checkpoints are chosen by it. Without a pattern: one utterance in `every`."""
    every: int = 20


def is_test(name: str, rule: Split) -> bool:
    """Whether the utterance of this id belongs to the test part."""
    return bool(rule.test and re.search(rule.test, name))


def split(features: Sequence[Item], rule: Split) -> tuple[list[Item], list[Item]]:
    """Training and validation utterances; test ones are in neither."""
    usable = [f for f in features if not is_test(f.id, rule)]
    if rule.validation:
        held = [f for f in usable if re.search(rule.validation, f.id)]
    else:
        held = [f for i, f in enumerate(usable) if i % rule.every == rule.every - 1]
    names = {f.id for f in held}
    return [f for f in usable if f.id not in names], held


def held_out(
    corpus: Corpus,
    card: Mapping[str, object],
    ids: str | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> tuple[list[Utterance], str]:
    """The utterances to judge on, and in words why these."""
    utterances = corpus.utterances
    if ids is not None:
        try:
            pattern = re.compile(ids)
        except re.error as error:
            raise UsageError(f"--ids {ids!r} is not a regular expression: {error}.") from error
        return [u for u in utterances if pattern.search(u.id)], f"ids matching {ids!r}"
    listed = card.get("held_out")
    if isinstance(listed, list) and listed:
        names = set(map(str, listed))
        found = [u for u in utterances if u.id in names]
        if found:
            return found, "held out of the model's training, as its card lists"
        return list(utterances), "all utterances: none of them is among those that the model's card lists"
    recipe = card.get("recipe")
    rules = recipe.get("split") if isinstance(recipe, dict) else None
    for part in ("test", "validation"):
        rule = rules.get(part) if isinstance(rules, dict) else None
        if isinstance(rule, str) and rule:
            found = [u for u in utterances if re.search(rule, u.id)]
            if found:
                return found, f"the model's {part} part, ids matching {rule!r}"
    if isinstance(rules, dict) and isinstance(every := rules.get("every"), int):
        from voicewright.corpus.features import build_features

        kept = {f.id for f in split(build_features(corpus, progress=progress), Split(every=every))[1]}
        return [u for u in utterances if u.id in kept], f"one in {every}, as training held out"
    return list(utterances), "all utterances, though the model may have seen some of them in training"


def spread(items: Sequence[T], count: int | None) -> list[T]:
    """At most `count` of the items, evenly spread."""
    if count is None or count >= len(items):
        return list(items)
    return [items[round(i * (len(items) - 1) / max(count - 1, 1))] for i in range(count)]
