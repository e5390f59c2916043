"""Strangers' files: whatever they hold, nothing in them runs, and one sentence says so."""

from __future__ import annotations

import os
import pickle
import resource
from pathlib import Path

import pytest
from hostile_pickles import Calls, corpus

from voicewright.errors import VoicewrightError
from voicewright.rvc.files.checkpoint import open_voice


def test_nothing_runs_and_one_sentence_says_so(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    folder = tmp_path / "files"
    folder.mkdir()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    count = 0
    for name, content in corpus(marker):
        for suffix in (".pth", ".safetensors"):
            path = folder / f"singer{suffix}"
            path.write_bytes(content)
            with pytest.raises(VoicewrightError) as caught:
                open_voice(path)
            said = str(caught.value)
            assert said.startswith(str(path)) and said.endswith("."), f"{name}: {said}"
            assert "\n" not in said and len(said) < 500, f"{name}: {said}"
            assert not marker.exists(), f"{name} ran"
            path.unlink()
            count += 1
    assert list(tmp_path.iterdir()) == [folder] and list(folder.iterdir()) == []
    assert count > 200
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 400_000, f"{grown} kB more memory"


def test_the_corpus_does_run_where_it_is_believed(tmp_path: Path) -> None:
    """So that the test above cannot pass for want of a bite."""
    marker = tmp_path / "marker"
    pickle.loads(pickle.dumps(Calls(os.system, f"touch {marker}")))
    assert marker.exists()
