"""What the weights of `judging/score.py` rest on: how much each figure varies by chance, and what it takes.

    python benchmarks/score.py --corpus corpora/kathleen --ids '3$' --model tiny

Figures are taken once for each validation clip, recorded and spoken by the model. Then sets of `--sentences`
clips are drawn 500 times, and each set is judged as a checkpoint is: `sd` is how much a figure of the model
then varies around the recordings' own figure of the same sentences, `chance` how much of the score that is,
`recordings` what one half of the recordings would lose against the other half. Times are processor seconds of
one thread for each clip.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from voicewright.corpus.manifest import Corpus
from voicewright.corpus.split import spread
from voicewright.engines.torch_engine import TorchEngine
from voicewright.jobs.judge import read_items
from voicewright.judging.ears import open_choosing_ears
from voicewright.judging.heard import HeardClip, hear, noise_floor, pool
from voicewright.judging.judge import InLanguage
from voicewright.judging.metrics import Samples
from voicewright.judging.quick import QuickJudge
from voicewright.judging.score import WEIGHTS, costs
from voicewright.listen.recogniser import open_recogniser
from voicewright.listen.speaker import SpeakerEncoder

DRAWS = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--ids", required=True, help="regular expression of the validation clips")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--voice")
    parser.add_argument("--clips", type=int, help="at most so many")
    parser.add_argument("--sentences", type=int, default=16)
    parser.add_argument("--recogniser", default="auto", help="none: no words")
    given = parser.parse_args()
    torch.set_num_threads(1)
    corpus = Corpus.read(given.corpus)
    language = corpus.meta.language
    ids = [one.id for one in corpus.utterances if re.search(given.ids, one.id)]
    items = read_items(corpus, spread(ids, given.clips))
    recogniser = None if given.recogniser == "none" else open_recogniser(given.recogniser, language)
    encoder, more = SpeakerEncoder(), open_choosing_ears()
    judge = QuickJudge(items, recogniser, encoder, more=more, language=language)
    print(f"{len(items)} clips, {sum(len(i.recording) for i in items) / 24_000:.0f} s; {judge.ears}")
    clips = judge.speak(InLanguage(TorchEngine(given.model), language), given.voice)
    made = judge.hear(clips)
    show(made, judge.recorded_clips, given.sentences)
    print("\nprocessor milliseconds a clip, one thread:")
    ears: dict[str, Callable[[Samples], object]] = {encoder.name: encoder.embed}
    if recogniser is not None:
        ears[recogniser.name] = recogniser.transcribe
    if more.second is not None:
        ears[more.second.name] = more.second.embed
    ears |= {one.name: one.score for one in more.quality}
    ears["pitch, pace, periodicity, artefacts"] = lambda clip: hear(clip, "", None, None, (), None)
    for name, ear in ears.items():
        began = time.process_time()
        for clip in clips[:8]:
            ear(clip)
        print(f"{name}: {(time.process_time() - began) / len(clips[:8]) * 1000:.0f}")


def show(made: Sequence[HeardClip], recorded: Sequence[HeardClip], sentences: int) -> None:
    """The table of figures, and that of the score's terms."""
    rng = np.random.default_rng(0)
    pairs, ours, theirs = [], [], []
    # The noise is no matter of chance; taking it for each draw would take minutes.
    floor, own = noise_floor(made, 0), noise_floor(recorded, 0)
    for _ in range(DRAWS):
        drawn = rng.choice(len(made), sentences, replace=True)
        pairs.append(
            (pool([made[i] for i in drawn], noise=floor), pool([recorded[i] for i in drawn], noise=own))
        )
        halves = rng.permutation(len(recorded))
        one, other = halves[:sentences], halves[sentences : 2 * sentences]
        ours.append(pool([recorded[i] for i in one], noise=own))
        theirs.append(pool([recorded[i] for i in other], noise=own))
    print(f"\n{'figure':<14}{'recordings':>12}{'model':>10}{'sd':>9}   of sets of {sentences}")
    for name in asdict(pairs[0][0]):
        a = [getattr(pair[0], name) for pair in pairs]
        b = [getattr(pair[1], name) for pair in pairs]
        if a[0] is not None:
            print(f"{name:<14}{np.mean(b):>12.3f}{np.mean(a):>10.3f}{np.std(np.subtract(a, b)):>9.3f}")
    lost = [costs(a, b) for a, b in pairs]
    free = [costs(a, b) for a, b in zip(ours, theirs, strict=True)]
    print(f"\n{'term':<14}{'weight':>8}{'cost':>9}{'chance':>9}{'recordings':>12}")
    for name in lost[0]:
        terms, halves = [one[name] for one in lost], [one[name] for one in free]
        print(
            f"{name:<14}{WEIGHTS[name]:>8}{np.mean(terms):>9.3f}{np.std(terms):>9.3f}{np.mean(halves):>12.3f}"
        )


if __name__ == "__main__":
    main()
