"""The front door for Python: what `import voicewright` gives, over the same jobs that the commands call."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voicewright.engines.protocol import Engine, SpeakOptions, Speech, spoken
from voicewright.engines.protocol import Voice as VoiceName

if TYPE_CHECKING:
    from voicewright.conversion.protocol import ConvertOptions
    from voicewright.engines.styles import StyleSampling
    from voicewright.jobs.clone import Cloned, CloneOptions
    from voicewright.jobs.convert import Done
    from voicewright.jobs.fit import FitOptions, Result
    from voicewright.judging.result import Judgement
    from voicewright.stopping import Cancel


class Voice:
    """A voice that speaks; `load` makes one."""

    def __init__(self, engine: Engine, voice: VoiceName | None = None) -> None:
        self.engine, self.voice = engine, voice

    @property
    def names(self) -> tuple[str, ...]:
        """The voices of the model."""
        return self.engine.voices

    @property
    def sample_rate(self) -> int:
        """Samples a second of what it says."""
        return self.engine.sample_rate

    def say(
        self,
        text: str,
        *,
        speed: float = 1.0,
        seed: int = 0,
        language: str | None = None,
        markup: bool = True,
        cancel: Cancel | None = None,
    ) -> Speech:
        """The whole text at once: mono float32 samples within ±1, with the times of words; `.save(path)`.

        speed: 0.25 to 4. seed: same seed, same samples. language: the voice's own when not given.
        Raises UsageError, VoicewrightError; Cancelled when `cancel` says so.
        """
        options = SpeakOptions(self.voice, speed, seed, language, markup)
        return spoken(self.engine, text, options, cancel)

    def stream(
        self,
        text: str,
        *,
        speed: float = 1.0,
        seed: int = 0,
        language: str | None = None,
        markup: bool = True,
        cancel: Cancel | None = None,
    ) -> Iterator[Speech]:
        """The same piece by piece, the first one early; concatenated, the pieces are free of clicks."""
        return self.engine.parts(text, SpeakOptions(self.voice, speed, seed, language, markup, True), cancel)

    def __repr__(self) -> str:
        return f"Voice({self.engine.name!r}, {self.voice or self.engine.default_voice!s})"


def load(
    model: str | Path | None = None,
    voice: str | Path | None = None,
    *,
    adapters: Sequence[str | Path] = (),
    lexicon: Path | None = None,
    styles: StyleSampling | None = None,
) -> Voice:
    """Open a model (a name such as `kokoro` or `tiny`, a folder, a run, a weights or ONNX file) and one of
    its voices (a name, a mix as `a(2)+b(1)`, a voicepack file).

    adapters: folders of `train adapt`, upon the model. lexicon: pronunciations of your own. styles: how the
    model's style diffusion draws them (`voicewright.engines.styles.StyleSampling`); None: the voicepack's.
    Raises UsageError for what is not there, VoicewrightError for what cannot be opened.
    """
    from voicewright.engines.mixing import words_to_mix
    from voicewright.engines.open import open_engine

    engine = open_engine(model, lexicon, adapters=adapters, styles=styles)
    if isinstance(voice, str):
        return Voice(engine, words_to_mix(voice, engine.model_path, engine.name))
    return Voice(engine, voice)  # a path is a file, whatever signs are in its name


def convert(
    recordings: str | Path | Sequence[str | Path],
    output: str | Path,
    to: str | Path = "tiny",
    *,
    index: Path | None = None,
    embedder: str | None = None,
    device: str = "cpu",
    options: ConvertOptions | None = None,
) -> list[Done]:
    """Convert recordings (files or folders) into the voice `to`: the same words, in a file or a folder.

    options: pitch, formants and the rest; the command's defaults when not given. What fails among several is
    told on standard error and left out of the result. Raises UsageError, VoicewrightError, Cancelled.
    """
    from voicewright.conversion.protocol import ConvertOptions
    from voicewright.jobs.convert import ConvertOrder, convert_all, plan

    given = [recordings] if isinstance(recordings, str | Path) else list(recordings)
    order = ConvertOrder(tuple(map(Path, given)), str(to), str(output), index, embedder, device)
    work, folders = plan(order)
    return convert_all(order, options or ConvertOptions(), work, folders)[0]


def judge(
    model: str | Path | None,
    corpus: str | Path,
    output: str | Path,
    *,
    voice: str | Path | None = None,
    ids: str | None = None,
    most: int | None = None,
    seed: int = 0,
    recogniser: str = "auto",
    copies: bool | None = None,
    implementation: str = "auto",
) -> Judgement:
    """Judge a model beside the recordings of a prepared corpus; the page and its JSON go to `output`.

    ids: a regular expression of utterances; most: at most so many, evenly spread. copies: copy-synthesis too;
    None where the engine can. The rest as of the command. Raises UsageError, VoicewrightError.
    """
    from voicewright.jobs.judge import run_judgement

    return run_judgement(
        None if model is None else str(model),
        Path(corpus),
        Path(output),
        voice=voice,
        ids=ids,
        most=most,
        seed=seed,
        recogniser=recogniser,
        copies=copies,
        implementation=implementation,
    )


def clone(
    recordings: str | Path,
    output: str | Path,
    *,
    model: str = "kokoro",
    consent: str | None = None,
    licence: str | None = None,
    options: CloneOptions | None = None,
    progress: Callable[..., None] | None = None,
) -> Cloned:
    """A voicepack from recordings of one person (a file, a folder) in a moment, by style encoders.

    options: all that the command takes, in place of the three above. progress: called with what is being
    said; standard error when not given. Raises UsageError, VoicewrightError for recordings that do not serve.
    """
    from voicewright.jobs.clone import CloneOptions
    from voicewright.jobs.clone import clone as run
    from voicewright.progress import Progress

    asked = options or CloneOptions(model, consent, licence)
    shown = Progress()
    try:
        return run(Path(recordings), Path(output), asked, progress=progress or shown)
    finally:
        shown.close()


def fit(
    recordings: str | Path,
    output: str | Path,
    *,
    model: str = "kokoro",
    consent: str | None = None,
    licence: str | None = None,
    language: str | None = None,
    options: FitOptions | None = None,
    progress: Callable[..., None] | None = None,
) -> Result:
    """Fit a voicepack for a model to recordings (a file, a folder, a prepared corpus), and write its card.

    options: all that the command takes, in place of the four above. progress: called with what is being done;
    standard error when not given. Raises UsageError, VoicewrightError for recordings that do not serve.
    """
    from voicewright.jobs.fit import FitOptions
    from voicewright.jobs.fit import fit as run
    from voicewright.progress import Progress

    asked = options or FitOptions(model, language=language, consent=consent, licence=licence)
    shown = Progress()
    try:
        return run(Path(recordings), Path(output), asked, progress=progress or shown)
    finally:
        shown.close()
