"""The `train` command: what a run needs is looked for before its first step; what judges is put together."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from voicewright.corpus.split import spread
from voicewright.errors import UsageError, VoicewrightError
from voicewright.jobs.judge import read_items
from voicewright.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from voicewright.corpus.features import Features
    from voicewright.corpus.manifest import Corpus
    from voicewright.jobs.adapt import Wishes
    from voicewright.judge.ears import MoreEars
    from voicewright.judge.quick import QuickJudge
    from voicewright.listen.recogniser import Choice
    from voicewright.listen.speaker import SpeakerEncoder
    from voicewright.rvc.train.features import Extractors
    from voicewright.rvc.train.recipe import VoiceRecipe
    from voicewright.train.options import Options
    from voicewright.train.recipe import Recipe
    from voicewright.train.run import Result


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
    wishes: Wishes | None = None,
) -> Result:
    """Train a voice by a recipe (a file or a shipped one's name), with progress on standard error.

    wishes: of a recipe of adapters.

    Raises UsageError and VoicewrightError before anything is computed for what is missing or wrong.
    """
    from voicewright.catalogue.places import embedded_model
    from voicewright.corpus.manifest import Corpus
    from voicewright.train.options import Options, find_recipe
    from voicewright.train.recipe import Recipe, read_yaml
    from voicewright.train.run import train as run

    path, options = find_recipe(recipe), Options(steps, batch)
    kind = read_yaml(path).get("kind")
    if kind == "adapt":
        return _train_adapters(path, corpus, out, wishes, options, resume, device, judged, recogniser)
    if wishes is not None and wishes.any:
        raise UsageError(
            f"--model, --voice and --voices are for adapters; {path} names its start itself (`start`)."
        )
    if kind == "rvc":
        return train_conversion(path, corpus, out, resume=resume, device=device, options=options)
    plan = Recipe.read(path)
    progress = Progress()
    try:
        judge = None
        if judged and any(stage.stage != "content" for stage in plan.stages):
            ears = find_ears(Corpus.read(corpus).meta.language, recogniser, progress)
            judge = judging(plan, ears)
        return run(
            path,
            corpus,
            out,
            resume=resume,
            device=device,
            judge=judge,
            embedded=embedded_model() if plan.start == "embedded" else None,
            options=options,
            line=progress,
        )
    finally:
        progress.close()


def _train_adapters(
    recipe: Path,
    corpus: Path,
    out: Path,
    wishes: Wishes | None,
    options: Options,
    resume: bool,
    device: str,
    judged: bool,
    recogniser: str,
) -> Result:
    from voicewright.jobs.adapt import Wishes, train_adapters

    progress = Progress()
    try:
        return train_adapters(
            recipe,
            corpus,
            out,
            wishes=wishes or Wishes(),
            options=options,
            resume=resume,
            device=device,
            judged=judged,
            recogniser=recogniser,
            line=progress,
        )
    finally:
        progress.close()


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
    from voicewright.judge.ears import open_choosing_ears
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
        from voicewright.judge.judge import InLanguage

        return self.quick(InLanguage(TorchEngine(folder), self.quick.language), self.voice).measured()


def judging(plan: Recipe, ears: Ears) -> Callable[[Corpus, Sequence[Features]], CheckpointJudge]:
    """Makes what judges, once the held-out features are there: the speaker who has most of them is heard."""

    def make(corpus: Corpus, held: Sequence[Features]) -> CheckpointJudge:
        from voicewright.judge.quick import QuickJudge
        from voicewright.train.export import voice_name

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


def train_conversion(
    recipe: Path, corpus: Path, out: Path, *, resume: bool, device: str, options: Options
) -> Result:
    """Train an RVC voice, with progress on standard error. Raises VoicewrightError."""
    from voicewright.rvc.convert.index_build import build_index
    from voicewright.rvc.train.run import train_voice

    progress = Progress()

    def index(rows: NDArray[np.float32], folder: Path, name: str, version: str) -> Path:
        return build_index(rows, folder, name, version, progress=progress)

    try:
        return train_voice(
            recipe,
            corpus,
            out,
            lambda plan: voice_extractors(plan, device),
            resume=resume,
            device=device,
            build_index=index,
            options=options,
            line=progress,
        )
    finally:
        progress.close()


def voice_extractors(recipe: VoiceRecipe, device: str = "auto") -> Extractors:
    """The content encoder and pitch method that a recipe names. Raises UsageError for what is missing."""
    import hashlib

    import numpy as np
    import torch

    from voicewright.convert import pitch
    from voicewright.rvc.content.encoder import open_listener, said_name, weights_of
    from voicewright.rvc.train.features import Extractors
    from voicewright.train.run import pick_device

    encoder = open_listener(recipe.content).to(pick_device(device))
    name = recipe.content
    # Another file under the same name must not be taken for it in caches.
    with weights_of(name).open("rb") as file:
        name += " " + hashlib.file_digest(file, "blake2b").hexdigest()[:16]
    method = pitch.resolve(recipe.pitch) if recipe.f0 else "none"

    def content(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        wave = torch.from_numpy(np.ascontiguousarray(samples))[None].to(pick_device(device))
        return encoder.encode(wave, recipe.version)[0].float().cpu().numpy()

    def f0(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        if not recipe.f0:
            return np.zeros(len(samples) // pitch.HOP + 1, np.float32)
        found = pitch.estimate(samples, method)
        return pitch.interpolate_unvoiced(found) if recipe.unvoiced == "interpolate" else found

    return Extractors(
        content,
        said_name(recipe.content),
        f"{name} {recipe.version}",
        f0,
        f"{method} {recipe.unvoiced}",
        pitch.coarse,
    )
