"""The errors a person sees. One sentence each: what, where, what to do. The CLI maps them to exit codes."""

from __future__ import annotations


class VoicewrightError(Exception):
    """A failure worth one sentence to the user. The command ends with exit code 1."""

    exit_code = 1


class UsageError(VoicewrightError):
    """The command was called wrongly (bad option, missing file name). Exit code 2."""

    exit_code = 2


class Interrupted(KeyboardInterrupt):
    """Ctrl-C in work of which something is kept: the sentence says what, and how to go on."""


class Cancelled(VoicewrightError):
    """The person, or the program that asked, wants no more of it. Exit code 130, as after Ctrl-C."""

    exit_code = 130
