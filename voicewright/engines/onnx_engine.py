"""Speaks with an ONNX file of Kokoro's kind, whoever exported it.

In circulation (names and types differ, the order of inputs does not):
onnx-community, kokoro.js   input_ids int64, style, speed fp32 → waveform
hexgrad's export script     input_ids int64, style, speed int32 → waveform, duration
kokoro-onnx                 tokens int64, style, speed fp32 → audio; newer: duration and `kokoro_config`
voicewright export          either naming, with duration, `kokoro_config` and a seed
fp16 and int8 files keep or change the types of their ends; all is read from the file. torch is not needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicewright.catalogue.places import VOICES, read_card, voice_files
from voicewright.engines.onnx.durations import OUTPUT, with_durations
from voicewright.engines.protocol import SpeakOptions, Speech, Voice
from voicewright.engines.speaking import Heard, Speaking, seed_of
from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.config import ModelConfig
from voicewright.stopping import Cancel
from voicewright.text.frontend import Tokens
from voicewright.text.vocab import KOKORO, PAD
from voicewright.units import FRAME
from voicewright.voices.blend import Shelf
from voicewright.voices.files import pick, read_arrays
from voicewright.voices.pack import Voicepack
from voicewright.voices.sources import refuse_unlike

TITLE = "an ONNX file"
SEED_UNIT = 65_536
"""Files of ours take a seed on the first token (`engines/onnx/graph.py`), and say so in their metadata."""
ESTIMATED = "This file gives no durations: the times of words are estimated from the length of the sound."
_TYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
_QUIET_DB = -38.0
_WINDOW = 240


def find(model: Path | str | None) -> Path | None:
    """The ONNX file that a user's words name: a file, or a folder with one and no other
    weights; else None."""
    if model is None:
        return None
    path = Path(model)
    if path.suffix == ".onnx":
        if not path.is_file():
            raise UsageError(f"there is no file {path}; name an .onnx file that exists.")
        return path
    if path.is_dir() and not any(path.glob("*.safetensors")) and not any(path.glob("*.pth")):
        found = sorted(path.glob("*.onnx"))
        if len(found) > 1:
            names = ", ".join(file.name for file in found)
            raise UsageError(f"{path} holds several models ({names}); name one of them.")
        return found[0] if found else None
    return None


def open(path: Path, lexicon: Path | None) -> OnnxEngine:
    """See `EngineFormat.open`."""
    return OnnxEngine(path, lexicon)


@dataclass(frozen=True)
class Ends:
    """Names and types of a graph's inputs and outputs; durations is None where a file has none."""

    tokens: str
    tokens_type: type
    style: str
    style_type: type
    speed: str
    speed_type: type
    audio: str
    durations: str | None


def read_ends(session: Any, path: Path) -> Ends:
    """Which tensor is which, by name where it is a known one, else by kind. Raises VoicewrightError."""
    inputs = {item.name: item for item in session.get_inputs()}
    outputs = {item.name: item for item in session.get_outputs()}

    def pick(items: Mapping[str, Any], names: tuple[str, ...], fits: Any) -> Any:
        known = [items[name] for name in names if name in items]
        return (known or [item for item in items.values() if fits(item)] or [None])[0]

    whole = ("tensor(int64)", "tensor(int32)")
    tokens = pick(inputs, ("tokens", "input_ids"), lambda x: x.type in whole and len(x.shape) == 2)
    style = pick(inputs, ("style", "ref_s"), lambda x: x.type not in whole and len(x.shape) == 2)
    speed = pick(inputs, ("speed",), lambda x: len(x.shape) < 2)
    audio = pick(outputs, ("audio", "waveform", "output"), lambda x: x.type not in whole)
    durations = pick(outputs, ("duration", "durations", "pred_dur", OUTPUT), lambda x: x.type in whole)
    if None in (tokens, style, speed, audio) or len(inputs) != 3:
        shown = ", ".join(inputs) + " → " + ", ".join(outputs)
        raise VoicewrightError(
            f"{path} is no text-to-speech graph of Kokoro's kind ({shown}); it takes tokens, style and speed."
        )
    types = []
    for item in (tokens, style, speed):
        if item.type not in _TYPES:
            raise VoicewrightError(f"{path}: its input {item.name} is {item.type}, which is not supported.")
        types.append(_TYPES[item.type])
    name = None if durations is None else durations.name
    return Ends(tokens.name, types[0], style.name, types[1], speed.name, types[2], audio.name, name)


class OnnxEngine(Speaking):
    """An ONNX file with the voices beside it (`voices/`, `../voices/`, or a `voices*.bin` or `.npz` bundle).

    The vocabulary is the one inside the file, else a `config.json` or `tokenizer.json` beside it or above it,
    else Kokoro 1.0's. `seed` acts on files that take one (ours); the noise of others is their own.
    Raises VoicewrightError when the file cannot be opened or is of another kind.
    """

    def __init__(self, model: Path | str, lexicon: Path | None = None, threads: int = 0) -> None:
        path = Path(model)
        session = open_session(path, threads)
        ends = read_ends(session, path)
        if ends.durations is None and (more := with_durations(path)) is not None:
            session = open_session(path, threads, more)
            ends = read_ends(session, path)
        metadata: Mapping[str, str] = session.get_modelmeta().custom_metadata_map
        super().__init__(path, lexicon, [])
        self.ends = ends
        self.metadata = metadata
        self.card = _card(path, metadata)
        self.config = _config(path, metadata)
        self._files, self._bundled = _voices(path)
        self.network = OnnxNetwork(session, ends, path, self.config.vocab, "seed" in metadata)

    @property
    def name(self) -> str:
        return str(self.card.get("name") or self.model_path.stem)

    @property
    def _timed_by_ear(self) -> bool:  # type: ignore[override]
        return self.ends.durations is None

    def parts(self, text: str, options: SpeakOptions, cancel: Cancel | None = None) -> Iterator[Speech]:
        """See `Engine.parts`; the first part says so when word times are estimates."""
        parts = super().parts(text, options, cancel)
        return parts if self.ends.durations is not None else _told(parts)

    def warm(self, voice: Voice | None = None, language: str | None = None) -> None:
        """Read a front end in, and the voice. Raises as `parts`."""
        name, _ = self._voice(voice)
        self.frontend(language or self._language(name)).tokens("One.")

    def _known(self, pack: Voicepack, heard: Heard) -> None:
        return None  # a graph gives an utterance in one piece

    def _synthesise(
        self, tokens: Tokens, pack: Voicepack, speed: float, seed: int, carried: object
    ) -> tuple[NDArray[np.int64], Iterable[NDArray[np.float32]]]:
        ids = np.array([[PAD, *tokens.ids, PAD]], np.int64)
        style = np.ascontiguousarray(pack.style(len(tokens.ids)), np.float32)[None]
        audio, durations = self.network.speak(ids, style, speed, seed_of(seed, tokens.phonemes))
        return durations, [audio]

    def _shelf(self) -> Shelf:
        return _shelf_of(self._files, self._bundled, False, self.name)

    def _is_own(self, path: Path) -> bool:
        return path in self._bundled.values() or super()._is_own(path)

    def _foreign(self, words: str, pack: Voicepack) -> Voicepack:
        if not self._bundled:
            return super()._foreign(words, pack)
        member, bundle = next(iter(self._bundled.items()))
        _, rows = pick(read_arrays(bundle), bundle, member)
        refuse_unlike(words, pack, self.name, Voicepack.of(rows, member))
        return pack


class OnnxNetwork:
    """A session as a network that speaks."""

    def __init__(self, session: Any, ends: Ends, path: Path, vocab: Mapping[str, int], seeded: bool) -> None:
        self._session = session
        self._ends = ends
        self._path = path
        self._symbols = {number: symbol for symbol, number in vocab.items()}
        self._seeded = seeded

    def speak(
        self, ids: NDArray[np.int64], style: NDArray[np.float32], speed: float = 1.0, seed: int | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """ids int64 [1,T] with pads, style [1,256] → audio [600F], durations [T] that sum to F."""
        ends = self._ends
        if issubclass(ends.speed_type, np.integer) and speed != int(speed):
            raise UsageError(
                f"{self._path} was exported for whole speeds only, so {speed:g} cannot be spoken; use 1 or "
                "2, or export the model again."
            )
        given = ids.copy()
        if self._seeded and seed is not None:
            given[0, 0] += SEED_UNIT * (seed % 2**31)
        feed: dict[str, NDArray[Any]] = {
            ends.tokens: given.astype(ends.tokens_type),
            ends.style: style.astype(ends.style_type),
            ends.speed: np.array([speed], dtype=ends.speed_type),
        }
        wanted = [ends.audio] if ends.durations is None else [ends.audio, ends.durations]
        try:
            made = self._session.run(wanted, feed)
        except Exception as error:  # onnxruntime has no common class for its errors
            raise VoicewrightError(
                f"{self._path} failed on {ids.shape[1]} tokens: {str(error).splitlines()[0][:160]}; the file "
                "is damaged or of another kind."
            ) from error
        audio = np.asarray(made[0], dtype=np.float32).ravel()
        if ends.durations is None:
            audio = np.pad(audio, (0, -len(audio) % FRAME))
            durations = estimate(audio, [self._symbols.get(int(x), "") for x in ids[0]])
        else:
            durations = np.asarray(made[1]).ravel().astype(np.int64)
        if len(durations) != ids.shape[1] or int(durations.sum()) * FRAME != len(audio):
            raise VoicewrightError(
                f"{self._path}: {len(audio)} samples and durations of {int(durations.sum())} frames do not "
                "belong together; the file is of another kind."
            )
        return audio, durations


def estimate(audio: NDArray[np.float32], symbols: list[str]) -> NDArray[np.int64]:
    """Durations in frames, at least 1 each, summing to the audio's [600F]: a guess from the sound's extent.

    symbols: one a token, "" for pads. What is quiet at both ends belongs to the pads; between, time is shared
    by the kind of symbol.
    """
    frames = len(audio) // FRAME
    level = np.sqrt(np.square(audio[: len(audio) // _WINDOW * _WINDOW].reshape(-1, _WINDOW)).mean(1))
    loud = np.flatnonzero(level > level.max(initial=0.0) * 10 ** (_QUIET_DB / 20))
    lead = int(loud[0]) * _WINDOW // FRAME if len(loud) else 0
    tail = frames - -(-(int(loud[-1]) + 1) * _WINDOW // FRAME) if len(loud) else 0
    weights = np.array([_weight(symbol) for symbol in symbols[1:-1]] or [1.0])
    spare = frames - lead - tail - len(symbols)
    if spare < 0:  # hardly louder than its edges: share all of it
        lead = tail = 0
        spare = max(frames - len(symbols), 0)
    shares = np.diff(np.concatenate([[0], np.rint(np.cumsum(weights) / weights.sum() * spare)])).astype(
        np.int64
    )
    inner = shares + 1 if len(symbols) > 2 else shares[:0]
    durations = np.concatenate([[lead + 1], inner, [tail + 1]]).astype(np.int64)
    durations[-1] += frames - durations.sum()
    return durations


def _weight(symbol: str) -> float:
    if symbol in "ˈˌ":
        return 0.4
    if symbol in ".!?…;:—":
        return 6.0
    if symbol == ",":
        return 4.0
    if symbol in "AIOQWYɑɔæiuɜa":
        return 3.4
    return 1.0 if symbol in " ː" else 2.4


def open_session(path: Path, threads: int = 0, graph: bytes | None = None) -> Any:
    """An onnxruntime session on the CPU, of the file or of `graph` in its place; threads 0 lets it choose.

    Raises VoicewrightError in one sentence.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise VoicewrightError(
            "the package onnxruntime is not installed: pip install 'voicewright[onnx]'."
        ) from error
    if not path.is_file():
        raise UsageError(f"there is no file {path}; name an .onnx file that exists.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(graph or str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has no common class for its errors
        raise VoicewrightError(
            f"{path} is damaged or no ONNX model ({str(error).splitlines()[0][:160]}); copy or export it "
            "again."
        ) from error


def _told(parts: Iterator[Speech]) -> Iterator[Speech]:
    for number, part in enumerate(parts):
        yield part if number else replace(part, warnings=(*part.warnings, ESTIMATED))


def _card(path: Path, metadata: Mapping[str, str]) -> dict[str, object]:
    known = {"name": "name", "licence": "licence", "language": "language", "default_voice": "voice"}
    card: dict[str, object] = {ours: metadata[key] for key, ours in known.items() if metadata.get(key)}
    return {"name": path.stem, **_exported_card(path, metadata), **card}


def _exported_card(path: Path, metadata: Mapping[str, str]) -> dict[str, object]:
    """The card.json of an export of ours, where it is about these weights: it has what training held out."""
    card = read_card(path.parent)
    exported = card.get("exported")
    same = isinstance(exported, dict) and exported.get("weights_sha256") == metadata.get("weights_sha256")
    return dict(card) if same and metadata.get("weights_sha256") else {}


def _config(path: Path, metadata: Mapping[str, str]) -> ModelConfig:
    """The configuration in the file; of files without one only the vocabulary is known."""
    held = metadata.get("kokoro_config")
    try:
        if held:
            return ModelConfig(vocab=_vocab(json.loads(held)) or dict(KOKORO))
        for folder in (path.parent, path.parent.parent):
            for name in ("config.json", "tokenizer.json"):
                beside = folder / name
                if beside.is_file() and (vocab := _vocab(json.loads(beside.read_text("utf-8")))):
                    return ModelConfig(vocab=vocab)
    except (OSError, ValueError, TypeError) as error:
        raise VoicewrightError(f"the vocabulary of {path} cannot be read: {error}.") from error
    return ModelConfig(vocab=dict(KOKORO))


def _vocab(content: object) -> dict[str, int] | None:
    """The vocabulary of a Kokoro config.json, or of a tokenizer.json; the pad is no symbol."""
    if not isinstance(content, dict):
        return None
    found = content.get("vocab")
    if found is None and isinstance(content.get("model"), dict):
        found = content["model"].get("vocab")
    return {str(key): int(value) for key, value in found.items() if int(value) > 0} if found else None


def shelf_beside(path: Path, owner: str | None = None) -> Shelf:
    """The names of an ONNX file's voices, those in bundles too, and any file of the machine."""
    return _shelf_of(*_voices(path), True, owner or path.stem)


def _shelf_of(files: Mapping[str, Path], bundled: Mapping[str, Path], paths: bool, owner: str) -> Shelf:
    single = {name: path for name, path in files.items() if name not in bundled}
    members = {name: (path, name) for name, path in bundled.items()}
    return Shelf(single, members, paths, owner)


def _voices(path: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Voicepack files by name, and of those in bundles the bundle (their path is then only a key)."""
    files: dict[str, Path] = {}
    bundled: dict[str, Path] = {}
    for folder in (path.parent, path.parent.parent):
        if (folder / VOICES).is_dir():
            return voice_files(folder), {}
    for bundle in sorted(path.parent.glob("voices*.bin")) + sorted(path.parent.glob("voices*.npz")):
        try:
            with np.load(bundle, allow_pickle=False) as archive:
                names = list(archive.files)
        except (OSError, ValueError):
            continue  # sherpa-onnx's bundle is raw, without names
        for name in names:
            files[name] = bundle / name
            bundled[name] = bundle
    return dict(sorted(files.items())), bundled
