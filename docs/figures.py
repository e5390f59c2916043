"""README's figures of the embedded voice, from its card, and the card's from a judgement.

python docs/figures.py                     card.json → README
python docs/figures.py report/report.json  report.json → card.json → README
python docs/figures.py --check             ends with 1 when README and card differ
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
CARD = ROOT / "voicewright" / "weights" / "tiny" / "card.json"
BEGIN = "<!-- figures: written by docs/figures.py from voicewright/weights/tiny/card.json -->\n"
END = "<!-- /figures -->"
NONE = "This tree carries no judged embedded voice yet, so there is no figure to give.\n"
SIDES = {"synthesised": "text-to-speech", "copy_synthesis": "copy-synthesis", "recordings": "recordings"}
CONDITIONS = ("utterances", "recogniser", "speaker encoder", "corpus")


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


def table(card: dict[str, Any]) -> str:
    """The README section of a card; a plain sentence when the card has no measurements."""
    found = card.get("measurements")
    if not isinstance(found, dict) or not found.get("summary"):
        return NONE
    given = found["conditions"]
    said = "; ".join(f"{name}: {given[name]}" for name in CONDITIONS if given.get(name) is not None)
    rows = [
        f"Judged on sentences it was not trained on ({said}).",
        "",
        f"| | {' | '.join(SIDES.values())} | aim |",
        "|---|" + "---|" * (len(SIDES) + 1),
    ]
    for line in found["summary"]:
        cells = [_cell(line.get(side), line["digits"]) for side in SIDES]
        aim = f"{line['aim']}: {'met' if line['met'] else 'not met'}" if line.get("aim") else ""
        label = f"{line['label']}, {line['unit']}" if line["unit"] else line["label"]
        rows.append(f"| {label} | {' | '.join(cells)} | {aim} |")
    return "\n".join(rows) + "\n"


def _cell(estimate: dict[str, Any] | None, digits: int) -> str:
    if estimate is None:
        return ""
    shown = f"{estimate['value']:.{digits}f}"
    if estimate.get("low") is not None and estimate.get("high") is not None:
        shown += f" ({estimate['low']:.{digits}f} to {estimate['high']:.{digits}f})"
    return shown


def written(readme: str) -> str:
    """README with the section that the card asks for."""
    start, stop = readme.index(BEGIN) + len(BEGIN), readme.index(END)
    card = json.loads(CARD.read_text("utf-8")) if CARD.is_file() else {}
    return readme[:start] + table(card) + readme[stop:]


def main(arguments: list[str]) -> int:
    readme = README.read_text("utf-8")
    if arguments == ["--check"]:
        return int(written(readme) != readme)
    if len(arguments) == 1:
        card = json.loads(CARD.read_text("utf-8"))
        card["measurements"] = measurements(json.loads(Path(arguments[0]).read_text("utf-8")))
        CARD.write_text(json.dumps(card, ensure_ascii=False, indent=1) + "\n", "utf-8")
    elif arguments:
        print(__doc__, file=sys.stderr)
        return 2
    README.write_text(written(readme), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
