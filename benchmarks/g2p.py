"""Phonemes of every language against misaki's, the pipeline that Kokoro was trained with, and the speed of text.

    python benchmarks/g2p.py errors [--languages es,fr,…] [--report disagreements.md]
    python benchmarks/g2p.py linear
    python benchmarks/g2p.py homographs

`errors` needs misaki beside Voicewright, as an oracle and nothing more; in a virtual environment of its own:
    pip install --no-deps misaki phonemizer-fork segments csvw
    pip install addict regex dlinfo joblib attrs language-tags isodate jsonschema rdflib rfc3986 uritemplate \\
        colorama termcolor babel ordered-set proces jieba pypinyin pypinyin-dict cn2an fugashi unidic-lite jaconv mojimoji
The sentences are our own: benchmarks/data/g2p_<language>.txt.
"""

from __future__ import annotations

import argparse
import itertools
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from voicewright.text.frontend import Frontend
from voicewright.text.vocab import KOKORO

DATA = Path(__file__).parent / "data"
ESPEAK = {"es": "es", "fr": "fr-fr", "hi": "hi", "it": "it", "pt-br": "pt-br", "de": "de", "nl": "nl"}
LANGUAGES = (*ESPEAK, "zh", "ja")
MARKS = re.compile(r"[\s;:,.!?—…“”\"()«»'’]+")


def sentences(language: str, times: int = 8) -> list[str]:
    """The sentences of a language, those with slots filled in `times` ways; the same every time."""
    slots: dict[str, list[str]] = {}
    found: list[str] = []
    for line in (DATA / f"g2p_{language}.txt").read_text("utf-8").splitlines():
        slot = re.fullmatch(r"(\w+) = (.+)", line)
        if slot:
            slots[slot[1]] = slot[2].split(" | ")
        elif line and not line.startswith("#"):
            base = len(found)
            used = re.findall(r"\{(\w+)\}", line)
            for turn in range(times if used else 1):
                # Slots turn at different speeds, so that values meet different neighbours.
                values = {
                    name: slots[name][(turn * (2 * at + 1) + base) % len(slots[name])]
                    for at, name in enumerate(dict.fromkeys(used))
                }
                found.append(line.format(**values))
    return list(dict.fromkeys(found))


def distance(a: str, b: str) -> int:
    """Levenshtein distance in symbols."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


@dataclass
class Count:
    sentences: int = 0
    same: int = 0
    symbols: int = 0
    errors: int = 0
    unstressed: int = 0
    whole_symbols: int = 0
    whole_errors: int = 0
    listed: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, sentence: str, ours: str, theirs: str) -> None:
        theirs = "".join(symbol for symbol in theirs if symbol in KOKORO)
        a, b = MARKS.sub("", ours), MARKS.sub("", theirs)
        wrong = distance(a, b)
        self.sentences += 1
        self.same += not wrong
        self.symbols += len(b)
        self.errors += wrong
        self.unstressed += distance(a.translate(_STRESS), b.translate(_STRESS))
        self.whole_symbols += len(theirs)
        self.whole_errors += distance(ours, theirs)
        if wrong:
            self.listed.append((sentence, ours, theirs))


_STRESS = str.maketrans("", "", "ˈˌ")


def misaki(language: str) -> Callable[[str], str]:
    """misaki's own phonemes for a text, as the `kokoro` package asks for them."""
    if language in ESPEAK:
        from misaki.espeak import EspeakG2P

        return lambda text, g2p=EspeakG2P(ESPEAK[language]): g2p(text)[0]
    if language == "zh":
        from misaki.zh import ZHG2P

        return lambda text, g2p=ZHG2P(): g2p(text)[0]
    from misaki.ja import JAG2P

    return lambda text, g2p=JAG2P(): g2p(text)[0]


def errors(languages: list[str], report: Path | None) -> None:
    lines = ["# Where Voicewright's phonemes differ from misaki's", ""]
    print("| language | sentences | the same | symbols | error rate | without stress | with spaces and marks | numbers |")
    print("|---|---|---|---|---|---|---|---|")
    for language in languages:
        ours, theirs = Frontend(language), misaki(language)
        total, numbers = Count(), Count()
        for sentence in sentences(language):
            pair = ours.tokens(sentence).phonemes, theirs(sentence)
            total.add(sentence, *pair)
            if re.search(r"\d", sentence):
                numbers.add(sentence, *pair)
        print(
            f"| {ours.language} | {total.sentences} | {total.same} | {total.symbols} "
            f"| {100 * total.errors / total.symbols:.2f} % | {100 * total.unstressed / total.symbols:.2f} % "
            f"| {100 * total.whole_errors / total.whole_symbols:.2f} % "
            f"| {100 * numbers.errors / max(1, numbers.symbols):.2f} % of {numbers.sentences} |",
            flush=True,
        )
        lines += [f"## {ours.language}: {len(total.listed)} of {total.sentences}", ""]
        for sentence, mine, other in total.listed:
            lines += [f"- {sentence}", f"  - ours: {mine}", f"  - misaki: {other}"]
        lines.append("")
    if report is not None:
        report.write_text("\n".join(lines), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["errors"])
    parser.add_argument("--languages", default=",".join(LANGUAGES))
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    errors(options.languages.split(","), options.report)


if __name__ == "__main__":
    main()
