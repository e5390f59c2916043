"""Files of one and of several voicepacks: every format, and what is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from voice_samples import sample_pack

from voicewright.errors import UsageError, VoicewrightError
from voicewright.voices.files import ENDINGS, ONE_ONLY, check_name, read_arrays, write_arrays
from voicewright.voices.pack import Voicepack
from voicewright.voices.rows import ROWS, WIDTH, with_row_zero

PACKS = {name: sample_pack(seed).rows for seed, name in enumerate(("af_one", "bm_two", "zf_three"))}
SEVERAL = [form for form in ENDINGS if form not in ONE_ONLY]


@pytest.mark.parametrize("form", SEVERAL)
def test_several_packs_keep_names_order_and_bits(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"voices{ENDINGS[form]}"
    made = write_arrays(path, PACKS, form)  # type: ignore[arg-type]
    read = read_arrays(path)
    order = list(read) if form != "safetensors" else [name for name in PACKS if name in read]
    assert order == list(PACKS)
    for name, rows in PACKS.items():
        assert read[name].dtype == np.float32 and read[name].tobytes() == rows.tobytes()
        assert np.array_equal(Voicepack.read(path, name).rows, rows)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in made)


@pytest.mark.parametrize("form", list(ENDINGS))
@pytest.mark.parametrize("rows", [510, 511])
def test_a_single_pack_in_every_format_and_length(tmp_path: Path, form: str, rows: int) -> None:
    pack = PACKS["af_one"] if rows == ROWS else with_row_zero(PACKS["af_one"])
    path = tmp_path / f"af_one{ENDINGS[form]}"
    write_arrays(path, {"af_one": pack}, form)  # type: ignore[arg-type]
    (name, values), *others = read_arrays(path).items()
    assert name == "af_one" and not others and values.tobytes() == pack.tobytes()
    assert np.array_equal(Voicepack.read(path).rows, PACKS["af_one"])


@pytest.mark.parametrize("form", list(ENDINGS))
def test_the_same_voice_gives_the_same_bytes(tmp_path: Path, form: str) -> None:
    paths = [tmp_path / f"{stem}{ENDINGS[form]}" for stem in ("one", "two")]
    for path in paths:
        write_arrays(path, {"af_one": PACKS["af_one"]}, form)  # type: ignore[arg-type]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_kokoro_onnx_and_sherpa_onnx_read_theirs(tmp_path: Path) -> None:
    """As those tools open them: an npz by name; one flat array of floats, cut by speakers."""
    write_arrays(tmp_path / "v.bin", PACKS, "kokoro-onnx")
    with np.load(tmp_path / "v.bin") as archive:
        assert np.array_equal(archive["bm_two"], PACKS["bm_two"])
    write_arrays(tmp_path / "s.bin", PACKS, "sherpa-onnx")
    flat = np.fromfile(tmp_path / "s.bin", "<f4").reshape(len(PACKS), ROWS, WIDTH)
    assert np.array_equal(flat[1], PACKS["bm_two"][:, 0])


def test_raw_packs_without_names_are_numbered(tmp_path: Path) -> None:
    path = tmp_path / "voices.bin"
    path.write_bytes(b"".join(with_row_zero(rows).tobytes() for rows in PACKS.values()))
    read = read_arrays(path)
    assert list(read) == ["0", "1", "2"]
    assert np.array_equal(Voicepack.read(path, "1").rows, PACKS["bm_two"])
    (tmp_path / "voices.bin.names").write_text("a\nb\n")
    with pytest.raises(VoicewrightError, match=r"voices\.bin\.names has 2 names"):
        read_arrays(path)
    (tmp_path / "voices.bin.names").write_text("a\nb\nc\n")
    assert list(read_arrays(path)) == ["a", "b", "c"]


def test_a_name_that_leaves_the_folder_is_never_written(tmp_path: Path) -> None:
    for name in ("../x", "a/b", "/tmp/x", "..", ".hidden", "", "a\\b", "x\0", "C:x", "n" * 200):
        with pytest.raises(VoicewrightError, match="voice name"):
            check_name(name)
        with pytest.raises(VoicewrightError, match="voice name"):
            write_arrays(tmp_path / "v.npz", {name: PACKS["af_one"], "b": PACKS["bm_two"]})
    for name in ("af_sky", "zf_001", "Émilie", "my-voice.v2", "a+b"):
        assert check_name(name) == name
    assert list(tmp_path.iterdir()) == []


def test_formats_and_suffixes_must_fit(tmp_path: Path) -> None:
    for name, form, says in (
        ("v.bin", None, "kokoro-onnx or sherpa-onnx"),
        ("v.npy", None, "holds one voice"),
        ("v.pt", "npz", "ends in .npz"),
        ("v.wav", None, "choose one"),
    ):
        with pytest.raises(UsageError, match=says):
            write_arrays(tmp_path / name, PACKS, form)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_other_kinds_of_numbers_are_read(tmp_path: Path) -> None:
    rows = torch.from_numpy(PACKS["af_one"].copy())
    for kind in (torch.float16, torch.bfloat16, torch.float64):
        torch.save(torch.nn.Parameter(rows.to(kind)), tmp_path / "v.pt")
        save_file({"v": rows.to(kind)}, tmp_path / "v.safetensors")
        for suffix in (".pt", ".safetensors"):
            read = Voicepack.read(tmp_path / f"v{suffix}").rows
            assert np.array_equal(read, rows.to(kind).float().numpy())


def test_bombs_and_lies_are_refused(tmp_path: Path) -> None:
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("voice.npy", bytes(200 * 2**20))
    assert bomb.stat().st_size < 2**20
    for path in (bomb, tmp_path / "bomb.pt", tmp_path / "bomb.bin"):
        if path != bomb:
            path.write_bytes(bomb.read_bytes())
        with pytest.raises(VoicewrightError, match="refused"):
            read_arrays(path)
    liar = tmp_path / "liar.npy"
    np.save(liar, np.zeros((2, 2), np.float32))
    liar.write_bytes(liar.read_bytes().replace(b"(2, 2), }         ", b"(2, 99999999999), }"[:18]))
    with pytest.raises(VoicewrightError, match="liar"):
        read_arrays(liar)
    shape = tmp_path / "shape.safetensors"
    header = json.dumps({"v": {"dtype": "F32", "shape": [9**9], "data_offsets": [0, 4]}}).encode()
    shape.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(VoicewrightError, match="damaged"):
        read_arrays(shape)


@pytest.mark.parametrize("form", ["pt", "npz", "npy", "safetensors", "kokoro-onnx"])
def test_flipped_bytes_are_one_sentence_or_a_pack(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"v{ENDINGS[form]}"
    write_arrays(path, {"v": np.ones((ROWS, 1, WIDTH), np.float32)}, form)  # type: ignore[arg-type]
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(60):
        data = bytearray(whole)
        ends = [*range(min(900, len(data))), *range(max(len(data) - 900, 0), len(data))]
        for at in rng.choice(ends, 3):
            data[at] = rng.integers(256)
        path.write_bytes(data)
        try:
            Voicepack.read(path)
        except VoicewrightError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > 5


def test_weights_of_a_model_are_no_voice(tmp_path: Path) -> None:
    torch.save({"net": {"bert": {"w": torch.zeros(3)}}}, tmp_path / "kokoro.pt")
    with pytest.raises(VoicewrightError, match="holds 0 voices"):
        Voicepack.read(tmp_path / "kokoro.pt")
