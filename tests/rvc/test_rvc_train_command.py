"""`voicewright train` with an RVC recipe, heard by a model's own content network; the voice put to use."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from fakes import narrow_config
from rvc_fakes import small
from synthetic import corpus as make_corpus
from typer.testing import CliRunner

from voicewright.cli import app
from voicewright.conversion.open import open_converter
from voicewright.conversion.protocol import ConvertOptions
from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.content.bottleneck import ContentConfig, ContentNet
from voicewright.model.content.files import Conversion, save_content
from voicewright.rvc.content.encoder import OwnContent, open_listener, open_named


@pytest.fixture(scope="module")
def listener(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with a small content network of random weights."""
    folder = tmp_path_factory.mktemp("models") / "listener"
    folder.mkdir()
    config = narrow_config()
    (folder / "config.json").write_text(config.model_dump_json(), "utf-8")
    torch.manual_seed(0)
    sizes = ContentConfig(channels=16, blocks=1, expansion=1, kernel=3, ahead=1, dropout=0)
    net = ContentNet(sizes, config.hidden_dim, config.n_token)
    save_content(folder, Conversion(net, torch.zeros(config.style_dim), 150.0))
    return folder


def test_own_content_has_hubert_s_frames_and_the_version_s_width(listener: Path) -> None:
    encoder = open_listener(listener)
    assert isinstance(encoder, OwnContent)
    wave = 0.1 * torch.randn(2, 16_000, generator=torch.Generator().manual_seed(1))
    for version, width in (("v1", 256), ("v2", 768)):
        found = encoder.encode(wave, version)
        assert found.shape == (2, (16_000 - 400) // 320 + 1, width)
        assert found[..., :32].abs().min() > 0 and not found[..., 32:].any()
    assert torch.equal(encoder.encode(wave[1:], "v1")[0], encoder.encode(wave, "v1")[1])
    assert encoder.encode(wave[:, :100], "v1").shape == (2, 0, 256)


def test_own_content_answers_when_the_sound_changes(listener: Path) -> None:
    """A tone begins at 1 s: the features change within some frames of it, and nowhere else."""
    wave = 0.1 * np.random.default_rng(0).standard_normal(32_000)
    wave[16_000:] += 0.3 * np.sin(np.arange(16_000) / 3)
    found = open_listener(listener).encode(torch.from_numpy(wave.astype(np.float32))[None], "v1")[0, :, :32]
    steps = (found[4:] - found[:-4]).norm(dim=1)
    assert abs(int(steps.argmax()) + 2 - 50) <= 4


def test_a_network_wider_than_the_version_is_refused() -> None:
    sizes = ContentConfig(channels=16, blocks=1, expansion=1, kernel=3, ahead=1, dropout=0)
    with pytest.raises(VoicewrightError, match="use version v2"):
        OwnContent(ContentNet(sizes, 300, 10)).encode(torch.zeros(1, 16_000), "v1")


def test_a_path_in_a_voice_s_file_is_not_followed(listener: Path) -> None:
    with pytest.raises(UsageError, match="content model of its own"):
        open_named(str(listener))


def test_the_command_trains_a_voice_that_converts(listener: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    corpus = make_corpus(tmp_path / "corpus", 4)
    stage = {"steps": 2, "clips": 2, "losses": {"mel": 45, "kl": 1, "adversarial": 1, "features": 2}}
    recipe = small(content=str(listener), pitch="dio", stages=[stage], split={"every": 4})
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")), "utf-8")
    out = tmp_path / "singer"
    command = ["train", str(tmp_path / "r.yaml"), "--corpus", str(corpus.folder), "--out", str(out), "--json"]
    done = CliRunner().invoke(app, [*command, "--device", "cpu"])
    assert done.exit_code == 0, done.output
    record = json.loads(done.stdout[done.stdout.index("{") :])
    assert record["finished"] and record["model"] == str(out / "singer.pth")
    (index,) = out.glob("added_*_singer_v1.index")
    with pytest.raises(UsageError, match=r"'listener'; give its file or folder with --embedder"):
        open_converter(out / "singer.pth")
    converter = open_converter(out / "singer.pth", index=index, embedder=listener)
    wave = 0.1 * np.random.default_rng(0).standard_normal(16_000).astype(np.float32)
    made = converter.convert(wave, 16_000, ConvertOptions(method="dio"))
    assert made.sample_rate == 32_000 and abs(len(made.samples) - 32_000) <= 320
    assert np.isfinite(made.samples).all()


def test_a_missing_content_encoder_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOICEWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    corpus = make_corpus(tmp_path / "corpus", 2)
    recipe = small(content="contentvec", pitch="dio")
    Path("r.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")), "utf-8")
    done = CliRunner().invoke(app, ["train", "r.yaml", "--corpus", str(corpus.folder), "--out", "o"])
    assert done.exit_code != 0
    assert "models pull contentvec" in f"{done.output}{done.exception}"
    assert not Path("o").exists()
