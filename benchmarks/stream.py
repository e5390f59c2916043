"""Streams: memory for long texts, time to first audio, start-up.

    python benchmarks/stream.py memory [--characters 6000 60000]
    python benchmarks/stream.py first [--repetitions 9] [--full | --kokoro-onnx MODEL.onnx --voices FILE.bin]
    python benchmarks/stream.py start [--repetitions 7] [--against CHECKOUT]

`memory` lets `voicewright say` read texts of both lengths into a FLAC file with word times beside it, one
thread, each in a process of its own, and prints the peak of resident memory. `first` gives the time until the
first samples of a stream, by the length of the first clause; with an ONNX export of the same model, the same
for kokoro-onnx's `create_stream`, the two taking turns (it is given phonemes: reading costs it nothing).
`--full` makes all that it needs: Kokoro's graph at full width with random weights and the pace of speech, its
fp32 ONNX export and its voices; `--model FOLDER` is exported in the same way when no export is given. That
needs kokoro-onnx, onnx and onnxruntime, and 3 GB of memory. Both use --threads.
`start` runs `voicewright say "Hello there."` as a process, in turns with another checkout where one is given.
CPU time is what a busy machine disturbs least.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SENTENCES = (
    "The ferry left at seven in the morning, and on deck a man in a grey coat was reading yesterday's paper.",
    "Two children counted the gulls until there were too many of them.",
    "Nobody spoke; the engine hummed, the harbour grew smaller, and the first light touched the roofs.",
    "By nine we had passed the lighthouse, and by ten the sea was rough enough to keep everybody inside.",
    'The captain, who had sailed this way for thirty years, said: "It will be calm again before noon."',
    "Was he right? He was, as always.",
)
CLAUSES = (
    "Good morning, everybody who came so early.",
    "The ferry left at seven in the morning, before anybody in the town had even thought of getting up.",
)


def text_of(characters: int) -> str:
    """Our own sentences over and over, a paragraph of six each, numbered so that none repeats exactly."""
    out, size, number = [], 0, 0
    while size < characters:
        number += 1
        paragraph = f"Day {number}. " + " ".join(SENTENCES)
        out.append(paragraph)
        size += len(paragraph) + 2
    return "\n\n".join(out)[:characters].rsplit(". ", 1)[0] + "."


def run(program: list[str], root: Path = ROOT, threads: int = 1) -> tuple[float, float, float, str]:
    """Wall seconds, CPU seconds, peak MB and standard output of a process."""
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": str(threads)}
    began = time.perf_counter()
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            program, cwd=root, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            errors.seek(0)
            sys.exit(errors.read())
    wall = time.perf_counter() - began
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, output


def memory(options: argparse.Namespace) -> dict[str, Any]:
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for characters in options.characters:
            book, audio, times = (Path(name) / f for f in ("book.txt", "book.flac", "book.srt"))
            book.write_text(text_of(characters), "utf-8")
            say = [sys.executable, "-m", "voicewright", "say", "-f", str(book), "-o", str(audio)]
            say += ["--timestamps", str(times)] + (["--model", options.model] if options.model else [])
            say += ["--weights", options.weights]
            wall, cpu, peak, _ = run(say)
            import soundfile

            info = soundfile.info(audio)
            rows.append(
                {
                    "characters": characters,
                    "audio_seconds": round(info.frames / info.samplerate, 1),
                    "wall_seconds": round(wall, 1),
                    "cpu_seconds": round(cpu, 1),
                    "peak_mb": round(peak, 1),
                    "last_cue": times.read_text("utf-8").strip().splitlines()[-2],
                }
            )
            if not options.json:
                print(
                    f"{characters:7d} characters: {rows[-1]['audio_seconds']:7.1f} s of speech, "
                    f"{wall:7.1f} s wall, {cpu:6.1f} s CPU, peak {peak:.1f} MB; "
                    f"last cue {rows[-1]['last_cue']}",
                    flush=True,
                )
    return {"memory": rows}


def forced_durations(model: Any, frames: float = 3.0) -> None:
    """Every token lasts `frames` frames of 25 ms, as speech has it, whatever random weights would say."""
    import torch

    with torch.no_grad():
        layer = model.predictor.duration_proj.linear_layer
        share = frames / layer.out_features
        layer.weight.zero_()
        layer.bias.fill_(float(torch.logit(torch.tensor(share))))


def make_full(folder: Path) -> Path:
    """A model folder of Kokoro's graph at full width, random weights and forced durations."""
    from export import random_kokoro

    from voicewright.catalogue.places import read_card
    from voicewright.model.checkpoint import load_model, save_model

    random_kokoro(folder)
    model, config, _ = load_model(folder)
    forced_durations(model)
    save_model(folder, model, config, card=read_card(folder))
    return folder


def make_export(model: str | None, folder: Path) -> None:
    """The fp32 ONNX export of a model and its voices, made by a process of its own: tracing leaves memory."""
    program = [sys.executable, "-m", "voicewright", "export", model or "tiny", "-o", str(folder)]
    run(program)


def first(options: argparse.Namespace) -> dict[str, Any]:
    """Time to first audio; makes the model and the export that it lacks in a temporary folder."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        if options.full:
            options.model = str(make_full(work / "full"))
        if not options.kokoro_onnx and (options.full or options.model):
            make_export(options.model, work / "onnx")
            options.kokoro_onnx = str(work / "onnx" / "model.onnx")
            options.voices = str(work / "onnx" / "voices.bin")
        if options.voices and options.voice is None:
            import numpy as np

            with np.load(options.voices) as packs:
                options.voice = packs.files[0]
        return _first(options)


def _first(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from voicewright.engines.torch_engine import TorchEngine

    torch.set_num_threads(options.threads)
    engine = TorchEngine(options.model, implementation=options.implementation)
    other = _kokoro_onnx(options)
    voice = _voice_of(options) if options.voices else None
    rows = []
    for clause in CLAUSES:
        text = clause + " " + " ".join(SENTENCES)
        phonemes = engine.frontend("en-us").tokens(text).phonemes
        ours: list[float] = []
        theirs: list[float] = []
        for turn in range(options.repetitions + 1):
            began = time.perf_counter()
            part = next(engine.stream(text, voice))
            if turn:
                ours.append(time.perf_counter() - began)
            if other is not None:
                began = time.perf_counter()
                their_piece = asyncio.run(_first_of(other, phonemes, options.voice))
                if turn:
                    theirs.append(time.perf_counter() - began)
        row = {
            "first_clause": clause,
            "first_piece_seconds": round(part.seconds, 2),
            "their_first_piece_seconds": round(their_piece, 2) if theirs else None,
            "ours_seconds": round(statistics.median(ours), 4),
            "kokoro_onnx_seconds": round(statistics.median(theirs), 4) if theirs else None,
            "ratio": round(statistics.median(b / a for a, b in zip(ours, theirs, strict=True)), 2)
            if theirs
            else None,
        }
        rows.append(row)
        if not options.json:
            beside = (
                f"; kokoro-onnx {their_piece:.2f} s after {row['kokoro_onnx_seconds']:.3f} s "
                f"({row['ratio']} times)"
                if theirs
                else ""
            )
            print(f"first {part.seconds:.2f} s of speech after {row['ours_seconds']:.3f} s{beside}")
    if other is None and not options.json:
        print(f"kokoro-onnx: not measured ({_missing(options)})")
    return {"model": engine.name, "threads": options.threads, "first_audio": rows}


def _voice_of(options: argparse.Namespace) -> Any:
    """The voice that both sides speak with."""
    import numpy as np

    from voicewright.voices.pack import Voicepack

    with np.load(options.voices) as packs:
        return Voicepack.of(packs[options.voice], options.voices)


def _missing(options: argparse.Namespace) -> str:
    if importlib.util.find_spec("kokoro_onnx") is None:
        return "the package kokoro-onnx is not installed"
    return "no ONNX export was given with --kokoro-onnx and --voices"


def _kokoro_onnx(options: argparse.Namespace) -> Any:
    if importlib.util.find_spec("kokoro_onnx") is None or not (options.kokoro_onnx and options.voices):
        return None
    if importlib.util.find_spec("phonemizer") is None:
        # Its tokenizer imports it for text only; here it is given phonemes.
        for name in ("phonemizer", "backend", "espeak", "wrapper"):
            dotted = ["phonemizer", "backend", "espeak", "wrapper"]
            module = types.ModuleType(".".join(dotted[: dotted.index(name) + 1]))
            module.EspeakWrapper = types.SimpleNamespace(  # type: ignore[attr-defined]
                set_library=lambda path: None, set_data_path=lambda path: None
            )
            sys.modules[module.__name__] = module
    from kokoro_onnx import Kokoro

    from voicewright.engines.onnx_engine import open_session

    return Kokoro.from_session(open_session(Path(options.kokoro_onnx), options.threads), options.voices)


async def _first_of(kokoro: Any, phonemes: str, voice: str) -> float:
    """Seconds of its first piece."""
    async for samples, rate in kokoro.create_stream(phonemes, voice=voice, speed=1.0, is_phonemes=True):
        return float(len(samples) / rate)
    return 0.0


def start(options: argparse.Namespace) -> dict[str, Any]:
    roots = {"this": ROOT} | ({"against": Path(options.against).resolve()} if options.against else {})
    found: dict[str, list[tuple[float, float, float]]] = {name: [] for name in roots}
    with tempfile.TemporaryDirectory() as name:
        say = [
            sys.executable,
            "-m",
            "voicewright",
            "say",
            "Hello there.",
            "-o",
            str(Path(name) / "a.wav"),
        ]
        for turn in range(options.repetitions + 1):
            for label, root in roots.items():
                measured = run(say, root, options.threads)[:3]
                if turn:
                    found[label].append(measured)
    result = {
        label: {
            key: round(statistics.median(row[at] for row in rows), 3)
            for at, key in enumerate(("wall_seconds", "cpu_seconds", "peak_mb"))
        }
        for label, rows in found.items()
    }
    if not options.json:
        for label, row in result.items():
            wall, cpu, peak = row.values()
            print(f"{label}: {wall:.2f} s wall, {cpu:.2f} s CPU, {peak:.0f} MB")
        if options.against:
            ratios = [
                statistics.median(b[at] / a[at] for a, b in zip(found["this"], found["against"], strict=True))
                for at in (0, 1)
            ]
            print(
                f"the other checkout takes {ratios[0]:.2f} times the wall, {ratios[1]:.2f} times the CPU time"
            )
    return {"start": result}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("memory", "first", "start"))
    parser.add_argument("--model", help="model folder; the embedded model when not given")
    parser.add_argument("--full", action="store_true", help="for `first`: a random model of Kokoro's size")
    parser.add_argument("--weights", choices=("full", "half"), default="full", help="for `memory`")
    parser.add_argument("--characters", type=int, nargs="+", default=[6000, 60000])
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kokoro-onnx", help="ONNX export for kokoro-onnx, as large as --model")
    parser.add_argument("--voices", help="voices file (npz) that both sides read")
    parser.add_argument("--voice", help="a voice of that file; its first one when not given")
    parser.add_argument("--implementation", default="auto", help="of ours: auto, bf16, native, torch, …")
    parser.add_argument("--against", help="another checkout of this project, for `start`")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = {"memory": memory, "first": first, "start": start}[options.what](options)
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
