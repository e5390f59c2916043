"""`train adapt`: a prepared corpus in, adapters with a voicepack for a model whose own weights stay."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voicewright.errors import UsageError, VoicewrightError
from voicewright.training.order import Wishes

if TYPE_CHECKING:
    import torch

    from voicewright.corpus.manifest import Corpus, Utterance
    from voicewright.progress import Progress
    from voicewright.training.adapt.recipe import AdaptRecipe
    from voicewright.training.adapt.run import Material
    from voicewright.training.lifecycle import Result
    from voicewright.training.options import Options
    from voicewright.training.order import TrainOrder
    from voicewright.voices.pack import Voicepack
    from voicewright.voices.references import Reference
    from voicewright.voices.studio import Line, Studio

LEAST = 20.0
"""Seconds of speech below which a voicepack is all that can be learnt."""
MOST = 1200.0
"""Seconds that are looked at; of more, evenly chosen clips."""
_FEW = 3
"""Clips from which one is held out, however seldom the recipe would."""
_CHECKED = 60
"""Clips whose texts are compared with what is said (more if one is wrong), and that are held to it."""
_TEXTS = 24
_ALIGNERS = 3
TIMES = "times.safetensors"
"""Of a run's folder: its clips' times."""
_THOROUGH = 300.0
"""Seconds of clips up to which so many voices speak each text for its times; of more the start alone, which
errs by 10 ms instead of 7.5."""
_SAMPLE = 24
"""Clips by which a run is planned."""
_JUDGED = 3
"""The base's own voices that every judgement hears."""


def task(order: TrainOrder, progress: Progress) -> Result:
    """Recipes of `kind: adapt`. Raises UsageError, VoicewrightError."""
    return train_adapters(
        order.recipe,
        order.corpus,
        order.out,
        wishes=order.wishes or Wishes(),
        options=order.options,
        resume=order.resume,
        device=order.device,
        judged=order.judged,
        recogniser=order.recogniser,
        line=progress,
    )


def train_adapters(
    recipe: Path,
    corpus: Path,
    out: Path,
    *,
    wishes: Wishes,
    options: Options,
    resume: bool = False,
    device: str = "auto",
    judged: bool = True,
    recogniser: str = "auto",
    line: Callable[..., None],
) -> Result:
    """Train adapters by a recipe (`kind: adapt`). What is wrong is said before anything is computed.

    Raises UsageError, VoicewrightError.
    """
    from voicewright.catalogue.places import layers_of, resolve_model
    from voicewright.corpus.manifest import Corpus
    from voicewright.corpus.split import spread
    from voicewright.jobs.adapt_start import start_of
    from voicewright.jobs.adapt_symbols import with_symbols
    from voicewright.training.devices import pick_device
    from voicewright.training.options import check_folder
    from voicewright.voices.importing import make_ready
    from voicewright.voices.studio import Studio

    check_folder(out, resume)
    place = pick_device(device)
    plan = _plan(recipe, out, resume, wishes, options)
    prepared = Corpus.read(corpus)
    parts(prepared, plan, corpus)
    make_ready(plan.model, line)
    if layers_of(resolve_model(plan.model))[1]:
        raise UsageError(f"{plan.model} has adapters already; name its base with --model.")
    plan, prepared = with_symbols(plan, prepared, out, options.dry_run, resume, line)
    training, held = parts(prepared, plan, corpus)
    if not options.dry_run:
        start = start_of(plan, prepared, training, out, resume, recogniser, line)
    studio = Studio(plan.model, Path(plan.voices) if plan.voices else None, line)
    if options.dry_run:
        start = next(iter(studio.packs.values()))  # any is as quick as another
        training = spread(training, _SAMPLE)
        if not plan.voice:
            line("A voicepack is fitted first, which takes some minutes and is not planned here.")
    if plan.precision == "auto":
        import torch

        half = studio.precision == torch.bfloat16 or place.type == "cuda"
        plan = plan.model_copy(update={"precision": "bf16" if half else "fp32"})
    return _Run(studio, plan, prepared, training, held, start, line).go(
        out, place, resume, options, judged, recogniser
    )


def _plan(recipe: Path, out: Path, resume: bool, wishes: Wishes, options: Options) -> AdaptRecipe:
    """The recipe with what the command line changes; on resuming, as the run was begun."""
    from pydantic import ValidationError

    from voicewright.training.adapt.recipe import AdaptRecipe
    from voicewright.training.options import RUN, resized

    if resume and (out / RUN).is_file():
        try:
            return AdaptRecipe.model_validate(json.loads((out / RUN).read_text("utf-8"))["recipe"])
        except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
            raise VoicewrightError(
                f"{out / RUN} holds no recipe of adapters ({error}); begin again elsewhere."
            ) from error
    plan = resized(AdaptRecipe.read(recipe), options)
    changes: dict[str, Any] = {}
    if wishes.model is not None:
        changes["model"] = wishes.model
    if wishes.voice is not None:
        changes["voice"] = wishes.voice
    if wishes.voices is not None:
        changes["voices"] = str(wishes.voices)
    for words in (changes.get("voice"), changes.get("voices")):
        if words is not None and not Path(words).exists():
            raise UsageError(f"there is no {words}; name a voicepack that `voicewright fit` has written.")
    return plan.model_copy(update=changes)


def parts(corpus: Corpus, plan: AdaptRecipe, folder: Path) -> tuple[list[Utterance], list[Utterance]]:
    """Training and held-out utterances of the one speaker. Raises VoicewrightError."""
    import numpy as np

    from voicewright.corpus.split import split

    if len(corpus.speakers) > 1:
        raise VoicewrightError(
            f"{folder} holds {len(corpus.speakers)} speakers ({', '.join(corpus.speakers[:4])}); adapters "
            "are for one: prepare one at a time."
        )
    training, held = split(corpus.utterances, plan.split)
    if not held and plan.split.validation is None and len(training) >= _FEW:
        held = [training.pop(len(training) // 2)]  # a minute may be six long clips
    seconds = sum(item.seconds for item in training)
    if seconds < LEAST or not held:
        raise VoicewrightError(
            f"{folder} has {seconds:.0f} s to train on and {len(held)} clips held out; adapters need at "
            f"least {LEAST:.0f} s and one clip to be judged by: record a minute or more, or fit a voice "
            "(`voicewright fit`)."
        )
    if seconds > MOST:
        count = max(1, int(len(training) * MOST / seconds))
        training = [training[int(index)] for index in np.linspace(0, len(training) - 1, count)]
    return training, held


class _Run:
    """One run, once everything is read in."""

    def __init__(
        self,
        studio: Studio,
        plan: AdaptRecipe,
        corpus: Corpus,
        training: Sequence[Utterance],
        held: Sequence[Utterance],
        start: Voicepack,
        line: Callable[..., None],
    ) -> None:
        from voicewright.voices.fit_ears import open_encoders

        self._studio, self._plan, self._corpus, self._line = studio, plan, corpus, line
        self._training, self._held, self._pack = training, held, start
        self._encoders = open_encoders(line)

    def go(
        self, out: Path, device: torch.device, resume: bool, options: Options, judged: bool, recogniser: str
    ) -> Result:
        from voicewright.model.adapters import source_of
        from voicewright.training.adapt.ears import AdaptEars
        from voicewright.training.adapt.folders import Base
        from voicewright.training.adapt.run import adapt
        from voicewright.training.export import voice_name
        from voicewright.training.meeting import leads

        studio = self._studio
        name = voice_name(self._corpus.speakers[0])
        name += "_adapted" * (name in studio.packs)
        stock = self._judged_voices()
        judge = None
        if judged and leads():  # of several processes the first one judges
            judge = AdaptEars(
                studio, name, stock, [self._samples(one) for one in self._held[:12]],
                [self._samples(one) for one in self._training[:40]], self._lines(), recogniser,
                self._corpus.meta.language, self._encoders, self._line,
                self._english() if self._plan.replay.texts == "english" else None,
                self._plan.gates.moved,
            )  # fmt: skip
        replayed = [key for key in studio.packs if key not in stock] or list(studio.packs)
        times = out / TIMES if leads() and not options.dry_run else None
        material = self._material(self._spread(replayed, self._plan.replay.voices), times)
        source = source_of(studio.folder, studio.sha256)
        base = Base(studio.net, studio.config, self._words(), studio.sha256, source)
        return adapt(
            self._plan,
            base,
            material,
            out,
            card=self._card(name, sum(len(one.sound) for one in material.training) / 24_000),
            judge=judge,
            resume=resume,
            device=device,
            options=options,
            line=self._line,
        )

    def _words(self) -> str:
        """What the base will be found by: its name, or where it lies."""
        path = Path(self._plan.model)
        return str(path.resolve()) if path.exists() else self._plan.model

    def _samples(self, item: Utterance) -> Any:
        from voicewright.audio.files import read

        return read(self._corpus.path(item))

    def _lines(self) -> Any:
        """What judgements render: known sentences in English, else the shorter of the held-out texts."""
        from voicewright.voices.studio import SENTENCES

        language, count = self._corpus.meta.language, self._plan.judge.sentences
        if language.startswith("en"):
            return self._studio.lines(SENTENCES[:count], "en-us" if language == "en" else language)
        texts = sorted((item.text for item in self._held), key=len)
        long = [text for text in texts if len(text) > 25] or texts
        return self._studio.lines(long[:count], language)

    def _english(self) -> list[Line]:
        """What the base's own voices speak where a language is learnt that they are not to be held to."""
        from voicewright.voices.studio import SENTENCES

        return self._studio.lines(SENTENCES, "en-us")

    def _spread(self, names: Sequence[str], count: int) -> dict[str, Voicepack]:
        from voicewright.corpus.split import spread

        return {name: self._studio.packs[name] for name in spread(list(names), count)}

    def _judged_voices(self) -> dict[str, Voicepack]:
        """The base's default voice, and others from all over the known ones of the corpus's language."""
        from voicewright.text.g2p import LANGUAGES

        packs = self._studio.packs
        default = self._studio.card.get("voice")
        wanted = [str(default)] if default in packs else ["af_heart"] if "af_heart" in packs else []
        letters = {one.kokoro for code, one in LANGUAGES.items() if code == self._corpus.meta.language}
        rest = [name for name in packs if name not in wanted]
        rest = [name for name in rest if name[:1] in letters and name[2:3] == "_"] or rest
        return {name: packs[name] for name in wanted} | self._spread(rest, max(0, _JUDGED - len(wanted)))

    def _material(self, stock: Mapping[str, Voicepack], times: Path | None) -> Material:
        import torch

        from voicewright.training.adapt.run import Material
        from voicewright.voices.fit_ears import steers
        from voicewright.voices.phones import listen_to_texts

        training, held = self._references(times)
        says, training, _ = listen_to_texts(
            self._studio.net, training, self._pack, self._studio.precision, _CHECKED, self._line
        )
        ear = says.ear if says is not None else None
        own = [self._samples(item) for item in self._training[:60]]
        towards = steers(self._encoders, own)
        band = min(item.measurements.bandwidth_hz for item in self._training)
        ids = [torch.from_numpy(self._studio.ids(item.phonemes))[None] for item in self._training]
        if self._plan.replay.texts == "english":
            ids = [one.tokens for one in self._english()]
        texts = sorted((one for one in ids if 40 <= one.shape[1] <= 120), key=lambda one: one.shape[1])
        top = min(0.97 * band, 12_000.0)
        return Material(training, held, self._pack, texts[:_TEXTS] or ids[:_TEXTS], stock, top, towards, ear)

    def _references(self, times: Path | None) -> tuple[list[Reference], list[Reference]]:
        """Training clips and a few held-out ones with times in the base's own convention: taken from what
        the base renders in the voice to begin with and in the two nearest known ones. times: where they are
        kept for a run that goes on."""
        from voicewright.audio.mel import LogMel
        from voicewright.voices.references import Take, aligned, calibrate
        from voicewright.voices.times import KeptTimes

        studio = self._studio
        own = [self._samples(item) for item in self._training[:20]]
        names = self._nearest(own)
        lines = self._lines()[:2]
        spoken = [studio.render(line.tokens, studio.packs[name]) for name in names for line in lines]
        scale = calibrate(spoken, LogMel("styletts2"))
        voices = {"start": self._pack}
        if sum(item.seconds for item in self._training) <= _THOROUGH:
            voices |= {name: studio.packs[name] for name in names}
        kept = None
        if times is not None:
            rows = hashlib.sha256(b"".join(pack.rows.tobytes() for pack in voices.values()))
            kept = KeptTimes(times, studio.sha256 + rows.hexdigest())
        found = []
        for items in (self._training, self._held[:6]):
            takes = [Take(item.id, self._samples(item), studio.ids(item.phonemes)) for item in items]
            references, refused = aligned(takes, studio.render, voices, scale, self._line, kept)
            for sentence in refused[:5]:
                self._line(sentence)
            found.append(references)
        if not found[0]:
            raise VoicewrightError(
                "no clip is long enough to train on; record sentences of two seconds and more."
            )
        return found[0], found[1]

    def _nearest(self, own: Sequence[Any]) -> list[str]:
        """Known voices that are nearest to the recordings in timbre and pitch."""
        from voicewright.voices.known import nearest, portrait, portraits
        from voicewright.voices.studio import SENTENCES

        studio = self._studio
        lines = studio.lines(SENTENCES[:3], "en-us")
        symbols = [line.tokens.shape[1] - 2 for line in lines]
        known = portraits(
            studio.packs,
            lambda pack: (studio.clips(pack, lines), symbols),
            self._encoders.surest,
            studio.portraits,
            studio.sha256,
            self._line,
        )
        counts = [len(studio.ids(item.phonemes)) - 2 for item in self._training[: len(own)]]
        return nearest(portrait(own, counts, self._encoders.surest), known, _ALIGNERS - 1)

    def _card(self, name: str, seconds: float) -> dict[str, Any]:
        meta = self._corpus.meta
        return {
            "name": f"{self._studio.name} as {name}",
            "kind": "model" if self._plan.whole else "adapter",
            "made": f"voicewright train {self._plan.name}",
            "voice": name,
            "language": meta.language,
            "licence": f"recordings {meta.licence}, base {self._studio.card.get('licence') or 'not stated'}",
            "consent": meta.consent,
            "base": {"name": self._words(), "sha256": self._studio.sha256},
            "data": {
                "speakers": list(self._corpus.speakers),
                "utterances": len(self._training),
                "minutes": round(seconds / 60, 1),
                "source": meta.source,
            },
            "held_out": [item.id for item in self._held],
        }
