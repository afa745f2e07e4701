"""Runs of the lab that are kept whole in reports/examples/, each with its report: `python docs/examples.py RUN…`.

A run is copied as it was sealed, but for the parts of its trials, which its tables have together, and reported on
there. What is left out of a report is the page in HTML: its charts take 5 MB, and `ballast report` makes it anew.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import reports
from harness.records import MANIFEST, Run, read_run

EXAMPLES = Path(__file__).parents[1] / "reports" / "examples"
SEALED = (MANIFEST, "trials.csv", "decisions.jsonl", "events.jsonl", "samples.csv")
HTML = "report.html"
INDEX = """\
# Runs to look at

Measured in the lab, in its own time, as they were sealed, with the reports that `ballast report` makes of them (but for
`report.html`, 5 MB each). What the columns mean: [results.md](../../docs/results.md). How to have the same numbers
again: [reproducing.md](../../docs/reproducing.md). `python docs/examples.py RUN…` writes this folder; a test makes
every report anew and compares its numbers.

| run | trials | of them failed | commit | report |
|---|--:|--:|---|---|
"""


def keep(runs: Sequence[Path], folder: Path = EXAMPLES) -> None:
    """Copy runs into the folder, in place of earlier ones of the same experiments, and report on each.

    Raises:
        RecordsError: a run cannot be read, or a file of it is not what was sealed.
        ReportError: there is nothing to report.

    """
    for run in map(read_run, runs):
        kept = folder / run.manifest["experiment"]["name"] / run.path.name
        shutil.rmtree(kept.parent, ignore_errors=True)
        kept.mkdir(parents=True)
        for name in SEALED:
            shutil.copyfile(run.path / name, kept / name)
        reports.build([kept])
        (kept / HTML).unlink()
    (folder / "README.md").write_text(index(folder), encoding="utf-8")


def places(folder: Path = EXAMPLES) -> list[Path]:
    """Return the folders of all kept runs."""
    return sorted(path.parent for path in folder.glob(f"*/*/{MANIFEST}"))


def index(folder: Path = EXAMPLES) -> str:
    """Return the list of what is kept, as Markdown."""
    return INDEX + "".join(_row(read_run(place), folder) for place in places(folder))


def _row(run: Run, folder: Path) -> str:
    trials = run.trials.drop_duplicates(["block", "order"])
    where = run.path.relative_to(folder)
    failed = int((trials.status != "ok").sum())
    commit = run.manifest["git"]["commit"][:7]
    return f"| `{where}` | {len(trials)} | {failed} | {commit} | [report.pdf]({where}/report.pdf) |\n"


if __name__ == "__main__":
    keep([Path(word) for word in sys.argv[1:]])
