"""One recipe by many seeds: how many runs end healthy, and how far their figures lie apart.

    python benchmarks/seeds.py RECIPE CORPUS OUT [--seeds 20] [--steps N]

RECIPE trains a voice of its own (finetune, tiny, style_diffusion). Each seed is a run of its own,
`voicewright train` in a process, whose chosen model was heard by the run's own ears on sentences that it
held out. Healthy is a run that ends by itself and whose model loses at most a letter in ten more than the
recordings do, has at least eight tenths of their likeness and no steady hum, and lies at most half a
point of Distill-MOS under the median of all runs, which is told. What has ended is not run again, what
was stopped goes on. The public record to compare with: a full finetune of Kokoro that was launched
nineteen times and gave one clean model.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

import yaml

FIGURES = ("wer", "cer", "similarity", "quality", "echo", "lines_db", "pitch_hz", "pace", "score")


def run(recipe: Path, corpus: Path, out: Path, seed: int, steps: int | None) -> dict[str, float] | None:
    """The figures of the model that a seed's run chose; None where the run failed."""
    made = out / f"seed-{seed}"
    chosen = made / "best.json"
    if not (made / "ended").exists():
        out.mkdir(parents=True, exist_ok=True)
        own = out / f"{seed}.yaml"
        content = yaml.safe_load(recipe.read_text("utf-8")) | {"seed": seed}
        own.write_text(yaml.safe_dump(content, sort_keys=False), "utf-8")
        command = [sys.executable, "-m", "voicewright", "train", str(own), "--corpus", str(corpus)]
        command += ["--out", str(made)] + (["--steps", str(steps)] if steps else [])
        command += ["--resume"] if (made / "run.json").exists() else []
        with (out / f"{seed}.log").open("a", encoding="utf-8") as log:
            if subprocess.run(command, stdout=log, stderr=log, check=False).returncode:
                return None
        (made / "ended").touch()
    entries: list[dict[str, float]] = json.loads(chosen.read_text("utf-8"))
    return max(entries, key=lambda entry: entry["score"])


def healthy(found: dict[str, float], usual: float) -> bool:
    """usual: the median quality of all runs."""
    return (
        found["cer"] <= found["recordings_cer"] + 0.1
        and found["similarity"] >= 0.8 * found["recordings_similarity"]
        and found["quality"] >= usual - 0.5
        and found["hums"] <= found["recordings_hums"] + 0.25
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe", type=Path)
    parser.add_argument("corpus", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--steps", type=int)
    given = parser.parse_args()
    print("| seed | " + " | ".join(FIGURES) + " | step |")
    print("|---" * (len(FIGURES) + 2) + "|", flush=True)
    rows: dict[int, dict[str, float]] = {}
    for seed in range(1, given.seeds + 1):
        found = run(given.recipe, given.corpus, given.out, seed, given.steps)
        if found is None:
            print(f"| {seed} | failed: {given.out / f'{seed}.log'} |", flush=True)
            continue
        rows[seed] = found
        shown = " | ".join(f"{found[name]:.3f}" for name in FIGURES)
        print(f"| {seed} | {shown} | {found['step']:.0f} |", flush=True)
    if not rows:
        sys.exit("No run ended.")
    for name, chosen in (("least", min), ("median", median), ("most", max)):
        print(f"| {name} | " + " | ".join(f"{chosen(r[key] for r in rows.values()):.3f}" for key in FIGURES))
    some = next(iter(rows.values()))
    recordings = " | ".join(f"{some.get(f'recordings_{key}', float('nan')):.3f}" for key in FIGURES)
    print(f"| recordings | {recordings} | |")
    usual = median(row["quality"] for row in rows.values())
    ill = [seed for seed, row in rows.items() if not healthy(row, usual)]
    print(f"\n{len(rows) - len(ill)} of {given.seeds} healthy." + (f" Not: {ill}." if ill else ""))


if __name__ == "__main__":
    main()
