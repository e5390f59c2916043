"""What the commands need of several rooms: progress, texts and results, judging on held-out speech."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voicewright.corpus.split import held_out, spread
from voicewright.errors import UsageError
from voicewright.progress import Progress

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from voicewright.corpus.features import Features
    from voicewright.corpus.manifest import Corpus, Utterance
    from voicewright.engines.protocol import Engine, Voice
    from voicewright.engines.torch_engine import TorchEngine
    from voicewright.judging.judge import Beside
    from voicewright.judging.result import Item, Judgement


def read_items(corpus: Corpus, ids: Sequence[str]) -> list[Item]:
    """Recordings and texts of these utterances."""
    from voicewright.audio.files import read
    from voicewright.judging.result import Item

    by_id = {utterance.id: utterance for utterance in corpus.utterances}
    return [Item(name, by_id[name].text, read(corpus.path(by_id[name]))) for name in ids]


def run_judgement(
    model: str | None,
    corpus_folder: Path,
    out: Path,
    *,
    voice: str | Path | None = None,
    ids: str | None = None,
    most: int | None = None,
    seed: int = 0,
    recogniser: str = "auto",
    copies: bool | None = None,
    implementation: str = "auto",
    beside: Sequence[str] = (),
    progress: Progress | None = None,
) -> Judgement:
    """Judge a model, or an ONNX file, on a corpus's held-out utterances and write the report.

    Held out: ids matching `ids`; else what the model's card says it never saw; else the whole corpus.
    voice: words of a command line (names, files, mixes), or a file. copies: also copy-synthesis; None: where
    the engine takes timing from outside. implementation: as `open_engine` has it. beside: others who read the
    same texts, each MODEL or MODEL=VOICE.
    """
    from voicewright.corpus.manifest import Corpus
    from voicewright.engines.onnx_engine import OnnxEngine
    from voicewright.engines.open import open_engine
    from voicewright.engines.torch_engine import TorchEngine
    from voicewright.judging.judge import InLanguage, judge_model
    from voicewright.listen.recogniser import open_recogniser

    corpus = Corpus.read(corpus_folder)
    engine = open_engine(model, implementation=implementation)
    run_by = implementation
    if isinstance(engine, OnnxEngine):
        run_by = f"onnxruntime, {engine.metadata.get('precision', 'as the file is')}"
        if copies:
            raise UsageError(
                f"{engine.model_path} takes no timing or pitch from outside, so that there is no "
                "copy-synthesis to judge; leave --copy out."
            )
        copies = False
    chosen, rule = held_out(corpus, engine.card, ids, progress)
    pack_name, chosen = _voice(engine, voice, chosen)
    names = spread([u.id for u in chosen], most)
    if len(names) < 2:
        raise UsageError(
            f"judging needs at least two utterances of {corpus_folder}; {rule} gives {len(names)}."
        )
    others, seen = _beside(beside, corpus, chosen, implementation)
    items = read_items(corpus, names)
    wanted = copies is None or copies
    copy_of = None
    if wanted and isinstance(engine, TorchEngine):
        copy_of = _copy_synthesis(engine, corpus, pack_name, seed, progress)
    words = ", ".join(str(one) for one in (model, voice or pack_name) if one is not None)
    return judge_model(
        InLanguage(engine, corpus.meta.language),
        items,
        out,
        recogniser=open_recogniser(recogniser, corpus.meta.language),
        voice=pack_name,
        copy_synthesis=copy_of,
        language=corpus.meta.language,
        seed=seed,
        title=f"{engine.name} beside {corpus_folder.name}",
        conditions={
            "model": str(engine.model_path),
            "voice": voice if isinstance(voice, str) else str(pack_name),
            "implementation": run_by,
            "corpus": str(corpus_folder),
            "utterances": rule,
        },
        name=words,
        work=_work(engine, voice),
        beside=others,
        notes=seen,
        progress=progress,
    )


def _beside(
    ways: Sequence[str], corpus: Corpus, chosen: list[Utterance], implementation: str
) -> tuple[list[Beside], list[str]]:
    """Those who read beside the model, each MODEL or MODEL=VOICE, and a note for each that may have learnt
    from what is judged by. Raises UsageError before anything is spoken."""
    from voicewright.engines.open import open_engine
    from voicewright.judging.judge import Beside, InLanguage

    found: list[Beside] = []
    notes: list[str] = []
    for words in ways:
        if any(one.name == words for one in found):
            raise UsageError(f"--beside {words} is given twice.")
        model, _, voice = (words, "", "") if Path(words).exists() else words.partition("=")
        engine = open_engine(model, implementation=implementation)
        speaks, _ = _voice(engine, voice or None, chosen)
        talker = InLanguage(engine, corpus.meta.language)
        found.append(Beside(words, talker, speaks, _work(engine, voice or None)))
        unseen = {item.id for item in held_out(corpus, engine.card)[0]} if _learnt(engine, corpus) else None
        if unseen is not None and (heard := sum(item.id not in unseen for item in chosen)):
            notes.append(f"{words} may have learnt from {heard} of the {len(chosen)} utterances judged by.")
    return found, notes


def _learnt(engine: Engine, corpus: Corpus) -> bool:
    """Whether the model's card says that it learnt from speakers of this corpus."""
    data = engine.card.get("data")
    speakers = data.get("speakers") if isinstance(data, dict) else None
    return isinstance(speakers, list) and not set(speakers).isdisjoint(corpus.speakers)


def _work(engine: Engine, voice: str | Path | None) -> str | None:
    """What making it took, as far as a run's folder and a voicepack's card say it."""
    from voicewright.training.work import minutes, parts_of, told

    said = []
    if parts := parts_of(engine.model_path.parent):
        data = engine.card.get("data")
        spoken = data.get("minutes") if isinstance(data, dict) else None
        said.append(told(parts) + (f" from {spoken} min of speech" if spoken is not None else ""))
    card = Path(voice).with_suffix(".json") if voice is not None else None
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # no card, or another's
        told_of = json.loads(card.read_text("utf-8")) if card is not None else {}
        work, heard = sum(told_of["seconds_of_work"].values()), float(told_of["heard_seconds"])
        said.append(f"{minutes(work)} from {heard:.0f} s of speech")
    return "; ".join(said) or None


def _voice(
    engine: Engine, voice: str | Path | None, chosen: list[Utterance]
) -> tuple[Voice | None, list[Utterance]]:
    """Who speaks, and what is held against it; where nobody is named, the most frequent speaker."""
    from voicewright.engines.mixing import words_to_mix

    if isinstance(voice, str):
        return words_to_mix(voice, engine.model_path, engine.name), chosen
    if voice is not None:
        return voice, chosen
    speaker = Counter(u.speaker for u in chosen).most_common(1)[0][0]
    named = speaker if speaker in engine.voices else engine.default_voice
    return named, [u for u in chosen if u.speaker == speaker]


def _copy_synthesis(
    engine: TorchEngine, corpus: Corpus, voice: Voice | None, seed: int, progress: Progress | None
) -> Callable[[Item], NDArray[np.float32] | None]:
    from voicewright.corpus.features import build_features
    from voicewright.corpus.phones import PAD_FRAMES
    from voicewright.units import FRAME

    features = {item.id: item for item in build_features(corpus, progress=progress)}

    def copy(item: Item) -> NDArray[np.float32] | None:
        found: Features | None = features.get(item.id)
        if found is None:
            return None
        made = engine.resynthesise(found.tokens, found.durations, found.f0, found.energy, voice, seed)
        # Without the silence that features put at the ends, it runs in step with the recording.
        edge = PAD_FRAMES * FRAME
        return made[edge : edge + len(item.recording)]

    return copy
