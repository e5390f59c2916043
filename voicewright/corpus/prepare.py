"""Recordings → corpus: find, measure, check, write; every item found ends as accepted or as refused."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from types import MappingProxyType

from voicewright.audio.loudness import TARGET
from voicewright.corpus.clips import ClipSettings, Limits, Outcome, Reader
from voicewright.corpus.coverage import survey
from voicewright.corpus.journal import JOURNAL, Journal
from voicewright.corpus.language import heard, settle
from voicewright.corpus.making import MakeClip, Progress, make_clips
from voicewright.corpus.manifest import (
    AUDIO,
    META,
    QUARANTINE,
    CorpusMeta,
    Refusal,
    Utterance,
    keep_doubtful,
    read_meta,
    recall_doubtful,
    write_corpus,
)
from voicewright.corpus.pace import mismatches
from voicewright.corpus.readings import cut_readings
from voicewright.corpus.recordings import PIECES, Cutter
from voicewright.corpus.segment import Cutting, Detector
from voicewright.corpus.sound import listen
from voicewright.corpus.sources import Item, Sources, Transcribe, discover
from voicewright.corpus.summary import Summary, origins, render
from voicewright.corpus.thinning import thinned
from voicewright.errors import Interrupted, UsageError, VoicewrightError
from voicewright.listen.recogniser import Choice, choose
from voicewright.pool import Crashed, spread
from voicewright.text.frontend import Frontend

__all__ = ["Progress", "Summary", "prepare", "render"]

_DOUBTFUL = frozenset({"text_audio_mismatch", "wrong_text"})
"""Reasons after which a clip's sound is kept, to be looked at."""


@dataclass(frozen=True)
class _MakeCutter:
    out: Path

    def __call__(self) -> Callable[[Item], list[Item]]:
        return Cutter(self.out, Cutting(), Detector())


def prepare(
    source: Path,
    out: Path,
    language: str | None = None,
    speaker: str | None = None,
    licence: str | None = None,
    consent: str | None = None,
    lexicon: Path | None = None,
    transcribe: Transcribe = "auto",
    recogniser: str = "auto",
    limits: Limits | None = None,
    workers: int | None = None,
    reader: Reader | None = None,
    verify: bool = True,
    check_language: bool = True,
    most: float | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Make a corpus in `out` from the recordings in `source` (a folder, a list or one recording).

    `language` is guessed from the texts unless given, and compared with them unless `check_language` is
    False. With `verify`, clips whose text is probably not what is said are refused: an aligner is taught on
    the corpus (see `voicewright.corpus.doubt`), which training then uses. `speaker` names whoever the
    metadata does not name (default: the folder's name). `transcribe` and `recogniser`: see `discover` and
    `listen.recogniser`. `most`: seconds of speech that are enough; the rest is left out, evenly. `workers`:
    default the CPUs. An interrupted run, run again, goes on where it stopped.
    Raises VoicewrightError (nothing to prepare, nothing accepted, disk full), UsageError (`out` is in use,
    the texts are in another language), Interrupted (Ctrl-C).
    """
    tell = progress or (lambda *_: None)
    _check_free(source, out)
    sources = discover(source, out, transcribe, speaker)
    notes = list(sources.notes)
    if check_language:
        language, note = _language(language, sources, source, out)
        notes += [note] if note else []
    language = language or "en-us"
    front = reader or Frontend(language, lexicon)
    _claim(out)
    settings = ClipSettings(out, language, speaker or sources.folder.resolve().name, limits or Limits())
    workers = workers or os.cpu_count() or 1
    items, cut = cut_readings(
        sources.items, out, language, lexicon, reader, settings.limits.max_seconds, workers, tell
    )
    notes += [cut] if cut else []
    pieces, ears = _cut(sources.untranscribed, out, language, recogniser, workers, tell)
    items, fewer = thinned(items + pieces, most)
    notes += fewer
    with Journal(out) as journal:
        make = MakeClip(settings, lexicon, reader, ears)
        outcomes, resumed = make_clips(items, make, journal, workers, tell)
        journal.keep(outcomes)
    accepted, refused = _settle(outcomes)
    if verify:
        doubts, said = _verify(accepted, len(items), out, workers, tell)
        notes += said
        accepted, refused = _settle(outcomes, doubts) if doubts else (accepted, refused)
    # The promise of this module: whatever happened on the way, every item has an outcome.
    if len(accepted) + len(refused) != len(items):
        raise AssertionError(f"{len(items)} found, {len(accepted)} accepted, {len(refused)} quarantined")
    summary = Summary(
        folder=out,
        language=language,
        licence=licence or "unknown",
        found=len(items),
        accepted=len(accepted),
        quarantined=dict(Counter(refusal.reason for refusal in refused).most_common()),
        seconds=sum(utterance.seconds for utterance in accepted),
        speakers=_speakers(accepted),
        resumed=resumed,
        coverage=survey(accepted, language, front),
        texts=origins(accepted, items),
        notes=tuple(notes),
        sound=listen(accepted),
    )
    doubtful = _doubtful(outcomes, refused)
    _write(summary, sources.folder.resolve().name, consent or "unknown", accepted, refused, doubtful)
    if not accepted:
        raise VoicewrightError(_none_usable(summary, source, refused))
    return summary


def _speakers(accepted: Sequence[Utterance]) -> dict[str, float]:
    """Each speaker's seconds, by name."""
    seconds: dict[str, float] = {}
    for utterance in accepted:
        seconds[utterance.speaker] = seconds.get(utterance.speaker, 0.0) + utterance.seconds
    return dict(sorted(seconds.items()))


def _doubtful(outcomes: Sequence[Outcome], refused: Sequence[Refusal]) -> list[Utterance]:
    """Clips that were refused for their text alone."""
    known = {refusal.id for refusal in refused if refusal.reason in _DOUBTFUL}
    return [o.utterance for o in outcomes if o.utterance is not None and o.utterance.id in known]


def _none_usable(summary: Summary, source: Path, refused: Sequence[Refusal]) -> str:
    """The sentence where every clip was refused: why, for one or for all."""
    reasons = ", ".join(f"{count} {reason}" for reason, count in summary.quarantined.items())
    details = {refusal.detail for refusal in refused}
    first = f"{refused[0].source}: {refused[0].detail.rstrip('.')}"
    quarantine = summary.folder / QUARANTINE
    why = details.pop() if len(details) == 1 else f"{first}; {quarantine} says why for each."
    return f"None of the {summary.found} clips in {source} can be used ({reasons}): {why}"


def _write(
    summary: Summary,
    source: str,
    consent: str,
    accepted: Sequence[Utterance],
    refused: Sequence[Refusal],
    doubtful: Sequence[Utterance],
) -> None:
    meta = CorpusMeta(
        language=summary.language,
        licence=summary.licence,
        consent=consent,
        source=source,
        speakers=tuple(summary.speakers),
        found=summary.found,
        accepted=summary.accepted,
        quarantined=len(refused),
        minutes=round(summary.seconds / 60, 3),
        lufs=TARGET,
        tool=f"voicewright {metadata.version('voicewright')}",
    )
    keep_doubtful(summary.folder, doubtful)
    # Before the index: audio of an earlier source, or refused at the end, is not to be taken for the corpus.
    _sweep(summary.folder, accepted)
    write_corpus(summary.folder, meta, accepted, refused)


def _cut(
    recordings: Sequence[Item],
    out: Path,
    language: str,
    recogniser: str,
    workers: int,
    tell: Progress,
) -> tuple[list[Item], Choice | None]:
    """Pieces of recordings without text, in order; the recordings, refused, where nothing can hear them."""
    if not recordings:
        return [], None
    try:
        ears = choose(recogniser, language).ready()
        make = _MakeCutter(out)
        make()  # fails here, and not in a worker, where silero-vad is missing
    except VoicewrightError as error:
        why = f"{str(error).removesuffix('.')}; or lay the text of each beside it, as NAME.txt."
        return [item.refused("no_text", why) for item in recordings], None
    found: list[list[Item]] = [[] for _ in recordings]
    tell("recordings", 0, len(recordings))
    with contextlib.closing(spread(recordings, make, workers, batch=1)) as results:
        for done, (index, result) in enumerate(results, 1):
            if isinstance(result, Crashed):
                result = [recordings[index].refused("decoder_crash", "the process that decoded it died")]
            found[index] = [replace(item, transcript=ears.kind) for item in result]
            tell("recordings", done, len(recordings))
    return [item for pieces in found for item in pieces], ears


def _language(said: str | None, sources: Sources, source: Path, out: Path) -> tuple[str, str]:
    """The language to prepare in, and a note on it. Raises UsageError where texts, corpus and words
    differ.
    """
    texts = [item.text for item in sources.items if item.text]
    languages = {item.language for item in sources.items if item.text}
    listed = next(iter(languages)) if len(languages) == 1 else None
    held = None
    if (out / META).exists():
        with contextlib.suppress(VoicewrightError):
            held = read_meta(out).language
    chosen, note = settle(said, texts, held, source, out, listed)
    if said is None and held is None and not texts and sources.untranscribed:
        path = sources.untranscribed[0].path
        spoken = heard(path) if path is not None else None
        if spoken is not None:
            return settle(None, [], spoken, source, out)[0], f"Whisper hears the language {spoken}."
    return chosen, note


def _check_free(source: Path, out: Path) -> None:
    """`out` must be new, empty, or a corpus; it must not hold the recordings."""
    here, there = source.resolve(), out.resolve()
    if here == there or there in here.parents:
        raise UsageError(f"{out} holds the recordings: choose another folder for the corpus.")
    try:
        if out.exists() and not (out / META).exists() and not (out / JOURNAL).exists() and any(out.iterdir()):
            raise UsageError(f"{out} is not empty and no corpus: choose another folder.")
    except OSError as error:
        raise VoicewrightError(f"{out} cannot be used: {error.strerror or error}.") from error


def _claim(out: Path) -> None:
    try:
        (out / AUDIO).mkdir(parents=True, exist_ok=True)
        for stale in (out / AUDIO).glob(".*.part"):
            stale.unlink(missing_ok=True)
        recall_doubtful(out)
        # An index of an earlier run would promise what is about to change.
        (out / META).unlink(missing_ok=True)
    except OSError as error:
        raise VoicewrightError(f"{out} cannot be used: {error.strerror or error}.") from error


def _verify(
    accepted: Sequence[Utterance], made: int, out: Path, workers: int, tell: Progress
) -> tuple[dict[str, str], list[str]]:
    """Ids of clips whose text is probably not what is said, each with a sentence why; what to say of it.

    Raises Interrupted, which says that all clips that were `made` are kept.
    """
    try:
        from voicewright.corpus.features import doubtful  # torch, which nothing else here needs

        odd = doubtful(out, accepted, workers, lambda stage, share: tell(stage, round(100 * share), 100))
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"Interrupted while the texts were checked: all {made} clips and the sounds measured so far are "
            "kept; the same command goes on from there, with --no-verify without this check."
        ) from error
    if odd is None:
        few = f"Whether texts and recordings belong together was judged by length alone: {len(accepted)}"
        return {}, [f"{few} clips are too few, or too unlike, to teach an aligner."] if accepted else []
    if not odd:
        return {}, []
    names = ", ".join(list(odd)[:10]) + (", …" if len(odd) > 10 else "")
    return odd, [
        f"Probably another text than is said: {names}. See for yourself: "
        f"voicewright align {out} {next(iter(odd))} -o picture.png"
    ]


def _settle(
    outcomes: Sequence[Outcome], doubts: Mapping[str, str] = MappingProxyType({})
) -> tuple[list[Utterance], list[Refusal]]:
    """Split outcomes, and refuse the clips whose pace does not fit their speaker's, or doubtful."""
    utterances = [outcome.utterance for outcome in outcomes if outcome.utterance is not None]
    pace = mismatches(utterances)
    odd = {name: ("text_audio_mismatch", why) for name, why in pace.items()}
    odd |= {name: ("wrong_text", why) for name, why in doubts.items() if name not in pace}
    accepted: list[Utterance] = []
    refused: list[Refusal] = []
    for outcome in outcomes:
        utterance = outcome.utterance
        if outcome.refusal is not None:
            refused.append(outcome.refusal)
        elif utterance is not None and utterance.id in odd:
            reason, why = odd[utterance.id]
            refused.append(Refusal(source=utterance.source, id=utterance.id, reason=reason, detail=why))
        elif utterance is not None:
            accepted.append(utterance)
    return accepted, refused


def _sweep(out: Path, accepted: Sequence[Utterance]) -> None:
    """Remove audio that the manifest does not name: refused at the end, or left by an earlier source."""
    kept = {utterance.audio for utterance in accepted}
    for path in (out / AUDIO).glob("*.flac"):
        if f"{AUDIO}/{path.name}" not in kept:
            path.unlink(missing_ok=True)
    shutil.rmtree(out / PIECES, ignore_errors=True)
