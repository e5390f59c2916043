"""What a fit learns from: recordings made a corpus, its clips, and whether one person speaks in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voicewright.errors import VoicewrightError

if TYPE_CHECKING:
    from voicewright.corpus.manifest import Corpus
    from voicewright.listen.speaker import Encoder
    from voicewright.voices.references import Take
    from voicewright.voices.studio import Studio

LEAST, MOST = 4.0, 600.0
"""Seconds of speech: below the first nothing is fitted, above the second no more is listened to."""
AMPLE = 1.5
"""As much more is prepared, since some of it is refused."""
_OTHERS = 0.2
"""Share of the speech that may be somebody else's: it is left out."""


def corpus_of(
    source: Path, work: Path, language: str | None, recogniser: str, progress: Callable[..., None]
) -> tuple[Corpus, list[str]]:
    """The recordings as a corpus (one is made unless it is one), and what of them was refused."""
    from voicewright.corpus.manifest import META, QUARANTINE, Corpus, read_quarantine
    from voicewright.corpus.prepare import prepare

    folder = source
    if not (source / META).is_file():
        folder = work / "corpus"
        most = AMPLE * MOST
        try:
            prepare(source, folder, language=language, recogniser=recogniser, most=most, progress=progress)
        except VoicewrightError as error:
            gone = f"; {folder / QUARANTINE} says why for each"  # with this folder
            if gone not in str(error):
                raise
            raise VoicewrightError(str(error).replace(gone, "")) from error
    corpus = Corpus.read(folder)
    refusals = read_quarantine(folder)
    notes = [f"{one.source} is left out: {one.detail}" for one in refusals[:5]]
    if len(refusals) > 5:
        notes.append(f"{len(refusals) - 5} more are left out; `voicewright prepare` names them.")
    if len(corpus.speakers) > 1:
        raise VoicewrightError(
            f"{source} holds {len(corpus.speakers)} speakers ({', '.join(corpus.speakers[:4])}); "
            "fit one at a time."
        )
    if corpus.seconds < LEAST:
        why = f" ({refusals[0].source}: {refusals[0].detail})" if refusals else ""
        raise VoicewrightError(
            f"{source} holds {corpus.seconds:.1f} s of speech that serves{why}; record at least "
            f"{LEAST:.0f} s, better a minute, of one person reading."
        )
    return corpus, notes


def takes_of(corpus: Corpus, studio: Studio) -> list[Take]:
    """Clips and tokens, evenly chosen where there is more than is listened to."""
    from voicewright.audio.files import read
    from voicewright.corpus.split import spread
    from voicewright.voices.references import Take

    chosen = list(corpus.utterances)
    if corpus.seconds > MOST:
        chosen = spread(chosen, max(1, int(len(chosen) * MOST / corpus.seconds)))
    return [Take(item.id, read(corpus.path(item)), studio.ids(item.phonemes)) for item in chosen]


def one_voice(takes: list[Take], encoder: Encoder) -> tuple[list[Take], list[str]]:
    """Without the few clips that are somebody else's, and what is said of them. Raises VoicewrightError where
    they are not few."""
    from voicewright.listen.one_voice import parted

    found = parted(np.stack([encoder.embed(take.samples) for take in takes]), encoder)
    if found is None:
        return takes, []
    others = {takes[index].id for index in found.fewer}
    names = ", ".join(sorted(others)[:4]) + (" ..." if len(others) > 4 else "")
    seconds = [len(take.samples) / 24_000 for take in takes]
    theirs = sum(seconds[index] for index in found.fewer)
    if theirs > _OTHERS * sum(seconds):
        raise VoicewrightError(
            f"two voices speak in these recordings, one of them in {names} ({theirs:.0f} of "
            f"{sum(seconds):.0f} s; likeness {found.similarity:.2f}): give those of one person."
        )
    kept = [take for take in takes if take.id not in others]
    return kept, [f"{names}: another voice than in the rest (likeness {found.similarity:.2f}); left out"]
