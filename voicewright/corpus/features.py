"""What training reads of a corpus: per utterance tokens, durations, F0, energy, mel and
samples, computed once.

In the cache folder (usually `<corpus>/features/`):
  acoustic-*.safetensors  what follows from the sound alone, keyed by the audio's hash
                          (see `voicewright.corpus.acoustic`)
  aligner.safetensors     the aligner that this corpus taught
  alignments.jsonl        durations and confidence, keyed by audio, phonemes, speaker and the settings
  quarantine.jsonl        utterances left out, each with a reason
Every file is written under a temporary name and renamed, so an interrupted run continues where it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from voicewright.audio.files import write_atomically
from voicewright.corpus.acoustic import SHARD, VERSION, Acoustic, open_shard
from voicewright.corpus.align import AlignerSettings, Alignment, Clip, Progress, align, apply
from voicewright.corpus.doubt import ENOUGH, doubts
from voicewright.corpus.manifest import Corpus, Refusal, Utterance, content_hash
from voicewright.corpus.phones import inventory
from voicewright.errors import Interrupted, VoicewrightError
from voicewright.model.tts.aligner import AlignerNet, load_aligner, save_aligner
from voicewright.text.vocab import KOKORO, PAD

MIN_CONFIDENCE = 0.35
"""Below this the audio hardly belongs to the text, where too few clips are there to compare it with."""
ALIGNER_VERSION = "align-3"
"""Part of the key of durations: raise it when aligning gives other numbers."""
_READABLE = (ALIGNER_VERSION, "align-2", "align-1")
"""Accepted by training: durations stay as they are until the corpus is prepared again."""
ALIGNER = "aligner.safetensors"
ALIGNMENTS = "alignments.jsonl"
LEFT_OUT = "quarantine.jsonl"


@dataclass
class Features:
    """One utterance, ready for training. F frames of 25 ms; arrays may be read-only views of files.

    tokens int64 [T] with a PAD on both ends; durations int64 [T], each at least 1, summing to F;
    confidence 0..1 of the alignment; f0 float32 [2F] in Hz, 0 where unvoiced; energy float32 [2F]; mel
    float16 [80, 2F] ("styletts2"); samples int16 [600 F] at 24 kHz. The sound begins after exactly 6
    frames of digital silence and ends before 7.
    """

    id: str
    speaker: str
    tokens: npt.NDArray[np.int64]
    durations: npt.NDArray[np.int64]
    confidence: float
    f0: npt.NDArray[np.float32]
    energy: npt.NDArray[np.float32]
    mel: npt.NDArray[np.float16]
    samples: npt.NDArray[np.int16]


def build_features(
    corpus: Corpus,
    cache: Path | None = None,
    progress: Progress | None = None,
    split: Callable[[str], bool] | None = None,
    *,
    settings: AlignerSettings | None = None,
    init: Path | None = None,
    workers: int = 2,
    min_confidence: float | None = None,
    refuse: bool = True,
    vocab: Mapping[str, int] = KOKORO,
) -> list[Features]:
    """Features of a corpus's utterances, in its order; only what is new or changed is computed.

    `split` keeps the utterances whose id it accepts: others are neither computed nor seen by the aligner.
    A later call with another split aligns the rest with the aligner that is there, unless that is more
    than it was taught with. `init` names aligner weights to start from. `cache` is `<corpus>/features`
    unless given. Utterances whose text does not stand out as theirs (see `voicewright.corpus.doubt`), or
    below `min_confidence`, are left out and written to the cache's quarantine.jsonl, unless `refuse` is
    False. `vocab`: the token ids of phonemes. Raises VoicewrightError when nothing can be aligned, audio
    cannot be read or the cache cannot be written.
    """
    folder = cache or corpus.folder / "features"
    settings = settings or AlignerSettings()
    tell = progress or (lambda stage, done: None)
    chosen = [u for u in corpus.utterances if split is None or split(u.id)]
    if not chosen:
        raise VoicewrightError(f"{corpus.folder} has no utterance to compute features of.")
    try:
        # What was measured before Ctrl-C stays; the aligner's own minute does not.
        folder.mkdir(parents=True, exist_ok=True)
        every = {u.hash for u in corpus.utterances}
        sounds = _acoustics(corpus.folder, chosen, folder, workers, tell, every)
        found = _alignments(chosen, sounds, folder, settings, init, tell)
        if not refuse:
            return [
                _features(u, found[u.id], sounds[u.hash], vocab)
                for u in chosen
                if found[u.id].durations.all()
            ]
        return _assemble(chosen, sounds, found, folder, min_confidence, vocab)
    except KeyboardInterrupt as error:
        raise Interrupted(
            f"Interrupted while features were computed: what is in {folder} is kept, "
            "and the same command goes on from there."
        ) from error
    except OSError as error:
        raise VoicewrightError(
            f"{folder} cannot be written: {error}. Free some space or give another cache."
        ) from error


def _assemble(
    chosen: Sequence[Utterance],
    sounds: dict[str, Acoustic],
    found: dict[str, Alignment],
    folder: Path,
    least: float | None,
    vocab: Mapping[str, int],
) -> list[Features]:
    out: list[Features] = []
    refused: list[Refusal] = []
    odd = doubts([found[u.id].margin for u in chosen], [u.speaker for u in chosen])
    if least is None:
        least = MIN_CONFIDENCE if odd is None else 0.0
    for utterance, doubt in zip(chosen, odd or [""] * len(chosen), strict=True):
        alignment = found[utterance.id]
        if alignment.reason or doubt or alignment.confidence < least:
            detail = (
                alignment.reason
                or doubt
                or f"alignment confidence {alignment.confidence:.2f} is below {least:.2f}; "
                "text and audio may differ"
            )
            refused.append(
                Refusal(source=utterance.source, id=utterance.id, reason="alignment", detail=detail)
            )
            continue
        out.append(_features(utterance, alignment, sounds[utterance.hash], vocab))
    lines = (json.dumps(r.model_dump(mode="json"), ensure_ascii=False) + "\n" for r in refused)
    text = "".join(lines).encode()
    path = folder / LEFT_OUT
    if not path.exists() or path.read_bytes() != text:
        write_atomically(path, text)
    return out


def _features(
    utterance: Utterance, alignment: Alignment, sound: Acoustic, vocab: Mapping[str, int]
) -> Features:
    return Features(
        id=utterance.id,
        speaker=utterance.speaker,
        tokens=_tokens(utterance, vocab),
        durations=alignment.durations,
        confidence=alignment.confidence,
        f0=sound.f0,
        energy=sound.energy,
        mel=sound.mel,
        samples=sound.samples,
    )


def doubtful(
    folder: Path,
    utterances: Sequence[Utterance],
    workers: int = 2,
    progress: Progress | None = None,
    settings: AlignerSettings | None = None,
) -> dict[str, str] | None:
    """Ids of a corpus's utterances whose text is probably not what was said, each with a sentence why.

    Teaches an aligner and leaves it, the sounds and the durations in the corpus's features, for training.
    None where there are too few clips to tell, or the aligner could not learn them. Raises
    VoicewrightError as `build_features` does.
    """
    tell = progress or (lambda stage, done: None)
    cache = folder / "features"
    if len(utterances) < ENOUGH:
        return None
    try:
        cache.mkdir(parents=True, exist_ok=True)
        sounds = _acoustics(folder, utterances, cache, workers, tell)
        used = settings or AlignerSettings()
        found = _alignments(utterances, sounds, cache, used, None, tell, (ALIGNER_VERSION,))
    except OSError as error:
        raise VoicewrightError(f"{cache} cannot be written: {error}. Free some space.") from error
    odd = doubts([found[u.id].margin for u in utterances], [u.speaker for u in utterances])
    return None if odd is None else {u.id: doubt for u, doubt in zip(utterances, odd, strict=True) if doubt}


def _tokens(utterance: Utterance, vocab: Mapping[str, int]) -> npt.NDArray[np.int64]:
    missing = sorted({symbol for symbol in utterance.phonemes if symbol not in vocab})
    if missing:
        raise VoicewrightError(
            f"Utterance {utterance.id} holds the phoneme {missing[0]!r}, which has no token id; "
            "prepare the corpus again."
        )
    return np.array([PAD, *(vocab[symbol] for symbol in utterance.phonemes), PAD], np.int64)


# --- sound ------------------------------------------------------------------------------------------------


def _acoustics(
    corpus: Path,
    chosen: Sequence[Utterance],
    folder: Path,
    workers: int,
    tell: Progress,
    every: Collection[str] = (),
) -> dict[str, Acoustic]:
    """Sounds by audio hash; what the shards lack is computed by worker processes, shard by shard.

    Shards that hold nothing of the chosen utterances, nor of `every`, are deleted.
    """
    wanted = {u.hash: u for u in chosen}
    sounds = _open_shards(folder, {*wanted, *every})
    lacking = [u for key, u in wanted.items() if key not in sounds]
    jobs = []
    for start in range(0, len(lacking), SHARD):
        part = lacking[start : start + SHARD]
        name = content_hash("".join([VERSION, *(u.hash for u in part)]).encode())[:16]
        clips = [[u.hash, str(corpus / u.audio)] for u in part]
        jobs.append(json.dumps({"shard": str(folder / f"acoustic-{name}.safetensors"), "clips": clips}))
    for done, shard in enumerate(_run_workers(jobs, max(1, min(workers, len(jobs))))):
        sounds.update(open_shard(Path(shard)))
        tell("features", (done + 1) / len(jobs))
    return {key: sounds[key] for key in wanted}


def _open_shards(folder: Path, known: set[str]) -> dict[str, Acoustic]:
    """All clips in the cache; shards that are damaged or no longer of this corpus are deleted."""
    sounds: dict[str, Acoustic] = {}
    for path in sorted(folder.glob("acoustic-*.safetensors")):
        try:
            clips = open_shard(path)
        except VoicewrightError:
            clips = {}
        if known.isdisjoint(clips):
            path.unlink()
        else:
            sounds.update(clips)
    return sounds


def _run_workers(jobs: Sequence[str], workers: int) -> Iterator[str]:
    """Yield the shard of each job as it is written. Raises VoicewrightError with a worker's own sentence."""
    if not jobs:
        return
    command = [sys.executable, "-m", "voicewright.corpus.acoustic"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    running = []
    try:
        for number in range(workers):
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
            running.append(process)
            # Jobs exceed a pipe's buffer, so they are fed while the answers are read.
            threading.Thread(target=_feed, args=(process, jobs[number::workers]), daemon=True).start()
        for turn in range(len(jobs)):
            process = running[turn % workers]
            assert process.stdout is not None and process.stderr is not None
            line = process.stdout.readline().strip()
            if not line:
                said = process.stderr.read().strip().splitlines()
                raise VoicewrightError(
                    said[-1] if said else "A worker that computes features was ended from outside."
                )
            yield line
    finally:
        for process in running:
            process.kill()
            process.wait()
            for pipe in (process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()


def _feed(process: subprocess.Popen[str], jobs: Sequence[str]) -> None:
    assert process.stdin is not None
    # A worker that has failed reads no more; its own sentence is what the caller reports.
    with contextlib.suppress(BrokenPipeError, ValueError), process.stdin as pipe:
        for job in jobs:
            pipe.write(job + "\n")
            pipe.flush()


# --- durations --------------------------------------------------------------------------------------------


@dataclass
class _Known:
    """alignments.jsonl: a first line about the aligner, then one line per clip."""

    recipe: str
    taught: int
    """Clips that the aligner was trained on."""
    alignments: dict[str, Alignment]


def _key(utterance: Utterance) -> str:
    return content_hash("\n".join([utterance.hash, utterance.speaker, utterance.phonemes]).encode())


def _alignments(
    chosen: Sequence[Utterance],
    sounds: dict[str, Acoustic],
    folder: Path,
    settings: AlignerSettings,
    init: Path | None,
    tell: Progress,
    versions: Sequence[str] = _READABLE,
) -> dict[str, Alignment]:
    """Alignments by utterance id; those of one of the `versions` that are there are kept."""
    recipes = [json.dumps([version, VERSION, asdict(settings)]) for version in versions]
    keys = {u.id: _key(u) for u in chosen}
    known = _read_alignments(folder / ALIGNMENTS, recipes)
    new = [u for u in chosen if keys[u.id] not in known.alignments]
    if new:
        net = _taught(folder, known, new)
        if net is not None:
            tell("aligner: aligning", 0.0)
            others = [u.phonemes for u in chosen if keys[u.id] in known.alignments]
            results = apply(net, [_clip(u, sounds) for u in new], settings, others)
        else:
            new = list(chosen)
            start = load_aligner(init) if init else None
            results, net = align([_clip(u, sounds) for u in new], settings, start, tell)
            known = _Known(recipes[0], len(new), {})
            save_aligner(net, folder / ALIGNER)
        known.alignments.update((keys[u.id], result) for u, result in zip(new, results, strict=True))
        _write_alignments(folder / ALIGNMENTS, known)
        tell("aligner: done", 1.0)
    return {u.id: replace(known.alignments[keys[u.id]], id=u.id) for u in chosen}


def _taught(folder: Path, known: _Known, new: Sequence[Utterance]) -> AlignerNet | None:
    """The cache's aligner, when it was taught with no less than what is new and knows every phone of it."""
    if len(new) > known.taught or not (folder / ALIGNER).exists():
        return None
    try:
        net = load_aligner(folder / ALIGNER)
    except VoicewrightError:
        return None
    return net if set(inventory(u.phonemes for u in new)) <= set(net.symbols) else None


def _clip(utterance: Utterance, sounds: dict[str, Acoustic]) -> Clip:
    return Clip(utterance.id, utterance.phonemes, utterance.speaker, sounds[utterance.hash].mel)


def _read_alignments(path: Path, recipes: Sequence[str]) -> _Known:
    """What is known under these recipes; nothing, when the file is absent, damaged or of another recipe."""
    known = _Known(recipes[0], 0, {})
    if not path.exists():
        return known
    try:
        head, *lines = path.read_text("utf-8").splitlines()
        first = json.loads(head)
        if first["recipe"] not in recipes:
            return known
        known.recipe = first["recipe"]
        for line in lines:
            key, durations, *rest = json.loads(line)
            known.alignments[key] = Alignment("", np.array(durations, np.int64), *rest)
        known.taught = int(first["taught"])
        return known
    except (ValueError, KeyError, TypeError):
        return _Known(recipes[0], 0, {})


def _write_alignments(path: Path, known: _Known) -> None:
    lines = [json.dumps({"recipe": known.recipe, "taught": known.taught})]
    for key, a in known.alignments.items():
        row = [key, a.durations.tolist(), a.confidence, a.reason, a.margin]
        lines.append(json.dumps(row, ensure_ascii=False, separators=(",", ":")))
    write_atomically(path, "".join(line + "\n" for line in lines).encode())
