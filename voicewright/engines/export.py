"""A model and its voices in the files that the Kokoro world plays: `kokoro`, `onnx`, `sherpa`.

`kokoro`   model.pth, config.json, voices/NAME.pt: what the kokoro package opens.
`onnx`     model.onnx, voices.bin (npz) and voices/NAME.bin (raw): kokoro-onnx, onnxruntime, kokoro.js.
`sherpa`   model.onnx, tokens.txt, voices.bin (raw, all voices), lexicon.txt: sherpa-onnx.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from voicewright.catalogue.places import (
    CARD,
    CONFIG,
    VOICES,
    layers_of,
    read_card,
    resolve_model,
    voice_files,
    weights_file,
)
from voicewright.engines.onnx.compress import PRECISIONS, Precision, compress
from voicewright.engines.onnx.graph import CONVENTIONS, SEED_UNIT, trace
from voicewright.engines.onnx.sherpa import PACK_ROWS, lexicon, tokens, voices
from voicewright.errors import UsageError, VoicewrightError
from voicewright.model.checkpoint import export_kokoro, load_model, write_atomically
from voicewright.model.config import ModelConfig
from voicewright.model.tts.model import TTSModel
from voicewright.storage import digest, refused
from voicewright.units import SAMPLE_RATE
from voicewright.version import __version__
from voicewright.voices.blend import Shelf, parse, read_mix
from voicewright.voices.importing import ready
from voicewright.voices.pack import WIDTH, Voicepack
from voicewright.voices.sources import shelf_of

if TYPE_CHECKING:
    from onnx import ModelProto

Format = Literal["kokoro", "onnx", "sherpa"]
FORMATS: tuple[Format, ...] = ("kokoro", "onnx", "sherpa")


@dataclass(frozen=True)
class Export:
    """What was written: file names within `folder`, with their bytes."""

    folder: Path
    format: str
    precision: str
    convention: str | None
    voices: tuple[str, ...]
    files: Mapping[str, int]


@dataclass(frozen=True)
class _Source:
    """A model as it was found, and the voices that go along."""

    name: str
    model: TTSModel
    config: ModelConfig
    card: Mapping[str, Any]
    digest: str
    packs: Mapping[str, Voicepack]
    adapters: Sequence[Mapping[str, str]] = ()

    @property
    def language(self) -> str:
        named = self.card.get("language")
        return named if isinstance(named, str) else "en-us"

    @property
    def licence(self) -> str:
        return str(self.card.get("licence") or "not stated")


def export(
    model: str | Path | None,
    out: Path,
    format: str = "onnx",
    precision: str = "fp32",
    voices: Sequence[str] = (),
    convention: str = "kokoro-onnx",
    adapters: Sequence[Path | str] = (),
) -> Export:
    """Write a model folder or weights file in another format, into the folder `out` (made when missing).

    voices: names of the model's voices, voicepack files, members of files, or mixes of these, each also as
    NAME=MIX; all of the model's when empty. convention: tensor names of `onnx`, one of CONVENTIONS. adapters:
    merged into the weights. The folder gets its files only when all are whole. Raises UsageError for
    arguments that do not fit each other, VoicewrightError when the model cannot be said in that format.
    """
    _check(out, format, precision, convention)
    notes: list[str] = []
    source = _open(ready(model, adapters, notes.append), voices)
    if source.config.voicewright.decoder != "istftnet":
        raise VoicewrightError(
            f"{source.name} has a {source.config.voicewright.decoder} decoder; exports are made of models "
            "with an iSTFTNet one, as Kokoro has."
        )
    write = {"kokoro": _kokoro, "onnx": _onnx, "sherpa": _sherpa}[format]
    with _all_or_none(out) as work:
        made = write(source, work, precision, convention)
        made += _write_json(work / CARD, {**source.card, "exported": _facts(source, precision)})
    files = [out / path.relative_to(work) for path in made]
    sizes = {str(path.relative_to(out)): path.stat().st_size for path in files}
    used = convention if format == "onnx" else None
    return Export(out, format, precision, used, tuple(source.packs), sizes)


@contextmanager
def _all_or_none(out: Path) -> Iterator[Path]:
    """A folder to write to, whose files go to `out` when the block ends without an error."""
    work = out.with_name(f".{out.name}.{os.getpid()}.exporting")
    shutil.rmtree(work, ignore_errors=True)
    try:
        work.mkdir(parents=True)
        yield work
        for path in sorted(work.rglob("*")):
            if path.is_file():
                target = out / path.relative_to(work)
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
    except OSError as error:
        raise refused(out, error) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _check(out: Path, format: str, precision: str, convention: str) -> None:
    for value, known, what in (
        (format, FORMATS, "format"),
        (precision, PRECISIONS, "precision"),
        (convention, tuple(CONVENTIONS), "convention"),
    ):
        if value not in known:
            raise UsageError(f"there is no {what} {value!r}; choose one of {', '.join(known)}.")
    if format == "kokoro" and precision != "fp32":
        raise UsageError(
            f"the kokoro package reads fp32 only, not {precision}; use --format onnx for smaller files."
        )
    if format != "onnx" and convention != "kokoro-onnx":
        raise UsageError(f"a convention of tensor names is a choice of --format onnx, not of {format}.")
    if out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file; name a folder to export to.")
    if out.suffix in (".onnx", ".pth"):
        raise UsageError(f"{out} looks like a file; an export is several files: name a folder for them.")
    if format != "kokoro":
        import importlib.util

        if importlib.util.find_spec("onnx") is None:
            raise VoicewrightError("the package onnx is not installed: pip install 'voicewright[export]'.")


def _open(model: str | Path | None, voices: Sequence[str]) -> _Source:
    path = resolve_model(model)
    network, config, _ = load_model(path)
    card = read_card(path)
    upon = [{"folder": one.folder.name, "sha256": one.sha256()} for one in layers_of(path)[1]]
    shelf = shelf_of(path)
    packs: dict[str, Voicepack] = {}
    for words in voices or voice_files(path):
        name, pack = _voice(words, shelf)
        if name in packs:
            raise UsageError(f"two voices would be called {name!r}; name one of them: NAME={words}.")
        packs[name] = pack
    return _Source(
        str(card.get("name") or path.stem), network, config, card, digest(weights_file(path)), packs, upon
    )


def _voice(words: str, shelf: Shelf) -> tuple[str, Voicepack]:
    """`kathleen`, `pack.bin`, `bundle.bin:a(2)+tiny`, each also as `NAME=…` -> its name as a file, and rows.

    Raises UsageError for words that mean no voice.
    """
    given, equals, what = words.partition("=")
    if not equals or words in shelf.files or Path(words).is_file():
        given, what = "", words
    mix = parse(what.strip(), shelf)
    name = given.strip() or re.sub(r"[^\w.-]+", "_", mix.name).strip("_.")
    if equals and given and not re.fullmatch(r"\w[\w.-]*", name):
        raise UsageError(f"{given!r} cannot be the name of a voice; use letters, digits, '_', '-' and '.'.")
    return name, read_mix(mix)


def _facts(source: _Source, precision: str) -> dict[str, object]:
    facts: dict[str, object] = {"by": f"voicewright {__version__}", "precision": precision}
    facts["weights_sha256"] = source.digest
    return facts | ({"adapters": list(source.adapters)} if source.adapters else {})


def _write_bytes(path: Path, content: bytes) -> list[Path]:
    write_atomically(path, lambda temporary: temporary.write_bytes(content))
    return [path]


def _write_json(path: Path, content: Mapping[str, object]) -> list[Path]:
    return _write_bytes(path, (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode())


def _write_pack(path: Path, pack: Voicepack) -> list[Path]:
    path.parent.mkdir(parents=True, exist_ok=True)
    pack.write(path)
    return [path]


def _kokoro(source: _Source, out: Path, precision: str, convention: str) -> list[Path]:
    weights = out / "model.pth"
    export_kokoro(source.model, weights)
    files = [weights, *_write_json(out / CONFIG, source.config.model_dump(exclude={"voicewright"}))]
    for name, pack in source.packs.items():
        files += _write_pack(out / VOICES / f"{name}.pt", pack)
    return files


def _onnx(source: _Source, out: Path, precision: str, convention: str) -> list[Path]:
    metadata = _metadata(source, precision, convention)
    files = _write_graph(source, out, precision, convention, metadata)
    files += _write_json(out / CONFIG, source.config.model_dump())
    if source.packs:
        rows = {name: pack.rows for name, pack in source.packs.items()}

        def save(temporary: Path) -> None:
            with temporary.open("wb") as file:  # by name, numpy would add a suffix
                np.savez(file, allow_pickle=False, **rows)

        write_atomically(out / "voices.bin", save)
        files.append(out / "voices.bin")
    for name, pack in source.packs.items():
        files += _write_pack(out / VOICES / f"{name}.bin", pack)
    return files


def _sherpa(source: _Source, out: Path, precision: str, convention: str) -> list[Path]:
    if not source.packs:
        raise UsageError(
            "sherpa-onnx needs at least one voice; the model has none: name voicepack files by --voices."
        )
    names = list(source.packs)
    metadata = _metadata(source, precision, convention) | {
        "model_type": "kokoro",
        "version": "2",
        "has_espeak": "1",  # required by sherpa-onnx before 2.0, which then wants its espeak-ng-data
        "sample_rate": str(SAMPLE_RATE),
        "voice": source.language,
        "language": source.language,
        "style_dim": f"{PACK_ROWS},1,{WIDTH}",
        "n_speakers": str(len(names)),
        "speaker_names": ",".join(names),
        "speaker2id": ",".join(f"{name}->{number}" for number, name in enumerate(names)),
        "id2speaker": ",".join(f"{number}->{name}" for number, name in enumerate(names)),
        "maintainer": "voicewright",
    }
    files = _write_graph(source, out, precision, convention, metadata)
    texts: dict[str, Callable[[], bytes]] = {
        "tokens.txt": lambda: tokens(source.config.vocab),
        "voices.bin": lambda: voices(source.packs.values()),
        "lexicon.txt": lambda: lexicon(source.language, source.config.vocab),
    }
    for name, content in texts.items():
        if made := content():
            files += _write_bytes(out / name, made)
    return files


def _metadata(source: _Source, precision: str, convention: str) -> dict[str, str]:
    """Facts of the file itself; kokoro-onnx reads its vocabulary from `kokoro_config`, our engine
    all of it."""
    return {
        "kokoro_config": source.config.model_dump_json(),
        "voicewright": __version__,
        "name": source.name,
        "licence": source.licence,
        "language": source.language,
        "voices": ",".join(source.packs),
        "default_voice": str(source.card.get("voice") or next(iter(source.packs), "")),
        "precision": precision,
        "convention": convention,
        "weights_sha256": source.digest,
        "seed": f"tokens[0] div {SEED_UNIT}",
    }


def _write_graph(
    source: _Source, out: Path, precision: str, convention: str, metadata: Mapping[str, str]
) -> list[Path]:
    import onnx

    proto: ModelProto = trace(source.model, convention)
    kind: Precision = precision  # type: ignore[assignment]
    compress(proto, kind)
    onnx.helper.set_model_props(proto, dict(metadata))
    onnx.checker.check_model(proto)
    path = out / "model.onnx"
    write_atomically(path, lambda temporary: onnx.save(proto, str(temporary)))
    return [path]
