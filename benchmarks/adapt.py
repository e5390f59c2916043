"""An adapter, or a finetune of `train kokoro`, on held-out sentences: similarity by every encoder, words,
quality, lines (dB), echo; what the base's voices lost.

python benchmarks/adapt.py corpus runs/me --ids "7$" --most 20 --voices packs/ --stock af_heart am_adam

Of a corpus in another language the stock voices speak its texts too, before and after, and then Harvard
sentences in English, by which it is told how far they have moved.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from voicewright.audio.files import read
from voicewright.audio.pitch import f0
from voicewright.catalogue.adapted import is_adapter, read_adapter
from voicewright.catalogue.places import resolve_model, voice_files
from voicewright.corpus.manifest import Corpus
from voicewright.corpus.split import spread
from voicewright.engines.torch_engine import TorchEngine
from voicewright.errors import VoicewrightError
from voicewright.listen.artefacts import listen_for_artefacts, pooled, strongest_line
from voicewright.listen.campplus import CamEncoder
from voicewright.listen.dvector import DVector
from voicewright.listen.quality import DistillMos
from voicewright.listen.recogniser import choose
from voicewright.listen.speaker import SpeakerEncoder
from voicewright.listen.words import count_errors
from voicewright.voices.fit_ears import Likeness, likeness
from voicewright.voices.pack import Voicepack

HARVARD = (Path(__file__).parent / "data" / "harvard.txt").read_text("utf-8").splitlines()[:10]


class Table:
    """Figures of one way to speak the held-out texts, a line each."""

    def __init__(self, texts: Sequence[str], language: str, own: Sequence[Any]) -> None:
        self.texts, self.language, self.quality = list(texts), language, DistillMos()
        self.recogniser = choose("auto", language).ready().open()
        self.ears: dict[str, Likeness] = {}
        for name, make in (("Resemblyzer", SpeakerEncoder), ("d-vector", DVector), ("CAM++", CamEncoder)):
            try:
                self.ears[name] = likeness(make(), own)
            except VoicewrightError as error:
                print(error)
        self.rows: dict[str, dict[str, float]] = {}

    def hear(self, name: str, clips: Sequence[Any]) -> None:
        said = self.recogniser.transcribe_many(list(clips))
        errors = [count_errors(text, s, self.language) for text, s in zip(self.texts, said, strict=True)]
        row = {ear: one.of(clips) for ear, one in self.ears.items()}
        row["WER"] = sum(e.word_errors for e in errors) / sum(e.words for e in errors)
        row["CER"] = sum(e.character_errors for e in errors) / sum(e.characters for e in errors)
        row["MOS"] = float(np.mean([self.quality.score(clip) for clip in clips]))
        row["lines"] = strongest_line(clips)
        row["echo"] = self._echo(clips)
        self.rows[name] = row
        print(f"{name:34}" + "".join(f"{key} {value:6.3f}  " for key, value in row.items()), flush=True)

    @staticmethod
    def _echo(clips: Sequence[Any]) -> float:
        return pooled([listen_for_artefacts(clip, f0(clip)) for clip in clips])["echo_25"]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("corpus", type=Path)
    parser.add_argument("adapter")
    parser.add_argument("--ids", default="7$")
    parser.add_argument("--most", type=int, default=20)
    parser.add_argument("--voices", type=Path)
    parser.add_argument("--stock", nargs="*", default=["af_heart"])
    parser.add_argument("--start", type=Path, help="the pack that the run began with")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    corpus = Corpus.read(given.corpus)
    held = [item for item in corpus.utterances if re.search(given.ids, item.id)]
    names = spread([item.id for item in held], given.most)
    items = [item for item in held if item.id in names]
    own = [read(corpus.path(item)) for item in items]
    folder = resolve_model(given.adapter)
    card = json.loads((folder / "card.json").read_text("utf-8"))
    base = read_adapter(folder).base if is_adapter(folder) else card["base"]["name"]  # or a finetune
    voice = str(card["voice"])
    mine = Voicepack.read(voice_files(folder)[voice])
    plain, adapted = TorchEngine(base), TorchEngine(folder)
    language = corpus.meta.language
    table = Table([item.text for item in items], language, own)

    def clips(engine: TorchEngine, pack: Voicepack, texts: Sequence[str] | None = None) -> list[Any]:
        spoken, code = (table.texts, language) if texts is None else (texts, "en-us")
        return [engine.speak(text, pack, language=code).samples for text in spoken]

    began = time.monotonic()
    table.hear("recordings", own)
    if given.start is not None:
        table.hear("base, pack of the start", clips(plain, Voicepack.read(given.start)))
    table.hear("adapters, their pack", clips(adapted, mine))
    encoder = SpeakerEncoder()
    if not language.startswith("en"):
        english = Table(HARVARD, "en-us", own)
    for name in given.stock:
        files = voice_files(folder)
        path = files.get(name) or next(given.voices.glob(f"{name}.*"))
        pack = Voicepack.read(path)
        before, after = clips(plain, pack), clips(adapted, pack)
        table.hear(f"{name}, base", before)
        table.hear(f"{name}, adapters", after)
        if not language.startswith("en"):
            before, after = clips(plain, pack, HARVARD), clips(adapted, pack, HARVARD)
            english.hear(f"{name}, base, English", before)
            english.hear(f"{name}, adapters, English", after)
        both = zip(before, after, strict=True)
        alike = [float(encoder.embed(one) @ encoder.embed(other)) for one, other in both]
        table.rows[f"{name}, adapters"]["moved"] = 1 - float(np.mean(alike))
        print(f"{name} moved {1 - float(np.mean(alike)):.4f} (1 - cosine, Resemblyzer)", flush=True)
    print(f"{time.monotonic() - began:.0f} s")
    if given.json is not None:
        given.json.write_text(json.dumps(table.rows, indent=1), "utf-8")


if __name__ == "__main__":
    main()
