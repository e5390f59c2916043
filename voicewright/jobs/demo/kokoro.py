"""The demonstration's road upon Kokoro: a voicepack, then adapters that begin with it, both heard beside the
stock voice that was nearest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voicewright.errors import VoicewrightError

if TYPE_CHECKING:
    from voicewright.corpus.manifest import Corpus, Utterance
    from voicewright.training.adapt.recipe import AdaptRecipe

Step = Callable[[str, Sequence[str | Path]], None]
"""Shows and runs a command line under a step's name."""

CROPS, STEPS = 20, 30
"""Of `fit` and of `train adapt`: a quarter and a third of what they take by themselves; by far the most
is won there."""
HEARD = 90.0
"""Seconds of recordings that are learnt from; of more, evenly chosen clips."""
JUDGED = 12
"""Held-out clips that are judged, at most."""
_EVERY = 5
"""One clip in so many is held out; where there are few, one in fewer."""


@dataclass(frozen=True)
class Made:
    """A voice upon a base."""

    pack: Path
    nearest: str
    """The base's own voice that is nearest to the recordings in timbre and pitch."""
    adapter: Path | None
    """Folder of the run; None: there was too little for adapters."""
    held_out: tuple[str, ...]


def parts(corpus: Corpus) -> tuple[list[Utterance], list[str]]:
    """Clips to learn from and ids of those to judge by. Raises VoicewrightError for too few."""
    from voicewright.corpus.split import Split, split, spread

    every = max(2, min(_EVERY, len(corpus.utterances) // 2))
    learnt, held = split(corpus.utterances, Split(every=every))
    if len(held) < 2:
        raise VoicewrightError(
            f"{corpus.folder} holds {len(corpus.utterances)} clips, too few to learn from some and judge by "
            "others; record at least four sentences, better a minute or two."
        )
    seconds = sum(item.seconds for item in learnt)
    if seconds > HEARD:
        by_id = {item.id: item for item in learnt}
        count = max(1, int(len(learnt) * HEARD / seconds))
        learnt = [by_id[name] for name in spread(list(by_id), count)]
    return learnt, spread([item.id for item in held], JUDGED)


def make_voice(
    step: Step,
    note: Callable[[str], None],
    corpus_folder: Path,
    folder: Path,
    recipe: Path,
    words: str | Path | None,
) -> Made:
    """Fit and adapt in `folder`; what an earlier run finished there is taken over.

    words: how the recipe was named; None: nobody has, and adapters take `STEPS` steps, not its own.
    Raises VoicewrightError where the recordings have changed since, and what the steps raise.
    """
    from voicewright.corpus.manifest import Corpus
    from voicewright.corpus.split import split
    from voicewright.jobs.adapt import LEAST
    from voicewright.jobs.adapt_start import part_of
    from voicewright.training.adapt.recipe import AdaptRecipe

    plan = AdaptRecipe.read(recipe)
    corpus = Corpus.read(corpus_folder)
    learnt, held = parts(corpus)
    pack, adapter, part = folder / "voice.pt", folder / "adapter", folder / "learnt"
    _unchanged(folder, learnt, plan)
    part_of(corpus, learnt, part)
    seconds = sum(item.seconds for item in learnt)
    note(
        f"\n{seconds:.0f} s in {len(learnt)} clips ({part}) are learnt from; {len(held)} clips that are in "
        "neither the fit nor the adapters judge."
    )
    if _fitted(folder):
        note(f"{pack} was fitted to them before and is taken over.")
    else:
        step("fit", ["fit", part, "-o", pack, "--model", plan.model, "--crops", str(CROPS)])
        _mark(_mark_of(folder), learnt, plan)
    training, own = split(learnt, plan.split)
    if not own or sum(item.seconds for item in training) < LEAST:
        note(f"Adapters need more than these {seconds:.0f} s: the voicepack alone speaks.")
        return Made(pack, _nearest(pack), None, tuple(held))
    made = Made(pack, _nearest(pack), adapter, tuple(held))
    done = folder / "adapter.txt"
    if done.is_file() and (adapter / "best").is_dir():
        note(f"{adapter} was made of them before and is taken over.")
        return made
    train: list[str | Path] = ["train", words or recipe.stem, "--corpus", part, "--out", adapter]
    if (adapter / "run.json").is_file():
        train.append("--resume")
    else:
        train += ["--voice", pack, *(["--steps", str(STEPS)] if words is None else [])]
    step("adapt", train)
    _mark(done, learnt, plan)
    return made


def _nearest(pack: Path) -> str:
    """The card names the voices that the fit started from, the nearest first."""
    card = json.loads(pack.with_suffix(".json").read_text("utf-8"))
    return str(next(iter(card["start"])))


def _what(learnt: Sequence[Utterance], plan: AdaptRecipe) -> str:
    told = " ".join([plan.model, str(CROPS), *(item.hash for item in learnt)])
    return hashlib.sha256(told.encode()).hexdigest()


def _mark_of(folder: Path) -> Path:
    return folder / "voice.txt"


def _fitted(folder: Path) -> bool:
    return all(path.is_file() for path in (_mark_of(folder), folder / "voice.pt", folder / "voice.json"))


def _mark(path: Path, learnt: Sequence[Utterance], plan: AdaptRecipe) -> None:
    """A step that was stopped leaves a voice too, but no mark."""
    from voicewright.storage import write_atomically

    write_atomically(path, (_what(learnt, plan) + "\n").encode())


def _unchanged(folder: Path, learnt: Sequence[Utterance], plan: AdaptRecipe) -> None:
    mark = _mark_of(folder)
    if mark.is_file() and mark.read_text("utf-8").strip() != _what(learnt, plan):
        raise VoicewrightError(
            f"the voice in {folder} was made from other recordings than are there now; name another folder "
            "with --output (make demo OUT=…), or remove that one."
        )
