"""The tables of docs/simulator.md that say what `ballast` reaches: kept from simulated runs, written between markers.

    .venv/bin/python docs/mixes.py --copies FOLDER   # the mixes in other conditions, to be simulated
    .venv/bin/python docs/mixes.py RUN…              # keep what these runs reached, then write the pages anew
    .venv/bin/python docs/mixes.py                   # only write the pages anew, from what is kept

A RUN is the folder of a whole simulated run of `experiments/e09-….yml`, of `experiments/held-out/….yml`, of
`e16-ablation` or `e16-two-state`, or of a copy.
What is kept is `docs/simulated/mixes.csv`, a row a mix, condition and policy: the median over blocks of the geometric
mean over guests of performance, unconstrained 1; and the least that any guest had of what it had under `static`, over
all blocks.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs import reached
from docs.commands import command_line
from harness.records import RecordsError, write_whole
from harness.simulator.machine import load_machine
from harness.statistics import BOUNDS
from reports import summary
from reports.findings import Findings
from reports.special.measure import NORMALISED, blocks_of, measure_of
from reports.study import ReportError, Study, studies

PROJECT = Path(__file__).parents[1]
KEPT = Path("docs/simulated/mixes.csv")
PAGES = (Path("docs/simulator.md"), Path("README.md"))
HELD_OUT = PROJECT / "experiments" / "held-out"
STATIC = "static"
CALLED = re.compile(r"(\d+) ([^,)]+)")
"""What a sweep's name says that its levels are: mix (1 swings, 2 steady)."""
SLOWER: Mapping[str, float] = {"disks 10 times slower": 10.0, "10 times faster": 0.1}
PERIODS_S: Mapping[str, float] = {"every 1 s": 1.0, "every 5 s": 5.0, "every 10 s": 10.0}
"""Conditions of the copies, in the words of the table; the mixes themselves decide every 2 s."""
FREE = 100.0
"""So many times as fast is as good as free."""
SOONER_S = 0.5
LIMITED = ("e09-leak.yml", "e09-shares.yml", "held-out/jumps.yml")
"""Mixes of which it is simulated what stands between policies and the bound: in the second the gap stays open."""
RIVALS = (STATIC, "price", "miss-ratio", "dynamic-baseline", "qmemman", "pressure", "ballast", "unconstrained")


def copies(folder: Path) -> None:
    """Write the mixes once for each condition, one block of the strongest policies, as `CONDITION/MIX.yml`.

    And all, in all their blocks, with what makes nobody wait, and with the bound when it has nobody to follow.
    """
    experiments = PROJECT / "experiments"
    ways = [(path, conditions(), RIVALS) for path in sorted(experiments.glob("e09-*.yml"))]
    ways += [(experiments / name, limits(), (*RIVALS, "informed")) for name in LIMITED]
    alone = {
        reached.SPARING: {
            "policies": [STATIC, {"name": "ballast", "bear": 0.0, "label": reached.SPARING}, "unconstrained"]
        },
        reached.PLANNING: {"policies": [STATIC, "informed", "unconstrained"]},
    }
    ways += [(path, alone, ()) for path in sorted([*experiments.glob("e09-*.yml"), *HELD_OUT.glob("*.yml")])]
    for path, changes, policies in ways:
        mix = yaml.safe_load(path.read_text(encoding="utf-8"))
        if "unconstrained" not in mix["policies"]:  # for the lab
            continue
        mix.pop("judged_by", None)  # it names policies that a copy may not have
        fewer = {"policies": list(policies), "repetitions": 1} if policies else {}
        for condition, change in changes.items():
            copy = folder / condition.replace(" ", "-") / path.name
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_text(yaml.safe_dump({**mix, **fewer, **change}), encoding="utf-8")


def limits() -> Mapping[str, Mapping[str, Any]]:
    """Return what can be taken away of what stands between a policy and the bound → the keys that do so."""
    machine = load_machine()
    moving = {"balloon_mib_s": machine.balloon_mib_s * FREE}
    writing = {name: getattr(machine, name) * FREE for name in ("swap_write_mib_s", "reclaim_mib_s")}
    sooner = {"period_s": SOONER_S}
    return {
        "none of them": {"machine": {**moving, **writing}, **sooner},
        "moving is free": {"machine": moving},
        "writing out is free": {"machine": writing},
        "decisions every 0.5 s": sooner,
    }


def conditions() -> Mapping[str, Mapping[str, Any]]:
    """Return condition → the keys of an experiment that make it."""
    machine = load_machine()
    disks = {
        told: {
            "machine": {
                **{name: getattr(machine, name) * k for name in ("fault_s", "scan_fault_s", "file_fault_s")},
                **{name: getattr(machine, name) / k for name in ("swap_write_mib_s", "disk_mib_s")},
            }
        }
        for told, k in SLOWER.items()
    }
    return {**disks, **{told: {"period_s": period_s} for told, period_s in PERIODS_S.items()}}


def keep(paths: Sequence[Path], project: Path = PROJECT) -> None:
    """Keep what runs reached, in place of what is kept of the same mixes and conditions.

    Raises:
        ReportError: a run is not simulated, or has no unconstrained trials to hold the others against.
        RecordsError: a run cannot be read.

    """
    new = pd.DataFrame([row for path in paths for study in studies([path]) for row in rows(study)])
    file = project / KEPT
    file.parent.mkdir(exist_ok=True)
    old = reached.read_mixes(file) if file.exists() else new.iloc[:0]
    key = ["mix", "condition"]
    stays = ~old.set_index(key).index.isin(new.set_index(key).index)
    kept = pd.concat([old[stays], new]).sort_values(["held_out", "mix", "condition"], kind="stable")
    write_whole(file, kept.to_csv(index=False, float_format="%.4f"))


def rows(study: Study) -> Iterator[Mapping[str, object]]:
    """Yield a row a mix and policy."""
    if not study.simulated or measure_of(Findings.of(study)) != NORMALISED:
        raise ReportError(f"{study.name}: not a simulated run with unconstrained trials; ballast simulate makes one")
    manifest, names = study.runs[0].manifest, dict(CALLED.findall(study.axis))
    for part in study.parts:
        level = f"{part.level:g}"
        called = f"{names.get(level, level)} (`{study.name}` at {level})" if study.levels else f"`{study.name}`"
        means = blocks_of(part).groupby("label")["geometric_mean"]
        least = summary.per_block(part.against(STATIC)).groupby("label")["worst_speedup"].min()
        for label in study.labels:
            if label in means.groups:
                yield {
                    "mix": called, "held_out": (HELD_OUT / f"{study.name}.yml").exists(),
                    "condition": condition(study), "label": label, "bound": study.policy(label) in BOUNDS,
                    "geometric_mean": means.median()[label], "least_of_static": least.get(label),
                    "blocks": int(means.count()[label]), "date": str(manifest["started_utc"])[:10],
                    "commit": str(manifest["git"]["commit"])[:7],
                }  # fmt: skip


def condition(study: Study) -> str:
    """Return which of the conditions a run had; empty for a mix as it is in its file."""
    if set(study.labels) == {STATIC, reached.SPARING, "unconstrained"}:
        return reached.SPARING
    if set(study.labels) == {STATIC, "informed", "unconstrained"}:
        return reached.PLANNING
    for told, change in {**limits(), **conditions()}.items():  # that with most changes first
        if all(study.experiment(key) == value for key, value in change.items()):
            return told
    return ""


def main() -> int:
    """Keep, and write the pages; the exit code."""
    parser = command_line(__doc__)
    parser.add_argument("runs", nargs="*", type=Path, metavar="RUN")
    parser.add_argument("--copies", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    if arguments.copies:
        copies(arguments.copies)
        return 0
    try:
        if arguments.runs:
            keep(arguments.runs)
    except (ReportError, RecordsError) as error:
        print(error, file=sys.stderr)
        return 2
    kept = reached.read_mixes(PROJECT / KEPT)
    for page in (PROJECT / name for name in PAGES):
        page.write_text(reached.rewritten(page.read_text(encoding="utf-8"), kept, tuple(limits())), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
