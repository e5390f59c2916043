"""CMU PocketSphinx with the English model inside its wheel: offline, deterministic, weak.

It errs on recordings of people too. Its error rate says something only beside the rate that it reaches on the
recordings in the same run: `judge` always asks for both.
"""

from __future__ import annotations

import importlib.util
import json
import queue
import re
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from importlib.metadata import version
from typing import IO, BinaryIO

from voicewright.errors import UsageError, VoicewrightError
from voicewright.listen.heard import RECOGNISER_RATE, Heard, Progress, Samples, recogniser_input
from voicewright.units import SAMPLE_RATE

LIMIT = 0.55
"""Of confidence. It tells kinds of recordings apart, single clips hardly: of 16 clips of a clear reader 11
lie above it (WER .17), of 14 of LibriSpeech's test-other 4 (.53), of 20 under noise none (.6 to 1)."""


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

    def hear(self, samples: Samples, rate: int = SAMPLE_RATE) -> Heard:
        """Confidence is the mean posterior of the words, from the decoder's lattice."""
        if self._decoder is None:
            self._decoder = Decoder()
        return self._decoder(recogniser_input(samples, rate).tobytes())

    def transcribe(self, samples: Samples) -> str:
        return self.hear(samples).text

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
        command = [sys.executable, "-m", "voicewright.listen.sphinx"]
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

    def __call__(self, data: bytes) -> Heard:
        # Digital silence has no cepstral mean: what is heard in it depends on the clip before.
        if not any(data):
            return Heard("", 0.0)
        self._decoder.start_utt()
        # full_utt: the cepstral mean is the clip's own, nothing is carried over from the clip before.
        self._decoder.process_raw(data, full_utt=True)
        self._decoder.end_utt()
        hypothesis = self._decoder.hyp()
        text = clean(hypothesis.hypstr) if hypothesis is not None else ""
        if not text:
            return Heard("", 0.0)
        sure = [float(part.prob) for part in self._decoder.seg() if clean(part.word)]
        return Heard(text, min(1.0, sum(sure) / max(1, len(sure))), LIMIT)


def clean(hypothesis: str) -> str:
    """Words without fillers (`<sil>`, `[NOISE]`) and pronunciation numbers (`read(2)`)."""
    words = re.sub(r"<[^>]{0,40}>|\[[^\]]{0,40}\]|\+\+[^+]{0,40}\+\+", " ", hypothesis)
    return " ".join(re.sub(r"\(\d{1,3}\)", "", words).split())


def serve(stdin: BinaryIO, stdout: BinaryIO) -> None:
    """A worker: reads (length, int16 samples) records until the end, answers one JSON string a line."""
    decoder = Decoder()
    while len(head := stdin.read(4)) == 4:
        data = stdin.read(struct.unpack("<I", head)[0])
        stdout.write(json.dumps(decoder(data).text).encode() + b"\n")
        stdout.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
