"""How the processes of one run meet, started by torchrun, and take turns in preparing what they train on."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from voicewright.errors import UsageError, VoicewrightError
from voicewright.training.ranks import Ranks, here

LONGEST = timedelta(hours=24)
"""That processes wait for one another: a judgement, or hearing a corpus, may take hours. One that has died is
noticed at once, by its closed connections and by torchrun."""
_GATHERING = 600.0
"""Seconds in which all have to come."""
_MET, _CALLED = "voicewright met", "voicewright called"


def several() -> bool:
    """Whether this process was started as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1 and "RANK" in os.environ


def leads() -> bool:
    """Whether this process is the first, or the only one."""
    return not several() or int(os.environ["RANK"]) == 0


def restarted(ranks: Ranks) -> bool:
    """Whether torchrun has started the run again after a process ended; on other machines it counts none."""
    return ranks.least(-int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))) < 0


@contextmanager
def joined(device: torch.device) -> Generator[Ranks, None, None]:
    """Meet the processes that torchrun started beside this one; a process that is alone meets nobody.

    Raises UsageError where a device cannot be shared so, VoicewrightError where they do not meet.
    """
    if not several() or dist.is_initialized():
        yield here(device)
        return
    number, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if device.type == "cuda":
        torch.cuda.set_device(device)
        if not dist.is_nccl_available():
            raise UsageError("this torch has no NCCL, by which processes on GPUs meet; use --device cpu.")
    try:
        # torchrun keeps one store for all its starts; else the first process has it.
        store = _store(host=number == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True")
        ours = dist.PrefixStore(_meet(store, number, count), store)
        # What lies on the CPU goes by gloo: nobody spins on a GPU while a judgement takes its time.
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=ours, rank=number, world_size=count, timeout=LONGEST)
    except (RuntimeError, ValueError, KeyError) as error:
        raise VoicewrightError(
            f"The {count} processes of this run did not meet ({error}); start them with torchrun, and look "
            "at its --nnodes and --rdzv-endpoint."
        ) from error
    try:
        yield here(device)
    finally:
        dist.destroy_process_group()


def _store(host: bool = False) -> dist.Store:
    place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return dist.TCPStore(*place, is_master=host, wait_for_workers=False, timeout=LONGEST)


def _meet(store: dist.Store, number: int, count: int) -> str:
    """A name for this start of the run, under which what all earlier starts left in the store is not found.

    torchrun counts starts on each machine by itself, so the processes name it: each leaves a word of its own,
    the first one calls all words that it finds, until all have found theirs in the call.
    """
    own, until = uuid.uuid4().hex, time.monotonic() + _GATHERING
    store.set(f"voicewright {number}", own)
    while time.monotonic() < until:
        if number == 0:
            words = [_read(store, f"voicewright {other}") for other in range(count)]
            if all(words):
                call = " ".join(words)
                store.set(_CALLED, call)
                if all(_read(store, f"{_CALLED} {other}") == call for other in range(1, count)):
                    store.set(_MET, call)
                    return call
        else:
            call = _read(store, _CALLED)
            if own in call.split():
                store.set(f"{_CALLED} {number}", call)
                if _read(store, _MET) == call:
                    return call
        time.sleep(0.05)
    raise RuntimeError(f"after {_GATHERING:.0f} s some have not come")


def _read(store: dist.Store, name: str) -> str:
    """What is there under a name; "" where nothing is."""
    return store.get(name).decode() if store.check([name]) else ""


# ── taking turns ──────────────────────────────────────────────────────────────────────────────────────────


def _turns() -> tuple[str, list[str]]:
    """What this process waits for before it prepares, and whom it then lets go on: the very first process,
    then the first of each other machine, then the others of each machine."""
    own = f"machine {os.environ.get('GROUP_RANK', '0')}"
    if leads():
        return "", ["first", own]
    if os.environ.get("LOCAL_RANK", "0") == "0":
        return "first", [own]
    return own, []


def _board() -> dist.Store:
    """Where the processes of this start leave word for one another."""
    store = _store()
    return dist.PrefixStore(store.get(_MET).decode(), store)


def in_turn() -> None:
    """Wait for those who prepare first, so that what is computed once and kept is computed once on a disk."""
    if several() and (wanted := _turns()[0]):
        _board().wait([wanted], LONGEST)


def prepared() -> None:
    """This process has what it trains on: whoever waits to prepare the same may begin."""
    if several():
        for name in _turns()[1]:
            _board().set(name, "1")
