"""How near each way comes to a speaker's voice on Kokoro: the table of docs/fit.md.

    python benchmarks/own_voice.py SPEECH VOICES OUT [--speakers libri10 kathleen …] [--seconds 10 60]
                                   [--ways nearest walk inno clone fit adapt] [--sentences 20]
                                   [--model kokoro]

SPEECH holds `libri10/`, `ljspeech32/`, `kathleen/` (each with metadata.csv); VOICES packs of Kokoro's
(of these the English ones are known to *nearest*, *walk* and *inno*, others where there are none).
Ways: *nearest* known pack by one encoder; *walk*: KVoiceWalk's random walk on a pack, given the seconds that
the fit took; *inno*: inno-kokoro's published method, its speaker head taught on the known packs (its own was
taught on recordings that nobody has); *clone*: our style encoders; *fit*: our fit; *adapt*: adapters that
begin with that pack, on the same clips less those that judge them. Each is heard on sentences that nothing
was fitted to.
Every finished cell is a line of OUT/cells.jsonl and is not done again; the table is printed, and
OUT/index.html plays two sentences of each. Recordings are neither copied nor linked.
"""

from __future__ import annotations

import argparse
import csv
import html
import json
import re
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from voicewright.audio.files import read
from voicewright.audio.loudness import normalise
from voicewright.audio.pitch import f0
from voicewright.catalogue.places import read_card
from voicewright.corpus.prepare import prepare
from voicewright.errors import VoicewrightError
from voicewright.jobs.clone import CloneOptions, clone
from voicewright.jobs.fit import FitOptions, fit
from voicewright.jobs.train import train
from voicewright.listen.artefacts import listen_for_artefacts, pooled
from voicewright.listen.campplus import CamEncoder
from voicewright.listen.dvector import DVector
from voicewright.listen.quality import DistillMos
from voicewright.listen.recogniser import choose
from voicewright.listen.speaker import SpeakerEncoder, mean_voice
from voicewright.listen.words import count_errors
from voicewright.training.order import Wishes
from voicewright.voices.files import read_arrays
from voicewright.voices.fit_ears import Likeness, likeness
from voicewright.voices.known import Portrait, portrait, portraits, prosody_blend, timbre_guess
from voicewright.voices.pack import Voicepack
from voicewright.voices.studio import Line, Studio

SENTENCES = tuple((Path(__file__).parent / "data" / "harvard.txt").read_text("utf-8").splitlines())
"""Harvard sentences (IEEE 1969), lists 2 and 3; the fit's own checks speak others."""
RATE = 24_000


class Speaker:
    """`held`: clips that nothing is fitted to, which the ceiling and the similarity are taken from."""

    def __init__(
        self, name: str, items: Sequence[tuple[Path, str]], held: Sequence[tuple[Path, str]]
    ) -> None:
        self.name, self.items, self.held = name, list(items), list(held)

    def material(self, seconds: float, folder: Path) -> float:
        """About so many seconds of clips as a folder with metadata.csv; the seconds that they have."""
        total, lines = 0.0, []
        for path, text in self.items:
            length = soundfile.info(path).duration
            if total and total + length > 1.1 * seconds:
                continue
            shutil.copy(path, folder / path.name)
            lines.append(f"{path.stem}|{text}")
            total += length
            if total >= 0.9 * seconds:
                break
        (folder / "metadata.csv").write_text("\n".join(lines) + "\n", "utf-8")
        return total

    def own(self) -> list[np.ndarray]:
        return [level(read(path)) for path, _ in self.held]


def level(samples: np.ndarray) -> np.ndarray:
    return normalise(samples, RATE, -23).astype(np.float32)


def speakers(speech: Path) -> list[Speaker]:
    found: list[Speaker] = []
    rows = _rows(speech / "libri10")
    for who in dict.fromkeys(row[2] for row in rows):
        mine = [(_sound(speech / "libri10", row[0]), row[1]) for row in rows if row[2] == who]
        found.append(Speaker(who, mine[:-3], mine[-3:]))
    mine = [(_sound(speech / "ljspeech32", row[0]), row[2]) for row in _rows(speech / "ljspeech32")]
    texts = {path.stem for path, _ in mine}
    spoken = sorted(p for p in (speech / "ljspeech32").rglob("*.*") if p.suffix in (".wav", ".flac"))
    found.append(Speaker("ljspeech32", mine, [(path, "") for path in spoken if path.stem not in texts]))
    mine = [(_sound(speech / "kathleen", row[0]), row[1]) for row in _rows(speech / "kathleen")]
    held = [item for item in mine if item[0].stem.endswith("7")]
    rest = [item for item in mine if item[0].stem[-1] not in "37"]
    draw = np.random.default_rng(1)
    found.append(
        Speaker("kathleen", [rest[i] for i in draw.permutation(len(rest))], held[:: len(held) // 20])
    )
    return found


def _rows(folder: Path) -> list[list[str]]:
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE))


def _sound(folder: Path, name: str) -> Path:
    return next(
        path for path in folder.rglob(f"{name}.*") if path.suffix in (".wav", ".flac", ".ogg", ".opus")
    )


class Bench:
    """The model, the ears, the known voices; `judge` hears a pack beside a speaker."""

    def __init__(self, model: str, voices: Path, count: int) -> None:
        self.model, self.voices = model, voices
        self.studio = Studio(model, voices, print)
        self.timbre = CamEncoder()
        self.encoders = (SpeakerEncoder(), DVector(), self.timbre)
        self.quality = DistillMos()
        self.recogniser = choose("auto", "en-us").ready().open()
        self.lines = self.studio.lines(SENTENCES[:count], "en-us")
        self.few: list[Line] = self.studio.lines(SENTENCES[:3], "en-us")
        packs = self.studio.packs
        usual = {name: pack for name, pack in packs.items() if name[:1] in "ab"} or packs
        self.known = portraits(
            usual,
            lambda pack: (self.studio.clips(pack, self.few), [line.tokens.shape[1] - 2 for line in self.few]),
            self.timbre,
            self.studio.portraits,
            self.studio.sha256,
        )

    def clips(self, folder: Path) -> list[np.ndarray]:
        return [level(read(_sound(folder, row[0]))) for row in _rows(folder) if row]

    def portrait(self, folder: Path) -> Portrait:
        """Of a folder of recordings with texts."""
        rows = [row for row in _rows(folder) if row]
        clips = self.clips(folder)
        symbols = [line.tokens.shape[1] - 2 for line in self.studio.lines([row[1] for row in rows], "en-us")]
        return portrait(clips, symbols, self.timbre)

    def judge(
        self, pack: Voicepack, own: Sequence[Likeness], keep: Path | None, studio: Studio | None = None
    ) -> dict[str, Any]:
        """studio: the model that speaks, if not the stock one."""
        clips = (studio or self.studio).clips(pack, self.lines)
        if keep is not None:
            keep.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(keep, np.concatenate(clips[:2]), RATE)
        figures = hear(clips, [line.text for line in self.lines], own, self)
        symbols = sum(line.tokens.shape[1] - 2 for line in self.lines)
        return {**figures, "pace": symbols / (sum(map(len, clips)) / RATE)}


def hear(
    clips: Sequence[np.ndarray], texts: Sequence[str], own: Sequence[Likeness], bench: Bench
) -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for like, name in zip(own, ("resemblyzer", "dvector", "campplus"), strict=True):
        raw = float(np.mean([like.encoder.embed(clip) @ like.voice for clip in clips]))
        figures[f"{name}_raw"] = raw
        figures[name] = (raw - like.floor) / (like.ceiling - like.floor)
    heard = bench.recogniser.transcribe_many(clips)
    written = [(text, said) for text, said in zip(texts, heard, strict=True) if text]
    errors = [count_errors(text, said, "en-us") for text, said in written]
    unknown = float("nan")  # some recordings have no text
    figures["wer"] = sum(e.word_errors for e in errors) / sum(e.words for e in errors) if errors else unknown
    letters = sum(e.characters for e in errors)
    figures["cer"] = sum(e.character_errors for e in errors) / letters if errors else unknown
    figures["mos"] = float(np.mean([bench.quality.score(clip) for clip in clips]))
    curves = [f0(clip) for clip in clips]
    figures |= pooled([listen_for_artefacts(c, curve) for c, curve in zip(clips, curves, strict=True)])
    pitch = 12 * np.log2(np.concatenate([curve[curve > 0] for curve in curves]))
    figures["pitch"] = float(2 ** (np.median(pitch) / 12))
    figures["pitch_spread"] = float(1.4826 * np.median(np.abs(pitch - np.median(pitch))))
    return figures


def walk(bench: Bench, wanted: Portrait, target: np.ndarray, seconds: float, seed: int = 0) -> Voicepack:
    """KVoiceWalk's: from the nearest pack, noise of the packs' spread times .01–.15; kept where the harmonic
    mean of likeness to the recordings and likeness of two own sentences grows (weights .48 and .5)."""
    draw = np.random.default_rng(seed)
    packs = {name: bench.studio.packs[name] for name in bench.known}
    name = max(bench.known, key=lambda one: float(np.dot(bench.known[one].timbre, wanted.timbre)))
    best = packs[name].rows.astype(np.float64)
    spread = np.std(np.stack([pack.rows for pack in packs.values()]), axis=0)
    lines = bench.few[:2]
    encoder = bench.encoders[0]

    def score(rows: np.ndarray) -> float:
        first, second = (encoder.embed(x) for x in bench.studio.clips(Voicepack.of(rows.squeeze()), lines))
        like, same = float(first @ target), float(first @ second)
        return (0.48 + 0.5) / (0.48 / max(like, 1e-3) + 0.5 / max(same, 1e-3))

    began, highest = time.monotonic(), score(best)
    while time.monotonic() - began < seconds:
        tried = best + draw.standard_normal(best.shape) * spread * draw.uniform(0.01, 0.15)
        try:
            found = score(tried)
        except VoicewrightError:
            continue
        if found > highest:
            best, highest = tried, found
    return Voicepack.of(best.squeeze())


def inno(bench: Bench, wanted: Portrait) -> Voicepack:
    """One acoustic half for all rows from a speaker vector (ridge regression on the known packs), prosodic
    half as a convex blend by pitch, its spread and pace."""
    rows = sum(
        weight * bench.studio.packs[name].rows[:, 0].astype(np.float64)
        for name, weight in prosody_blend(wanted, bench.known).items()
    )
    rows = np.array(rows)
    rows[:, :128] = timbre_guess(wanted, bench.known, bench.studio.packs)
    return Voicepack.of(rows)


def adapted(bench: Bench, material: Path, start: Path, run: Path) -> tuple[Studio, Voicepack, dict[str, Any]]:
    """Adapters trained from a fitted pack: the model that speaks, its new voice, the judgement it was
    chosen by."""
    corpus = run.with_name(f"{run.name}-corpus")
    prepare(material, corpus, language="en-us")
    wishes = Wishes(bench.model, str(start), bench.voices)
    train("adapt", corpus, run, resume=run.exists(), wishes=wishes)
    studio = Studio(str(run), None, print)
    card = read_card(run / "best")
    return studio, studio.packs[card["voice"]], {"judged": card["figures"]}


def cell(
    bench: Bench, speaker: Speaker, seconds: float, ways: Sequence[str], out: Path, done: set[str]
) -> None:
    """Everything asked of one speaker from so much of him."""
    keys = {way: f"{speaker.name} {seconds:g} {way}" for way in ways}
    if all(key in done for key in keys.values()):
        return
    own = [likeness(encoder, speaker.own()) for encoder in bench.encoders]
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        length = speaker.material(seconds, folder)
        wanted = bench.portrait(folder)
        took = 0.0
        # The walk gets the fit's time, adapters its pack.
        for way in sorted(ways, key=("nearest", "inno", "clone", "fit", "walk", "adapt").index):
            if keys[way] in done:
                took = max(took, done_seconds(out, keys[way]))
                continue
            began, more, studio = time.monotonic(), {}, bench.studio
            file = out / "voices" / f"{speaker.name}-{seconds:g}.pt"
            file.parent.mkdir(parents=True, exist_ok=True)
            if way == "fit":
                asked = FitOptions(bench.model, bench.voices, "en-us")
                result = fit(folder, file, asked, progress=lambda *_: None)
                more = {"best": result.best, "parts": result.seconds, "steps": result.steps}
                more |= {"said": {name: asdict(heard) for name, heard in result.figures.items()}}
                pack = Voicepack.of(next(iter(read_arrays(file).values())))
                took = time.monotonic() - began
            elif way == "walk":
                target = mean_voice(np.stack([bench.encoders[0].embed(x) for x in bench.clips(folder)]))
                pack = walk(bench, wanted, target, took or 180.0)
            elif way == "adapt":
                studio, pack, more = adapted(bench, folder, file, out / "adapters" / file.stem)
            elif way == "inno":
                pack = inno(bench, wanted)
            elif way == "clone":
                target = file.with_name(f"{file.stem}-clone.pt")
                clone(folder, target, CloneOptions(bench.model), progress=lambda *_: None)
                pack = Voicepack.of(next(iter(read_arrays(target).values())))
            else:
                name = max(bench.known, key=lambda k: float(np.dot(bench.known[k].timbre, wanted.timbre)))
                pack, more = bench.studio.packs[name], {"pack": name}
            passed = time.monotonic() - began
            keep = out / "sound" / f"{keys[way].replace(' ', '-')}.wav"
            figures = bench.judge(pack, own, keep, studio)
            row = {"key": keys[way], "speaker": speaker.name, "seconds": seconds, "way": way}
            row |= {"had": length, "work": passed, **figures, **more}
            with (out / "cells.jsonl").open("a", encoding="utf-8") as file_:
                file_.write(json.dumps(row) + "\n")
            shown = ("resemblyzer", "dvector", "campplus", "wer", "cer", "mos", "work")
            print(keys[way], *(f"{name} {row[name]:.3f}" for name in shown), flush=True)


def recordings(bench: Bench, speaker: Speaker, out: Path, done: set[str]) -> None:
    """What the held-out recordings themselves get."""
    key = f"{speaker.name} own recordings"
    if key in done:
        return
    clips = speaker.own()
    own = [likeness(encoder, clips) for encoder in bench.encoders]
    figures = hear(clips, [text for _, text in speaker.held], own, bench)
    row = {"key": key, "speaker": speaker.name, "seconds": 0, "way": "recordings", "work": 0.0, **figures}
    with (out / "cells.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")


def cells(out: Path) -> list[dict[str, Any]]:
    path = out / "cells.jsonl"
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def done_seconds(out: Path, key: str) -> float:
    return next((float(row["work"]) for row in cells(out) if row["key"] == key), 0.0)


COLUMNS = (
    ("dvector", "d-vector", 2),
    ("resemblyzer", "Resemblyzer", 2),
    ("campplus", "CAM++", 2),
    ("dvector_raw", "raw", 2),
    ("resemblyzer_raw", "raw", 2),
    ("wer", "WER", 3),
    ("cer", "CER", 3),
    ("mos", "Distill-MOS", 2),
    ("lines", "lines, dB", 1),
    ("echo_25", "echo", 2),
    ("pitch", "pitch, Hz", 0),
    ("pitch_spread", "spread", 1),
    ("work", "seconds", 0),
)


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["| speaker | from | way | " + " | ".join(title for _, title, _ in COLUMNS) + " |"]
    lines.append("|" + "---|" * (3 + len(COLUMNS)))
    for row in sorted(rows, key=lambda row: (row["speaker"], row["seconds"], row["way"])):
        numbers = " | ".join(f"{row[name]:.{digits}f}" for name, _, digits in COLUMNS)
        lines.append(f"| {row['speaker']} | {row['seconds']:g} s | {row['way']} | {numbers} |")
    groups = sorted({(row["seconds"], row["way"]) for row in rows})
    for seconds, way in groups:
        mine = [row for row in rows if (row["seconds"], row["way"]) == (seconds, way)]
        numbers = " | ".join(f"{np.mean([r[name] for r in mine]):.{digits}f}" for name, _, digits in COLUMNS)
        lines.append(f"| **mean of {len(mine)}** | {seconds:g} s | {way} | {numbers} |")
    return "\n".join(lines)


def page(rows: Sequence[dict[str, Any]], out: Path) -> None:
    """The table with players, as OUT/index.html."""
    body = []
    for row in sorted(rows, key=lambda row: (row["speaker"], row["seconds"], row["way"])):
        sound = Path("sound") / f"{row['key'].replace(' ', '-')}.wav"
        player = f'<audio controls preload="none" src="{sound}"></audio>' if (out / sound).is_file() else ""
        words = [row["speaker"], f"{row['seconds']:g} s", row["way"]]
        numbers = [f"{row[name]:.{digits}f}" for name, _, digits in COLUMNS]
        texts = "".join(f"<td>{html.escape(cell)}</td>" for cell in [*words, *numbers])
        body.append(f"<tr>{texts}<td>{player}</td></tr>")
    heads = "".join(f"<th>{title}</th>" for title in ("speaker", "from", "way", *(c[1] for c in COLUMNS), ""))
    style = "body{font:14px system-ui;margin:2em}td,th{padding:.2em .6em;text-align:right}"
    text = f"<!doctype html><meta charset=utf-8><title>Own voices</title><style>{style}</style>"
    text += f"<h1>Own voices on Kokoro</h1><table><tr>{heads}</tr>{''.join(body)}</table>"
    (out / "index.html").write_text(text, "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("speech", type=Path)
    parser.add_argument("voices", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--speakers", nargs="*", help="Names, or patterns of them.")
    parser.add_argument("--seconds", nargs="*", type=float, default=[10.0, 60.0])
    parser.add_argument("--ways", nargs="*", default=["nearest", "inno", "fit", "walk"])
    parser.add_argument("--sentences", type=int, default=20)
    parser.add_argument("--model", default="kokoro")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    bench = Bench(options.model, options.voices, options.sentences)
    for speaker in speakers(options.speech):
        if options.speakers and not any(re.fullmatch(p, speaker.name) for p in options.speakers):
            continue
        recordings(bench, speaker, options.out, {row["key"] for row in cells(options.out)})
        for seconds in options.seconds:
            cell(
                bench, speaker, seconds, options.ways, options.out, {row["key"] for row in cells(options.out)}
            )
    print(table(cells(options.out)))
    page(cells(options.out), options.out)


if __name__ == "__main__":
    main()
