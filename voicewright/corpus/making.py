"""Items → outcomes: known from the journal, or made now by several processes at once."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from voicewright.audio.files import Samples
from voicewright.corpus.clips import ClipSettings, Outcome, Reader, prepare_clip, refuse
from voicewright.corpus.journal import Journal
from voicewright.corpus.sources import Item
from voicewright.errors import Interrupted, VoicewrightError
from voicewright.listen.heard import Heard
from voicewright.listen.recogniser import Choice, choose
from voicewright.pool import Crashed, spread
from voicewright.text.frontend import Frontend

Progress = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and of how many."""

_PROCEDURE = 2
"""Part of every journal key: raise it when clips must be made again."""


@dataclass(frozen=True)
class MakeClip:
    """Builds a worker's function, from an item to its outcome.

    It carries the reader, or what it takes to build one; and what hears items without a text.
    """

    settings: ClipSettings
    lexicon: Path | None
    reader: Reader | None
    recogniser: Choice | None

    def __call__(self) -> Callable[[Item], Outcome]:
        reader = self.reader or Frontend(self.settings.language, self.lexicon)
        language, given = self.settings.language, self.recogniser
        # Only what has no text needs a recogniser, and most corpora have all of theirs.
        opened = functools.cache(lambda: (given or choose(language=language)).open(processes=1))

        def hear(samples: Samples, rate: int) -> Heard:
            return opened().hear(samples, rate)

        return lambda item: prepare_clip(item, self.settings, reader, hear)


def make_clips(
    items: Sequence[Item], make: MakeClip, journal: Journal, workers: int, tell: Progress
) -> tuple[list[Outcome], int]:
    """One outcome for each item, in order, and how many of them the journal knew.

    Raises Interrupted (Ctrl-C) and VoicewrightError (of the disk), both with how many are done.
    """
    outcomes: list[Outcome | None] = [None] * len(items)
    base = _fingerprint(make)
    keys: dict[int, str] = {}
    for index, item in enumerate(items):
        if item.reason is not None:
            outcomes[index] = refuse(item, item.reason, item.detail)
            continue
        keys[index] = _key(base, item, make.recogniser)
        outcomes[index] = journal.find(keys[index])
    resumed = sum(outcomes[index] is not None for index in keys)
    todo = [index for index in keys if outcomes[index] is None]
    tell("clips", len(items) - len(todo), len(items))
    # What is to be transcribed takes seconds a clip: small batches keep all processes busy to the end.
    batch = 1 if any(items[index].text is None for index in todo) else 8
    done = len(items) - len(todo)
    try:
        with contextlib.closing(spread([items[index] for index in todo], make, workers, batch)) as results:
            for position, result in results:
                index = todo[position]
                if isinstance(result, Crashed):
                    result = refuse(items[index], "decoder_crash", "the process that decoded it died")
                outcome = result.model_copy(update={"key": keys[index]})
                journal.add(outcome)
                outcomes[index] = outcome
                done += 1
                tell("clips", done, len(items))
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"Interrupted: {done} of {len(items)} clips are done and kept; "
            "the same command goes on from there."
        ) from error
    except VoicewrightError as error:
        raise VoicewrightError(
            f"{error} {done} of {len(items)} clips are done: the same command goes on from there."
        ) from error
    return [outcome for outcome in outcomes if outcome is not None], resumed


def _fingerprint(make: MakeClip) -> bytes:
    """Whatever changes a clip's outcome and is the same for all clips."""
    state = hashlib.blake2b(digest_size=16)
    limits = make.settings.limits.model_dump()
    state.update(json.dumps([_PROCEDURE, make.settings.language, make.settings.speaker, limits]).encode())
    state.update(type(make.reader).__qualname__.encode())
    if make.lexicon is not None:
        state.update(make.lexicon.read_bytes())
    text = Path(__file__).parent.parent / "text"
    for path in sorted(text.rglob("*.py")):
        state.update(path.read_bytes())
    return state.digest()


def _key(base: bytes, item: Item, ears: Choice | None) -> str:
    state = hashlib.blake2b(base, digest_size=16)
    heard = ears.key if ears is not None and item.text is None else item.transcript
    state.update(json.dumps([item.id, item.source, item.text, item.speaker, heard]).encode())
    if item.path is not None:
        # A file that cannot be read is refused later, by the one who reads it.
        with contextlib.suppress(OSError), item.path.open("rb") as file:
            state.update(hashlib.file_digest(file, "blake2b").digest())
    return state.hexdigest()
