"""What the commands need of several rooms: progress, texts and results, judging on held-out speech."""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voicewright.errors import UsageError, VoicewrightError
from voicewright.storage import decoded

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from voicewright.corpus.features import Features
    from voicewright.corpus.manifest import Corpus, Utterance
    from voicewright.engines.protocol import Voice
    from voicewright.engines.torch_engine import TorchEngine
    from voicewright.judge.result import Item, Judgement


class Progress:
    """Progress on standard error: `(message)`, `(stage, share)` or `(stage, done, total)`.

    On a terminal a stage keeps one line; elsewhere it prints at most ten.
    """

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._stage = ""
        self._tenth = -1
        self._open = False

    def __call__(self, message: str, *numbers: float) -> None:
        if not numbers:
            self.close()
            print(message, file=sys.stderr, flush=True)
            return
        share = numbers[0] if len(numbers) == 1 else numbers[0] / max(numbers[1], 1)
        shown = f"{share:.0%}" if len(numbers) == 1 else f"{numbers[0]:g} of {numbers[1]:g}"
        tenth = int(10 * share)
        if self._live:
            if message != self._stage:
                self.close()
            print(f"\r\x1b[K{message}: {shown}", end="", file=sys.stderr, flush=True)
            self._open = True
        elif message != self._stage or tenth > self._tenth:
            print(f"{message}: {shown}", file=sys.stderr, flush=True)
        self._stage, self._tenth = message, tenth

    def close(self) -> None:
        """End the line that is still open."""
        if self._open:
            print(file=sys.stderr, flush=True)
        self._open = False


def plain(record: Any) -> dict[str, Any]:
    """A dataclass or pydantic record as JSON values."""
    fields = record.model_dump(mode="json") if hasattr(record, "model_dump") else dataclasses.asdict(record)
    values: dict[str, Any] = json.loads(json.dumps(fields, default=str))
    return values


def read_text(text: str | None, file: Path | None) -> str:
    """The text to speak, from exactly one of argument, file and standard input."""
    if text is not None and file is not None:
        raise UsageError("give the text either as an argument or with -f, not both.")
    if file is not None and str(file) != "-":
        try:
            data = file.read_bytes()
        except OSError as error:
            raise UsageError(f"{file} cannot be read: {error.strerror or error}.") from error
        return decoded(data, str(file))
    if text is not None and text != "-":
        return argument_text(text)
    asked = text is not None or file is not None
    if sys.stdin is None or (not asked and sys.stdin.isatty()):
        closed = ", and standard input is closed" if sys.stdin is None else ""
        raise UsageError(f"there is nothing to say{closed}: give a text, -f FILE, or text on standard input.")
    try:
        data = sys.stdin.buffer.read()
    except OSError as error:
        raise UsageError(f"standard input cannot be read: {error.strerror or error}.") from error
    return decoded(data, "standard input")


def argument_text(text: str) -> str:
    """A text of the command line. Where the locale is not UTF-8, Python has kept its bytes as surrogates."""
    if not any("\udc80" <= character <= "\udcff" for character in text):
        return text
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def spread(names: Sequence[str], count: int | None) -> list[str]:
    """At most `count` of the names, evenly spread."""
    if count is None or count >= len(names):
        return list(names)
    return [names[round(i * (len(names) - 1) / max(count - 1, 1))] for i in range(count)]


def read_items(corpus: Corpus, ids: Sequence[str]) -> list[Item]:
    """Recordings and texts of these utterances."""
    from voicewright.audio.files import read
    from voicewright.judge.result import Item

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
    progress: Progress | None = None,
) -> Judgement:
    """Judge a model, or an ONNX file, on a corpus's held-out utterances and write the report.

    Held out: ids matching `ids`; else what the model's card says it never saw; else the whole corpus.
    voice: words of a command line (names, files, mixes), or a file. copies: also copy-synthesis; None: where
    the engine takes timing from outside. implementation: as `open_engine` has it.
    """
    from voicewright.corpus.manifest import Corpus
    from voicewright.engines.onnx_engine import OnnxEngine, open_engine
    from voicewright.engines.torch_engine import TorchEngine
    from voicewright.judge.judge import InLanguage, judge_model
    from voicewright.listen.recogniser import open_recogniser
    from voicewright.voice_commands import words_to_mix

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
    pack_name: Voice | None = voice
    if isinstance(voice, str):
        pack_name = words_to_mix(voice, engine.model_path, engine.name)
    elif voice is None:
        speaker = Counter(u.speaker for u in chosen).most_common(1)[0][0]
        pack_name = speaker if speaker in engine.voices else engine.default_voice
        chosen = [u for u in chosen if u.speaker == speaker]
    names = spread([u.id for u in chosen], most)
    if len(names) < 2:
        raise UsageError(
            f"judging needs at least two utterances of {corpus_folder}; {rule} gives {len(names)}."
        )
    items = read_items(corpus, names)
    wanted = copies is None or copies
    copy_of = None
    if wanted and isinstance(engine, TorchEngine):
        copy_of = _copy_synthesis(engine, corpus, pack_name, seed, progress)
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
        progress=progress,
    )


def draw(corpus: Path, utterance: str, output: Path) -> dict[str, object]:
    """An utterance's alignment as a picture; what there is to say of it."""
    from voicewright.corpus.draw import draw_alignment
    from voicewright.corpus.features import build_features
    from voicewright.corpus.manifest import Corpus, read_doubtful

    prepared = Corpus.read(corpus)
    prepared = Corpus(corpus, prepared.meta, (*prepared.utterances, *read_doubtful(corpus)))
    texts = {item.id: item.text for item in prepared.utterances}
    if utterance not in texts:
        shown = ", ".join(list(texts)[:3])
        raise UsageError(f"{corpus} has no utterance {utterance!r}; its ids look like {shown}.")
    if not output.parent.is_dir():
        raise UsageError(f"there is no folder {output.parent} to write {output.name} to; make it first.")
    progress = Progress()
    try:
        # Doubtful clips are the ones that one wants to see.
        found = {item.id: item for item in build_features(prepared, progress=progress, refuse=False)}
    finally:
        progress.close()
    if utterance not in found:
        raise VoicewrightError(f"{utterance} is too short for its text: nothing can be aligned.")
    features = found[utterance]
    draw_alignment(features, output, title=texts[utterance])
    durations = features.durations.tolist()
    return {"output": str(output), "confidence": features.confidence, "durations": durations}


def held_out(
    corpus: Corpus, card: Mapping[str, object], ids: str | None = None, progress: Progress | None = None
) -> tuple[list[Utterance], str]:
    """The utterances to judge on, and in words why these."""
    utterances = corpus.utterances
    if ids is not None:
        try:
            pattern = re.compile(ids)
        except re.error as error:
            raise UsageError(f"--ids {ids!r} is not a regular expression: {error}.") from error
        return [u for u in utterances if pattern.search(u.id)], f"ids matching {ids!r}"
    listed = card.get("held_out")
    if isinstance(listed, list) and listed:
        names = set(map(str, listed))
        found = [u for u in utterances if u.id in names]
        if found:
            return found, "held out of the model's training, as its card lists"
        return list(utterances), "all utterances: none of them is among those that the model's card lists"
    recipe = card.get("recipe")
    rules = recipe.get("split") if isinstance(recipe, dict) else None
    for part in ("test", "validation"):
        rule = rules.get(part) if isinstance(rules, dict) else None
        if isinstance(rule, str) and rule:
            found = [u for u in utterances if re.search(rule, u.id)]
            if found:
                return found, f"the model's {part} part, ids matching {rule!r}"
    if isinstance(rules, dict) and isinstance(every := rules.get("every"), int):
        from voicewright.corpus.features import build_features
        from voicewright.train.recipe import Split
        from voicewright.train.run import split

        kept = {f.id for f in split(build_features(corpus, progress=progress), Split(every=every))[1]}
        return [u for u in utterances if u.id in kept], f"one in {every}, as training held out"
    return list(utterances), "all utterances, though the model may have seen some of them in training"


def _copy_synthesis(
    engine: TorchEngine, corpus: Corpus, voice: Voice | None, seed: int, progress: Progress | None
) -> Callable[[Item], NDArray[np.float32] | None]:
    from voicewright.config import FRAME
    from voicewright.corpus.features import build_features
    from voicewright.corpus.phones import PAD_FRAMES

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


def judgement_lines(result: Judgement) -> list[str]:
    """The summary as text: each measure beside the recordings' own."""
    rows = []
    for line in result.summary:
        figures = [
            f"{name} {estimate.value:.{line.digits}f}{line.unit and ' ' + line.unit}"
            for name, estimate in (
                ("speech", line.synthesised),
                ("recordings", line.recordings),
                ("copy-synthesis", line.copy_synthesis),
            )
            if estimate is not None
        ]
        aim = f"  [aim {line.aim}: {'met' if line.met else 'not met'}]" if line.aim else ""
        rows.append(f"{line.label}: {', '.join(figures)}{aim}")
    return rows + [f"note: {note}" for note in result.notes]
