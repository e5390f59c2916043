"""What Kokoro's ONNX files lose on their way back into torch, file by file.

    python benchmarks/imports.py FILE.onnx … [--voice PACK] [--against WEIGHTS] [--language en-us]

Each file's weights are read (`model/onnx_weights.py`) and spoken with; beside it speaks the file itself in
onnxruntime. Printed: size, how many weights, the largest difference to the weights of --against (a model
folder, `.pth` or `.onnx` of the same release) as a share of the largest of that weight, the share of tokens
whose duration is the file's own, and the log-spectral distance of the two where all durations are equal,
beside the distance of two noise draws of the imported weights: what only the noise makes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from voicewright.engines.onnx_engine import OnnxEngine
from voicewright.errors import VoicewrightError
from voicewright.judging.spectrum import spectral_distance
from voicewright.model.checkpoint import load_model
from voicewright.model.tts.model import TTSModel
from voicewright.text.frontend import Frontend
from voicewright.voices.pack import Voicepack

TEXTS = (
    "The birch canoe slid on the smooth planks.",
    "These days a chicken leg is a rare dish.",
    "It is easy to tell the depth of a well, if you have a stone and a watch.",
)


def folded(path: Path) -> tuple[TTSModel, dict[str, int], list[str]]:
    notes: list[str] = []
    model, config, _ = load_model(path, None, notes.append)
    return model.eval().requires_grad_(False).fold(), dict(config.vocab), notes


def largest(model: TTSModel, against: TTSModel | None) -> str:
    if against is None:
        return "–"
    other = dict(against.named_parameters())
    gaps = []
    for name, value in model.named_parameters():
        if "token_type" in name:  # the graph reads its first row alone
            continue
        scale = float(other[name].abs().max())
        gaps.append(float((value - other[name]).abs().max()) / max(scale, 1e-9))
    return f"{max(gaps):.5f}"


def row(path: Path, pack: Voicepack | None, language: str, against: TTSModel | None) -> str:
    model, vocab, _ = folded(path)
    weights = sum(1 for _ in model.parameters())
    front = f"| {path.name} | {path.stat().st_size / 1e6:.0f} | {weights} | {largest(model, against)} "
    if pack is None:
        return front + "| – | – | – |"
    engine = OnnxEngine(path)
    equal = total = 0
    distances, noises = [], []
    for text in TEXTS:
        ids = Frontend(language, None, vocab).tokens(text).ids
        tokens = torch.tensor([[0, *ids, 0]])
        style = torch.from_numpy(pack.style(len(ids)).copy())[None]
        ours = [model.speak(tokens, style, generator=torch.Generator().manual_seed(n)) for n in (0, 1)]
        audio, durations = engine.network.speak(tokens.numpy(), style.numpy(), seed=0)
        same = ours[0].durations == torch.from_numpy(durations)
        equal, total = equal + int(same.sum()), total + len(same)
        noises.append(spectral_distance(ours[0].audio.numpy(), ours[1].audio.numpy()))
        if bool(same.all()):
            distances.append(spectral_distance(ours[0].audio.numpy(), audio))
    beside = f"{np.mean(distances):.2f} ({len(distances)})" if distances else "–"
    return front + f"| {equal / total:.1%} | {beside} | {np.mean(noises):.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--voice", type=Path, help="a pack to speak with; without it weights alone")
    parser.add_argument("--against", type=Path)
    parser.add_argument("--language", default="en-us")
    options = parser.parse_args()
    against = folded(options.against)[0] if options.against else None
    pack = Voicepack.read(options.voice) if options.voice else None
    print(
        "| file | MB | weights | largest difference | durations equal | LSD, dB (texts) | noise alone, dB |"
    )
    print("|---|---|---|---|---|---|---|")
    for path in options.files:
        try:
            print(row(path, pack, options.language, against), flush=True)
        except VoicewrightError as error:
            print(f"| {path.name} | {error} |", flush=True)


if __name__ == "__main__":
    main()
