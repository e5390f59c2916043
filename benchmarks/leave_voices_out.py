"""Each of Kokoro's packs left out in turn: how much of it the others give back, from its own speech alone.

    python benchmarks/leave_voices_out.py VOICES [--model kokoro] [--prefix ab] [--sentences 3]

Ways: *nearest* other pack, *blend* of the nearest three, *guess* (ridge regression on timbre, on that blend's
curve), with a prosody blend for the other half in each but the first. Heard by three encoders, normalised:
0 is the mean of the other packs, 1 the pack itself on other sentences. `rows`: how far the acoustic half's
mean is from the true one, in the packs' mean distance from each other; `curve`: its change over length.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from voicewright.errors import VoicewrightError
from voicewright.units import STYLE
from voicewright.voices.fit_ears import open_encoders
from voicewright.voices.known import (
    Portrait,
    assembled,
    nearest,
    portraits,
    prosody_blend,
    timbre_blend,
    timbre_guess,
)
from voicewright.voices.pack import Voicepack
from voicewright.voices.studio import SENTENCES, Studio

HEARD = ("Kick the ball straight and follow through.", "A pot of tea helps to pass the evening.")


def ways(name: str, known: Mapping[str, Portrait], packs: Mapping[str, Voicepack]) -> dict[str, Voicepack]:
    """What the other packs make of this one's portrait."""
    wanted, others = known[name], {key: value for key, value in known.items() if key != name}
    blend, prosodic = timbre_blend(wanted, others), prosody_blend(wanted, others)
    return {
        "nearest": packs[nearest(wanted, others, 1)[0]],
        "blend": assembled(blend, prosodic, packs),
        "guess": assembled(blend, prosodic, packs, timbre_guess(wanted, others, packs)),
    }


def halves(pack: Voicepack) -> tuple[np.ndarray, np.ndarray]:
    """Mean of the acoustic half over length, and its change from short texts to long ones."""
    rows = pack.rows[:, 0, :STYLE].astype(np.float64)
    return rows.mean(0), rows[100:300].mean(0) - rows[:40].mean(0)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("voices", type=Path)
    parser.add_argument("--model", default="kokoro")
    parser.add_argument("--prefix", default="ab", help="First letters of the packs that take part.")
    parser.add_argument("--sentences", type=int, default=3)
    options = parser.parse_args()
    studio = Studio(options.model, options.voices, print)
    encoders = open_encoders(print)
    told = studio.lines(SENTENCES[: options.sentences], "en-us")
    heard = studio.lines(HEARD, "en-us")
    packs = {key: pack for key, pack in studio.packs.items() if key[:1] in options.prefix}

    def speak(pack: Voicepack) -> tuple[list[np.ndarray], list[int]]:
        return studio.clips(pack, told), [line.tokens.shape[1] - 2 for line in told]

    known = portraits(packs, speak, encoders.surest, studio.portraits, studio.sha256)
    names = list(known)
    own = {key: studio.clips(packs[key], heard) for key in names}
    told_clips = {key: studio.clips(packs[key], told) for key in names}
    middles = {key: halves(packs[key]) for key in names}
    spread = [
        np.mean([np.linalg.norm(middles[a][part] - middles[b][part]) for a in names for b in names if a != b])
        for part in (0, 1)
    ]
    results: dict[str, list[list[float]]] = {"nearest": [], "blend": [], "guess": []}
    for name in names:
        for way, pack in ways(name, known, packs).items():
            row = []
            clips = studio.clips(pack, heard)
            for encoder in encoders.all():
                voice = np.mean([encoder.embed(clip) for clip in told_clips[name]], axis=0)
                voice /= np.linalg.norm(voice)

                def alike(sounds: list[np.ndarray], by=encoder, target=voice) -> float:
                    return float(np.mean([by.embed(clip) @ target for clip in sounds]))

                floor = float(np.mean([alike(own[key][:1]) for key in names if key != name]))
                row.append((alike(clips) - floor) / max(alike(own[name]) - floor, 1e-3))
            middle, curve = halves(pack)
            row += [
                float(np.linalg.norm(middle - middles[name][0]) / spread[0]),
                float(np.linalg.norm(curve - middles[name][1]) / spread[1]),
            ]
            results[way].append(row)
        print(name, *(f"{way} {rows[-1][0]:.2f}" for way, rows in results.items()), flush=True)
    heads = [*(encoder.name.split(" (")[0] for encoder in encoders.all()), "rows", "curve"]
    print(f"| {len(names)} packs | " + " | ".join(heads) + " |\n|" + "---|" * (1 + len(heads)))
    for way, rows in results.items():
        print(f"| {way} | " + " | ".join(f"{value:.2f}" for value in np.mean(rows, axis=0)) + " |")


if __name__ == "__main__":
    try:
        main()
    except VoicewrightError as error:
        raise SystemExit(str(error)) from error
