"""Writes docs/commands/: one page a command, from the command line itself; a test holds them true.

python docs/commands.py
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import typer

from voicewright.cli import app

FOLDER = Path(__file__).resolve().parent / "commands"
EXAMPLES: dict[str, tuple[str, ...]] = {
    "say": (
        'voicewright say "Hello there." --model kokoro --voice kathleen -o hello.wav',
        "voicewright say -f book.txt -o book.mp3 --timestamps book.srt",
        'voicewright say "Hello." --through singer.pth -o hello.wav',
    ),
    "convert": (
        "voicewright convert in.wav --to singer.pth --index added_singer.index -o out.wav",
        "voicewright convert --live --to singer.pth",
        "voicewright convert --live-from in.wav --to kathleen -o out.wav --fast",
        "voicewright convert --serve w-okada --to singer.pth",
    ),
    "prepare": ("voicewright prepare recordings -o corpus --consent mine",),
    "train": (
        "voicewright train adapt --corpus corpus --out runs/me",
        "voicewright train finetune --corpus corpus --out runs/mine",
        "voicewright train rvc --corpus corpus --out runs/singer",
        "voicewright train finetune --corpus corpus --out runs/mine --resume",
    ),
    "clone": ("voicewright clone me.wav -o me.pt --consent mine",),
    "fit": ("voicewright fit me.wav -o me.pt --consent mine",),
    "align": ("voicewright align corpus clip-0003 -o picture.png",),
    "judge": ("voicewright judge --model runs/mine --corpus corpus -o report",),
    "demo": ("voicewright demo --recordings folder --consent mine",),
    "export": ("voicewright export runs/mine -o out --format onnx",),
    "doctor": ("voicewright doctor",),
    "voice": (
        "voicewright voice inspect me.pt",
        "voicewright voice blend 'af_bella(2)+af_sky(1)' --model kokoro -o mix.pt",
        "voicewright voice convert me.pt -o me.bin",
    ),
    "models": ("voicewright models list", "voicewright models pull kokoro-v1.0"),
}
FURTHER = {
    "say": ("[languages](../languages.md)", "[from Python](../python.md)"),
    "convert": ("[conversion](../conversion.md)", "[while one speaks](../conversion-live.md)"),
    "train": ("[adapters](../adapt.md)", "[RVC voices](../conversion-training.md)"),
    "clone": ("[how near it comes](../clone.md)", "[fit](../fit.md)"),
    "fit": ("[how near it comes](../fit.md)", "[adapters](../adapt.md)"),
    "judge": ("[what is measured](../judging.md)",),
    "export": ("[who opens what](../export.md)",),
    "voice": ("[voicepacks](../voices.md)", "[RVC's files](../conversion-files.md)"),
    "models": ("[weights that are read](../weights.md)",),
}


def page(name: str, command: Any) -> str:
    """One command, or a group with its verbs, as Markdown."""
    lines = [
        f"# voicewright {name}",
        "",
        "```console",
        *(f"$ {line}" for line in EXAMPLES.get(name, ())),
        "```",
    ]
    if hasattr(command, "commands"):
        lines += ["", inspect.cleandoc(command.help or "")]
        for verb, child in command.commands.items():
            lines += ["", f"## {name} {verb}", *described(child)]
    else:
        lines += described(command)
    if name in FURTHER:
        lines += ["", f"More: {', '.join(FURTHER[name])}."]
    return "\n".join(lines) + "\n"


def described(command: Any) -> list[str]:
    """What a command does, and a table of what it takes."""
    lines = ["", inspect.cleandoc(command.help or ""), "", "| | |", "|---|---|"]
    for parameter in command.params:
        words = " ".join([*parameter.opts, *parameter.secondary_opts])
        if parameter.name == "help":
            continue
        if parameter.param_type_name == "argument":
            words = str(parameter.name).upper()
        default = parameter.default
        told = (parameter.help or "").replace("|", "\\|").strip()
        if default not in (None, False, True, "", ()) and not callable(default):
            told += f" Default: {default}."
        lines.append(f"| `{words}` | {told} |")
    return lines


def pages() -> dict[str, str]:
    """File name → text, the index among them."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    made = {f"{name}.md": page(name, command) for name, command in commands.items()}
    listed = [
        f"- [{name}]({name}.md): {inspect.cleandoc(command.help or '').splitlines()[0]}"
        for name, command in commands.items()
    ]
    ends = (
        "Every command takes `-h`; most take `--json` for one object on standard output. Progress goes to\n"
        "standard error. A command ends with 0, with 2 when it was called wrongly, with 130 after Ctrl-C,\n"
        "with 1 for any other failure, and then says one sentence of what to do.\n"
    )
    made["README.md"] = "\n".join(["# Commands", "", *listed, "", ends])
    return made


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, "utf-8")
