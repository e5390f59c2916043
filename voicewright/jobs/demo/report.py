"""What a demonstration says at its end: the table beside the recordings, and the names of what it made."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

SHOWN = (
    "wer",
    "cer",
    "similarity",
    "similarity_normalised",
    "similarity_second_normalised",
    "distillmos",
    "echo_25",
    "f0_mean",
)
"""Lines of a judgement that the table prints, where the judgement has them; all are in the report."""


@dataclass(frozen=True)
class Row:
    """One measure: of the voice before, of the new voice, and of the recordings themselves."""

    label: str
    before: str
    after: str
    recordings: str


@dataclass(frozen=True)
class Demonstration:
    """What a demonstration made and measured."""

    stand_in: str | None
    """Which machine stood in for a speaker; None: recordings were given."""
    folder: Path
    hello: Path
    """A text in a voice that ships: `kathleen` upon Kokoro, or the embedded one."""
    kokoro: Path | None
    """A text in a voice of Kokoro-82M itself, where its weights are installed and the small model trained."""
    spoken: Path
    """A text in the new voice."""
    recording: Path
    """A held-out recording to hear beside it."""
    model: Path
    """The trained model; upon Kokoro the adapters' run, or the voicepack where nothing else was made."""
    report: Path
    held_out: tuple[str, ...]
    rows: tuple[Row, ...]
    missing: tuple[str, ...]
    """What judges and is not installed: a sentence each, with what to do."""
    seconds: dict[str, float]
    """Step → wall seconds."""
    greeter: str = "the embedded voice"
    """Whose voice `hello` is in."""
    before: str = "embedded voice"
    """Whose figures stand beside the new voice's."""
    pack: Path | None = None
    """The voicepack for Kokoro."""
    commands: tuple[str, ...] = ()
    """What speaks with the voice and gives it away."""
    known_again: bool = False
    """The stand-in is a voice of ours that the base does not know."""

    def text(self) -> str:
        """The closing table and the names of the files."""
        wide = max(16, len(self.before) + 2)
        lines = ["", f"{'':<32}{self.before:>{wide}}{'new voice':>12}{'recordings':>12}"]
        lines += [f"{r.label:<32}{r.before:>{wide}}{r.after:>12}{r.recordings:>12}" for r in self.rows]
        named = [
            (self.greeter, self.hello),
            ("Kokoro-82M", self.kokoro),
            ("the new voice", self.spoken),
            ("a recording" if self.stand_in else "a real recording", self.recording),
            ("the voicepack", self.pack),
            ("the adapters" if self.pack else "the model", self.model if self.model != self.pack else None),
            ("the report", self.report),
        ]
        spent = ", ".join(f"{step} {count:.0f}" for step, count in self.seconds.items())
        lines += [
            f"on {len(self.held_out)} sentences that training did not see: few, so the figures are rough.",
            *self.missing,
            "",
            *(f"{name:<21}{path}" for name, path in named if path is not None),
            "",
            *self.commands,
            *([""] if self.commands else []),
            f"Wall seconds: {spent}; {sum(self.seconds.values()):.0f} in all.",
        ]
        if self.known_again:
            lines.append(
                f"The speaker was a stand-in, {self.stand_in}: a machine. None of Kokoro's voices is hers "
                "and the fit began with theirs, so a voice was found again. But a machine reads evenly, "
                "without noise and room, and Kokoro can say all that she says: a person is harder."
            )
        elif self.stand_in:
            lines.append(
                f"The speaker was a stand-in, {self.stand_in}, a machine, and the new voice sounds like it."
            )
        if self.stand_in:
            lines.append("With recordings of a person: make demo RECORDINGS=folder")
        return "\n".join(lines)


def recording_of(corpus: Path, name: str) -> Path:
    from voicewright.corpus.manifest import Corpus

    prepared = Corpus.read(corpus)
    return next(prepared.path(one) for one in prepared.utterances if one.id == name)


def missing(report: Path) -> tuple[str, ...]:
    """What could have judged and is not installed, as the report says it."""
    from voicewright.judging.result import Judgement

    notes = Judgement.model_validate_json((report / "report.json").read_text("utf-8")).notes
    return tuple(note for note in notes if "is not installed" in note)


def rows_of(before: Path, after: Path) -> tuple[Row, ...]:
    """The table, from the two reports."""
    from voicewright.judging.result import Judgement

    first, second = (
        Judgement.model_validate_json((folder / "report.json").read_text("utf-8"))
        for folder in (before, after)
    )
    earlier = {line.key: line for line in first.summary}
    rows = []
    for line in second.summary:
        if line.key in SHOWN and line.key in earlier:
            cells = (earlier[line.key].synthesised, line.synthesised, line.recordings)
            texts = [f"{cell.value:.{line.digits}f}" if cell is not None else "" for cell in cells]
            label = f"{line.label}, {line.unit}" if line.unit else line.label
            rows.append(Row(label, *texts))
    return tuple(rows)
