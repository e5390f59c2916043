"""`voice inspect | lint | blend | convert` as a user calls them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_engine_models import write_small_model
from voice_samples import sample_pack

from voicewright.cli import main
from voicewright.voices.files import read_arrays
from voicewright.voices.nearest import family, neighbours
from voicewright.voices.pack import Voicepack

NAMES = ("af_one", "am_two", "bf_three")


@pytest.fixture
def packs(tmp_path: Path) -> Path:
    folder = tmp_path / "packs"
    folder.mkdir()
    for seed, name in enumerate(NAMES):
        sample_pack(seed).write(folder / f"{name}.bin")
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: str | Path, code: int = 0) -> dict[str, Any]:
    assert main(["voice", *map(str, words), "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_inspect_says_what_is_near_and_draws(
    packs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "curve.png"
    facts = run(capsys, "inspect", "af_one", "--packs", packs, "--plot", picture)
    assert facts["voice"] == "af_one" and facts["shape"] == [510, 1, 256]
    assert facts["compared_with"] == "54 packs of Kokoro 1.0"
    assert facts["curve_explains"]["acoustic"] > 0.999
    assert list(facts["nearest"]) and set(facts["nearest"]) == {"am", "bf"}
    assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and picture.stat().st_size > 20_000
    import matplotlib.image

    pixels = matplotlib.image.imread(picture)
    assert (
        pixels.shape[1] > pixels.shape[0] > 400 and float((pixels[..., :3].min(axis=2) < 0.7).mean()) > 0.02
    )
    assert main(["voice", "inspect", "af_one", "--packs", str(packs)]) == 0
    shown = capsys.readouterr().out
    assert "prosodic half: norm of the row" in shown and "●" in shown and "tokens" in shown
    assert main(["voice", "inspect", "af_one(2)+am_two", "--packs", str(packs)]) == 0
    assert "af_one(2)+am_two" in capsys.readouterr().out
    assert main(["voice", "inspect", "af_one", "--packs", str(packs), "--plot", "x.jpg"]) == 2
    assert main(["voice", "inspect", "af_one", "--packs", str(tmp_path / "none")]) == 1
    assert main(["voice", "inspect", "af_one", "--packs", str(tmp_path)]) == 2
    assert capsys.readouterr().err.count("\n") == 3


def test_inspecting_an_embedded_voice_compares_it_with_its_own_model(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(capsys, "inspect", "kathleen")["compared_with"].endswith("packs of tiny")


def test_neighbours_are_sorted_and_know_themselves() -> None:
    from voicewright.voices.geometry import kokoro

    voices = {name: sample_pack(seed) for seed, name in enumerate(NAMES)}
    near = Voicepack((0.9 * voices["am_two"].rows + 0.1 * voices["af_one"].rows).astype(np.float32))
    found = neighbours(near, voices, kokoro())
    assert found[0].name == "am_two" and found[0].distance < found[1].distance
    assert found[0].acoustic_cosine > 0.9
    assert [family(name) for name in ("af_sky", "zm_x", "kathleen", "AF_x")] == ["af", "zm", "other", "other"]


def test_lint_counts_and_ends_with_one_on_errors_only(
    packs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = run(capsys, "lint", packs)
    assert [voice["findings"] for voice in clean["voices"]] == [[], [], []] and clean["errors"] == 0
    tiled = tmp_path / "tiled.npz"
    Voicepack.constant(sample_pack(0).rows.mean(axis=0)[0]).write(tiled)
    warned = run(capsys, "lint", tiled)
    assert (warned["errors"], warned["warnings"]) == (0, 1)
    rows = sample_pack(0).rows.copy()
    rows[3] = np.nan
    rows.tofile(packs / "bad.bin")
    (packs / "cut.pt").write_bytes(b"PK")
    found = run(capsys, "lint", packs, tiled, code=1)
    assert (found["errors"], found["warnings"], found["notes"]) == (2, 1, 0)
    by_name = {voice["voice"]: [f["code"] for f in voice["findings"]] for voice in found["voices"]}
    assert by_name["bad"] == ["not-finite"] and by_name["cut"] == ["unreadable"] and by_name["af_one"] == []
    assert main(["voice", "lint", str(packs)]) == 1
    caught = capsys.readouterr()
    assert "bad: error not-finite: row 3 has NaN" in caught.out and "af_one: clean" in caught.out
    assert "5 voices: 2 errors, 0 warnings, 0 notes." in caught.err
    assert main(["voice", "lint", str(tmp_path / "absent.bin")]) == 1
    assert main(["voice", "lint", "absent"]) == 2


def test_lint_fixes(packs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = sample_pack(0).rows.copy()
    rows[3] = np.nan
    rows.tofile(tmp_path / "bad.bin")
    fixed = run(capsys, "lint", tmp_path / "bad.bin", "--fix", tmp_path / "good.bin")
    fix = fixed["voices"][0]["fix"]
    assert fixed["errors"] == 0 and fix["rows_changed"] == 1 and fix["largest_change_in_other_rows"] == 0
    good = np.fromfile(tmp_path / "good.bin", "<f4").reshape(510, 256)
    assert np.array_equal(np.delete(good, 3, 0), np.delete(rows[:, 0], 3, 0))
    assert main(["voice", "lint", str(packs), "--fix", str(tmp_path / "held"), "--hold-below", "10"]) == 0
    capsys.readouterr()
    assert sorted(p.name for p in (tmp_path / "held").iterdir()) == [f"{n}.safetensors" for n in NAMES]
    np.save(packs / "short.npy", rows[:20])
    mixed = run(capsys, "lint", packs, "--fix", tmp_path / "held", code=1)
    fixes = {voice["voice"]: voice["fix"] for voice in mixed["voices"]}
    assert "fewer than 64" in fixes["short"]["failed"] and fixes["bf_three"]["done"] == []
    assert mixed["errors"] == 1 and not (tmp_path / "held" / "short.safetensors").exists()
    assert main(["voice", "lint", str(packs / "short.npy"), "--fix", str(tmp_path / "x.bin")]) == 1
    assert "not mended" in capsys.readouterr().out
    (packs / "short.npy").unlink()
    assert main(["voice", "lint", str(packs), "--hold-below", "10"]) == 2
    assert main(["voice", "lint", str(packs), "--fix", str(tmp_path / "one.bin")]) == 2
    assert main(["voice", "lint", str(packs), "--fix", str(tmp_path / "no" / "where")]) == 2
    assert capsys.readouterr().err.count("\n") == 3


def test_lint_against_a_model(packs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, "lint", packs / "af_one.bin", "--model", "tiny", code=1)
    assert found["voices"][0]["findings"][0]["code"] == "another-model"
    model = write_small_model(tmp_path / "m")
    own = run(capsys, "lint", model / "voices" / "alto.safetensors")["voices"][0]
    assert own["compared_with"] == "2 packs of small"
    assert {finding["code"] for finding in own["findings"]} == {"broken-curve"}  # its rows are noise
    assert run(capsys, "lint", "basso", "--model", model)["voices"][0]["voice"] == "basso"


def test_blend_writes_what_the_engine_would_speak(
    packs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mix.pt"
    made = run(capsys, "blend", "af_one(2)+am_two(1)", "--packs", packs, "-o", out)
    one, two = (Voicepack.read(packs / f"{name}.bin").rows for name in NAMES[:2])
    assert np.array_equal(Voicepack.read(out).rows, one * (2 / 3) + two * (1 / 3))
    assert [(s["voice"], s["share"]) for s in made["shares"]] == [("af_one", 0.666667), ("am_two", 0.333333)]
    assert made["sum"] == 1
    assert made["sha256"] == hashlib.sha256(Voicepack.read(out).rows.tobytes()).hexdigest()
    assert main(["voice", "blend", "af_one-am_two(0.3)", "--packs", str(packs), "-o", str(out)]) == 0
    caught = capsys.readouterr()
    assert caught.out.strip() == str(out) and "sum to 0.54" in caught.err
    kept = run(capsys, "blend", "af_one-am_two(0.3)", "--packs", packs, "-o", out, "--normalise", "sum")
    assert kept["sum"] == 1
    long = tmp_path / "long.bin"
    run(capsys, "blend", "af_one", "--packs", packs, "-o", long, "--rows", "511")
    assert long.stat().st_size == 511 * 1024 and np.array_equal(Voicepack.read(long).rows, one)
    for words in (
        ("af_one(2+am_two", "-o", str(out)),
        ("af_one", "-o", str(tmp_path / "no" / "x.pt")),
        ("af_one", "-o", str(tmp_path)),
        ("af_one", "-o", str(tmp_path / "x.wav")),
        ("af_one", "-o", str(out), "--rows", "512"),
        ("af_one", "-o", str(out), "--format", "npz"),
    ):
        assert main(["voice", "blend", words[0], "--packs", str(packs), *words[1:]]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_convert_round_trips_bit_for_bit(
    packs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Single files → every file of several → single files again."""
    chain: list[str | Path] = [packs]
    for name, form in (
        ("a.npz", None),
        ("b.bin", "kokoro-onnx"),
        ("c.safetensors", None),
        ("d.pt", None),
        ("e.bin", "sherpa-onnx"),
    ):
        out = tmp_path / name
        made = run(capsys, "convert", *chain, "-o", out, *(["--format", form] if form else []))
        assert {voice["voice"] for voice in made["voices"]} == set(NAMES)
        assert made["output"][0] == str(out)
        chain = [out]
    run(capsys, "convert", *chain, "-o", tmp_path / "back", "--format", "bin")
    for name in NAMES:
        assert (tmp_path / "back" / f"{name}.bin").read_bytes() == (packs / f"{name}.bin").read_bytes()


def test_convert_picks_renames_and_lengthens(
    packs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle.npz"
    run(capsys, "convert", packs, "-o", bundle)
    run(capsys, "convert", f"{bundle}:am_two", "-o", tmp_path / "two.bin")
    assert (tmp_path / "two.bin").read_bytes() == (packs / "am_two.bin").read_bytes()
    run(
        capsys,
        "convert",
        f"{bundle}:am_two",
        packs / "af_one.bin",
        "-o",
        tmp_path / "n.npz",
        "--names",
        "x, y",
    )
    assert list(read_arrays(tmp_path / "n.npz")) == ["x", "y"]
    long = tmp_path / "voices.bin"
    run(capsys, "convert", packs, "-o", long, "--format", "sherpa-onnx", "--rows", "511")
    assert long.stat().st_size == 3 * 511 * 1024
    assert np.array_equal(Voicepack.read(long, "bf_three").rows, sample_pack(2).rows)
    for words in (
        (str(packs), "-o", str(tmp_path / "v.bin")),
        (str(packs), "-o", str(tmp_path / "v.npy")),
        (str(packs), "-o", str(tmp_path / "f"), "--format", "kokoro-onnx"),
        (str(packs), "-o", str(tmp_path / "v.npz"), "--names", "a,b"),
        (str(packs), str(packs), "-o", str(tmp_path / "v.npz")),
        ("nobody", "-o", str(tmp_path / "v.npz")),
    ):
        assert main(["voice", "convert", *words]) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "v.npz").exists() and not (tmp_path / "v.bin").exists()


def test_convert_into_folders(packs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dotted = tmp_path / "voices-v1.0"
    dotted.mkdir()
    run(capsys, "convert", packs, "-o", dotted, "--format", "npy")
    run(capsys, "convert", packs / "af_one.bin", "-o", dotted)
    run(capsys, "convert", packs / "af_one.bin", "-o", tmp_path / "new", "--format", "pt")
    assert sorted(p.name for p in dotted.iterdir()) == [
        "af_one.npy", "af_one.safetensors", "am_two.npy", "bf_three.npy"
    ]  # fmt: skip
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["af_one.pt"]
    assert main(["voice", "lint", str(packs), "--fix", str(dotted)]) == 0
    assert main(["voice", "convert", str(packs), "-o", str(tmp_path / "v.x")]) == 2
    (tmp_path / "taken").write_text("")
    assert main(["voice", "convert", str(packs), "-o", str(tmp_path / "taken")]) == 2


def test_a_bundle_cannot_write_outside_the_folder(
    packs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = tmp_path / "evil.npz"
    np.savez(evil, **{"../escaped": sample_pack(0).rows, "fine": sample_pack(1).rows})
    before = sorted(tmp_path.rglob("*"))
    assert main(["voice", "convert", str(evil), "-o", str(tmp_path / "out")]) == 1
    assert "../escaped" in capsys.readouterr().err
    assert main(["voice", "lint", str(evil), "--fix", str(tmp_path / "out")]) == 1
    capsys.readouterr()
    assert [p for p in sorted(tmp_path.rglob("*")) if p not in before and p.name != "out"] == []


def test_the_documents_commands_exist() -> None:
    import shlex

    from test_docs import ROOT, parse

    lines = (ROOT / "docs" / "voices.md").read_text("utf-8").splitlines()
    commands = [shlex.split(line[2:])[1:] for line in lines if line.startswith("$ voicewright ")]
    assert len(commands) >= 5
    for words in commands:
        parse(words)


def test_the_documents_table_has_every_code() -> None:
    from test_docs import ROOT

    from voicewright.voices.lint import CODES

    table = [line for line in (ROOT / "docs" / "voices.md").read_text("utf-8").splitlines() if "| `" in line]
    for code, (severity, _) in CODES.items():
        assert any(f"`{code}`" in line and f"| {severity} |" in line for line in table), code


def test_every_voice_command_has_help_and_json(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("inspect", "lint", "blend", "convert"):
        assert main(["voice", name, "--help"]) == 0
        assert "--json" in capsys.readouterr().out
