"""Work in several processes: order, errors, and a process that dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from voicewright.pool import Crashed, spread


@dataclass(frozen=True)
class Make:
    """Work that squares, dies at `deadly` and raises at `faulty`."""

    deadly: tuple[int, ...] = ()
    faulty: int = -1

    def __call__(self) -> Callable[[int], int]:
        def work(number: int) -> int:
            if number in self.deadly:
                os._exit(9)
            if number == self.faulty:
                raise ValueError(f"fault at {number}")
            return number * number

        return work


@pytest.mark.parametrize("workers", [1, 2])
def test_all_results_once(workers: int) -> None:
    jobs = list(range(20))
    results = dict(spread(jobs, Make(), workers, batch=3))
    assert results == {number: number * number for number in jobs}


def test_no_jobs() -> None:
    assert list(spread([], Make(), 2)) == []


@pytest.mark.parametrize("workers", [1, 2])
def test_faults_are_raised_here(workers: int) -> None:
    with pytest.raises(ValueError, match="fault at 5"):
        list(spread(list(range(9)), Make(faulty=5), workers, batch=2))


def test_a_dead_process_costs_its_job_only() -> None:
    results = dict(spread(list(range(9)), Make(deadly=(4,)), 2, batch=3))
    assert isinstance(results.pop(4), Crashed)
    assert results == {number: number * number for number in range(9) if number != 4}


def test_a_script_without_a_main_guard_uses_processes(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "import functools, operator\n"
        "from voicewright.pool import spread\n"
        "make = functools.partial(functools.partial, operator.neg)\n"
        "print(sorted(spread([3, 4, 5, 6], make, 2, batch=1)))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.stdout == "[(0, -3), (1, -4), (2, -5), (3, -6)]\n" and not done.stderr


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no signal masks here")
def test_an_interrupt_does_not_meet_processes_that_are_beginning(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "import functools, operator, os, signal, time\n"
        "from multiprocessing.context import SpawnProcess\n"
        "from voicewright.pool import spread\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background job ignores it
        "begin = SpawnProcess.start\n"
        "def started(process):\n"
        "    begin(process)\n"
        "    time.sleep(0.2)\n"  # it is importing
        "    os.killpg(0, signal.SIGINT)\n"  # as a terminal sends it
        "SpawnProcess.start = started\n"
        "make = functools.partial(functools.partial, operator.neg)\n"
        "try:\n"
        "    print(sorted(spread([3, 4, 5, 6], make, 2, batch=1)))\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
    )
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=120, start_new_session=True
    )
    assert done.stdout == "interrupted\n" and not done.stderr
