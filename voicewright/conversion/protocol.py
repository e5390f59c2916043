"""What every converter gives: speech in, the same words in another voice out.

`convert` takes a whole recording, `stream` one of any length, in bounded memory. Both keep the source's
clock: what the result says at a second, the source says at that second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from voicewright.errors import UsageError
from voicewright.stopping import Cancel

if TYPE_CHECKING:
    from voicewright.conversion.block import BlockVoice

Samples: TypeAlias = NDArray[np.float32]
Meter: TypeAlias = Callable[[Samples], Samples]
"""Samples [n] at 16 kHz → F0 in Hz."""

CONTENT_RATE = 16_000
"""Samples a second of what content encoders and pitch estimators hear."""
PITCH_HOP = 160
"""Samples at CONTENT_RATE between two frames of F0: 10 ms."""
MOST_SEMITONES = 36.0
"""Beyond three octaves up or down nothing of a voice is left."""


@dataclass(frozen=True)
class Chunks:
    """How a long recording is cut, in seconds.

    Pieces are about `center` long, cut where it is quietest within `query` of that; what is at most `longest`
    is left whole. Every piece is heard with `pad` of its surroundings on both sides, thrown away again.
    """

    pad: float = 1.0
    query: float = 4.0
    center: float = 20.0
    longest: float = 26.0

    def __post_init__(self) -> None:
        if not (0.2 <= self.pad <= 10 and 0 < self.query < self.center - self.query):
            raise UsageError(f"chunks of {self.center:g} s, cut within {self.query:g} s, do not work.")
        if not self.center <= self.longest <= 150:
            raise UsageError(f"a longest chunk of {self.longest:g} s must be {self.center:g} to 150 s.")


MOST_EXACT = 1800.0
"""Seconds of a recording that is converted in one go (`exact`): everything is held in memory."""
UPSTREAM_CHUNKS = Chunks(1.0, 6.0, 38.0, 41.0)
"""What RVC-WebUI's classic line uses in fp32."""


@dataclass(frozen=True)
class ConvertOptions:
    """How to convert. Defaults are what a user gets who says nothing.

    pitch: semitones to transpose by, or "auto": from the source's median F0 to the target's.
    target_pitch: the target's median F0 in Hz, for "auto"; None asks the converter's voice.
    source_pitch: the source's, where it was measured; None: the first chunk with enough voice decides.
    method: of F0 (`conversion/pitch.py`), or "auto": the best one that is installed.
    f0_min, f0_max: Hz; what lies beyond is unvoiced.
    speaker: row of the voice's speaker table.
    index_rate: share of retrieved features, 0 … 1. protect: 0 … 0.5, how much retrieval unvoiced frames get;
    0.5 treats them like voiced ones.
    unvoiced: what F0 the synthesiser sees there: zero, or interpolated between its neighbours.
    rms_mix: 1 keeps the synthesiser's loudness, 0 follows the source's.
    formant: semitones by which formants are shifted, apart from pitch.
    seed: same seed, same samples. exact: do what RVC-WebUI (classic) does, sample by sample.
    sample_rate: of the result; None is the voice's own.
    """

    pitch: Literal["auto"] | float = "auto"
    target_pitch: float | None = None
    source_pitch: float | None = None
    method: str = "auto"
    f0_min: float = 50.0
    f0_max: float = 1100.0
    speaker: int = 0
    index_rate: float = 0.75
    protect: float = 0.33
    unvoiced: Literal["zero", "interpolate"] = "zero"
    rms_mix: float = 0.25
    formant: float = 0.0
    seed: int = 0
    exact: bool = False
    sample_rate: int | None = None
    chunks: Chunks = field(default_factory=Chunks)

    def __post_init__(self) -> None:
        if self.pitch != "auto" and not _within(self.pitch, -MOST_SEMITONES, MOST_SEMITONES):
            raise UsageError(
                f"the pitch is {self.pitch!r}; it is `auto` or semitones between -{MOST_SEMITONES:g} and "
                f"+{MOST_SEMITONES:g}."
            )
        for name, value, low, high in (
            ("index rate", self.index_rate, 0.0, 1.0),
            ("protect", self.protect, 0.0, 0.5),
            ("RMS mix", self.rms_mix, 0.0, 1.0),
            ("formant shift", self.formant, -12.0, 12.0),
            ("lowest F0", self.f0_min, 20.0, 500.0),
            ("highest F0", self.f0_max, self.f0_min + 1.0, 4000.0),
        ):
            if not _within(value, low, high):
                raise UsageError(f"the {name} is {value!r}; it must lie between {low:g} and {high:g}.")
        for whose, hertz in (("target", self.target_pitch), ("source", self.source_pitch)):
            if hertz is not None and not _within(hertz, 30.0, 2000.0):
                raise UsageError(f"a {whose} pitch of {hertz!r} Hz is nobody's; give 30 to 2000 Hz.")
        if not -(1 << 62) <= self.seed < 1 << 62:
            raise UsageError("the seed has too many digits; give a smaller whole number.")
        if self.unvoiced not in ("zero", "interpolate"):
            raise UsageError(f"unvoiced is {self.unvoiced!r}; it is `zero` or `interpolate`.")
        if self.sample_rate is not None and not 8_000 <= self.sample_rate <= 192_000:
            raise UsageError(f"a rate of {self.sample_rate} Hz is no use; give 8000 to 192000.")

    def measured(self, pitch: float) -> ConvertOptions:
        """These options with the source's median pitch in Hz, unless it is none that a voice has."""
        return replace(self, source_pitch=pitch) if _within(pitch, 30.0, 2000.0) else self


def _within(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


@dataclass(frozen=True, eq=False)
class Converted:
    """Speech in the target's voice: mono float32 within ±1, as long as the source.

    f0_source, f0_target: Hz every 10 ms, 0 where unvoiced; f0_target is what the synthesiser was asked for
    (zeros where the voice takes none). transpose: semitones between them.
    """

    samples: Samples
    sample_rate: int
    f0_source: NDArray[np.float32]
    f0_target: NDArray[np.float32]
    transpose: float
    warnings: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        return len(self.samples) / self.sample_rate


class Converter(Protocol):
    """Whatever turns speech into the same speech in another voice."""

    @property
    def name(self) -> str:
        """The voice, in words."""
        ...

    @property
    def sample_rate(self) -> int:
        """Of what it gives, unless the options ask for another."""
        ...

    @property
    def language(self) -> str:
        """The one language that it was taught on; empty: any."""
        ...

    @property
    def ignores(self) -> Mapping[str, str]:
        """Options that change nothing with this voice → why, as a clause."""
        ...

    def pitch_meter(self, options: ConvertOptions) -> Meter | None:
        """What measures F0 where the transposition wants all of a long recording heard first;
        None: nothing does."""
        ...

    def convert(
        self, samples: Samples, rate: int, options: ConvertOptions, cancel: Cancel | None = None
    ) -> Converted:
        """A whole recording: mono float32 [n] at `rate`.

        Raises UsageError for options that this voice cannot follow, VoicewrightError for samples that cannot
        be converted (none, or not numbers), Cancelled when `cancel` says so, asked several times a chunk.
        """
        ...

    def stream(
        self,
        blocks: Iterable[Samples],
        rate: int,
        options: ConvertOptions,
        cancel: Cancel | None = None,
        note: Note | None = None,
    ) -> Iterator[Samples]:
        """Mono float32 pieces whose concatenation is the whole result, free of clicks; in bounded memory.

        blocks: of any lengths, at `rate`. note: told each warning once, and "transpose" when it is settled.
        Raises as `convert`.
        """
        ...


@dataclass(frozen=True)
class Opening:
    """How a voice is opened. index: RVC's retrieval index. embedder: the content model in place of the
    voice's own. device: where networks run. exact: in the precision that upstream has."""

    index: Path | None = None
    embedder: str | Path | None = None
    device: str = "cpu"
    exact: bool = False


class ConverterFormat(Protocol):
    """A kind of voice files that `convert --to` opens: what a plug-in of `voicewright.converters` is, be
    it a module."""

    TITLE: str
    """As in "--index belongs to TITLE"."""
    TAKES: frozenset[str]
    """Which of `index`, `embedder` and `device` it follows."""

    def find(self, to: str | Path) -> Path | None:
        """The file or folder that is meant; None where it is none of this kind.

        Raises UsageError for what belongs to this kind and is no voice of it."""
        ...

    def open(self, path: Path, how: Opening) -> Converter:
        """Raises UsageError for what does not belong together, VoicewrightError for damaged files."""
        ...

    def open_live(self, path: Path, how: Opening) -> BlockVoice:
        """The same voice in live blocks. Raises as `open`."""
        ...


class Note(Protocol):
    """Hears what a stream has to say beside its samples."""

    def warn(self, message: str) -> None: ...

    def transposed(self, semitones: float) -> None: ...

    def pitch(self, f0_source: NDArray[np.float32], f0_target: NDArray[np.float32]) -> None:
        """The next frames of both, 10 ms each."""
        ...
