"""The recipe of adapters (`kind: adapt`): one YAML, strictly read."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from voicewright.corpus.split import Split
from voicewright.records import Strict
from voicewright.training.gates import Gate
from voicewright.training.recipe import AnyRecipe, ComparedStage, Judgement, Optimizer, check_weighed

RECORDINGS = "recordings_quality"
"""What a judgement calls the recordings' own Distill-MOS."""
LOSSES = {
    "prosody": ("prosody", "replay"),
    "sound": ("mel", "identity", "phones", "tones", "lines", "echo", "replay"),
}


class AdaptStage(ComparedStage):
    """A stretch of the run. `prosody`: the predictor's adapters, without sound; `sound`: the decoder's."""

    stage: Literal["prosody", "sound"]
    steps: int = Field(gt=0)
    clips: int = Field(default=1, gt=0)
    """Clips (prosody) or crops of 1.65 s (sound) a step, replays among them."""
    optimizer: Optimizer
    losses: dict[str, float]
    phones: Literal["start", "recording"] = "start"
    """Whose phones the loss of that name holds a piece to: what the start's voice says there, which is clean
    and in the base's own tongue, or what the recording says, from which a language can be learnt."""


class Replay(Strict):
    """The base's own voices, spoken once by the base as it is; with adapters they must go on sounding so."""

    every: int = Field(default=3, ge=0)
    """One item in so many is a replay; 0: none."""
    voices: int = Field(default=16, gt=0)
    """Of the known ones, evenly chosen; those that are heard at judgements are left out where others are."""
    crops: int = Field(default=48, gt=0)
    """Pieces of sound kept of them."""
    texts: Literal["corpus", "english"] = "corpus"
    """What they speak, and are heard by at judgements: of another language that a model learns, it should not
    be held to what it says in that now."""


class Gates(Strict):
    """What a judgement may lose before the run goes back (training/gates.py)."""

    words: float = 0.06
    """Share of words heard wrong beyond the start's, of the new voice and of the base's."""
    quality: float = 0.5
    """Points of Distill-MOS under the start's."""
    moved: float = 0.06
    """1 − cosine between what the base's own voices speak with the adapters and without."""

    @property
    def gates(self) -> tuple[Gate, ...]:
        return (
            Gate("words", self.words, "words were lost"),
            Gate("quality", self.quality, "quality fell", falls=True, enough=RECORDINGS),
            Gate("moved", self.moved, "the base's own voices moved", still=True),
            Gate("stock_words", self.words, "the base's own voices lost words"),
        )


class AdaptRecipe(AnyRecipe):
    name: str
    kind: Literal["adapt"]
    model: str = "kokoro"
    """The base, by name or path."""
    voice: str | None = None
    """Voicepack to begin with; absent: one is fitted first."""
    voices: str | None = None
    """Packs known beside the model's own."""
    rank: Annotated[int, Field(gt=0)] | Literal["whole"] = 8
    """Of the matrices beside the base's; "whole": they have its own size, and the run ends with a model."""
    text: Literal["frozen", "trained"] = "frozen"
    """What reads symbols: trained, the text encoder and both tables of symbols learn too (rank whole)."""
    symbols: Literal["base", "own"] = "base"
    """own: sounds of the corpus's language that the base has no symbol for get symbols (text trained)."""
    seed: int = 0
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bf16 where this machine's matrix units have it."""
    ema: float = 0.9
    split: Split = Split(every=8)
    stages: tuple[AdaptStage, ...] = Field(min_length=1)
    replay: Replay = Replay()
    gates: Gates = Gates()
    checkpoint_every: int = 50
    checkpoint_minutes: float | None = 2.0
    log_every: int = 10
    preview_every: int = 1_000_000
    judge: Judgement = Judgement(every=50, sentences=4, keep=2)
    shares: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.75, 0.5, 0.3)
    """Of what the best candidate learnt: weighed at the end (weigh.py), in this order, as long as the voice
    becomes better. Empty: the whole."""

    compile: ClassVar[bool] = False

    @model_validator(mode="after")
    def _check(self) -> AdaptRecipe:
        for stage in self.stages:
            check_weighed(stage.stage, stage.losses, LOSSES[stage.stage])
        return self

    @model_validator(mode="after")
    def _check_reading(self) -> AdaptRecipe:
        if self.text == "trained" and not self.whole:
            raise ValueError("text: trained needs rank: whole, as an adapter holds no symbols")
        if self.symbols == "own" and self.text == "frozen":
            raise ValueError("symbols: own needs text: trained, or nothing would learn them")
        return self

    @property
    def whole(self) -> bool:
        return self.rank == "whole"
