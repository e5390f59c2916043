"""Whisper through faster-whisper: which model is on this machine, and what it hears. Nothing is fetched.

`data/whisper.toml` is the one list of models and of where they may lie: Hugging Face's cache, our own, and
packages that carry one in parts, which are joined once into our cache and checked.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import math
import os
import shutil
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from voicewright.catalogue.places import PARTS, cache_folder, hub_cache
from voicewright.errors import UsageError, VoicewrightError
from voicewright.listen.heard import Heard, Progress, Samples, recogniser_input
from voicewright.units import SAMPLE_RATE

WEIGHTS = "model.bin"
INSTALL = "pip install 'voicewright[whisper]'"
_BLOCK = 1 << 20
LIMIT = 0.6
"""Of confidence, measured with Whisper base on some 60 clips: clean English lies at .62 to .83 (WER .07),
Dutch at .60 to .76 (.20); below are half the clips in 5 dB of noise (.3 to .9) and Dutch taken for German."""


@dataclass(frozen=True)
class Model:
    """A Whisper model that can be opened. `folder` None: it lies in packages, and is joined when opened."""

    name: str
    folder: Path | None = None
    english: bool = False
    """It knows no other language."""

    def ready(self) -> Model:
        """The same with its folder; joins parts into our cache first. Raises VoicewrightError."""
        return self if self.folder is not None else replace(self, folder=_joined(self.name))


@functools.cache
def _listed() -> tuple[Mapping[str, Any], ...]:
    return tuple(_table()["model"])


@functools.cache
def _table() -> Mapping[str, Any]:
    path = resources.files("voicewright.listen") / "data" / "whisper.toml"
    return tomllib.loads(path.read_text("utf-8"))


def installed() -> bool:
    """Whether faster-whisper is here; its models are another matter."""
    return importlib.util.find_spec("faster_whisper") is not None


def models() -> list[Model]:
    """The Whisper models on this machine, best first. Looks only, joins nothing."""
    return [model for entry in _listed() if (model := _find(entry)) is not None]


def _find(entry: Mapping[str, Any]) -> Model | None:
    name, english = str(entry["name"]), bool(entry.get("english", False))
    snapshots = hub_cache() / f"models--{str(entry['repository']).replace('/', '--')}" / "snapshots"
    for folder in (_own(name), *sorted(snapshots.glob("*"), reverse=True)):
        if (folder / WEIGHTS).is_file():
            return Model(name, folder, english)
    if "packages" in entry and all(
        _part(part) for file in entry["packages"]["file"] for part in file["parts"]
    ):
        return Model(name, None, english)
    return None


def _own(name: str) -> Path:
    return cache_folder() / PARTS / f"whisper-{name}"


def _part(place: str) -> Path | None:
    """A file inside a package, found without importing the package."""
    package, _, inside = place.partition("/")
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / inside).is_file():
            return path
    return None


def _joined(name: str) -> Path:
    """The model of that name, put together from its packages in our cache. Raises VoicewrightError."""
    target = _own(name)
    if (target / WEIGHTS).is_file():
        return target
    files = next(entry["packages"]["file"] for entry in _listed() if entry["name"] == name)
    work = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        for file in files:
            state = hashlib.sha256()
            with (work / file["name"]).open("wb") as out:
                for place in file["parts"]:
                    _append(_part(place), out, state)
            if state.hexdigest() != file["sha256"]:
                raise VoicewrightError(
                    f"{file['name']} of Whisper {name} is not the file it should be: install "
                    f"{install_words(name)} again, or name a folder with --recogniser whisper:FOLDER."
                )
        # Another process may have been quicker: its files are the same.
        if not (target / WEIGHTS).is_file():
            shutil.rmtree(target, ignore_errors=True)
            work.replace(target)
    except OSError as error:
        raise VoicewrightError(
            f"Whisper {name} could not be joined in {target.parent}: {error.strerror or error}; make room, "
            "or set VOICEWRIGHT_CACHE to another folder."
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _append(path: Path | None, out: Any, state: Any) -> None:
    if path is None:
        raise FileNotFoundError(2, "a part of it is gone")
    with path.open("rb") as part:
        while block := part.read(_BLOCK):
            out.write(block)
            state.update(block)


def install_words(name: str) -> str:
    """What carries a model of the list, as `pip install` is told."""
    packages = [entry.get("packages", {}).get("install", "") for entry in _listed() if entry["name"] == name]
    return packages[0] if packages else ""


def how_to_get() -> str:
    """How a person comes by a model, as the end of a sentence."""
    carried = next(entry["packages"]["install"] for entry in _listed() if "packages" in entry)
    return f"`pip install {carried}` brings Whisper base, whisper:FOLDER takes any folder of faster-whisper's"


def choose(name: str, language: str) -> Model:
    """The model meant by `name` ("" means the best there is) for a language, its folder not yet joined.

    Raises UsageError for a language or name that does not fit, VoicewrightError in one sentence that
    says what to install.
    """
    if not installed():
        raise VoicewrightError(f"The recogniser faster-whisper is not installed: run `{INSTALL}`.")
    found = models()
    english = language.lower().startswith("en")
    if name:
        path = Path(name).expanduser()
        if (path / WEIGHTS).is_file():
            return Model(path.resolve().name, path)
        chosen = next((model for model in found if model.name == name), None)
        if chosen is None:
            there = ", ".join(model.name for model in found) or "none"
            raise VoicewrightError(
                f"The Whisper model {name!r} is not on this machine (there is {there}): give a folder that "
                f"holds {WEIGHTS}, or use --recogniser auto."
            )
        if chosen.english and not english:
            raise UsageError(f"Whisper {name} hears English only, not {language!r}: name another model.")
        return chosen
    fitting = [model for model in found if english or not model.english]
    if not fitting:
        raise VoicewrightError(f"faster-whisper is installed without a model: {how_to_get()}.")
    return fitting[0]


def language_code(language: str) -> str:
    """Whisper's name of one of our languages."""
    plain = language.split("-")[0].lower()
    return str(_table()["languages"].get(plain, plain))


class FasterWhisper:
    """A Whisper model on the CPU, rounded to int8. Deterministic; hears each clip for itself."""

    def __init__(self, model: Model, language: str = "en-us", threads: int = 2) -> None:
        """Raises VoicewrightError for a folder or language that Whisper cannot take."""
        from faster_whisper import WhisperModel

        self.model, self.language = model, language_code(language)
        folder = model.ready().folder
        try:
            self._whisper = WhisperModel(
                str(folder), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True
            )
        except (OSError, ValueError, RuntimeError) as error:
            raise VoicewrightError(
                f"{folder} cannot be opened as a Whisper model ({error}): give a folder of faster-whisper's, "
                "or use --recogniser pocketsphinx."
            ) from error
        known = self._whisper.supported_languages
        if self.language not in known:
            raise VoicewrightError(f"Whisper {model.name} does not know the language {language!r}.")

    @property
    def name(self) -> str:
        return f"faster-whisper {version('faster-whisper')} {self.model.name} {self.language}"

    def hear(self, samples: Samples, rate: int = SAMPLE_RATE) -> Heard:
        """Confidence is the geometric mean of the probabilities of what was written."""
        clip = recogniser_input(samples, rate).astype(np.float32) / 32768
        found, _ = self._whisper.transcribe(
            clip, language=self.language, beam_size=5, temperature=0.0, condition_on_previous_text=False
        )
        segments = list(found)
        text = " ".join(" ".join(segment.text for segment in segments).split())
        tokens = sum(len(segment.tokens) for segment in segments)
        if not text or not tokens:
            return Heard("", 0.0)
        mean = sum(segment.avg_logprob * len(segment.tokens) for segment in segments) / tokens
        return Heard(text, math.exp(min(0.0, mean)), LIMIT)

    def transcribe(self, samples: Samples) -> str:
        return self.hear(samples).text

    def transcribe_many(self, clips: Sequence[Samples], progress: Progress | None = None) -> list[str]:
        heard = []
        for number, clip in enumerate(clips, start=1):
            heard.append(self.transcribe(clip))
            if progress:
                progress(number, len(clips))
        return heard

    def spoken_language(self, samples: Samples, rate: int = SAMPLE_RATE) -> tuple[str, float]:
        """Whisper's code of the language of a clip, and how probable it is."""
        clip = recogniser_input(samples, rate).astype(np.float32) / 32768
        code, probability, _ = self._whisper.detect_language(clip)
        return str(code), float(probability)
