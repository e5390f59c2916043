"""The `fit` command: recordings in, a voicepack for a model whose weights stay as they are."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from voicewright.errors import Interrupted, UsageError, VoicewrightError
from voicewright.jobs.fit_material import STOPPED, corpus_of, one_voice, takes_of
from voicewright.jobs.fit_start import beginning

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from voicewright.voices.consent import Rights
    from voicewright.voices.fit import Fitted, Settings
    from voicewright.voices.fit_ears import Ears, Heard
    from voicewright.voices.known import Portrait
    from voicewright.voices.pack import Voicepack
    from voicewright.voices.references import Reference, Take
    from voicewright.voices.studio import Line, Studio

    Samples = NDArray[np.float32]

SOUND = ("fitting sound", "weighing")
"""The stages in which a stopped fit leaves a voice."""
_HELD = 0.2
"""Share of the clips by which the result is judged, where there are enough of them."""
_ALIGNERS = 3
_CHECKED = 16
"""Clips whose texts are compared with what is said, more if one is wrong."""


@dataclass(frozen=True)
class Result:
    """What a fit made. `figures`: of recordings, start and voice; `best`, `share`: after how many crops, and
    how much of their way is kept (voices/fit.py); `notes`: what was left out, why."""

    voice: Path
    model: str
    heard_seconds: float
    clips: int
    start: dict[str, float]
    start_prosody: dict[str, float]
    figures: dict[str, Heard]
    best: int
    share: float
    steps: list[dict[str, float]]
    seconds: dict[str, float]
    notes: list[str]


@dataclass(frozen=True)
class FitOptions:
    """What a fit is asked for; fields are the command's options."""

    model: str = "kokoro"
    voices: Path | None = None
    language: str | None = None
    consent: str | None = None
    licence: str | None = None
    statement: Path | None = None
    recogniser: str = "auto"
    settings: Settings | None = None


def fit(
    source: Path,
    out: Path,
    options: FitOptions | None = None,
    *,
    progress: Callable[..., None],
    cancelled: Callable[[], bool] | None = None,
) -> Result:
    """Fit a voice to recordings (a file, a folder, or a prepared corpus); write the pack and its card.

    Raises UsageError for what is asked wrongly and VoicewrightError for recordings that do not serve, before
    anything is written. `cancelled`: asked between crops; the best voice by then is written.
    """
    from voicewright.catalogue.places import resolve_model
    from voicewright.voices.consent import Rights
    from voicewright.voices.importing import make_ready
    from voicewright.voices.studio import Studio

    options = options or FitOptions()
    check(source, out, options)
    progress = stoppable(progress, cancelled, STOPPED)
    make_ready(options.model, progress)
    resolve_model(options.model)  # before the recordings are gone through
    watch = _Watch()
    with tempfile.TemporaryDirectory(prefix="voicewright-fit-") as folder:
        corpus, notes = corpus_of(source, Path(folder), options.language, options.recogniser, progress)
        watch("preparing")
        studio = Studio(options.model, options.voices, progress)
        takes = takes_of(corpus, studio)
        band = min(item.measurements.bandwidth_hz for item in corpus.utterances)
        spoken = corpus.meta.language
        texts = [item.text for item in corpus.utterances]
        agreed, licensed = (
            given or known or "not stated"
            for given, known in (
                (options.consent, corpus.meta.consent),
                (options.licence, corpus.meta.licence),
            )
        )
    for said in notes:
        progress(said)
    return _Fitting(studio, takes, spoken, texts, options.recogniser, watch, progress).run(
        out,
        options.model,
        min(0.97 * band, 12_000.0),
        options.settings,
        cancelled,
        notes,
        Rights(agreed, licensed, options.statement),
    )


def check(source: Path, out: Path, options: FitOptions) -> None:
    """Raise UsageError for what can be seen to be asked wrongly before anything is opened."""
    from voicewright.corpus.manifest import META
    from voicewright.voices.consent import opened
    from voicewright.voices.files import SUFFIXES

    if out.suffix not in SUFFIXES:
        raise UsageError(f"{out} names no voicepack: end it in {', '.join(SUFFIXES)}.")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {out.absolute().parent}; make it first.")
    if not source.exists():
        raise UsageError(f"there are no recordings at {source}; name a file or a folder.")
    if options.voices is not None and not options.voices.exists():
        raise UsageError(
            f"there are no voices at {options.voices}; name a folder of voicepacks, or a file of several."
        )
    if options.language is not None and (source / META).is_file():
        raise UsageError(f"{source} is prepared and says itself what is spoken: leave --language out.")
    for path in (out, out.with_suffix(".json")):
        _writable(path)
        if path.is_dir():
            raise UsageError(f"{path} is a folder; name a file in it.")
    _own_card(out)
    if options.statement is not None:
        opened(options.statement)


def _writable(path: Path) -> None:
    """Raise VoicewrightError where no file of that name can be made: said before the work and not after."""
    from voicewright.storage import destination, refused, temporary_beside

    probe = temporary_beside(destination(path))
    try:
        probe.touch()
        with contextlib.suppress(FileNotFoundError):
            path.lstat()  # the probe's name is never too long, its own may be
    except OSError as error:
        raise refused(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            probe.unlink(missing_ok=True)


def _own_card(out: Path) -> None:
    """Raise UsageError where another file than a voice's card has the name that the card would get."""
    path = out.with_suffix(".json")
    if not path.exists():
        return
    try:
        known = json.loads(path.read_text("utf-8")).get("kind") == "voicepack"
    except (OSError, ValueError, AttributeError):
        known = False
    if not known:
        raise UsageError(f"{path}, where the voice's card would go, is another file; choose another name.")


class _Watch:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.monotonic()

    def __call__(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = round(now - self._last, 1)
        self._last = now


def stoppable(
    progress: Callable[..., None], cancelled: Callable[[], bool] | None, why: str
) -> Callable[..., None]:
    """Progress that ends the work with `why` when it is asked to, as long as there is no voice that
    could be kept."""

    def told(message: str, *numbers: float) -> None:
        if cancelled is not None and cancelled() and message not in SOUND:
            raise Interrupted(why)
        progress(message, *numbers)

    return told


class _Fitting:
    """One fit, once everything is read in."""

    def __init__(
        self,
        studio: Studio,
        takes: list[Take],
        language: str,
        texts: list[str],
        recogniser: str,
        watch: _Watch,
        progress: Callable[..., None],
    ) -> None:
        from voicewright.voices.fit_ears import open_encoders

        self._studio, self._watch, self._progress = studio, watch, progress
        self._encoders = open_encoders(progress)
        self._recogniser, self._language, self._texts = recogniser, language, texts
        takes, self.notes = one_voice(takes, self._encoders.surest)
        for said in self.notes:
            progress(said)
        self._takes = takes
        held = max(1, round(_HELD * len(takes))) if len(takes) >= 4 else 0
        every = max(1, len(takes) // held) if held else 0
        self._held = [take for number, take in enumerate(takes) if held and number % every == every - 1]
        ids = {take.id for take in self._held}
        self._fitted = [take for take in takes if take.id not in ids]

    def run(
        self,
        out: Path,
        model: str,
        top: float,
        settings: Settings | None,
        cancelled: Callable[[], bool] | None,
        notes: list[str],
        rights: Rights,
    ) -> Result:
        from voicewright.voices.fit import fit as run
        from voicewright.voices.fit_ears import steers
        from voicewright.voices.phones import listen_to_texts

        own = [take.samples for take in self._takes]
        card = rights.card(own, self._encoders.surest, self._language, self._progress)
        wanted, known = self._portraits()
        self._watch("known voices")
        references, refused = self._references(wanted, known)
        acoustic, prosodic, start = beginning(
            self._studio,
            self._encoders,
            wanted,
            known,
            references,
            [take.samples for take in self._fitted],
            self._progress,
        )
        for said in refused:
            self._progress(said)
        says, references, others = listen_to_texts(
            self._studio.net, references, start, self._studio.precision, _CHECKED, self._progress
        )
        notes = [*notes, *self.notes, *refused, *others]
        self._watch("aligning")
        ears = self._ears()
        figures = {"recordings": ears.hear_clips([take.samples for take in self._held or self._takes])}
        figures["start"] = ears.begin_with(start)
        fitted = run(
            self._studio.net,
            references,
            start,
            top,
            steers(self._encoders, [take.samples for take in self._fitted]),
            says,
            ears.check,
            ears.weigh,
            settings,
            self._studio.precision,
            self._progress,
            cancelled,
        )
        self._watch("fitting")
        figures["fitted"] = ears.hear(fitted.pack)
        result = Result(
            out,
            model,
            sum(len(take.samples) for take in self._takes) / 24_000,
            len(self._takes),
            acoustic,
            prosodic,
            figures,
            fitted.best,
            fitted.share,
            [asdict(step) for step in fitted.steps],
            self._watch.seconds,
            notes,
        )
        _write(out, fitted, self._studio, result, card)
        return result

    def _portraits(self) -> tuple[Portrait, dict[str, Portrait]]:
        from voicewright.voices.known import portrait, portraits

        studio = self._studio
        lines = studio.lines(_sentences()[:3], "en-us")

        def speak(pack: Voicepack) -> tuple[list[Samples], list[int]]:
            return studio.clips(pack, lines), [line.tokens.shape[1] - 2 for line in lines]

        surest = self._encoders.surest
        known = portraits(studio.packs, speak, surest, studio.portraits, studio.sha256, self._progress)
        wanted = portrait(
            [take.samples for take in self._fitted],
            [len(take.tokens) - 2 for take in self._fitted],
            surest,
        )
        return wanted, known

    def _references(self, wanted: Portrait, known: dict[str, Portrait]) -> tuple[list[Reference], list[str]]:
        from voicewright.audio.mel import LogMel
        from voicewright.voices.known import nearest
        from voicewright.voices.references import aligned, calibrate

        studio = self._studio
        names = nearest(wanted, known, _ALIGNERS)
        lines = studio.lines(_sentences()[:2], "en-us")
        spoken = [studio.render(line.tokens, studio.packs[name]) for name in names for line in lines]
        scale = calibrate(spoken, LogMel("styletts2"))
        found, refused = aligned(
            self._fitted, studio.render, {name: studio.packs[name] for name in names}, scale, self._progress
        )
        if not found:
            raise VoicewrightError(
                "no clip is long enough to fit to; record sentences of two seconds and more."
            )
        return found, refused

    def _ears(self) -> Ears:
        from voicewright.listen.recogniser import choose
        from voicewright.voices.fit_ears import Ears, likeness

        own, held = ([take.samples for take in some] for some in (self._fitted, self._held))
        reporting = [likeness(encoder, own, held) for encoder in self._encoders.all()]
        stopping = next(one for one in reporting if one.encoder is self._encoders.surest)
        hears = None
        try:
            choice = choose(self._recogniser, self._language)
            if choice.kind == "whisper" or self._recogniser != "auto":
                hears = choice.ready().open()
            else:
                self._progress(f"Words are not heard while fitting: {choice.shown} is too weak for it.")
        except VoicewrightError as error:
            if self._recogniser != "auto":
                raise
            self._progress(f"Words are not heard while fitting: {error}")
        return Ears(self._studio, stopping, reporting, hears, self._lines(), self._progress)

    def _lines(self) -> list[Line]:
        """What checks render: known sentences in English, else the shorter of the speaker's own texts."""
        if self._language.startswith("en"):
            return self._studio.lines(_sentences(), "en-us" if self._language == "en" else self._language)
        own = sorted((text for text in self._texts if len(text) > 25), key=len)[:8] or self._texts[:2]
        return self._studio.lines(own, self._language)


def _sentences() -> tuple[str, ...]:
    from voicewright.voices.studio import SENTENCES

    return SENTENCES


def _write(out: Path, fitted: Fitted, studio: Studio, result: Result, rights: dict[str, Any]) -> None:
    """The pack, and beside it its card."""
    from voicewright.storage import plain, write_atomically

    fitted.pack.write(out)
    card: dict[str, Any] = {
        "name": out.stem,
        "kind": "voicepack",
        "made": "voicewright fit",
        "model": studio.name,
        "model_sha256": studio.sha256,
        **rights,
        "heard_seconds": round(result.heard_seconds, 1),
        "seconds_of_work": result.seconds,
        "start": result.start,
        "start_prosody": result.start_prosody,
        "figures": {name: asdict(heard) for name, heard in result.figures.items()},
        "steps": result.steps,
        "best": result.best,
        "share": result.share,
    }
    text = json.dumps(plain(card), indent=1, ensure_ascii=False)
    write_atomically(out.with_suffix(".json"), text.encode())
