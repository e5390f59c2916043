"""Features of a small corpus on disk: shapes, sums, caching, interruption, refusal."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from synthetic import corpus as make_corpus

from voicewright.audio.mel import PRESETS, energy, log_mel
from voicewright.audio.pitch import f0
from voicewright.corpus import features as room
from voicewright.corpus.acoustic import Acoustic, open_shard, write_shard
from voicewright.corpus.align import AlignerSettings
from voicewright.corpus.draw import draw_alignment
from voicewright.corpus.features import Features, build_features
from voicewright.corpus.manifest import Corpus
from voicewright.errors import VoicewrightError
from voicewright.text.vocab import KOKORO

torch.set_num_threads(1)
QUICK = AlignerSettings(rounds=2, steps=40, gaussian_rounds=4, width=64)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus") / "c", 8)


@pytest.fixture(scope="module")
def built(corpus: Corpus) -> list[Features]:
    return build_features(corpus, settings=QUICK)


def _same(a: Features, b: Features) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in vars(a))


def test_shapes_types_and_sums(corpus: Corpus, built: list[Features]) -> None:
    assert [f.id for f in built] == [u.id for u in corpus.utterances]
    for f, u in zip(built, corpus.utterances, strict=True):
        frames = int(f.durations.sum())
        assert f.tokens.tolist() == [0, *(KOKORO[s] for s in u.phonemes), 0]
        assert f.durations.shape == f.tokens.shape and f.durations.dtype == f.tokens.dtype == np.int64
        assert f.durations.min() >= 1 and f.durations[0] >= 6 and f.durations[-1] >= 6
        assert f.f0.shape == f.energy.shape == (2 * frames,) and f.f0.dtype == f.energy.dtype == np.float32
        assert f.mel.shape == (80, 2 * frames) and f.mel.dtype == np.float16
        assert f.samples.shape == (600 * frames,) and f.samples.dtype == np.int16
        assert f.speaker == u.speaker and 0 < f.confidence <= 1


def test_the_sound_is_that_of_the_corpus_between_silences(corpus: Corpus, built: list[Features]) -> None:
    for f, u in zip(built, corpus.utterances, strict=True):
        original, _ = soundfile.read(corpus.path(u), dtype="int16")
        assert not f.samples[:3600].any() and not f.samples[-4200:].any()
        assert np.array_equal(f.samples[3600 : 3600 + len(original)], original)
        assert len(f.samples) < 3600 + len(original) + 4200 + 600
        assert f.mel[:, :8].max() == pytest.approx(PRESETS["styletts2"].silence, abs=2e-3)


def test_mel_pitch_and_energy_are_of_these_samples(built: list[Features]) -> None:
    f = built[0]
    wave = f.samples.astype(np.float32) / 32768
    count = 2 * int(f.durations.sum())
    mel = log_mel(torch.from_numpy(wave))[:, :count]
    assert np.abs(mel.numpy() - f.mel).max() < 2e-3
    assert np.abs(energy(mel).numpy() - f.energy).max() < 1e-4
    np.testing.assert_allclose(f0(wave)[:count], f.f0)


def test_a_second_run_computes_nothing(
    corpus: Corpus, built: list[Features], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {p.name: p.stat().st_mtime_ns for p in (corpus.folder / "features").iterdir()}

    def never(*args: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(room, "align", never)
    monkeypatch.setattr(room, "apply", never)
    monkeypatch.setattr(room.subprocess, "Popen", never)
    again = build_features(corpus, settings=QUICK)
    assert all(_same(a, b) for a, b in zip(built, again, strict=True))
    assert before == {p.name: p.stat().st_mtime_ns for p in (corpus.folder / "features").iterdir()}


def test_the_same_corpus_elsewhere_gives_the_same_features(
    corpus: Corpus, built: list[Features], tmp_path: Path
) -> None:
    other = build_features(corpus, tmp_path / "cache", settings=QUICK, workers=1)
    assert all(_same(a, b) for a, b in zip(built, other, strict=True))


def test_held_out_clips_are_aligned_by_an_aligner_that_never_saw_them(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taught: list[list[str]] = []
    real = room.align

    def spy(clips: list[room.Clip], *rest: object) -> object:
        taught.append([c.id for c in clips])
        return real(clips, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(room, "align", spy)
    train = build_features(corpus, tmp_path, split=lambda name: name < "c006", settings=QUICK)
    held = build_features(corpus, tmp_path, split=lambda name: name >= "c006", settings=QUICK)
    whole = build_features(corpus, tmp_path, settings=QUICK)
    assert taught == [[f"c{i:03d}" for i in range(6)]]
    assert [f.id for f in (*train, *held)] == [f.id for f in whole]
    assert all(_same(a, b) for a, b in zip([*train, *held], whole, strict=True))


def test_a_changed_text_is_aligned_anew_and_its_sound_is_not_measured_again(
    corpus: Corpus, built: list[Features], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_features(corpus, tmp_path, settings=QUICK)
    first = corpus.utterances[0]
    edited = first.model_copy(update={"phonemes": first.phonemes.replace("ˈ", "", 1)})
    changed = Corpus(corpus.folder, corpus.meta, (edited, *corpus.utterances[1:]))
    monkeypatch.setattr(room.subprocess, "Popen", None)
    after = build_features(changed, tmp_path, settings=QUICK)
    assert len(after[0].tokens) == len(built[0].tokens) - 1
    assert all(_same(a, b) for a, b in zip(built[1:], after[1:], strict=True))


def test_damaged_caches_are_computed_again(corpus: Corpus, built: list[Features], tmp_path: Path) -> None:
    build_features(corpus, tmp_path, settings=QUICK)
    shard = next(tmp_path.glob("acoustic-*"))
    shard.write_bytes(shard.read_bytes()[: shard.stat().st_size // 2])
    (tmp_path / "alignments.jsonl").write_text("{half a line")
    again = build_features(corpus, tmp_path, settings=QUICK)
    assert all(_same(a, b) for a, b in zip(built, again, strict=True))


def test_text_that_is_not_what_was_said_is_left_out(corpus: Corpus, tmp_path: Path) -> None:
    wrong = [u.model_copy(update={"phonemes": "f"}) if u.id == "c002" else u for u in corpus.utterances]
    kept = build_features(
        Corpus(corpus.folder, corpus.meta, tuple(wrong)), tmp_path, settings=QUICK, min_confidence=0.3
    )
    assert "c002" not in [f.id for f in kept] and len(kept) == 7
    lines = [json.loads(line) for line in (tmp_path / "quarantine.jsonl").read_text().splitlines()]
    assert [(line["id"], line["reason"]) for line in lines] == [("c002", "alignment")]


def test_unreadable_audio_and_unwritable_caches_are_one_sentence(corpus: Corpus, tmp_path: Path) -> None:
    lost = corpus.utterances[0].model_copy(update={"audio": "audio/lost.flac", "hash": "0" * 32})
    with pytest.raises(VoicewrightError, match=r"lost\.flac"):
        build_features(Corpus(corpus.folder, corpus.meta, (lost,)), tmp_path / "a")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(VoicewrightError, match="cannot be written"):
        build_features(corpus, file / "cache")
    with pytest.raises(VoicewrightError, match="no utterance"):
        build_features(corpus, tmp_path / "b", split=lambda name: False)


def test_shards_are_mapped_not_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clips = {
        name: Acoustic(
            rng.integers(-99, 99, 600 * n).astype(np.int16),
            rng.standard_normal((80, 2 * n)).astype(np.float16),
            rng.random(2 * n).astype(np.float32),
            rng.random(2 * n).astype(np.float32),
        )
        for name, n in (("a", 3), ("b", 20), ("c", 1))
    }
    write_shard(tmp_path / "s", clips)
    opened = open_shard(tmp_path / "s")
    assert list(opened) == ["a", "b", "c"]
    for name, clip in clips.items():
        for part in ("samples", "mel", "f0", "energy"):
            view = getattr(opened[name], part)
            assert np.array_equal(view, getattr(clip, part)) and isinstance(view, np.memmap)
            assert not view.flags.writeable
    assert [p.name for p in tmp_path.iterdir()] == ["s"]


def test_drawing(built: list[Features], tmp_path: Path) -> None:
    draw_alignment(built[0], tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(VoicewrightError, match="cannot be written"):
        draw_alignment(built[0], tmp_path / "none" / "a.png")
