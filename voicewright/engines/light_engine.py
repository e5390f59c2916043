"""Speech without torch: NumPy and the compiled kernels, from weights packed once into the cache.

The first start of a model makes the packed file, and needs torch for it; every later one maps it into memory.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from voicewright.catalogue.places import CONFIG, cache_folder, layers_of, resolve_model, weights_file
from voicewright.engines.protocol import Voice
from voicewright.engines.speaking import KEPT_PACKS, WARMING, Heard, Speaking, seed_of
from voicewright.errors import VoicewrightError
from voicewright.model.config import ModelConfig
from voicewright.model.fast.library import VERSION, library
from voicewright.model.fast.library import level as chosen
from voicewright.model.light import packed
from voicewright.model.light.model import LightModel
from voicewright.model.light.packed import Node, Unusable
from voicewright.model.light.statistics import Carried
from voicewright.text.frontend import Tokens
from voicewright.text.vocab import PAD
from voicewright.voices.importing import ready
from voicewright.voices.pack import Voicepack

FORMAT = 1
"""Of the packed tree: raised when `model/light` reads another one."""
_MOST_VOICES = 200
"""Voices whose statistics are kept in the cache, some 150 kB each: mixes are without number."""
FOLDER = "packed"
"""Folder of our cache for weights in the kernels' layouts."""


class LightEngine(Speaking):
    """Speaks as `TorchEngine` does with its fp32 kernels. `opened` makes one."""

    def __init__(
        self,
        model_path: Path,
        lexicon: Path | None,
        notes: list[str],
        config: ModelConfig,
        tree: Node,
        level: int,
        identity: str,
    ) -> None:
        super().__init__(model_path, lexicon, notes)
        self.config = config
        self._model = LightModel(tree, level)
        self._identity = identity
        self._warmed: dict[int, tuple[Voicepack, Carried]] = {}

    def warm(self, voice: Voice | None = None, language: str | None = None) -> None:
        """Do now what the first sound of a stream would wait for: a front end read in, and what the voice's
        statistics are like, from the cache or from a sentence that nobody hears. Raises as `stream`."""
        name, pack = self._voice(voice)
        self.frontend(language or self._language(name)).tokens("One.")
        self._statistics(pack)

    def _known(self, pack: Voicepack, heard: Heard) -> Carried | None:
        """Only what a stream begins with is wanted early: the rest is made while that is heard."""
        if heard:
            return None
        heard[id(pack)] = pack, None
        return self._statistics(pack)

    def _statistics(self, pack: Voicepack) -> Carried:
        """What a voice's statistics are like; the same in every process, so that equal calls stay equal."""
        if id(pack) in self._warmed:
            return self._warmed[id(pack)][1]
        ids = [self.config.vocab[symbol] for symbol in WARMING if symbol in self.config.vocab]
        style = np.ascontiguousarray(pack.style(len(ids)), np.float32).reshape(-1)
        key = hashlib.sha256(self._identity.encode() + style.tobytes()).hexdigest()
        path = cache_folder() / FOLDER / f"voice-{key[:24]}.vwp"
        carried = _read_statistics(path, key)
        if carried is None:
            carried = self._model.listen(np.array([PAD, *ids, PAD]), style)
            stats = {str(site): stats for site, stats in carried.stats.items()}
            self._store(path, key, {"stats": stats})
        self._warmed[id(pack)] = pack, carried
        while len(self._warmed) > KEPT_PACKS:
            del self._warmed[next(iter(self._warmed))]
        return carried

    def _store(self, path: Path, key: str, tree: Node) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if len(list(path.parent.glob("voice-*.vwp"))) < _MOST_VOICES:
                packed.write(path, {"key": key}, tree)
        except (OSError, VoicewrightError):  # said once already, when the weights were packed
            return

    def _synthesise(
        self, tokens: Tokens, pack: Voicepack, speed: float, seed: int, carried: Any
    ) -> tuple[NDArray[np.int64], Iterable[NDArray[np.float32]]]:
        ids = np.array([PAD, *tokens.ids, PAD])
        style = np.ascontiguousarray(pack.style(len(tokens.ids)), np.float32).reshape(-1)
        number = seed_of(seed, tokens.phonemes)
        if carried is not None:
            made, pieces = self._model.speak_windows(ids, style, speed, number, carried)
            return made.durations, pieces
        spoken = self._model.speak(ids, style, speed, number)
        return spoken.durations, [spoken.audio]


def _read_statistics(path: Path, key: str) -> Carried | None:
    try:
        source, tree = packed.read(path)
    except (OSError, Unusable):
        return None
    if source.get("key") != key:
        return None
    return Carried({int(site): np.array(stats) for site, stats in tree["stats"].items()})


def opened(
    model: Path | str | None,
    lexicon: Path | None = None,
    weights: str = "full",
    adapters: Sequence[Path | str] = (),
) -> LightEngine | None:
    """The engine for a model; None where its graph or this installation is not for it (no kernels, or
    switches that are not Kokoro's). weights, adapters: as `TorchEngine`.

    A packed file is made where there is none, or none that fits; could it not be kept, a sentence is among
    the notes that come with the first speech. Raises VoicewrightError when the model cannot be opened.
    """
    if "torch" not in sys.modules:  # threads that wait sleep; OpenMP reads this when the kernels load it
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    kernels, level = library(), chosen()
    if kernels is None or level is None:  # not there, or not wanted
        return None
    notes: list[str] = []
    try:
        path = resolve_model(ready(model, adapters, notes.append))
        base, upon = layers_of(path)
        file = weights_file(base)
    except VoicewrightError:  # another engine's model, or none: that is for the others to say
        return None
    config_path = base / CONFIG
    if not config_path.is_file():  # a bare file says nothing of its graph
        return None
    config = ModelConfig.read(config_path)
    if not packable(config, int(kernels.vw_vector(level))):
        return None
    source = _source(file, config_path, level, weights)
    key: list[object] = [str(file.resolve()), level, weights]
    if upon:  # by content: trained anew, an adapter has its old place
        source["adapters"] = [adapter.sha256() for adapter in upon]
        key.append(source["adapters"])
    name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:24]
    target = cache_folder() / FOLDER / f"{name}.vwp"
    tree = _kept(target, source)
    if tree is None:
        if (tree := _made(path, weights, notes)) is None:
            return None
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            packed.write(target, source, tree)
        except (OSError, VoicewrightError) as error:
            reason = str(error).rstrip(".")
            notes.append(f"the weights are packed anew at every start, as {target} cannot be kept: {reason}.")
    return LightEngine(path, lexicon, notes, config, tree, level, json.dumps(source))


def packable(config: ModelConfig, vector: int) -> bool:
    """Whether `model/light` knows everything that this graph does: Kokoro's own switches, and LSTMs as wide
    as the kernels want for vectors of so many numbers."""
    own = config.voicewright
    return (
        config.hidden_dim % (4 * vector) == 0
        and own.decoder == "istftnet"
        and own.excitation == "sines"
        and own.source_stft == "polar"
        and not own.source_gain
        and own.source_phase_from is None
        and not own.pitch_edges
    )


def _source(file: Path, config: Path, level: int, weights: str) -> Node:
    """What a packed file must have been made of: the weights by size, time and identity of their file, the
    configuration by hash, our formats."""
    told = file.stat()
    return {
        "format": FORMAT,
        "kernels": VERSION,
        "level": level,
        "stored": weights,
        "bytes": told.st_size,
        "changed": told.st_mtime_ns,
        "inode": told.st_ino,
        "config": hashlib.sha256(config.read_bytes()).hexdigest(),
    }


def _kept(path: Path, source: Node) -> Node | None:
    try:
        found, tree = packed.read(path)
    except (OSError, Unusable):
        return None
    return tree if found == source else None


def _made(path: Path, weights: str, notes: list[str]) -> Node | None:
    import torch

    from voicewright.model.checkpoint import load_model
    from voicewright.model.fast.choice import choose
    from voicewright.model.fast.model import FastModel
    from voicewright.model.light.pack import pack

    network, _, _ = load_model(path, None, notes.append, False, weights == "half")
    with torch.inference_mode():
        return pack(FastModel(network, choose("native", weights), consume=True))
