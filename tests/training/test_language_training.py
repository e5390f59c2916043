"""A language learnt: symbols of its own, what reads them trained, exact resuming, what is told, refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from test_adapt_training import (
    apart_when_resumed,
    folder,
    last,
    poor_at,
    recipe,
    reference,
    run,
    write_corpus,
)
from test_adapters import cache, pack

from voicewright.catalogue.places import CONFIG, WEIGHTS, read_card, voice_files
from voicewright.cli import main
from voicewright.corpus.manifest import MANIFEST, META, Corpus
from voicewright.jobs.adapt_symbols import BASE, with_symbols
from voicewright.model.checkpoint import load_model
from voicewright.model.config import ModelConfig
from voicewright.model.extend import TABLES, write_extended
from voicewright.text.vocab import KOKORO
from voicewright.training.adapt.batches import own_clips
from voicewright.training.adapt.recipe import AdaptRecipe
from voicewright.training.adapt.task import AdaptNetworks
from voicewright.training.options import find_recipe

__all__ = ["cache", "folder"]
READS: dict[str, Any] = {"rank": "whole", "text": "trained", "symbols": "own"}


def corpus_of(path: Path, texts: tuple[str, ...], language: str, phonemes: str = "wˈʌn") -> Path:
    write_corpus(path)
    rows = [json.loads(line) for line in (path / MANIFEST).read_text("utf-8").splitlines()]
    for number, row in enumerate(rows):
        row |= {"text": texts[number % len(texts)], "language": language, "phonemes": phonemes}
    (path / MANIFEST).write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    meta = json.loads((path / META).read_text("utf-8")) | {"language": language}
    (path / META).write_text(json.dumps(meta), "utf-8")
    return path


def test_a_model_gets_symbols_begun_as_the_nearest(folder: Path, tmp_path: Path) -> None:
    larger = dict(KOKORO) | {"ɵ": 7, "6": 8}
    write_extended(folder, larger, {"ɵ": "ø", "6": ""}, tmp_path / "more")
    before, after = load_file(folder / WEIGHTS), load_file(tmp_path / "more" / WEIGHTS)
    for name, value in before.items():
        if name not in TABLES:
            assert torch.equal(value, after[name]), name
            continue
        assert torch.equal(after[name][7], value[KOKORO["ø"]])
        torch.testing.assert_close(after[name][8], value[sorted(KOKORO.values())].mean(0))
        rest = [row for row in range(len(value)) if row not in (7, 8)]
        assert torch.equal(after[name][rest], value[rest])
    assert ModelConfig.read(tmp_path / "more" / CONFIG).vocab == larger
    assert set(voice_files(tmp_path / "more")) == {"alto"}
    assert read_card(tmp_path / "more")["new_symbols"] == {"ɵ": "ø", "6": ""}


def test_what_reads_symbols_learns_and_ends_in_the_model(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "r"
    run(folder, out, recipe(**READS), judge=poor_at())
    before, after = load_file(folder / WEIGHTS), load_file(out / "best" / WEIGHTS)
    moved = {key for key in before if not torch.equal(before[key].float(), after[key].float())}
    assert {key.split(".")[0] for key in moved} == {"decoder", "predictor", "text_encoder", "bert"}
    assert {key for key in moved if key.startswith("bert")} == {TABLES[1]}
    rows = (before[TABLES[0]] != after[TABLES[0]]).any(1).nonzero()[:, 0].tolist()
    spoken = {0, *range(40, 80)}
    assert rows and set(rows) <= spoken, "rows of symbols that nobody said have moved"
    learnt = last(out)["ema|text_encoder.text_encoder/embedding.D"]
    plain, made = (load_model(place)[0] for place in (folder, out / "best"))
    gained = made.text_encoder.embedding.weight - plain.text_encoder.embedding.weight
    torch.testing.assert_close(gained, 50 * learnt, atol=1e-4, rtol=1e-3)


def test_it_resumes_bit_identically(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = recipe(**READS, judge={"every": 5, "sentences": 2, "keep": 1})
    assert apart_when_resumed(folder, tmp_path, plan, monkeypatch) == []


def test_a_corpus_is_read_with_the_new_symbols(folder: Path, tmp_path: Path) -> None:
    plan = recipe(**READS, model=str(folder))
    corpus = Corpus.read(corpus_of(tmp_path / "c", ("dus",), "nl", "døs"))
    said: list[str] = []
    dry, same = with_symbols(plan, corpus, tmp_path / "out", True, False, said.append)
    assert dry.model == plan.model and same is corpus and not (tmp_path / "out").exists()
    assert "New symbols: ɵ (begun as ø)." in said
    larger, read = with_symbols(plan, corpus, tmp_path / "out", False, False, said.append)
    assert larger.model == str((tmp_path / "out" / BASE).resolve())
    assert {item.phonemes for item in read.utterances} == {"dɵs"}
    stamp = (tmp_path / "out" / BASE / WEIGHTS).stat().st_mtime_ns
    with_symbols(plan, corpus, tmp_path / "out", False, False, said.append)
    assert (tmp_path / "out" / BASE / WEIGHTS).stat().st_mtime_ns == stamp, "made once"
    again, resumed = with_symbols(larger, corpus, tmp_path / "out", False, True, pytest.fail)
    assert again == larger and resumed.utterances == read.utterances
    english = Corpus.read(corpus_of(tmp_path / "e", ("One two.",), "en-us"))
    assert with_symbols(plan, english, tmp_path / "o", False, False, pytest.fail) == (plan, english)


def test_a_finetune_that_would_learn_words_alike_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = corpus_of(tmp_path / "c", ("ma", "mà", "má"), "vi")
    given = ["train", "kokoro", "--corpus", str(place), "--out", str(tmp_path / "out"), "-m", str(folder)]
    assert main(given) == 1
    told = capsys.readouterr().err
    assert "learnt as one word" in told and "train language" in told and not (tmp_path / "out").exists()


def test_the_recipe() -> None:
    plan = AdaptRecipe.read(find_recipe("language"))
    assert plan.whole and plan.text == "trained" and plan.symbols == "own" and plan.replay.texts == "english"
    for wrong in ({"text": "trained"}, {"rank": "whole", "symbols": "own"}):
        with pytest.raises(ValidationError, match="needs"):
            recipe(**wrong)


def test_an_untrained_finetune_says_what_its_base_says(folder: Path) -> None:
    """Clips read anew, before anything is learnt, are those that were read once."""
    net = load_model(folder)[0].float().fold()
    rows = torch.from_numpy(pack(3).rows[:, 0].copy())
    clip = own_clips(net.eval(), [reference(0)], rows)[0]
    nets = AdaptNetworks(net, None, 0, reads=True)
    crop = clip.crop(5)
    with torch.no_grad():
        anew = nets.read(replace(crop, text=torch.zeros_like(crop.text), context=torch.zeros(1, 1, 1)))
    torch.testing.assert_close(anew.text, crop.text, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(anew.context, clip.context, atol=1e-5, rtol=1e-4)
