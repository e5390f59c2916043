"""The command line. Results go to standard output, progress to standard error; heavy imports wait.

Exit codes: 0 success, 2 wrong use, 1 any other failure (one sentence on standard error), 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import MutableMapping
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from voicewright import registry
from voicewright.cli.console import mend_streams
from voicewright.cli.console import note as _note
from voicewright.errors import Interrupted, UsageError, VoicewrightError


class _Stopped(Exception):
    """An interrupt with what it says, which click and typer would turn into an exit code alone."""


class Commands(TyperGroup):
    """Our commands, each file loaded when its command is asked for, and those of plug-ins: looked for where a
    name is none of ours, and in the help."""

    @property
    def commands(self) -> MutableMapping[str, Any]:
        """Ours by name, all of them loaded."""
        return {name: self.get_command(None, name) for name in registry.OURS["commands"]}

    @commands.setter
    def commands(self, given: Any) -> None:
        """Typer's own table: empty, as commands are found by the registry."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            raise _Stopped(str(error) if isinstance(error, Interrupted) else "") from error

    def list_commands(self, ctx: Any) -> list[str]:
        return list(registry.plugins("commands"))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        plugin = registry.ours("commands").get(cmd_name) or registry.strangers("commands").get(cmd_name)
        return None if plugin is None else _command(plugin)


def _command(plugin: registry.Plugin) -> Any:
    """A plug-in's function (or Typer) as a command."""
    loaded = plugin.load()
    if not isinstance(loaded, typer.Typer):
        alone = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
        alone.command(plugin.name)(loaded)
        loaded = alone
    made = typer.main.get_command(loaded)
    made.name = plugin.name
    return made


app = typer.Typer(
    help="Give Kokoro-class text-to-speech new voices: prepare recordings, train, speak, judge.",
    cls=Commands,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of failures.")] = False,
) -> None:
    if version:
        from voicewright.version import __version__

        print(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        raise UsageError("name a command; `voicewright --help` lists them.")


def main(arguments: list[str] | None = None) -> int:
    """Run a command line; returns the exit code. Every failure is one sentence on standard error."""
    if arguments is None:  # the process is ours
        mend_streams()
        # Threads that wait for one another sleep instead of spinning. Beside other busy processes, spinning
        # makes speech half as slow again, and worse (benchmarks/busy.py). OpenMP reads this when torch loads.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = given[: given.index("--")] if "--" in given else given
    debug = "--debug" in words
    given = [word for word in words if word != "--debug"] + given[len(words) :]
    try:
        result = app(given, prog_name="voicewright", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except BrokenPipeError:
        # Whoever read our output has gone; keep the interpreter from complaining when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (_Stopped, KeyboardInterrupt, typer.Abort) as error:
        _note((str(error) if isinstance(error, (_Stopped, Interrupted)) else "") or "Interrupted.")
        return 130
    except Exception as error:
        if debug and sys.stderr is not None:
            traceback.print_exc()
        _note(f"voicewright: {_sentence(error)}")
        return int(getattr(error, "exit_code", 1))


def _sentence(error: Exception) -> str:
    if isinstance(error, VoicewrightError):
        return str(error)
    if (message := getattr(error, "format_message", None)) is not None:
        return " ".join(str(message()).split())
    if isinstance(error, MemoryError):
        return "there is not enough memory for this; close other programs or give less at once."
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror or error}."
    if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("voicewright"):
        return f"the package {error.name} is not installed; `voicewright doctor` says which extra brings it."
    return f"unexpected {type(error).__name__}: {error}; run again with --debug and report what it shows."
