"""`train clone`: a corpus of many speakers in, the style encoders out by which `clone` works."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voicewright.errors import UsageError, VoicewrightError
from voicewright.training.order import Wishes

if TYPE_CHECKING:
    from voicewright.corpus.manifest import Corpus, Utterance
    from voicewright.progress import Progress
    from voicewright.training.clone.material import Ears
    from voicewright.training.clone.recipe import CloneRecipe
    from voicewright.training.clone.run import Lesson
    from voicewright.training.clone.task import Reader
    from voicewright.training.lifecycle import Result
    from voicewright.training.options import Options
    from voicewright.training.order import TrainOrder
    from voicewright.voices.known import Portrait
    from voicewright.voices.references import Energy
    from voicewright.voices.studio import Line, Studio
    from voicewright.voices.style_encoders import StyleEncoders

MATERIAL, DRAWN = "material", "drawn.safetensors"
"""Of a run's folder: what is heard once; in it, the drawn voices."""
FIRST = "first.safetensors"
"""Of a run's material: the encoders as the regression left them, so that a run that goes on begins alike."""
FEWEST = 20
"""Speakers below which encoders would know their readers by heart and nobody else."""
FEWEST_KNOWN = 8
"""Known voices below which there is nothing to draw between."""
_LONGEST = 10.0
"""Seconds of a clip; longer ones are left out."""
_SAMPLE = 4
"""Speakers by which a run is planned."""
_CLIPS = 6
"""Of a speaker, at most, evenly chosen."""


def task(order: TrainOrder, progress: Progress) -> Result:
    """Recipes of `kind: clone`. Raises UsageError, VoicewrightError."""
    if order.recogniser != "auto" or not order.judged:
        raise UsageError(
            "style encoders are chosen by held-out readers, not by words: "
            "leave --recogniser and --no-judge out."
        )
    return teach_encoders(
        order.recipe, order.corpus, order.out, wishes=order.wishes or Wishes(), options=order.options,
        resume=order.resume, device=order.device, line=progress,
    )  # fmt: skip


def teach_encoders(
    recipe: Path,
    corpus: Path,
    out: Path,
    *,
    wishes: Wishes,
    options: Options,
    resume: bool = False,
    device: str = "auto",
    line: Callable[..., None],
) -> Result:
    """Teach style encoders by a recipe (`kind: clone`). What is wrong is said before anything is computed.

    Raises UsageError, VoicewrightError.
    """
    import torch

    from voicewright.corpus.manifest import Corpus
    from voicewright.training.clone.recipe import CloneRecipe
    from voicewright.training.clone.run import Lesson, teach
    from voicewright.training.devices import pick_device
    from voicewright.training.meeting import leads
    from voicewright.training.options import check_folder, resized
    from voicewright.voices.fit_ears import open_encoders
    from voicewright.voices.importing import make_ready
    from voicewright.voices.studio import Studio

    check_folder(out, resume)
    place = pick_device(device)
    if place.type != "cpu":
        raise UsageError("style encoders are taught on the CPU so far: leave --device out.")
    plan = _wished(resized(CloneRecipe.read(recipe), options), wishes)
    prepared = Corpus.read(corpus)
    speakers = speakers_of(prepared, corpus)
    make_ready(plan.model, line)
    studio = Studio(plan.model, Path(plan.voices) if plan.voices else None, line)
    if len(studio.packs) < FEWEST_KNOWN:
        raise UsageError(
            f"{plan.model} has {len(studio.packs)} known voices here and teaching draws between at least "
            f"{FEWEST_KNOWN}; name a folder of voicepacks with --voices."
        )
    if plan.precision == "auto":
        half = studio.precision == torch.bfloat16
        plan = plan.model_copy(update={"precision": "bf16" if half else "fp32"})
    ears = _ears(line)
    if options.dry_run:
        encoders, readers = _sample(plan, studio, ears, prepared, speakers, line)
    else:
        encoders, readers = _material(plan, studio, ears, prepared, speakers, out, line)
    held = list(range(plan.every - 1, len(readers), plan.every)) or [len(readers) - 1]
    steers = [vectors for _, vectors in open_encoders(line).steering.values()]
    steers.reverse()  # CAM++ first, as in what the encoders read
    lesson = Lesson(studio.net, encoders, readers, held, steers, ears.phones)
    result = teach(
        plan,
        lesson,
        out,
        card=_card(plan, studio, readers, prepared),
        resume=resume,
        device=place,
        options=options,
        line=line,
    )
    if result.finished and result.model is not None and leads():
        _map(result.model, plan, studio, out / MATERIAL, lesson, line)
    return result


def _wished(plan: CloneRecipe, wishes: Wishes) -> CloneRecipe:
    if wishes.voice is not None:
        raise UsageError("style encoders begin with no one voice: leave --voice out.")
    changes: dict[str, Any] = {}
    if wishes.model is not None:
        changes["model"] = wishes.model
    if wishes.voices is not None:
        if not wishes.voices.exists():
            raise UsageError(f"there are no voices at {wishes.voices}; name a folder of voicepacks.")
        changes["voices"] = str(wishes.voices)
    return plan.model_copy(update=changes)


def speakers_of(corpus: Corpus, folder: Path) -> dict[str, list[Utterance]]:
    """Clips of each speaker. Raises VoicewrightError where there are too few speakers."""
    from voicewright.corpus.split import spread
    from voicewright.units import FRAME, SAMPLE_RATE
    from voicewright.voices.fit import CROP

    found: dict[str, list[Utterance]] = {}
    shortest = (CROP + 4) * FRAME / SAMPLE_RATE
    for item in corpus.utterances:
        if shortest <= item.seconds <= _LONGEST:
            found.setdefault(item.speaker, []).append(item)
    if len(found) < FEWEST:
        raise VoicewrightError(
            f"{folder} holds {len(found)} speakers with clips of {shortest:.0f} to {_LONGEST:.0f} s; style "
            f"encoders are taught by at least {FEWEST}, better hundreds (LibriSpeech has them)."
        )
    return {name: spread(items, _CLIPS) for name, items in sorted(found.items())}


def _ears(line: Callable[..., None]) -> Ears:
    from voicewright.training.clone.material import Ears
    from voicewright.voices.fit_ears import open_encoders
    from voicewright.voices.phones import open_phone_ear
    from voicewright.voices.style_encoders import both_encoders

    encoders = open_encoders(line)
    surest, second = both_encoders(encoders)
    phones = open_phone_ear(line)
    if phones is None:
        raise VoicewrightError("teaching style encoders needs the embedded model, and it is not here.")
    return Ears(surest, second, phones)


def _material(
    plan: CloneRecipe,
    studio: Studio,
    ears: Ears,
    corpus: Corpus,
    speakers: dict[str, list[Utterance]],
    out: Path,
    line: Callable[..., None],
) -> tuple[StyleEncoders, list[Reader]]:
    """Encoders as the regression on drawn voices leaves them, and the readers."""
    import numpy as np
    import torch

    from voicewright.training.clone.drawn import Spread, begin
    from voicewright.training.clone.material import drawn_pairs, reader_of
    from voicewright.units import STYLE
    from voicewright.voices.studio import SENTENCES
    from voicewright.voices.style_encoders import PROSODY, StyleEncoders, load_encoders, save_encoders

    folder = out / MATERIAL
    folder.mkdir(parents=True, exist_ok=True)
    lines = studio.lines(SENTENCES, "en-us")
    spread = Spread.of(list(studio.packs.values()))
    curve = torch.from_numpy(spread.curve).float()
    heard = _heard(studio, ears, corpus, speakers, folder, lines, plan.seed, line)
    readers = [reader_of(name, one, studio, curve) for name, one in heard.items()]
    if len(readers) < FEWEST:
        raise VoicewrightError(
            f"of {len(speakers)} speakers {len(readers)} have a pitch and clips that serve."
        )
    first = folder / FIRST
    if not first.is_file():
        pairs = folder / DRAWN
        numbers, styles = drawn_pairs(pairs, plan.drawn.voices, plan.seed, spread, studio, ears, lines, line)
        real = np.concatenate([n.numpy() for reader in readers for n in reader.numbers]).astype(np.float64)
        torch.manual_seed(plan.seed)
        net = StyleEncoders(plan.width)
        net.curve.copy_(curve)
        begin(net.timbre, numbers[:, PROSODY:], styles[:, :STYLE], real[:, PROSODY:], plan.drawn.ridge, 0)
        begin(net.prosody, numbers, styles[:, STYLE:], real, plan.drawn.ridge_prosody, PROSODY)
        save_encoders(first, net, {})
    return load_encoders(first)[0].requires_grad_(True), readers


def _map(
    best: Path, plan: CloneRecipe, studio: Studio, material: Path, lesson: Lesson, line: Callable[..., None]
) -> None:
    """Puts into the encoders in `best` what prosodic halves make the model do: such as drawn voices have, and
    such as these encoders say of the readers."""
    import numpy as np
    import torch

    from voicewright.training.clone.drawn import Spread
    from voicewright.training.clone.map import drawn_halves, predicted, taught_map
    from voicewright.training.clone.material import kept_pairs
    from voicewright.units import STYLE
    from voicewright.voices.prosody_map import HEARD
    from voicewright.voices.studio import SENTENCES
    from voicewright.voices.style_encoders import ENCODERS, load_encoders, save_encoders

    net, facts = load_encoders(best / ENCODERS)
    if net.map.taught:
        return
    spread = Spread.of(list(studio.packs.values()))
    real = torch.cat([numbers[:1] for reader in lesson.readers for numbers in reader.numbers])
    with torch.no_grad():
        halves = drawn_halves(spread, net.prosody(real).double().numpy(), plan.drawn.mapped, plan.seed)
    heard, styles, _ = kept_pairs(material / DRAWN)
    texts = [one.tokens for one in studio.lines(SENTENCES[:3], "en-us")]
    asked = np.concatenate([halves, np.stack(styles)[:, STYLE:]])
    said = predicted(studio.net, asked, net.curve[:, STYLE:], texts, line)
    both = said[len(halves) :], np.stack(heard)[:, :HEARD].astype(np.float64)
    found, error = taught_map(halves, said[: len(halves)], spread.halves[:, STYLE:], both, plan.seed)
    net.map.load_state_dict(found.state_dict())
    save_encoders(best / ENCODERS, net, facts)
    line(f"Pitch is mapped to {error[0]:.2f} semitones, its spread to {error[1]:.2f}.")


def _sample(
    plan: CloneRecipe,
    studio: Studio,
    ears: Ears,
    corpus: Corpus,
    speakers: dict[str, list[Utterance]],
    line: Callable[..., None],
) -> tuple[StyleEncoders, list[Reader]]:
    """A few readers, by which a run is planned; says how long all of them, and the drawn voices, take."""
    import tempfile
    import time

    import torch

    from voicewright.corpus.split import spread
    from voicewright.training.clone.material import reader_of
    from voicewright.units import STYLE
    from voicewright.voices.pack import ROWS
    from voicewright.voices.studio import SENTENCES
    from voicewright.voices.style_encoders import StyleEncoders

    lines = studio.lines(SENTENCES, "en-us")
    few = {name: speakers[name] for name in spread(list(speakers), _SAMPLE)}
    with tempfile.TemporaryDirectory(prefix="voicewright-clone-") as folder:
        prepared = _known(studio, ears, lines, line)
        began = time.monotonic()
        heard = _heard(studio, ears, corpus, few, Path(folder), lines, plan.seed, line, prepared)
        each = (time.monotonic() - began) / len(few)
    if len(heard) < 2:
        raise VoicewrightError(f"of {len(few)} speakers {len(heard)} have a pitch and clips that serve.")
    minutes = each * (len(speakers) + plan.drawn.voices) / 60
    line(
        f"Hearing {len(speakers)} speakers and drawing {plan.drawn.voices} voices, about "
        f"{minutes:.0f} minutes, come first and are kept."
    )
    curve = torch.zeros(ROWS, 2 * STYLE)
    return StyleEncoders(plan.width), [reader_of(name, one, studio, curve) for name, one in heard.items()]


def _heard(
    studio: Studio,
    ears: Ears,
    corpus: Corpus,
    speakers: dict[str, list[Utterance]],
    folder: Path,
    lines: Sequence[Line],
    seed: int,
    line: Callable[..., None],
    prepared: tuple[dict[str, Portrait], Energy] | None = None,
) -> dict[str, Any]:
    """Each speaker's references; kept in the folder, a file a speaker, as they come. prepared: `_known`'s."""
    from voicewright.audio.files import read
    from voicewright.corpus.sources import safe_id
    from voicewright.training.clone.material import hear_reader, keep_reader, kept_reader
    from voicewright.voices.references import Take

    found: dict[str, Any] = {}
    for number, (name, items) in enumerate(speakers.items()):
        line("hearing speakers", number, len(speakers))
        path = folder / f"{safe_id(name)}.safetensors"
        if not path.is_file():
            known, scale = prepared = prepared or _known(studio, ears, lines, line)
            takes = [Take(item.id, read(corpus.path(item)), studio.ids(item.phonemes)) for item in items]
            keep_reader(path, hear_reader(takes, studio, ears, known, scale, seed))
        heard = kept_reader(path)
        if heard.references:
            found[name] = heard
    line("hearing speakers", len(speakers), len(speakers))
    return found


def _known(
    studio: Studio, ears: Ears, lines: Sequence[Line], line: Callable[..., None]
) -> tuple[dict[str, Portrait], Energy]:
    from voicewright.audio.mel import LogMel
    from voicewright.corpus.split import spread
    from voicewright.voices.known import portraits
    from voicewright.voices.references import calibrate

    few = lines[:3]
    symbols = [one.tokens.shape[1] - 2 for one in few]
    known = portraits(
        studio.packs, lambda pack: (studio.clips(pack, few), symbols), ears.surest, studio.portraits,
        studio.sha256, line,
    )  # fmt: skip
    spoken = [
        studio.render(one.tokens, studio.packs[name]) for name in spread(list(known), 5) for one in few[:2]
    ]
    return known, calibrate(spoken, LogMel("styletts2"))


def _card(plan: CloneRecipe, studio: Studio, readers: Sequence[Reader], corpus: Corpus) -> dict[str, Any]:
    return {
        "name": f"style encoders of {studio.name}",
        "kind": "style encoders",
        "made": "voicewright train clone",
        "model": studio.name,
        "model_sha256": studio.sha256,
        "known_voices": len(studio.packs),
        "drawn_voices": plan.drawn.voices,
        "readers": len(readers),
        "seconds": round(sum(len(clip.sound) for one in readers for clip in one.clips) / 24_000),
        "source": corpus.meta.source,
        "licence": corpus.meta.licence,
    }
