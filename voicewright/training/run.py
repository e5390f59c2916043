"""Assemble a training run from a recipe and a corpus, and carry it out."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import torch

from voicewright.catalogue.places import BESIDE
from voicewright.corpus.features import Features, build_features
from voicewright.corpus.manifest import Corpus
from voicewright.corpus.reread import respelt
from voicewright.corpus.split import Split, is_test, split
from voicewright.errors import Cancelled, VoicewrightError
from voicewright.model.slm import load_slm
from voicewright.text.vocab import KOKORO
from voicewright.training.batches import Batch
from voicewright.training.candidates import Candidates, verdict
from voicewright.training.devices import pick_device
from voicewright.training.export import Judge
from voicewright.training.lifecycle import Result, conduct, hear_again
from voicewright.training.loop import Trainer
from voicewright.training.options import FEATURES, Options, check_folder, check_room, remembered, resized
from voicewright.training.recipe import Recipe
from voicewright.training.speaking import Speaking
from voicewright.training.start import start_networks, start_vocab
from voicewright.training.telemetry import tenths
from voicewright.units import FRAME, SAMPLE_RATE


def fingerprint(recipe: Recipe, features: Sequence[Features]) -> str:
    """Identifies recipe and corpus, so that a checkpoint is not resumed with others."""
    # Runs that began before there was style diffusion are resumed by the same fingerprint.
    without = {"diffusion"} if recipe.diffusion is None else None
    state = hashlib.sha256(recipe.model_dump_json(exclude=without).encode())
    for f in features:
        state.update(f.id.encode() + f.tokens.tobytes() + f.durations.tobytes())
    return state.hexdigest()[:16]


def train_features(
    recipe: Recipe,
    features: Sequence[Features],
    out: Path,
    *,
    resume: bool = False,
    device: torch.device | None = None,
    judge: Judge | None = None,
    embedded: Path | None = None,
    card: dict[str, object] | None = None,
    options: Options | None = None,
    line: Callable[[str], None] = print,
) -> Result:
    """Train on features that are already there. SIGINT saves a checkpoint and ends the run resumably.

    `options` are what the recipe was already changed by; the run remembers them.
    """
    check_folder(out, resume)
    device = device or pick_device()
    training, validation = split(features, recipe.split)
    if len(training) < 2:
        raise VoicewrightError(
            f"Only {len(training)} utterances are left to train on; record or accept more."
        )
    networks = start_networks(recipe, embedded)

    def make(recipe: Recipe) -> Trainer[Batch]:
        task = Speaking(recipe, networks, training, validation)
        return Trainer(
            task,
            out,
            device,
            fingerprint=fingerprint(recipe, features),
            line=line,
            export=Candidates(task, judge, embedded, card or {}),
        )

    def begin(trainer: Trainer[Batch], fresh: bool) -> None:
        if fresh and recipe.discriminators.start:
            trainer.learners.take_discriminators(Path(recipe.discriminators.start))
        if trainer.stage.stage not in BESIDE:
            hear_again(trainer, str(getattr(judge, "ears", "")), partial(verdict, judge))

    judging = float(getattr(judge, "seconds", 0.0))
    return conduct(make, recipe, out / "best", options=options, resume=resume, judging=judging, begin=begin)


def train(
    recipe: Path,
    corpus: Path,
    out: Path,
    *,
    resume: bool = False,
    device: str = "auto",
    judge: Callable[[Corpus, Sequence[Features]], Judge] | None = None,
    embedded: Path | None = None,
    options: Options | None = None,
    line: Callable[[str], None] = print,
) -> Result:
    """Train a recipe on a prepared corpus: features first (cached), then the run. Raises VoicewrightError.

    What the run needs is checked before anything is computed. `judge` is called with the corpus and the
    held-out features before the first step, and gives what judges.
    """
    check_folder(out, resume)
    chosen = pick_device(device)
    options = remembered(out, resume, options or Options())
    plan = resized(Recipe.read(recipe), options)
    if plan.discriminators.slm is not None:
        load_slm(Path(plan.discriminators.slm))  # a wrong one is said before anything is computed
    prepared = Corpus.read(corpus)
    vocab = start_vocab(plan, embedded)
    if dict(vocab) != KOKORO:
        line("What is trained has a table of symbols of its own: texts are read anew by it.")
        prepared = respelt(prepared, KOKORO, vocab)
    held = split(prepared.utterances, plan.split)[1]
    if judge is not None and len(held) < 2:
        raise VoicewrightError(
            f"{recipe} holds out {len(held)} of {corpus}'s utterances, too few to choose by; "
            "widen its `split`, or train with --no-judge."
        )
    if not (corpus / "features").is_dir():
        check_room(corpus, int(prepared.seconds * FEATURES), "the corpus's features")
    try:
        features = usable_features(prepared, plan.split, tenths(line), vocab)
    except KeyboardInterrupt:
        raise Cancelled(
            f"Stopped before the first step; what was measured of {corpus} is kept: "
            "the same command goes on from there."
        ) from None
    return train_features(
        plan,
        features,
        out,
        resume=resume,
        device=chosen,
        judge=judge(prepared, split(features, plan.split)[1]) if judge is not None else None,
        embedded=embedded,
        card=corpus_card(prepared, features, plan.split),
        options=options,
        line=line,
    )


def usable_features(
    corpus: Corpus,
    rule: Split,
    progress: Callable[[str, float], None] | None = None,
    vocab: Mapping[str, int] = KOKORO,
) -> list[Features]:
    """Features of all but the test utterances, which so teach nothing.

    Only the aligner that `prepare` taught has heard them: it places phones, and nothing of it is in a model.
    """
    return build_features(corpus, progress=progress, split=lambda name: not is_test(name, rule), vocab=vocab)


def corpus_card(corpus: Corpus, features: Sequence[Features], rule: Split) -> dict[str, object]:
    """What a model's card says of its corpus, and the ids to judge it on: the test part, or validation's."""
    training, validation = split(features, rule)
    test = [u.id for u in corpus.utterances if is_test(u.id, rule)]
    seconds = sum(int(f.durations.sum()) for f in training) * FRAME / SAMPLE_RATE
    return {
        "language": corpus.meta.language,
        "licence": corpus.meta.licence,
        "data": {
            "speakers": sorted({f.speaker for f in training}),
            "utterances": len(training),
            "minutes": round(seconds / 60, 1),
            "source": corpus.meta.source,
        },
        "held_out": test or [f.id for f in validation],
    }
