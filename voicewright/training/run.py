"""Assemble a training run from a recipe and a corpus, and carry it out."""

from __future__ import annotations

import hashlib
import json
import signal
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ValidationError
from torch import nn

from voicewright.audio.files import write, write_atomically
from voicewright.catalogue.places import CONTENT
from voicewright.corpus.features import Features, build_features
from voicewright.corpus.manifest import Corpus
from voicewright.corpus.sources import safe_id
from voicewright.corpus.split import Split, is_test, split
from voicewright.errors import Cancelled, UsageError, VoicewrightError
from voicewright.model.checkpoint import compare, load_model
from voicewright.model.config import ModelConfig
from voicewright.model.content.files import load_content
from voicewright.training.batches import Batch
from voicewright.training.export import (
    Judge,
    judge_again,
    keep_best,
    voice_name,
    write_converter,
    write_model,
)
from voicewright.training.loop import Interrupted, Trainer
from voicewright.training.options import FEATURES, RUN, Options, check_folder, check_room, remembered, resized
from voicewright.training.planning import planned
from voicewright.training.recipe import Recipe
from voicewright.training.speaking import Speaking
from voicewright.training.stages import Networks
from voicewright.training.task import B
from voicewright.units import FRAME, SAMPLE_RATE
from voicewright.version import __version__

SAMPLES = 3
"""Held-out sentences that are spoken at every judgement."""
GRAFTS = ("decoder.generator.gain_post.", "decoder.generator.lead_gain")
"""Layers that a switch may add to start weights; they begin as the graph makes them."""


@dataclass(frozen=True)
class Result:
    """What a run left: the best model (None: none yet), steps taken, whether it ended, and the ranking."""

    model: Path | None
    steps: int
    finished: bool
    best: list[dict[str, float]]


def fingerprint(recipe: Recipe, features: Sequence[Features]) -> str:
    """Identifies recipe and corpus, so that a checkpoint is not resumed with others."""
    state = hashlib.sha256(recipe.model_dump_json().encode())
    for f in features:
        state.update(f.id.encode() + f.tokens.tobytes() + f.durations.tobytes())
    return state.hexdigest()[:16]


def pick_device(name: str = "auto") -> torch.device:
    """The device of that name. Raises UsageError for an unknown one and for one that is not here."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"there is no device {name!r}: use auto, cpu, cuda or cuda:N.")
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            built = "" if torch.version.cuda else ", and this torch was built without CUDA"
            raise UsageError(f"there is no CUDA device here{built}; use --device auto or cpu.")
        if (device.index or 0) >= count:
            raise UsageError(f"there is no {name}: this machine has {count}, the first is cuda:0.")
    return device


def start_networks(recipe: Recipe, embedded: Path | None) -> Networks:
    """Networks of the recipe's `start`: fresh weights, the embedded voice's, or a model folder's."""
    torch.manual_seed(recipe.seed)
    if recipe.start == "scratch":
        assert recipe.model is not None
        networks = Networks(recipe.model, recipe.content)
        _scale(networks)
        return networks
    folder = start_folder(recipe, embedded)
    assert folder is not None
    model, config, styles = load_model(folder)
    if styles is None:
        raise VoicewrightError(
            f"{folder} has no style encoders, which training needs; start from another model."
        )
    networks = Networks(switched(config, recipe.switches), recipe.content)
    state = model.state_dict()
    for key, value in networks.tts.state_dict().items():
        if key.startswith(GRAFTS) and key not in state:
            state[key] = value
    compare(state, networks.tts.state_dict(), folder)
    networks.tts.load_state_dict(state)
    networks.styles.load_state_dict(styles.state_dict())
    if networks.content is not None and (folder / CONTENT).is_dir():
        old = load_content(folder, config).net
        if old.config == recipe.content:
            networks.content.load_state_dict(old.state_dict())
    return networks


def start_folder(recipe: Recipe, embedded: Path | None) -> Path | None:
    """The model that the recipe starts from; None for fresh weights. Raises VoicewrightError."""
    if recipe.start == "scratch":
        return None
    if recipe.start == "embedded":
        if embedded is None:
            raise VoicewrightError(
                "This installation carries no embedded model; give the recipe another `start`."
            )
        return embedded
    return Path(recipe.start)


def switched(config: ModelConfig, switches: Mapping[str, object]) -> ModelConfig:
    """The configuration with changes to its `voicewright` block. Raises VoicewrightError for unknown ones."""
    if not switches:
        return config
    data = config.model_dump()
    data["voicewright"] |= switches
    try:
        return ModelConfig.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise VoicewrightError(f"switches: {where}: {first['msg']}.") from error


@torch.no_grad()
def _scale(networks: Networks) -> None:
    """Fit fresh weights to their units: F0 is in Hz, two orders above the rest; a token lasts 3 frames."""
    head = networks.tts.predictor.F0_proj
    nn.init.normal_(head.weight, std=5.0)
    assert head.bias is not None
    nn.init.constant_(head.bias, 100.0)
    networks.tts.decoder.F0_conv.parametrizations.weight.original0.mul_(0.01)
    nn.init.constant_(networks.tts.predictor.duration_proj.linear_layer.bias, -2.7)


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
    config: ModelConfig = networks.tts.config
    asked: list[int] = []

    alone = all(stage.stage == "content" for stage in recipe.stages)

    def judged(step: int, folder: Path) -> dict[str, float]:
        return dict(judge(folder)) if judge else {"score": float(step)}

    def export(trainer: Trainer[Batch]) -> None:
        step = trainer.counters.total
        losses = trainer.validate()
        if losses:
            trainer.telemetry.scalars(step, trainer.stage.stage, losses, "validation")
            line(f"step {step} held out: " + " ".join(f"{k} {v:.3f}" for k, v in losses.items()))
        folder = out / "judged" / f"step-{step:08d}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        details: dict[str, object] = {
            "name": recipe.name,
            "voice": voice_name(Counter(f.speaker for f in training).most_common(1)[0][0]),
            "held_out": [f.id for f in validation],
            "recipe": recipe.model_dump(mode="json"),
            "step": step,
            "voicewright": __version__,
            **(card or {}),
        }
        if not alone:
            write_model(folder, config, trainer.ema, training, details, held_out=validation)
        if recipe.content is not None:
            start = start_folder(recipe, embedded) if alone else None
            write_converter(folder, start, config, recipe.content, trainer.ema, training, details)
        if alone:  # the model speaks as before; its content network is judged by what it was taught on
            weighed = sum(weight * losses.get(name, 0.0) for name, weight in trainer.stage.losses.items())
            verdict = {"score": -weighed}
        else:
            _samples(trainer, folder, validation)
            verdict = judged(step, folder)
        leads = keep_best(out, step, verdict, trainer.counters.best, recipe.judge.keep, trainer.trained)
        # The recordings' own figures never change, and what each shortfall costs is in the log.
        kept = {k: v for k, v in verdict.items() if not k.startswith(("recordings_", "cost_"))}
        shown = " ".join(f"{k} {v:.3f}" for k, v in kept.items())
        if judge or alone:
            trainer.telemetry.scalars(step, trainer.stage.stage, verdict, "judged")
            line(f"step {step} judged: {shown}{'  (best so far)' if leads else ''}")

    def make(recipe: Recipe) -> Trainer[Batch]:
        return Trainer(
            Speaking(recipe, networks, training, validation),
            out,
            device,
            fingerprint=fingerprint(recipe, features),
            line=line,
            export=export,
            should_stop=lambda: bool(asked),
        )

    judging = float(getattr(judge, "seconds", 0.0))
    trainer, recipe, options = planned(make, recipe, options or Options(), resume, judging)
    if options.dry_run:
        return Result(None, 0, True, [])
    if claim(out, trainer, recipe, resume, options) and recipe.discriminators.start:
        trainer.take_critics(Path(recipe.discriminators.start))
    if not alone:
        hear_again(trainer, str(getattr(judge, "ears", "")), judged)
    finished = carry_out(trainer, asked, line)
    return Result(
        made_model(out / "best", trainer, line), trainer.counters.total, finished, trainer.counters.best
    )


def hear_again(trainer: Trainer[B], ears: str, judge: Callable[[int, Path], Mapping[str, float]]) -> None:
    """Where other ears judge than did before the run was resumed, let them judge what was kept."""
    counters = trainer.counters
    if counters.best and counters.ears != ears:
        before = counters.ears or "scores of an older kind, or none"
        trainer.line(
            f"Checkpoints are judged by {ears or 'nobody'} from here on, before by {before}: such scores "
            f"cannot be compared, so the {len(counters.best)} kept are judged again."
        )
        judge_again(trainer.out, counters.best, judge)
    counters.ears = ears


def carry_out(trainer: Trainer[B], asked: list[int], line: Callable[[str], None]) -> bool:
    """Run to the end, or to the step after SIGINT, which goes to `asked`; returns whether it ended."""

    def stop(number: int, frame: FrameType | None) -> None:
        if asked:
            raise KeyboardInterrupt
        asked.append(number)
        line("Stopping after this step; press again to stop at once (the last checkpoint stays).")

    previous = signal.signal(signal.SIGINT, stop)
    finished = True
    try:
        trainer.run()
    except Interrupted as message:
        finished = False
        line(str(message))
    finally:
        signal.signal(signal.SIGINT, previous)
    return finished


def made_model(model: Path, trainer: Trainer[B], line: Callable[[str], None]) -> Path | None:
    """The run's best model where there is one; else says when the first comes."""
    if model.exists():
        return model
    every = trainer.recipe.judge.every
    after = min(trainer.recipe.total_steps, (trainer.counters.total // every + 1) * every)
    line(f"No model is written yet: the first comes at step {after}.")
    return None


def claim(
    out: Path, trainer: Trainer[B], recipe: BaseModel, resume: bool, options: Options | None = None
) -> bool:
    """Start a fresh run folder, or take up an old one; an old one is never overwritten in silence.

    Returns whether the run begins here.
    """
    check_folder(out, resume)
    out.mkdir(parents=True, exist_ok=True)
    if resume:
        if trainer.resume():
            trainer.line(f"Resumed at step {trainer.counters.total} of {trainer.recipe.total_steps}.")
            return False
        trainer.line(f"There is no checkpoint in {out} yet; starting from the beginning.")
    record = {
        "recipe": recipe.model_dump(mode="json"),
        "options": (options or Options()).kept,
        "fingerprint": trainer.counters.recipe,
    }
    write_atomically(out / RUN, (json.dumps(record, indent=1) + "\n").encode())
    return True


def _samples(trainer: Trainer[Batch], folder: Path, validation: Sequence[Features]) -> None:
    """Speak the same few held-out sentences, pitch and timing predicted, into the run's `samples` folder.

    The recordings lie beside them. TensorBoard gets the first two as often as the recipe previews.
    """
    from voicewright.voices.pack import Voicepack

    model, _, _ = load_model(folder)
    model.eval()
    step = trainer.counters.total
    for number, f in enumerate(validation[:: max(1, len(validation) // SAMPLES)][:SAMPLES]):
        pack = Voicepack.read(folder / "voices" / f"{voice_name(f.speaker)}.safetensors")
        style = torch.from_numpy(pack.style(len(f.tokens) - 2)).unsqueeze(0)
        spoken = model.speak(
            torch.from_numpy(np.asarray(f.tokens)).unsqueeze(0),
            style,
            generator=torch.Generator().manual_seed(0),
        )
        made, real = spoken.audio.numpy(), (f.samples / 32768).astype(np.float32)
        write_sample(trainer.out, step, f.id, made, real, SAMPLE_RATE)
        if number < 2 and step % trainer.recipe.preview_every == 0:
            trainer.telemetry.preview(step, f.id, made, real)


def write_sample(
    out: Path, step: int, name: str, made: NDArray[np.float32], real: NDArray[np.float32], rate: int
) -> None:
    """`samples/step-…/NAME.wav` of a run, and once `samples/recordings/NAME.wav`."""
    for folder, samples in ((f"step-{step:08d}", made), ("recordings", real)):
        path = out / "samples" / folder / f"{safe_id(name)}.wav"
        if folder != "recordings" or not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            write(path, np.asarray(samples, np.float32), rate)


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
    prepared = Corpus.read(corpus)
    held = split(prepared.utterances, plan.split)[1]
    if judge is not None and len(held) < 2:
        raise VoicewrightError(
            f"{recipe} holds out {len(held)} of {corpus}'s utterances, too few to choose by; "
            "widen its `split`, or train with --no-judge."
        )
    if not (corpus / "features").is_dir():
        check_room(corpus, int(prepared.seconds * FEATURES), "the corpus's features")
    try:
        features = usable_features(prepared, plan.split, tenths(line))
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
    corpus: Corpus, rule: Split, progress: Callable[[str, float], None] | None = None
) -> list[Features]:
    """Features of all but the test utterances, which so teach nothing.

    Only the aligner that `prepare` taught has heard them: it places phones, and nothing of it is in a model.
    """
    return build_features(corpus, progress=progress, split=lambda name: not is_test(name, rule))


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


def tenths(line: Callable[[str], None]) -> Callable[[str, float], None]:
    """Progress of features as lines, at most one for each tenth of a stage."""
    said: set[tuple[str, int]] = set()

    def tell(stage: str, done: float) -> None:
        mark = (stage, int(10 * done))
        if mark not in said:
            said.add(mark)
            line(f"{stage}: {done:.0%}")

    return tell
