"""The export matrix: format × precision × opened by × distance from torch × size.

    python benchmarks/export.py                 the embedded voice
    python benchmarks/export.py --full          Kokoro's graph at full width, random weights (3 GB of memory)
    python benchmarks/export.py --judge         also what a recogniser and a speaker network say (embedded
    voice)

Distances are taken at the same noise and phase, over the whole pipeline from tokens to samples: durations
that differ, sample SNR and correlation of magnitude spectra where they do not, and the log-spectral
distance of the judge (80 mel bands). Beside our int8 stands onnxruntime's `quantize_dynamic` of the same
graph, which is how the int8 files in circulation are made. Readers that are not installed are left out of
their column.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

TEXTS = (
    "The ferry left at seven in the morning.",
    "Nobody spoke.",
    "On deck, a man in a grey coat was reading yesterday's paper, and two children counted the gulls.",
    "The engine hummed, the harbour grew smaller, and the first light touched the roofs of the town.",
    "By nine we had passed the lighthouse; by ten the sea was rough enough to keep everybody inside.",
    "He said that it would be calm again before noon, and he was right.",
)


def reference(model, pack, frontend, texts):  # type: ignore[no-untyped-def]
    """Tokens, style, durations and samples of every text by torch, with the graph's own noise."""
    import torch

    from voicewright.engines.onnx.noise import HashNoise

    mix = model.decoder.generator.m_source.l_linear.weight.detach()
    made = []
    for text in texts:
        said = frontend.tokens(text)
        ids, style = np.array([[0, *said.ids, 0]]), pack.style(len(said.ids))[None].copy()
        noise = HashNoise(torch.zeros(1).long(), mix)
        spoken = model.speak(torch.from_numpy(ids), torch.from_numpy(style), 1.0, noise)
        made.append((ids, style, spoken.durations.numpy(), spoken.audio.numpy(), said.phonemes))
    return made


def distances(path: Path, wanted, names=("tokens", "audio")):  # type: ignore[no-untyped-def]
    """How far a file is from torch, its seconds to open, and its real-time factor."""
    from voicewright.engines.onnx_engine import open_session
    from voicewright.judging.spectrum import spectral_distance

    began = time.perf_counter()
    session = open_session(path)
    opening = time.perf_counter() - began
    tokens = session.get_inputs()[0].name
    flips = total = 0
    ratios, spectra, correlations, clips, spent, said = [], [], [], [], 0.0, 0.0
    for ids, style, durations, audio, _ in wanted:
        began = time.perf_counter()
        made = session.run(None, {tokens: ids, "style": style, "speed": np.ones(1, np.float32)})
        spent += time.perf_counter() - began
        clip, frames = made[0].ravel(), made[1].ravel()
        clips.append(clip)
        said += len(clip) / 24_000
        flips, total = flips + int((frames != durations).sum()), total + len(frames)
        spectra.append(spectral_distance(audio, clip, warp=len(audio) != len(clip)))
        if len(audio) == len(clip):
            ratios.append(10 * np.log10(np.square(audio).sum() / max(np.square(audio - clip).sum(), 1e-20)))
            correlations.append(correlation(audio, clip))
    return {
        "megabytes": round(path.stat().st_size / 1e6, 1),
        "durations_changed": f"{flips} of {total}",
        "snr_db": round(float(np.mean(ratios)), 1) if ratios else None,
        "spectral_correlation": round(float(np.mean(correlations)), 5) if correlations else None,
        "log_spectral_distance_db": round(float(np.mean(spectra)), 3),
        "opening_seconds": round(opening, 2),
        "real_time_factor": round(spent / said, 3),
    }, clips


def correlation(one, other) -> float:  # type: ignore[no-untyped-def]
    """Of the magnitudes of two clips' spectra, 1024 samples every 256."""

    def magnitudes(wave):  # type: ignore[no-untyped-def]
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(wave, 512), 1024)[::256]
        return np.abs(np.fft.rfft(frames * np.hanning(1024), axis=1)).ravel()

    return float(np.corrcoef(magnitudes(one), magnitudes(other))[0, 1])


def opened_by(folder: Path, format: str, phonemes: str, voice: str) -> list[str]:
    """Which of the installed readers speak from an export."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
    readers = []
    try:
        if format == "sherpa":
            import sherpa_onnx

            kokoro = sherpa_onnx.OfflineTtsKokoroModelConfig(
                model=str(folder / "model.onnx"),
                voices=str(folder / "voices.bin"),
                tokens=str(folder / "tokens.txt"),
                lexicon=str(folder / "lexicon.txt"),
            )
            config = sherpa_onnx.OfflineTtsConfig(
                model=sherpa_onnx.OfflineTtsModelConfig(kokoro=kokoro), max_num_sentences=1
            )
            spoken = sherpa_onnx.OfflineTts(config).generate(TEXTS[0], sid=0, speed=1.0)
            if len(spoken.samples) > 24_000 and np.std(spoken.samples) > 1e-3:
                readers.append(f"sherpa-onnx {sherpa_onnx.__version__}")
        else:
            import importlib.metadata

            from onnx_oracle import kokoro_onnx

            reader = kokoro_onnx(folder / "model.onnx", folder / "voices.bin")
            audio, _, times = reader.create_timed(phonemes, voice, 1.0, is_phonemes=True, trim=False)
            if np.std(audio) > 1e-3 and len(times) == len(phonemes):
                readers.append(f"kokoro-onnx {importlib.metadata.version('kokoro-onnx')}")
    except BaseException as error:  # pytest's skip is no Exception; what a reader lacks is said, not hidden
        print(f"{format} not opened: {type(error).__name__}: {error}", file=sys.stderr)
    return readers


def heard(clips, texts, voice):  # type: ignore[no-untyped-def]
    """CER by pocketsphinx in %, and similarity to torch's speech by the speaker network."""
    from voicewright.listen.recogniser import open_recogniser
    from voicewright.listen.speaker import SpeakerEncoder, similarity_to_voice
    from voicewright.listen.words import count_errors

    heard = open_recogniser("pocketsphinx").transcribe_many(clips)
    errors = [count_errors(text, words) for text, words in zip(texts, heard, strict=True)]
    encoder = SpeakerEncoder()
    similar = similarity_to_voice(encoder.embed_many(clips), encoder.embed_many(voice))
    return {
        "cer_percent": round(100 * float(np.mean([error.cer for error in errors])), 2),
        "similarity_to_torch": round(float(similar.mean()), 4),
    }


def random_kokoro(folder: Path) -> None:
    """A model folder of Kokoro's full graph, with random weights that voice and time speech."""
    import torch

    from voicewright.model.checkpoint import save_model
    from voicewright.model.config import ModelConfig
    from voicewright.model.tts.model import TTSModel
    from voicewright.text.vocab import KOKORO
    from voicewright.voices.pack import Voicepack

    torch.manual_seed(0)
    config = ModelConfig(vocab=dict(KOKORO))
    model = TTSModel(config).eval()
    with torch.no_grad():
        model.predictor.F0_proj.weight.mul_(60)
        model.predictor.F0_proj.bias.fill_(160.0)
        model.predictor.duration_proj.linear_layer.weight.mul_(8)
        model.predictor.duration_proj.linear_layer.bias.sub_(3.0)
    save_model(folder, model, config, card={"name": "random", "licence": "none"})
    (folder / "voices").mkdir()
    rng = np.random.default_rng(0)
    Voicepack.constant(0.3 * rng.standard_normal(256).astype(np.float32)).write(
        folder / "voices" / "af_random.npz"
    )


def kokoro_opens(folder: Path) -> str:
    """What the kokoro package says of a kokoro export: its version, when no key is missing or unexpected."""
    import importlib.metadata

    import torch

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))
    import kokoro_oracle

    from voicewright.model.config import ModelConfig

    loaded = kokoro_oracle.build(ModelConfig.read(folder / "config.json"), folder, folder / "model.pth")
    missing = unexpected = 0
    for part, state in torch.load(folder / "model.pth", weights_only=True).items():
        net = getattr(loaded, part)
        report = net.load_state_dict(
            {key.removeprefix("module."): value for key, value in state.items()}, strict=False
        )
        extra = [key for key in report.missing_keys if not key.endswith((".norm.weight", ".norm.bias"))]
        missing, unexpected = missing + len(extra), unexpected + len(report.unexpected_keys)
    return f"kokoro {importlib.metadata.version('kokoro')}: {missing} keys missing, {unexpected} unexpected"


def rows(source: str | None, work: Path, options: Any) -> list[dict[str, object]]:
    import onnx

    from voicewright.catalogue.places import resolve_model, voice_files
    from voicewright.engines.export import export
    from voicewright.engines.onnx.compress import PRECISIONS, compress
    from voicewright.model.checkpoint import load_model
    from voicewright.text.frontend import Frontend
    from voicewright.voices.pack import Voicepack

    texts = TEXTS[: options.sentences]
    path = resolve_model(source)
    name, file = next(iter(voice_files(path).items()))
    wanted = reference(load_model(path)[0], Voicepack.read(file), Frontend("en-us"), texts)
    judged = [item[3] for item in wanted]
    out: list[dict[str, object]] = []
    if options.judge:
        out.append({"format": "torch", "precision": "fp32", **heard(judged, texts, judged)})

    def row(format: str, precision: str, file: Path, readers: list[str]) -> None:
        found, clips = distances(file, wanted)
        listened = heard(clips, texts, judged) if options.judge else {}
        out.append({"format": format, "precision": precision, "opened_by": readers, **found, **listened})
        print(json.dumps(out[-1]), file=sys.stderr, flush=True)

    formats: tuple[tuple[str, str], ...] = (("onnx", "onnxruntime"), ("sherpa", ""))
    for format, reader in formats[: 1 if options.full else 2]:
        folder = work / format
        export(path, folder, format)
        plain = (folder / "model.onnx").read_bytes()
        for precision in PRECISIONS:
            # What the command does after tracing, which takes longest and is the same for all three.
            proto = onnx.load_from_string(plain)
            compress(proto, precision)
            onnx.save(proto, str(folder / "model.onnx"))
            readers = opened_by(folder, format, wanted[0][4], name)
            row(format, precision, folder / "model.onnx", [reader, *readers] if reader else readers)
        if format == "onnx":
            from onnxruntime.quantization import quantize_dynamic

            (folder / "model.onnx").write_bytes(plain)
            quantize_dynamic(folder / "model.onnx", work / "dynamic.onnx")
            row("onnxruntime's quantize_dynamic", "int8", work / "dynamic.onnx", ["onnxruntime"])
    if options.full:
        export(path, work / "kokoro", "kokoro")
        size = (work / "kokoro" / "model.pth").stat().st_size / 1e6
        readers = [kokoro_opens(work / "kokoro")]
        out.append(
            {"format": "kokoro", "precision": "fp32", "opened_by": readers, "megabytes": round(size, 1)}
        )
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="model folder; the embedded model when not given")
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--judge", action="store_true")
    parser.add_argument("--sentences", type=int, default=len(TEXTS))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        source = options.model
        if options.full:
            random_kokoro(work / "random")
            source = str(work / "random")
        for row in rows(source, work, options):
            print(json.dumps(row))


if __name__ == "__main__":
    main()
