"""An RVC voice from a corpus: features, an exact resumable run, a file that opens, an index; bad input."""

from __future__ import annotations

import json
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
import yaml
from forked import Forked
from rvc_fakes import SYNTHESIZER, coarse, extractors, small
from safetensors.torch import load_file
from synthetic import corpus as make_corpus

from voicewright.corpus.manifest import Corpus
from voicewright.errors import UsageError, VoicewrightError
from voicewright.rvc.convert.index import Index
from voicewright.rvc.convert.index_build import build_index
from voicewright.rvc.convert.voice import known_pitch
from voicewright.rvc.files.checkpoint import open_voice
from voicewright.rvc.network.discriminators import VoiceDiscriminators
from voicewright.rvc.train.batches import VoiceSampler
from voicewright.rvc.train.features import MUTE, Slice, build_slices
from voicewright.rvc.train.recipe import VoiceRecipe
from voicewright.rvc.train.run import parts_of, start_files, train_slices, train_voice
from voicewright.rvc.train.task import Converting, VoiceNetworks
from voicewright.training.lifecycle import Result
from voicewright.training.loop import Trainer
from voicewright.training.options import Options
from voicewright.training.recipe import Recipe
from voicewright.training.state import Checkpoints

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus") / "c", 8)


@pytest.fixture(scope="module")
def slices(corpus: Corpus) -> list[Slice]:
    return build_slices(corpus, extractors(), rate=32_000, shortest=17)


@pytest.fixture(scope="module")
def trained(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[Result, Path, list[str]]:
    """The small recipe trained by the function that the command line calls, with its index."""
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs") / "singer"
    recipe = out.with_suffix(".yaml")
    recipe.write_text(yaml.safe_dump(small().model_dump(mode="json")), "utf-8")
    said: list[str] = []
    result = train_voice(
        recipe,
        corpus.folder,
        out,
        lambda plan: extractors(),
        device="cpu",
        build_index=build_index,
        line=said.append,
    )
    return result, out, said


def losses(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text("utf-8").splitlines()]


# ── features and batches ──────────────────────────────────────────────────────────────────────────────────


def test_slices_are_cached_and_agree_with_each_other(corpus: Corpus, slices: list[Slice]) -> None:
    tools = extractors()

    def never(samples: np.ndarray) -> np.ndarray:
        raise AssertionError("computed again")

    again = build_slices(corpus, replace(tools, content=never, f0=never), rate=32_000, shortest=17)
    assert again == slices
    assert {s.utterance for s in slices} == {u.id for u in corpus.utterances} | {MUTE}
    assert sum(s.utterance == MUTE for s in slices) == 4  # two for each of two speakers
    for s in slices:
        stored = s.load()
        assert s.frames <= min(2 * len(stored["phone"]), len(stored["f0"]), len(stored["samples"]) // 320)
        assert stored["phone"].shape[1] == 256 and stored["samples"].dtype == np.float32
        if s.utterance == MUTE:
            assert not stored["samples"].any() and not stored["f0"].any()
        else:
            assert np.abs(stored["samples"]).max() == pytest.approx(0.8, abs=0.13)


def test_other_extractors_and_damaged_files_are_computed_anew(corpus: Corpus, tmp_path: Path) -> None:
    tools = extractors()
    first = build_slices(corpus, tools, rate=32_000, cache=tmp_path, mute=0)
    other = build_slices(corpus, replace(tools, f0_key="another"), rate=32_000, cache=tmp_path, mute=0)
    assert not {s.path for s in first} & {s.path for s in other}
    before = first[0].load()["samples"]
    first[0].path.write_bytes(first[0].path.read_bytes()[:100])
    with pytest.raises(VoicewrightError, match="is damaged"):
        first[0].load()
    mended = build_slices(corpus, tools, rate=32_000, cache=tmp_path, mute=0)
    assert np.array_equal(mended[0].load()["samples"], before)


def test_recordings_keep_the_band_that_the_corpus_lost(corpus: Corpus, tmp_path: Path) -> None:
    """The originals have a tone at 15 kHz; the corpus at 24 kHz cannot."""
    for utterance in corpus.utterances:
        samples, _ = soundfile.read(corpus.path(utterance))
        wide = np.interp(np.arange(2 * len(samples)) / 2, np.arange(len(samples)), samples)
        tone = 0.2 * np.sin(2 * np.pi * 15_000 * np.arange(len(wide)) / 48_000)
        soundfile.write(tmp_path / utterance.source, wide + tone, 48_000)
    wide_slices = build_slices(
        corpus, extractors(), rate=48_000, recordings=tmp_path, cache=tmp_path / "cache", mute=0
    )
    plain = build_slices(corpus, extractors(), rate=48_000, cache=tmp_path / "cache", mute=0)

    def at_15k(s: Slice) -> float:
        x = s.load()["samples"][:24_000]
        return float(np.abs(np.fft.rfft(x * np.hanning(len(x))))[int(15_000 * len(x) / 48_000)])

    assert at_15k(wide_slices[0]) > 100 * at_15k(plain[0])
    (tmp_path / corpus.utterances[0].source).unlink()
    with pytest.raises(VoicewrightError, match=r"lacks c000\.wav"):
        build_slices(corpus, extractors(), rate=48_000, recordings=tmp_path, cache=tmp_path / "cache")


def test_a_recording_outside_the_folder_is_not_read(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "secret.wav", np.zeros(48_000), 48_000)
    lying = corpus.utterances[0].model_copy(update={"source": "../secret.wav"})
    missing = lying.model_copy(update={"source": "../nothing.wav"})
    for one in (lying, missing):  # not even whether it is there is told
        with pytest.raises(VoicewrightError, match="names a recording outside"):
            build_slices(
                replace(corpus, utterances=(one,)), extractors(), rate=48_000, recordings=tmp_path / "in"
            )


def sampler(slices: list[Slice], seed: int = 0) -> VoiceSampler:
    return VoiceSampler(
        slices, seed=seed, stage=0, clips=3, rate=32_000, n_fft=1024, speakers=["anna", "bert"], coarse=coarse
    )


def test_batches_are_a_function_of_seed_and_step(slices: list[Slice]) -> None:
    one, two = sampler(slices), sampler(slices)
    for step in (7, 0, 3):
        a, b = one.batch(step), two.batch(step)
        assert all(torch.equal(getattr(a, name), getattr(b, name)) for name in vars(a) if name != "share")
    assert any(not np.array_equal(one.indices(s), sampler(slices, 1).indices(s)) for s in range(4))
    seen = np.concatenate([one.indices(step) for step in range(one.epoch_steps)])
    assert set(seen.tolist()) == set(range(len(slices)))


def test_a_batch_is_padded_with_zeros_and_its_fields_run_together(slices: list[Slice]) -> None:
    source = sampler(slices)
    step = next(s for s in range(source.epoch_steps) if len(set(source.batch(s).lengths.tolist())) > 1)
    batch = source.batch(step)
    frames = int(batch.lengths.max())
    assert batch.phone.shape == (3, frames, 256) and batch.spectrum.shape == (3, 513, frames)
    assert batch.audio.shape == (3, frames * 320)
    assert batch.pitch.dtype == torch.int64 and int(batch.pitch.max()) <= 255
    for row, length in enumerate(batch.lengths.tolist()):
        assert not batch.audio[row, length * 320 :].any() and not batch.spectrum[row, :, length:].any()
        if batch.audio[row].any():
            loud = batch.audio[row, : length * 320].reshape(length, 320).square().mean(1)
            seen = batch.spectrum[row, :, :length].square().mean(0)
            assert np.corrcoef(loud.sqrt(), seen.sqrt())[0, 1] > 0.9
        assert torch.equal(batch.phone[row, 0], batch.phone[row, 1])  # 20 ms features twice


# ── a run ─────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_run_leaves_a_voice_and_its_index(trained: tuple[Result, Path, list[str]], corpus: Corpus) -> None:
    result, out, said = trained
    assert result.finished and result.steps == 8 and result.model == out / "singer.pth"
    assert any("learns nothing above 12 kHz" in text for text in said)
    voice = open_voice(result.model)
    assert voice.config == small().config
    assert voice.embedder == "bands" and voice.info["speakers_id"] == 2 and voice.info["step"] in (4, 8)
    assert not voice.notes
    # Speakers of pseudo-speech have 110 to 200 Hz; `convert --pitch auto` goes by the voice's median.
    assert known_pitch(voice) == voice.info["median_f0"] and 100 < float(voice.info["median_f0"]) < 220
    raw = torch.load(result.model, weights_only=True)
    assert {value.dtype for value in raw["weight"].values()} == {torch.float16}
    assert not [key for key in raw["weight"] if key.startswith("enc_q")]
    assert (raw["sr"], raw["f0"], raw["version"], raw["config"][-1]) == ("32k", 1, "v1", 32_000)
    card = json.loads((out / "best" / "card.json").read_text("utf-8"))
    assert card["speakers"] == {"anna": 0, "bert": 1} and card["licence"] == corpus.meta.licence
    (index,) = out.glob("added_IVF*_Flat_nprobe_1_singer_v1.index")
    rows = np.load(out / "total_fea.npy")
    assert rows.shape[1] == 256
    found = Index.open(index, "v1").reconstruct()
    assert sorted(map(tuple, found)) == sorted(map(tuple, rows))
    # Only what was trained on is looked up later: nothing held out, no silence.
    held = set(card["held_out"])
    trained_on = build_slices(corpus, extractors(), rate=32_000, mute=0, shortest=17)
    assert len(rows) == sum(len(s.load()["phone"]) for s in trained_on if s.utterance not in held)


def test_a_dry_run_leaves_nothing(corpus: Corpus, tmp_path: Path) -> None:
    recipe, said = tmp_path / "r.yaml", []
    recipe.write_text(yaml.safe_dump(small().model_dump(mode="json")), "utf-8")
    made = train_voice(
        recipe, corpus.folder, tmp_path / "out", lambda plan: extractors(), device="cpu",
        build_index=build_index, options=Options(dry_run=True), line=said.append,
    )  # fmt: skip
    assert made == Result(None, 0, True, []) and not (tmp_path / "out").exists()
    assert any(text.startswith("8 steps on cpu") for text in said)


def test_the_log_has_every_loss_and_the_held_out_ones(trained: tuple[Result, Path, list[str]]) -> None:
    log = losses(trained[1])
    steps = [entry for entry in log if entry["kind"] == "train"]
    assert [entry["step"] for entry in steps] == list(range(1, 9))
    assert {"mel", "kl", "adversarial", "features", "discriminator"} <= set(steps[0])
    assert [entry["step"] for entry in log if entry["kind"] == "validation"] == [4, 8]
    judged = [entry for entry in log if entry["kind"] == "judged"]
    assert all(entry["score"] == -float(str(entry["copy_db"])) for entry in judged)


def test_killed_and_resumed_is_bit_identical(corpus: Corpus, tmp_path: Path) -> None:
    """Killed after a step and in the middle of saving; in fp16, whose loss scale belongs to the state."""
    straight, broken = tmp_path / "a" / "singer", tmp_path / "b" / "singer"
    straight.parent.mkdir()
    broken.parent.mkdir()
    with Forked("rvc_resume_script") as run:
        assert run(corpus.folder, straight) == 0
        for kill_at, place in ((3, "step"), (6, "save")):
            assert run(corpus.folder, broken, kill_at, place) == -signal.SIGKILL
        assert run(corpus.folder, broken) == 0
    assert losses(broken) == losses(straight)
    states = [Checkpoints(p / "checkpoints").found()[0] for p in (broken, straight)]
    a, b = (load_file(p / "state.safetensors") for p in states)
    assert a.keys() == b.keys()
    assert [key for key in a if not torch.equal(a[key], b[key])] == []
    assert (states[0] / "state.json").read_bytes() == (states[1] / "state.json").read_bytes()


def overfit(slices: list[Slice], out: Path, **changes: object) -> list[dict[str, object]]:
    torch.set_num_threads(1)
    stage = {
        "steps": 40,
        "clips": 2,
        "gan_start": None,
        "optimizer": {"learning_rate": 4e-3},
        "losses": {"mel": 45, "kl": 1},
    }
    recipe = small(stages=[stage], judge={"every": 20, "sentences": 2, "keep": 1}, **changes)
    sound = [s for s in slices if s.utterance != MUTE][:2]
    train_slices(recipe, sound, sound, out, extractors(), device=CPU, line=lambda text: None)
    return losses(out)


def test_a_short_run_learns(slices: list[Slice], tmp_path: Path) -> None:
    log = overfit(slices, tmp_path / "o")
    mel = [float(str(entry["mel"])) for entry in log if entry["kind"] == "train"]
    copies = [float(str(entry["copy_db"])) for entry in log if entry["kind"] == "judged"]
    assert np.mean(mel[-10:]) < 0.7 * np.mean(mel[:3])
    assert copies[-1] < copies[0]


def test_a_voice_without_pitch_and_the_optional_loss(slices: list[Slice], tmp_path: Path) -> None:
    stage = {
        "steps": 2,
        "clips": 2,
        "losses": {"mel": 1, "kl": 1, "mels": 1, "adversarial": 1, "features": 1},
    }
    recipe = small(f0=False, stages=[stage], precision="bf16", judge={"every": 10})
    out = tmp_path / "flat"
    training = [s for s in slices if s.utterance != MUTE]
    result = train_slices(recipe, training, [], out, extractors(), device=CPU, line=lambda text: None)
    voice = open_voice(result.model)
    assert not voice.config.f0 and not [k for k in voice.synthesizer.state_dict() if "emb_pitch" in k]
    assert {"mels", "adversarial"} <= set(losses(out)[0])


def test_a_run_starts_from_pretrained_weights(slices: list[Slice], tmp_path: Path) -> None:
    """In the layout of f0G40k.pth; weights of other shapes and voices made for use are refused by name."""
    recipe = small()
    torch.manual_seed(7)
    given = VoiceNetworks(recipe.config).synthesizer.state_dict()
    torch.save({"model": given, "iteration": 3, "optimizer": {}, "learning_rate": 1e-4}, tmp_path / "G.pth")
    discriminator = VoiceDiscriminators("v1", 16).state_dict()
    torch.save({"model": discriminator, "iteration": 3}, tmp_path / "D.pth")
    start = {"generator": str(tmp_path / "G.pth"), "discriminator": str(tmp_path / "D.pth")}
    stage = {
        "steps": 1,
        "clips": 1,
        "optimizer": {"learning_rate": 0.0},
        "discriminator": {"learning_rate": 0.0},
    }
    stage["losses"] = {"mel": 45, "kl": 1, "adversarial": 1, "features": 2}
    plan = small(start=start, stages=[stage])

    def go(recipe: VoiceRecipe, name: str) -> Path:
        train_slices(recipe, slices, [], tmp_path / name, extractors(), device=CPU, line=lambda text: None)
        return tmp_path / name

    state = load_file(Checkpoints(go(plan, "x") / "checkpoints").found()[0] / "state.safetensors")
    for key, value in given.items():
        assert torch.equal(state[f"net|synthesizer.{key}"], value)
        assert torch.equal(state[f"ema|synthesizer.{key}"], value)
    for key, value in discriminator.items():
        assert torch.equal(state[f"waveform|{key}"], value)
    wider = small(start=start, stages=[stage], synthesizer=SYNTHESIZER | {"inter": 32})
    with pytest.raises(VoicewrightError, match=r"G\.pth"):
        go(wider, "y")
    torch.save({"weight": {"a": torch.zeros(1)}, "config": []}, tmp_path / "G.pth")
    with pytest.raises(VoicewrightError, match="no training weights"):
        go(plan, "z")


def test_published_weights_are_found_where_pull_puts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    recipe = small(start={"published": "rvc-v1-32k"})
    with pytest.raises(UsageError, match=r"models pull rvc-v1-32k.*pretrained/f0G32k\.pth"):
        start_files(recipe)
    folder = tmp_path / "cache" / "parts" / "rvc-v1-32k"
    folder.mkdir(parents=True)
    for name in ("f0G32k.pth", "f0D32k.pth"):
        (folder / name).write_bytes(b"")
    assert start_files(recipe) == (folder / "f0G32k.pth", folder / "f0D32k.pth")
    assert start_files(small()) == (None, None)
    with pytest.raises(ValueError, match="nothing is published as rvc-v1-96k"):
        small(start={"published": "rvc-v1-96k"})


def test_upstream_s_rates_decay_by_the_epoch() -> None:
    o = small().stages[0].optimizer
    assert [o.rate(step, 100, 10) for step in (0, 9, 10, 25)] == pytest.approx(
        [2e-3, 2e-3, 2e-3 * 0.999875, 2e-3 * 0.999875**2]
    )
    assert o.model_copy(update={"decay_every": 2}).rate(5, 100, 10) == pytest.approx(2e-3 * 0.999875**2)


def test_overflowing_gradients_lower_the_loss_scale(slices: list[Slice], tmp_path: Path) -> None:
    recipe = small(precision="fp16")
    trainer = Trainer(
        Converting(recipe, VoiceNetworks(recipe.config), slices, [], ["anna", "bert"], coarse),
        tmp_path,
        CPU,
        fingerprint="x",
        line=lambda text: None,
    )
    trainer.enter_stage()
    weight = next(trainer.learners.networks.parameters())
    before = weight.detach().clone()
    trainer._update((weight.sum() * float("inf")), 0)
    assert trainer.counters.scale == 32768.0 and torch.equal(weight, before)
    trainer._update(weight.sum(), 0)
    assert trainer.counters.steady == 1 and not torch.equal(weight, before)


# ── what cannot be done ───────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate": "24k"}, "no RVC v1 at 24k"),
        ({"synthesizer": {"width": 3}}, "synthesizer has no width"),
        ({"synthesizer": {"upsample_rates": [10, 4, 2, 2]}}, "synthesizer: "),
        ({"stages": []}, "stages"),
        ({"extra": 1}, "extra"),
    ],
)
def test_recipes_are_read_strictly(changes: dict[str, object], message: str, tmp_path: Path) -> None:
    data = small().model_dump(mode="json") | changes
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(data), "utf-8")
    with pytest.raises(VoicewrightError, match=message):
        VoiceRecipe.read(tmp_path / "r.yaml")
    with pytest.raises(VoicewrightError):
        Recipe.read(tmp_path / "r.yaml")


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ({"mel": 1, "kl": 1, "adversarial": 1}, "missing losses features"),
        ({"mel": 1, "kl": 1, "adversarial": 1, "features": 1, "stft": 1}, "unknown losses stft"),
    ],
)
def test_losses_are_known_and_complete(
    losses: dict[str, float], message: str, slices: list[Slice], tmp_path: Path
) -> None:
    with pytest.raises(VoicewrightError, match=message):
        train_slices(
            small(stages=[{"steps": 1, "losses": losses}]), slices, [], tmp_path, extractors(), device=CPU
        )


def test_what_does_not_fit_is_refused_in_a_sentence(
    corpus: Corpus, slices: list[Slice], tmp_path: Path
) -> None:
    training, held = parts_of(corpus, slices, small().split)
    assert {s.utterance for s in held} == {"c003", "c007"} and MUTE in {s.utterance for s in training}
    for recipe, message in (
        (small(version="v2"), "256 wide, RVC v2 reads 768"),
        (small(synthesizer=SYNTHESIZER | {"speakers": 1}), "2 speakers"),
    ):
        with pytest.raises(VoicewrightError, match=message):
            train_slices(recipe, training, held, tmp_path, extractors(), device=CPU)
    with pytest.raises(VoicewrightError, match="No slice is left"):
        train_slices(
            small(), [s for s in slices if s.utterance == MUTE], [], tmp_path, extractors(), device=CPU
        )


def test_a_speaker_who_is_only_held_out_does_not_break_the_run(slices: list[Slice], tmp_path: Path) -> None:
    """Silence is made for every speaker, and judging draws on every held-out slice."""
    strange = [s for s in slices if s.speaker == "bert" and s.utterance != MUTE]
    own = [s for s in slices if s.speaker == "anna" or s.utterance == MUTE]
    assert strange and any(s.speaker == "bert" for s in own)
    said: list[str] = []
    recipe = small(
        stages=[{"steps": 4, "clips": 2, "gan_start": None, "losses": {"mel": 45, "kl": 1}}],
        judge={"every": 4, "sentences": 2, "keep": 1},
    )
    result = train_slices(
        recipe, own, strange + own[:1], tmp_path / "r", extractors(), device=CPU, line=said.append
    )
    assert result.finished and any("Only held out" in line and "bert" in line for line in said)


def test_what_is_cached_does_not_depend_on_what_is_too_short(corpus: Corpus, tmp_path: Path) -> None:
    tools, said = extractors(), []
    one = replace(corpus, utterances=corpus.utterances[:1])
    long = build_slices(one, tools, rate=32_000, cache=tmp_path, mute=0, shortest=500, line=said.append)
    again = build_slices(one, tools, rate=32_000, cache=tmp_path, mute=0, shortest=500, line=said.append)
    assert not long and not again and len(said) == 2 and said[0] == said[1]
    assert build_slices(one, tools, rate=32_000, cache=tmp_path, mute=0)


def test_broken_content_features_are_left_out_with_a_line(corpus: Corpus, tmp_path: Path) -> None:
    tools = extractors()
    said: list[str] = []

    def broken(samples: np.ndarray) -> np.ndarray:
        found = tools.content(samples)
        if len(said) == 0:
            found[3] = np.nan
        return found

    some = replace(corpus, utterances=corpus.utterances[:2])
    found = build_slices(
        some, replace(tools, content=broken), rate=32_000, cache=tmp_path, mute=0, line=said.append
    )
    assert said == [f"A slice of {some.utterances[0].id} is left out: its content features are not finite."]
    assert some.utterances[1].id in {s.utterance for s in found}
