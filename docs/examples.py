"""Runs of the lab that are kept whole in reports/examples/, each with its report.

    .venv/bin/python docs/examples.py RUN…

A run is copied as it was sealed, but for the parts of its trials, which its tables have together, and reported on
there; several of one experiment are reported on together besides, as they are one result. What is left out of a report
is the page in HTML: its charts take 5 MB, and `ballast report` makes it anew.
"""

from __future__ import annotations

import shutil
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

import reports
from docs.commands import command_line
from harness.records import MANIFEST, Run, read_run

EXAMPLES = Path(__file__).parents[1] / "reports" / "examples"
SEALED = (MANIFEST, "trials.csv", "decisions.jsonl", "events.jsonl", "samples.csv")
HTML = "report.html"
TOGETHER = "together"
"""The folder of the report over all kept runs of an experiment that has several."""
INDEX = """\
# Runs to look at

Measured in the lab, in its own time, as they were sealed, with the reports that `ballast report` makes of them (but for
`report.html`, 5 MB each). What the columns mean: [results.md](../../docs/results.md). How to have the same numbers
again: [reproducing.md](../../docs/reproducing.md). `together` is the report over all runs of an experiment, which
are one result. `python docs/examples.py RUN…` writes this folder; a test makes every report anew and compares its
numbers.

| run | trials | of them failed | commit | report |
|---|--:|--:|---|---|
"""


def keep(runs: Sequence[Path], folder: Path = EXAMPLES) -> None:
    """Copy runs into the folder, in place of earlier ones of the same experiments, and report on each.

    Raises:
        RecordsError: a run cannot be read, or a file of it is not what was sealed.
        ReportError: there is nothing to report.

    """
    of: dict[str, list[Run]] = defaultdict(list)
    for run in map(read_run, runs):
        of[run.manifest["experiment"]["name"]].append(run)
    for name, same in of.items():
        fresh = folder / f".{name}"  # beside the old: what is kept already may be reported on anew
        shutil.rmtree(fresh, ignore_errors=True)
        for run in same:
            _copy(run, fresh / run.path.name)
        shutil.rmtree(folder / name, ignore_errors=True)
        fresh.rename(folder / name)
        kept = [folder / name / run.path.name for run in same]
        for place in kept:
            _report([place], place)
        if len(kept) > 1:
            _report(kept, folder / name / TOGETHER)
    (folder / "README.md").write_text(index(folder), encoding="utf-8")


def _copy(run: Run, place: Path) -> None:
    place.mkdir(parents=True)
    for name in SEALED:
        shutil.copyfile(run.path / name, place / name)


def _report(runs: Sequence[Path], out: Path) -> None:
    reports.build(runs, out=out)
    (out / HTML).unlink()


def places(folder: Path = EXAMPLES) -> list[Path]:
    """Return the folders of all kept runs."""
    return sorted(path.parent for path in folder.glob(f"*/*/{MANIFEST}"))


def together(folder: Path = EXAMPLES) -> dict[Path, list[Path]]:
    """Return the folder of every report over several kept runs, and those runs."""
    return {
        path: sorted(run.parent for run in path.parent.glob(f"*/{MANIFEST}")) for path in folder.glob(f"*/{TOGETHER}")
    }


def index(folder: Path = EXAMPLES) -> str:
    """Return the list of what is kept, as Markdown."""
    rows = [_row([place], place, folder) for place in places(folder)]
    rows += [_row(runs, place, folder) for place, runs in together(folder).items()]
    return INDEX + "".join(sorted(rows))


def _row(runs: Sequence[Path], place: Path, folder: Path) -> str:
    read = [read_run(run) for run in runs]
    trials = pd.concat([run.trials.drop_duplicates(["block", "order"]) for run in read])
    where = place.relative_to(folder)
    failed = int((trials["status"] != "ok").sum())
    commits = ", ".join(sorted({run.manifest["git"]["commit"][:7] for run in read}))
    return f"| `{where}` | {len(trials)} | {failed} | {commits} | [report.pdf]({where}/report.pdf) |\n"


if __name__ == "__main__":
    parser = command_line(__doc__)
    parser.add_argument("runs", metavar="RUN", nargs="+", type=Path)
    keep(parser.parse_args().runs)
