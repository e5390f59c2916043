"""A model with symbols of its own: free slots of its embeddings get the rows of what is nearest to them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from voicewright.catalogue.places import VOICES, read_card, weights_sha256
from voicewright.errors import VoicewrightError
from voicewright.model.adapters import source_of
from voicewright.model.checkpoint import load_model, save_model

TABLES = ("text_encoder.embedding.weight", "bert.embeddings.word_embeddings.weight")
"""The embeddings of symbols: of the text encoder, of PL-BERT."""


def write_extended(source: Path, vocab: Mapping[str, int], nearest: Mapping[str, str], out: Path) -> None:
    """A model's folder with a larger table; whole or not at all. An older one there gives way.

    vocab: the table, in which symbols of `nearest` are new and are begun as these strings of the source's own
    symbols (the mean of all where a string is empty). Voices and card come along. Raises VoicewrightError.
    """
    network, config, _ = load_model(source)
    state = dict(network.state_dict())
    for table in TABLES:
        rows = state[table].clone()
        for symbol, instead in nearest.items():
            slot = vocab[symbol]
            if not slot < len(rows):
                raise VoicewrightError(f"{source} has {len(rows)} slots for symbols; {symbol} wants {slot}.")
            rows[slot] = _begun(rows, instead, config.vocab)
        state[table] = rows
    network.load_state_dict(state)
    work = out.with_name(f".{out.name}.writing")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    origin = source_of(source, weights_sha256(source))
    card = {
        **read_card(source),
        "sha256": origin,
        "base_sha256": weights_sha256(source),
        "new_symbols": dict(nearest),
    }
    save_model(work, network, config.model_copy(update={"vocab": dict(vocab)}), card=card)
    if (source / VOICES).is_dir():
        shutil.copytree(source / VOICES, work / VOICES)
    shutil.rmtree(out, ignore_errors=True)
    work.rename(out)


def _begun(rows: Tensor, instead: str, vocab: Mapping[str, int]) -> Tensor:
    known = [vocab[symbol] for symbol in instead if symbol in vocab] or list(vocab.values())
    return rows[torch.tensor(known)].mean(0)
