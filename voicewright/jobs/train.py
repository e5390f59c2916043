"""The `train` command: what a run needs is looked for before its first step; what judges is put together."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from voicewright import registry
from voicewright.corpus.split import spread
from voicewright.errors import UsageError, VoicewrightError
from voicewright.jobs.judge import read_items
from voicewright.progress import Progress, Silent

if TYPE_CHECKING:
    from voicewright.corpus.features import Features
    from voicewright.corpus.manifest import Corpus
    from voicewright.judging.ears import MoreEars
    from voicewright.judging.quick import QuickJudge
    from voicewright.listen.recogniser import Choice
    from voicewright.listen.speaker import SpeakerEncoder
    from voicewright.training.lifecycle import Result
    from voicewright.training.order import Task, TrainOrder, Wishes
    from voicewright.training.recipe import Recipe


def train(
    recipe: str | Path,
    corpus: Path,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    judged: bool = True,
    recogniser: str = "auto",
    steps: int | None = None,
    batch: int | None = None,
    minutes: float | None = None,
    dry_run: bool = False,
    wishes: Wishes | None = None,
) -> Result:
    """Train a voice by a recipe (a file or a shipped one's name), with progress on standard error.

    The recipe's `kind` names the task; without one it is a voice that speaks. minutes: that the run may take,
    which gets fewer steps where it would take longer; dry_run: say what it would need, and stop; wishes: of a
    recipe of adapters. Started several times by torchrun, the processes train together; started again by it,
    they go on by themselves.

    Raises UsageError and VoicewrightError before anything is computed for what is missing or wrong.
    """
    from voicewright.training.devices import pick_device
    from voicewright.training.meeting import in_turn, joined, leads, restarted
    from voicewright.training.options import Options, begun, find_recipe
    from voicewright.training.order import TrainOrder, Wishes
    from voicewright.training.recipe import read_yaml

    if resume and (minutes is not None or dry_run):
        raise UsageError("a run that goes on has its steps: leave --minutes and --dry-run out.")
    if minutes is not None and steps is not None:
        raise UsageError("--steps and --minutes both say how long: give one.")
    path = find_recipe(recipe)
    kind = read_yaml(path).get("kind")
    asked, start = wishes or Wishes(), None
    if kind is None and asked.model is not None:
        here = Path(asked.model)
        start, asked = str(here.resolve()) if here.exists() else asked.model, replace(asked, model=None)
    if kind not in ("adapt", "clone") and asked.any:
        raise UsageError(
            f"--voice and --voices are for adapters and style encoders, and {path} trains neither; "
            "leave them out."
        )
    task: Task = registry.named("tasks", "voice" if kind is None else str(kind), "kind of recipe").load()
    progress = Progress() if leads() else Silent()
    try:
        if dry_run:
            for line in material(corpus):
                progress(line)
        with joined(pick_device(device)) as ranks:
            if restarted(ranks) and ranks.told(begun(out)):
                resume, minutes = True, None  # which the run remembers, as steps
            options = Options(steps, batch, minutes, start, dry_run)
            order = TrainOrder(path, corpus, out, options, resume, device, judged, recogniser, wishes)
            in_turn()
            return task(order, progress)
    finally:
        progress.close()


def material(folder: Path) -> list[str]:
    """What a corpus holds, for who is about to train on it."""
    from voicewright.corpus.manifest import Corpus, read_quarantine
    from voicewright.text.vocab import KOKORO

    corpus = Corpus.read(folder)
    lengths = sorted(item.seconds for item in corpus.utterances)
    middle = lengths[len(lengths) // 2] if lengths else 0.0
    who = ", ".join(corpus.speakers[:4]) + (" ..." if len(corpus.speakers) > 4 else "")
    lines = [
        f"{folder}: {corpus.seconds / 60:.1f} minutes of {who} in {len(lengths)} clips of about "
        f"{middle:.1f} s, {corpus.meta.language}; consent: {corpus.meta.consent}."
    ]
    refused = Counter(item.reason for item in read_quarantine(folder))
    if refused:
        said = ", ".join(f"{count} {reason}" for reason, count in refused.most_common())
        lines.append(f"Left out when it was prepared: {said}.")
    strange = Counter(s for item in corpus.utterances for s in item.phonemes if s not in KOKORO)
    if strange:
        said = ", ".join(f"{symbol} ({count})" for symbol, count in strange.most_common(8))
        lines.append(f"Symbols that Kokoro lacks, so that it learns nothing of them: {said}.")
    return lines


def task(order: TrainOrder, progress: Progress) -> Result:
    """Train a voice that speaks, or its content network: recipes without a `kind`."""
    from voicewright.catalogue.places import embedded_model
    from voicewright.corpus.manifest import Corpus
    from voicewright.training.meeting import leads
    from voicewright.training.options import resized
    from voicewright.training.recipe import Recipe
    from voicewright.training.run import train as run

    plan = resized(Recipe.read(order.recipe), order.options)
    judge = None  # of several processes the first one judges
    if order.judged and leads() and not plan.beside:
        ears = find_ears(Corpus.read(order.corpus).meta.language, order.recogniser, progress)
        judge = judging(plan, ears)
    return run(
        order.recipe,
        order.corpus,
        order.out,
        resume=order.resume,
        device=order.device,
        judge=judge,
        embedded=embedded_model() if plan.start == "embedded" else None,
        options=order.options,
        line=progress,
    )


@dataclass(frozen=True)
class Ears:
    """What checkpoints will be heard by; None: nothing here can."""

    recogniser: Choice | None
    encoder: SpeakerEncoder | None
    more: MoreEars | None = None
    """A second encoder and a judge of quality, as far as they are here."""


def find_ears(language: str, recogniser: str, line: Callable[[str], None]) -> Ears:
    """Look for what judges a voice of a language, and say what will be missed, once.

    Raises VoicewrightError when a recogniser was asked for by name and is not there.
    """
    from voicewright.judging.ears import open_choosing_ears
    from voicewright.listen.recogniser import choose
    from voicewright.listen.speaker import SpeakerEncoder

    choice, encoder, more = None, None, open_choosing_ears()
    lacking, why = [], []
    try:
        choice = choose(recogniser, language).ready()
    except VoicewrightError as error:
        if recogniser != "auto":
            raise
        lacking.append("words")
        why.append(str(error))
    try:
        encoder = SpeakerEncoder()
    except VoicewrightError as error:
        lacking.append("similarity" if more.second is None else "a first opinion on similarity")
        why.append(str(error))
    if more.second is None and encoder is not None:
        lacking.append("a second opinion on similarity")
    if not more.quality:
        lacking.append("quality")
    measures = ("words", "similarity", "quality", "pitch", "pace", "periodicity", "artefacts")
    kept = [name for name in measures if name not in lacking]
    shown = f"{', '.join(kept[:-1])} and {kept[-1]}"
    hears = f"; {choice.shown} hears the words" if choice is not None else ""
    if lacking:
        without = " and ".join(filter(None, (", ".join(lacking[:-1]), lacking[-1])))
        reasons = " ".join((*why, *more.missing))
        line(f"Checkpoints are chosen by {shown} alone, without {without}{hears}. {reasons}")
    else:
        line(f"Checkpoints are chosen by {shown}{hears}.")
    return Ears(choice, encoder, more)


class CheckpointJudge:
    """Scores model folders on held-out utterances; `seconds`: how long hearing the recordings took."""

    def __init__(self, quick: QuickJudge, voice: str, seconds: float) -> None:
        self.quick, self.voice, self.seconds = quick, voice, seconds
        self.ears = quick.ears

    def __call__(self, folder: Path) -> Mapping[str, float]:
        from voicewright.engines.torch_engine import TorchEngine
        from voicewright.judging.judge import InLanguage

        return self.quick(InLanguage(TorchEngine(folder), self.quick.language), self.voice).measured()


def judging(plan: Recipe, ears: Ears) -> Callable[[Corpus, Sequence[Features]], CheckpointJudge]:
    """Makes what judges, once the held-out features are there: the speaker who has most of them is heard."""

    def make(corpus: Corpus, held: Sequence[Features]) -> CheckpointJudge:
        from voicewright.judging.quick import QuickJudge
        from voicewright.training.export import voice_name

        began = time.monotonic()
        if not held:
            raise UsageError(f"no utterance of {corpus.folder} is held out; widen the recipe's `split`.")
        speaker = Counter(item.speaker for item in held).most_common(1)[0][0]
        own = spread([item.id for item in held if item.speaker == speaker], plan.judge.sentences)
        quick = QuickJudge(
            read_items(corpus, own),
            ears.recogniser.open() if ears.recogniser is not None else None,
            ears.encoder,
            more=ears.more,
            language=corpus.meta.language,
            seed=plan.seed,
        )
        return CheckpointJudge(quick, voice_name(speaker), time.monotonic() - began)

    return make
