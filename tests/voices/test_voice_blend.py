"""Voices in words: what is understood, what is refused and where, and the sums."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from voice_samples import sample_pack

from voicewright.errors import UsageError, VoicewrightError
from voicewright.voices.blend import Mix, Shelf, parse, read_mix
from voicewright.voices.files import write_arrays
from voicewright.voices.pack import Voicepack

NAMES = ("af_bella", "af_sky", "am_adam", "my-voice", "a,b", "x(1)")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("voices")
    for seed, name in enumerate(NAMES):
        sample_pack(seed).write(path / f"{name}.bin")
    write_arrays(path / "bundle.npz", {name: sample_pack(10 + i).rows for i, name in enumerate(NAMES[:3])})
    return path


@pytest.fixture(scope="module")
def shelf(folder: Path) -> Shelf:
    return Shelf({name: folder / f"{name}.bin" for name in NAMES} | {"bundle": folder / "bundle.npz"})


def rows(folder: Path, name: str) -> torch.Tensor:
    return torch.from_numpy(Voicepack.read(folder / f"{name}.bin").rows.copy())


def terms(mix: Mix) -> list[tuple[str, float]]:
    return [(term.name, term.sign * term.weight) for term in mix.terms]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("af_bella", [("af_bella", 1)]),
        ("  af_bella ( 2 ) ", [("af_bella", 2)]),
        ("af_bella(2)+af_sky(1)", [("af_bella", 2), ("af_sky", 1)]),
        ("af_bella + af_sky - am_adam(0.25)", [("af_bella", 1), ("af_sky", 1), ("am_adam", -0.25)]),
        ("af_bella(1e-3)+af_sky(.5)", [("af_bella", 0.001), ("af_sky", 0.5)]),
        ("my-voice-af_sky", [("my-voice", 1), ("af_sky", -1)]),
        ("af_sky-my-voice(2)", [("af_sky", 1), ("my-voice", -2)]),
        ("a,b", [("a,b", 1)]),
        ("a,b,af_sky", [("a,b", 1), ("af_sky", 1)]),
        ("x(1)(3)+af_sky", [("x(1)", 3), ("af_sky", 1)]),
        ("'my-voice'+\"a,b\"(2)", [("my-voice", 1), ("a,b", 2)]),
        ("af_bella+af_bella", [("af_bella", 1), ("af_bella", 1)]),
    ],
)
def test_words_are_understood(shelf: Shelf, words: str, expected: list[tuple[str, float]]) -> None:
    assert terms(parse(words, shelf)) == expected


@pytest.mark.parametrize(
    ("words", "character", "says"),
    [
        ("", 1, "missing"),
        ("+af_sky", 1, "missing"),
        ("af_bella+", 10, "missing"),
        ("af_bella++af_sky", 10, "missing"),
        ("af_bella(2+af_sky", 9, "never closed"),
        ("af_bella(two)", 10, "number above 0"),
        ("af_bella()", 10, "number above 0"),
        ("af_bella(-1)", 10, "subtract with -"),
        ("af_bella(0)+af_sky", 10, "above 0"),
        ("af_bella(nan)", 10, "above 0"),
        ("af_bella(inf)", 10, "above 0"),
        ("af_bella(0,5)", 10, "0,5"),
        ("af_bella(1_0)", 10, "above 0"),
        ("af_bella(2)(3)", 12, "followed by"),
        ("af_bella(2)af_sky", 12, "followed by"),
        ("af_bella+nobody", 10, "no voice 'nobody'"),
        ("nobody(2)+af_bella", 1, "no voice 'nobody'"),
        ("af_bella,af_sky+am_adam", 16, "commas"),
        ("'af_bella+af_sky", 1, "never closed"),
    ],
)
def test_errors_point_at_the_character(shelf: Shelf, words: str, character: int, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(words, shelf)
    message = str(caught.value)
    assert f"character {character} (" in message and says in message and "\n" not in message


def test_other_refusals(shelf: Shelf) -> None:
    with pytest.raises(UsageError, match="the model has no voice 'af_bela'; it has af_bella"):
        parse("af_bela", shelf)
    many = Shelf({f"af_{i}": Path("x.bin") for i in range(100)} | {"af_bella": Path("x.bin")})
    with pytest.raises(UsageError, match="did you mean af_bella"):
        parse("af_bela", many)
    with pytest.raises(UsageError, match="characters"):
        parse("+".join(["af_sky"] * 400), shelf)
    began = time.perf_counter()
    with pytest.raises(UsageError, match=r"character 224 \('\+'\): a mix has at most 32 voices") as caught:
        parse("+".join(["af_sky"] * 285), shelf)
    assert len(str(caught.value)) < 200 and time.perf_counter() - began < 5
    assert len(parse("+".join(["af_sky"] * 32), shelf).terms) == 32
    with pytest.raises(UsageError, match="cannot divide"):
        parse("af_bella-af_sky", shelf, "sum")
    with pytest.raises(VoicewrightError, match="cancel"):
        read_mix(parse("af_bella-af_bella", shelf))


def test_names_are_keys_and_never_paths(folder: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `paths` the file system is not even looked at."""
    monkeypatch.chdir(folder)
    looked: list[str] = []
    monkeypatch.setattr(Path, "is_file", lambda self: looked.append(str(self)) or True)
    for words in (
        "../voices/af_sky.bin",
        str(folder / "af_sky.bin"),
        "af_sky.bin",
        "af_bella+./af_sky.bin",
        "bundle.npz:af_sky",
        "/etc/passwd",
        "af_sky/../af_bella",
        "af_sky\0",
        "~/x.pt",
        "..",
    ):
        with pytest.raises(UsageError):
            parse(words, shelf)
    assert looked == []


def test_files_where_they_are_allowed(folder: Path, shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    mine = Shelf(shelf.files, paths=True)
    cases = {
        f"{folder}/af_sky.bin(2)+af_bella": "af_sky(2)+af_bella",
        "my-voice.bin-bundle.npz:af_sky(0.5)": "my-voice-af_sky(0.5)",
        "bundle:am_adam,a,b.bin": "am_adam,a,b",
        "./x(1).bin(2)": "x",
        "bundle.npz:af_sky": "af_sky",
    }
    for words, name in cases.items():
        assert parse(words, mine).name == name
    member = read_mix(parse("bundle.npz:af_sky", mine))
    assert np.array_equal(member.rows, sample_pack(11).rows)
    with pytest.raises(VoicewrightError, match="holds no voice 'zz'; it has af_bella") as caught:
        read_mix(parse("bundle.npz:zz", mine))
    assert caught.value.exit_code == 1
    with pytest.raises(VoicewrightError, match=r"no voicepack at absent\.pt"):
        parse("af_sky+absent.pt", mine)
    with pytest.raises(VoicewrightError, match=r"say which, as in bundle\.npz:NAME"):
        read_mix(parse("bundle.npz", mine))
    for odd in ("a" * 1900 + ".pt", "x\0.pt"):
        with pytest.raises(VoicewrightError):
            parse(odd, mine)


def fastapi_formula(folder: Path, parts: list[tuple[str, str, float]]) -> torch.Tensor:
    """Kokoro-FastAPI's sum: each pack times weight by total of weights, added or taken away in turn."""
    total = sum(weight for _, _, weight in parts)
    combined = rows(folder, parts[0][1]) * (parts[0][2] / total)
    for sign, name, weight in parts[1:]:
        part = rows(folder, name) * (weight / total)
        combined = combined + part if sign == "+" else combined - part
    return combined


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ("af_bella(2)+af_sky(1)", [("+", "af_bella", 2), ("+", "af_sky", 1)]),
        ("af_bella-af_sky(0.3)", [("+", "af_bella", 1), ("-", "af_sky", 0.3)]),
        (
            "af_bella(0.7)+af_sky(0.1)-am_adam(0.37)",
            [("+", "af_bella", 0.7), ("+", "af_sky", 0.1), ("-", "am_adam", 0.37)],
        ),
    ],
)
def test_sums_are_kokoro_fastapis_to_the_bit(
    folder: Path, shelf: Shelf, words: str, parts: list[tuple[str, str, float]]
) -> None:
    mixed = read_mix(parse(words, shelf)).rows
    assert mixed.tobytes() == fastapi_formula(folder, parts).numpy().tobytes()


def test_a_comma_is_the_packages_mean_to_the_bit(folder: Path, shelf: Shelf) -> None:
    for names in (NAMES[:2], NAMES[:3], [*NAMES[:3], "my-voice"]):
        theirs = torch.mean(torch.stack([rows(folder, name) for name in names]), dim=0)
        assert read_mix(parse(",".join(names), shelf)).rows.tobytes() == theirs.numpy().tobytes()


def test_ways_to_normalise(folder: Path, shelf: Shelf) -> None:
    assert parse("af_bella-af_sky(0.3)", shelf).shares == pytest.approx((1 / 1.3, -0.3 / 1.3))
    assert parse("af_bella-af_sky(0.3)", shelf, "sum").shares == pytest.approx((1 / 0.7, -0.3 / 0.7))
    assert parse("af_bella(2)+af_sky", shelf, "none").shares == (2, 1)
    assert parse("af_bella(5)", shelf).shares == (1,)
    whole = rows(folder, "af_bella").numpy()
    assert np.array_equal(read_mix(parse("af_bella(5)", shelf)).rows, whole)
    assert np.array_equal(read_mix(parse("af_bella(5)", shelf, "none")).rows, whole * np.float32(5))


def test_say_and_the_engine_take_mixes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from test_engine_models import write_small_model

    from voicewright.cli import main
    from voicewright.engines.torch_engine import TorchEngine

    model = write_small_model(tmp_path / "m")
    rng = np.random.default_rng(5)
    more = {name: rng.standard_normal((510, 1, 256)).astype(np.float32) / 4 for name in ("one", "two")}
    write_arrays(tmp_path / "more.npz", more)
    engine = TorchEngine(model)
    mixed = engine.speak("Hello.", "alto(2)+basso")
    assert mixed.chunks[0].voice == "alto(2)+basso"
    shelf = Shelf({name: model / "voices" / f"{name}.safetensors" for name in ("alto", "basso")})
    by_hand = engine.speak("Hello.", read_mix(parse("alto(2)+basso", shelf)))
    assert np.array_equal(mixed.samples, by_hand.samples)
    assert not np.array_equal(mixed.samples[:1000], engine.speak("Hello.", "basso").samples[:1000])
    with pytest.raises(UsageError, match="character 6"):
        engine.speak("Hello.", f"alto+{tmp_path}/more.npz:one")
    for _ in range(3):
        for weight in range(1, 80):
            engine._voice(f"alto({weight})+basso")
    assert len(engine._packs) <= 64
    out = tmp_path / "x.wav"
    words = f"alto+{tmp_path / 'more.npz'}:two(0.5)"
    assert main(["say", "Hello.", "-m", str(model), "-v", words, "-o", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["voice"] == "alto+two(0.5)"
    out.unlink()
    assert main(["say", "Hello.", "-m", str(model), "-v", "alto+tenor", "-o", str(out)]) == 2
    said = capsys.readouterr().err
    assert "character 6" in said and "alto, basso" in said and said.count("\n") == 1 and not out.exists()


def test_a_voice_of_kokoros_is_refused_by_another_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from test_engine_models import write_small_model

    from voicewright.cli import main
    from voicewright.engines.torch_engine import TorchEngine

    model = write_small_model(tmp_path / "m")
    stranger = tmp_path / "af_x.bin"
    sample_pack(3).write(stranger)
    out = tmp_path / "x.wav"
    assert main(["say", "Hello.", "-m", str(model), "-v", str(stranger), "-o", str(out)]) == 1
    said = capsys.readouterr().err
    assert "af_x.bin is a voice of Kokoro's" in said and said.count("\n") == 1 and not out.exists()
    for mix in (f"alto(2)+{stranger}", f"{stranger}(0.05)+alto", f"basso,{stranger},alto"):  # as alone
        assert main(["say", "Hello.", "-m", str(model), "-v", mix, "-o", str(out)]) == 1
        said = capsys.readouterr().err
        assert "af_x.bin is a voice of Kokoro's" in said and said.count("\n") == 1 and not out.exists()
    engine = TorchEngine(model)
    with pytest.raises(VoicewrightError, match="noise with small"):
        engine.speak("Hello.", stranger)
    assert len(engine.speak("Hello.", sample_pack(3)).samples)  # a pack in hand is the caller's own affair
    for path in (model / "voices").iterdir():  # with voices of Kokoro's kind the model takes others of them
        sample_pack(len(path.stem)).write(path)
    assert len(TorchEngine(model).speak("Hello.", stranger).samples)
