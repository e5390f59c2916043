"""The kernels of another machine (aarch64), compiled by Debian's cross compiler and run in an emulator, give
torch's numbers; skipped where either is missing."""

from __future__ import annotations

import math
import shutil
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from voicewright.model.fast.convolution import EPS, Before, activate
from voicewright.model.fast.filters import FAST, Plan, halved, matrices, pack, pack_half
from voicewright.model.fast.library import SNAKE

COMPILER, EMULATOR = "aarch64-linux-gnu-gcc", "qemu-aarch64"
NATIVE = Path(__file__).parents[2] / "voicewright" / "model" / "fast" / "native"
LEVELS = {"plain": 0, "neon": 1}
VECTOR = 4
CONVOLUTION, NARROW, RECURRENT, NAMES = range(4)

pytestmark = pytest.mark.skipif(
    shutil.which(COMPILER) is None or shutil.which(EMULATOR) is None,
    reason=f"needs {COMPILER} and {EMULATOR} (Debian: gcc-aarch64-linux-gnu, qemu-user)",
)
Call = Callable[..., bytes]


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Call:
    """what, level, then integers, floats and tensors (None: NULL) → what the driver wrote."""
    program = tmp_path_factory.mktemp("aarch64") / "driver"
    sources = [str(Path(__file__).parents[1] / "support" / "kernels_driver.c"), str(NATIVE / "kernels.c")]
    flags = ["-O3", "-std=gnu11", "-fno-math-errno", "-static", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([COMPILER, *flags, *sources, "-o", str(program)], check=True, timeout=300)

    def run(*given: int | float | Tensor | None) -> bytes:
        parts = []
        for each in given:
            if each is None:
                parts.append(struct.pack("<q", -1))
            elif isinstance(each, Tensor):
                content = each.contiguous().numpy().tobytes()
                parts += [struct.pack("<q", len(content)), content]
            else:
                parts.append(struct.pack("<i" if isinstance(each, int) else "<f", each))
        command = [EMULATOR, str(program)]
        return subprocess.run(
            command, input=b"".join(parts), capture_output=True, check=True, timeout=60
        ).stdout

    return run


def floats(content: bytes, *shape: int) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.float32).view(*shape)


def ratio(ours: Tensor, reference: Tensor) -> float:
    """Signal to noise in dB."""
    noise = (ours.double() - reference.double()).square().mean()
    return float(10 * torch.log10(reference.double().square().mean() / noise))


def test_levels_have_their_names(call: Call) -> None:
    assert call(NAMES, 0).decode().split() == ["plain", "4", "neon", "4"]


@pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS)
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
@pytest.mark.parametrize("minimal", [False, True], ids=["sums", "filters"])
@pytest.mark.parametrize(
    ("cin", "cout", "taps", "dilation", "rows"), [(33, 70, 11, 5, 157), (40, 24, 3, 1, 64)]
)
def test_convolutions_equal_torch(
    call: Call,
    level: int,
    half: bool,
    minimal: bool,
    cin: int,
    cout: int,
    taps: int,
    dilation: int,
    rows: int,
) -> None:
    torch.manual_seed(0)
    weight, bias = torch.randn(cout, cin, taps) / math.sqrt(cin * taps), torch.randn(cout)
    stats, affine = torch.stack([torch.randn(cin), torch.rand(cin) + 0.3]), torch.randn(2, cin)
    alpha, x, more = torch.rand(cin) + 0.5, torch.randn(rows, cin), torch.randn(rows, cout)
    plan = FAST[taps] if minimal else Plan(1, 1, taps)
    output, filters, given = (t.float().contiguous() for t in matrices(plan.m, plan.r))
    wide, narrow = pack(weight, plan, VECTOR), None
    if half:
        rounded, factor = halved(weight)
        narrow, filters = pack_half(rounded, plan, VECTOR), filters * factor
        weight = rounded.float() * factor
    padded = torch.zeros(-(-cout // (2 * VECTOR)) * 2 * VECTOR)
    padded[:cout] = bias
    content = call(
        CONVOLUTION, level, rows, rows, cin, cout, taps // 2, dilation,
        plan.m, plan.r, plan.points, plan.subs, SNAKE, 1, rows - 1, 0.0, EPS,
        x, None if half else wide, narrow, filters, padded, given, output, *stats, *affine, alpha, more,
    )  # fmt: skip
    out, moments = floats(content[: -8 * cout], rows, cout), floats(content[-8 * cout :], 2, cout)
    before = Before(stats, affine, SNAKE, alpha=alpha)
    reach = (taps - 1) * dilation // 2
    seen = activate(x.double(), before).T[None]
    expected = F.conv1d(seen, weight.double(), bias.double(), dilation=dilation, padding=reach)[0].T + more
    assert ratio(out, expected) > 100
    assert torch.allclose(moments[0].double(), expected[1:-1].mean(0), atol=1e-5)
    assert torch.allclose(moments[1].double(), expected[1:-1].var(0, correction=0), rtol=1e-4)


@pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS)
def test_bf16_is_rounded_as_torch_rounds(call: Call, level: int) -> None:
    x = torch.randn(50, 22, generator=torch.Generator().manual_seed(1))
    content = call(NARROW, level, 50, 50, 22, 22, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0.0, EPS, x, *[None] * 12)
    assert torch.equal(floats_of_bf16(content, 50, 22), x.to(torch.bfloat16).float())


def floats_of_bf16(content: bytes, *shape: int) -> Tensor:
    return torch.frombuffer(bytearray(content), dtype=torch.bfloat16).view(*shape).float()


@pytest.mark.parametrize("level", LEVELS.values(), ids=LEVELS)
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16"])
def test_the_recurrent_kernel_equals_torch(call: Call, level: int, half: bool) -> None:
    torch.manual_seed(4)
    hidden, steps = 32, 40
    lstm = nn.LSTM(24, hidden, batch_first=True, bidirectional=True).requires_grad_(False)
    x = 3 * torch.randn(steps, 24)
    both = torch.cat([lstm.weight_hh_l0, lstm.weight_hh_l0_reverse])
    narrow, factor = halved(both)
    if half:
        both = narrow.float() * factor
        lstm.weight_hh_l0.copy_(both[: 4 * hidden])
        lstm.weight_hh_l0_reverse.copy_(both[4 * hidden :])
    gates = torch.cat(
        [
            F.linear(x, lstm.weight_ih_l0, lstm.bias_ih_l0 + lstm.bias_hh_l0),
            F.linear(x, lstm.weight_ih_l0_reverse, lstm.bias_ih_l0_reverse + lstm.bias_hh_l0_reverse),
        ],
        dim=1,
    )

    def packed(weight: Tensor) -> Tensor:
        return weight.unflatten(0, (2, -1, 8 * VECTOR)).transpose(2, 3).contiguous()

    content = call(
        RECURRENT, level, steps, hidden, factor if half else 1.0, gates,
        None if half else packed(both), packed(narrow) if half else None,
    )  # fmt: skip
    assert ratio(floats(content, steps, 2 * hidden), lstm(x[None])[0][0]) > 110
