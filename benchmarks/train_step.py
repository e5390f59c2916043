"""Training throughput: our joint step beside StyleTTS 2's own finetune step, on one machine in one run.

    python benchmarks/train_step.py --styletts2 path/to/StyleTTS2 [--site folder] [--steps 3]
    python benchmarks/train_step.py --ours-only
    python benchmarks/train_step.py --tiny        # the small embedded model instead

Each contestant is a process of its own, so that peak memory is its own too; they take turns, step by step.
What they share and what differs is in benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

HERE = Path(__file__).resolve().parent
FRAME_SECONDS = 0.025
UPSTREAM = "StyleTTS 2, fp32"
MATCHED = [[1024, 120], [2048, 240], [512, 50]]
"""(n_fft, hop) of StyleTTS 2's spectrogram discriminators."""
OURS: dict[str, dict[str, Any]] = {
    "ours, bf16": {"resolutions": MATCHED},
    "ours, fp32": {"resolutions": MATCHED, "precision": "fp32"},
    "ours, bf16, our spectrogram hops": {},
    "ours, bf16, one discriminator a step": {"per_step": 1},
}
Steps = Generator[dict[str, float], str, None]
TINY: dict[str, dict[str, Any]] = {
    "tiny acoustic, bf16": {"tiny": "acoustic"},
    "tiny acoustic, fp32": {"tiny": "acoustic", "precision": "fp32"},
}


# ── clips ───────────────────────────────────────────────────────────────────────────────────────────────


def make_clips(count: int, path: Path) -> str:
    """Write `count` clips of 3.5 to 5 s as one npz; returns a line that says what they are.

    Recordings come from VOICEWRIGHT_SPEECH when set. Phonemes are random at 14 a second with equal durations:
    the time of a step does not depend on which they are.
    """
    import torch

    from voicewright.audio.files import probe, read
    from voicewright.audio.mel import energy, log_mel
    from voicewright.audio.pitch import f0

    rng = np.random.default_rng(0)
    waves: list[Any] = []
    folder = os.environ.get("VOICEWRIGHT_SPEECH")
    if folder:
        for file in sorted(f for f in Path(folder).rglob("*") if f.suffix in {".wav", ".flac"}):
            if 3.5 <= (probe(file).seconds or 0.0) <= 5.0:
                waves.append(read(file))
            if len(waves) == count:
                break
    kind = (
        f"{count} recordings of 3.5 to 5 s"
        if len(waves) == count
        else f"{count} synthetic tones of 3.5 to 5 s"
    )
    for i in range(len(waves), count):
        pitch = np.repeat(rng.uniform(90, 250, 40), 24_000 * (14 + i % 6) // 160)
        phase = 2 * np.pi * np.cumsum(pitch) / 24_000
        waves.append(0.1 * np.sum([np.sin(k * phase) / k for k in range(1, 9)], axis=0))
    arrays: dict[str, Any] = {}
    for i, wave in enumerate(waves):
        frames = (len(wave) // 600) // 2 * 2
        wave = wave[: 600 * frames].astype(np.float32)
        mel = log_mel(torch.from_numpy(wave), "styletts2")[:, : 2 * frames]
        tokens = rng.integers(16, 120, int(frames * FRAME_SECONDS * 14))
        tokens[[0, -1]] = 0
        durations = np.diff(np.linspace(0, frames, len(tokens) + 1).round().astype(np.int64))
        values = {
            "samples": wave,
            "mel": mel.numpy(),
            "energy": energy(mel).numpy(),
            "f0": f0(wave)[: 2 * frames].astype(np.float32),
            "tokens": tokens.astype(np.int64),
            "durations": durations,
        }
        arrays |= {f"{i}|{key}": value for key, value in values.items()}
    np.savez(path, **arrays)
    return kind


def load_clips(path: Path) -> list[dict[str, Any]]:
    with np.load(path) as data:
        count = 1 + max(int(key.split("|")[0]) for key in data.files)
        keys = {key.split("|")[1] for key in data.files}
        return [{key: data[f"{i}|{key}"] for key in keys} for i in range(count)]


# ── our step ────────────────────────────────────────────────────────────────────────────────────────────


class Clock:
    """Wall time by part, forward and backward: identity nodes in the graph say whose turn it is."""

    def __init__(self) -> None:
        self.parts: dict[str, float] = {}
        self.label, self.mark = "rest", time.perf_counter()

    def switch(self, label: str) -> str:
        now, before = time.perf_counter(), self.label
        self.parts[before] = self.parts.get(before, 0.0) + now - self.mark
        self.label, self.mark = label, now
        return before

    def wrap(self, label: str, function: Callable[..., Any]) -> Callable[..., Any]:
        import torch
        from torch.utils._pytree import tree_map

        clock = self

        class Mark(torch.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Any, in_backward: str) -> Any:
                ctx.name = in_backward
                return x.view_as(x)

            @staticmethod
            def backward(ctx: Any, grad: Any) -> Any:
                clock.switch(ctx.name)
                return grad, None

        def stamped(tree: Any, in_backward: str) -> Any:
            def one(x: Any) -> Any:
                live = isinstance(x, torch.Tensor) and x.requires_grad and torch.is_grad_enabled()
                return Mark.apply(x, in_backward) if live and not x.is_leaf else x

            return tree_map(one, tree)

        def call(*args: Any, **kwargs: Any) -> Any:
            before = clock.switch(label)
            out = stamped(function(*stamped(args, "rest"), **kwargs), label)
            clock.switch(before)
            return out

        return call


@contextmanager
def watched(trainer: Any) -> Iterator[Clock]:
    """Attribute the time of the step run inside to its parts."""
    from torch import nn

    clock = Clock()
    nets = trainer.learners.networks
    decoder = nets.tts.decoder
    waveform = trainer.learners.discriminators["waveform"]
    spots = [
        (nets.styles.acoustic, "forward", "style encoders"),
        (nets.styles.prosodic, "forward", "style encoders"),
        (nets.tts, "encode_text", "front"),
        (decoder, "front", "front"),
        (decoder.generator, "forward", "generator"),
        (nets.tts, "encode_prosody", "prosody"),
        (nets.tts, "duration_logits", "prosody"),
        (nets.tts, "f0_energy", "prosody"),
        (trainer.task.spectral, "forward", "spectral losses"),
        (trainer, "_adversarial", "discriminators"),
        *((member, "forward", "discriminators") for member in waveform.members),
        (trainer, "_follow", "optimizer and EMA"),
        (trainer.learners.optimizer, "step", "optimizer and EMA"),
    ]
    patches = [
        mock.patch.object(owner, name, clock.wrap(label, getattr(owner, name)))
        for owner, name, label in spots
    ]
    clip = clock.wrap("optimizer and EMA", nn.utils.clip_grad_norm_)
    patches.append(mock.patch.object(nn.utils, "clip_grad_norm_", clip))
    for patch in patches:
        patch.start()
    try:
        yield clock
        clock.switch("rest")
    finally:
        for patch in patches:
            patch.stop()


def recipe_of(options: dict[str, Any], clips: int, window: int) -> Any:
    """The recipe of one contestant."""
    import yaml

    from voicewright.training.recipe import Recipe

    data: dict[str, Any]
    stage: dict[str, Any]
    if options.get("tiny"):
        path = HERE.parent / "recipes" / "tiny.yaml"
        data = yaml.safe_load(path.read_text("utf-8"))
        stage = {"stage": "acoustic", "losses": {"mel": 10, "stft": 5, "convergence": 2}}
    else:
        data = {"name": "benchmark", "model": {"voicewright": {"style_encoder": {}}}}
        losses = {"mel": 10, "stft": 5, "convergence": 2, "adversarial": 1, "features": 2}
        losses |= {"duration": 1, "duration_ce": 20, "f0": 1, "energy": 1}
        stage = {"stage": "joint", "losses": losses, "gan_start": 0, "gan_ramp": 1}
        sizes = {key: options[key] for key in ("resolutions", "per_step") if key in options}
        data["discriminators"] = sizes
    from voicewright.text.vocab import KOKORO

    data["model"]["vocab"] = dict(KOKORO)
    rate = {"learning_rate": 1e-4}
    crop = 80 if options.get("tiny") else window
    stage |= {"steps": 1000, "batch_frames": clips * crop, "crop": crop, "window": window, "optimizer": rate}
    if "gan_start" in stage:
        stage["discriminator"] = rate
    return Recipe.model_validate(data | {"precision": options.get("precision", "bf16"), "stages": [stage]})


def our_steps(options: dict[str, Any], clips: list[dict[str, Any]], window: int) -> Steps:
    """Run one step of the training loop each time the iterator is advanced; send "parts" for a breakdown."""
    import torch

    from voicewright.corpus.features import Features
    from voicewright.training.loop import Trainer
    from voicewright.training.speaking import Speaking
    from voicewright.training.stages import Networks

    recipe = recipe_of(options, len(clips), window)
    features = [
        Features(
            id=f"c{i}",
            speaker="one",
            tokens=clip["tokens"],
            durations=clip["durations"],
            confidence=1.0,
            f0=clip["f0"],
            energy=clip["energy"],
            mel=clip["mel"].astype(np.float16),
            samples=(clip["samples"] * 32767).astype(np.int16),
        )
        for i, clip in enumerate(clips)
    ]
    torch.manual_seed(0)
    networks = Networks(recipe.model)
    size = sum(p.numel() for p in networks.tts.parameters())
    print(f"trunk of {size:,} parameters", file=sys.stderr)
    trainer = Trainer(
        Speaking(recipe, networks, features, features),
        Path(tempfile.gettempdir()),
        torch.device("cpu"),
        fingerprint="",
        line=lambda text: print(text, file=sys.stderr),
    )
    trainer.enter_stage()
    sampler = trainer.sampler()

    def step() -> None:
        total, _ = trainer._losses(sampler.batch(trainer.counters.step), trainer.counters.step)
        trainer._update(total, trainer.counters.step)
        trainer._follow()
        trainer.counters.step += 1
        trainer.counters.total += 1

    order = yield {}
    while True:
        torch.manual_seed(trainer.counters.step)
        begin, cpu = time.perf_counter(), time.process_time()
        if order == "parts":
            with watched(trainer) as clock:
                step()
            order = yield {"seconds": time.perf_counter() - begin} | clock.parts
        else:
            step()
            order = yield {"seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu}


# ── processes ───────────────────────────────────────────────────────────────────────────────────────────


def peak_gib() -> float:
    """This process's high-water mark, GiB (Linux)."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**20
    return float("nan")


def work(options: dict[str, Any]) -> None:
    """A contestant: answer every line of standard input with one step's measurements."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # whatever upstream prints must not mix with the answers
    import torch

    torch.set_num_threads(options["threads"])
    clips = load_clips(Path(options["clips"]))
    steps: Steps
    if options.get("styletts2"):
        sys.path.insert(0, str(HERE))
        from styletts2_step import upstream_steps

        steps = upstream_steps(Path(options["styletts2"]), clips, options["window"])
    else:
        steps = our_steps(options, clips, options["window"])
    next(steps)
    print("{}", file=answers)
    libc = ctypes.CDLL(None)
    for line in sys.stdin:
        print(json.dumps(steps.send(line.strip()) | {"peak": peak_gib()}), file=answers)
        if hasattr(libc, "malloc_trim"):
            libc.malloc_trim(0)  # the others need the memory while this one waits


class Contestant:
    def __init__(self, name: str, options: dict[str, Any], log: Path, site: Path | None) -> None:
        self.name, self.peak = name, 0.0
        self.seconds: list[float] = []
        self.cpu: list[float] = []
        paths = [str(HERE.parent), *([str(site)] if site else []), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {
            "OMP_NUM_THREADS": str(options["threads"]),
            "PYTHONPATH": os.pathsep.join(p for p in paths if p),
        }
        command = [sys.executable, str(Path(__file__).resolve()), "--work", json.dumps(options)]
        self.log = log
        with log.open("w") as sink:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=sink,
                text=True,
                env=environment,
            )
        self._answer()

    def _answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} stopped:\n" + self.log.read_text()[-3000:])
        answer: dict[str, float] = json.loads(line)
        return answer

    def step(self, order: str = "step") -> dict[str, float]:
        assert self.process.stdin is not None
        self.process.stdin.write(order + "\n")
        self.process.stdin.flush()
        answer = self._answer()
        self.peak = max(self.peak, answer["peak"])
        return answer

    def close(self) -> None:
        self.process.kill()
        self.process.wait()


# ── the run ─────────────────────────────────────────────────────────────────────────────────────────────


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--styletts2", type=Path, help="a checkout of StyleTTS 2")
    parser.add_argument("--site", type=Path, help="a folder with the packages munch, einops and einops-exts")
    parser.add_argument("--ours-only", action="store_true")
    parser.add_argument(
        "--tiny", action="store_true", help="measure the small model's acoustic stage instead"
    )
    parser.add_argument("--only", help="of our rows, those that match this regular expression")
    parser.add_argument("--steps", type=int, default=3, help="measured steps of each, after --warmup")
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--batch", type=int, help="clips a step (2; 8 with --tiny)")
    parser.add_argument("--window", type=int, help="25 ms frames generated of each clip (80; 32 with --tiny)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parts", action="store_true", help="add a breakdown of our steps")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    return parser.parse_args()


def table(runs: list[Contestant], audio: float) -> list[dict[str, Any]]:
    """Print medians; the ratios are StyleTTS 2's seconds by ours, on the wall and of CPU time."""
    rows = []
    base = next((run for run in runs if run.name == UPSTREAM), None)
    heads = ("s/step", "min", "max", "CPU s", "audio-s/s", "ratio", "CPU ratio", "peak GiB")
    print(f"\n{'':38}" + "".join(f"{head:>10}" for head in heads))
    for run in runs:
        middle, cpu = statistics.median(run.seconds), statistics.median(run.cpu)
        ratios = (
            (statistics.median(base.seconds) / middle, statistics.median(base.cpu) / cpu) if base else None
        )
        figures = [middle, min(run.seconds), max(run.seconds), cpu, audio / middle]
        figures += [*(ratios or (float("nan"),) * 2), run.peak]
        print(f"{run.name:38}" + "".join(f"{figure:10.2f}" for figure in figures))
        row = {"name": run.name, "seconds": run.seconds, "cpu_seconds": run.cpu, "peak_gib": run.peak}
        rows.append(row | {"audio_seconds_per_second": audio / middle, "ratio": ratios})
    return rows


def main() -> None:
    args = parse()
    if args.work:
        work(json.loads(args.work))
        return
    upstream = not (args.ours_only or args.tiny)
    if upstream and (args.styletts2 is None or not (args.styletts2 / "train_finetune.py").is_file()):
        raise SystemExit(
            "StyleTTS 2 was not found: give --styletts2 the path of a checkout that holds train_finetune.py, "
            "or measure our side alone with --ours-only."
        )
    batch, window = args.batch or (8 if args.tiny else 2), args.window or (32 if args.tiny else 80)
    audio = batch * window * FRAME_SECONDS
    field = {
        name: o
        for name, o in (TINY if args.tiny else OURS).items()
        if not args.only or re.search(args.only, name)
    }
    runs: list[Contestant] = []
    with tempfile.TemporaryDirectory() as folder:
        clips = Path(folder) / "clips.npz"
        kind = make_clips(batch, clips)
        each = window * FRAME_SECONDS
        print(f"{kind}; {batch} clips a step, {each:g} s generated of each; {args.threads} threads")
        common = {"clips": str(clips), "window": window, "threads": args.threads}
        if upstream:
            field = {UPSTREAM: {"styletts2": str(args.styletts2.resolve())}} | field
        try:
            for i, (name, options) in enumerate(field.items()):
                runs.append(Contestant(name, common | options, Path(folder) / f"{i}.log", args.site))
            for turn in range(args.warmup + args.steps):
                for run in runs:
                    answer = run.step()
                    seconds = answer["seconds"]
                    if turn >= args.warmup:
                        run.seconds.append(seconds)
                        run.cpu.append(answer["cpu"])
                    print(
                        f"  {'warm-up' if turn < args.warmup else 'step'} {run.name}: {seconds:.2f} s",
                        flush=True,
                    )
            parts = (
                {run.name: run.step("parts") for run in runs if run.name != UPSTREAM} if args.parts else {}
            )
        finally:
            for run in runs:
                run.close()
    rows = table(runs, audio)
    for name, found in parts.items():
        whole = found.pop("seconds")
        found.pop("peak")
        print(f"\n{name}: one step of {whole:.2f} s, forward and backward together")
        for part, seconds in sorted(found.items(), key=lambda item: -item[1]):
            print(f"  {part:20} {seconds:7.2f} s {100 * seconds / whole:5.1f} %")
    if args.json:
        args.json.write_text(json.dumps({"rows": rows, "parts": parts}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
