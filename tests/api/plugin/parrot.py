"""Voices of parrots, `.parrot` files: what a stranger writes to add one of each thing to Voicewright."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from voicewright.conversion.protocol import Converted, ConvertOptions, Meter, Note, Opening
from voicewright.engines.protocol import Chunk, SpeakOptions, Speaks, Speech
from voicewright.errors import UsageError
from voicewright.text.g2p import Language, find_language
from voicewright.training.lifecycle import Result
from voicewright.training.order import TrainOrder

RATE = 16_000


def _found(words: str | Path | None) -> Path | None:
    path = Path(words or "")
    return path if path.suffix == ".parrot" and path.is_file() else None


class ParrotEngine(Speaks):
    """Says everything as beeps, one for each word."""

    sample_rate = RATE
    voices = ("polly",)
    default_voice = "polly"
    card: Mapping[str, object] = {}

    def __init__(self, path: Path) -> None:
        self.model_path, self.name = path, path.stem

    def parts(self, text: str, options: SpeakOptions, cancel: Any = None) -> Iterator[Speech]:
        beep = 0.2 * np.sin(np.arange(RATE // 4) * 0.3).astype(np.float32)
        samples = np.tile(beep, len(text.split()))
        chunk = Chunk(text, "", "polly", (), (), 0.0, len(samples) / RATE)
        yield Speech(samples, RATE, (chunk,))


class engine:  # a class or a module: whatever has the functions
    TITLE = "a parrot"
    find = staticmethod(_found)

    @staticmethod
    def open(path: Path, lexicon: Path | None) -> ParrotEngine:
        return ParrotEngine(path)


class ParrotConverter:
    """Gives back what it hears, backwards."""

    name, sample_rate, language = "polly", RATE, ""
    ignores: Mapping[str, str] = {"formant": "a parrot has no formants"}

    def pitch_meter(self, options: ConvertOptions) -> Meter | None:
        return None

    def convert(self, samples: Any, rate: int, options: ConvertOptions, cancel: Any = None) -> Converted:
        return Converted(samples[::-1], rate, np.zeros(0, np.float32), np.zeros(0, np.float32), 0.0)

    def stream(
        self,
        blocks: Iterable[Any],
        rate: int,
        options: ConvertOptions,
        cancel: Any = None,
        note: Note | None = None,
    ) -> Iterator[Any]:
        if rate != RATE:
            raise UsageError(f"parrots hear {RATE} samples a second, not {rate}.")
        yield np.concatenate(list(blocks))[::-1]


class converter:
    TITLE, TAKES = "parrots", frozenset[str]()
    find = staticmethod(_found)

    @staticmethod
    def open(path: Path, how: Opening) -> ParrotConverter:
        return ParrotConverter()

    @staticmethod
    def open_live(path: Path, how: Opening) -> Any:
        raise UsageError("parrots do not speak while one speaks; convert recordings.")


class voices:
    TITLE, NAMES = "a parrot", False
    find = staticmethod(_found)

    @staticmethod
    def inspect(path: Path) -> dict[str, Any]:
        return {"voice": path.stem, "what": "parrot"}

    @staticmethod
    def convert(
        inputs: Sequence[str], output: Path, names: Sequence[str] | None
    ) -> tuple[list[Path], list[str]]:
        output.write_bytes(Path(inputs[0]).read_bytes())
        return [output], ["feathers were kept"]


def task(order: TrainOrder, progress: Any) -> Result:
    progress("teaching the parrot")
    order.out.mkdir(parents=True)
    (order.out / "polly.parrot").write_text("polly")
    return Result(order.out / "polly.parrot", order.options.steps or 7, True, [])


_dutch = find_language("nl")
language = Language("xp", "Parrotish", "", _dutch.normaliser, _dutch.pronouncer)


def serve(order: Any, options: Any) -> int:
    print(f"a parrot listens on {order.port}")
    return 0


def squawk(times: Annotated[int, typer.Option("--times", help="How often.")] = 1) -> None:
    """Squawk."""
    print("squawk " * times)
