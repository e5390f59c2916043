"""An RVC run assembled from recipe, corpus and extractors, and carried out by the one loop."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from voicewright.catalogue.published import PUBLISHED
from voicewright.catalogue.pull import missing_part, part_files
from voicewright.corpus.manifest import Corpus
from voicewright.corpus.split import Split, is_test, split
from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.checkpoint import compare
from voicewright.model.reading import read_content
from voicewright.rvc.train.batches import VoiceBatch
from voicewright.rvc.train.export import IndexBuilder, held_out, write_index
from voicewright.rvc.train.features import MUTE, Extractors, Slice, build_slices
from voicewright.rvc.train.judged import Judged, Material
from voicewright.rvc.train.recipe import VoiceRecipe
from voicewright.rvc.train.task import Converting, VoiceNetworks
from voicewright.training.devices import pick_device
from voicewright.training.export import voice_name
from voicewright.training.lifecycle import Result, conduct
from voicewright.training.loop import Trainer
from voicewright.training.meeting import leads
from voicewright.training.options import Options, check_folder, remembered, resized
from voicewright.training.telemetry import tenths


def parts_of(corpus: Corpus, slices: Sequence[Slice], rule: Split) -> tuple[list[Slice], list[Slice]]:
    """Training and held-out slices, by the utterances that they are cut from; silence trains."""
    _, held = split([u for u in corpus.utterances if not is_test(u.id, rule)], rule)
    names = {u.id for u in held}
    return [s for s in slices if s.utterance not in names], [s for s in slices if s.utterance in names]


def pretrained(path: Path) -> dict[str, Tensor]:
    """The weights of a training checkpoint (`G_*.pth`, `f0D40k.pth`), which lie under `model`.

    Raises VoicewrightError.
    """
    content = read_content(path)
    model = content.get("model") if isinstance(content, Mapping) else None
    if not isinstance(model, Mapping) or not all(isinstance(v, Tensor) for v in model.values()):
        raise VoicewrightError(
            f"{path} holds no training weights under `model`; give a pretrained file such as f0G40k.pth, "
            "not a voice made for use."
        )
    return {str(key): value.float() for key, value in model.items()}


def start_files(recipe: VoiceRecipe) -> tuple[Path | None, Path | None]:
    """Generator's and discriminator's pretrained weights, where the recipe names them.

    Raises UsageError in one sentence for published ones that are not on this machine.
    """
    name = recipe.start.published
    if name is None:
        given = (recipe.start.generator, recipe.start.discriminator)
        generator, discriminator = (Path(path) if path else None for path in given)
        return generator, discriminator
    other = PUBLISHED[name].files[1].name
    for generator in part_files(name):
        if (generator.parent / other).is_file():
            return generator, generator.parent / other
    raise UsageError(missing_part(name))


def start(recipe: VoiceRecipe, networks: VoiceNetworks, trainer: Trainer[VoiceBatch]) -> None:
    """Give the networks what the recipe starts from. Raises VoicewrightError for weights of other shapes."""
    generator, discriminator = start_files(recipe)
    if generator is not None:
        weights = pretrained(generator)
        compare(weights, networks.synthesizer.state_dict(), generator)
        networks.synthesizer.load_state_dict(weights)
        trainer.learners.begin_ema()
    if discriminator is not None:
        judging = trainer.learners.discriminators["waveform"]
        weights = pretrained(discriminator)
        compare(weights, judging.state_dict(), discriminator)
        judging.load_state_dict(weights)


def fingerprint(recipe: VoiceRecipe, slices: Sequence[Slice]) -> str:
    """Identifies recipe and slices, so that a checkpoint is not resumed with others."""
    state = hashlib.sha256(recipe.model_dump_json().encode())
    for s in slices:
        state.update(f"{s.id} {s.speaker} {s.path.name} {s.frames}\n".encode())
    return state.hexdigest()[:16]


def band_note(corpus: Corpus, recipe: VoiceRecipe) -> str | None:
    """What to say where the corpus's 24 kHz leave the upper band of the voice empty."""
    rate = recipe.config.sample_rate
    if recipe.recordings is not None or rate <= corpus.meta.sample_rate:
        return None
    sources = [u.measurements.source_rate for u in corpus.utterances]
    wide = sum(source > corpus.meta.sample_rate for source in sources)
    better = (
        f"; {wide} of its recordings have more: name their folder as `recordings` to keep it" if wide else ""
    )
    return (
        f"The corpus has {corpus.meta.sample_rate // 1000} kHz, so a voice at {rate // 1000} kHz learns "
        f"nothing above {corpus.meta.sample_rate // 2000} kHz{better}."
    )


def train_voice(
    recipe: Path,
    corpus: Path,
    out: Path,
    tools: Callable[[VoiceRecipe], Extractors],
    *,
    resume: bool = False,
    device: str = "auto",
    build_index: IndexBuilder | None = None,
    options: Options | None = None,
    line: Callable[[str], None] = print,
) -> Result:
    """Train a recipe on a prepared corpus: slices and features first (cached), then the run, then the index.

    Leaves in `out`: NAME.pth (best by held-out copy-synthesis) and its index, NAME being the folder's. Raises
    VoicewrightError.
    """
    check_folder(out, resume)
    chosen = pick_device(device)
    options = remembered(out, resume, options or Options())
    plan = resized(VoiceRecipe.read(recipe), options)
    prepared = Corpus.read(corpus)
    extractors = tools(plan)
    if (note := band_note(prepared, plan)) is not None:
        line(note)
    slices = build_slices(
        prepared,
        extractors,
        rate=plan.config.sample_rate,
        recordings=Path(plan.recordings) if plan.recordings else None,
        mute=plan.mute,
        shortest=plan.config.segment_frames + 1,
        keep=lambda name: not is_test(name, plan.split),
        progress=tenths(line),
        line=line,
    )
    training, validation = parts_of(prepared, slices, plan.split)
    card = {
        "licence": prepared.meta.licence,
        "consent": prepared.meta.consent,
        "source": prepared.meta.source,
        "language": prepared.meta.language,
    }
    result = train_slices(
        plan,
        training,
        validation,
        out,
        extractors,
        resume=resume,
        device=chosen,
        card=card,
        options=options,
        line=line,
    )
    if plan.index and build_index is not None and result.finished and not options.dry_run and leads():
        line(f"index: {write_index(training, plan, out, voice_name(out.name), build_index).name}")
    return result


def train_slices(
    recipe: VoiceRecipe,
    training: Sequence[Slice],
    validation: Sequence[Slice],
    out: Path,
    tools: Extractors,
    *,
    resume: bool = False,
    device: torch.device,
    card: Mapping[str, Any] | None = None,
    options: Options | None = None,
    line: Callable[[str], None] = print,
) -> Result:
    """Train on slices that are already there. SIGINT saves a checkpoint and ends the run resumably.

    Raises VoicewrightError for slices that do not fit the recipe.
    """
    speakers = _speakers(recipe, training)
    # Silence is made for every speaker, held out ones too; who is not trained on has no row in the table.
    if strange := sorted({s.speaker for s in validation} - set(speakers)):
        names = ", ".join(strange)
        line(f"Only held out, so neither taught nor judged: {names}; change `split` to teach them.")
    training, validation = ([s for s in part if s.speaker in speakers] for part in (training, validation))
    _check_width(recipe, training, tools)
    torch.manual_seed(recipe.seed)
    networks = VoiceNetworks(recipe.config)
    name = voice_name(out.name)
    material = Material.of(recipe, training, validation, speakers, card)
    chosen = held_out(validation, recipe.judge.sentences)

    def make(recipe: VoiceRecipe) -> Trainer[VoiceBatch]:
        return Trainer(
            Converting(recipe, networks, training, validation, speakers, tools.coarse),
            out,
            device,
            fingerprint=fingerprint(recipe, [*training, *validation]),
            line=line,
            export=Judged(recipe, name, material, chosen, tools, line),
        )

    def begin(trainer: Trainer[VoiceBatch], fresh: bool) -> None:
        if fresh:
            start(recipe, networks, trainer)

    return conduct(make, recipe, out / f"{name}.pth", options=options, resume=resume, begin=begin)


def _speakers(recipe: VoiceRecipe, training: Sequence[Slice]) -> list[str]:
    """Whom there is to learn from. Raises VoicewrightError where nobody is, or more than have a row."""
    speakers = sorted({s.speaker for s in training if s.utterance != MUTE})
    if not speakers:
        raise VoicewrightError("No slice is left to train on; record or accept more.")
    if len(speakers) > recipe.config.speakers:
        raise VoicewrightError(
            f"The corpus has {len(speakers)} speakers, the voice's table {recipe.config.speakers} rows; give "
            "the recipe's synthesizer more `speakers`, or train on fewer."
        )
    return speakers


def _check_width(recipe: VoiceRecipe, training: Sequence[Slice], tools: Extractors) -> None:
    width = training[0].load()["phone"].shape[1]
    if width != recipe.config.phone_width:
        raise VoicewrightError(
            f"{tools.content_name} gives features {width} wide, RVC {recipe.version} reads "
            f"{recipe.config.phone_width}; choose another content encoder or version."
        )
