"""Work spread over processes: the results come back in any order, a crash costs one item and not the run."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.context import SpawnContext, SpawnProcess
from types import ModuleType
from typing import Any, TypeVar

J = TypeVar("J")
R = TypeVar("R")

Make = Callable[[], Callable[[J], R]]
"""Builds, once a process, what does the work (a front end, a recogniser). Picklable."""


@dataclass(frozen=True)
class Crashed:
    """In place of a result: the process that worked on this item died."""


class _Worker:
    """The one worker of a child process, set by the pool's initializer."""

    work: Callable[[Any], Any]


class _Child(SpawnProcess):
    """A process that does not run the caller's script once more, so that it needs no main guard."""

    def start(self) -> None:
        script = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")  # what a child is told to run first
        try:
            super().start()
        finally:
            sys.modules["__main__"] = script


class _Apart(SpawnContext):
    """Not fork: the caller may have threads (torch), and a forked child inherits their locks."""

    Process = _Child


def _start(make: Callable[[], Callable[[Any], Any]]) -> None:
    # The parent alone answers Ctrl-C; children end with it, also when it is killed.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    _Worker.work = staticmethod(make())


def _end_with(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()
    os._exit(1)


@contextmanager
def _no_interrupt() -> Iterator[None]:
    """Ctrl-C waits; a process begun meanwhile keeps it waiting, through its imports."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _run_batch(batch: Sequence[Any]) -> list[Any]:
    return [_Worker.work(job) for job in batch]


def spread(
    jobs: Sequence[J], make: Make[J, R], workers: int, batch: int = 8
) -> Generator[tuple[int, R | Crashed], None, None]:
    """Yield (index into jobs, result) as results come. One worker runs in this process.

    What the work raises is raised here, and the rest is abandoned.
    """
    if workers <= 1 or len(jobs) <= 1:
        work = make() if jobs else None
        for index, job in enumerate(jobs):
            assert work is not None
            yield index, work(job)
        return
    batches = [range(start, min(start + batch, len(jobs))) for start in range(0, len(jobs), batch)]
    broken: list[int] = []
    workers = min(workers, len(batches))
    for indices, results in _pooled(jobs, batches, make, workers):
        if results is None:
            broken += indices
        else:
            yield from zip(indices, results, strict=True)
    # One of these ends its process: each alone now, to know which.
    for index in broken:
        for _, results in _pooled(jobs, [range(index, index + 1)], make, 1):
            yield index, Crashed() if results is None else results[0]


def _pooled(
    jobs: Sequence[J], batches: Sequence[range], make: Make[J, R], workers: int
) -> Iterator[tuple[range, list[R] | None]]:
    """Results of batches as they come; None for every batch that was not finished when a process died."""
    # What the caller's script itself defines is found by running it: then it does need a guard.
    own = b"__main__" in pickle.dumps(make)
    context = multiprocessing.get_context("spawn") if own else _Apart()
    pool = ProcessPoolExecutor(workers, context, _start, (make,))
    waiting = iter(batches)
    running: dict[Future[list[R]], range] = {}
    dead = False
    try:
        while True:
            while not dead and len(running) < 3 * workers and (indices := next(waiting, None)) is not None:
                try:
                    with _no_interrupt():
                        running[pool.submit(_run_batch, [jobs[i] for i in indices])] = indices
                except BrokenProcessPool:
                    dead = True
                    yield indices, None
            if not running:
                break
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                indices = running.pop(future)
                try:
                    yield indices, future.result()
                except BrokenProcessPool:
                    dead = True
                    yield indices, None
        yield from ((indices, None) for indices in waiting)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
