"""Mixes of guests drawn by chance, so that nobody chooses by what policies are judged: held-out/drawn-….yml.

    .venv/bin/python docs/drawn.py      # write the files anew; a test holds them against this

The seed is the day on which they were drawn, before any of them was simulated. Guests, what they do, how much and how
fast are drawn; the pool is a part of what they would like together, and each begins with the same part of it.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs.commands import command_line

FOLDER = Path(__file__).parents[1] / "experiments" / "held-out"
SEED, MIXES = 20261128, 6
OUTSIDE_MIB = 115
"""What a guest's kernel, programs and libraries take, about."""
CLAIM = "of guests that chance has drawn no other policy gets more than 1 % more done than ballast"
OURS, BOUNDS = "ballast", ("unconstrained", "informed", "oracle")
Drawn = tuple[str, Mapping[str, Any], int]
"""A workload, its parameters, and how many MiB it would like."""


def _mono(chance: random.Random) -> Drawn:
    low, more = chance.randrange(40, 160, 10), chance.randrange(100, 400, 10)
    rate, hold = chance.choice([5, 10, 15, 25, 40]), chance.choice([5, 10, 20, 40])
    return "mono", {"low_mib": low, "high_mib": low + more, "rate_mib_s": rate, "hold_s": hold}, low + more


def _random(chance: random.Random) -> Drawn:
    size, law = chance.randrange(100, 400, 10), chance.choice(["zipf", "uniform"])
    return "random", {"footprint_mib": size, "law": law, "touches_per_s": chance.choice([500, 1000, 2000, 3000])}, size


def _memtest(chance: random.Random) -> Drawn:
    size = chance.randrange(80, 260, 10)
    return "memtest", {"mib": size}, size


def _scan(chance: random.Random) -> Drawn:
    size = chance.randrange(80, 400, 10)
    return "file-scan", {"files_mib": size, "law": chance.choice(["zipf", "uniform"])}, size


def _idle(chance: random.Random) -> Drawn:
    return "idle", {"committed_mib": chance.randrange(0, 400, 10)}, 0


def _leak(chance: random.Random) -> Drawn:
    live, rate = chance.randrange(40, 120, 10), chance.choice([1, 2, 4])
    return "leak", {"live_mib": live, "rate_mib_s": rate, "most_mib": 500}, live


class Indented(yaml.SafeDumper):
    """Writes lists one step in from their key."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Go one step in."""
        super().increase_indent(flow, indentless=False)


WORK: tuple[Callable[[random.Random], Drawn], ...] = (_mono, _mono, _mono, _random, _random, _memtest, _scan, _leak)


def mixes(seed: int = SEED) -> Mapping[str, str]:
    """Return name → the text of each experiment."""
    chance = random.Random(seed)
    policies = yaml.safe_load((FOLDER / "late.yml").read_text(encoding="utf-8"))["policies"]
    return {f"drawn-{i}": _mix(f"drawn-{i}", chance, policies) for i in range(1, MIXES + 1)}


def _mix(name: str, chance: random.Random, policies: list[Any]) -> str:
    drawn = [chance.choice(WORK)(chance) for _ in range(chance.randint(3, 5))]
    drawn += [_idle(chance) for _ in range(chance.randint(0, 2))]
    likes_mib = sum(mib + OUTSIDE_MIB for _, _, mib in drawn)
    initial_mib = max(170, int(likes_mib * chance.uniform(0.55, 0.9) / len(drawn)))
    guests = [
        {
            "name": f"g{i}", "workload": workload, "with": dict(parameters), "min_mib": 160,
            "initial_mib": initial_mib, "max_mib": 1000,
        }
        for i, (workload, parameters, _) in enumerate(drawn, start=1)
    ]  # fmt: skip
    labels = [one if isinstance(one, str) else one["label"] for one in policies]
    over = [label for label in labels if label not in {OURS, "equal", *BOUNDS}]
    said = {
        "name": name, "claim": CLAIM, "judged_by": [{"policies": [OURS], "at_least": 0.99, "over": over}],
        "figures": ["pareto"],
        "pool_mib": initial_mib * len(drawn), "reserve_mib": 64, "signals": ["page-ages", "swap-trace"],
        "guests": guests, "policies": policies, "repetitions": 6, "duration_s": 150, "period_s": 2,
    }  # fmt: skip
    head = "# Drawn by docs/drawn.py; not to be changed by hand.\n"
    text = yaml.dump(said, Dumper=Indented, sort_keys=False, default_flow_style=None, width=110)
    return head + text.replace("\n      proxmox", f"\n{' ' * len('    over: [')}proxmox")


def main() -> None:
    """Write the files."""
    for name, text in mixes().items():
        (FOLDER / f"{name}.yml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    command_line(__doc__).parse_args()
    main()
