"""A wheel brings the compiled kernels to where no compiler is."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]
COMPILER = shutil.which("gcc") or shutil.which("clang")
CROSS = shutil.which("aarch64-linux-gnu-gcc")
needs_compiler = pytest.mark.skipif(
    COMPILER is None or sys.platform != "linux", reason="needs gcc or clang on Linux"
)
NUMBERS = """
import json, sys, torch
import voicewright
from small_models import kokoro_like
from voicewright.model.fast import choice
from voicewright.model.fast.library import levels
from voicewright.model.fast.model import FastModel
from voicewright.model.tts.model import TTSModel

def speech(kind):
    torch.manual_seed(3)
    model = FastModel(TTSModel(kokoro_like()).eval(), choice.choose(kind))
    tokens = torch.tensor([[0, 5, 9, 3, 7, 0]])
    given = {"durations": torch.full((1, 6), 4), "f0": torch.full((1, 48), 140.0)}
    given["energy"] = torch.ones(1, 48)
    return model.speak(tokens, torch.ones(1, 256) / 4, 1.0, torch.Generator().manual_seed(5), **given).audio

ours, theirs = speech("native").double(), speech("torch").double()
print(json.dumps({
    "file": voicewright.__file__,
    "levels": levels(),
    "described": choice.described(),
    "decibels": float(10 * torch.log10(theirs.square().mean() / (ours - theirs).square().mean())),
}))
"""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a wheel is made of, without the embedded voice (26 MB)."""
    folder = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    left = shutil.ignore_patterns("*.so", "__pycache__", "*.safetensors")
    shutil.copytree(ROOT / "voicewright", folder / "voicewright", ignore=left)
    return folder


def built(source: Path, out: Path, **environment: str) -> Path:
    """The wheel that setuptools makes of the source by that environment."""
    shutil.rmtree(source / "build", ignore_errors=True)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-index"]
    command += ["--no-build-isolation", "--no-deps", "--wheel-dir", str(out), str(source)]
    given = {**os.environ, "CFLAGS": "", **environment}
    done = subprocess.run(command, env=given, capture_output=True, text=True, timeout=300)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    (wheel,) = out.glob("*.whl")
    return wheel


def kernels(wheel: Path, folder: Path) -> bytes | None:
    shutil.unpack_archive(wheel, folder, "zip")
    found = folder / "voicewright" / "model" / "fast" / "_kernels.so"
    return found.read_bytes() if found.is_file() else None


@needs_compiler
def test_a_wheel_needs_no_compiler(source: Path, tmp_path: Path) -> None:
    wheel = built(source, tmp_path / "dist", CC=str(COMPILER), VOICEWRIGHT_KERNELS_REQUIRED="1")
    assert re.search(r"-py3-none-manylinux_2_\d+_\w+\.whl$", wheel.name)
    library = kernels(wheel, tmp_path / "unpacked")
    assert library is not None
    assert set(re.findall(rb"\blib[\w+-]+\.so[\w.]*", library)) <= {b"libc.so.6", b"libm.so.6"}
    assert str(Path.home()).encode() not in library

    home = tmp_path / "environment"
    venv.create(home, with_pip=False)
    python = home / "bin" / "python"
    install = ["install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps", "--no-compile"]
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(python), *install, str(wheel)], check=True, timeout=120
    )
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "shared.pth").write_text(str(Path(torch.__file__).parents[1]))
    bare = {"PATH": str(home / "bin"), "CC": "false", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"}
    run = subprocess.run(
        [str(python), "-c", NUMBERS],
        env={**bare, "PYTHONPATH": str(ROOT / "tests" / "support")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    said = json.loads(run.stdout)
    assert said["file"].startswith(str(home))
    assert said["levels"][0] == "plain" and said["described"]["kernels"] == said["levels"][-1]
    assert said["described"]["threads"] == "torch's"
    assert said["decibels"] > 80


def test_without_a_compiler_a_wheel_is_for_any_machine(source: Path, tmp_path: Path) -> None:
    wheel = built(source, tmp_path / "dist", CC="false")
    assert wheel.name.endswith("-py3-none-any.whl") and kernels(wheel, tmp_path / "unpacked") is None
    with pytest.raises(RuntimeError, match="false"):
        built(source, tmp_path / "none", CC="false", VOICEWRIGHT_KERNELS_REQUIRED="1")
    assert not list(tmp_path.glob("none/*"))


@pytest.mark.skipif(CROSS is None, reason="needs aarch64-linux-gnu-gcc (Debian: gcc-aarch64-linux-gnu)")
def test_a_cross_compiler_makes_the_other_machines_wheel(source: Path, tmp_path: Path) -> None:
    wheel = built(source, tmp_path / "dist", CC=str(CROSS), CFLAGS="-O1", VOICEWRIGHT_KERNELS_REQUIRED="1")
    assert re.search(r"-py3-none-manylinux_2_\d+_aarch64\.whl$", wheel.name)
    library = kernels(wheel, tmp_path / "unpacked")
    assert library is not None and library[18] == 183  # EM_AARCH64
