"""Kokoro's own weights in every engine that can be had: time, first audio, process start, memory.

    python benchmarks/race.py prepare --assets FOLDER
    python benchmarks/race.py run --assets FOLDER [--engines NAME …] [--repetitions 3] [--json FILE]
    python benchmarks/race.py start --assets FOLDER [--before CHECKOUT]
    python benchmarks/race.py say --assets FOLDER --out CLIPS  clips for race_ears.py

`prepare` makes what the others need of our folder. All engines get the same phonemes (of our front end) and
the same voice. Each works in a process of its own, and they take turns, so that what else the machine does
meets all alike; processor seconds and ratios are what a busy machine leaves to compare. An engine that is not
installed is left out with a sentence.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from race_engines import ENGINES, RATE, Said, kept_out, opened, tokens_of

ROOT = Path(__file__).parents[1]
TEXTS = {
    2: "Please come in and sit down here.",
    6: "The wind had dropped, and the sea lay flat as glass. Nobody spoke for a while, and nobody moved.",
    20: (
        "The wind had dropped, and the sea lay flat as glass. Nobody spoke for a while, and nobody moved. "
        "Then somebody at the back of the boat began to sing, very quietly, an old song that all of them "
        "knew, and one after another they joined in. When the sun went down behind the hills, they were "
        "still singing."
    ),
}
"""By about how many seconds they last."""


def worker(name: str, assets: Path, threads: int) -> None:
    """An engine's process: a request on each line of standard input, one JSON object out for each."""
    began = time.perf_counter()
    speak = opened(name, assets, threads)
    loading = time.perf_counter() - began
    for line in sys.stdin:
        request = json.loads(line)
        wall, busy = time.perf_counter(), time.process_time()
        said: Said = speak(request["ids"], request["phonemes"])
        wall, busy = time.perf_counter() - wall, time.process_time() - busy
        if where := request.get("file"):
            import numpy as np

            np.save(where, said.samples)
        found = {
            "wall": wall,
            "cpu": busy,
            "first": said.first,
            "seconds": len(said.samples) / RATE,
            "peak": peak(),
            "load": loading,
        }
        print(json.dumps(found), flush=True)


def peak() -> float:
    """MB resident at most (Linux; elsewhere 0)."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


class Running:
    """An engine's process."""

    def __init__(self, name: str, assets: Path, threads: int) -> None:
        line = [sys.executable, __file__, "worker", "--engine", name, "--assets", str(assets)]
        line += ["--threads", str(threads)]
        self.began = time.perf_counter()
        self._process = subprocess.Popen(
            line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment(threads)
        )

    def ask(self, request: dict[str, Any]) -> dict[str, float] | None:
        """None where the process has ended; its message is above."""
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        while answer := self._process.stdout.readline():
            if answer.startswith("{"):
                found: dict[str, float] = json.loads(answer)
                return found
        return None

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def environment(threads: int) -> dict[str, str]:
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    waiting = {"OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"), "OPENBLAS_NUM_THREADS": "1"}
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": str(threads), **waiting}


def run(options: argparse.Namespace) -> None:
    requests = {length: tokens_of(options.assets, TEXTS[length]) for length in options.lengths}
    running: dict[str, Running] = {}
    taken: dict[tuple[str, int], list[dict[str, float]]] = {}
    peaks: dict[str, float] = {}
    for name in options.engines:
        running[name] = Running(name, options.assets, options.threads)
        if running[name].ask(tokens_of(options.assets, TEXTS[2])) is None:
            print(f"{name}: {kept_out(name)}", file=sys.stderr)
            running.pop(name).end()
    for length, request in requests.items():
        if options.repetitions > 1:
            for engine in running.values():
                engine.ask(request)
        for _ in range(options.repetitions):
            for name, engine in running.items():
                found = engine.ask(request)
                assert found is not None
                taken.setdefault((name, length), []).append(found)
                print(f"{name} {length} s: {found}", file=sys.stderr, flush=True)
        for name in running:
            peaks[f"{name} {length}"] = max(one["peak"] for one in taken[name, length])
    for engine in running.values():
        engine.end()
    rows = []
    for (name, length), found_all in taken.items():
        middle = {key: statistics.median(one[key] for one in found_all) for key in found_all[0]}
        rows.append({"engine": name, "length": length, **middle, "peak": peaks[f"{name} {length}"]})
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1))
    print("| speech | engine | real-time factor | processor s per s | × ours (processor) | first, ms | MB |")
    print("|---" * 7 + "|")
    for row in rows:
        ours = next((one for one in rows if (one["engine"], one["length"]) == ("ours", row["length"])), row)
        factor, busy = row["wall"] / row["seconds"], row["cpu"] / row["seconds"]
        wall, cpu = factor * ours["seconds"] / ours["wall"], busy * ours["seconds"] / ours["cpu"]
        told = f"| {row['seconds']:.1f} s | {row['engine']} | {factor:.3f} | {busy:.3f} | {wall:.2f}"
        print(f"{told} ({cpu:.2f}) | {1000 * row['first']:.0f} | {row['peak']:.0f} |")


def start(options: argparse.Namespace) -> None:
    """Seconds from starting a process to its first samples, by turns: `say` down a pipe here and in another
    checkout, and the other engines' processes as above."""
    lines = {"ours": ROOT} | ({"before": options.before} if options.before else {})
    text = TEXTS[options.length]
    taken: dict[str, list[tuple[float, float, float]]] = {}
    request = tokens_of(options.assets, text)
    for number in range(options.repetitions + 1):  # the first round packs and fills caches
        for name, root in lines.items():
            found = first_bytes(root, text, options)
            if number:
                taken.setdefault(name, []).append(found)
        for name in options.engines:
            if name in ("ours", "ours in windows"):
                continue
            before = os.times()
            engine = Running(name, options.assets, options.threads)
            answer = engine.ask(request)
            whole = time.perf_counter() - engine.began
            engine.end()
            if answer is not None and number:
                after = os.times()
                spent = after.children_user + after.children_system
                spent -= before.children_user + before.children_system
                first = whole - answer["wall"] + answer["first"]
                taken.setdefault(name, []).append((first, spent, answer["peak"]))
    print("| engine | start to first samples, s | processor s of the whole process | peak, MB |")
    print("|---|---|---|---|")
    for name, rows in taken.items():
        first, busy, most = (statistics.median(row[i] for row in rows) for i in range(3))
        print(f"| {name} | {first:.2f} | {busy:.2f} | {most:.0f} |", flush=True)


def first_bytes(root: Path, text: str, options: argparse.Namespace) -> tuple[float, float, float]:
    """Seconds to the first sample of a checkout's `say`, its processor seconds, its peak in MB."""
    line = [sys.executable, "-m", "voicewright", "say", text, "--model", "kokoro", "-o", "-"]
    line += ["--voice", options.voice, "--language", "en-us"]
    named = environment(options.threads) | {"PYTHONPATH": str(root)}
    for own in ("OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS"):
        named.pop(own, None)
    began = time.perf_counter()
    process = subprocess.Popen(line, stdout=subprocess.PIPE, env=named)
    assert process.stdout is not None
    process.stdout.read(44 + 2)
    first = time.perf_counter() - began
    process.stdout.read()
    _, _, used = os.wait4(process.pid, 0)
    process.returncode = 0
    return first, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def say(options: argparse.Namespace) -> None:
    """Every engine's clips of the test sentences, for the ears."""
    sentences = (ROOT / "benchmarks/data/race.txt").read_text().splitlines()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.engines:
        engine = Running(name, options.assets, options.threads)
        for number, text in enumerate(sentences):
            where = options.out / f"{name.replace(' ', '_')}-{number:02}.npy"
            if engine.ask(tokens_of(options.assets, text) | {"file": str(where)}) is None:
                print(f"{name}: {kept_out(name)}", file=sys.stderr)
                break
        engine.end()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("prepare", "run", "start", "say", "worker"))
    parser.add_argument("--assets", type=Path, required=True)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--lengths", type=int, nargs="+", choices=TEXTS, default=list(TEXTS))
    parser.add_argument("--length", type=int, choices=TEXTS, default=6, help="of `start`")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--voice", default="jf_alpha")
    parser.add_argument("--before", type=Path, help="another checkout, beside ours")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--out", type=Path, default=Path("clips"))
    options = parser.parse_args()
    if options.what == "worker":
        return worker(options.engine, options.assets, options.threads)
    if options.what == "prepare":
        from race_engines import prepare

        return prepare(options.assets, options.voice)
    {"run": run, "start": start, "say": say}[options.what](options)


if __name__ == "__main__":
    main()
