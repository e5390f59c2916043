"""RVC in live blocks: nearly what the whole recording gives, with any synthesizer; files opened safely."""

from __future__ import annotations

import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from convert_fakes import FakeContent, spoken
from live_fakes import plain_options
from rvc_weights import filled

from voicewright.conversion.block import LiveOptions, Samples, whole
from voicewright.conversion.continuity import Noise
from voicewright.conversion.live import LiveConverter
from voicewright.errors import UsageError, VoicewrightError
from voicewright.rvc.convert.live import RvcBlockVoice, RvcOpener
from voicewright.rvc.network.config import SynthesizerConfig
from voicewright.rvc.network.synthesizer import Synthesizer

NARROW: dict[str, Any] = {
    "inter": 16,
    "hidden": 32,
    "filter": 48,
    "layers": 2,
    "initial_channels": 64,
    "gin": 8,
}


def small(**values: Any) -> SimpleNamespace:
    config = SynthesizerConfig(**NARROW, speakers=3, **values)
    synthesizer = Synthesizer(config, posterior=False).eval().requires_grad_(False)
    shapes = {name: tuple(value.shape) for name, value in synthesizer.state_dict().items()}
    synthesizer.load_state_dict(filled(shapes))
    return SimpleNamespace(config=config, synthesizer=synthesizer, info={})


def local_pitch(samples: Samples, method: str) -> Samples:
    """A pitch that follows the loudness of 20 ms and hears nothing beyond: blocks find what the whole
    finds."""
    padded = np.pad(samples, 160)
    levels = [np.sqrt(np.mean(padded[i * 160 : i * 160 + 320] ** 2)) for i in range(len(samples) // 160 + 1)]
    return np.array([0.0 if level < 0.02 else 100 + 200 * min(level, 0.5) for level in levels], np.float32)


def live(voice: RvcBlockVoice, sound: Samples, options: LiveOptions) -> tuple[Samples, LiveConverter]:
    converter = LiveConverter(voice, options, rate=16_000, output_rate=voice.sample_rate)
    step = converter.block_samples
    sound = sound[: len(sound) // step * step]
    return np.concatenate(
        [converter.process(sound[i : i + step]) for i in range(0, len(sound), step)]
    ), converter


def closeness(first: Samples, second: Samples) -> float:
    """Signal to difference, in dB."""
    return float(10 * np.log10(np.mean(second**2) / np.mean((first - second) ** 2)))


def distance(voice: Any, options: LiveOptions, estimate: Any = local_pitch) -> float:
    def made() -> RvcBlockVoice:
        width = voice.config.phone_width
        return RvcBlockVoice(voice, FakeContent(width), estimate=estimate)  # type: ignore[arg-type]

    sound = spoken(3.0)
    out, converter = live(made(), sound, options)
    wanted = whole(made(), sound, options)
    rate = converter.output_rate
    start = round((converter.delay + 0.005) * rate) + rate  # joins stay at their first place
    heard = out[start:]
    return closeness(heard, wanted[rate : rate + len(heard)])


@pytest.mark.parametrize("block", [0.15, 0.47])
def test_live_is_nearly_whole(block: float) -> None:
    """The rest is what attention hears of more than the context: 2.5 s here."""
    assert distance(small(), plain_options(block=block)) > 18


def test_measured_pitch_costs_a_little() -> None:
    assert distance(small(), plain_options(block=0.25, method="dio"), estimate=None) > 6


@pytest.mark.parametrize(
    "values",
    [
        {"version": "v1"},
        {"f0": False},
        {"sample_rate": 48_000, "upsample_rates": (12, 10, 2, 2), "upsample_kernels": (24, 20, 4, 4)},
    ],
)
def test_other_kinds_of_voice(values: dict[str, Any]) -> None:
    assert distance(small(**values), plain_options(block=0.2, context=1.5, pitch=3.0)) > 15


def test_formants_and_pitch_move_while_running() -> None:
    voice = RvcBlockVoice(small(), FakeContent(), estimate=local_pitch)  # type: ignore[arg-type]
    converter = LiveConverter(voice, plain_options(context=0.5), rate=16_000)
    sound = spoken(3.0)
    for index in range(12):
        converter.update(formant=float(index % 5 - 2), pitch=float(index), unvoiced="interpolate")
        out = converter.process(sound[index * 4_000 : (index + 1) * 4_000])
        assert len(out) == 4_000 and np.isfinite(out).all()
    assert set(voice.times) == {"content", "index", "pitch", "synthesizer"}


def test_retrieval_touches_what_is_heard_alone() -> None:
    class Index:
        width, path = 768, Path("x.index")
        seen: list[int] = []  # noqa: RUF012

        def blend(self, features: np.ndarray, rate: float) -> np.ndarray:
            self.seen.append(len(features))
            return np.zeros_like(features)

    index = Index()
    voice = RvcBlockVoice(small(), FakeContent(), index, estimate=local_pitch)  # type: ignore[arg-type]
    live(voice, spoken(1.0), plain_options(block=0.2, context=1.0, index_rate=0.7, protect=0.2))
    assert index.seen and max(index.seen) <= 14
    with pytest.raises(UsageError, match="768 wide"):
        RvcBlockVoice(small(version="v1"), FakeContent(256), index)  # type: ignore[arg-type]


def test_a_speaker_that_there_is_not() -> None:
    voice = RvcBlockVoice(small(), FakeContent(), estimate=local_pitch)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="no speaker 7"):
        live(voice, spoken(0.5), plain_options(speaker=7))


def test_values_that_are_no_numbers_are_found() -> None:
    broken = small()
    with torch.no_grad():
        broken.synthesizer.dec.conv_post.weight.fill_(float("nan"))
    voice = RvcBlockVoice(broken, FakeContent(), estimate=local_pitch)  # type: ignore[arg-type]
    with pytest.raises(VoicewrightError, match="not numbers"):
        live(voice, spoken(0.5), plain_options())


def test_noise_is_the_same_in_any_blocks() -> None:
    first, second = Noise(5, 3), Noise(5, 3)
    for _ in range(10):
        first.shift(7)
    for fresh in (3, 20, 40, 7):
        second.shift(fresh)
    np.testing.assert_array_equal(first.ending(30, 4), second.ending(30, 4))
    assert len(first.ending(200, 5)) == 200


def test_hostile_files_open_nothing(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return (Path.touch, (Path(tmp_path / "touched"),))  # type: ignore[return-value]

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({"weight": Evil()}))
    with pytest.raises(VoicewrightError):
        RvcOpener()(path)
    assert not (tmp_path / "touched").exists()
