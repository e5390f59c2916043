"""What converting costs on top of speaking: speech alone against speech → another voice.

    python benchmarks/chain.py [--repetitions 3] [--chains rvc embedded] [--methods harvest] [--threads 1]
    [--json]

The embedded voice speaks a passage of three sentences; the chains are (a) the embedded converter and (b) an
RVC v2 40k of full size with random weights, HuBERT-base, and a pitch method (networks take what they take
whatever their weights are). Each row is a process of its own, so that its peak of memory is its own, and rows
take turns. Time to first audio is that of a stream, from a loaded engine; the real-time factor is of the
whole stream.
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

from rvc_random import write_rvc

TEXT = (
    "Good morning, everybody. The ferry left at seven, and the harbour grew smaller behind us. By nine we "
    "had passed the lighthouse, and the sea was rough enough to keep everybody inside."
)


def measure(chain: str, method: str, folder: Path, model: str) -> dict[str, float]:
    """One row, in this process."""
    from voicewright.conversion.open import open_converter
    from voicewright.conversion.protocol import ConvertOptions
    from voicewright.engines.speak_as import CHUNKS, ThroughEngine
    from voicewright.engines.torch_engine import TorchEngine

    began = time.perf_counter()
    engine: TorchEngine | ThroughEngine = TorchEngine()
    if chain != "alone":
        embedded = chain == "embedded"
        to = model if embedded else folder / "singer.pth"
        converter = open_converter(to, embedder=None if embedded else folder / "content")
        options = ConvertOptions(method="auto" if embedded else method, chunks=CHUNKS)
        engine = ThroughEngine(engine, converter, options)
    loaded = time.perf_counter() - began
    for _ in engine.stream("One two three."):
        pass
    began, used = time.perf_counter(), time.process_time()
    first = first_used = seconds = lasts = 0.0
    for part in engine.stream(TEXT):
        seconds += part.seconds
        if not first:
            first, first_used = time.perf_counter() - began, time.process_time() - used
            lasts = part.seconds
    wall, used = time.perf_counter() - began, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "load": loaded,
        "first": first,
        "first_cpu": first_used,
        "first_seconds": lasts,
        "rtf": wall / seconds,
        "cpu": used / seconds,
        "peak": peak,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--chains", nargs="+", default=["embedded", "rvc"], choices=["embedded", "rvc"])
    parser.add_argument("--methods", nargs="+", default=["harvest"], help="of pitch, for rvc")
    parser.add_argument("--to", default="tiny", help="model that the embedded converter converts into")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--row", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.row:
        print(json.dumps(measure(arguments.row[0], arguments.row[1], Path(arguments.row[2]), arguments.to)))
        return
    rows = [("alone", "-")]
    rows += [("embedded", "-")] * ("embedded" in arguments.chains)
    rows += [("rvc", method) for method in arguments.methods if "rvc" in arguments.chains]
    found: dict[tuple[str, str], list[dict[str, float]]] = {row: [] for row in rows}
    environment = {**os.environ, "OMP_NUM_THREADS": str(arguments.threads)}
    with tempfile.TemporaryDirectory() as folder:
        if "rvc" in arguments.chains:
            write_rvc(Path(folder))
        for _ in range(arguments.repetitions):
            for row in rows:
                words = [sys.executable, __file__, "--to", arguments.to, "--row", *row, folder]
                done = subprocess.run(words, env=environment, capture_output=True, text=True)
                if done.returncode:
                    sys.exit(done.stderr)
                found[row].append(json.loads(done.stdout))
    table = {
        " ".join(row).removesuffix(" -"): {
            key: statistics.median(one[key] for one in taken) for key in taken[0]
        }
        for row, taken in found.items()
    }
    if arguments.json:
        print(json.dumps(table))
        return
    print(
        "| chain | load, s | first audio, s | its CPU, s | it lasts, s | real-time factor | CPU s per s "
        "| peak, MB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, row in table.items():
        print(
            f"| {name} | {row['load']:.1f} | {row['first']:.2f} | {row['first_cpu']:.2f} "
            f"| {row['first_seconds']:.2f} | {row['rtf']:.2f} | {row['cpu']:.2f} | {row['peak']:.0f} |"
        )


if __name__ == "__main__":
    main()
