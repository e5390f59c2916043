"""A script that has imported everything, and is forked for each run: what kills a run pays for no import.

Usage: `with Forked("resume_script") as run: code = run(out, 3, "step")`; codes are those of subprocess.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType

HERE = Path(__file__).parent


class Forked:
    """Runs `main(*words)` of a module of this folder in a child of a process that itself runs nothing."""

    def __init__(self, module: str) -> None:
        command = [sys.executable, __file__, module]
        environment = os.environ | {"OMP_NUM_THREADS": "1"}  # threads would not survive the fork
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE, env=environment
        )

    def __call__(self, *words: object) -> int:
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps([str(word) for word in words]), file=self._process.stdin, flush=True)
        return int(self._process.stdout.readline())

    def __enter__(self) -> Forked:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()


def _serve(name: str) -> None:
    """Answer each line of words with the exit code of a child that has run them."""
    import importlib

    module = importlib.import_module(name)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a run prints is no answer
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                code = module.main(*json.loads(line)) or 0
            except Exception:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(code)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(status, file=answers, flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
