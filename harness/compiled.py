"""The modules that work guest by guest, compiled from their sources as they stand, for simulations of many guests.

mypyc makes C of typed Python; what is simulated stays the same to the last bit. Nothing is compiled unless somebody
asks, and what was is kept under what it was made of: sources that have changed never run as something older.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType

ENVIRONMENT = "BALLAST_COMPILED"
"""Names the folder from which a process and its children import what is compiled."""
ROOT = Path(__file__).parents[1]
MODULES = (
    "harness/governor/health.py", "harness/governor/movement.py", "harness/governor/plan.py",
    "harness/governor/pool.py", "harness/governor/rules.py", "harness/governor/sight.py", "harness/governor/ward.py",
    "harness/simulator/guest.py", "harness/simulator/host.py", "harness/simulator/loads.py",
    "harness/simulator/memory.py", "harness/simulator/passes.py",
)  # fmt: skip
"""What takes most of the time with many guests, and is arithmetic on single numbers."""
SUFFIX = EXTENSION_SUFFIXES[0]
SETUP = """
import sys
from mypyc.build import mypycify
from setuptools import setup
setup(
    name="ballast", packages=[], script_args=["build_ext", "--build-lib", "built", "--build-temp", "objects"],
    ext_modules=mypycify(["--strict", "--config-file=", *sys.argv[1:]], target_dir="c"),
)
"""
LAST_LINES = 8


class CompileError(RuntimeError):
    """It cannot be compiled here; the message says why, and what to do."""


class _Finder(MetaPathFinder):
    """Finds what is compiled before Python finds the sources."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Where the module's machine code is; None for all others."""
        file = self._files.get(fullname)
        return spec_from_file_location(fullname, file) if file else None


def use(folder: Path) -> None:
    """Import what is compiled there from there, from now on."""
    names = {file: file.relative_to(folder).as_posix().removesuffix(SUFFIX) for file in folder.rglob(f"*{SUFFIX}")}
    sys.meta_path.insert(0, _Finder({name.replace("/", "."): file for file, name in names.items()}))


def place(cache: Path) -> Path:
    """The folder for what is made of the present sources by this interpreter and this compiler."""
    digest = hashlib.sha256(f"{sys.version}\n{_compiler()}\n{SETUP}".encode())
    for source in sorted((ROOT / "harness").rglob("*.py")):  # what the modules import is built into them in part
        digest.update(source.read_bytes())
    return cache / "compiled" / digest.hexdigest()[:16]


def build(cache: Path) -> Path:
    """Compile what has not been compiled yet, which takes a minute; return where it is.

    Raises:
        CompileError: a compiler or headers are missing, or they fail.

    """
    folder = place(cache)
    if folder.exists():
        return folder
    require()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        shutil.copytree(ROOT / "harness", Path(work) / "harness", ignore=shutil.ignore_patterns("__pycache__"))
        argv = [sys.executable, "-P", "-c", SETUP, *MODULES]
        made = subprocess.run(argv, cwd=work, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        if made.returncode:
            last = "\n".join((made.stdout + made.stderr).strip().splitlines()[-LAST_LINES:])
            raise CompileError(f"mypyc or the C compiler failed; run without --compiled. It said:\n{last}")
        try:
            (Path(work) / "built").rename(folder)
        except OSError:
            if not folder.exists():  # else somebody was quicker
                raise
    return folder


def require() -> None:
    """Look whether all is there that compiling needs.

    Raises:
        CompileError: naming what is missing and the command that installs it.

    """
    compiler = (sysconfig.get_config_var("CC") or "cc").split()[0]
    if not _compiler():
        raise CompileError(
            "mypyc or setuptools is not installed, and compiling needs both. Install them: "
            ".venv/bin/python -m pip install --require-hashes --no-deps -r requirements-dev.txt"
        )
    header = Path(sysconfig.get_config_var("INCLUDEPY") or sysconfig.get_path("include")) / "Python.h"
    if shutil.which(compiler) is None or not header.is_file():
        raise CompileError(
            f"{compiler} or {header} is missing, and compiling needs both. "
            "Install them: apt-get install gcc python3-dev"
        )


def _compiler() -> str:
    """Its versions; empty where it is not installed."""
    try:
        return f"mypy {version('mypy')}, setuptools {version('setuptools')}"
    except PackageNotFoundError:
        return ""
