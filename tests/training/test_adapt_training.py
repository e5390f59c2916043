"""Training of adapters: exact resuming, gates, replays, what a checkpoint holds, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest
import torch
from fakes import narrow_config
from safetensors.torch import load_file
from test_adapters import cache, pack
from torch import Tensor, nn

from voicewright.catalogue.places import WEIGHTS, layers_of, read_card, voice_files
from voicewright.cli import main
from voicewright.corpus.manifest import MANIFEST, META, QUARANTINE, Corpus
from voicewright.errors import VoicewrightError
from voicewright.jobs.adapt import parts
from voicewright.model.checkpoint import load_model, save_model
from voicewright.model.tts.model import TTSModel
from voicewright.storage import digest
from voicewright.training.adapt.batches import Clip
from voicewright.training.adapt.folders import Base, Heard
from voicewright.training.adapt.recipe import AdaptRecipe
from voicewright.training.adapt.run import Material, adapt
from voicewright.training.adapt.task import AdaptSpectra
from voicewright.training.gates import MOST_RETURNS, Gate, lost
from voicewright.training.loop import Trainer
from voicewright.training.options import Options, find_recipe
from voicewright.training.state import Checkpoints
from voicewright.training.work import parts_of
from voicewright.voices.fit import HeardMel, Steer
from voicewright.voices.phones import PhoneEar, open_phone_ear
from voicewright.voices.references import Reference

__all__ = ["cache"]
Judge = Callable[[Path, Mapping[str, float]], Heard]
STEP = {"learning_rate": 2e-3, "warmup": 1}


def recipe(**changes: Any) -> AdaptRecipe:
    data: dict[str, Any] = {
        "name": "small",
        "kind": "adapt",
        "rank": 2,
        "precision": "fp32",
        "log_every": 1,
        "checkpoint_every": 2,
        "checkpoint_minutes": None,
        "replay": {"every": 3, "voices": 2, "crops": 4},
        "judge": {"every": 3, "sentences": 2, "keep": 2},
        "stages": [
            {
                "stage": "prosody",
                "steps": 4,
                "clips": 3,
                "optimizer": STEP,
                "losses": {"prosody": 1, "replay": 1},
            },
            {
                "stage": "sound",
                "steps": 6,
                "optimizer": STEP,
                "losses": {
                    "mel": 1,
                    "identity": 1,
                    "phones": 1,
                    "tones": 1,
                    "lines": 1,
                    "echo": 1,
                    "replay": 1,
                },
            },
        ],
    }
    return AdaptRecipe.model_validate(data | changes)


def reference(index: int) -> Reference:
    """Tones, one a token, long enough for a crop."""
    rng = np.random.default_rng([5, index])
    tokens = rng.integers(40, 70, 26)
    tokens[[0, -1]] = 0
    durations = rng.integers(2, 5, 26)
    frames = int(durations.sum())
    f0 = np.repeat(rng.uniform(120, 200, 26), 2 * durations).astype(np.float32)
    sound = 0.1 * np.sin(2 * np.pi * np.cumsum(np.repeat(f0, 300)) / 24_000)
    energy = rng.normal(3, 1, 2 * frames).astype(np.float32)
    return Reference(
        f"r{index}",
        torch.from_numpy(tokens)[None],
        torch.from_numpy(durations),
        torch.from_numpy(sound.astype(np.float32)),
        torch.from_numpy(f0),
        torch.from_numpy(energy),
    )


def identity(sound: Tensor) -> Tensor:
    """Who speaks, to a test: how loud eight stretches are."""
    return torch.nn.functional.normalize(sound.unflatten(1, (8, -1)).square().mean(2), dim=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of the embedded voice's kind: pulses, one upsampling."""
    torch.manual_seed(4)
    folder = tmp_path_factory.mktemp("base") / "m"
    save_model(folder, TTSModel(narrow_config()).eval(), narrow_config(), card={"name": "m", "voice": "alto"})
    (folder / "voices").mkdir()
    pack(2).write(folder / "voices" / "alto.safetensors")
    return folder


def run(
    folder: Path,
    out: Path,
    plan: AdaptRecipe | None = None,
    judge: Judge | None = None,
    resume: bool = False,
    who: Callable[[Tensor], Tensor] = identity,
    options: Options | None = None,
) -> tuple[Any, list[str]]:
    torch.set_num_threads(1)
    net = load_model(folder)[0].float().fold()
    said: list[str] = []
    texts = [torch.from_numpy(np.r_[0, np.arange(40, 80), 0])[None]]
    stock = {"alto": pack(2), "bass": pack(6)}
    ear = open_phone_ear(pytest.fail)
    assert ear is not None
    items = [replace(one, phones=ear(one.sound[None])) for one in (reference(index) for index in range(4))]
    wanted = identity(items[0].sound[None, :39_600])[0]
    material = Material(items, [reference(9)], pack(3), texts, stock, 8_000.0, [Steer(who, wanted)], ear)
    sha256 = digest(folder / WEIGHTS)
    made = adapt(
        plan or recipe(),
        Base(net, narrow_config(), str(folder), sha256, sha256),
        material,
        out,
        card={"name": "m as mine", "voice": "mine"},
        judge=judge,
        resume=resume,
        options=options,
        line=said.append,
    )
    return made, said


def last(out: Path) -> dict[str, Tensor]:
    return load_file(Checkpoints(out / "checkpoints").found()[0] / "state.safetensors")


def step_of(folder: Path) -> int:
    return int(folder.name.partition("-")[2])


def poor_at(*steps: int) -> Judge:
    """Hears words lost in the candidates of these steps."""

    def judge(candidate: Path, first: Mapping[str, float]) -> Heard:
        step = step_of(candidate)
        return Heard({"score": float(step), "words": 0.9 if step in steps else 0.0})

    return judge


@pytest.fixture(scope="module")
def straight(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "straight"
    result, said = run(folder, out, judge=poor_at(6))
    assert result.finished and result.steps == 10
    assert any("Step 6: words were lost" in one and "Back to the state of step 3" in one for one in said)
    return out


def test_a_dry_run_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    made, said = run(folder, tmp_path / "r", judge=poor_at(), options=Options(dry_run=True))
    assert made.finished and not made.steps and not (tmp_path / "r").exists()
    assert said[0].startswith("10 steps on cpu: prosody 4 of 3 clips")


def test_nobody_is_drawn_nearer_to_a_voice_than_its_recording_is() -> None:
    """What an encoder likes beyond that is the encoder's."""

    def encoder(sound: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(sound[:, :2], dim=1)

    spectra = AdaptSpectra(cast(HeardMel, nn.Identity()), None, [Steer(encoder, torch.tensor([1.0, 0.0]))])
    real = torch.tensor([[2.0, 1.0, 9.0]])
    nearer, farther = torch.tensor([[3.0, 1.0, 0.0]]), torch.tensor([[1.0, 2.0, 0.0]], requires_grad=True)
    assert spectra.unlike(real, real) == 0 and spectra.unlike(nearer, real) == 0
    loss = spectra.unlike(farther, real)
    assert float(loss) == pytest.approx((2 - 1) / 5**0.5)
    loss.backward()
    assert farther.grad is not None and farther.grad[0, 0] < 0 < farther.grad[0, 1]


@pytest.mark.parametrize("whose", ["start", "recording"])
def test_a_piece_is_held_to_the_phones_of(whose: Literal["start", "recording"]) -> None:
    """The start's are known beforehand, for some clips; the recording's are heard of each."""

    def ear(sound: Tensor) -> Tensor:
        return torch.stack([sound, -sound], 1).log_softmax(1)

    spectra = AdaptSpectra(cast(HeardMel, nn.Identity()), None, [], cast(PhoneEar, ear))
    stage = recipe().stages[1].model_copy(update={"phones": whose})
    real, known = torch.tensor([[1.0, -2.0]]), torch.zeros(1, 2, 2)
    none = torch.zeros(0)
    clip = Clip(none, none, none, none, none, none, none, real[0], own=True, phones=known)
    found = spectra.says(clip, real, stage)
    assert found is not None and torch.equal(found, known if whose == "start" else ear(real))
    untold = spectra.says(replace(clip, phones=None), real, stage)
    assert (untold is None) == (whose == "start")


def test_every_loss_of_the_recipe_is_logged(straight: Path) -> None:
    log = [json.loads(line) for line in (straight / "log.jsonl").read_text("utf-8").splitlines()]
    steps = [entry for entry in log if entry["kind"] == "train"]
    for stage in recipe().stages:
        seen = {key for entry in steps if entry["stage"] == stage.stage for key in entry}
        assert set(stage.losses) <= seen


@pytest.mark.parametrize("crash", [3, 7])
def test_resumed_is_bit_identical(
    folder: Path, straight: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, crash: int
) -> None:
    """Stopped dead in each stage, and after the run went back."""
    follow = Trainer._follow

    def followed(self: Trainer) -> None:
        follow(self)
        if self.counters.total == crash:
            raise RuntimeError("dead")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_follow", followed)
        with pytest.raises(RuntimeError, match="dead"):
            run(folder, tmp_path / "r", judge=poor_at(6))
    result, _ = run(folder, tmp_path / "r", judge=poor_at(6), resume=True)
    assert result.steps == 10
    first, second = parts_of(tmp_path / "r")  # what either process told of its work
    assert first.steps <= crash and second.steps >= 10 - crash and min(first.seconds, second.seconds) >= 0
    one, other = last(straight), last(tmp_path / "r")
    assert one.keys() == other.keys()
    assert [key for key in one if not torch.equal(one[key], other[key])] == []


def test_whole_matrices_end_as_a_model(folder: Path, tmp_path: Path) -> None:
    """A finetune is the base with what was learnt in it: a model of its own, with the one voice."""
    out = tmp_path / "whole"
    result, _ = run(folder, out, recipe(rank="whole"), judge=poor_at())
    best = out / "best"
    assert result.model == best and (best / WEIGHTS).is_file() and not layers_of(best)[1]
    before, after = load_file(folder / WEIGHTS), load_file(best / WEIGHTS)
    assert before.keys() == after.keys()
    moved = {key.split(".")[0] for key in before if not torch.equal(before[key].float(), after[key].float())}
    assert moved == {"decoder", "predictor"}
    network = load_model(best)[0].float().fold()
    learnt = last(out)
    plain = load_model(folder)[0].float().fold()
    for name, module in network.named_modules():
        key = f"ema|{name.partition('.')[0]}.{name.replace('.', '/')}.D"
        if key in learnt:
            wanted = plain.get_submodule(name).weight + learnt[key]
            torch.testing.assert_close(module.weight, wanted, atol=2e-5, rtol=1e-4)
    assert set(voice_files(best)) == {"mine"}


def apart_when_resumed(
    folder: Path, place: Path, plan: AdaptRecipe, monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """What differs between a run that is killed after seven steps and goes on, and one that is not."""
    run(folder, place / "straight", plan, judge=poor_at())
    follow = Trainer._follow

    def followed(self: Trainer[Any]) -> None:
        follow(self)
        if self.counters.total == 7:
            raise RuntimeError("dead")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "_follow", followed)
        with pytest.raises(RuntimeError, match="dead"):
            run(folder, place / "r", plan, judge=poor_at())
    run(folder, place / "r", plan, judge=poor_at(), resume=True)
    one, other = last(place / "straight"), last(place / "r")
    assert one.keys() == other.keys()
    return [key for key in one if not torch.equal(one[key], other[key])]


def test_a_whole_finetune_resumes_bit_identically(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = recipe(rank="whole", judge={"every": 5, "sentences": 2, "keep": 1})
    assert apart_when_resumed(folder, tmp_path, plan, monkeypatch) == []


def test_a_checkpoint_holds_adapters_alone(folder: Path, straight: Path) -> None:
    state = last(straight)
    assert {key.split("|")[1].split(".")[0] for key in state if key.startswith("net|")} == {
        "decoder", "predictor", "acoustic", "prosodic",
    }  # fmt: skip
    assert all(key.rpartition(".")[2] in ("A", "B", "value") for key in state)
    numbers = sum(value.numel() for key, value in state.items() if key.startswith("net|"))
    assert numbers < 0.2 * sum(value.numel() for value in load_file(folder / WEIGHTS).values())


def test_gate_goes_back_and_halves(folder: Path, straight: Path, tmp_path: Path) -> None:
    record = json.loads((Checkpoints(straight / "checkpoints").found()[0] / "state.json").read_text())
    counters = record["counters"]
    assert counters["slow"] == 0.5 and counters["returns"] == 1 and counters["healthy"] == 10
    assert not (straight / "judged" / "step-00000006").exists()
    rates: list[float] = []
    states: dict[int, Tensor] = {}

    class Watched(Exception):
        pass

    update = Trainer._update

    def updated(self: Trainer, total: Tensor, step: int) -> Tensor:
        norm = update(self, total, step)
        rates.append(self.learners.optimizer.param_groups[0]["lr"])
        states[self.counters.total] = self.learners.networks.predictor["predictor/F0_proj"].B.detach().clone()
        return norm

    plan = recipe(judge={"every": 1, "sentences": 2, "keep": 2}, stages=[recipe().stages[0].model_dump()])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_update", updated)
        run(folder, tmp_path / "all", plan, poor_at())
        whole = list(rates)
        rates.clear()
        run(folder, tmp_path / "back", plan, poor_at(2))
    assert rates[:2] == whole[:2]
    assert rates[2] == pytest.approx(whole[2] / 2) and rates[3] == pytest.approx(whole[3] / 2)


def test_the_best_by_ears_is_kept(folder: Path, tmp_path: Path) -> None:
    """The one that was heard best, be it the start; never the last."""
    for best in (0, 3):

        def judge(candidate: Path, first: Mapping[str, float], best: int = best) -> Heard:
            return Heard({"score": -abs(step_of(candidate) - best)}, {"a": np.zeros(2400, np.float32)})

        result, _ = run(folder, tmp_path / str(best), judge=judge)
        assert result.model is not None and read_card(result.model)["step"] == best
        assert len(layers_of(result.model)[1]) == 1 and set(voice_files(result.model)) == {"alto", "mine"}
        assert (tmp_path / str(best) / "samples" / "step-00000003" / "a.wav").is_file()
    card = read_card(tmp_path / "3" / "best")
    assert card["figures"] == {"score": 0.0} and card["before"] == {"score": -3.0}
    load_model(tmp_path / "3" / "best")


def test_broken_gradients_go_back_and_the_run_ends(folder: Path, tmp_path: Path) -> None:
    calls = [0]

    def breaks(sound: Tensor) -> Tensor:
        calls[0] += 1
        return identity(sound) * (float("nan") if calls[0] > 4 else 1.0)

    stages = [recipe().stages[1].model_copy(update={"steps": 200}).model_dump()]
    plan = recipe(stages=stages, replay={"every": 0}, judge={"every": 500, "sentences": 2, "keep": 2})
    result, said = run(folder, tmp_path / "nan", plan, poor_at(), who=breaks)
    assert sum("broken gradients. Back to the state of step 0" in one for one in said) == MOST_RETURNS
    assert result.finished and result.steps < 200 and result.model is not None
    assert any(f"went back {MOST_RETURNS} times" in one for one in said)


def test_replays_hold_the_bases_voices(folder: Path, tmp_path: Path) -> None:
    """A voice of the base that no replay holds moves less with replays of others than without."""
    from voicewright.training.adapt.batches import decode, spoken_clips, spoken_crops

    moved = {}
    net = load_model(folder)[0].fold()
    texts = [torch.from_numpy(np.r_[0, np.arange(40, 80), 0])[None]]
    spoken = spoken_clips(net, texts, [pack(8)])
    before = torch.stack([crop.sound for crop in spoken_crops(net, spoken, 2, 3)])
    for every in (0, 2):
        stage = recipe().stages[1].model_dump() | {
            "steps": 12, "clips": 2,
            "losses": {"mel": 1, "identity": 1, "phones": 1, "tones": 1, "lines": 1, "echo": 1, "replay": 40},
        }  # fmt: skip
        plan = recipe(stages=[stage], replay={"every": every, "crops": 8}, judge={"every": 500})
        result, _ = run(folder, tmp_path / str(every), plan)
        adapted = load_model(result.model)[0].fold()
        crops = spoken_crops(net, spoken, 2, 3)
        with torch.no_grad():
            after = torch.stack([decode(adapted, crop, crop.row[None, :128])[0] for crop in crops])
        moved[every] = float((spectrum(after) - spectrum(before)).abs().mean())
    assert moved[2] < 0.85 * moved[0], moved


def spectrum(sound: Tensor) -> Tensor:
    window = torch.hann_window(1024)
    return torch.stft(sound, 1024, 256, 1024, window, return_complex=True).abs().clamp_min(1e-4).log()


def test_gates() -> None:
    gates = (Gate("words", 0.05, "words were lost"), Gate("quality", 0.3, "quality fell", falls=True))
    gates += (Gate("moved", 0.02, "voices moved", still=True),)
    first = {"words": 0.1, "quality": 4.0}
    assert lost({"words": 0.15, "quality": 3.7, "moved": 0.02}, first, gates) is None
    assert lost({}, first, gates) is None and lost({"words": 1.0}, {}, gates) is None
    assert str(lost({"words": 0.2, "quality": 3.0}, first, gates)).count(" and ") == 1
    assert "moved" in str(lost({"moved": 0.03}, first, gates))
    assert "no number" in str(lost({"quality": float("nan")}, first, gates))
    own = (Gate("quality", 0.3, "quality fell", falls=True, enough="own"),)
    assert lost({"quality": 3.0, "own": 2.9}, first, own) is None  # no worse than the recordings are
    assert "fell" in str(lost({"quality": 2.8, "own": 2.9}, first, own))


def test_the_shipped_recipe() -> None:
    plan = AdaptRecipe.read(find_recipe("adapt"))
    assert [stage.stage for stage in plan.stages] == ["prosody", "sound"] and plan.rank == 8


def write_corpus(
    folder: Path, speakers: tuple[str, ...] = ("me",), seconds: float = 3.0, count: int = 12
) -> Path:
    folder.mkdir()
    measured = {
        "source_rate": 24000, "source_seconds": seconds, "lufs": -23.0, "peak": 0.5, "clipped": 0.0,
        "noise_db": -60.0, "snr_db": 40.0, "bandwidth_hz": 11000.0, "silence_start": 0.0, "silence_end": 0.0,
        "phonemes_per_second": 9.0, "gain_db": 0.0,
    }  # fmt: skip
    rows = [
        {
            "id": f"c{number}", "audio": "audio/x.flac", "text": "One two.", "phonemes": "wˈʌn",
            "speaker": speakers[number % len(speakers)], "seconds": seconds, "language": "en-us",
            "source": "x.wav", "hash": "0" * 32, "measurements": measured,
        }
        for number in range(count)
    ]  # fmt: skip
    (folder / MANIFEST).write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / QUARANTINE).write_text("")
    meta = {
        "language": "en-us", "licence": "mine", "consent": "me", "source": "x", "speakers": list(speakers),
        "found": count, "accepted": count, "quarantined": 0, "minutes": 1.0, "lufs": -23.0, "tool": "test",
    }  # fmt: skip
    (folder / META).write_text(json.dumps(meta))
    return folder


def refused(folder: Path, recipe: str, corpus: dict[str, Any], words: list[str]) -> int:
    """The exit code of `train` where it refuses before anything is written."""
    given = ["train", recipe, "--corpus", str(write_corpus(folder / "c", **corpus))]
    code = main([*given, "--out", str(folder / "out"), *words])
    assert not (folder / "out").exists()
    return code


def test_of_a_few_long_clips_one_is_held_out(tmp_path: Path) -> None:
    few = Corpus.read(write_corpus(tmp_path / "few", seconds=9.0, count=6))
    training, held = parts(few, recipe(split={"every": 8}), tmp_path)
    assert [item.id for item in held] == ["c3"] and len(training) == 5
    two = Corpus.read(write_corpus(tmp_path / "two", seconds=15.0, count=2))
    with pytest.raises(VoicewrightError, match="0 clips held out"):
        parts(two, recipe(split={"every": 8}), tmp_path)


@pytest.mark.parametrize(
    ("corpus", "words", "code", "said"),
    [
        ({"speakers": ("a", "b")}, [], 1, "2 speakers"),
        ({"seconds": 1.0}, [], 1, "at least 20 s"),
        ({}, ["--voice", "nowhere.pt"], 2, "there is no nowhere.pt"),
        ({}, ["--voices", "nowhere"], 2, "there is no nowhere"),
        ({}, ["--model", "no-such-model"], 2, "no model"),
        ({}, ["--resume"], 2, "no run to go on with"),
    ],
)
def test_refusals(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    corpus: dict[str, Any],
    words: list[str],
    code: int,
    said: str,
) -> None:
    assert refused(tmp_path, "adapt", corpus, words) == code
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1, error


def test_a_base_with_adapters_and_options_of_others(
    straight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--corpus", str(write_corpus(tmp_path / "c")), "--out", str(tmp_path / "out")]
    assert main(["train", "adapt", *given, "--model", str(straight)]) == 2
    assert "has adapters already" in capsys.readouterr().err
    assert main(["train", "finetune", *given, "--voice", "me.pt"]) == 2
    assert "are for adapters" in capsys.readouterr().err
