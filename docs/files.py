"""Writes ARCHITECTURE.md's list of files from the modules' docstrings; a test holds it true.

python docs/files.py
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BEGIN, END = "<!-- files: written by docs/files.py -->", "<!-- end of files -->"


def sentence(path: Path) -> str:
    """The first sentence of a module's docstring."""
    text = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
    first = " ".join(text.split("\n\n")[0].split())
    return re.split(r"(?<=[a-z0-9`)])\. (?=[A-Z`])", first)[0].rstrip(".")


def listing() -> str:
    """A heading for every folder of the package and a line for every file in it."""
    package = ROOT / "voicewright"
    folders = sorted({path.parent for path in package.rglob("*.py")})
    lines: list[str] = []
    for folder in folders:
        about = sentence(folder / "__init__.py")
        lines += ["", f"### {folder.relative_to(ROOT).as_posix()}/", f"{about}.", ""]
        for path in sorted(folder.glob("*.py")):
            if path.name != "__init__.py":
                lines.append(f"- `{path.name}`: {sentence(path)}.")
    return "\n".join(lines).strip() + "\n"


def page(text: str) -> str:
    """The page with the list in its place."""
    head, rest = text.split(BEGIN)
    return f"{head}{BEGIN}\n{listing()}{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    target = ROOT / "ARCHITECTURE.md"
    target.write_text(page(target.read_text("utf-8")), "utf-8")
