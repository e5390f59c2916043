"""Recognisers: what a machine hears in a clip, and how far that is from what was to be said.

A recogniser errs on recordings of people too. Its error rate says something only beside the rate that the
same recogniser reaches on the recordings in the same run: `judge` always asks for both.
"""

from __future__ import annotations

import importlib.util
import json
import queue
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import IO, BinaryIO, Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from voicewright.config import SAMPLE_RATE
from voicewright.errors import UsageError, VoicewrightError

Samples = NDArray[np.float32]
Progress = Callable[[int, int], None]

RECOGNISER_RATE = 16_000
EDGE_SECONDS = 0.3
"""Silence put on both ends: recognisers lose the first word of clips that begin at once."""


class Recogniser(Protocol):
    """Anything that turns speech into words. Must be deterministic and blind to what it heard before."""

    @property
    def name(self) -> str:
        """Name and version, as printed in the report's conditions."""

    def transcribe(self, samples: Samples) -> str:
        """Words heard in float32 mono samples at 24 kHz."""

    def transcribe_many(self, clips: Sequence[Samples], progress: Progress | None = None) -> list[str]:
        """Words heard in each clip, in order. `progress(done, total)` is called after each."""


def recogniser_input(samples: Samples, rate: int = SAMPLE_RATE) -> NDArray[np.int16]:
    """16 kHz int16, peak at 0.95, 0.3 s of silence on both ends. Silence and empty clips stay silent."""
    clip = np.nan_to_num(np.asarray(samples, np.float32).reshape(-1))
    if rate != RECOGNISER_RATE and clip.size:
        clip = soxr.resample(clip, rate, RECOGNISER_RATE).astype(np.float32)
    peak = float(np.abs(clip).max()) if clip.size else 0.0
    if peak > 0:
        clip = clip * (0.95 / peak)
    edge = np.zeros(int(EDGE_SECONDS * RECOGNISER_RATE), np.float32)
    return np.asarray(np.round(np.concatenate([edge, clip, edge]) * 32767), np.int16)


class PocketSphinx:
    """CMU PocketSphinx with the English model inside its wheel: offline, deterministic, weak.

    One decoder serves many clips; each goes in as one whole utterance, so that the cepstral mean comes from
    that clip alone and the order of clips does not matter (a test holds that). Batches run in `processes`
    workers, because the decoder keeps Python's lock while it works.
    """

    def __init__(self, processes: int = 2) -> None:
        if importlib.util.find_spec("pocketsphinx") is None:
            raise VoicewrightError(
                "The recogniser pocketsphinx is not installed: run `pip install 'voicewright[judge]'`."
            )
        if processes < 1:
            raise UsageError(f"A recogniser needs at least one process, got {processes}.")
        self.processes = processes
        self._decoder: Decoder | None = None

    @property
    def name(self) -> str:
        return f"pocketsphinx {version('pocketsphinx')} en-us"

    def transcribe(self, samples: Samples) -> str:
        if self._decoder is None:
            self._decoder = Decoder()
        return self._decoder(recogniser_input(samples).tobytes())

    def transcribe_many(self, clips: Sequence[Samples], progress: Progress | None = None) -> list[str]:
        total = len(clips)
        if min(self.processes, total) <= 1:
            heard = []
            for number, clip in enumerate(clips, start=1):
                heard.append(self.transcribe(clip))
                if progress:
                    progress(number, total)
            return heard
        return _Workers(clips, min(self.processes, total), progress).run()


class _Workers:
    """Feeds clips to worker processes one at a time and gathers what they heard."""

    def __init__(self, clips: Sequence[Samples], processes: int, progress: Progress | None) -> None:
        self.clips = clips
        self.processes = processes
        self.progress = progress
        self.heard: list[str | None] = [None] * len(clips)
        self.todo: queue.SimpleQueue[int] = queue.SimpleQueue()
        # Longest first: the workers end together.
        for index in sorted(range(len(clips)), key=lambda i: -len(clips[i])):
            self.todo.put(index)
        self.lock = threading.Lock()
        self.done = 0

    def run(self) -> list[str]:
        threads = [threading.Thread(target=self._feed, daemon=True) for _ in range(self.processes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        heard = [text for text in self.heard if text is not None]
        if len(heard) != len(self.clips):
            raise VoicewrightError(
                f"The recogniser's worker ended after {len(heard)} of {len(self.clips)} clips: is there "
                "enough memory (about 200 MB a process), and does `python -c 'import pocketsphinx'` work?"
            )
        return heard

    def _feed(self) -> None:
        command = [sys.executable, "-m", "voicewright.judge.recogniser"]
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL) as worker:
            stdin, stdout = worker.stdin, worker.stdout
            if stdin is None or stdout is None:
                return
            try:
                while True:
                    index = self.todo.get_nowait()
                    self.heard[index] = _ask(stdin, stdout, self.clips[index])
                    with self.lock:
                        self.done += 1
                        if self.progress:
                            self.progress(self.done, len(self.clips))
            except queue.Empty:
                pass
            except (OSError, ValueError):
                worker.kill()  # run() counts what came back and says so


def _ask(stdin: IO[bytes], stdout: IO[bytes], clip: Samples) -> str:
    data = recogniser_input(clip).tobytes()
    stdin.write(struct.pack("<I", len(data)) + data)
    stdin.flush()
    return str(json.loads(stdout.readline()))


class Decoder:
    """One PocketSphinx decoder: int16 16 kHz bytes in, words out. About half a second to build."""

    def __init__(self) -> None:
        import pocketsphinx

        self._decoder = pocketsphinx.Decoder(samprate=float(RECOGNISER_RATE), loglevel="FATAL")

    def __call__(self, data: bytes) -> str:
        # Digital silence has no cepstral mean: what is heard in it depends on the clip before.
        if not any(data):
            return ""
        self._decoder.start_utt()
        # full_utt: the cepstral mean is the clip's own, nothing is carried over from the clip before.
        self._decoder.process_raw(data, full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        return str(hypothesis.hypstr) if hypothesis is not None else ""


def serve(stdin: BinaryIO, stdout: BinaryIO) -> None:
    """A worker: reads (length, int16 samples) records until the end, answers one JSON string a line."""
    decoder = Decoder()
    while len(head := stdin.read(4)) == 4:
        data = stdin.read(struct.unpack("<I", head)[0])
        stdout.write(json.dumps(decoder(data)).encode() + b"\n")
        stdout.flush()


class FasterWhisper:
    """Whisper through faster-whisper, when installed; `model` is a name it has cached or a folder.

    Nothing is fetched: a model that is not on this machine is an error that says so.
    """

    def __init__(self, model: str = "small", language: str = "en", threads: int = 2) -> None:
        if importlib.util.find_spec("faster_whisper") is None:
            raise VoicewrightError(
                "The recogniser faster-whisper is not installed: run `pip install 'voicewright[whisper]'`."
            )
        from faster_whisper import WhisperModel

        self.model, self.language = model, language
        try:
            self._whisper = WhisperModel(
                model, device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise VoicewrightError(
                f"The Whisper model {model!r} is not on this machine: give a folder with a faster-whisper "
                f"model, or use --recogniser pocketsphinx ({error})."
            ) from error

    @property
    def name(self) -> str:
        return f"faster-whisper {version('faster-whisper')} {self.model} {self.language}"

    def transcribe(self, samples: Samples) -> str:
        clip = recogniser_input(samples).astype(np.float32) / 32768
        segments, _ = self._whisper.transcribe(
            clip, language=self.language, beam_size=5, temperature=0.0, condition_on_previous_text=False
        )
        return " ".join(segment.text.strip() for segment in segments)

    def transcribe_many(self, clips: Sequence[Samples], progress: Progress | None = None) -> list[str]:
        heard = []
        for number, clip in enumerate(clips, start=1):
            heard.append(self.transcribe(clip))
            if progress:
                progress(number, len(clips))
        return heard


def open_recogniser(name: str = "auto", language: str = "en-us", processes: int = 2) -> Recogniser:
    """`pocketsphinx`, `whisper` or `whisper:MODEL`; `auto` is pocketsphinx for English, else Whisper.

    Raises UsageError for an unknown name, VoicewrightError when the recogniser is not installed.
    """
    english = language.lower().startswith("en")
    kind, _, model = name.partition(":")
    if kind == "auto":
        kind = "pocketsphinx" if english else "whisper"
    if kind == "pocketsphinx":
        if not english:
            raise UsageError(
                f"pocketsphinx hears English only, not {language!r}: use --recogniser whisper:MODEL."
            )
        return PocketSphinx(processes)
    if kind == "whisper":
        return FasterWhisper(model or "small", language.split("-")[0].lower(), processes)
    raise UsageError(f"There is no recogniser {name!r}: use auto, pocketsphinx or whisper:MODEL.")


def main() -> None:
    serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
