"""Reads random blocks of files with fio: how much of them the guest can keep in its page cache decides.

`prepare` writes the files. A run reads them through the page cache, as programs do.

The result: `reads_per_s`; `p99_ms`, how long a read took, with one in a hundred taking longer.
"""

from __future__ import annotations

import argparse
import json
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from programs import CHECK_S, Failed, Program, ask, conclude, scratch
from touching import Run

BLOCK = 4096
PREPARE_S = 1800.0


def job(arguments: argparse.Namespace) -> list[str]:
    """Return fio's description of the files, the same for writing and reading them."""
    files = ["--filename_format=files.$filenum", f"--directory={arguments.data}", f"--nrfiles={arguments.files}"]
    return ["fio", "--name=scan", *files, f"--size={arguments.files_mib}m", "--thread", f"--bs={BLOCK}"]


def prepare(arguments: argparse.Namespace) -> Mapping[str, float]:
    """Write the files."""
    Path(arguments.data).mkdir(parents=True, exist_ok=True)
    ask([*job(arguments), "--rw=randread", "--create_only=1"], timeout_s=PREPARE_S)
    held = sum(path.stat().st_size for path in Path(arguments.data).glob("files.*"))
    if held != arguments.files_mib << 20:
        raise Failed(f"fio wrote {held} bytes, and {arguments.files_mib} MiB were asked for")
    return {"files_mib": arguments.files_mib}


def measure(run: Run, arguments: argparse.Namespace) -> Mapping[str, float]:
    """Read until the deadline."""
    law = "random" if arguments.law == "uniform" else f"zipf:{arguments.exponent}"
    options = ["--rw=randread", "--ioengine=psync", "--file_service_type=random", f"--random_distribution={law}",
               f"--randseed={arguments.seed}", "--norandommap", "--time_based", "--allow_file_create=0"]  # fmt: skip
    pace = [f"--rate_iops={arguments.reads_per_s}"] if arguments.reads_per_s else []
    with scratch(arguments.data) as folder:
        output = folder / "result.json"
        limits = [f"--runtime={round(arguments.duration_s)}", "--output-format=json", f"--output={output}"]
        run.begin()
        fio = Program([*job(arguments), *options, *pace, *limits], folder / "fio.log")
        if fio.follow(run) is None:
            fio.send(signal.SIGINT)  # then it says how far it came, and ends with 128
            fio.wait(CHECK_S)
        elif fio.status:
            raise fio.failure()
        return figures(output.read_text(encoding="utf-8"))


def figures(said: str) -> Mapping[str, float]:
    """Return the result from fio's report. Raises Failed when reads went wrong or there were none."""
    try:
        told: dict[str, Any] = json.loads(said[said.index("{") :])["jobs"][0]
    except ValueError:
        raise Failed(f"fio's report cannot be read: {said.strip()[-300:] or 'it is empty'}") from None
    reads = told["read"]
    if told["error"] or reads["io_bytes"] != BLOCK * reads["total_ios"]:
        raise Failed(f"fio read {reads['io_bytes']} bytes in {reads['total_ios']} reads, error {told['error']}")
    if not reads["total_ios"]:
        raise Failed("not one block was read in time")
    p99_ms = reads["clat_ns"]["percentile"]["99.000000"] / 1e6
    return {"reads_per_s": 1000 * reads["total_ios"] / reads["runtime"], "p99_ms": p99_ms, "reads": reads["total_ios"]}


def main() -> None:
    """Prepare, or run until the deadline or a signal; then report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--prepare", action="store_true", help="write the files instead")
    parser.add_argument("--files", type=int, required=True)
    parser.add_argument("--files-mib", type=int, required=True, help="size of all together")
    parser.add_argument("--law", choices=("uniform", "zipf"), default="uniform")
    parser.add_argument("--exponent", type=float, default=1.0, help="of zipf")
    parser.add_argument("--reads-per-s", type=int, default=0, help="asked for; 0: as many as can be done")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--data", required=True)
    parser.add_argument("--duration-s", type=float, default=PREPARE_S)
    arguments = parser.parse_args()
    run = Run(arguments.duration_s)
    if arguments.prepare:
        run.start()
        conclude(run, lambda: prepare(arguments))
    conclude(run, lambda: measure(run, arguments))


if __name__ == "__main__":
    main()
