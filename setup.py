"""How the compiled kernels get into a wheel; everything else is said in pyproject.toml.

They are one shared library that needs nothing but the C library, is called through ctypes and chooses the
processor's instruction set when it runs. So one wheel serves every Python (`py3-none`), and its platform is
read from the library itself: the machine that it was compiled for and the oldest glibc that it runs on. A
cross compiler in CC therefore makes another machine's wheel. Without a compiler the wheel has no kernels and
is tagged for any platform; VOICEWRIGHT_KERNELS_REQUIRED=1 makes that an error.
"""

from __future__ import annotations

import os
import re
import shlex
import sysconfig
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

NAME = "_kernels.so"
MACHINES = {62: "x86_64", 183: "aarch64"}
"""Of an ELF header."""
OLDEST = (2, 17)
"""glibc that installers have known by its tag for longest."""


class BuildKernels(build_ext):
    """Compiles with the arguments in pyproject.toml and CFLAGS alone: those that this Python was built with
    name folders of its own machine."""

    def get_ext_filename(self, name: str) -> str:
        return str(Path(*name.split(".")[:-1], NAME))

    def build_extension(self, extension: Extension) -> None:
        if os.environ.get("VOICEWRIGHT_KERNELS_REQUIRED") == "1":
            extension.optional = False
        compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")
        target = Path(self.get_ext_fullpath(extension.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)  # an old one must not go on as the new one
        arguments = [*extension.extra_compile_args, *shlex.split(os.environ.get("CFLAGS", ""))]
        self.spawn([*compiler, *arguments, *extension.sources, "-o", str(target)])


class Wheel(bdist_wheel):
    """Tagged by what lies in it."""

    def get_tag(self) -> tuple[str, str, str]:
        for library in Path(self.bdist_dir).rglob(NAME):
            return "py3", "none", manylinux(library.read_bytes()) or super().get_tag()[2]
        return "py3", "none", "any"


def manylinux(library: bytes) -> str | None:
    """The platform tag of a shared library for Linux (PEP 600); None of any other."""
    machine = MACHINES.get(int.from_bytes(library[18:20], "little"))
    if library[:4] != b"\x7fELF" or machine is None:
        return None
    needed = [(int(major), int(minor)) for major, minor in re.findall(rb"GLIBC_(\d+)\.(\d+)", library)]
    major, minor = max([*needed, OLDEST])
    return f"manylinux_{major}_{minor}_{machine}"


setup(cmdclass={"build_ext": BuildKernels, "bdist_wheel": Wheel})
