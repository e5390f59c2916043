"""How fast the graph speaks on a CPU, beside the `kokoro` package and onnxruntime.

    python benchmarks/speak.py [--lengths 2 6 20] [--repetitions 5] [--threads 2] [--engines ...] [--json]
    python benchmarks/speak.py --tiny

Full width, random weights, the same ones for every engine, whose duration head says two frames for every
token: all engines do the same work. Each engine is a process of its own; they take turns, one utterance at a
time, so that a busy machine slows all alike. `windows` speaks piece by piece in a voice that was
warmed, `unwarmed` in one that was not, `batch` as many utterances of 2 s at once; `half` and `half-…`
keep their weights as fp16 (as `say --weights half` does). Wall time and processor
time (which a busy machine disturbs less) are medians after a warm-up of each length. `bound`: the graph's
55.9 GFLOP for a second of audio, done as plain sums at the rate of this machine's own fp32 matrix product,
measured by the first engine in the same turns.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
GFLOP = 55.9
"""Per second of audio at full width (counted once over every layer)."""
ENGINES = ("kokoro", "onnxruntime", "eager", "fast", "windows", "unwarmed", "batch", "exact", "torch", "bf16",
           "half", "half-windows", "half-unwarmed")  # fmt: skip
DEFAULT = ("kokoro", "onnxruntime", "eager", "fast", "windows")
FRAMES_A_TOKEN = 2


def write_model(folder: Path) -> None:
    """model.safetensors, config.json and kokoro.pth of one random full-width graph."""
    import torch

    from voicewright.model.checkpoint import export_kokoro, save_model
    from voicewright.model.config import ModelConfig
    from voicewright.model.tts.model import TTSModel

    torch.manual_seed(0)
    model = TTSModel(ModelConfig(vocab={})).eval()
    with torch.no_grad():
        head = model.predictor.duration_proj.linear_layer
        head.weight.zero_()
        head.bias.fill_(float(torch.tensor(FRAMES_A_TOKEN / model.config.max_dur).logit()))
        model.predictor.F0_proj.bias.fill_(120.0)
    save_model(folder, model, model.config)
    export_kokoro(model, folder / "kokoro.pth")


def utterance(seconds: float, tiny: bool) -> tuple[Any, Any, Any]:
    """Tokens [1, T], style [1, 256], and durations for a model whose own head is not forced."""
    import torch

    count = round(seconds * 40 / FRAMES_A_TOKEN)
    rng = torch.Generator().manual_seed(count)
    tokens = torch.randint(1, 178, (1, count), generator=rng)
    tokens[0, 0] = tokens[0, -1] = 0
    durations = torch.full((1, count), FRAMES_A_TOKEN) if tiny else None
    return tokens, 0.2 * torch.randn(1, 256, generator=rng), durations


def export(folder: Path) -> None:
    """model.onnx: our graph with two frames a token; the duration head runs too, as an output."""
    import torch
    from torch import Tensor, nn
    from torch.nn import functional as F

    from voicewright.model.checkpoint import load_model
    from voicewright.model.layers import AdaIN1d

    def plain(self: AdaIN1d, x: Tensor, style: Tensor, mask: Tensor | None = None) -> Tensor:
        gamma, beta = self.fc(style)[:, :, None].chunk(2, dim=1)
        width = self.fc.out_features // 2
        ones, zeros = torch.ones(width), torch.zeros(width)  # so that the exporter knows the channels
        return (1 + gamma) * F.instance_norm(x, weight=ones, bias=zeros, eps=self.eps) + beta

    AdaIN1d.forward = plain  # type: ignore[method-assign]
    norm = F.layer_norm

    def constant(x: Tensor, shape: tuple[int, ...], *rest: Any, **named: Any) -> Tensor:
        return norm(
            x, tuple(int(size) for size in shape), *rest, **named
        )  # widths, while tracing, are tensors

    F.layer_norm = constant

    def repeated(x: Tensor, count: int, dim: int) -> Tensor:
        sizes = [-1] * (x.dim() + 1)
        sizes[dim + 1] = count
        return x.unsqueeze(dim + 1).expand(sizes).flatten(dim, dim + 1)

    Tensor.repeat_interleave = repeated  # type: ignore[method-assign, assignment]
    model = load_model(folder)[0].float().eval().fold()

    class Graph(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, tokens: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
            acoustic, prosodic = style[:, :128], style[:, 128:]
            d = self.model.encode_prosody(tokens, None, prosodic)
            durations = torch.sigmoid(self.model.duration_logits(d)).sum(2)

            def twice(x: Tensor) -> Tensor:
                return x[:, :, :, None].expand(-1, -1, -1, FRAMES_A_TOKEN).flatten(2)

            f0, energy = self.model.f0_energy(twice(d.transpose(1, 2)), prosodic)
            asr = twice(self.model.encode_text(tokens))
            return self.model.decoder(asr, f0, energy, acoustic), durations

    tokens, style, _ = utterance(2.0, False)
    with torch.inference_mode():
        torch.onnx.export(
            Graph(),
            (tokens, style),
            str(folder / "model.onnx"),
            input_names=["tokens", "style"],
            output_names=["audio", "durations"],
            dynamic_axes={"tokens": {1: "length"}},
            opset_version=17,
            dynamo=False,
        )


def speaker(
    engine: str, folder: Path, tiny: bool, threads: int
) -> Callable[[Any, Any, Any], tuple[int, float, float]]:
    """A function that speaks: → samples, and the seconds until the first of them were there, by the clock
    and of the processor."""
    import torch

    torch.set_num_threads(threads)

    def timed(make: Callable[[], Any]) -> tuple[int, float, float]:
        with torch.inference_mode():
            wall, busy, audio = _clock(make)
        return int(audio.shape[-1]), wall, busy

    if engine == "kokoro":
        sys.path.insert(0, str(ROOT / "tests" / "support"))
        import kokoro_oracle

        from voicewright.model.config import ModelConfig

        theirs = kokoro_oracle.build(ModelConfig(vocab={}), folder, folder / "kokoro.pth")
        return lambda tokens, style, _: timed(lambda: theirs.forward_with_tokens(tokens, style, 1.0)[0])
    if engine == "onnxruntime":
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(
            str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        return lambda tokens, style, _: timed(
            lambda: session.run(None, {"tokens": tokens.numpy(), "style": style.numpy()})[0]
        )
    from voicewright.catalogue.places import resolve_model
    from voicewright.model.checkpoint import load_model

    stored, engine = ("half", engine[5:] or "fast") if engine.startswith("half") else ("full", engine)
    if stored == "half":
        from voicewright.engines.memory import return_at_once

        return_at_once()
    model = load_model(resolve_model(None) if tiny else folder, styles=False, halves=stored == "half")[0]
    if engine == "eager":
        say = model.float().fold().speak
        return lambda tokens, style, given: timed(lambda: say(tokens, style, durations=given).audio)
    from voicewright.model.fast.choice import choose
    from voicewright.model.fast.library import return_memory
    from voicewright.model.fast.model import FastModel, Request

    kind = "auto" if engine in ("fast", "windows", "unwarmed", "batch") else engine
    fast = FastModel(model, choose(kind, stored), consume=True)
    del model
    return_memory()
    if engine == "batch":
        tokens, style, given = utterance(2.0, tiny)

        def together(whole: Any, *_: Any) -> Any:
            count = round(whole.shape[1] / tokens.shape[1])
            spoken = fast.speak_batch([Request(tokens, style, durations=given)] * count)
            return torch.cat([one.audio for one in spoken])

        return lambda *given: timed(lambda: together(*given))
    if engine in ("windows", "unwarmed"):
        warm = fast.listen(*utterance(4.0, tiny)[:2]) if engine == "windows" else None

        def windowed(tokens: Any, style: Any, given: Any) -> tuple[int, float, float]:
            carried = None if warm is None else warm.copy()
            pieces: list[Any] = []

            def begin() -> int:
                pieces.append(fast.speak_windows(tokens, style, durations=given, carried=carried)[1])
                return len(next(pieces[0]))

            wall, busy, samples = _clock(begin)
            return samples + sum(len(piece) for piece in pieces[0]), wall, busy

        return windowed
    return lambda tokens, style, given: timed(lambda: fast.speak(tokens, style, durations=given).audio)


def work(engine: str, folder: Path, tiny: bool, threads: int) -> None:
    """An engine's process: seconds of audio in on standard input, one line of JSON out for each."""
    import torch

    began = time.perf_counter()
    speak = speaker(engine, folder, tiny, threads)
    load = time.perf_counter() - began
    a = torch.randn(1024, 1024)
    for line in sys.stdin:
        word, seconds = line.split()
        if word == "peak":
            best = min(_clock(lambda: torch.mm(a, a))[0] for _ in range(20))
            print(json.dumps({"gflops": 2 * 1.024**3 / best}), flush=True)
            continue
        given = utterance(float(seconds), tiny)
        wall, cpu, (samples, first, busy) = _clock(lambda given=given: speak(*given))
        assert samples == round(float(seconds) * 24000), (samples, seconds)
        now, peak = _resident()
        found = {
            "wall": wall,
            "cpu": cpu,
            "first": first,
            "busy": busy,
            "peak": peak,
            "now": now,
            "load": load,
        }
        print(json.dumps(found), flush=True)


def _resident() -> tuple[float, float]:
    """MB in memory now and at most (Linux; elsewhere 0). The peak has loading in it, where weights are held
    twice.

    Not ru_maxrss: that begins with the size of the process that started this one.
    """
    status = Path("/proc/self/status")
    text = status.read_text() if status.is_file() else ""
    found = {key: int(value) / 1024 for key, value in re.findall(r"(VmRSS|VmHWM):\s+(\d+) kB", text)}
    return found.get("VmRSS", 0.0), found.get("VmHWM", 0.0)


def _clock(call: Callable[[], Any]) -> tuple[float, float, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    result = call()
    return time.perf_counter() - wall, time.process_time() - cpu, result


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    running: dict[str, subprocess.Popen[str]] = {}
    environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}

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

    results: dict[str, Any] = {"threads": options.threads, "rows": [], "gflops": []}
    try:
        for name in options.engines:
            command = [sys.executable, __file__, "--worker", name, "--folder", str(folder)]
            command += ["--threads", str(options.threads)] + ["--tiny"] * options.tiny
            running[name] = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
        for seconds in options.lengths:
            for name in options.engines:
                ask(name, f"speak {seconds}")
            taken: dict[str, list[dict[str, float]]] = {name: [] for name in options.engines}
            for _ in range(options.repetitions):
                results["gflops"].append(ask(options.engines[0], "peak 0")["gflops"])
                for name in options.engines:
                    found = ask(name, f"speak {seconds}")
                    taken[name].append(found)
                    line = f"{name} {seconds:g} s: wall {found['wall']:.3f} s, processor {found['cpu']:.3f} s"
                    print(line, file=sys.stderr, flush=True)
            for name, rows in taken.items():
                row = {key: statistics.median(r[key] for r in rows) for key in rows[0]}
                results["rows"].append({"engine": name, "seconds": seconds, **row})
    finally:
        for process in running.values():
            if process.stdin is not None:
                process.stdin.close()
            process.wait()
    results["gflops"] = max(results["gflops"])
    return results


def report(results: dict[str, Any], tiny: bool) -> None:
    bound = GFLOP / results["gflops"]
    print(f"{results['threads']} threads, fp32 matrix product {results['gflops']:.0f} GFLOP/s", end="")
    print("" if tiny else f", bound of plain sums RTF {bound:.3f}")
    print(
        "| speech | engine | RTF | CPU s per s | × kokoro | × onnxruntime | × eager | × bound "
        "| first audio ms (of processor) | MB, peak |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    rows = results["rows"]
    for row in rows:
        same = {other["engine"]: other for other in rows if other["seconds"] == row["seconds"]}

        def ratio(name: str, row: Any = row, same: Any = same) -> str:
            if name not in same:
                return "–"
            return f"{same[name]['wall'] / row['wall']:.2f} ({same[name]['cpu'] / row['cpu']:.2f})"

        factor = row["wall"] / row["seconds"]
        print(
            f"| {row['seconds']:g} s | {row['engine']} | {factor:.3f} | {row['cpu'] / row['seconds']:.3f} | "
            f"{ratio('kokoro')} | {ratio('onnxruntime')} | {ratio('eager')} | "
            f"{'–' if tiny else f'{factor / bound:.2f}'} | "
            f"{1000 * row['first']:.0f} ({1000 * row['busy']:.0f}) | {row['now']:.0f}, {row['peak']:.0f} |"
        )
    print("Ratios: wall time, in brackets processor time; above 1 this row is the faster.")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--lengths", type=float, nargs="+", default=[2.0, 6.0, 20.0])
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--engines", nargs="+", choices=ENGINES)
    parser.add_argument("--tiny", action="store_true", help="the embedded model instead of full width")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    if options.worker == "export":
        return export(options.folder)
    if options.worker:
        return work(options.worker, options.folder, options.tiny, options.threads)
    options.engines = options.engines or (("eager", "fast", "windows") if options.tiny else DEFAULT)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not options.tiny:
            write_model(folder)
        if "onnxruntime" in options.engines:
            command = [sys.executable, __file__, "--worker", "export", "--folder", name]
            subprocess.run(command, check=True, capture_output=True)
        results = measure(options, folder)
    if options.json:
        print(json.dumps(results))
    else:
        report(results, options.tiny)


if __name__ == "__main__":
    main()
