"""An utterance's alignment drawn over its spectrogram."""

from __future__ import annotations

from pathlib import Path

from voicewright.errors import UsageError, VoicewrightError
from voicewright.progress import Progress


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
