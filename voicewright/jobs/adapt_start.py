"""The voicepack that adapters begin with: the one named, or one that is fitted to their clips first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from voicewright.storage import write_atomically

if TYPE_CHECKING:
    from voicewright.corpus.manifest import Corpus, Utterance
    from voicewright.training.adapt.recipe import AdaptRecipe
    from voicewright.voices.pack import Voicepack

START = "start.safetensors"
"""Of a run's folder: the voicepack that it begins with."""


def start_of(
    plan: AdaptRecipe,
    corpus: Corpus,
    training: Sequence[Utterance],
    out: Path,
    resume: bool,
    recogniser: str,
    line: Callable[..., None],
) -> Voicepack:
    """The pack to begin with, kept in the run's folder: the one named, else one that is fitted now, or was
    to the same clips before something stopped the run."""
    import hashlib
    import tempfile

    from voicewright.jobs.fit import FitOptions, fit
    from voicewright.training.meeting import leads
    from voicewright.training.work import Part, add_part
    from voicewright.voices.pack import Voicepack

    kept, note = out / START, (out / START).with_suffix(".txt")
    if resume:
        return Voicepack.read(kept)
    if plan.voice is not None:
        pack = Voicepack.read(Path(plan.voice))
        if leads():
            out.mkdir(parents=True, exist_ok=True)
            pack.write(kept)
        return pack
    told = " ".join([plan.model, plan.voices or "", *(item.hash for item in training)])
    mark = hashlib.sha256(told.encode()).hexdigest()
    if kept.is_file() and note.is_file() and note.read_text("utf-8").strip() == mark:
        line(f"{kept} was fitted to these clips before; it is begun with.")
        return Voicepack.read(kept)
    out.mkdir(parents=True, exist_ok=True)
    line("No voice is named to begin with (--voice): one is fitted first.")
    with tempfile.TemporaryDirectory(prefix="voicewright-adapt-") as folder:
        part = part_of(corpus, training, Path(folder) / "corpus")
        target = Path(folder) / "start.safetensors"
        asked = FitOptions(plan.model, Path(plan.voices) if plan.voices else None, recogniser=recogniser)
        made = fit(part, target, asked, progress=line)
        pack = Voicepack.read(target)
    pack.write(kept)
    add_part(out, Part(what="voicepack", seconds=round(sum(made.seconds.values()), 1)))
    write_atomically(note, (mark + "\n").encode())
    return pack


def part_of(corpus: Corpus, chosen: Sequence[Utterance], target: Path) -> Path:
    """A corpus in `target` of these clips alone, so that nothing else is learnt from; their sound stays where
    it is. An older one there gives way."""
    import yaml

    from voicewright.corpus.manifest import MANIFEST, META, QUARANTINE

    target.mkdir(exist_ok=True)
    meta = corpus.meta.model_copy(update={"accepted": len(chosen)}).model_dump(mode="json")
    (target / META).write_text(yaml.safe_dump(meta, allow_unicode=True), "utf-8")
    (target / QUARANTINE).write_text("", "utf-8")
    rows = [
        item.model_copy(update={"audio": str(corpus.path(item).resolve())}).model_dump_json()
        for item in chosen
    ]
    (target / MANIFEST).write_text("\n".join(rows) + "\n", "utf-8")
    return target
