"""Checks of a lab that is up, which take their time: whether its machines compute right while all of them are busy."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from harness.lab import access
from harness.lab.lab import Lab

CHECK_S = 20.0
"""Enough by far: in a lab booted with `spec-ctrl=no` four of five rounds were corrupt, in dom0 and in every guest."""
PATIENCE_S = 120.0
"""For busy machines to let us in and to answer."""
PROGRAM = Path(__file__).with_name("vectors.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """What one machine found out about its vector registers."""

    machine: str
    rounds: int = 0
    corrupt: int = 0
    fault: str = ""
    """Why it could not find out; empty: it could."""


def vector_registers(lab: Lab, seconds: float = CHECK_S) -> Iterator[Held]:
    """Check dom0 and all guests at the same time.

    Raises:
        LabError: the lab went away.

    """
    names = [str(machine["name"]) for machine in access.machines(lab)]
    commands = {name: [*access.ssh_command(lab, name), "-T", "python3", "-", str(seconds)] for name in names}
    with ThreadPoolExecutor(len(names)) as pool:
        yield from pool.map(lambda name: _ask(name, commands[name], seconds), names)


def _ask(machine: str, command: list[str], seconds: float) -> Held:
    try:
        done = subprocess.run(
            command,
            input=PROGRAM.read_text(),
            capture_output=True,
            text=True,
            timeout=seconds + PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Held(machine=machine, fault=f"no answer within {seconds + PATIENCE_S:.0f} s")
    last = (done.stdout.strip() or done.stderr.strip() or "it says nothing").splitlines()[-1]
    if done.returncode != 0:
        return Held(machine=machine, fault=f"exit {done.returncode}: {last}")
    try:
        return Held(machine=machine, **json.loads(last))
    except (ValueError, TypeError):
        return Held(machine=machine, fault=f"it says {last[:80]!r}")
