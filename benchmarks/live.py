"""Live conversion: what a block costs, which blocks are live, and how far live is from the whole recording.

    python benchmarks/live.py time [--voice singer.pth --content FOLDER] [--embedded NAME] [--threads 1]
    python benchmarks/live.py distance [--speech in.wav]

`time` converts blocks of noise and prints CPU seconds per block (which a busy machine disturbs least), wall
seconds, their parts, and whether a block takes less time than it lasts: on one thread as measured, on two
if both parts divided perfectly. Without --voice the synthesizer is RVC v2 at 40 kHz and the content model
HuBERT-base, both at full size with random weights: what they cost does not depend on the weights.
`distance` converts the same recording live and in one piece with the same random numbers and prints signal
to difference and the mean distance of log-mel spectra, beside that of two whole conversions with other
random numbers.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from voicewright.audio.files import read
from voicewright.conversion.block import BlockVoice, LiveOptions, whole
from voicewright.conversion.live import LiveConverter
from voicewright.errors import VoicewrightError
from voicewright.rvc.content.hubert import ContentConfig, ContentEncoder, expected_shapes
from voicewright.rvc.convert.live import RvcBlockVoice, RvcOpener
from voicewright.rvc.network.config import RVC_PRESETS
from voicewright.rvc.network.fast import FastSynthesizer
from voicewright.rvc.network.synthesizer import Synthesizer

RATE = 16_000


def random_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Weights that let signals through at a sensible size."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        if name.endswith(("gamma", "norm.weight")):
            state[name] = 1 + 0.1 * noise
        elif name.endswith("weight_g"):
            state[name] = 0.7 * (1 + 0.1 * noise.abs())
        elif name.endswith(("beta", "bias")):
            state[name] = 0.05 * noise
        else:
            state[name] = noise / math.sqrt(max(math.prod(shape[1:]), 1))
    return state


def full_size(seed: int = 0) -> RvcBlockVoice:
    config = RVC_PRESETS[("v2", "40k")]
    synthesizer = Synthesizer(config, posterior=False).eval().requires_grad_(False)
    shapes = {name: tuple(value.shape) for name, value in synthesizer.state_dict().items()}
    synthesizer.load_state_dict(random_weights(shapes))
    content = ContentEncoder(ContentConfig(), random_weights(dict(expected_shapes(ContentConfig()))))
    voice: Any = SimpleNamespace(config=config, synthesizer=FastSynthesizer(synthesizer), info={})
    return RvcBlockVoice(voice, content, name="random", seed=seed)


def beatrice(path: Path | None, seed: int = 0) -> BlockVoice:
    """A Beatrice 2 model; without one, the tests' random weights."""
    from voicewright.beatrice.live import BeatriceBlockVoice, open_beatrice_block

    if path is not None:
        return open_beatrice_block(path, seed)
    import sys

    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
    from beatrice_weights import trained

    from voicewright.beatrice.fold import fold

    return BeatriceBlockVoice(fold(*trained()), seed)


def one(voice: BlockVoice, options: LiveOptions, repeat: int) -> dict[str, float]:
    """Medians over blocks: CPU and wall seconds, and the parts' wall seconds."""
    converter = LiveConverter(voice, options, rate=RATE, clock=time.process_time)
    sound = np.random.default_rng(0).standard_normal(converter.block_samples).astype(np.float32) * 0.05
    rows = []
    for index in range(repeat + 1):
        began = time.perf_counter()
        converter.process(sound)
        row = {"cpu": converter.stats.last, "wall": time.perf_counter() - began}
        rows.append({**row, **getattr(voice, "times", {})})
        if index == 0:
            rows.clear()  # the first block warms up
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def times(arguments: argparse.Namespace) -> None:
    voices: list[tuple[str, BlockVoice, list[str]]] = []
    if not arguments.only_embedded and not arguments.only_beatrice:
        rvc = RvcOpener(arguments.content)(arguments.voice) if arguments.voice else full_size()
        voices.append(("RVC", rvc, arguments.methods))
    if arguments.embedded:
        from voicewright.conversion.own_live import OwnBlockVoice

        voices.append(("embedded", OwnBlockVoice(arguments.embedded), ["auto"]))
    if arguments.beatrice or arguments.only_beatrice:
        voices.append(("Beatrice", beatrice(arguments.beatrice), ["auto"]))
    print(
        "| voice | pitch | context s | block ms | CPU s | wall s | content, pitch, synthesizer "
        "| 1 thread | 2 at best |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name, voice, methods in voices:
        for method in methods:
            for context in arguments.contexts:
                for block in arguments.blocks:
                    options = LiveOptions(
                        block=block, context=context, method=method, pitch=0.0, index_rate=0.0, rms_mix=1.0
                    )
                    try:
                        cost = one(voice, options, arguments.repeat)
                    except VoicewrightError as error:
                        print(f"| {name} | {method} | – | – | {error} | | | | |")
                        break
                    share = cost["cpu"] / max(cost["wall"], 1e-9)
                    parts = ", ".join(
                        f"{share * cost.get(part, 0.0):.3f}" for part in ("content", "pitch", "synthesizer")
                    )
                    verdict = [
                        "live"
                        if cost["cpu"] / threads < 0.9 * block
                        else f"{cost['cpu'] / threads / block:.1f}×"
                        for threads in (1, 2)
                    ]
                    print(
                        f"| {name} | {method} | {context:g} | {1000 * block:.0f} | {cost['cpu']:.3f} "
                        f"| {cost['wall']:.3f} | {parts} | {verdict[0]} | {verdict[1]} |",
                        flush=True,
                    )


def log_mel(sound: np.ndarray, rate: int) -> torch.Tensor:
    """Log spectrum in 80 bands of equal width in mel, dB, above -80: [80, frames of 10 ms]."""
    window = torch.hann_window(1024)
    power = (
        torch.stft(torch.from_numpy(sound), 1024, rate // 100, window=window, return_complex=True).abs() ** 2
    )
    edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + rate / 1400), 81) / 2595) - 1)
    bins = np.clip(np.rint(edges * 1024 / rate).astype(int), 0, 512)
    bands = [power[a : max(b, a + 1)].mean(0) for a, b in pairwise(bins.tolist())]
    return 10 * torch.log10(torch.stack(bands).clamp_min(1e-8))


def apart(first: np.ndarray, second: np.ndarray, rate: int) -> str:
    count = min(len(first), len(second))
    first, second = first[:count], second[:count]
    ratio = 10 * np.log10(np.mean(second**2) / max(np.mean((first - second) ** 2), 1e-12))
    mel = (log_mel(first, rate) - log_mel(second, rate)).abs().mean()
    return f"{ratio:.1f} dB | {mel:.2f} dB"


def live(
    voice: BlockVoice, sound: np.ndarray, options: LiveOptions, after: float
) -> tuple[np.ndarray, float]:
    """The recording in live blocks from second `after` on, and by how many ms its joins wander (RMS)."""
    voice.reset()
    rate = voice.sample_rate
    converter = LiveConverter(voice, options, rate=RATE, output_rate=rate)
    step, pieces, joins = converter.block_samples, [], []
    for i in range(0, len(sound) - step, step):
        pieces.append(converter.process(sound[i : i + step]))
        joins.append(1000 * converter.join_offset)
    start = round((converter.delay + 0.005) * rate) + round(after * rate)
    settled = joins[math.ceil(after / options.block) :]
    return np.concatenate(pieces)[start:], float(np.std(settled))


def compared(arguments: argparse.Namespace) -> list[tuple[str, BlockVoice, BlockVoice, list[str]]]:
    """Names, voices, the same with other numbers, methods of pitch."""
    chosen: list[tuple[str, BlockVoice, BlockVoice, list[str]]] = []
    if not arguments.only_embedded and not arguments.only_beatrice:
        chosen.append(("RVC", full_size(0), full_size(1), arguments.methods))
    if arguments.embedded:
        from voicewright.conversion.own import OwnConverter
        from voicewright.conversion.own_live import OwnBlockVoice

        parts = OwnConverter(arguments.embedded)
        chosen.append(("embedded", OwnBlockVoice(parts), OwnBlockVoice(parts, 1), ["auto"]))
    if arguments.beatrice or arguments.only_beatrice:
        path = arguments.beatrice
        chosen.append(("Beatrice", beatrice(path), beatrice(path, 1), ["auto"]))
    return chosen


def distances(arguments: argparse.Namespace) -> None:
    if arguments.speech:
        sound = read(arguments.speech, RATE)[: int(arguments.seconds * RATE)]
    else:
        place = np.arange(6 * RATE) / RATE
        turns = np.cumsum(140 * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * place))) / RATE
        sound = sum(np.sin(2 * np.pi * k * turns) / k for k in range(1, 12))
        sound = (0.1 * sound * np.clip(np.sin(2 * np.pi * 2.1 * place) + 0.4, 0, 1)).astype(np.float32)
    print("| voice | pitch | context s | block ms | signal to difference | log-mel distance | joins wander |")
    print("|---|---|---|---|---|---|---|")
    for name, voice, other, methods in compared(arguments):
        rate, after = voice.sample_rate, arguments.after
        skip = round(after * rate)
        for method in methods:
            plain = LiveOptions(
                method=method,
                pitch=arguments.pitch,
                crossfade=arguments.crossfade,
                index_rate=0.0,
                rms_mix=1.0,
            )
            reference = whole(voice, sound, plain)[skip:]
            seeds = apart(whole(other, sound, plain)[skip:], reference, rate)
            print(f"| {name} | {method} | whole, other numbers | | {seeds} | |", flush=True)
            for context in arguments.contexts:
                for block in arguments.blocks:
                    heard, wander = live(voice, sound, replace(plain, block=block, context=context), after)
                    far = apart(heard, reference, rate)
                    print(
                        f"| {name} | {method} | {context:g} | {1000 * block:.0f} | {far} | {wander:.2f} ms |",
                        flush=True,
                    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["time", "distance"])
    parser.add_argument("--voice", type=Path)
    parser.add_argument("--content")
    parser.add_argument("--embedded", help="a model with a content network: its name or folder")
    parser.add_argument("--only-embedded", action="store_true")
    parser.add_argument("--beatrice", type=Path, help="a Beatrice 2 model; random weights without it")
    parser.add_argument("--only-beatrice", action="store_true")
    parser.add_argument("--pitch", type=float, default=0.0, help="semitones, for `distance`")
    parser.add_argument("--crossfade", type=float, default=0.05, help="for `distance`")
    parser.add_argument("--after", type=float, default=1.0, help="seconds not counted, for `distance`")
    parser.add_argument("--speech", type=Path)
    parser.add_argument("--seconds", type=float, default=8.0, help="of --speech")
    parser.add_argument("--methods", nargs="+", default=["dio", "fcpe", "harvest", "rmvpe"])
    parser.add_argument("--contexts", nargs="+", type=float, default=[0.5, 1.0, 2.5])
    parser.add_argument("--blocks", nargs="+", type=float, default=[0.1, 0.25, 0.5])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    (times if arguments.what == "time" else distances)(arguments)


if __name__ == "__main__":
    main()
