"""How near every implementation of the generator is to the plain graph in fp32.

    python benchmarks/accuracy.py [--model FOLDER] [--full] [--implementations native exact torch bf16]
    python benchmarks/accuracy.py --heard [--model FOLDER] [--implementations plain native bf16]

At equal input, harmonics and phase: the features of real sentences (with `--full`: of random weights at
Kokoro's full width and random tokens) go through the plain generator and through each implementation.
Printed: the signal-to-noise ratio over all samples, and the log-spectral distance, over frames of 1024
samples, in dB, with a floor 80 dB below the loudest bin. Correctness alone: where there is no matrix unit,
bf16 is slow.

`--heard` lets a recogniser hear the same sentences by each implementation (CER) and compares the speaker with
the first implementation's (mean cosine of Resemblyzer's embeddings to its mean).

An implementation may end in `:half`: its weights are then fp16 in memory.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from speak import utterance, write_model
from torch import Tensor
from windows import SENTENCES, distance, ratio

from voicewright.catalogue.places import resolve_model, voice_files
from voicewright.errors import UsageError
from voicewright.model.checkpoint import load_model
from voicewright.model.fast.choice import KINDS, choose
from voicewright.model.fast.generator import FastGenerator
from voicewright.model.tts.generator import Generator
from voicewright.model.tts.model import TTSModel
from voicewright.text.frontend import Frontend
from voicewright.text.vocab import PAD
from voicewright.voices.pack import Voicepack

Input = tuple[Tensor, Tensor, Tensor]
"""Features [1, C, 2F], acoustic style [1, 128], harmonics [1, n_fft + 2, M] of an utterance."""


def spoken(path: Path, model: TTSModel) -> list[tuple[Tensor, Tensor]]:
    """Tokens [1, T] and style [1, 256] of real sentences, in the model's first voice."""
    pack = Voicepack.read(next(iter(voice_files(path).values())))
    frontend = Frontend("en-us", None, model.config.vocab)
    found = []
    for sentence in SENTENCES:
        ids = frontend.tokens(sentence).ids
        found.append((torch.tensor([[PAD, *ids, PAD]]), torch.from_numpy(pack.style(len(ids)).copy())[None]))
    return found


def input_of(model: TTSModel, tokens: Tensor, style: Tensor) -> Input:
    """What the plain graph gives its generator."""
    made = model.speak(tokens, style, 1.0, torch.Generator().manual_seed(0))
    acoustic = style[:, : model.config.style_dim]
    asr = model.expand(model.encode_text(tokens), made.durations[None])
    features = model.decoder.front(asr, made.f0[None], made.energy[None], acoustic)
    generator = model.decoder.generator
    assert isinstance(generator, Generator)
    return features, acoustic, generator.harmonics(made.f0[None], torch.Generator().manual_seed(0))


def heard(options: argparse.Namespace) -> None:
    """CER and similarity of whole speech."""
    from stream import SENTENCES as MORE

    from voicewright.engines.torch_engine import TorchEngine
    from voicewright.listen.recogniser import open_recogniser
    from voicewright.listen.speaker import SpeakerEncoder, similarity_to_voice
    from voicewright.listen.words import count_errors

    texts = [*SENTENCES, *MORE]
    encoder, recogniser, voice = SpeakerEncoder(), open_recogniser(processes=1), None
    print(f"| implementation | CER % ({recogniser.name}) | similarity |\n|---|---|---|", flush=True)
    for kind in options.implementations:
        name, _, stored = kind.partition(":")
        engine = TorchEngine(options.model, implementation=name, weights=stored or "full")
        clips = [engine.speak(text).samples for text in texts]
        words = recogniser.transcribe_many(clips)
        errors = [count_errors(text, said) for text, said in zip(texts, words, strict=True)]
        cer = sum(e.cer * len(t) for e, t in zip(errors, texts, strict=True)) / sum(map(len, texts))
        found = encoder.embed_many(clips)
        voice = found if voice is None else voice
        similarity = float(similarity_to_voice(found, voice).mean())
        print(f"| {kind} | {100 * cer:.1f} | {similarity:.4f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="model folder; the embedded model when not given")
    parser.add_argument("--full", action="store_true", help="random weights at full width instead")
    parser.add_argument("--implementations", nargs="+", default=[kind for kind in KINDS if kind != "auto"])
    parser.add_argument("--heard", action="store_true", help="CER and similarity of whole speech instead")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.heard:
        return heard(options)
    rows: list[dict[str, float | str]] = []
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        if options.full:
            write_model(Path(name))
        path = Path(name) if options.full else resolve_model(options.model)
        model = load_model(path, styles=False)[0].float().eval().fold()
        given = [utterance(2.0, False)[:2]] if options.full else spoken(path, model)
        inputs = [input_of(model, *one) for one in given]
        plain = model.decoder.generator
        assert isinstance(plain, Generator)
        references = [plain.synthesise(*one)[0] for one in inputs]
        for kind in options.implementations:
            try:
                name, _, stored = kind.partition(":")
                backend = choose(name, stored or "full")
            except UsageError as error:
                print(f"{kind}: {error}", file=sys.stderr)
                continue
            fast = FastGenerator(copy.deepcopy(plain), backend)
            made = [fast(x[0].T.contiguous(), style[0], h[0].T.contiguous()) for x, style, h in inputs]
            snr = sum(map(ratio, made, references)) / len(made)
            far = sum(map(distance, made, references)) / len(made)
            rows.append({"implementation": kind, "snr_db": round(snr, 1), "distance_db": round(far, 4)})
    if options.json:
        print(json.dumps({"model": "full" if options.full else str(path), "rows": rows}))
        return
    print("| implementation | SNR dB | log-spectral distance dB |\n|---|---|---|")
    for row in rows:
        print(f"| {row['implementation']} | {row['snr_db']} | {row['distance_db']:.4f} |")


if __name__ == "__main__":
    main()
