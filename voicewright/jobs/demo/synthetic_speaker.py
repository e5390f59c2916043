"""A stand-in speaker for the demonstration: a machine reads sentences aloud.

Nobody's recordings ship with the package. This makes a folder of them (16-bit WAV and an LJSpeech-style
`metadata.csv`) so that the whole road can be shown. Kokoro-82M reads where its weights are installed: as
`kathleen`, our adapter, where a voice is made upon Kokoro, for one that Kokoro has already need not be found;
as one of its own where the small model is trained. Else espeak-ng reads, a formant synthesiser. A voice made
from a machine sounds like that machine.

    python -m voicewright.jobs.demo.synthetic_speaker FOLDER [espeak|kokoro|kathleen]

espeak-ng is loaded with ctypes from the wheel of `espeakng-loader` (GPL-3.0; see README). It keeps its
voice in global state, on which a front end in the same process may rely, so `record` starts one of its own.
"""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from voicewright.errors import VoicewrightError

Reader = Literal["espeak", "kokoro", "kathleen"]
VOICE = b"en-us+m3"
"""American English, so that the embedded voice knows every phoneme; deep, so that the two are told apart."""
KOKORO_VOICE = "jm_kumo"
"""Of the voices in the package of Kokoro's weights the man: deep, so that he and the embedded voice are told
apart. He reads English with an accent; of four sentences Whisper base heard 6 % of the words wrongly."""
_READ = MappingProxyType({"espeak": 40, "kokoro": 40, "kathleen": 20})
"""Sentences of each. A fit and adapters need less than training does, and both align what they are given."""
_PITCH, _RANGE, _RATE, _VOLUME = 38, 65, 150, 70
"""espeak-ng's pitch and intonation range (0 to 100, 50 is normal), words a minute, and volume (100 clips)."""

SENTENCES = (
    "The ferry leaves the harbour at seven, whether or not the fog has lifted.",
    "My neighbour keeps eleven hens and one very proud rooster.",
    "Could you pass me the blue notebook from the top shelf?",
    "We boiled the water twice, just to be on the safe side.",
    "A thin layer of frost covered the fields before dawn.",
    "Nobody noticed that the clock had stopped during the night.",
    "She measured the window carefully and still bought the wrong curtains.",
    "Fresh bread and good cheese make a fine lunch.",
    "Why did the orchestra stop playing in the middle of the march?",
    "The judge asked for silence and got a sneeze instead.",
    "Three young foxes were playing behind the old church.",
    "He wrote the address on his thumb and washed his hands an hour later.",
    "This path is shorter, but the other one has a view of the valley.",
    "Please leave your muddy boots outside the door.",
    "The museum opens late on Thursdays and closes early on Fridays.",
    "Her voice was calm, though her hands were shaking.",
    "Put the yellow jug on the table next to the oven.",
    "It rained so hard that the road turned into a river.",
    "Our teacher could draw a perfect circle without looking.",
    "Do you think the mayor will join us for the picnic?",
    "The engine coughed, growled, and finally began to purr.",
    "I found a silver coin under the floor of the garden house.",
    "Quite a few villages along the coast have their own recipe for fish soup.",
    "You should never argue with a cook about salt.",
    "The children measured the shadow of the tower at noon.",
    "A loose shutter was banging somewhere above the garage.",
    "What a pleasure it is to hear the cuckoo again!",
    "They bought six oranges, a pound of sugar and a box of matches.",
    "The bridge is too narrow for two carts at once.",
    "His younger brother joined the navy and saw half the world.",
    "Nothing was missing from the drawer except the key.",
    "On a clear day you can see the mountains from the roof.",
    "The doctor told him to rest, and so he rested for a year.",
    "Use a sharp knife, and keep your fingers out of the way.",
    "Both sisters laughed until the whole carriage turned around.",
    "Where were you when the lights went out?",
    "The beekeeper moves slowly and hums while he works.",
    "Autumn arrived early, and the leaves were gone by October.",
    "A good joke should be short, and this one is not.",
    "Thank you for listening to all of these sentences.",
)

_RETRIEVAL = 1
_UTF8 = 1
_RATE_PARAMETER, _VOLUME_PARAMETER, _PITCH_PARAMETER, _RANGE_PARAMETER = 1, 2, 3, 4
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Speaker:
    """espeak-ng with one voice. Global to its process: make one only where nothing else uses the library."""

    def __init__(self, voice: bytes = VOICE) -> None:
        import espeakng_loader

        try:
            self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        except OSError as error:
            raise VoicewrightError(
                f"the espeak-ng library cannot be loaded ({error}); install espeakng-loader again."
            ) from error
        data = str(espeakng_loader.get_data_path()).encode()
        self.rate: int = self._library.espeak_Initialize(_RETRIEVAL, 0, data, 0)
        if self.rate <= 0:
            raise VoicewrightError("espeak-ng does not start; install espeakng-loader again.")
        self._heard: list[NDArray[np.int16]] = []
        # Kept for as long as the library may call it.
        self._callback = _CALLBACK(self._take)
        self._library.espeak_SetSynthCallback(self._callback)
        if self._library.espeak_SetVoiceByName(voice) != 0:
            raise VoicewrightError(f"espeak-ng has no voice {voice.decode()}; install espeakng-loader again.")
        for parameter, value in (
            (_RATE_PARAMETER, _RATE),
            (_VOLUME_PARAMETER, _VOLUME),
            (_PITCH_PARAMETER, _PITCH),
            (_RANGE_PARAMETER, _RANGE),
        ):
            self._library.espeak_SetParameter(parameter, value, 0)

    def _take(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: int | None) -> int:
        if samples and count > 0:
            self._heard.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    def read(self, text: str) -> NDArray[np.float32]:
        """Samples [T] of the text, mono, at `rate` (22 050 a second), full scale 1."""
        self._heard.clear()
        data = text.encode()
        status = self._library.espeak_Synth(data, ctypes.c_size_t(len(data) + 1), 0, 0, 0, _UTF8, None, None)
        self._library.espeak_Synchronize()
        if status != 0 or not self._heard:
            raise VoicewrightError(f"espeak-ng made no sound of {text!r}; install espeakng-loader again.")
        return np.concatenate(self._heard).astype(np.float32) / np.float32(32768)


def kokoro_is_here() -> bool:
    """Are Kokoro's weights and the stand-in's voice installed as packages?"""
    from voicewright.catalogue.packaged import KOKORO, installed, packaged_path

    return installed(KOKORO) and KOKORO.voices is not None and packaged_path(*KOKORO.voices) is not None


def write_recordings(folder: Path, reader: Reader = "espeak") -> None:
    """Read the sentences into `folder`: `wavs/standin_NN.wav` and `metadata.csv` (id|text).

    What a network has read already, in a run that was stopped, stays.
    """
    from voicewright.audio.files import write

    (folder / "wavs").mkdir(parents=True, exist_ok=True)
    read, rate = _espeak_reader() if reader == "espeak" else _network_reader(reader)
    lines = []
    for number, sentence in enumerate(SENTENCES[: _READ[reader]], 1):
        name = f"standin_{number:02d}"
        path = folder / "wavs" / f"{name}.wav"
        if reader == "espeak" or not path.is_file():
            write(path, read(sentence), rate)
        lines.append(f"{name}|{sentence}\n")
    (folder / "metadata.csv").write_text("".join(lines), "utf-8")


def _espeak_reader() -> tuple[Callable[[str], NDArray[np.float32]], int]:
    speaker = Speaker()
    return speaker.read, speaker.rate


def _network_reader(name: str) -> tuple[Callable[[str], NDArray[np.float32]], int]:
    """`kokoro` or `kathleen`, as models are named."""
    from voicewright.catalogue.places import resolve_model
    from voicewright.engines.torch_engine import TorchEngine
    from voicewright.units import SAMPLE_RATE

    engine = TorchEngine(resolve_model(name))
    voice = KOKORO_VOICE if name == "kokoro" else name
    return lambda text: engine.speak(text, voice, language="en-us").samples, SAMPLE_RATE


def record(folder: Path, reader: Reader = "espeak") -> int:
    """`write_recordings` in a process of its own; returns the number of clips. Raises VoicewrightError."""
    done = subprocess.run(
        [sys.executable, "-m", "voicewright.jobs.demo.synthetic_speaker", str(folder), reader],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
        raise VoicewrightError(f"the stand-in speaker made no recordings: {reason}")
    return len(SENTENCES[: _READ[reader]])


def _main(words: list[str]) -> None:
    readers = {name: name for name in get_args(Reader)}
    reader = readers.get(words[1] if len(words) == 2 else "espeak")
    if len(words) not in (1, 2) or reader is None:
        sys.exit(f"usage: python -m voicewright.jobs.demo.synthetic_speaker FOLDER [{'|'.join(readers)}]")
    write_recordings(Path(words[0]), reader)


if __name__ == "__main__":
    _main(sys.argv[1:])
