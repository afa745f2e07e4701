"""Reports of runs: what was compared, who won by how much, who lost; made from files alone, long after any machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import pandas as pd

from harness.records import stored
from reports import agreement, content, html, pdf, style, tables
from reports.document import Table, write_figures
from reports.findings import Findings, together
from reports.special import asked
from reports.study import ReportError, studies

__all__ = ["ReportError", "build"]


def build(
    run_paths: Sequence[Path],
    baseline: str | None = None,
    out: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Path:
    """Write report.pdf, report.html, tables/ and figures/ of one or more runs; returns the path of the PDF.

    `out` is the folder of the first run unless given. `baseline` is the label, or the policy, that the others are
    compared with; None: the one that the experiment names, or `static`. The same runs give the same bytes. `say` is
    told of each run that is damaged.

    Raises:
        ReportError: nothing to report, or a baseline that no run has.
        RecordsError: a run cannot be read, or the report not be written.

    """
    paths = [Path(path) for path in run_paths]
    found = together([Findings.of(study) for study in studies(paths, baseline)])
    folder = Path(out) if out is not None else paths[0]
    for run in (run for one in found for run in one.study.runs):
        for name, why in run.damage.items():
            say(f"{run.path / name} is damaged: {why}")
    specials = [asked(one) for one in found]
    document = content.document(found, specials)
    frames: dict[str, list[pd.DataFrame]] = {
        "overall": [one.overall for one in found],
        "speedup": [one.guests for one in found],
        "per-block": [one.blocks for one in found],
        "performance": [one.performance for one in found],
        "values": [one.measured for one in found],
        "counters": [one.counters for one in found],
        "guest-counters": [one.guest_counters for one in found],
        "failures": [one.failures.drop(columns="place") for one in found],
    }
    if any(len(one.shadows) for one in found):
        frames["shadows"] = [one.shadows for one in found]
    if any(len(one.noise) for one in found):
        frames["repeatability"] = [one.noise for one in found]
    for special in chain.from_iterable(specials):
        for name, frame in special.frames.items():
            frames.setdefault(name, []).append(frame)
    for real, simulated in agreement.pairs(found):
        frames.setdefault("agreement", []).append(agreement.errors(real, simulated))
        frames.setdefault("ranking", []).append(agreement.ranking(real, simulated))
    with stored(folder), style.applied():
        folder.mkdir(parents=True, exist_ok=True)
        tables.write_csv(frames, folder / "tables")
        tables.write_macros([(one.study, one.overall, one.guests) for one in found], folder / "tables")
        for block in document.blocks:
            if isinstance(block, Table):
                tables.write_latex(block, folder / "tables")
        write_figures(document, folder / "figures")
        html.write(document, folder / "report.html")
        pdf.write(document, folder / "report.pdf")
    return folder / "report.pdf"
