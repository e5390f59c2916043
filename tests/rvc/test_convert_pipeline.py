"""The pipeline: chunks and joins, protect, pitch, loudness, length, bad input; and RVC-WebUI's own
numbers."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import torch
from convert_fakes import FakeContent, fake_voice, spoken

from voicewright.conversion.protocol import Chunks, ConvertOptions
from voicewright.conversion.signal import HighPass, LoudnessMix, loudness_around, quietest
from voicewright.conversion.source import EXTRA, Source, pieces, survey
from voicewright.errors import Cancelled, UsageError, VoicewrightError
from voicewright.rvc.convert.index import Index
from voicewright.rvc.convert.index_build import build_index
from voicewright.rvc.convert.offline import RvcConverter, stopping
from voicewright.rvc.convert.voice import protect

RATE = 16_000
SMALL = Chunks(1, 1, 4, 5)
WHOLE = Chunks(1, 4, 100, 150)


def local_pitch(samples: np.ndarray, method: str, *, f0_min: float, f0_max: float, whole: bool) -> np.ndarray:
    """F0 that depends on the level of its own 10 ms alone, so that it is the same in every chunk."""
    count = len(samples) // 160 + 1
    level = np.pad(np.abs(samples), (0, 160)).reshape(-1)[: count * 160].reshape(count, 160).mean(1)
    return np.where(level > 0.004, 120 + 200 * level, 0).astype(np.float32)


def converter(noise: float = 0.0, **further: object) -> RvcConverter:
    voice = fake_voice(**further)  # type: ignore[arg-type]
    voice.synthesizer.noise = noise
    return RvcConverter(voice, FakeContent(voice.config.phone_width), estimate=local_pitch)


# Made by RVC-WebUI's own Pipeline.pipeline (classic, fp32) round the same stand-in networks, harvest, seed
# 3, at 16 kHz: seconds, x_query/x_center/x_max, index rate, protect, RMS mix, F0, key → length, RMS, nine
# samples evenly spread.
UPSTREAM = [
    (3.3, (6, 38, 41), 0, 0.33, 1, True, 0, 52480, 0.12126739786430771,
     [-0.095825, -0.000275, -0.09198, -0.066345, -0.139557, -0.155609, -0.001251, 0.185852, -0.001099]),
    (9.1, (1, 4, 5), 0, 0.33, 1, True, 3, 145280, 0.12351383224119566,
     [-0.08255, -0.030518, 0.212006, 0.206573, -0.062988, -0.066895, -0.000427, 0.000336, -0.139038]),
    (9.1, (1, 4, 5), 0.7, 0.33, 0.25, True, -2, 145280, 0.0632827477587318,
     [0.108337, -0.079468, -0.107574, -0.086884, -0.105347, -0.095612, -0.000183, 0.000183, -0.097595]),
    (9.1, (1, 4, 5), 0.7, 0.33, 1, False, 0, 145280, 0.20865103708152807,
     [0.209015, 0.208344, 0.208008, 0.208069, 0.209717, 0.208313, 0.208221, 0.209015, 0.20752]),
]  # fmt: skip


@pytest.mark.parametrize("case", UPSTREAM, ids=["whole", "chunks", "index", "no F0"])
def test_exact_mode_is_upstreams(case: tuple, tmp_path: Path) -> None:
    seconds, (query, center, longest), index_rate, share, mix, f0, key, length, rms, samples = case
    content = FakeContent()
    index = None
    if index_rate:
        with torch.no_grad():
            rows = content.encode(torch.from_numpy(spoken(30, seed=9))[None], "v2")[0].numpy()
        index = Index.open(build_index(rows, tmp_path, "oracle", "v2", total=False))
    options = ConvertOptions(
        pitch=float(key), method="harvest", speaker=1, index_rate=index_rate, protect=share, rms_mix=mix,
        seed=3, exact=True, chunks=Chunks(1, query, center, longest),
    )  # fmt: skip
    made = RvcConverter(fake_voice(RATE, f0=f0), content, index).convert(spoken(seconds) * 0.5, RATE, options)
    assert len(made.samples) == length
    places = np.linspace(0, length - 1, 9).astype(int)
    # Upstream gives whole 16-bit steps; one of them is 3e-5.
    np.testing.assert_allclose(made.samples[places], samples, atol=7e-5)
    assert np.sqrt(np.mean(made.samples.astype(np.float64) ** 2)) == pytest.approx(rms, rel=2e-3)


@pytest.mark.parametrize("formant", [0.0, 2.0])
def test_joins_leave_no_trace(formant: float) -> None:
    """Cut into four-second chunks a recording becomes what it becomes in one piece: phases meet."""
    wave = spoken(21.3)
    options = ConvertOptions(pitch=2.0, formant=formant, chunks=WHOLE)
    one = converter()
    whole = one.convert(wave, RATE, options).samples
    cut = converter()
    joined = cut.convert(wave, RATE, ConvertOptions(pitch=2.0, formant=formant, chunks=SMALL)).samples
    assert len(one.voice.synthesizer.calls) == 1 and len(cut.voice.synthesizer.calls) >= 4
    assert np.abs(whole).max() > 0.15
    # Formants are stretched by whole frames, which differs by a little from chunk to chunk.
    assert np.abs(whole - joined).max() < (1e-3 if formant == 0 else 0.05)


def test_a_join_amid_a_vowel_does_not_click() -> None:
    """No pause to cut in, noise that differs between chunks: the step at joins is that of anywhere else."""
    time = np.arange(30 * RATE) / RATE
    wave = (0.3 * np.sin(2 * np.pi * 150 * time)).astype(np.float32)
    made = converter(noise=0.002).convert(wave, RATE, ConvertOptions(pitch=0.0, chunks=SMALL, rms_mix=1.0))
    curve = np.abs(np.diff(made.samples, 2))[4000:-4000]
    assert curve.max() < 6 * np.sqrt(np.mean(curve**2))


def test_streaming_is_converting_and_blocks_do_not_matter() -> None:
    wave, options = spoken(17.2, 22_050), ConvertOptions(pitch=-1.0, chunks=SMALL)
    whole = converter(0.001).convert(wave, 22_050, options).samples

    def blocks() -> Iterator[np.ndarray]:
        at = 0
        for size in (1, 7, 100_000, 0, 33, 4_000) * 40:
            yield wave[at : at + size]
            at += size

    parts = list(converter(0.001).stream(blocks(), 22_050, options))
    assert len(parts) >= 3
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=2e-6)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 44_100, 96_000])
def test_every_rate_keeps_its_length(rate: int) -> None:
    wave = spoken(1.234, rate)
    made = converter().convert(wave, rate, ConvertOptions(pitch=0.0))
    assert len(made.samples) == round(len(wave) / rate * 40_000)
    assert len(made.f0_source) == len(made.f0_target) == 124
    told = any("8000 samples a second" in warning for warning in made.warnings)
    assert told == (rate == 8_000)
    other = converter().convert(wave, rate, ConvertOptions(pitch=0.0, sample_rate=44_100))
    assert other.sample_rate == 44_100 and len(other.samples) == round(len(wave) / rate * 44_100)


@pytest.mark.parametrize("count", [1, 3, 100, 399, 5_000])
def test_the_shortest_recordings(count: int) -> None:
    made = converter().convert(np.full(count, 0.1, np.float32), RATE, ConvertOptions(pitch=0.0))
    assert len(made.samples) == round(count / RATE * 40_000) and np.isfinite(made.samples).all()


def test_silence_and_what_has_no_pitch() -> None:
    silent = converter().convert(np.zeros(3 * RATE, np.float32), RATE, ConvertOptions(target_pitch=200.0))
    assert "the recording is silent." in silent.warnings and silent.transpose == 0
    assert np.abs(silent.samples).max() < 1e-3
    hiss = 0.002 * np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    made = converter().convert(hiss, RATE, ConvertOptions(target_pitch=200.0))
    assert any("no pitch was found" in warning for warning in made.warnings)
    assert not made.f0_target.any()


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.zeros(0, np.float32), "no samples"),
        (np.array([0.0, np.nan, 0.1], np.float32), "not numbers at 0.00 s"),
        (np.zeros((2, 50), np.float32), "one channel"),
    ],
)
@pytest.mark.parametrize("exact", [False, True])
def test_bad_samples_are_one_sentence(samples: np.ndarray, words: str, exact: bool) -> None:
    with pytest.raises(VoicewrightError, match=words) as caught:
        converter().convert(samples, RATE, ConvertOptions(pitch=0.0, exact=exact))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"pitch": 40.0}, {"pitch": "high"}, {"protect": 0.6}, {"index_rate": -0.1}, {"rms_mix": float("nan")},
        {"formant": 13.0}, {"f0_min": 500.0, "f0_max": 400.0}, {"target_pitch": 3.0}, {"sample_rate": 1},
        {"unvoiced": "no"}, {"seed": 10**20},
    ],
)  # fmt: skip
def test_bad_options_are_refused_by_name(given: dict) -> None:
    with pytest.raises(UsageError):
        ConvertOptions(**given)


def test_what_the_voice_cannot_do_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no speaker 3; its table goes from 0 to 2"):
        converter().convert(spoken(1), RATE, ConvertOptions(speaker=3))
    with pytest.raises(UsageError, match="formant"):
        converter().convert(spoken(1), RATE, ConvertOptions(exact=True, formant=1.0, pitch=0.0))
    rows = np.random.default_rng(0).standard_normal((60, 256)).astype(np.float32)
    index = Index.open(build_index(rows, tmp_path, "x", "v1"))
    with pytest.raises(UsageError, match="256 wide, and voice needs 768"):
        RvcConverter(fake_voice(), FakeContent(), index)


def test_transposing_goes_from_median_to_median() -> None:
    wave = spoken(8)
    found = local_pitch(wave, "", f0_min=50, f0_max=1100, whole=True)
    median = float(np.median(found[found > 0]))
    known = converter(info={"median_f0": median * 2 ** (5 / 12)})
    made = known.convert(wave, RATE, ConvertOptions())
    assert made.transpose == 5 and not made.warnings
    voiced = made.f0_source > 0
    np.testing.assert_allclose(made.f0_target[voiced], made.f0_source[voiced] * 2 ** (5 / 12), rtol=1e-5)
    assert known.convert(wave, RATE, ConvertOptions(target_pitch=median / 2)).transpose == -12
    unknown = converter().convert(wave, RATE, ConvertOptions())
    assert unknown.transpose == 0 and "--target-pitch" in unknown.warnings[0]


def test_a_voice_without_f0_needs_none() -> None:
    made = converter(f0=False).convert(spoken(2), RATE, ConvertOptions())
    assert not made.warnings and not len(made.f0_target)
    assert len(made.samples) == 80_000


def test_protect_keeps_retrieval_from_consonants() -> None:
    changed, plain = np.full((4, 2), 5.0, np.float32), np.ones((4, 2), np.float32)
    f0 = np.array([0, 100, 0.5, 200], np.float32)
    kept = protect(changed, plain, f0, 0.25)
    assert kept[:, 0].tolist() == [2, 5, 2, 5]
    assert protect(changed, plain, f0, 0.5) is changed


def test_interpolated_pitch_has_no_gaps() -> None:
    made = converter().convert(spoken(6), RATE, ConvertOptions(pitch=0.0, unvoiced="interpolate"))
    assert (made.f0_target > 0).all() and (made.f0_source == 0).any()


def test_a_voice_says_that_it_wants_pitch_without_gaps() -> None:
    wanting = converter(info={"unvoiced": "interpolate"})
    told = wanting.convert(spoken(2), RATE, ConvertOptions(pitch=0.0)).warnings
    assert any("--unvoiced interpolate" in one for one in told)
    assert not wanting.convert(spoken(2), RATE, ConvertOptions(pitch=0.0, unvoiced="interpolate")).warnings
    assert not converter().convert(spoken(2), RATE, ConvertOptions(pitch=0.0)).warnings


def test_seeds_decide() -> None:
    first, again, other = (
        converter(0.01).convert(spoken(1), RATE, ConvertOptions(pitch=0.0, seed=seed)).samples
        for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_cancelling_within_a_chunk() -> None:
    """A network of many modules is left in the midst of a chunk, and keeps no hook."""
    layers = torch.nn.Sequential(*(torch.nn.Linear(4, 4) for _ in range(20)))
    asked = 0

    def enough() -> bool:
        nonlocal asked
        asked += 1
        return asked > 5

    with pytest.raises(Cancelled), stopping(enough, layers):
        layers(torch.zeros(1, 4))
    assert asked == 6
    layers(torch.zeros(1, 4))
    assert asked == 6
    asked = 0
    conversion = converter()
    with pytest.raises(Cancelled):
        conversion.convert(spoken(3), RATE, ConvertOptions(pitch=0.0), cancel=enough)
    assert not conversion.voice.synthesizer.calls or asked == 6


def test_the_high_pass_is_filtfilt() -> None:
    wave = spoken(1.7) + np.float32(0.1)
    numerator, denominator = scipy.signal.butter(5, 48, "high", fs=RATE)
    wanted = scipy.signal.filtfilt(numerator, denominator, wave.astype(np.float64))
    for sizes in ([len(wave)], [5, 1000, 7000, 3, 9000]):
        cutting = HighPass()
        parts, at = [], 0
        for size in sizes:
            parts.append(cutting.feed(wave[at : at + size]))
            at += size
        parts.append(cutting.feed(wave[at:], last=True))
        np.testing.assert_allclose(np.concatenate(parts), wanted, atol=2e-6)


def test_loudness_follows_the_source() -> None:
    time = np.arange(6 * RATE) / RATE
    swell = (0.05 + 0.3 * (time > 3)) * np.sin(2 * np.pi * 200 * time)
    flat = 0.2 * np.sin(2 * np.pi * 330 * np.arange(6 * 40_000) / 40_000)
    outs = []
    for blocks in (1, 13):
        mix = LoudnessMix(40_000, 0.0)
        pairs = zip(np.array_split(swell, blocks), np.array_split(flat, blocks), strict=True)
        parts = [
            mix.feed(a.astype(np.float32), b.astype(np.float32), number == blocks - 1)
            for number, (a, b) in enumerate(pairs)
        ]
        outs.append(np.concatenate(parts))
    np.testing.assert_allclose(outs[0], outs[1], atol=1e-6)
    assert len(outs[0]) == len(flat)

    def level(part: np.ndarray) -> float:
        return float(np.sqrt(np.mean(part**2)))

    assert level(outs[0][40_000:80_000]) == pytest.approx(0.05 / np.sqrt(2), rel=0.02)
    assert level(outs[0][180_000:220_000]) == pytest.approx(0.35 / np.sqrt(2), rel=0.02)


def test_pieces_cover_the_source_and_are_cut_where_it_is_quiet() -> None:
    wave = spoken(23.4)
    wave[int(3.9 * RATE) : int(4.2 * RATE)] = 0
    found = list(pieces(iter(np.array_split(wave, 50)), SMALL))
    assert found[0].start == 0 and found[-1].end == len(wave) and found[-1].last
    assert all(one.end == other.start for one, other in itertools.pairwise(found))
    assert all(piece.start % 320 == 0 and len(piece.heard) % 320 == EXTRA for piece in found)
    assert 3.85 * RATE <= found[0].end <= 4.2 * RATE
    np.testing.assert_array_equal(np.concatenate([piece.own for piece in found]), wave)


def test_a_cut_beyond_the_longest_piece_still_hears_what_follows() -> None:
    """Where the quiet place lies late, as RVC-WebUI's own numbers allow (38 + 6 s of at most 41)."""
    wave = np.random.default_rng(1).standard_normal(20 * RATE).astype(np.float32)
    wave[int(5.7 * RATE) : int(5.8 * RATE)] = 0
    found = list(pieces([wave], Chunks(1, 1.9, 4, 4)))
    assert 5.7 * RATE <= found[0].end <= 5.8 * RATE
    after = found[0].heard[found[0].end - found[0].at :]
    np.testing.assert_array_equal(after, wave[found[0].end : found[0].end + len(after)])


def test_a_whole_recording_is_not_gone_through_for_every_piece() -> None:
    """Time to cut it grows with its length, not with its square."""
    asked: list[int] = []

    class Counted(np.ndarray):
        def astype(self, *arguments: object, **further: object) -> np.ndarray:
            asked.append(self.size)
            return np.asarray(self).astype(*arguments, **further)

    wave = np.random.default_rng(1).standard_normal(60 * RATE).astype(np.float32)
    for number in range(1, 12):
        assert quietest(wave.view(Counted), number * 4 * RATE, (number * 4 + 2) * RATE) == (
            number * 4 * RATE
            + int(np.argmin(loudness_around(wave)[number * 4 * RATE : (number * 4 + 2) * RATE]))
        )
    assert max(asked) <= 2 * RATE + 160


def test_a_median_that_no_voice_has_is_left_out() -> None:
    found = RvcConverter(
        fake_voice(info={"median_f0": 300.0}),
        FakeContent(),
        estimate=lambda samples, *a, **k: np.full(len(samples) // 160 + 1, 2500, np.float32),
    ).convert(spoken(12), RATE, ConvertOptions(f0_max=4000.0, chunks=SMALL))
    assert found.transpose == round(12 * np.log2(300 / 2500))


def test_a_long_recording_in_bounded_memory() -> None:
    """Ten minutes take no more than two: nothing but a few chunks is held."""

    def peak(minutes: int) -> int:
        block = spoken(10)

        def blocks() -> Iterator[np.ndarray]:
            for _ in range(6 * minutes):
                yield block

        count = 0
        tracemalloc.start()
        try:
            for part in converter(rate=16_000).stream(blocks(), RATE, ConvertOptions(pitch=0.0)):
                count += len(part)
            used = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert count == minutes * 60 * RATE
        return used

    assert peak(6) < 1.1 * peak(2)


def test_a_survey_finds_length_peak_and_pitch() -> None:
    wave = spoken(40)
    seen = survey(
        np.array_split(wave, 9), RATE, lambda part: local_pitch(part, "", f0_min=50, f0_max=1100, whole=False)
    )
    f0 = local_pitch(wave, "", f0_min=50, f0_max=1100, whole=True)
    assert seen.seconds == 40 and seen.peak == pytest.approx(float(np.abs(wave).max()))
    assert seen.pitch == pytest.approx(float(np.median(f0[f0 > 0])), rel=0.05)


def test_a_rate_that_nothing_has() -> None:
    with pytest.raises(UsageError, match="samples a second"):
        Source([], 12)
