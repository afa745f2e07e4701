"""Compiles a fixed part of the Linux kernel, in its smallest configuration: objects of one folder in each phase.

`prepare` unpacks that part of the distribution's kernel source, configures it and lets the kernel's own make compile
every object once. A run compiles them anew, by the commands that make has written down: make itself starts hundreds of
programs before the first compiler, which takes minutes in an emulated guest.

The result: `objects_per_min`, up to the moment when the last one was finished, since a run has time for few. Every
object that counts must be there as an ELF file.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import signal
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from programs import POLL_S, Failed, Program, ask, conclude, scratch
from touching import Over, Run

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
# gcc starts others; in a PID namespace of their own they end with it.
ENCLOSED = ["unshare", "--pid", "--kill-child", "--"]
MOST = 24  # objects of a phase


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
    everything = [name for objects in chosen(MOST).values() for name in objects]
    for targets in (["tinyconfig"], ["prepare"], everything):
        ask(["make", "-s", "-C", str(tree), *targets], timeout_s=PREPARE_S)
    return {"objects": built(tree, everything)}


def command(tree: Path, name: str) -> list[str]:
    """Return the command that make has written down for an object. Raises Failed when it has not."""
    path = (tree / name).parent / f".{Path(name).name}.cmd"
    try:
        said = path.read_text(encoding="utf-8").splitlines()[0].partition(" := ")[2]
    except (OSError, IndexError):
        raise Failed(f"{path} does not say how to compile; prepare the workload again") from None
    words = shlex.split(said)
    return words[: words.index(";")] if ";" in words else words


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


def compile_all(run: Run, tree: Path, objects: Sequence[str], jobs: int, folder: Path, ended_s: list[float]) -> bool:
    """Compile the objects of a phase, so many at once; whether all were finished before the run ended.

    Adds to `ended_s` when each was.
    """
    waiting, running = list(objects), list[Program]()
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                name = waiting.pop(0)
                running.append(Program([*ENCLOSED, *command(tree, name)], folder / Path(name).name, directory=tree))
            run.sleep_until(time.monotonic() + POLL_S)
            for compiler in [compiler for compiler in running if compiler.status is not None]:
                if compiler.status:
                    raise compiler.failure()
                running.remove(compiler)
                ended_s.append(run.elapsed_s)
    except Over:
        return False
    finally:
        for compiler in running:
            compiler.end(signal.SIGKILL)
    return True


def measure(run: Run, data: str, objects: int, jobs: int) -> Mapping[str, float]:
    """Compile anew, phase after phase, and count what is there."""
    tree, phases = Path(data) / "linux", chosen(objects)
    everything = [name for phase in phases.values() for name in phase]
    for name in everything:
        (tree / name).unlink(missing_ok=True)
    took_s: dict[str, float] = {}
    ended_s: list[float] = []
    with scratch(data) as folder:
        run.begin()
        for phase, names in phases.items():
            begun_s = run.elapsed_s
            if not compile_all(run, tree, names, jobs, folder, ended_s):
                break
            took_s[f"{phase}_s"] = run.elapsed_s - begun_s
            run.progress(f"{phase} is done")
    done, elapsed_s = len(ended_s), run.elapsed_s
    if done > (there := built(tree, everything)):
        raise Failed(f"every compiler ended well, and only {there} of {done} objects are there")
    if not done:
        raise Failed(f"not one object was finished in {elapsed_s:.0f} s")
    return {"objects_per_min": 60 * done / ended_s[-1], "objects": done, "elapsed_s": elapsed_s, **took_s}


def main() -> None:
    """Prepare, or run until all is compiled, the deadline or a signal; then report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prepare", action="store_true", help="unpack and configure the source instead")
    parser.add_argument("--objects", type=int, default=MOST, help="of every phase")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--data", required=True)
    parser.add_argument("--duration-s", type=float, default=PREPARE_S)
    arguments = parser.parse_args()
    run = Run(arguments.duration_s)
    if arguments.prepare:
        run.start()
        conclude(run, lambda: prepare(arguments.data))
    conclude(run, lambda: measure(run, arguments.data, arguments.objects, arguments.jobs))


if __name__ == "__main__":
    main()
