"""What a fit learns from: recordings made a corpus, its clips, and whether one person speaks in them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from voicewright.errors import Interrupted, VoicewrightError

if TYPE_CHECKING:
    from voicewright.corpus.manifest import Corpus, Refusal
    from voicewright.listen.speaker import Encoder
    from voicewright.voices.references import Take
    from voicewright.voices.studio import Studio

STOPPED = "Stopped before there was a voice; nothing was written."
LEAST, MOST = 4.0, 600.0
"""Seconds of speech: below the first nothing is fitted, above the second no more is listened to."""
AMPLE = 1.5
"""As much more is prepared, since some of it is refused."""
_OTHERS = 0.2
"""Share of the speech that may be somebody else's: it is left out."""
_ADVICE = {
    "silent": "record louder, or nearer to the microphone",
    "clipped": "record softer, so that nothing is cut off",
    "too_noisy": "record where it is quiet, without music",
    "too_short": "record whole sentences",
    "text_audio_mismatch": "mend the texts, or leave them out and let Whisper write them",
    "wrong_text": "mend the texts, or leave them out and let Whisper write them",
    "unsure_transcript": "record more clearly, or lay the text of each beside it, as NAME.txt",
}
"""What to do where most recordings are refused for a reason that does not say it itself."""
_ELSEWHERE = re.compile(
    r" \d+ of \d+ clips are done: the same command goes on from there\."
    r"|, or --no-check-language if they are what you say"
)
"""What `prepare` alone can say."""


def corpus_of(
    source: Path, work: Path, language: str | None, recogniser: str, progress: Callable[..., None]
) -> tuple[Corpus, list[str]]:
    """The recordings as a corpus (one is made unless it is one), and what of them was refused."""
    from voicewright.corpus.manifest import META, QUARANTINE, Corpus, read_quarantine
    from voicewright.corpus.prepare import prepare
    from voicewright.corpus.sound import advice, listen

    folder = source
    if not (source / META).is_file():
        folder = work / "corpus"
        most = AMPLE * MOST
        try:
            prepare(source, folder, language=language, recogniser=recogniser, most=most, progress=progress)
        except KeyboardInterrupt as error:  # what it says it has kept goes with this folder
            raise Interrupted(STOPPED) from error
        except VoicewrightError as error:
            said = str(error).replace(f"; {folder / QUARANTINE} says why for each", "")
            refusals = read_quarantine(folder) if (folder / QUARANTINE).is_file() else []
            error.args = (_ELSEWHERE.sub("", said) + _advice(refusals), *error.args[1:])
            raise
    corpus, again = _once(Corpus.read(folder))
    refusals = read_quarantine(folder)
    unsure = [one for one in refusals if one.reason == "unsure_transcript"]
    if len(unsure) > len(corpus.utterances):
        raise VoicewrightError(
            f"{source}: most of it is not understood ({_of(unsure[0])}), nor can the rest be trusted: lay "
            "the text of each recording beside it, as NAME.txt, or say --language; `voicewright doctor` says "
            "whether Whisper is here, which understands more."
        )
    notes = [_left_out(one) for one in refusals[:5]]
    if len(refusals) > 5:
        notes.append(f"{len(refusals) - 5} more are left out; `voicewright prepare` names them.")
    notes += again
    sound = listen(corpus.utterances)
    notes += [f"{source}: {said}" for said in advice(sound)] if sound is not None else []
    if len(corpus.speakers) > 1:
        raise VoicewrightError(
            f"{source} holds {len(corpus.speakers)} speakers ({', '.join(corpus.speakers[:4])}); "
            "fit one at a time."
        )
    if corpus.seconds < LEAST:
        why = f" ({_of(refusals[0])})" if refusals else ""
        raise VoicewrightError(
            f"{source} holds {corpus.seconds:.1f} s of speech that serves{why}; record at least "
            f"{LEAST:.0f} s, better a minute, of one person reading."
        )
    return corpus, notes


def _once(corpus: Corpus) -> tuple[Corpus, list[str]]:
    """Without copies of a clip, which teach nothing and would judge what they have taught."""
    first: dict[str, str] = {}
    copies = [one.id for one in corpus.utterances if first.setdefault(one.hash, one.id) != one.id]
    if not copies:
        return corpus, []
    names = ", ".join(copies[:4]) + (" ..." if len(copies) > 4 else "")
    kept = tuple(one for one in corpus.utterances if one.id not in copies)
    return replace(corpus, utterances=kept), [f"{names}: the same sound as in another clip; left out"]


def _of(refusal: Refusal) -> str:
    """Which recording, and why; a list's row names itself in its reason."""
    detail = refusal.detail.rstrip(".")
    return detail if refusal.source in detail else f"{refusal.source}: {detail}"


def _left_out(refusal: Refusal) -> str:
    return f"{_of(refusal)}; left out"


def _advice(refusals: list[Refusal]) -> str:
    """A sentence on what to do about the most frequent reason; nothing where the reasons say it."""
    first = Counter(one.reason for one in refusals).most_common(1)
    advice = _ADVICE.get(first[0][0]) if first else None
    return f" {advice[0].upper()}{advice[1:]}." if advice else ""


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
