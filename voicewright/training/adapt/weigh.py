"""How much of what the best candidate learnt is kept: weighed by ears when a run has ended.

Losses overshoot. To a speaker encoder the room and noise of recordings are of the voice; half of what was
learnt may have most of the likeness and little of the noise. (A fit weighs its offset alike, voices/fit.py.)
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file

from voicewright.catalogue.adapted import is_adapter, read_adapter, write_adapter
from voicewright.catalogue.places import CONFIG, read_card, resolve_model, voice_files
from voicewright.model.adapters import merge_whole
from voicewright.model.checkpoint import load_model, save_model
from voicewright.training.adapt.folders import AdaptJudge, Base, finish, keep_sounds, write_card
from voicewright.training.adapt.page import SAMPLES
from voicewright.training.adapt.recipe import AdaptRecipe
from voicewright.training.export import candidate, rank_again, read_ranking
from voicewright.training.gates import lost
from voicewright.training.telemetry import Telemetry
from voicewright.voices.pack import Voicepack

SHARE = "share"
"""Of a card and of an entry of the ranking: how much of what was learnt by then the folder speaks with."""


def weigh(
    out: Path,
    base: Base,
    start: Voicepack,
    recipe: AdaptRecipe,
    judge: AdaptJudge,
    line: Callable[[str], None],
) -> list[dict[str, float]]:
    """The ranking of `out`, in which the best candidate that has learnt speaks with the share heard best.

    What has been weighed, as its card says, is not weighed again. Raises VoicewrightError.
    """
    best = read_ranking(out)
    entry = next((one for one in best if one["step"] > 0), None)
    if entry is None or not recipe.shares:
        return best
    step = int(entry["step"])
    folder, work = candidate(out, step), out / "weighed" / candidate(out, step).name
    card = read_card(folder)
    if SHARE in card:
        return best
    first = cast(Mapping[str, float], card["before"])
    kept, score = 1.0, entry["score"]
    telemetry = Telemetry(out, recipe.total_steps, line, recipe.total_steps)
    try:
        for share in recipe.shares:
            write_share(work, folder, share, base, start, card)
            heard = judge(work, first)
            shown = " ".join(f"{name} {value:.3f}" for name, value in heard.figures.items())
            line(f"{share:g} of what step {step} had learnt, judged: {shown}")
            if heard.figures["score"] <= score or lost(heard.figures, first, recipe.gates.gates):
                break
            kept, score = share, heard.figures["score"]
            write_card(work, {**card, "figures": dict(heard.figures), SHARE: share})
            chosen = work.with_name(f"{work.name}-best")
            shutil.rmtree(chosen, ignore_errors=True)
            work.rename(chosen)
            sounds, figures = heard.sounds, heard.figures
        if kept < 1:
            keep_sounds(out / SAMPLES / folder.name, sounds)
            telemetry.scalars(step, recipe.stages[-1].stage, {**figures, SHARE: kept}, "judged")
            shutil.rmtree(folder)
            chosen.rename(folder)
            entry |= figures
            line(f"{kept:g} of what step {step} had learnt is kept.")
        else:
            write_card(folder, {**card, SHARE: kept})
        entry[SHARE] = kept
        rank_again(out, best)
    finally:
        telemetry.close()
        shutil.rmtree(work.parent, ignore_errors=True)
    return best


def write_share(
    out: Path, folder: Path, share: float, base: Base, start: Voicepack, card: Mapping[str, Any]
) -> None:
    """A candidate a share of the way from base and start to the one in `folder`, in weights and voice.

    Raises VoicewrightError.
    """
    work = out.with_name(f".{out.name}.writing")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    if is_adapter(folder):
        adapter = read_adapter(folder)
        given = load_file(adapter.path)
        arrays = {name: (given[f"{name}.A"].numpy(), given[f"{name}.B"].numpy()) for name in adapter.matrices}
        facts = adapter.base, adapter.base_sha256, adapter.base_source, share * adapter.scale
        write_adapter(work, arrays, *facts)
        base.config.write(work / CONFIG)
    else:
        _write_between(work, folder, share, base)
    learnt = Voicepack.read(voice_files(folder)[str(card["voice"])])
    shutil.rmtree(out, ignore_errors=True)
    finish(work, out, start.rows + share * (learnt.rows - start.rows), card)


def _write_between(work: Path, folder: Path, share: float, base: Base) -> None:
    """A model between the base and the finetune in `folder`."""
    network, config, _ = load_model(resolve_model(base.words))
    state = dict(network.state_dict())
    learnt = load_model(folder)[0].float().fold().state_dict()
    plain = network.float().fold().state_dict()
    added = {
        key.removesuffix(".weight"): share * (value - plain[key])
        for key, value in learnt.items()
        if key.endswith(".weight") and not torch.equal(value, plain[key])
    }
    merge_whole(state, added)
    network = load_model(resolve_model(base.words))[0]
    network.load_state_dict(state)
    save_model(work, network, config)
