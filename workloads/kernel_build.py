"""Compiles a fixed part of the Linux kernel, in its smallest configuration: objects of one folder in each phase.

`prepare` unpacks that part of the distribution's kernel source, configures it and compiles what every object needs
before. A run compiles the objects anew, with the kernel's own make.

The result: `objects_per_min` until the last object was finished; a run that the deadline ends counts what it has. Every
object that counts must be there as an ELF file.
"""

from __future__ import annotations

import argparse
import shutil
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

from programs import Failed, Program, ask, conclude, scratch
from touching import Run

PHASES = {  # there in Linux 6.1 to 6.12, whatever is configured
    "lib": ("ctype", "sort", "bcd", "argv_split", "cmdline", "hexdump", "llist", "list_sort", "bsearch", "plist",
            "errseq", "kstrtox", "uuid", "random32", "ratelimit", "rbtree", "idr", "kobject", "parser", "string",
            "radix-tree", "bitmap", "xarray", "vsprintf"),
    "mm": ("interval_tree", "maccess", "mincore", "msync", "fadvise", "mempool", "highmem", "pagewalk", "mmzone",
           "list_lru", "mprotect", "readahead", "util", "swap", "truncate", "mremap", "oom_kill", "workingset",
           "vmstat", "gup", "rmap", "mmap", "vmalloc", "filemap"),
    "kernel": ("range", "notifier", "ksysfs", "user", "params", "extable", "smpboot", "resource", "capability", "cred",
               "async", "panic", "kthread", "reboot", "softirq", "nsproxy", "pid", "cpu", "ptrace", "exit",
               "workqueue", "sys", "fork", "signal"),
}  # fmt: skip
PARTS = ("Makefile", "Kbuild", "*Kconfig*", "*Kbuild", "arch/x86", "include", "init", "kernel", "lib", "mm", "scripts",
         "security/Makefile", "tools/arch/x86", "tools/build", "tools/include", "tools/objtool", "tools/scripts",
         "usr/Makefile")  # fmt: skip
PREPARE_S = 3600.0
# The compilers that make starts are no children of ours; in a PID namespace of their own they end with make.
MAKE = ["unshare", "--pid", "--kill-child", "--", "make"]


def source() -> Path:
    """Return the newest kernel source of the distribution. Raises Failed when there is none."""
    found = sorted(Path("/usr/src").glob("linux-source-*.tar.*")) + sorted(
        Path("/usr/src").glob("linux-source-*/*.tar.*")
    )
    if not found:
        raise Failed("there is no linux-source-*.tar.* in /usr/src; the workload's packages are missing")
    return found[-1]


def chosen(objects: int) -> dict[str, list[str]]:
    """Return phase → its objects."""
    return {phase: [f"{phase}/{name}.o" for name in names[:objects]] for phase, names in PHASES.items()}


def prepare(data: str) -> Mapping[str, float]:
    """Unpack the source, and compile what comes before every object."""
    tree = Path(data) / "linux"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    archive = source()
    root = archive.name.partition(".tar")[0]
    parts = [f"{root}/{part}" for part in PARTS]
    ask(
        ["tar", "-xf", str(archive), "-C", str(tree), "--strip-components=1", "--wildcards", *parts],
        timeout_s=PREPARE_S,
    )
    for target in ("tinyconfig", "prepare"):
        ask(["make", "-s", "-C", str(tree), target], timeout_s=PREPARE_S)
    return {"files": sum(1 for _ in tree.rglob("*"))}


def built(tree: Path, objects: Sequence[str]) -> int:
    """How many of the objects are finished."""
    return sum(is_object(tree / name) for name in objects)


def is_object(path: Path) -> bool:
    """Whether this is an ELF file."""
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except FileNotFoundError:
        return False


def compile_all(run: Run, tree: Path, phases: Mapping[str, Sequence[str]], jobs: int, folder: Path) -> dict[str, float]:
    """Compile phase after phase until all is done or the run ends; return how long each took."""
    took_s: dict[str, float] = {}
    for phase, objects in phases.items():
        begun_s = run.elapsed_s
        make = Program([*MAKE, "-s", "-C", str(tree), f"-j{jobs}", *objects], folder / f"{phase}.log")
        if make.follow(run) is None:
            make.end(signal.SIGKILL)
            break
        if make.status:
            raise make.failure()
        took_s[phase] = run.elapsed_s - begun_s
        run.progress(f"{phase} is done")
    return took_s


def measure(run: Run, data: str, objects: int, jobs: int) -> Mapping[str, float]:
    """Compile anew, and count what is there."""
    tree, phases = Path(data) / "linux", chosen(objects)
    everything = [name for phase in phases.values() for name in phase]
    for name in everything:
        (tree / name).unlink(missing_ok=True)
    started_s = run.elapsed_s
    with scratch(data) as folder:
        took_s = compile_all(run, tree, phases, jobs, folder)
    done = built(tree, everything)
    if len(took_s) == len(phases) and done < len(everything):
        raise Failed(f"make ended well, and only {done} of {len(everything)} objects are there")
    if not done:
        raise Failed(f"not one object was finished in {run.elapsed_s:.0f} s")
    last = max((tree / name).stat().st_mtime for name in everything if (tree / name).exists())
    return {"objects_per_min": 60 * done / (run.elapsed_s - started_s), "objects": done, "last": last, **took_s}


def main() -> None:
    """Prepare, or run until all is compiled, the deadline or a signal; then report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prepare", action="store_true", help="unpack and configure the source instead")
    parser.add_argument("--objects", type=int, default=24, help="of every phase")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--data", required=True)
    parser.add_argument("--duration-s", type=float, default=PREPARE_S)
    arguments = parser.parse_args()
    run = Run(arguments.duration_s)
    if arguments.prepare:
        conclude(run, lambda: prepare(arguments.data))
    conclude(run, lambda: measure(run, arguments.data, arguments.objects, arguments.jobs))


if __name__ == "__main__":
    main()
