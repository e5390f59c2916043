"""Runs the unmodified finetune loop of a StyleTTS 2 checkout, one step at a time, on the CPU.

Nothing of it is copied here: `train_finetune.py` is read from the checkout, its device name "cuda" is
turned into "cpu", and the loop runs in a thread of its own. Its data loader is replaced by one that hands
out our clips, which is also where the clock is read. What cannot be had offline is stood in for, below:

- torchaudio: mel spectrogram (torch.stft, HTK filters at torchaudio's default 16 kHz) and the DCT matrix;
- monotonic_align (Cython upstream): the same search in numpy, a few ms a step;
- weights: text aligner, pitch extractor and PL-BERT at their published widths with random values;
- WavLM: left out (a loss of zero), as are the style diffusion and the SLM adversary of later epochs.
"""

from __future__ import annotations

import math
import queue
import sys
import tempfile
import threading
import time
import types
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from voicewright.audio.mel import MelPreset, mel_filters

SETTINGS = {
    "resblock_kernel_sizes": [3, 7, 11],
    "upsample_rates": [10, 6],
    "upsample_initial_channel": 512,
    "resblock_dilation_sizes": [[1, 3, 5], [1, 3, 5], [1, 3, 5]],
    "upsample_kernel_sizes": [20, 12],
    "gen_istft_n_fft": 20,
    "gen_istft_hop_size": 5,
}
"""The iSTFTNet decoder that Kokoro and StyleTTS 2's LJSpeech model share."""


class MelSpectrogram(nn.Module):
    """Power mel spectrogram with torchaudio's defaults: [..., N] -> [..., n_mels, 1 + N // hop_length]."""

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        sample_rate: int = 16_000,
        n_fft: int = 400,
        win_length: int | None = None,
        hop_length: int | None = None,
        n_mels: int = 128,
        window_fn: Any = torch.hann_window,
    ) -> None:
        super().__init__()
        self.n_fft, self.win = n_fft, win_length or n_fft
        self.hop = hop_length or self.win // 2
        preset = MelPreset(
            "", sample_rate, n_fft, self.win, self.hop, n_mels, 0.0, sample_rate / 2, sample_rate
        )
        self.register_buffer("window", window_fn(self.win), persistent=False)
        self.register_buffer("filters", mel_filters(preset), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        flat = wave.reshape(-1, wave.shape[-1])
        spectrum = torch.stft(flat, self.n_fft, self.hop, self.win, self.window, return_complex=True)
        mel = (spectrum.abs().square().transpose(1, 2) @ self.filters).transpose(1, 2)
        return mel.reshape(*wave.shape[:-1], *mel.shape[1:])


def create_dct(n_mfcc: int, n_mels: int, norm: str | None) -> Tensor:
    """Orthonormal DCT-II, [n_mels, n_mfcc]."""
    steps, ranks = torch.arange(n_mels) + 0.5, torch.arange(n_mfcc)
    matrix = torch.cos(math.pi / n_mels * steps[:, None] * ranks) * math.sqrt(2 / n_mels)
    matrix[:, 0] /= math.sqrt(2)
    return matrix


def mask_from_lens(scores: Tensor, tokens: Tensor, frames: Tensor) -> Tensor:
    """1 where an item's own tokens and frames are: [B, T, F]."""
    inside = torch.arange(scores.shape[1])[:, None] < tokens[:, None, None]
    return (inside & (torch.arange(scores.shape[2]) < frames[:, None, None])).to(scores.dtype)


def maximum_path_c(path: Any, scores: Any, tokens: Any, frames: Any) -> None:
    """Write the best monotonic path into `path` [B, T, F]: each frame stays on a token or goes one on."""
    for out, score, rows, columns in zip(path, scores, tokens, frames, strict=True):
        best = np.full(rows, -np.inf, np.float32)
        best[0] = score[0, 0]
        came = np.zeros((columns, rows), bool)
        for f in range(1, columns):
            before = np.concatenate([[-np.inf], best[:-1]]).astype(np.float32)
            came[f] = before > best
            best = np.maximum(before, best) + score[:rows, f]
        at = rows - 1
        for f in range(columns - 1, -1, -1):
            out[at, f] = 1
            at -= int(came[f, at])


class Window(torch.Tensor):
    """A window that stays where it is: upstream moves it by a device number, which a CPU does not have."""

    def to(self, *_: Any, **__: Any) -> Tensor:
        return self.as_subclass(torch.Tensor)


class NoSpeechModel(nn.Module):
    """In place of the WavLM loss."""

    def __init__(self, *_: Any) -> None:
        super().__init__()

    def forward(self, wave: Tensor, made: Tensor) -> Tensor:
        return made.new_zeros(())


def _module(name: str, **contents: Any) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(contents)
    sys.modules[name] = module
    return module


def _stand_ins() -> None:
    transforms = _module("torchaudio.transforms", MelSpectrogram=MelSpectrogram)
    functional = _module("torchaudio.functional", create_dct=create_dct)
    _module("torchaudio", transforms=transforms, functional=functional)
    core = _module("monotonic_align.core", maximum_path_c=maximum_path_c)
    _module("monotonic_align", core=core, mask_from_lens=mask_from_lens, maximum_path=None)
    for name in ("librosa", "meldataset"):
        _module(name, build_dataloader=None)


def _config(root: Path, folder: Path, window: int) -> Path:
    config = yaml.safe_load((root / "Configs" / "config_ft.yml").read_text("utf-8"))
    config |= {"log_dir": str(folder / "log"), "max_len": 2 * window, "epochs": 1, "device": "cpu"}
    config["model_params"]["decoder"] = {"type": "istftnet", **SETTINGS}
    config["loss_params"] |= {"diff_epoch": 10, "joint_epoch": 10}
    path = folder / "finetune.yml"
    path.write_text(yaml.safe_dump(config), "utf-8")
    return path


class Loader:
    """In place of the data loader: the same batch of clips whenever the parent asks for a step."""

    def __init__(self, clips: list[dict[str, Any]]) -> None:
        self.orders: queue.Queue[str] = queue.Queue()
        self.answers: queue.Queue[dict[str, float] | BaseException] = queue.Queue()
        self.optimizer: Any = None
        longest = max(clip["mel"].shape[1] for clip in clips)
        tokens = max(len(clip["tokens"]) for clip in clips)
        mels = torch.zeros(len(clips), 80, longest)
        texts = torch.zeros(len(clips), tokens, dtype=torch.long)
        for i, clip in enumerate(clips):
            mels[i, :, : clip["mel"].shape[1]] = torch.from_numpy(clip["mel"])
            texts[i, : len(clip["tokens"])] = torch.from_numpy(clip["tokens"])
        lengths = torch.tensor([len(clip["tokens"]) for clip in clips])
        frames = torch.tensor([clip["mel"].shape[1] for clip in clips])
        # Texts and mels for the stages that are left out follow; they are only passed along.
        waves = [clip["samples"] for clip in clips]
        self.batch = [waves, texts, lengths, texts, lengths, mels, frames, mels[:, :, :192]]

    def __len__(self) -> int:
        return 1000

    def updates(self) -> int:
        """How often the decoder was updated: upstream skips a batch in silence when its aligner fails."""
        states = self.optimizer.optimizers["decoder"].state.values()
        return max((int(state["step"]) for state in states), default=0)

    def __iter__(self) -> Iterator[list[Any]]:
        done = 0
        while True:
            self.orders.get()
            begin, cpu = time.perf_counter(), time.process_time()
            yield list(self.batch)
            done += 1
            if self.updates() != done:
                raise RuntimeError("StyleTTS 2 skipped this batch.")
            self.answers.put({"seconds": time.perf_counter() - begin, "cpu": time.process_time() - cpu})


def _prepare(scope: dict[str, Any], root: Path, loader: Loader) -> None:
    """Replace what `train_finetune.py` reads from files by networks of the same widths."""
    from transformers import AlbertConfig

    albert = sys.modules["Utils.PLBERT.util"].CustomAlbert

    def aligner(*_: Any) -> nn.Module:
        widths = yaml.safe_load((root / "Utils" / "ASR" / "config.yml").read_text("utf-8"))["model_params"]
        net: nn.Module = scope["ASRCNN"](**widths)
        return net

    def plbert(*_: Any) -> nn.Module:
        widths = yaml.safe_load((root / "Utils" / "PLBERT" / "config.yml").read_text("utf-8"))["model_params"]
        net: nn.Module = albert(AlbertConfig(**widths))
        return net

    def pitch(*_: Any) -> nn.Module:
        net: nn.Module = scope["JDCNet"](num_class=1, seq_len=192)
        return net

    build, build_optimizer = scope["build_model"], scope["build_optimizer"]

    def optimizer(*args: Any, **kwargs: Any) -> Any:
        loader.optimizer = build_optimizer(*args, **kwargs)
        return loader.optimizer

    def build_model(*args: Any) -> Any:
        nets = build(*args)
        for member in nets.msd.discriminators:
            member.window = member.window.as_subclass(Window)
        # Spectral norms of random weights must settle, as the loop holds the style encoders in eval mode.
        with torch.no_grad():
            for _ in range(20):
                nets.style_encoder.train()(torch.randn(1, 1, 80, 80))
                nets.predictor_encoder.train()(torch.randn(1, 1, 80, 80))
        trunk = [nets[key] for key in ("bert", "bert_encoder", "predictor", "decoder", "text_encoder")]
        count = sum(p.numel() for net in trunk for p in net.parameters())
        print(f"trunk of {count:,} parameters", file=sys.stderr)
        return nets

    scope |= {
        "build_model": build_model,
        "build_optimizer": optimizer,
        "load_ASR_models": aligner,
        "load_F0_models": pitch,
        "load_plbert": plbert,
        "load_checkpoint": lambda model, optimizer, *_, **__: (model, optimizer, 0, 0),
        "get_data_path_list": lambda *_: ([], []),
        "build_dataloader": lambda *_, **__: loader,
        "WavLMLoss": NoSpeechModel,
    }


def upstream_steps(
    root: Path, clips: list[dict[str, Any]], window: int
) -> Generator[dict[str, float], str, None]:
    """Run one finetune step of the checkout at `root` each time the iterator is advanced."""
    import transformers  # noqa: F401  looks for torchaudio on import, and must not find the stand-in

    _stand_ins()
    sys.path.insert(0, str(root))
    source = (root / "train_finetune.py").read_text("utf-8")
    for quote in "'\"":
        source = source.replace(f"{quote}cuda{quote}", f"{quote}cpu{quote}")
    scope: dict[str, Any] = {"__name__": "train_finetune"}
    exec(compile(source, str(root / "train_finetune.py"), "exec"), scope)
    loader = Loader(clips)
    _prepare(scope, root, loader)
    config = _config(root, Path(tempfile.mkdtemp(prefix="styletts2-")), window)

    def work() -> None:
        try:
            scope["main"].callback(config_path=str(config))
        except BaseException as error:
            loader.answers.put(error)

    threading.Thread(target=work, daemon=True).start()
    yield {}
    while True:
        loader.orders.put("step")
        answer = loader.answers.get()
        if isinstance(answer, BaseException):
            raise answer
        yield answer
