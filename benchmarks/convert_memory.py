"""Peak memory of `voicewright convert` against the length of the recording.

    python benchmarks/convert_memory.py [--minutes 1 10 60 180] [--method dio] [--full] [--recording FILE]

Each row is a process of its own. The recording is repeated to the length that is wanted. Networks are narrow
unless `--full` is given: what grows with the length is not in them, and three hours take minutes instead of
hours.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from rvc_random import write_rvc

RATE = 24_000


def lengthened(recording: Path | None, minutes: float, path: Path) -> None:
    """A WAV of so many minutes, written piece by piece."""
    if recording is not None:
        from voicewright.audio.files import read

        piece = read(recording, RATE)
    else:
        clock = np.arange(9 * RATE) / RATE
        voice = sum(np.sin(2 * np.pi * 130 * k * clock) / k for k in range(1, 20))
        piece = (0.1 * voice * np.clip(np.sin(2 * np.pi * 2.3 * clock) + 0.3, 0, 1)).astype(np.float32)
    left = round(minutes * 60 * RATE)
    with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
        while left > 0:
            file.write(piece[:left])
            left -= len(piece)


def run(words: list[str]) -> tuple[float, float, float]:
    """Wall and processor seconds of a command, and its peak memory in MB."""
    began = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "voicewright", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        told = process.stderr.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(told)
    return time.perf_counter() - began, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 60, 180])
    parser.add_argument("--method", default="dio", help="of pitch; dio is the quickest")
    parser.add_argument("--full", action="store_true", help="networks of RVC v2's size")
    parser.add_argument("--recording", type=Path, help="speech to repeat; tones when not given")
    arguments = parser.parse_args()
    print(
        "| minutes | wall, s | CPU, s | CPU, s per minute | peak of resident memory, MB "
        "|\n|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        voice = write_rvc(folder, narrow=not arguments.full)
        for minutes in arguments.minutes:
            lengthened(arguments.recording, minutes, folder / "in.wav")
            words = ["convert", str(folder / "in.wav"), *voice, "-o", str(folder / "out.flac")]
            wall, used, peak = run([*words, "--method", arguments.method, "--rate", "16000"])
            made = soundfile.info(folder / "out.flac")
            assert abs(made.duration - minutes * 60) < 0.01
            print(
                f"| {minutes:g} | {wall:.0f} | {used:.0f} | {used / minutes:.1f} | {peak:.0f} |", flush=True
            )


if __name__ == "__main__":
    main()
