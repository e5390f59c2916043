"""The documents say what is there: every file, every command with its options, every link, every figure."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import re
import shlex
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

import voicewright

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md")),
)


def read(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def test_architecture_lists_the_files_by_their_docstrings() -> None:
    spec = importlib.util.spec_from_file_location("files", ROOT / "docs" / "files.py")
    assert spec is not None and spec.loader is not None
    files = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(files)
    text = read("ARCHITECTURE.md")
    assert files.page(text) == text, "run python docs/files.py"


def test_every_command_has_its_page() -> None:
    spec = importlib.util.spec_from_file_location("commands", ROOT / "docs" / "commands.py")
    assert spec is not None and spec.loader is not None
    commands = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(commands)
    pages = commands.pages()
    assert {path.name for path in (ROOT / "docs" / "commands").glob("*.md")} == set(pages)
    for name, text in pages.items():
        assert read(f"docs/commands/{name}") == text, "run python docs/commands.py"


def test_every_module_says_what_it_is() -> None:
    silent = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "voicewright").rglob("*.py"))
        if len(ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "") < 8
    ]
    assert silent == []


def test_every_public_forward_states_its_shapes() -> None:
    silent = []
    for path in sorted((ROOT / "voicewright").rglob("*.py")):
        for owner in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(owner, ast.ClassDef) and not owner.name.startswith("_"):
                for method in owner.body:
                    if isinstance(method, ast.FunctionDef) and method.name == "forward":
                        told = (ast.get_docstring(method) or "") + (ast.get_docstring(owner) or "")
                        silent += [] if "[" in told else [f"{path.name}: {owner.name}"]
    assert silent == []


def test_folders_do_nothing_when_they_are_imported() -> None:
    """A folder's `__init__.py` is its docstring; the package's own and `cli`'s give names."""
    busy = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "voicewright").glob("*/**/__init__.py")
        if path.parent.name != "cli" and len(ast.parse(path.read_text("utf-8")).body) > 1
    ]
    assert busy == []


def console_commands() -> list[tuple[str, list[str]]]:
    """Every command of the documents' console blocks and recipe headers: (document, words)."""
    found = []
    for name in DOCUMENTS:
        for block in re.findall(r"```console\n(.*?)```", read(name), re.DOTALL):
            for line in block.splitlines():
                if line.startswith("$ "):
                    found += [(name, part) for part in _parts(shlex.split(line[2:], comments=True))]
    for path in sorted((ROOT / "recipes").glob("*.yaml")):
        for line in path.read_text("utf-8").splitlines():
            if re.match(r"#\s+voicewright ", line):
                found.append((path.name, shlex.split(line[1:])))
    return found


def _parts(words: list[str]) -> list[list[str]]:
    """The commands of a pipeline, without what is redirected to."""
    parts: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            parts.append([])
        else:
            parts[-1].append(word)
    return [part[: part.index(">")] if ">" in part else part for part in parts]


def parse(words: list[str]) -> None:
    """Parse `voicewright` arguments as the command line would, without running anything."""
    from voicewright.cli import app

    command: Any = typer.main.get_command(app)
    context = command.make_context("voicewright", list(words))
    while hasattr(command, "resolve_command"):
        rest = [*getattr(context, "_protected_args", []), *context.args]
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, rest, parent=context)


@pytest.mark.parametrize(("document", "words"), console_commands())
def test_commands_exist_with_these_options(document: str, words: list[str]) -> None:
    if words[0] == "voicewright":
        parse(words[1:])
    elif words[0] == "torchrun":
        at = words.index("-m")
        assert words[at + 1] == "voicewright"
        parse(words[at + 2 :])
    elif words[0] == "make":
        assert f"\n{words[1]}:" in read("Makefile")
    else:
        assert words[0] in {"echo", "pip"}


def test_parsing_would_notice() -> None:
    assert len(console_commands()) > 10
    with pytest.raises(Exception, match="--loud"):
        parse(["say", "Hello.", "--loud"])
    with pytest.raises(Exception, match="sing"):
        parse(["sing"])


def test_commands_named_in_passing_exist() -> None:
    from voicewright.cli import app

    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    named = {
        word
        for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
        for word in re.findall(r"`voicewright ([a-z]+)", read(name))
    }
    assert named
    assert named - known == set()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_links_lead_somewhere(name: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", read(name))
    broken = [
        link
        for link in links
        if "://" not in link and not link.startswith("/") and not ((ROOT / name).parent / link).exists()
    ]
    assert broken == []


def test_paths_named_in_readme_exist() -> None:
    named = re.findall(
        r"`((?:recipes|docs|benchmarks|tests)/[\w./-]+)`", read("README.md") + read("CONTRIBUTING.md")
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_reason_codes_and_formats() -> None:
    from voicewright.audio.files import EXTENSIONS, WRITABLE

    rows = {
        row.split("|")[1].strip(): row.split("|")[2]
        for row in read("README.md").splitlines()
        if row.startswith("| ")
    }
    spoken = re.findall(r"\b[a-z0-9]+\b", rows["speech"].split(";")[0])
    assert set(spoken) == set(WRITABLE)
    named = re.findall(r"\b[a-z0-9]+\b", rows["recordings"].split(" and more")[0])
    assert named and set(named) <= EXTENSIONS


def test_languages() -> None:
    from voicewright.text.g2p import LANGUAGES

    assert "docs/languages.md" in read("README.md")
    for code in LANGUAGES:
        assert f"`{code}`" in read("docs/languages.md")


def figures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("figures", ROOT / "docs" / "figures.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_readme_shows_the_card() -> None:
    assert figures().main(["--check"]) == 0, "run python docs/figures.py"


def test_figures_of_a_judgement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = figures()
    estimate = {"value": 0.25, "low": 0.2, "high": 0.3}
    plain = {"value": 0.24, "low": None, "high": None}
    line = {"key": "wer", "label": "Word errors", "unit": "%", "digits": 2, "aim": "≤ 1.1×", "met": True,
            "explanation": "…", "synthesised": estimate, "recordings": plain,
            "copy_synthesis": None}  # fmt: skip
    report = tmp_path / "report.json"
    report.write_text(json.dumps({"conditions": {"utterances": 3}, "summary": [line]}), "utf-8")
    monkeypatch.setattr(module, "CARD", tmp_path / "card.json")
    monkeypatch.setattr(module, "SHORT", tmp_path / "README.md")
    monkeypatch.setattr(module, "PAGE", tmp_path / "page.md")
    (tmp_path / "card.json").write_text('{"name": "tiny"}', "utf-8")
    (tmp_path / "page.md").write_text(f"{module.BEGIN}{module.END}", "utf-8")
    (tmp_path / "README.md").write_text(f"before\n{module.BEGIN}old\n{module.END}\nafter\n", "utf-8")
    assert module.main(["--check"]) == 1
    assert module.main([str(report)]) == 0
    assert module.main(["--check"]) == 0
    text = (tmp_path / "README.md").read_text("utf-8")
    assert "| Word errors, % | 0.25 (0.20 to 0.30) | 0.24 | ≤ 1.1×: met |" in text
    assert "copy-synthesis" not in text  # no line of this judgement has one
    assert "| Word errors, % | 0.25" in (tmp_path / "page.md").read_text("utf-8")
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert json.loads((tmp_path / "card.json").read_text("utf-8"))["name"] == "tiny"


def test_voices_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = figures()
    reports = []
    for name, value in (("a", 0.1), ("b", 0.2)):
        line = {"key": "wer", "label": "Word errors", "unit": "", "digits": 2,
                "synthesised": {"value": value}, "recordings": {"value": 0.05}}  # fmt: skip
        path = tmp_path / f"{name}.json"
        found = {
            "conditions": {"recogniser": "r"},
            "summary": [line],
            "utterances": [{"id": "u1"}, {"id": "u2"}],
        }
        path.write_text(json.dumps(found), "utf-8")
        reports.append(f"{name}={path}")
    page = tmp_path / "judging.md"
    page.write_text(f"before\n{module.BESIDE_BEGIN}old\n{module.BESIDE_END}\n", "utf-8")
    monkeypatch.setattr(module, "JUDGING", page)
    assert module.main(["--beside", *reports]) == 0
    assert (
        "| 2 texts | recordings | a | b |\n|---|---|---|---|\n| Word errors | 0.05 | 0.10 | 0.20 |\n"
        in page.read_text("utf-8")
    )
    other = json.loads((tmp_path / "b.json").read_text("utf-8"))
    other["utterances"].pop()
    (tmp_path / "b.json").write_text(json.dumps(other), "utf-8")
    with pytest.raises(ValueError, match="not judged on the same texts"):
        module.main(["--beside", *reports])


def test_package_data_is_shipped() -> None:
    settings = tomllib.loads(read("pyproject.toml"))["tool"]["setuptools"]["package-data"]["voicewright"]
    package = ROOT / "voicewright"
    shipped = {path for pattern in settings for path in package.glob(pattern) if path.is_file()}
    loose = [
        path.relative_to(ROOT).as_posix()
        for path in package.rglob("*")
        if path.is_file() and path.suffix not in {".py", ".pyc", ".so", ".pyd"} and path not in shipped
    ]
    assert loose == []


def test_changelog_has_this_version() -> None:
    version = tomllib.loads(read("pyproject.toml"))["project"]["version"]
    assert version in read("CHANGELOG.md")


def python_blocks() -> list[tuple[str, int, bool, str]]:
    """(document, number, is it run, code) of every Python block; `no-run` ones need what a test has not."""
    found = []
    for name in DOCUMENTS:
        for number, (mark, code) in enumerate(
            re.findall(r"```python( no-run)?\n(.*?)```", read(name), re.DOTALL)
        ):
            found.append((name, number, not mark, code))
    return found


@pytest.mark.parametrize(("document", "number", "runs", "code"), python_blocks())
def test_python_of_the_documents(
    document: str, number: int, runs: bool, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tree = ast.parse(code)
    if runs:
        exec(compile(tree, f"{document} {number}", "exec"), {})
        return
    for node in ast.walk(tree):  # what it calls of ours has these parameters
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
        ) and node.func.value.id == "voicewright":
            known = inspect.signature(getattr(voicewright, node.func.attr)).parameters
            assert {str(word.arg) for word in node.keywords} <= set(known)


def test_there_are_python_blocks_that_run() -> None:
    assert sum(runs for _, _, runs, _ in python_blocks()) >= 5
