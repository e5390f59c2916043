"""Do two checkouts give the same? What the commands print and write, recorded as hashes and compared.

    python benchmarks/golden.py record CHECKOUT RECORD.json [--only REGEX]
    python benchmarks/golden.py compare OLD.json NEW.json [NEW2.json]

A record is worth something only beside one of the same machine and packages: sums of floats differ between
processors. Give `compare` a second record of the same checkout, and what varies by itself (a path, a time)
is left out. Every command runs in a process of its own with one thread, in a folder of its own, where only
relative names occur. Files of sound and tables are compared as bytes, JSON without times and places.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TEXT = "Dr. Smith paid $12.50 on May 3rd, 1998. It's a long way (they said) to the sea - 14 km!"
CALLS: dict[str, str] = {
    "say": "say '{text}' --model tiny -o a.wav --timestamps a.json --json",
    "say-speed": "say 'Hello there.' --model tiny --speed 1.4 --seed 3 -o a.flac --timestamps a.srt",
    "say-markup": "say 'One [pause:0.4s] two [rate:1.3]three four[/rate] five.' --model tiny -o a.wav --json",
    "say-fr": "say 'Le 3 mai, il fait 25 degrés.' --model tiny --language fr-fr -o a.wav --json",
    "say-de": "say 'Am 3. Mai kostet es 12,50 Euro.' --model tiny --language de -o a.wav --json",
    "say-es": "say 'Son las 3 y cuesta 20 €.' --model tiny --language es -o a.wav --json",
    "say-ja": "say '今日は3時に会いましょう。' --model tiny --language ja -o a.wav --json",
    "say-zh": "say '今天是3月5日，我们去学校。' --model tiny --language zh -o a.wav --json",
    "say-pipe": "say 'Down a pipe.' --model tiny -o -",
    "say-half": "say 'Half as large.' --model tiny --weights half -o a.wav",
    "say-onnx": "say 'Out of a file.' --model onnx/model.onnx --voice kathleen -o a.wav --json",
    "say-kathleen": "say 'The boy was there.' --model kathleen -o a.wav --json",
    "say-mix": "say 'Two voices.' --model kokoro --voice 'kathleen(7)+jf_alpha(3)' -o a.wav --json",
    "say-through": "say 'Let it speak.' --model tiny --through tiny -o a.wav --seed 2",
    "say-through-rvc": "say 'Let it speak.' --model tiny --through rvc.pth -o a.wav --pitch 2",
    "voice-inspect": "voice inspect packs/kathleen.pt --json",
    "voice-lint": "voice lint packs/kathleen.pt --json",
    "voice-blend": "voice blend 'kathleen(6)+jf_alpha(4)' --packs packs -o a.pt",
    "voice-convert": "voice convert packs/kathleen.pt -o a.npz",
    "voice-inspect-rvc": "voice inspect rvc.pth --json",
    "voice-inspect-beatrice": "voice inspect beatrice --json",
    "convert-tiny": "convert in.wav --to tiny -o a.wav --json",
    "convert-folder": "convert sounds --to tiny -o out --format flac --pitch 3",
    "convert-rvc": "convert in.wav --to rvc.pth -o a.wav --seed 4 --formant 1 --json",
    "convert-rvc-exact": "convert in.wav --to rvc.pth -o a.wav --exact --method dio",
    "convert-beatrice": "convert in.wav --to beatrice -o a.wav --speaker 1 --pitch 1.5",
    "live-tiny": "convert --live-from in.wav --to tiny -o a.wav --fast --block 0.3",
    "live-rvc": "convert --live-from in.wav --to rvc.pth -o a.wav --fast --pitch 2",
    "live-beatrice": "convert --live-from in.wav --to beatrice -o a.wav --fast",
    "prepare": "prepare clips -o corpus --language en-us --transcribe never --no-verify --json",
    "align": "align corpus s03 -o a.png --json",
    "judge": "judge --corpus corpus --model tiny -o report --most 3 --ids '[036]$' --recogniser pocketsphinx",
    "train-scratch": "train tiny.yaml --corpus corpus -o run --steps 2 --no-judge --device cpu",
    "train-finetune": "train finetune.yaml --corpus corpus -o run --steps 2 --no-judge --device cpu",
    "train-content": "train convert.yaml --corpus corpus -o run --steps 4 --no-judge --device cpu",
    "train-rvc": "train rvc.yaml --corpus corpus -o run --steps 2 --no-judge --device cpu",
    "train-adapt": "train adapt.yaml --corpus corpus -o run --model tiny --steps 2 --no-judge --device cpu",
    "fit": "fit clips -o me.pt --model tiny --crops 4 --language en-us --recogniser pocketsphinx",
    "export-kokoro": "export tiny -o out --format kokoro --json",
    "export-onnx": "export tiny -o out --format onnx --precision int8",
    "export-sherpa": "export tiny -o out --format sherpa",
    "export-adapted": "export kathleen -o out --format kokoro",
    "models-list": "models list --json",
    "doctor": "doctor --json",
    "bad-speed": "say hello --speed 9 -o a.wav",
    "bad-model": "say hello --model nowhere -o a.wav",
    "bad-convert": "convert nowhere.wav -o a.wav",
    "bad-train": "train nowhere.yaml --corpus corpus -o run",
}
"""Name → command line; what is read lies in the folder made by `material`."""
SENTENCES = (Path(__file__).parent / "data" / "harvard.txt").read_text("utf-8").splitlines()[:16]
SHORT = {
    "tiny.yaml": "tiny",
    "finetune.yaml": "finetune",
    "convert.yaml": "convert_tiny",
    "rvc.yaml": "rvc_small",
    "adapt.yaml": "adapt",
}
VARIES = re.compile(r"second|date|time|wall|speed|took|rss|memory|bytes|path|folder|created|version|rtf")


def run(checkout: Path, words: str, place: Path) -> subprocess.CompletedProcess[bytes]:
    env = {
        **os.environ,
        "PYTHONPATH": str(checkout),
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "COLUMNS": "100",
    }
    command = [sys.executable, "-c", "import sys; from voicewright.cli import main; sys.exit(main())"]
    line = words.format(text=TEXT.replace("'", "'\\''"))
    import shlex

    return subprocess.run([*command, *shlex.split(line)], cwd=place, env=env, capture_output=True)


def material(checkout: Path, folder: Path) -> None:
    """Speech of `tiny` as clips, a corpus of them, an RVC voice of two steps, a Beatrice model, packs, ONNX
    files; all by the checkout that is recorded first, and kept for the other."""
    (folder / "clips").mkdir(parents=True)
    (folder / "sounds").mkdir()
    lines = []
    for number, text in enumerate(SENTENCES):
        _must(run(checkout, f'say "{text}" --model tiny --seed {number} -o clips/s{number:02}.wav', folder))
        lines.append(f"s{number:02}|{text}")
    (folder / "clips/metadata.csv").write_text("\n".join(lines) + "\n", "utf-8")
    _must(run(checkout, f'say "{" ".join(SENTENCES[:3])}" --model tiny -o in.wav', folder))
    for name in ("s01", "s02"):
        (folder / f"sounds/{name}.wav").write_bytes((folder / f"clips/{name}.wav").read_bytes())
    _must(run(checkout, CALLS["prepare"], folder))
    for name, recipe in SHORT.items():
        text = (checkout / f"voicewright/recipes/{recipe}.yaml").read_text("utf-8")
        (folder / name).write_text(re.sub(r"precision: \w+", "precision: fp32", text), "utf-8")
    _must(run(checkout, CALLS["train-rvc"], folder))
    rvc = next(path for path in sorted((folder / "run").rglob("*.pth")))
    (folder / "rvc.pth").write_bytes(rvc.read_bytes())
    (folder / "run").rename(folder / "rvc-run")
    (folder / "packs").mkdir()
    for voice in ("kathleen", "jf_alpha"):
        _must(run(checkout, f"voice convert {voice} --model kokoro -o packs/{voice}.pt", folder))
    _must(run(checkout, "export tiny -o onnx --format onnx", folder))
    onnx = next(path for path in sorted((folder / "onnx").glob("*.onnx")))
    onnx.rename(folder / "onnx/model.onnx")
    code = (
        "import sys; sys.path.insert(0, sys.argv[1] + '/tests/support')\n"
        "from pathlib import Path\n"
        "from beatrice_weights import trained\n"
        "from voicewright.model.vc.beatrice.files import save_beatrice\n"
        "from voicewright.model.vc.beatrice.fold import fold\n"
        "from voicewright.model.vc.beatrice.model import BeatriceVoice\n"
        "voices = (BeatriceVoice('Ann', average_pitch=57.0), BeatriceVoice('Bo'))\n"
        "Path('beatrice').mkdir(); save_beatrice(fold(*trained(), voices, 'm'), Path('beatrice'))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(checkout)}
    subprocess.run([sys.executable, "-c", code, str(checkout)], cwd=folder, env=env, check=True)


def _must(done: subprocess.CompletedProcess[bytes]) -> None:
    if done.returncode:
        raise SystemExit(f"{done.args}: {done.stderr.decode()[-2000:]}")


def record(checkout: Path, folder: Path, only: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, words in CALLS.items():
        if not re.search(only, name):
            continue
        with tempfile.TemporaryDirectory() as place:
            work = Path(place)
            for path in folder.iterdir():
                if name == "prepare" and path.name == "corpus":
                    continue
                (work / path.name).symlink_to(path) if path.name != "corpus" else _copy(
                    path, work / path.name
                )
            before = set(work.iterdir())
            began = time.monotonic()
            done = run(checkout, words, work)
            out = done.stdout.decode("utf-8", "replace") if not words.endswith("-o -") else _hash(done.stdout)
            entry = {"code": done.returncode, "out": _print(out, work), "files": {}}
            if done.returncode:
                entry["err"] = _print(done.stderr.decode("utf-8", "replace"), work)
            for path in sorted(work.rglob("*")):
                known = any(path.is_relative_to(old) for old in before) or "tfevents" in path.name
                if path.is_file() and not known:
                    entry["files"][str(path.relative_to(work))] = digest(path)
            found[name] = entry
            print(f"{name}: {done.returncode}, {time.monotonic() - began:.1f} s", flush=True)
    return found


def _copy(source: Path, target: Path) -> None:
    import shutil

    shutil.copytree(source, target)


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def _print(text: str, work: Path) -> Any:
    text = text.replace(str(work), "HERE")
    try:
        return steady(json.loads(text))
    except ValueError:
        return re.sub(r"\d+(\.\d+)? s\b", "N s", text)


def steady(value: Any) -> Any:
    """JSON without what is a time, a size or a place."""
    if isinstance(value, dict):
        return {key: steady(item) for key, item in value.items() if not VARIES.search(key)}
    return [steady(item) for item in value] if isinstance(value, list) else value


def digest(path: Path) -> Any:
    """A file's hash; JSON without times; safetensors without metadata; archives by their members."""
    data = path.read_bytes()
    if path.suffix in (".json", ".jsonl"):
        rows = (
            [json.loads(line) for line in data.decode().splitlines()]
            if path.suffix == ".jsonl"
            else json.loads(data)
        )
        return _hash(json.dumps(steady(rows), sort_keys=True).encode())
    if path.suffix == ".safetensors":
        size = int.from_bytes(data[:8], "little")
        head = json.loads(data[8 : 8 + size])
        head.pop("__metadata__", None)
        return _hash(json.dumps(head, sort_keys=True).encode() + data[8 + size :])
    if path.suffix in (".log", ".html"):
        return "varies"
    return _hash(data)


def differences(old: Any, new: Any, where: str = "") -> dict[str, str]:
    """Place → what stands there in both."""
    if isinstance(old, dict) and isinstance(new, dict):
        found: dict[str, str] = {}
        for key in sorted({*old, *new}):
            found |= differences(old.get(key), new.get(key), f"{where}/{key}")
        return found
    return {} if old == new else {where: f"{str(old)[:160]} → {str(new)[:160]}"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("verb", choices=["record", "compare"])
    parser.add_argument("first", type=Path)
    parser.add_argument("rest", type=Path, nargs="+")
    parser.add_argument("--only", default="")
    parser.add_argument("--material", type=Path, help="Kept between records; made when it is not there.")
    options = parser.parse_args()
    if options.verb == "record":
        checkout, out = options.first.resolve(), options.rest[0]
        folder = (options.material or out.parent / "material").resolve()
        if not folder.is_dir():
            material(checkout, folder)
        found = record(checkout, folder, options.only)
        out.write_text(json.dumps(found, indent=1, ensure_ascii=False), "utf-8")
        return
    records = [json.loads(path.read_text("utf-8")) for path in (options.first, *options.rest)]
    names = set(records[0]) & set(records[1])
    old, new = ({name: one[name] for name in names} for one in records[:2])
    found = differences(old, new)
    loose = (
        differences(
            {n: records[2][n] for n in names if n in records[2]},
            {n: old[n] for n in names if n in records[2]},
        )
        if len(records) > 2
        else {}
    )
    for place, what in found.items():
        if place not in loose:
            print(f"{place}: {what}")
    print(
        f"{len(names)} commands; {len(set(found) - set(loose))} differences; {len(loose)} vary by themselves"
    )
    raise SystemExit(bool(set(found) - set(loose)))


if __name__ == "__main__":
    main()
