"""How fast the parts of a conversion are on a CPU, beside RVC-WebUI's own modules.

    python benchmarks/convert.py --upstream path/to/Retrieval-based-Voice-Conversion-WebUI
    python benchmarks/convert.py --ours-only

--upstream is a checkout of RVC-WebUI (branch 20240604 or main), whose modules are imported from there.
Weights are random, of full size. Each contestant is a process of its own; they take turns, one call at a
time, so that a busy machine slows all alike. Wall and processor time (which a busy machine disturbs less) are
medians after a warm-up call. Ratios are within the run.

A part is a function of `PARTS`: it is given the contestant and the options, and returns a function that
processes so many seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
UPSTREAM, PLAIN, FAST = "upstream", "plain", "fast"
CONTESTANTS = (UPSTREAM, PLAIN, FAST)
"""`plain` are our modules as training has them, `fast` what conversion uses."""
Work = Callable[[float], Any]


def synthesizer(contestant: str, options: argparse.Namespace) -> Work:
    """Content features, pitch and a speaker → samples: the whole `infer`."""
    import torch

    from voicewright.rvc.network.config import RVC_PRESETS
    from voicewright.rvc.network.fast import FastSynthesizer
    from voicewright.rvc.network.synthesizer import Synthesizer

    config = RVC_PRESETS[options.version, options.rate]
    torch.manual_seed(0)
    if contestant == UPSTREAM:
        models = _upstream(options, ("infer.lib.infer_pack.models", "infer.module.models"))
        name = f"SynthesizerTrnMs{config.phone_width}NSFsid"
        net = getattr(models, name)(*config.to_list(), is_half=False).eval()
        del net.enc_q
    else:
        net = Synthesizer(config, posterior=False).eval()
        if contestant == FAST:
            net = FastSynthesizer(net)

    def work(seconds: float) -> Any:
        frames = round(seconds * 100)
        rng = torch.Generator().manual_seed(frames)
        phone = torch.randn(1, frames, config.phone_width, generator=rng)
        f0 = 100 + 200 * torch.rand(1, frames, generator=rng)
        given = phone, torch.tensor([frames]), (f0 / 4).long(), f0, torch.tensor([0])
        samples = net.infer(*given)
        return samples[0] if contestant == UPSTREAM else samples

    return work


def content(contestant: str, options: argparse.Namespace) -> Work:
    """Samples → content features; upstream's HuBERT is transformers' one."""
    import torch

    from voicewright.model.precision import choose
    from voicewright.rvc.content.hubert import ContentConfig, ContentEncoder, expected_shapes

    if contestant == UPSTREAM:
        from transformers import HubertConfig, HubertModel

        theirs = HubertModel(HubertConfig()).eval()
        return lambda seconds: theirs(_sound(seconds)[None], output_hidden_states=options.version == "v1")
    rng = torch.Generator().manual_seed(0)
    config = ContentConfig()
    weights = {name: 0.02 * torch.randn(s, generator=rng) for name, s in expected_shapes(config).items()}
    kind = choose(options.precision) if contestant == FAST else torch.float32
    ours = ContentEncoder(config, weights, kind)
    return lambda seconds: ours.encode(_sound(seconds)[None], options.version)


def pitch(contestant: str, options: argparse.Namespace) -> Work:
    """Samples → F0 by RMVPE."""
    sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "benchmarks")]
    import content as beside
    import rmvpe_reference

    from voicewright.model.pitch.rmvpe import from_state

    state = rmvpe_reference.state()
    if contestant != UPSTREAM:
        ours = from_state(state, options.precision if contestant == FAST else "fp32")
        return lambda seconds: ours.f0(_sound(seconds))
    whole = beside.upstream_rmvpe(options.upstream, state)
    return lambda seconds: whole.infer_from_audio(_sound(seconds), 0.03)


def _sound(seconds: float) -> Any:
    import torch

    rng = torch.Generator().manual_seed(1)
    return 0.1 * torch.randn(round(seconds * 16_000), generator=rng).clamp(-4, 4)


PARTS: dict[str, Callable[[str, argparse.Namespace], Work]] = {
    "synthesizer": synthesizer,
    "content": content,
    "pitch": pitch,
}


def _upstream(options: argparse.Namespace, names: tuple[str, ...]) -> Any:
    """The first of these modules that the checkout has."""
    import importlib

    sys.path.insert(0, str(options.upstream))
    for name in names:
        if (options.upstream / f"{name.replace('.', '/')}.py").is_file():
            return importlib.import_module(name)
    sys.exit(f"{options.upstream} has none of {', '.join(names)}; give a checkout of RVC-WebUI.")


def serve(options: argparse.Namespace) -> None:
    """A contestant's process: part and seconds in on standard input, one line of JSON out for each."""
    import torch

    torch.set_num_threads(options.threads)
    made: dict[str, Work] = {}
    for line in sys.stdin:
        part, seconds = line.split()
        with torch.inference_mode():
            if part not in made:
                made[part] = PARTS[part](options.worker, options)
            wall, cpu = time.perf_counter(), time.process_time()
            made[part](float(seconds))
            found = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "peak": _peak()}
        print(json.dumps(found), flush=True)


def _peak() -> float:
    """MB of memory at most (Linux; elsewhere 0)."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(found[1]) / 1024 if found else 0.0


def measure(options: argparse.Namespace, contestants: list[str]) -> list[dict[str, Any]]:
    running: dict[str, subprocess.Popen[str]] = {}
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads), "PYTHONWARNINGS": "ignore"}

    def ask(name: str, line: str) -> dict[str, float]:
        process = running[name]
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(line + "\n")
        process.stdin.flush()
        while answer := process.stdout.readline():
            if answer.startswith("{"):
                found: dict[str, float] = json.loads(answer)
                return found
        sys.exit(f"The process of {name} ended; its message is above.")

    rows: list[dict[str, Any]] = []
    try:
        for name in contestants:
            command = [sys.executable, __file__, "--worker", name, "--threads", str(options.threads)]
            command += ["--version", options.version, "--rate", options.rate]
            command += ["--precision", options.precision]
            command += ["--upstream", str(options.upstream)] if options.upstream else []
            running[name] = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
        for part in options.parts:
            for seconds in options.lengths:
                taken: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
                for turn in range(options.repetitions + 1):
                    for name in contestants:
                        found = ask(name, f"{part} {seconds}")
                        if turn:  # the first is the warm-up
                            taken[name].append(found)
                for name, times in taken.items():
                    row = {key: statistics.median(t[key] for t in times) for key in times[0]}
                    rows.append({"part": part, "seconds": seconds, "contestant": name, **row})
    finally:
        for process in running.values():
            if process.stdin is not None:
                process.stdin.close()
            process.wait()
    return rows


def totals(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What all parts cost together, by length and contestant."""
    groups: dict[tuple[float, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["seconds"], row["contestant"]), []).append(row)
    return [
        {
            "part": "all",
            "seconds": seconds,
            "contestant": name,
            "wall": sum(row["wall"] for row in same),
            "cpu": sum(row["cpu"] for row in same),
            "peak": max(row["peak"] for row in same),
        }
        for (seconds, name), same in groups.items()
    ]


def report(rows: list[dict[str, Any]], options: argparse.Namespace) -> None:
    print(f"{options.version} at {options.rate}, {options.threads} threads, precision {options.precision}")
    print("| part | audio | contestant | s per s | CPU s per s | × upstream | × upstream, CPU | peak MB |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        same = [other for other in rows if (other["part"], other["seconds"]) == (row["part"], row["seconds"])]
        theirs = next((other for other in same if other["contestant"] == UPSTREAM), None)
        ratios = (
            ["–", "–"] if theirs is None else [f"{theirs[key] / row[key]:.2f}" for key in ("wall", "cpu")]
        )
        cost = [f"{row[key] / row['seconds']:.3f}" for key in ("wall", "cpu")]
        cells = [
            row["part"],
            f"{row['seconds']:g} s",
            row["contestant"],
            *cost,
            *ratios,
            f"{row['peak']:.0f}",
        ]
        print("| " + " | ".join(cells) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--upstream", type=Path, help="checkout of RVC-WebUI")
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--lengths", type=float, nargs="+", default=[1.0, 3.0, 10.0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--version", choices=["v1", "v2"], default="v2")
    parser.add_argument("--rate", choices=["24k", "32k", "40k", "48k"], default="40k")
    parser.add_argument(
        "--precision", choices=["auto", "fp32", "bf16"], default="auto", help="of fast networks"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if options.worker:
        serve(options)
        return
    if options.upstream is None and not options.ours_only:
        parser.error("give --upstream, a checkout of RVC-WebUI, or --ours-only")
    contestants = [name for name in CONTESTANTS if name != UPSTREAM or options.upstream]
    rows = measure(options, contestants)
    if len(options.parts) > 1:
        rows += totals(rows)
    if options.json:
        print(json.dumps({"options": {"threads": options.threads}, "rows": rows}))
    else:
        report(rows, options)


if __name__ == "__main__":
    main()
