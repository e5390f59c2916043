"""Figures of the embedded voice, from its card, and the card's from a judgement; voices side by side.

python docs/figures.py                       card.json → docs/embedded-voice.md, the voice's own page
python docs/figures.py report/report.json    report.json → card.json → both
python docs/figures.py --check               ends with 1 when a page and the card differ
python docs/figures.py --beside NAME=report.json …    judgements on the same texts → docs/judging.md
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SHORT = ROOT / "docs" / "embedded-voice.md"
CARD = ROOT / "voicewright" / "weights" / "tiny" / "card.json"
PAGE = CARD.with_name("README.md")
JUDGING = ROOT / "docs" / "judging.md"
BEGIN = "<!-- figures: written by docs/figures.py from voicewright/weights/tiny/card.json -->\n"
END = "<!-- /figures -->"
NONE = "This tree carries no judged embedded voice yet, so there is no figure to give.\n"
SIDES = {"synthesised": "text-to-speech", "copy_synthesis": "copy-synthesis", "recordings": "recordings"}
CONDITIONS = (
    "utterances", "recogniser", "speaker encoder", "second speaker encoder", "quality", "strangers", "corpus",
)  # fmt: skip
HEADLINES = (
    "wer", "cer", "similarity", "similarity_normalised", "similarity_second_normalised", "distillmos",
    "dnsmos", "echo_12", "echo_25", "lines", "level_2_3", "hums", "tones", "f0_mean", "f0_sd", "rate",
    "periodicity",
)  # fmt: skip
"""What the short page shows; the voice's own page has all."""
BESIDE_BEGIN, BESIDE_END = "<!-- voices: written by docs/figures.py --beside -->\n", "<!-- /voices -->"


def measurements(report: dict[str, Any]) -> dict[str, Any]:
    """What of a judgement (report.json) belongs in a card: its conditions and summary."""
    lines = []
    for line in report["summary"]:
        kept = {key: line[key] for key in ("key", "label", "unit", "digits", "aim", "met")}
        for side in SIDES:
            found = line.get(side)
            kept[side] = None if found is None else {key: found[key] for key in ("value", "low", "high")}
        lines.append(kept)
    # Where the model lay on the judging machine is nobody's business.
    conditions = report["conditions"] | {"model": Path(str(report["conditions"].get("model", ""))).name}
    return {"conditions": conditions, "summary": lines}


def table(card: dict[str, Any], keys: tuple[str, ...] | None = None) -> str:
    """A card's measurements, of `keys` alone where given; a plain sentence when it has none."""
    found = card.get("measurements")
    if not isinstance(found, dict) or not found.get("summary"):
        return NONE
    given = found["conditions"]
    said = "; ".join(f"{name}: {given[name]}" for name in CONDITIONS if given.get(name) is not None)
    lines = [line for line in found["summary"] if keys is None or line["key"] in keys]
    sides = {side: name for side, name in SIDES.items() if any(line.get(side) for line in lines)}
    rows = [
        f"Judged on sentences it was not trained on ({said}).",
        "",
        f"| | {' | '.join(sides.values())} | aim |",
        "|---|" + "---|" * (len(sides) + 1),
    ]
    for line in lines:
        cells = [_cell(line.get(side), line["digits"]) for side in sides]
        aim = f"{line['aim']}: {'met' if line['met'] else 'not met'}" if line.get("aim") else ""
        rows.append(f"| {_label(line)} | {' | '.join(cells)} | {aim} |")
    return "\n".join(rows) + "\n"


def beside(reports: dict[str, dict[str, Any]]) -> str:
    """Judgements on the same texts as one table: a column for each, and the recordings' own first.

    Raises ValueError when they are not on the same texts by the same ears.
    """
    ids = {name: sorted(row["id"] for row in report["utterances"]) for name, report in reports.items()}
    ears = {
        name: [report["conditions"].get(key) for key in CONDITIONS[1:]] for name, report in reports.items()
    }
    first = next(iter(reports))
    for name in reports:
        if ids[name] != ids[first] or ears[name] != ears[first]:
            raise ValueError(f"{name} and {first} were not judged on the same texts by the same ears")
    rows = [
        f"| {len(ids[first])} texts | recordings | {' | '.join(reports)} |",
        "|---|" + "---|" * (len(reports) + 1),
    ]
    lines = {name: {line["key"]: line for line in report["summary"]} for name, report in reports.items()}
    for key, line in lines[first].items():
        cells = [_cell(line.get("recordings"), line["digits"], False)]
        cells += [
            _cell(lines[name][key].get("synthesised") if key in lines[name] else None, line["digits"], False)
            for name in reports
        ]
        rows.append(f"| {_label(line)} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _label(line: dict[str, Any]) -> str:
    return f"{line['label']}, {line['unit']}" if line["unit"] else str(line["label"])


def _cell(estimate: dict[str, Any] | None, digits: int, interval: bool = True) -> str:
    if estimate is None:
        return ""
    shown = f"{estimate['value']:.{digits}f}"
    if interval and estimate.get("low") is not None and estimate.get("high") is not None:
        shown += f" ({estimate['low']:.{digits}f} to {estimate['high']:.{digits}f})"
    return shown


def written(page: str, keys: tuple[str, ...] | None = HEADLINES) -> str:
    """A page with the section that the card asks for."""
    card = json.loads(CARD.read_text("utf-8")) if CARD.is_file() else {}
    return _between(page, BEGIN, END, table(card, keys))


def _between(page: str, begin: str, end: str, text: str) -> str:
    start, stop = page.index(begin) + len(begin), page.index(end)
    return page[:start] + text + page[stop:]


def main(arguments: list[str]) -> int:
    pages: list[tuple[Path, tuple[str, ...] | None]] = [(SHORT, HEADLINES), (PAGE, None)]
    if arguments == ["--check"]:
        return int(any(written(p.read_text("utf-8"), keys) != p.read_text("utf-8") for p, keys in pages))
    if arguments[:1] == ["--beside"]:
        pairs = [argument.partition("=") for argument in arguments[1:]]
        reports = {name: json.loads(Path(path).read_text("utf-8")) for name, _, path in pairs}
        page = _between(JUDGING.read_text("utf-8"), BESIDE_BEGIN, BESIDE_END, beside(reports))
        JUDGING.write_text(page, "utf-8")
        return 0
    if len(arguments) == 1:
        card = json.loads(CARD.read_text("utf-8"))
        card["measurements"] = measurements(json.loads(Path(arguments[0]).read_text("utf-8")))
        CARD.write_text(json.dumps(card, ensure_ascii=False, indent=1) + "\n", "utf-8")
    elif arguments:
        print(__doc__, file=sys.stderr)
        return 2
    for path, keys in pages:
        path.write_text(written(path.read_text("utf-8"), keys), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
