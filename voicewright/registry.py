"""What can be added from outside: engines, converters, tasks, languages, voice formats, commands, servers.

A package adds one by an entry point in a group `voicewright.GROUP`; ours stand in `OURS` in the form that
an entry point has. They are a table here and not entry points of our own, because reading those of all
installed packages takes a good part of what a short `say` takes: it is done only where a name is none of ours
or where all are listed. Source of the form: the packaging specification of entry points.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from voicewright.errors import UsageError, VoicewrightError

PREFIX = "voicewright."
OURS: Mapping[str, Mapping[str, str]] = {
    "engines": {"onnx": "voicewright.engines.onnx_engine"},
    "converters": {
        "beatrice": "voicewright.beatrice.converter",
        "rvc": "voicewright.rvc.converter",
    },
    "voice_formats": {
        "beatrice": "voicewright.beatrice.verbs",
        "rvc": "voicewright.rvc.verbs",
    },
    "tasks": {
        "adapt": "voicewright.jobs.adapt:task",
        "clone": "voicewright.jobs.teach:task",
        "rvc": "voicewright.rvc.task:task",
        "voice": "voicewright.jobs.train:task",
    },
    "languages": {},
    "servers": {
        "w-okada": "voicewright.wokada.serve:serve",
    },
    "commands": {
        "say": "voicewright.cli.say:say",
        "convert": "voicewright.cli.convert:convert",
        "prepare": "voicewright.cli.prepare:prepare",
        "train": "voicewright.cli.train:train",
        "clone": "voicewright.cli.clone:clone",
        "fit": "voicewright.cli.fit:fit",
        "align": "voicewright.cli.align:align",
        "judge": "voicewright.cli.judge:judge",
        "demo": "voicewright.cli.demo:demo",
        "export": "voicewright.cli.export:export",
        "doctor": "voicewright.cli.doctor:doctor",
        "voice": "voicewright.cli.voice:app",
        "models": "voicewright.cli.models:app",
    },
}
"""Group → name → `module` or `module:attribute`."""


@dataclass(frozen=True)
class Plugin:
    """Something that can be loaded by its name; `origin`: the package that brings it."""

    group: str
    name: str
    target: str
    origin: str

    def load(self) -> Any:
        """The module or the attribute of it. Raises VoicewrightError where a stranger's cannot be had."""
        module, _, attribute = self.target.partition(":")
        try:
            found: Any = importlib.import_module(module)
            for name in filter(None, attribute.split(".")):
                found = getattr(found, name)
        except (ImportError, AttributeError) as error:
            if self.origin == "voicewright":
                raise
            raise VoicewrightError(
                f"the plug-in {self.name!r} of {self.origin} cannot be loaded: {error}; update or remove it."
            ) from error
        return found


def ours(group: str) -> dict[str, Plugin]:
    """What the project itself brings."""
    return {name: Plugin(group, name, target, "voicewright") for name, target in OURS[group].items()}


def strangers(group: str) -> dict[str, Plugin]:
    """What other installed packages bring; under names of ours nothing is taken."""
    from importlib.metadata import entry_points

    found = {}
    for point in sorted(entry_points(group=PREFIX + group), key=lambda point: point.name):
        if point.name not in OURS[group]:
            origin = point.dist.name if point.dist is not None else "an unknown package"
            found[point.name] = Plugin(group, point.name, point.value, origin)
    return found


def plugins(group: str) -> dict[str, Plugin]:
    """All of a group by name, ours first."""
    return ours(group) | strangers(group)


def named(group: str, name: str, what: str) -> Plugin:
    """The plug-in of that name. Raises UsageError that lists those there are; `what`: the thing, in words."""
    if (found := ours(group).get(name)) is not None:
        return found
    known = plugins(group)
    if name not in known:
        raise UsageError(f"there is no {what} {name!r}; there are {', '.join(sorted(known)) or 'none'}.")
    return known[name]
