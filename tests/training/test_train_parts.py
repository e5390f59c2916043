"""A batch in parts has the losses and gradients of the whole batch, whatever is trained."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import test_adapt_training as adapting
import test_clone_training as cloning
import torch
from fakes import small_recipe, tone_features, with_diffusion
from rvc_fakes import coarse, extractors
from rvc_fakes import small as small_voice
from synthetic import corpus as make_corpus
from test_adapt_training import folder
from test_adapters import cache
from torch import Tensor, nn

from voicewright.model import losses as ours
from voicewright.model.echoes import echo_loss
from voicewright.model.periodicity import periodicity_loss
from voicewright.model.share import WHOLE, Add, Share, parted
from voicewright.model.tones import line_loss, tone_loss
from voicewright.rvc.network import losses as theirs
from voicewright.rvc.train.features import build_slices
from voicewright.rvc.train.task import Converting, VoiceNetworks
from voicewright.training.loop import Trainer
from voicewright.training.speaking import Speaking
from voicewright.training.stages import Networks

__all__ = ["cache", "folder"]
CPU = torch.device("cpu")
SEED = 11
RNG = torch.Generator().manual_seed(2)


class Meeting:
    """Adds vectors up over threads, as processes do."""

    def __init__(self, of: int) -> None:
        self.barrier, self.found = threading.Barrier(of, timeout=60), dict[int, Tensor]()

    def add(self, number: int) -> Add:
        def added(vector: Tensor) -> Tensor:
            self.found[number] = vector.clone()
            self.barrier.wait()
            total = torch.stack([self.found[n] for n in sorted(self.found)]).sum(0)
            self.barrier.wait()
            return total

        return added


def in_parts(count: int, of: int, work: Callable[[int, Share], None]) -> None:
    """`work(number, share)` of every part, at once."""
    meeting, errors = Meeting(of), list[Exception]()

    def run(number: int) -> None:
        try:
            (share,) = parted(count, number, of, 1, meeting.add(number), SEED)
            work(number, share)
        except Exception as error:
            errors.append(error)
            meeting.barrier.abort()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(of)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise next((e for e in errors if not isinstance(e, threading.BrokenBarrierError)), errors[0])


# ── loss by loss ──────────────────────────────────────────────────────────────────────────────────────────

Loss = Callable[[Sequence[Tensor], Share], Tensor]


def sounds(rows: int = 5) -> list[Tensor]:
    return [0.1 * torch.randn(rows, 9600, generator=RNG) * torch.rand(rows, 1, generator=RNG) for _ in "ab"]


def maps(rows: int = 5) -> list[Tensor]:
    return [
        torch.randn(rows, 3, 7 + n % 2, generator=RNG) * (1 + torch.arange(rows)[:, None, None])
        for n in range(4)
    ]


def frames(rows: int = 5) -> list[Tensor]:
    mask = torch.rand(rows, 6, generator=RNG) > 0.4
    return [torch.randn(rows, 6, 9, generator=RNG), torch.randint(1, 9, (rows, 6), generator=RNG), mask]


def pitched(rows: int = 5) -> list[Tensor]:
    f0 = torch.full((rows, 32), 150.0)
    f0[1:3, 10:] = 0
    return [*sounds(rows), f0]


def summed(found: dict[str, Tensor]) -> Tensor:
    return torch.stack([(n + 1) * value for n, value in enumerate(found.values())]).sum()


SPECTRAL = ours.SpectralLoss(24_000)
CASES: dict[str, tuple[Callable[[], list[Tensor]], Loss]] = {
    "spectral": (sounds, lambda x, s: summed(SPECTRAL(x[0], x[1], s))),
    "periodicity": (pitched, lambda x, s: periodicity_loss(x[0], x[1], x[2], s)),
    "tones": (sounds, lambda x, s: tone_loss(x[0] + 0.05 * x[0].detach().mean(), 30, s)),
    "lines": (sounds, lambda x, s: line_loss(x[0], x[1], 30, s)),
    "echo": (pitched, lambda x, s: echo_loss(x[0], x[1], x[2], s)),
    "discriminator": (maps, lambda x, s: ours.discriminator_loss(x[:2], x[:2], s)),
    "generator": (maps, lambda x, s: ours.generator_loss(x, s)),
    "features": (maps, lambda x, s: ours.feature_loss([x[2:]], [x[:2]], s)),
    "durations": (frames, lambda x, s: summed(ours.duration_losses(x[0], x[1], x[2], s))),
    "curve": (frames, lambda x, s: ours.curve_loss(x[0][..., 0], x[0][..., 1].detach(), x[2], 2.0, s)),
    "their discriminator": (maps, lambda x, s: theirs.discriminator_loss(x[:2], x[:2], s)),
    "their generator": (maps, lambda x, s: theirs.adversarial_loss(x, s)),
    "their features": (maps, lambda x, s: theirs.matching_loss([x[2:]], [x[:2]], s)),
    "their kl": (
        frames,
        lambda x, s: theirs.kl_loss(x[0], x[0] / 3, x[0] / 2, x[0] / 5, x[2][..., None].float(), s),
    ),
}


@pytest.mark.parametrize("of", [2, 7])
@pytest.mark.parametrize("name", list(CASES))
def test_a_loss_in_parts_is_that_of_the_whole(name: str, of: int) -> None:
    """Five clips over two processes, which differ in number, and over seven, of which two have none."""
    make, loss = CASES[name]
    inputs = make()
    whole = inputs[0].clone().requires_grad_()
    value = loss([whole, *inputs[1:]], WHOLE)
    value.backward()
    assert whole.grad is not None and whole.grad.abs().max() > 0
    apart = torch.zeros_like(whole)
    values = [0.0] * of

    def work(number: int, share: Any) -> None:
        own = inputs[0].clone().requires_grad_()
        rows = list(share.rows)
        found = loss([own[rows], *(x[rows] for x in inputs[1:])], share)
        found.backward()
        values[number] = float(found.detach())
        assert own.grad is not None
        apart.add_(own.grad)

    in_parts(5, of, work)
    assert values == pytest.approx([float(value.detach())] * of, rel=1e-5)
    torch.testing.assert_close(apart, whole.grad, rtol=1e-4, atol=1e-5 * float(whole.grad.abs().max()))


def test_the_check_sees_a_loss_that_is_no_mean_over_its_clips() -> None:
    """Means of the parts' own norms are not the batch's: what the sums are for."""
    fake, real = sounds()
    whole = float(SPECTRAL(fake, real)["convergence"])
    own = [float(SPECTRAL(fake[n::2], real[n::2])["convergence"]) for n in range(2)]
    assert (3 * own[0] + 2 * own[1]) / 5 != pytest.approx(whole, rel=1e-3)


# ── stage by stage ────────────────────────────────────────────────────────────────────────────────────────


def gradients(trainer: Trainer[Any], batch: Any, share: Share) -> tuple[dict[str, float], list[Tensor]]:
    """Losses, and gradients of what the stage trains and of its discriminator."""
    own: list[Sequence[Tensor | None]] = []
    if share is WHOLE:  # a part draws from its share
        torch.manual_seed(SEED)
    total, logged = trainer._losses(batch, 10**6, True, share, own.append)
    total.backward()
    found = [*(p.grad for p in trainer.learners.trained), *(own[0] if own else ())]
    return {k: float(v) for k, v in logged.items()}, [torch.zeros(()) if g is None else g for g in found]


def compare(trainer: Trainer[Any], number: int, step: int = 0, of: int = 2) -> None:
    trainer.counters.stage = number
    trainer.enter_stage()
    batch = trainer.sampler().batch(step)
    copies = [copy.deepcopy(trainer) for _ in range(of)]
    logged, whole = gradients(trainer, batch, WHOLE)
    found: dict[int, tuple[dict[str, float], list[Tensor]]] = {}

    def work(number: int, share: Any) -> None:
        own = copies[number]
        found[number] = gradients(own, own.task.part(batch, share), share)

    in_parts(trainer.task.clips(batch), of, work)
    for values, _ in found.values():
        assert values == pytest.approx(logged, rel=2e-4, abs=1e-5)
    largest = max(float(g.abs().max()) for g in whole)
    assert largest > 0
    for at, one in enumerate(whole):
        total = torch.stack([(grads[at] + torch.zeros_like(one)) for _, grads in found.values()]).sum(0)
        # Of a few gradients most cancels out, in the whole batch as in parts: noise was 6 % of the rest.
        assert float((total - one).norm()) < 0.12 * float(one.norm()) + 5e-5 * largest, at


@pytest.fixture(autouse=True)
def no_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn for each clip by itself, parts draw differently; here it is nothing."""
    torch.set_num_threads(1)
    monkeypatch.setattr(nn.functional, "dropout", lambda x, *rest, **options: x)

    def none(shape: torch.Size, device: torch.device, rng: object, normal: bool) -> Tensor:
        return torch.full(shape, 0.0 if normal else 0.3, device=device)

    for where in ("model.tts.source", "rvc.network.decoder", "rvc.network.flow", "rvc.network.synthesizer"):
        monkeypatch.setattr(f"voicewright.{where}.random_like", none)


class PlainDisguise(nn.Module):
    """Each clip in a disguise of its own, the same whichever batch it is in."""

    def __init__(self, real: nn.Module) -> None:
        super().__init__()
        self.real, self.lock = real, threading.Lock()

    def __deepcopy__(self, memo: object) -> PlainDisguise:
        return self

    def forward(self, samples: Tensor) -> tuple[Tensor, Tensor]:
        with self.lock, torch.random.fork_rng(devices=[]):
            found = []
            for row in samples:
                torch.manual_seed(int(1000 * row.abs().sum()))
                found.append(self.real(row[None]))
        return torch.cat([mel for mel, _ in found]), torch.cat([source for _, source in found])


def speaker(stage: str, folder: Path) -> Trainer[Any]:
    """Two speakers, whose mean styles are over the batch; all losses and the adversarial phase."""
    plain = with_diffusion(small_recipe(content={"channels": 8, "blocks": 1}))
    assert plain.model is not None
    base = next(s for s in plain.stages if s.stage == (stage if stage != "content" else "acoustic"))
    losses = dict(base.losses) | ({"periodicity": 1.0, "tones": 1.0} if "mel" in base.losses else {})
    frames = 400 if stage in ("prosody", "diffusion") else 5 * 24
    changes: dict[str, Any] = {"stage": stage, "losses": losses, "batch_frames": frames}
    if stage == "content":
        names = ("text", "phones", "energy", "voicing", "front")
        changes |= {"gan_start": None, "losses": dict.fromkeys(names, 1.0)}
    plan = plain.model_copy(update={"stages": (base.model_copy(update=changes),)})
    torch.manual_seed(0)
    networks = Networks(plain.model, plan.content, plan.diffusion)
    networks.disguise = PlainDisguise(networks.disguise)  # type: ignore[assignment]
    features = [tone_features(n, "a" if n % 3 else "b") for n in range(8)]
    return Trainer(Speaking(plan, networks, features, []), folder, CPU, fingerprint="", line=print)


@pytest.mark.parametrize("stage", ["acoustic", "prosody", "joint", "content", "diffusion"])
def test_speaking(stage: str, tmp_path: Path) -> None:
    compare(speaker(stage, tmp_path), 0, of=3)


class Made(Exception):
    """Carries a trainer out of the function that assembled it."""

    def __init__(self, trainer: Trainer[Any]) -> None:
        self.trainer = trainer


def caught(monkeypatch: pytest.MonkeyPatch, module: str, work: Callable[[], object]) -> Trainer[Any]:
    def conduct(make: Callable[[Any], Trainer[Any]], recipe: Any, *rest: object, **options: object) -> None:
        raise Made(make(recipe))

    monkeypatch.setattr(f"{module}.conduct", conduct)
    with pytest.raises(Made) as found:
        work()
    return found.value.trainer


def test_adapters(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four clips, of which one is replayed: one process has none of it."""
    plan = adapting.recipe(replay={"every": 4, "voices": 2, "crops": 4})
    stages = tuple(stage.model_copy(update={"clips": 4}) for stage in plan.stages)
    plan = plan.model_copy(update={"stages": stages})
    trainer = caught(
        monkeypatch, "voicewright.training.adapt.run", lambda: adapting.run(folder, tmp_path, plan)
    )
    for number in range(2):
        assert [clip.own for clip in trainer.task.sampler(number, 4).batch(0).clips].count(False) == 1
        compare(trainer, number)
        trainer.learners.zero_grad()


def test_style_encoders(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = caught(
        monkeypatch,
        "voicewright.training.clone.run",
        lambda: cloning.run(folder, tmp_path, stages=[s | {"clips": 3} for s in _stages()]),
    )
    for number in range(2):
        compare(trainer, number)
        trainer.learners.zero_grad()


def _stages() -> list[dict[str, Any]]:
    return [stage.model_dump(mode="json") for stage in cloning.recipe().stages]


def singer(folder: Path) -> Trainer[Any]:
    corpus = make_corpus(folder / "c", 4)
    slices = build_slices(corpus, extractors(), rate=32_000, shortest=17)
    plan = small_voice()
    losses = dict(plan.stages[0].losses) | {"mels": 1.0}
    stages = (plan.stages[0].model_copy(update={"clips": 3, "losses": losses}),)
    plan = plan.model_copy(update={"stages": stages})
    torch.manual_seed(0)
    task = Converting(plan, VoiceNetworks(plan.config), slices, [], ["anna", "bert"], coarse)
    return Trainer(task, folder / "out", CPU, fingerprint="", line=print)


def test_rvc(tmp_path: Path) -> None:
    """Its discriminator steps before it judges, which is of no account here: the gradients are compared."""
    compare(singer(tmp_path), 0)


# ── memory ────────────────────────────────────────────────────────────────────────────────────────────────


def test_parts_cover_a_batch_once() -> None:
    for count, of, pieces in ((5, 2, 2), (3, 4, 1), (8, 3, 4), (1, 2, 3)):
        found = [parted(count, number, of, pieces, lambda x: x, 0) for number in range(of)]
        rows = sorted(row for parts in found for part in parts if not part.empty for row in part.rows)
        assert rows == list(range(count))
        for parts in found:
            assert sum(part.among for part in parts) == count
        assert len({len(parts) for parts in found}) == 1


@pytest.mark.parametrize(
    ("make", "most"), [(partial(speaker, "acoustic"), 0.1), (singer, 0.02)], ids=["speaking", "rvc"]
)
def test_a_step_in_pieces_is_nearly_that_of_the_whole(
    make: Callable[[Path], Trainer[Any]], most: float, tmp_path: Path
) -> None:
    """Of both networks, whether the discriminator steps first or not. Ratios are taken over pieces."""
    whole = make(tmp_path)
    whole.enter_stage()
    for name in ("optimizer", "discriminator_optimizer"):
        groups = getattr(whole.learners, name).param_groups
        plain = torch.optim.SGD([p for group in groups for p in group["params"]], lr=0.0)
        setattr(whole.learners, name, plain)
    batch, step = whole.sampler().batch(0), whole.stage.steps - 1
    pieces = copy.deepcopy(whole)
    pieces.counters.batch_frames["0 in pieces"] = 2
    before = copy.deepcopy(whole.learners)
    logged, pieced = whole.step(batch, step), pieces.step(batch, step)
    assert logged.keys() == pieced.keys()
    for kind in (lambda x: x.networks, lambda x: x.discriminators[whole.record.discriminator]):
        old, one, other = (
            torch.cat([p.detach().reshape(-1) for p in kind(x).parameters()])
            for x in (before, whole.learners, pieces.learners)
        )
        assert float((one - old).norm()) > 0
        assert float((other - one).norm()) < most * float((one - old).norm())
