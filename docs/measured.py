"""The measured figures of README.md and docs/: kept from runs, and written into the pages between markers.

    .venv/bin/python docs/measured.py RUN…       # keep these runs' figures, then write the pages anew
    .venv/bin/python docs/measured.py            # only write the pages anew, from what is kept
    .venv/bin/python docs/measured.py --check    # say where a page is not what is kept, and end with 1

A RUN is the folder of a whole run, measured in the lab in its own time; several of one experiment are put together as
in a report. A simulated run beside a measured one of the same experiment says how close the simulator comes.
Of each experiment `docs/measured/` has what the report computes of it: `NAME.csv`, a row a level, policy, guest and
metric; `NAME.json`, where that came from and what became of the claim; `NAME-simulated.csv`, measured beside simulated;
and in `runs/NAME/` the rows and the manifest of each run, from which all of it can be computed again.
Nothing is computed here but how long a trial takes. What markers may say stands in `docs/marks.py`.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs import shown
from docs.commands import command_line
from docs.marks import MarkError
from harness.records import RecordsError, Run, write_whole
from reports import agreement, answers, noise, style, words
from reports.document import Paragraph
from reports.findings import Findings
from reports.special import asked
from reports.study import ReportError, studies
from reports.summary import records
from reports.timeline import timelines

PROJECT = Path(__file__).parents[1]
KEPT = Path("docs/measured")
PICTURES: Mapping[str, Path] = {"quick": Path("docs/images/quick-timeline.png")}
"""Experiment → where a page shows its timeline."""
LAB = ("lab", "lab_clock", "processor_mips", "guest_percent", "disks")
"""Facts of a lab on which its figures depend."""
ROWS = ("manifest.json", "trials.csv")
COUNTERS = ("major_faults", "swapped_in_mib")
COLUMNS = (
    "kind", "level", "label", "against", "guest", "workload", "metric", "unit", "better", "headline",
    "base_median", "median", "speedup", "low", "high", "n", "interval", "band", "verdict", "trials_without_value",
    "base_major_faults", "major_faults", "base_swapped_in_mib", "swapped_in_mib",
)  # fmt: skip
"""`kind` is `guests`, `all` (their geometric mean) or `twins` (one guest against another in the same trial)."""


def keep(paths: Sequence[Path], project: Path = PROJECT) -> None:
    """Keep the figures of runs, and draw the pictures that pages show of them.

    Raises:
        ReportError: a run that no page may quote; the message says why.
        RecordsError: a run cannot be read.

    """
    found = [Findings.of(study) for study in studies(paths)]
    for one in found:
        _quotable(one, [other.study.name for other in found])
    pairs = {real.study.name: simulated for real, simulated in agreement.pairs(found)}
    measured = [one for one in found if one.study.backend != "simulator"]
    for one in found:
        if one.study.backend == "simulator" and one.study.name not in pairs:
            raise ReportError(f"{one.study.name} is simulated; give the measured run of the same settings too")
    folder = project / KEPT
    folder.mkdir(parents=True, exist_ok=True)
    for real in measured:
        name, simulated = real.study.name, pairs.get(real.study.name)
        facts = provenance(real)
        beside = folder / f"{name}-simulated.csv"
        if simulated is None:
            beside.unlink(missing_ok=True)  # it was about another run
        else:
            _write(beside, agreement.errors(real, simulated))
            facts["simulated"] = {"runs": _names(simulated), "verdict": _close(real, simulated)}
        _write(folder / f"{name}.csv", rows(real))
        write_whole(folder / f"{name}.json", json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
        _keep_rows(real, folder / "runs" / name)
        if name in PICTURES:
            path = project / PICTURES[name]
            path.parent.mkdir(parents=True, exist_ok=True)
            with style.applied():
                style.save(timelines(real.study)[0].figure(), path.with_suffix(""), "png")


def _keep_rows(found: Findings, folder: Path) -> None:
    """Keep what of each run the figures are computed from, in place of what is kept of runs before."""
    shutil.rmtree(folder, ignore_errors=True)
    for run in found.study.runs:
        kept = folder / str(run.manifest["run"])
        kept.mkdir(parents=True)
        for name in ROWS:
            shutil.copyfile(run.path / name, kept / name)


def _quotable(found: Findings, names: Sequence[str]) -> None:
    """Refuse what would make a page say more than was measured."""
    study = found.study
    if "#" in study.name:
        raise ReportError(f"runs of {study.name.split(' #')[0]} differ in their settings; give those of one setting")
    if names.count(study.name) > 2:
        raise ReportError(f"{study.name} was given from {names.count(study.name)} backends")
    for run in study.runs:
        name, facts = run.manifest["run"], run.manifest.get("xen") or {}
        if run.changed_files:
            (file, what), *more = sorted(run.changed_files.items())
            said = f"{file} is {what}" + (f", and {len(more)} more" if more else "")
            raise ReportError(f"run {name} is not whole: {said}; end it, or take one that is")
        if study.backend != "simulator" and not (facts.get("lab") and facts.get("lab_clock") == "instructions"):
            raise ReportError(f"run {name} was not measured in the lab's own time, which the pages' figures are of")


def rows(found: Findings) -> pd.DataFrame:
    """Return one row a level, rival, guest and metric; one for all guests together; and one for twins."""
    parts = [
        part.assign(verdict=[str(words.verdict(row)) for row in records(part)])
        for part in (_guests(found), _all(found), *_twins(found))
        if len(part)
    ]
    frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
    return frame.reindex(columns=list(COLUMNS))


def _guests(found: Findings) -> pd.DataFrame:
    if not len(found.guests):
        return found.guests
    frame, base = found.guests, found.study.baseline
    for every, keys, names in (
        (found.measured, ["level", "guest", "metric"], ["median"]),
        (found.guest_counters, ["level", "guest"], list(COUNTERS)),
    ):
        before = every.loc[every["label"] == base, [*keys, *names]].rename(
            columns={name: f"base_{name}" for name in names}
        )
        frame = frame.merge(every[["label", *keys, *names]], on=["label", *keys], how="left")
        frame = frame.merge(before, on=keys, how="left")
    return frame.assign(kind="guests", against=base)


def _all(found: Findings) -> pd.DataFrame:
    """The geometric mean over the guests."""
    if not len(found.overall):
        return found.overall
    same = {"kind": "all", "against": found.study.baseline, "guest": noise.ALL, "metric": "geometric mean"}
    return found.overall.assign(**same, better="higher", headline=False)


def _twins(found: Findings) -> Iterator[pd.DataFrame]:
    """What the figure `twins` says, where the experiment asks for it."""
    heads = found.measured[found.measured["guest"].map(found.study.headline) == found.measured["metric"]]
    heads = heads[["level", "label", "guest", "workload", "metric", "unit", "better", "median"]]
    other = heads.rename(columns={"guest": "against", "median": "base_median"})[
        ["level", "label", "against", "base_median"]
    ]
    for special in asked(found):
        if (frame := special.frames.get("twins")) is not None:
            frame = frame.rename(columns={"first": "guest", "second": "against", "ratio": "speedup"})
            frame = frame.drop(columns=["experiment", "backend"]).merge(heads, on=["level", "label", "guest"])
            yield frame.merge(other, on=["level", "label", "against"]).assign(kind="twins", headline=True)


def provenance(found: Findings) -> dict[str, Any]:
    """Return where the figures came from, and what they say of the claim."""
    study = found.study
    manifests = [run.manifest for run in study.runs]
    gits = [manifest.get("git") or {} for manifest in manifests]
    labs = [{key: value for key, value in (m.get("xen") or {}).items() if key in LAB} for m in manifests]
    if any(lab != labs[0] for lab in labs):
        raise ReportError(f"runs of {study.name} were measured in different labs; give those of one")
    return {
        "experiment": study.name,
        "runs": _names(found),
        "dates": sorted({str(manifest["started_utc"])[:10] for manifest in manifests}),
        "commits": sorted({str(git.get("commit") or "unknown") + ("+" if git.get("dirty") else "") for git in gits}),
        "lab": labs[0],
        "baseline": study.baseline,
        "axis": study.axis if study.levels else None,
        "blocks": study.blocks,
        "levels": len(study.levels) or None,
        "trials": sum(len(every.drop_duplicates(["place", "label"])) for every in (study.trials, study.again)),
        "failed_trials": len(found.failures.drop_duplicates(["place", "label"])),
        "trial_s": study.experiment("duration_s"),
        "trial_wall_s": wall_s(study.runs),
        "claim": study.experiment("claim"),
        "verdicts": list(answers.verdicts(found, asked(found))),
    }


def wall_s(runs: Sequence[Run]) -> float | None:
    """Return how long a trial takes by the wall, from its start to the next one's, in the median; None of only one."""
    steps = []
    for run in runs:
        starts = pd.to_datetime(run.trials.groupby(["block", "order"])["started_utc"].min(), format="ISO8601")
        steps.append(starts.sort_values().diff().dt.total_seconds())
    median = float(pd.concat(steps).median())
    return None if median != median else round(median, 1)


def _names(found: Findings) -> list[str]:
    return [str(run.manifest["run"]) for run in found.study.runs]


def _close(real: Findings, simulated: Findings) -> str:
    """What the report says of how close the simulator comes."""
    blocks = agreement.section(real, simulated)
    return next(block.text for block in blocks if isinstance(block, Paragraph) and block.lead == "Verdict.")


def _write(path: Path, frame: pd.DataFrame) -> None:
    write_whole(path, frame.to_csv(index=False, lineterminator="\n"))


def pages(project: Path = PROJECT) -> Sequence[Path]:
    """Return the pages in which markers may stand."""
    return [project / "README.md", *sorted((project / "docs").glob("*.md"))]


def main(command: Sequence[str] | None = None, project: Path = PROJECT) -> int:
    """Do what the command line asks for; returns the exit status."""
    parser = command_line(__doc__)
    parser.add_argument("runs", metavar="RUN", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true", help="change nothing; end with 1 where a page is out of date")
    asked_for = parser.parse_args(command)
    if asked_for.check and asked_for.runs:
        parser.error("--check keeps no runs; leave one of the two out")
    try:
        if asked_for.runs:
            keep(asked_for.runs, project)
        stale: list[str] = []
        for page in pages(project):
            text, name = page.read_text(encoding="utf-8"), str(page.relative_to(project))
            stale += [f"{name}:{line}: not what {KEPT}/ gives" for line in shown.stale(text, project / KEPT, name)]
            if not asked_for.check and (new := shown.rewritten(text, project / KEPT, name)) != text:
                write_whole(page, new)
                print(f"{name} written anew")
    except (MarkError, ReportError, RecordsError) as error:
        print(error, file=sys.stderr)
        return 1
    if asked_for.check and stale:
        print(*stale, "write them anew with: .venv/bin/python docs/measured.py", sep="\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
