"""Reports of runs: what was compared, who won by how much, who lost; made from files alone, long after any machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from pathlib import Path

import pandas as pd

from harness.records import stored, write_whole
from reports import agreement, check, claimed, content, crate, fonts, html, language, style, tables, typeset
from reports.document import Document, Picture, Table, write_figures
from reports.findings import Findings, together
from reports.language import LanguageError
from reports.special import asked
from reports.special.verdict import Special
from reports.study import ReportError, Study, studies

__all__ = ["LanguageError", "ReportError", "build", "compare", "place", "tables_of"]

WRITTEN = ".report-files"
"""Lists what a report wrote into its folder, so that the next one can take away what it does not write any more."""


def build(
    run_paths: Sequence[Path],
    baseline: str | None = None,
    out: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
    speaking: str = language.ENGLISH,
) -> Path:
    """Write report.pdf, report.html, tables/ and figures/ of one or more runs; returns the path of the PDF.

    `out` is the folder of the run unless given; of several runs, one of their own (`place`). `baseline` is the label,
    or the policy, that the others are compared with; None: the one that the experiment names, or `static`. The same
    runs give the same bytes. `say` is told of what is doubtful of a run, and how far the work is. `speaking` is the
    language of what is written for people; names of files, columns and macros are the same in every one.

    Raises:
        ReportError: nothing to report, or a baseline that no run has.
        LanguageError: there is no catalogue of that language.
        RecordsError: a run cannot be read, or the report not be written.

    """
    with language.applied(speaking):
        return _build(run_paths, baseline, out, say)


def _build(run_paths: Sequence[Path], baseline: str | None, out: Path | None, say: Callable[[str], None]) -> Path:
    paths = [Path(path) for path in run_paths]
    found = together([_findings(study, say) for study in studies(paths, baseline, say)])
    folder = Path(out) if out is not None else place(paths)
    specials = [asked(one) for one in found]
    document = content.document(found, specials)
    if lacking := fonts.missing(typeset.texts(document)):
        if fonts.other() is None:
            say(f"no font here has {lacking}, which figures and PDF lack; install {fonts.PACKAGE}, then report again")
        else:
            say(f"no font here has {lacking}, which figures and PDF lack; report.html shows them where a browser can")
    frames = tables_of(found, specials)
    with stored(folder), style.applied():
        folder.mkdir(parents=True, exist_ok=True)
        tables.write_csv(frames, folder / "tables")
        numbers = [(one.study, one.overall, one.guests) for one in found]
        numbers += [other for one in found for other in claimed.against(one)]
        tables.write_macros(numbers, folder / "tables")
        for block in document.blocks:
            if isinstance(block, Table):
                tables.write_latex(block, folder / "tables")
        say(f"drawing figures: {sum(isinstance(block, Picture) for block in document.blocks)}")
        figures = write_figures(document, folder / "figures")
        html.write(document, figures, folder / "report.html")
        say("setting report.pdf")
        typeset.write(document, folder / "report.pdf")
        crate.write([run for one in found for run in one.study.runs], document, folder)
        _forget(folder, document, frames)
    return folder / "report.pdf"


def _findings(study: Study, say: Callable[[str], None]) -> Findings:
    say(f"{study.name} ({study.backend}): comparing")
    return Findings.of(study)


def tables_of(found: Sequence[Findings], specials: Sequence[Sequence[Special]]) -> dict[str, list[pd.DataFrame]]:
    """Return the tables of a report: the name of each in tables/, and its rows study by study."""
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
    if judged := [frame for one in found if len(frame := claimed.frame(one))]:
        frames["claims"] = judged
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
    return frames


def compare(
    run_paths: Sequence[Path],
    earlier: Path,
    tolerance: float,
    baseline: str | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> tuple[list[str], int]:
    """Hold the numbers of runs against the tables of an earlier report; returns what moved, and how many there are.

    Raises:
        ReportError: as `build`, or `earlier` is no folder of a report.
        RecordsError: a run cannot be read.

    """
    paths = [Path(path) for path in run_paths]
    return check.moved(together([Findings.of(study) for study in studies(paths, baseline, say)]), earlier, tolerance)


def place(run_paths: Sequence[Path]) -> Path:
    """Return where a report goes unless that is said: into its run; of several, `reports/` beside the experiments.

    The same runs have the same folder, in whatever order they are named.
    """
    if len(run_paths) == 1:
        return run_paths[0]
    names = sorted(path.resolve().name for path in run_paths)
    digest = hashlib.sha256("\n".join(names).encode()).hexdigest()[:4]
    return run_paths[0].resolve().parent.parent / "reports" / f"{names[-1].partition('-')[0]}-{digest}"


def _forget(folder: Path, document: Document, frames: Mapping[str, Sequence[pd.DataFrame]]) -> None:
    """Remove what an earlier report of this folder wrote and this one did not; nothing that anybody else put there."""
    pictures = [block.name for block in document.blocks if isinstance(block, Picture)]
    written = {f"figures/{name}.{kind}" for name in pictures for kind in ("pdf", "png")}
    written |= {f"tables/{block.name}.tex" for block in document.blocks if isinstance(block, Table)}
    written |= {f"tables/{name}.csv" for name in frames} | {"tables/macros.tex", "tables/macros-whole.tex"}
    listed = folder / WRITTEN
    before = set(listed.read_text(encoding="utf-8", errors="replace").splitlines()) if listed.exists() else set()
    for name in before - written:
        path = folder / name
        if path.parent.name in ("tables", "figures") and path.parent.parent == folder:
            path.unlink(missing_ok=True)
    write_whole(listed, "\n".join(sorted(written)) + "\n")
