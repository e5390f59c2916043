"""Speaking beside busy processes: threads that wait by sleeping against threads that wait by spinning.

    python benchmarks/busy.py [--model tiny] [--voice NAME] [--busy 0 3] [--rounds 2]

Each `say` is a process of its own. `--busy N` keeps N further processes at work the whole time. "spinning" is
what OpenMP does unasked (GOMP_SPINCOUNT 300000), "sleeping" what `voicewright` asks of it (OMP_WAIT_POLICY).
Printed: seconds from start to end of the process and of speaking alone, the best of the rounds, in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

TEXT = "The wind had dropped, and the sea lay flat as glass. Nobody spoke for a while."
WAYS = {"spinning": {"GOMP_SPINCOUNT": "300000"}, "sleeping": {"OMP_WAIT_POLICY": "PASSIVE"}}


def _burn() -> None:
    while True:
        pass


@contextlib.contextmanager
def busy(count: int) -> Iterator[None]:
    """So many processes that do nothing but compute."""
    workers = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(count)]
    for worker in workers:
        worker.start()
    try:
        yield
    finally:
        for worker in workers:
            worker.kill()
            worker.join()


def say(model: str, voice: str | None, variables: dict[str, str], folder: Path) -> tuple[float, float, float]:
    """Wall seconds of the process, of speaking, and seconds of speech."""
    line = [
        sys.executable,
        "-m",
        "voicewright",
        "say",
        TEXT,
        "--model",
        model,
        "-o",
        str(folder / "x.wav"),
        "--json",
    ]
    line += ["--voice", voice] if voice else []
    environment = {
        key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    }
    began = time.perf_counter()
    done = subprocess.run(line, capture_output=True, text=True, check=True, env=environment | variables)
    told = json.loads(done.stdout)
    return time.perf_counter() - began, told["wall_seconds"], told["audio_seconds"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--voice")
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 3])
    parser.add_argument("--rounds", type=int, default=2)
    given = parser.parse_args()
    print("| busy processes | threads that wait | process, s | speaking, s | of speech, s |")
    print("|---" * 5 + "|")
    with tempfile.TemporaryDirectory() as name:
        for count in given.busy:
            found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
            with busy(count):
                for _ in range(given.rounds):
                    for way, variables in WAYS.items():
                        found[way].append(say(given.model, given.voice, variables, Path(name)))
            for way, runs in found.items():
                whole, spoken, speech = (min(run[at] for run in runs) for at in range(3))
                print(f"| {count} | {way} | {whole:.2f} | {spoken:.2f} | {speech:.2f} |", flush=True)


if __name__ == "__main__":
    main()
