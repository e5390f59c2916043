"""How fast `say` is: real-time factor, time to first audio, start-up, peak memory.

    python benchmarks/say.py [--model FOLDER] [--repetitions 5] [--json]

Each figure is the median over repetitions in which the measurements take turns, so that a disturbance of the
machine touches all of them alike. Texts are cut from one passage so that they last about 2, 6 and 20 s.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PASSAGE = (
    "The ferry left at seven in the morning. On deck, a man in a grey coat was reading yesterday's paper, "
    "and two children counted the gulls. Nobody spoke. The engine hummed, the harbour grew smaller, and the "
    "first light touched the roofs of the town. By nine we had passed the lighthouse; by ten the sea was "
    "rough enough to keep everybody inside. The captain, who had sailed this way for thirty years, said that "
    "it would be calm again before noon, and he was right."
)
LENGTHS = (2.0, 6.0, 20.0)


def text_lasting(engine, seconds: float) -> str:  # type: ignore[no-untyped-def]
    """The passage's beginning whose speech comes nearest to `seconds`, cut between words."""
    words = PASSAGE.split()
    spoken = engine.speak(PASSAGE)
    ends = [word.end for chunk in spoken.chunks for word in chunk.words]
    best = min(range(len(ends)), key=lambda number: abs(ends[number] - seconds))
    return " ".join(words[: max(1, min(best + 1, len(words)))])


def once(engine, text: str) -> tuple[float, float, float]:  # type: ignore[no-untyped-def]
    """Seconds of speech, wall seconds for all of it, wall seconds until the first chunk of a stream."""
    began = time.perf_counter()
    speech = engine.speak(text)
    whole = time.perf_counter() - began
    began = time.perf_counter()
    next(iter(engine.stream(text)))
    return speech.seconds, whole, time.perf_counter() - began


def start_up(model: str | None, folder: Path) -> tuple[float, float, float]:
    """Wall seconds of `voicewright say`, of `voicewright --help`, and the former's peak memory in MB."""
    program = [sys.executable, "-m", "voicewright"]
    say = [
        *program,
        "say",
        "Hello there.",
        "-o",
        str(folder / "a.wav"),
        *(["--model", model] if model else []),
    ]
    began = time.perf_counter()
    with subprocess.Popen(say, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            assert process.stderr is not None
            sys.exit(process.stderr.read().decode())
    whole = time.perf_counter() - began
    began = time.perf_counter()
    subprocess.run([*program, "--help"], check=True, capture_output=True)
    return whole, time.perf_counter() - began, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="model folder or training run; the embedded model when not given")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    import torch

    from voicewright.engines.torch_engine import TorchEngine
    from voicewright.model.checkpoint import load_model

    began = time.perf_counter()
    engine = TorchEngine(options.model)
    loading = time.perf_counter() - began
    texts = {seconds: text_lasting(engine, seconds) for seconds in LENGTHS}
    for text in texts.values():
        once(engine, text)
    speech: dict[float, list[tuple[float, float, float]]] = {seconds: [] for seconds in LENGTHS}
    starts: list[tuple[float, float, float]] = []
    with tempfile.TemporaryDirectory() as name:
        for _ in range(options.repetitions):
            for seconds, text in texts.items():
                speech[seconds].append(once(engine, text))
            starts.append(start_up(options.model, Path(name)))

    def median(values: list[tuple[float, float, float]], index: int) -> float:
        return statistics.median(value[index] for value in values)

    result = {
        "model": engine.name,
        "parameters": sum(v.numel() for v in load_model(engine.model_path)[0].fold().state_dict().values()),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "repetitions": options.repetitions,
        "lengths": [
            {
                "audio_seconds": round(median(speech[seconds], 0), 2),
                "wall_seconds": round(median(speech[seconds], 1), 4),
                "real_time_factor": round(
                    statistics.median(wall / audio for audio, wall, _ in speech[seconds]), 4
                ),
                "first_audio_seconds": round(median(speech[seconds], 2), 4),
            }
            for seconds in LENGTHS
        ],
        "load_seconds": round(loading, 3),
        "say_process_seconds": round(median(starts, 0), 3),
        "say_process_peak_mb": round(median(starts, 2), 1),
        "help_process_seconds": round(median(starts, 1), 3),
        "this_process_peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }
    if options.json:
        print(json.dumps(result))
        return
    print(
        f"{result['model']}: {result['parameters'] / 1e6:.2f} M parameters, torch {result['torch']}, ", end=""
    )
    print(f"{result['threads']} threads, {result['cpu']}, medians of {options.repetitions}")
    print(f"{'speech':>8} {'wall':>8} {'RTF':>7} {'first audio':>12}")
    for row in result["lengths"]:
        print(
            f"{row['audio_seconds']:7.2f}s {row['wall_seconds']:7.3f}s {row['real_time_factor']:7.4f} "
            f"{row['first_audio_seconds']:11.3f}s"
        )
    print(f"voicewright say (process, a greeting): {result['say_process_seconds']:.2f} s, ", end="")
    print(f"peak {result['say_process_peak_mb']:.0f} MB; --help {result['help_process_seconds']:.2f} s")
    print(f"20 s in one process: peak {result['this_process_peak_mb']:.0f} MB")


if __name__ == "__main__":
    main()
