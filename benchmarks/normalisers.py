"""Written English read by us and by the normalisers that others keep, on the same rows, by one front end.

    python benchmarks/normalisers.py [--speech FOLDER] [--peer NAME=PYTHON ...] [TABLE ...]

A peer is a Python of its own (`--peer nemo=/path/to/python`) in which `nemo_text_processing` or `wetext` is
installed; what it writes is read by our front end as plain words, so that only what it changed is compared.
Rows are the tables in `tests/support/cases/`, and with `--speech` LJSpeech's raw and normalised sentences and
every fifth ARCTIC prompt, which hold nothing to expand and must come back unchanged.

Printed for each normaliser: rows read right, seconds to start, and seconds for a megabyte of the rows.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import json
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

from reading_cases import FOLDER, Case, cases, problem

PROGRAMS = {
    "nemo": """
from nemo_text_processing.text_normalization.normalize import Normalizer
one = Normalizer(input_case="cased", lang=language, cache_dir=cache)
read = lambda text: one.normalize(text, punct_post_process=True)
""",
    "wetext": """
from wetext import Normalizer
one = Normalizer(lang=language, operator="tn")
read = one.normalize
""",
}
_AROUND = """
import json, sys, time
language, cache = sys.argv[1:3]
began = time.perf_counter()
{program}
read("one")
started = time.perf_counter() - began
texts = json.load(sys.stdin)
out, began = [], time.perf_counter()
for text in texts:
    try:
        out.append(read(text))
    except Exception as error:
        out.append("")
print(json.dumps([started, time.perf_counter() - began, out]))
"""


def prose(speech: Path) -> list[Case]:
    """LJSpeech's sentences with their normalised form, and every fifth ARCTIC prompt with itself."""
    found = []
    with (speech / "ljspeech32" / "metadata.csv").open(encoding="utf-8") as file:
        for line, row in enumerate(csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE), 1):
            found.append(Case("ljspeech", line, "prose", "en-us", "words", row[1], row[2]))
    with (speech / "kathleen" / "metadata.csv").open(encoding="utf-8") as file:
        rows = list(csv.reader(file, delimiter="|", quoting=csv.QUOTE_NONE))[::5]
    texts = enumerate((row[1] for row in rows), 1)
    return found + [Case("arctic", at, "prose", "en-us", "words", text, text) for at, text in texts]


def ours(rows: list[Case]) -> tuple[float, float, list[bool]]:
    from voicewright.text.english.normalise import normaliser

    began = time.perf_counter()
    normalise = normaliser(british=False)
    normalise("one")
    started = time.perf_counter() - began
    began = time.perf_counter()
    for row in rows:
        with contextlib.suppress(ValueError):  # an early version stopped at some; `problem` counts them
            normalise(row.written)
    seconds = time.perf_counter() - began
    return started, seconds, [not problem(row) for row in rows]


def peer(name: str, python: str, rows: list[Case], cache: Path) -> tuple[float, float, list[bool]]:
    script = _AROUND.format(program=PROGRAMS[name])
    texts = json.dumps([row.written for row in rows])
    done = subprocess.run(
        [python, "-c", script, "en", str(cache)], input=texts, capture_output=True, text=True, check=True
    )
    started, seconds, said = json.loads(done.stdout.splitlines()[-1])
    right = [
        not problem(Case(row.file, row.line, row.kind, row.language, row.check, text, row.right))
        for row, text in zip(rows, said, strict=True)
    ]
    return started, seconds, right


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("tables", nargs="*", default=["prose", "public"])
    parser.add_argument("--speech", type=Path)
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--cache", type=Path, default=Path("/tmp/normaliser-grammars"))
    given = parser.parse_args()
    groups = {
        name: [row for row in cases(name) if row.language.startswith("en-us")]
        for name in given.tables
        if (FOLDER / f"{name}.tsv").is_file()
    }
    if given.speech:
        groups["ljspeech + arctic"] = prose(given.speech)
    rows = [row for group in groups.values() for row in group]
    letters = sum(len(row.written) for row in rows)
    results = {"ours": ours(rows)}
    for words in given.peer:
        name, _, python = words.partition("=")
        results[name] = peer(name, python, rows, given.cache)
    print(f"| normaliser | {' | '.join(f'{name}, {len(group)} rows' for name, group in groups.items())} "
          "| start, s | s per MB |")  # fmt: skip
    print("|---" * (3 + len(groups)) + "|")
    for name, (started, seconds, right) in results.items():
        cells, at = [], 0
        for group in groups.values():
            cells.append(str(sum(right[at : at + len(group)])))
            at += len(group)
        speed = seconds / letters * 1e6
        print(f"| {name} | {' | '.join(cells)} | {started:.1f} | {speed:.1f} |")


if __name__ == "__main__":
    main()
