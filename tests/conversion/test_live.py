"""The block engine: live equals whole, whatever the pieces; options and voices change while it runs."""

from __future__ import annotations

import threading
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import soxr
from live_fakes import Echo, plain_options, voice_like

from voicewright.conversion.block import (
    FRAME,
    BlockEngine,
    PitchCache,
    Samples,
    gate,
    mix_loudness,
    whole,
)
from voicewright.conversion.live import LiveConverter
from voicewright.conversion.streaming import Queue, StreamResampler
from voicewright.errors import UsageError

SHORT = plain_options(block=0.1, crossfade=0.05, context=0.3)


def run(converter: LiveConverter, sound: Samples, piece: int) -> Samples:
    return np.concatenate([converter.process(sound[i : i + piece]) for i in range(0, len(sound), piece)])


@pytest.mark.parametrize("piece", [1_600, 4_800, 128, 777, 2_000, 20_000])
def test_live_is_whole_whatever_the_pieces(piece: int) -> None:
    """A voice that hears no further than the context says the same live, in blocks, as in one piece."""
    sound = voice_like(2.0, 16_000)
    wanted = whole(Echo(16_000), sound)
    converter = LiveConverter(Echo(16_000), SHORT, rate=16_000)
    out = run(converter, sound, piece)
    assert len(out) == len(sound)
    assert converter.stats.inserted == 0
    lag = round(
        (converter.delay + 0.005) * 16_000
    )  # joins stay at the first place: half a search later than middle
    start = lag + int(0.05 * 16_000)  # the first block fades in
    np.testing.assert_allclose(out[start:], wanted[start - lag : len(out) - lag], atol=1e-6)


def test_live_is_whole_at_other_rates() -> None:
    sound = voice_like(2.0, 44_100)
    converter = LiveConverter(Echo(32_000), SHORT, rate=44_100, output_rate=48_000)
    out = run(converter, sound, converter.block_samples)
    assert len(out) == len(sound) * 48_000 // 44_100
    wanted = whole(Echo(32_000), soxr.resample(sound, 44_100, 16_000))
    wanted = soxr.resample(wanted, 32_000, 48_000)
    lag = round((converter.delay + 0.005) * 48_000)
    pairs = [
        np.corrcoef(out[48_000 // 4 + lag + s : 80_000 + lag + s], wanted[48_000 // 4 : 80_000])[0, 1]
        for s in range(-200, 200)
    ]
    assert max(pairs) > 0.9999
    assert abs(int(np.argmax(pairs)) - 200) < 60  # the stated delay, to about a millisecond


def test_context_limits_what_a_voice_hears() -> None:
    voice = Echo()
    run(LiveConverter(voice, SHORT, rate=16_000), voice_like(1.0, 16_000), 1_600)
    window, fresh, head, frames = voice.calls[3]
    assert (window, fresh, head, frames) == (30 + 5 + 1 + 10, 10, 30, 10 + 4 + 1)


def test_odd_block_lengths_are_rounded_without_drift() -> None:
    """512 ms at 48 kHz, what w-okada's clients send by default, are 51.2 frames."""
    voice = Echo()
    options = replace(SHORT, block=24_576 / 48_000)
    converter = LiveConverter(voice, options, rate=48_000)
    run(converter, voice_like(12.0, 48_000)[: 23 * 24_576], 24_576)
    assert {call[1] for call in voice.calls} == {51, 52}
    assert converter.stats.inserted == 0


def test_options_change_while_running() -> None:
    voice = Echo()
    converter = LiveConverter(voice, SHORT, rate=16_000)
    sound = voice_like(3.0, 16_000)
    loud = []
    for index, start in enumerate(range(0, len(sound), 1_600)):
        if index == 5:
            converter.update(pitch=12.0, silence=-60.0)
        if index == 10:
            converter.update(block=0.2, context=0.5, crossfade=0.03)
        loud.append(converter.process(sound[start : start + 1_600]))
    assert voice.options.pitch == 12.0
    assert len(np.concatenate(loud)) == len(sound)
    assert voice.calls[-1][2] == 50
    before = converter.options
    with pytest.raises(UsageError, match="pitch is 99"):
        converter.update(pitch=99)
    with pytest.raises(UsageError, match="no live option 'picth'"):
        converter.update(picth=1)
    assert converter.options == before


def test_voices_change_while_running() -> None:
    first, second = Echo(32_000), Echo(48_000, gain=2.0)
    converter = LiveConverter(first, SHORT, rate=48_000)
    sound = voice_like(2.0, 48_000)
    out = []
    for index, start in enumerate(range(0, len(sound), 4_800)):
        if index == 7:
            converter.use(second)
        out.append(converter.process(sound[start : start + 4_800]))
    assert second.calls and len(first.calls) == 7
    assert second.resets == 1
    assert len(np.concatenate(out)) == len(sound)
    assert np.abs(np.diff(np.concatenate(out))).max() < 0.1  # no click where they meet


def test_quiet_sound_is_not_converted() -> None:
    voice = Echo()
    converter = LiveConverter(voice, replace(SHORT, silence=-50.0), rate=16_000)
    sound = voice_like(3.0, 16_000)
    sound = sound + 1e-4 * np.random.default_rng(0).standard_normal(len(sound)).astype(np.float32)
    out = run(converter, sound, 1_600)
    assert (
        converter.stats.skipped == 3
    )  # of 0.45 s: a block goes unconverted once nothing of it is left to join
    assert voice.skipped == 30
    pause = out[int(1.72 * 32_000 / 2) : int(1.82 * 16_000)]
    assert not pause.any()


def test_the_gate_decides_in_frames() -> None:
    tone = 0.1 * np.sin(np.arange(1_600) / 3).astype(np.float32)
    quiet = tone * 1e-4
    gated, before = gate(np.zeros(640, np.float32), np.concatenate([quiet, tone]), -60.0)
    assert len(gated) == 3_200 + 320
    np.testing.assert_array_equal(before, tone[-640:])
    assert not gated[: 320 + 1_600 - 3 * FRAME].any()
    np.testing.assert_array_equal(gated[-1_600 + 2 * FRAME :], tone[2 * FRAME :])
    again, _ = gate(before, tone, -60.0)
    np.testing.assert_array_equal(again[:320], tone[-320:])


def test_loudness_is_mixed() -> None:
    heard = 0.02 * np.random.default_rng(0).standard_normal(4_800).astype(np.float32)
    sound = 0.4 * np.random.default_rng(1).standard_normal(12_000).astype(np.float32)
    level = lambda x: float(np.sqrt(np.mean(np.square(x[500:-500]))))  # noqa: E731
    assert level(mix_loudness(heard, sound, 40_000, 1.0)) == pytest.approx(level(sound), rel=1e-5)
    assert level(mix_loudness(heard, sound, 40_000, 0.0)) == pytest.approx(level(heard), rel=0.1)
    assert level(mix_loudness(heard, sound, 40_000, 0.5)) == pytest.approx(
        np.sqrt(level(heard) * level(sound)), rel=0.1
    )


def test_late_blocks_are_counted() -> None:
    ticks = iter(np.cumsum([0, 0.05, 0, 0.2, 0, 0.05]).tolist())
    converter = LiveConverter(Echo(), SHORT, rate=16_000, clock=lambda: next(ticks))
    for _ in range(3):
        converter.process(np.zeros(1_600, np.float32))
    stats = converter.stats
    assert (stats.blocks, stats.late) == (3, 1)
    assert stats.worst == pytest.approx(0.2)
    assert stats.factor == pytest.approx(1.0)
    assert converter.latency == pytest.approx(0.1 + 0.2 + converter.delay)


def test_warming_up_leaves_no_trace() -> None:
    sound = voice_like(1.0, 16_000)
    cold = LiveConverter(Echo(), SHORT, rate=16_000)
    warm = LiveConverter(Echo(), SHORT, rate=16_000)
    assert warm.warm_up() >= 0.0
    assert warm.stats.blocks == 0
    np.testing.assert_array_equal(run(cold, sound, 1_600), run(warm, sound, 1_600))


def test_memory_does_not_grow() -> None:
    voice = Echo()
    converter = LiveConverter(voice, replace(SHORT, silence=-50.0, rms_mix=0.5), rate=44_100)
    piece = voice_like(0.1, 44_100)
    for _ in range(20):
        converter.process(piece)
    voice.calls.clear()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(200):
            converter.process(piece)
            voice.calls.clear()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert after - before < 20_000 + 10 * 4 * len(piece)  # a piece of output, not two hundred


def test_threads_may_change_options() -> None:
    converter = LiveConverter(Echo(), SHORT, rate=16_000)
    sound = voice_like(4.0, 16_000)
    stop = threading.Event()

    def turn() -> None:
        value = 0
        while not stop.is_set():
            value = (value + 1) % 12
            converter.update(pitch=float(value), block=0.1 + 0.01 * (value % 3))

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        out = run(converter, sound, 1_600)
    finally:
        stop.set()
        thread.join()
    assert len(out) == len(sound)


def test_a_voice_that_gives_too_little_is_found_out() -> None:
    class Short(Echo):
        def convert(self, *args: object) -> Samples:  # type: ignore[override]
            return np.zeros(7, np.float32)

    with pytest.raises(ValueError, match="where 4800 were asked for"):
        BlockEngine(Short(), SHORT).convert(np.zeros(1_600, np.float32))


def test_pitch_is_kept_from_block_to_block() -> None:
    """Frames of several measurements are what one long measurement gives, less its edges."""
    truth = np.arange(200, dtype=np.float32)
    cache = PitchCache(frames=64)
    for end in range(10, 190, 10):
        cache.take(10, truth[max(end - 15, 0) : end + 1])
    np.testing.assert_array_equal(cache.last(60), truth[120:180])
    cache.shift(5)
    assert not cache.last(5).any()
    assert len(cache.last(100)) == 100


@pytest.mark.parametrize(
    ("rate", "to"), [(48_000, 16_000), (44_100, 16_000), (40_000, 48_000), (16_000, 24_000)]
)
def test_streams_are_resampled_alike_in_any_pieces(rate: int, to: int) -> None:
    time = np.arange(rate) / rate
    sound = (0.3 * np.sin(2 * np.pi * 440 * time) + 0.3 * np.sin(2 * np.pi * 3_100 * time)).astype(np.float32)
    at_once = StreamResampler(rate, to)(sound)
    stream, pieces, start = StreamResampler(rate, to), [], 0
    lengths = np.random.default_rng(0)
    while start < len(sound):
        length = int(lengths.integers(1, 3_000))
        pieces.append(stream(sound[start : start + length]))
        start += length
    np.testing.assert_allclose(np.concatenate(pieces), at_once, atol=1e-6)
    missing = to - len(at_once)
    assert abs(missing - stream.delay * to) <= 2
    places = np.arange(len(at_once)) / to
    wanted = 0.3 * np.sin(2 * np.pi * 440 * places) + 0.3 * np.sin(2 * np.pi * 3_100 * places)
    error = (at_once - wanted)[1_000:-1_000]
    assert 10 * np.log10(np.mean(wanted**2) / np.mean(error**2)) > 90


def test_impossible_rates_are_refused() -> None:
    with pytest.raises(UsageError, match="use a common rate"):
        StreamResampler(47_999, 16_000)
    with pytest.raises(UsageError, match="1000 to 768000"):
        StreamResampler(0, 16_000)


def test_a_queue_is_a_ring() -> None:
    queue = Queue(10)
    queue.push(np.arange(8, dtype=np.float32))
    np.testing.assert_array_equal(queue.pop(5), np.arange(5))
    queue.push(np.arange(8, 15, dtype=np.float32))
    with pytest.raises(ValueError, match="do not fit"):
        queue.push(np.zeros(1, np.float32))
    np.testing.assert_array_equal(queue.pop(99), np.arange(5, 15))
    assert len(queue) == 0
