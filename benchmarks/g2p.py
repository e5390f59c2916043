"""Phonemes of every language against misaki, which Kokoro was trained with; homographs; time against length.

    python benchmarks/g2p.py errors [--languages es,fr,…] [--report disagreements.md]
    python benchmarks/g2p.py errors --languages en-us,en-gb --spacy FOLDER
    python benchmarks/g2p.py words [--report words.md]
    python benchmarks/g2p.py linear [--languages en-us,es,…]
    python benchmarks/g2p.py homographs

`errors` and `words` need misaki beside Voicewright, as an oracle only; in an environment of its own:
    pip install --no-deps misaki phonemizer-fork segments csvw
    pip install addict regex dlinfo joblib attrs language-tags isodate jsonschema rdflib rfc3986
    uritemplate \\
        colorama termcolor babel ordered-set proces jieba pypinyin pypinyin-dict cn2an fugashi
        unidic-lite jaconv mojimoji
Its English wants spaCy and the model en_core_web_sm besides, whose folder (with config.cfg) --spacy names.
zh-1.1 is Mandarin as Kokoro 1.1-zh writes it. The sentences are our own: benchmarks/data/g2p_<language>.txt.
"""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from voicewright.text.frontend import Frontend
from voicewright.text.vocab import KOKORO, KOKORO_ZH

DATA = Path(__file__).parent / "data"
ESPEAK = {"es": "es", "fr": "fr-fr", "hi": "hi", "it": "it", "pt-br": "pt-br", "de": "de", "nl": "nl"}
LANGUAGES = (*ESPEAK, "zh", "zh-1.1", "ja")
MARKS = re.compile(r"[\s;:,.!?—…“”\"()«»'’]+")


def sentences(language: str, times: int = 8) -> list[str]:
    """The sentences of a language, those with slots filled in `times` ways; the same every time."""
    slots: dict[str, list[str]] = {}
    found: list[str] = []
    file = {"en-us": "en", "en-gb": "en", "zh-1.1": "zh"}.get(language, language)
    for line in (DATA / f"g2p_{file}.txt").read_text("utf-8").splitlines():
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
    vocab: Mapping[str, int] = field(default_factory=lambda: KOKORO)

    def add(self, sentence: str, ours: str, theirs: str) -> None:
        theirs = "".join(symbol for symbol in theirs if symbol in self.vocab)
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


def misaki(language: str, model: Path | None = None) -> Callable[[str], str]:
    """misaki's own phonemes for a text, as the `kokoro` package asks for them; English by a spaCy model."""
    if language in ("en-us", "en-gb"):
        g2p = misaki_english(language == "en-gb", model)
    elif language in ESPEAK:
        from misaki.espeak import EspeakG2P

        g2p = EspeakG2P(ESPEAK[language])
    elif language == "zh":
        from misaki.zh import ZHG2P

        g2p = ZHG2P()
    elif language == "zh-1.1":
        from misaki.zh import ZHG2P

        g2p = ZHG2P(version="1.1", en_callable=lambda words: words)
    else:
        from misaki.ja import JAG2P

        g2p = JAG2P()
    return lambda text: g2p(text)[0]


def misaki_english(british: bool, model: Path | None):  # type: ignore[no-untyped-def]
    """misaki's English with a spaCy model from a folder, where misaki itself would download one."""
    if model is None:
        raise SystemExit("English needs --spacy: the folder of en_core_web_sm that holds config.cfg.")
    import spacy
    from misaki import en, espeak

    load = spacy.load
    spacy.util.is_package = lambda name: True
    spacy.load = lambda name, **given: load(model, **given)
    try:
        return en.G2P(british=british, fallback=espeak.EspeakFallback(british=british), unk="")
    finally:
        spacy.load = load


def errors(languages: list[str], report: Path | None, model: Path | None = None) -> None:
    lines = ["# Where Voicewright's phonemes differ from misaki's", ""]
    print(
        "| language | sentences | the same | symbols | error rate | without stress | with spaces and "
        "marks | numbers |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for language in languages:
        vocab = KOKORO_ZH if language == "zh-1.1" else KOKORO
        ours, theirs = Frontend(language.removesuffix("-1.1"), vocab=vocab), misaki(language, model)
        total, numbers = Count(vocab=vocab), Count(vocab=vocab)
        for sentence in sentences(language):
            pair = ours.tokens(sentence).phonemes, theirs(sentence)
            total.add(sentence, *pair)
            if re.search(r"\d", sentence):
                numbers.add(sentence, *pair)
        print(
            f"| {language} | {total.sentences} | {total.same} | {total.symbols} "
            f"| {100 * total.errors / total.symbols:.2f} % | {100 * total.unstressed / total.symbols:.2f} % "
            f"| {100 * total.whole_errors / total.whole_symbols:.2f} % "
            f"| {100 * numbers.errors / max(1, numbers.symbols):.2f} % of {numbers.sentences} |",
            flush=True,
        )
        lines += [f"## {language}: {len(total.listed)} of {total.sentences}", ""]
        for sentence, mine, other in total.listed:
            lines += [f"- {sentence}", f"  - ours: {mine}", f"  - misaki: {other}"]
        lines.append("")
    if report is not None:
        report.write_text("\n".join(lines), "utf-8")


def homograph_set(name: str) -> tuple[dict[str, list[str]], list[tuple[str, int, str]]]:
    """Sounds of every word, and (word, index of its right sound, sentence)."""
    sounds: dict[str, list[str]] = {}
    cases: list[tuple[str, int, str]] = []
    for line in (DATA / name).read_text("utf-8").splitlines():
        if line.startswith("#") or not line:
            continue
        if found := re.fullmatch(r"(\w+): (.+)", line):
            sounds[found[1]] = found[2].split()
        else:
            word, sense, sentence = line.split(" ", 2)
            cases.append((word, int(sense) - 1, sentence))
    return sounds, cases


def nearest(heard: str, sounds: list[str]) -> int:
    """Which of a word's sounds was meant."""
    plain = heard.replace("ɾ", "T").replace("ʔ", "t")
    return min(range(len(sounds)), key=lambda at: distance(plain, sounds[at].replace("ɾ", "T")))


def choices(name: str) -> Callable[[str, str], str]:
    """A function from sentence and word to what a front end says for that word."""
    if name == "voicewright":
        front = Frontend("en-us")

        def ours(sentence: str, word: str) -> str:
            tokens = front.tokens(sentence)
            return next(tokens.phonemes[w.start : w.stop] for w in tokens.words if w.text.lower() == word)

        return ours
    if name == "kokorog2p":
        from kokorog2p.en.g2p import EnglishG2P

        g2p = EnglishG2P(use_spacy=False)
        return lambda sentence, word: next(t.phonemes for t in g2p(sentence) if t.text.lower() == word)
    from kokorog2p.phonemes import from_espeak

    from voicewright.text.espeak.ipa import share
    from voicewright.text.espeak.library import Espeak

    espeak = Espeak("en-us")

    def theirs(sentence: str, word: str) -> str:
        words = re.findall(r"[\w']+", sentence)
        heard = [part for clause in re.split(r"[.,?!]", sentence) for part in espeak.ipa(clause).split()]
        shared = share(heard, [espeak.ipa(one).split() for one in words])
        return from_espeak(shared[[one.lower() for one in words].index(word)], british=False)

    return theirs


def homographs(show: bool) -> None:
    sounds, cases = homograph_set("homographs_en.txt")
    later_sounds, later = homograph_set("homographs_en_2.txt")
    turn: dict[tuple[str, int], int] = {}
    held: list[bool] = []
    for word, sense, _ in cases:
        turn[word, sense] = turn.get((word, sense), 0) + 1
        held.append(turn[word, sense] % 2 == 0)
    print(f"{len(cases)} sentences, {len(sounds)} words; later {len(later)}, {len(later_sounds)}\n")
    print("| front end | first set | looked at | held out | later set |\n|---|---|---|---|---|")
    for name in ("voicewright", "kokorog2p", "espeak-ng"):
        say = choices(name)
        right = [nearest(say(sentence, word), sounds[word]) == sense for word, sense, sentence in cases]
        rates = [
            100
            * sum(r for r, h in zip(right, held, strict=True) if h in wanted)
            / sum(h in wanted for h in held)
            for wanted in ((True, False), (False,), (True,))
        ]
        hits = [nearest(say(sentence, word), later_sounds[word]) == sense for word, sense, sentence in later]
        rates = (*rates, 100 * sum(hits) / len(hits))
        print(f"| {name} | " + " | ".join(f"{rate:.1f} %" for rate in rates) + " |", flush=True)
        if show and name == "voicewright":
            for ok, hidden, (word, _, sentence) in zip(right, held, cases, strict=True):
                if not ok and not hidden:
                    print(f"    {word}: {sentence}")


def linear(languages: list[str]) -> None:
    """CPU time of `Frontend.chunks` for texts of 10 kB, 100 kB and 1 MB, and for 200 kB of hostile text."""
    print("| language | 10 kB | 100 kB | 1 MB | ratios | no marks | one word | digits |")
    print("|---|---|---|---|---|---|---|---|")
    for language in languages:
        front = Frontend(language)
        source = english() if language.startswith("en") else sentences(language)
        text = " ".join(source) + " "
        front.chunks(text[:2000])
        plain = re.sub(r"[^\w\s]+", "", text)
        hostile = (
            (plain, "x", "1") if language not in ("zh", "ja") else (re.sub(r"\s+", "", plain), "天", "1")
        )
        took = [_time(front, text, size) for size in (10_000, 100_000, 1_000_000)]
        odd = [_time(front, unit, 200_000) for unit in hostile]
        ratios = f"{took[1] / took[0]:.1f}, {took[2] / took[1]:.1f}"
        cells = [f"{seconds:.2f} s" for seconds in took] + [ratios] + [f"{seconds:.2f} s" for seconds in odd]
        print(f"| {front.language} | " + " | ".join(cells) + " |", flush=True)


def _time(front: Frontend, unit: str, size: int) -> float:
    """CPU seconds for `unit` repeated up to `size` characters, whatever else the machine does."""
    text = (unit * (size // len(unit) + 1))[:size]
    start = time.process_time()
    front.chunks(text)
    return time.process_time() - start


def english() -> list[str]:
    """The sentences of both homograph sets."""
    return [
        case[2] for name in ("homographs_en.txt", "homographs_en_2.txt") for case in homograph_set(name)[1]
    ]


def words(report: Path | None) -> None:
    """English, some 10,000 words of each, against misaki's lexicons (its sentences need a spaCy model)."""
    import importlib.util
    import json

    found = importlib.util.find_spec("misaki")
    if found is None or found.origin is None:
        raise SystemExit("misaki is not installed: see the top of this file.")
    folder = Path(found.origin).parent / "data"
    lines = ["# English words whose phonemes differ from misaki's lexicons", ""]
    print("| language | lexicon | words | the same | error rate |\n|---|---|---|---|---|")
    for code, prefix in (("en-us", "us"), ("en-gb", "gb")):
        front = Frontend(code)
        for name in ("gold", "silver"):
            entries = json.loads((folder / f"{prefix}_{name}.json").read_text("utf-8"))
            count = Count()
            plain = [
                w for w, said in entries.items() if isinstance(said, str) and re.fullmatch(r"[a-z]{3,}", w)
            ]
            for word in plain[:: max(1, len(plain) // 10_000)]:
                theirs = entries[word].replace("ɾ", "T").replace("ʔ", "t")
                count.add(word, front.tokens(word).phonemes, theirs)
            print(
                f"| {code} | {name} | {count.sentences} | {100 * count.same / count.sentences:.2f} % "
                f"| {100 * count.errors / count.symbols:.2f} % |",
                flush=True,
            )
            lines += [f"## {code}, {name}: {len(count.listed)} of {count.sentences}", ""]
            lines += [f"- {word}: ours {ours}, misaki {theirs}" for word, ours, theirs in count.listed] + [""]
    if report is not None:
        report.write_text("\n".join(lines), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["errors", "words", "homographs", "linear"])
    parser.add_argument("--languages", default=",".join(LANGUAGES))
    parser.add_argument("--report", type=Path)
    parser.add_argument("--spacy", type=Path, metavar="FOLDER")
    parser.add_argument(
        "--show", action="store_true", help="the sentences that are wrong, held-out ones excepted"
    )
    options = parser.parse_args()
    if options.what == "homographs":
        homographs(options.show)
        return
    if options.what == "words":
        words(options.report)
        return
    if options.what == "linear":
        linear(options.languages.split(","))
        return
    errors(options.languages.split(","), options.report, options.spacy)


if __name__ == "__main__":
    main()
