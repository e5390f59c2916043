"""How near windowed speech is to the whole: log-spectral distance and signal-to-noise ratio, and what a probe
costs.

    python benchmarks/windows.py [--model FOLDER]

Real sentences in the model's own voice. The distance is taken over frames of 1024 samples, in dB, with a
floor 80 dB below the loudest bin; noise drawn anew is about 4 dB from itself by this measure. `local`: the
same windows, each normalised by its own statistics, as a generator run chunk by chunk would be. `warmed`: the
voice has said another sentence before, as `TorchEngine.warm` lets it; `first`: processor time until the first
window is there, all layers before the generator left out. `joins`: the largest ratio of the error within 10
ms of a join to the error around it; a click would be far above 1.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

from voicewright.catalogue.places import resolve_model, voice_files
from voicewright.model.checkpoint import load_model
from voicewright.model.fast.choice import choose
from voicewright.model.fast.generator import FastGenerator
from voicewright.model.fast.model import FastModel, Request
from voicewright.model.fast.statistics import Carried
from voicewright.model.fast.windows import WARM, Windows, pieces
from voicewright.text.frontend import Frontend
from voicewright.text.vocab import PAD
from voicewright.voices.pack import Voicepack

SENTENCES = (
    "The ferry left at seven in the morning.",
    "On deck, a man in a grey coat was reading yesterday's paper, and two children counted the gulls.",
    "The captain, who had sailed this way for thirty years, said that it would be calm again before noon, "
    "and he was right; nobody spoke, the engine hummed, and the harbour grew smaller behind us.",
)
WARMING = "The quick brown fox jumps over a lazy dog, and she saw it."
PLANS = {
    "unwarmed": Windows(),
    "unwarmed, a probe of 0.25 s every 0.5 s": Windows(every=0.5, probe=0.25, most=24),
    "warmed": WARM,
    "warmed, never probed": replace(WARM, early=99),
    "warmed, first 0.5 s, never probed": replace(WARM, first=0.5, early=99),
}


def distance(ours: Tensor, whole: Tensor) -> float:
    window = torch.hann_window(1024)
    a, b = (torch.stft(x, 1024, 256, window=window, return_complex=True).abs() for x in (ours, whole))
    floor = float(b.max()) * 1e-4
    levels = 20 * torch.log10(a.clamp(min=floor) / b.clamp(min=floor))
    return float(levels.square().mean(0).sqrt().mean())


def ratio(ours: Tensor, whole: Tensor) -> float:
    return float(10 * torch.log10(whole.square().mean() / (ours - whole).square().mean()))


def local(
    generator: FastGenerator, x: Tensor, style: Tensor, harmonics: Tensor, seconds: float
) -> list[Tensor]:
    """Windows that know only themselves and their context."""
    ends = Windows(first=seconds, growth=1.0, largest=seconds).cuts(len(x))
    parts, start = [], 0
    for end in ends:
        low, high = max(0, start - generator.context), min(len(x), end + generator.context)
        rows = harmonics[low * generator.scale : high * generator.scale + 1]
        parts.append(generator(x[low:high], style, rows)[(start - low) * 300 : (end - low) * 300])
        start = end
    return parts


def joins(parts: list[Tensor], whole: Tensor) -> float:
    """Largest local error at a join over the error of its neighbourhood."""
    error = (torch.cat(parts) - whole).square()
    worst, at = 0.0, 0
    for part in parts[:-1]:
        at += len(part)
        near, around = error[at - 240 : at + 240].mean(), error[max(0, at - 4800) : at + 4800].mean()
        worst = max(worst, float(near / around.clamp(min=1e-12)))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="model folder; the embedded model when not given")
    options = parser.parse_args()
    path = resolve_model(options.model)
    model, config, _ = load_model(path)
    fast = FastModel(model, choose("auto"))
    pack = Voicepack.read(next(iter(voice_files(path).values())))
    frontend = Frontend("en-us", None, config.vocab)
    print("| speech | windows | distance dB | SNR dB | joins | first, ms | processor time, × whole |")
    print("|---|---|---|---|---|---|---|", flush=True)

    def asked(sentence: str) -> tuple[Tensor, Tensor]:
        ids = frontend.tokens(sentence).ids
        return torch.tensor([[PAD, *ids, PAD]]), torch.from_numpy(pack.style(len(ids)).copy())[None]

    with torch.inference_mode():
        known = fast.listen(*asked(WARMING))
        for sentence in SENTENCES:
            request = Request(*asked(sentence))
            _, prosody, asr = fast._prepare([request])[0]
            x, acoustic = fast._features(request, prosody, asr)
            rows = fast.generator.harmonics(prosody.f0, torch.Generator().manual_seed(0))
            given = fast.generator, x, acoustic, rows
            fast.generator(x, acoustic, rows)
            began = time.process_time()
            whole = fast.generator(x, acoustic, rows)
            alone = time.process_time() - began
            for name in [*PLANS, "local 0.5 s", "local 1 s", "local 2 s"]:
                began = time.process_time()
                if name in PLANS:
                    carried = known.copy() if name.startswith("warmed") else Carried()
                    made = pieces(*given, PLANS[name], carried)
                    parts = [next(made)]
                    first = f"{1000 * (time.process_time() - began):.0f}"
                    parts += list(made)
                else:
                    parts, first = local(*given, float(name.split()[1])), "–"
                spent = (time.process_time() - began) / alone
                ours = torch.cat(parts)
                print(
                    f"| {len(whole) / 24000:.1f} s | {name} | {distance(ours, whole):.2f} | "
                    f"{ratio(ours, whole):.1f} | {joins(parts, whole):.1f} | {first} | {spent:.2f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
