"""Speech of many people into the embedded voice: is it still the same words, and whose voice is it?

    VOICEWRIGHT_SPEECH=folder python benchmarks/convert_quality.py [--sets libri10] [--picture out.png]

The folder holds recordings as `<set>/metadata.csv` (id|text or id|text|speaker) and `<set>/**/<id>.flac` or
.wav. For every clip: word and character errors of the recogniser on the recording and on the conversion;
cosine of speaker embeddings between the conversion and the target's recordings, and between it and the source
speaker's; Pearson correlation of log F0 over frames that are voiced in both. Intervals: 95 %, bootstrap over
clips. A table goes to standard output, everything to `--json`.

Of `kathleen` only ids ending in 3 are taken: the others taught the content network, or are the target.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray

from voicewright.audio.files import read, resample, write
from voicewright.audio.pitch import f0
from voicewright.conversion.own import OwnConverter
from voicewright.conversion.pitch import estimate as estimate_pitch
from voicewright.conversion.protocol import CONTENT_RATE, Converted, ConvertOptions
from voicewright.judging.statistics import Bootstrap, estimate
from voicewright.listen.recogniser import Recogniser, open_recogniser
from voicewright.listen.speaker import SpeakerEncoder, mean_voice, similarity_among
from voicewright.listen.words import Errors, count_errors
from voicewright.units import SAMPLE_RATE

HELD_OUT = {"kathleen": "3"}
"""What ids must end in."""
TARGET = ("kathleen", "7")
"""Whose recordings are the target's voice."""
Array = NDArray[np.float64]


@dataclass
class Clip:
    id: str
    text: str
    speaker: str
    samples: NDArray[np.float32]
    converted: Converted
    seconds: float
    """Wall time of converting."""
    heard: tuple[Errors, Errors] | None = None
    """Of the recording, of the conversion."""
    to_target: tuple[float, float] = (0.0, 0.0)
    """Similarity of the recording, of the conversion."""
    to_source: tuple[float, float] = (0.0, 0.0)
    pitch: float = 0.0
    voicing: float = 0.0


def recordings(folder: Path, ends: str = "", limit: int = 0) -> list[tuple[str, str, str, Path]]:
    """id, text ("" where it is not known), speaker and file of recordings, `limit` of them evenly spread."""
    with (folder / "metadata.csv").open(encoding="utf-8") as file:
        rows = {row[0]: row[1:] for row in csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE)}
    found = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix in (".wav", ".flac")):
        text, *rest = rows.get(path.stem, [""])
        speaker = rest[0] if rest and rest[0].isdigit() else folder.name
        if path.stem.endswith(ends):
            found.append((path.stem, text, speaker, path))
    if limit and limit < len(found):
        found = [found[int(i)] for i in np.linspace(0, len(found) - 1, limit)]
    return found


def tracked(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """F0 by the best method that is installed: FCPE, else harvest."""
    return estimate_pitch(resample(samples, SAMPLE_RATE, CONTENT_RATE), f0_max=600.0)


def pitch_agreement(one: NDArray[np.float32], other: NDArray[np.float32]) -> tuple[float, float]:
    """Correlation of log F0 where both are voiced (nan where too little is), and how often voicing agrees."""
    count = min(len(one), len(other))
    a, b = one[:count], other[:count]
    both = (a > 0) & (b > 0)
    agree = float(((a > 0) == (b > 0)).mean())
    if both.sum() < 20:
        return float("nan"), agree
    return float(np.corrcoef(np.log(a[both]), np.log(b[both]))[0, 1]), agree


def disguised(samples: NDArray[np.float32], pitch: float, formants: float) -> NDArray[np.float32]:
    """WORLD's resynthesis with F0 and the envelope's frequencies multiplied: another sort of speaker."""
    import pyworld

    wave = samples.astype(np.float64)
    curve, times = pyworld.dio(wave, SAMPLE_RATE)
    curve = pyworld.stonemask(wave, curve, times, SAMPLE_RATE)
    envelope = pyworld.cheaptrick(wave, curve, times, SAMPLE_RATE)
    noise = pyworld.d4c(wave, curve, times, SAMPLE_RATE)
    bins = np.arange(envelope.shape[1])
    at = np.clip(bins / formants, 0, bins[-1])
    low = np.minimum(at.astype(int), bins[-1] - 1)
    share = at - low

    def warp(x: Array) -> Array:
        return np.ascontiguousarray(x[:, low] * (1 - share) + x[:, low + 1] * share)

    made = pyworld.synthesize(curve * pitch, warp(envelope), warp(noise), SAMPLE_RATE)
    return np.pad(made, (0, max(0, len(samples) - len(made))))[: len(samples)].astype(np.float32)


def measure(name: str, speech: Path, converter: OwnConverter, args: argparse.Namespace) -> list[Clip]:
    clips = []
    for clip_id, text, speaker, path in recordings(speech / name, HELD_OUT.get(name, ""), args.limit):
        samples = read(path, SAMPLE_RATE)
        if args.disguise:
            samples = disguised(samples, *args.disguise)
        begin = time.perf_counter()
        converted = converter.convert(samples, SAMPLE_RATE, ConvertOptions())
        clips.append(Clip(clip_id, text, speaker, samples, converted, time.perf_counter() - begin))
        if args.audio:
            args.audio.mkdir(parents=True, exist_ok=True)
            write(args.audio / f"{name}-{clip_id}.wav", converted.samples)
    recogniser = open_recogniser(args.recogniser, processes=1)
    told = [clip for clip in clips if clip.text]
    words = heard_in_recordings(name, told, recogniser, args.heard)
    again = recogniser.transcribe_many([clip.converted.samples for clip in told])
    for clip, one, other in zip(told, words, again, strict=True):
        clip.heard = (count_errors(clip.text, one), count_errors(clip.text, other))
    encoder = SpeakerEncoder()
    target = mean_voice(
        encoder.embed_many([read(path) for *_, path in recordings(speech / TARGET[0], TARGET[1], 40)])
    )
    before = encoder.embed_many([clip.samples for clip in clips])
    after = encoder.embed_many([clip.converted.samples for clip in clips])
    for i, clip in enumerate(clips):
        same = np.array([other.speaker == clip.speaker for other in clips])
        own = mean_voice(before[same])
        clip.to_target = (float(before[i] @ target), float(after[i] @ target))
        among = similarity_among(before[same])[int(same[:i].sum())] if same.sum() > 1 else 1.0
        clip.to_source = (float(among), float(after[i] @ own))
        clip.pitch, clip.voicing = pitch_agreement(tracked(clip.samples), tracked(clip.converted.samples))
    return clips


def heard_in_recordings(
    name: str, clips: list[Clip], recogniser: Recogniser, cache: Path | None
) -> list[str]:
    """What the recogniser hears in the recordings themselves: every time the same, so kept in `cache`."""
    known = json.loads(cache.read_text("utf-8")) if cache and cache.is_file() else {}
    keys = [f"{recogniser.name}|{name}|{clip.id}|{np.abs(clip.samples).mean():.6g}" for clip in clips]
    new = [(key, clip) for key, clip in zip(keys, clips, strict=True) if key not in known]
    found = recogniser.transcribe_many([clip.samples for _, clip in new]) if new else []
    known |= {key: words for (key, _), words in zip(new, found, strict=True)}
    if cache and new:
        cache.write_text(json.dumps(known, indent=0), "utf-8")
    return [known[key] for key in keys]


def rate(kind: Callable[[Errors], tuple[int, int]], side: int) -> Callable[[Clip], tuple[float, float]]:
    def pair(clip: Clip) -> tuple[float, float]:
        if clip.heard is None:
            return 0.0, 0.0
        wrong, of = kind(clip.heard[side])
        return float(min(wrong, of)), float(of)

    return pair


def mean_of(value: Callable[[Clip], float]) -> Callable[[Clip], tuple[float, float]]:
    return lambda clip: (0.0, 0.0) if np.isnan(value(clip)) else (value(clip), 1.0)


FIGURES: dict[str, Callable[[Clip], tuple[float, float]]] = {
    "CER source": rate(lambda e: (e.character_errors, e.characters), 0),
    "CER converted": rate(lambda e: (e.character_errors, e.characters), 1),
    "WER source": rate(lambda e: (e.word_errors, e.words), 0),
    "WER converted": rate(lambda e: (e.word_errors, e.words), 1),
    "similarity to target, source": mean_of(lambda c: c.to_target[0]),
    "similarity to target, converted": mean_of(lambda c: c.to_target[1]),
    "similarity to source, source": mean_of(lambda c: c.to_source[0]),
    "similarity to source, converted": mean_of(lambda c: c.to_source[1]),
    "nearer to target than to source": mean_of(lambda c: float(c.to_target[1] > c.to_source[1])),
    "F0 correlation": mean_of(lambda c: c.pitch),
    "voicing agreement": mean_of(lambda c: c.voicing),
    "real-time factor": lambda c: (c.seconds, c.converted.seconds),
}


def summary(clips: list[Clip]) -> dict[str, dict[str, float]]:
    """Every figure with its interval over the clips."""
    counts = Bootstrap(len(clips)).counts
    out = {}
    for name, pair in FIGURES.items():
        sums: Array = np.array([pair(clip) for clip in clips])
        total = sums.sum(0)
        resampled = counts @ sums
        estimated = estimate(
            float(total[0] / max(total[1], 1e-9)), resampled[:, 0] / np.maximum(resampled[:, 1], 1e-9)
        )
        out[name] = estimated.model_dump()
    return out


def draw(clip: Clip, target: NDArray[np.float32], path: Path) -> None:
    """Spectrograms of the source, of the target's own recording and of the conversion, pitch over them."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = (
        (f"source: {clip.speaker}, {clip.id}", clip.samples),
        ("target: a recording of kathleen", target),
        ("converted into kathleen", clip.converted.samples),
    )
    figure = Figure(figsize=(8, 7), dpi=80, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), 1)
    for axis, (title, wave) in zip(axes, rows, strict=True):
        wave = wave[: round(5 * SAMPLE_RATE)]
        axis.specgram(
            wave + 1e-6 * np.sin(np.arange(len(wave))),
            NFFT=1024,
            Fs=SAMPLE_RATE,
            noverlap=904,
            cmap="magma",
            vmin=-130,
            vmax=-40,
        )
        curve = f0(wave)
        axis.plot(np.arange(len(curve)) * 0.0125, np.where(curve > 0, 10 * curve, np.nan), "c", lw=1)
        axis.set(title=title, ylim=(0, 10_000), ylabel="Hz (F0 × 10)", xlim=(0, 5))
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sets", default="kathleen,libri10,ljspeech32")
    parser.add_argument("--to", default="tiny")
    parser.add_argument("--limit", type=int, default=0, help="clips of each set, 0 for all")
    parser.add_argument(
        "--disguise",
        type=float,
        nargs=2,
        metavar=("PITCH", "FORMANTS"),
        help="factors of a WORLD resynthesis",
    )
    parser.add_argument("--recogniser", default="pocketsphinx")
    parser.add_argument("--audio", type=Path, help="folder to write the conversions to")
    parser.add_argument("--picture", type=Path, help="PNG of the last set's first clip of 3 to 8 seconds")
    parser.add_argument("--heard", type=Path, help="file that keeps what was heard in the recordings")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    speech = Path(os.environ["VOICEWRIGHT_SPEECH"])
    converter = OwnConverter(args.to)
    results = {}
    for name in args.sets.split(","):
        clips = measure(name, speech, converter, args)
        texts = sum(clip.heard is not None for clip in clips)
        results[name] = {"clips": len(clips), "with a text": texts, **summary(clips)}
        minutes = sum(len(clip.samples) for clip in clips) / SAMPLE_RATE / 60
        print(f"\n{name}: {len(clips)} clips ({texts} with a text), {minutes:.1f} minutes")
        for key, value in results[name].items():
            if isinstance(value, dict):
                print(
                    f"  {key:34s} {value['value']:.3f}  ({value['low']:.3f} to {value['high']:.3f})",
                    flush=True,
                )
        by_speaker: dict[str, list[Clip]] = {}
        for clip in clips:
            by_speaker.setdefault(clip.speaker, []).append(clip)
        if len(by_speaker) > 1:
            for speaker, own in sorted(by_speaker.items()):
                figures = summary(own)
                shown = " ".join(f"{figures[key]['value']:.3f}" for key in list(FIGURES)[:10])
                print(f"    {speaker}: {shown}")
        if args.picture:
            chosen = next((c for c in clips if 3 < len(c.samples) / SAMPLE_RATE < 8), clips[0])
            draw(chosen, read(recordings(speech / TARGET[0], TARGET[1])[3][3]), args.picture)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
