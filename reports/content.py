"""What the report says, in order."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reports import (
    agreement,
    answers,
    claimed,
    doubts,
    earlier,
    figures,
    lab,
    overview,
    printed,
    repeatability,
    standing,
    sweep,
    timeline,
    words,
)
from reports.document import Block, Contents, Document, Heading, Listing, Paragraph
from reports.earlier import Figure
from reports.findings import Findings
from reports.language import current, given, joined, phrase, sentence
from reports.special.verdict import Special
from reports.study import Study

_METHOD = (
    "A speed-up is the value over the baseline's in the same block (its inverse where lower is better). The interval "
    "is the exact 95 % interval of Wilcoxon's signed-rank test on the logarithms: from one mean of two blocks (Walsh "
    "average) to another, whatever the distribution. An interval that leaves out 1, and all of the band within which "
    "the baseline differed from itself where that ran twice, is called better or worse if its p, adjusted for all "
    "comparisons of its kind in this report (Holm), is at most 0.05, and else may be chance; one that leaves out 1 but "
    "reaches into the band is within the noise, any other no difference shown. n is the number of blocks with a pair; "
    "fewer than six, or than six different ones where blocks are simulated, have no interval of 95 % and are called an "
    "observation, not a result. The geometric mean counts only blocks in which every "
    "guest has a pair. Worst guest: the smallest of the guests' medians. Jain: fairness of the guests' speed-ups, 1 "
    "when all gain alike (median over blocks). Where something is varied a block is one level in one repetition, so "
    "that no number mixes levels."
)
_GAP = (
    " Gap to the oracle: by how many percentage points of their time all guests together stall longer than under it "
    "(median over blocks)."
)


def document(found: Sequence[Findings], specials: Sequence[Sequence[Special]]) -> Document:
    """Return the whole report of one or more studies, each with the special figures that it asks for."""
    names = list(dict.fromkeys(one.study.title for one in found))
    runs = [run for one in found for run in one.study.runs]
    started = sorted(str(run.manifest.get("started_utc", ""))[:16].replace("T", " ") for run in runs)
    when = started[0] if started[0] == started[-1] else phrase("{} to {}", started[0], started[-1])
    title = phrase("Ballast: {}", words.listed(names) if len(names) <= 2 else words.counted(len(names), "experiment"))
    subtitle = phrase("{}, begun {} UTC", words.counted(len(runs), "run"), when)
    reported = earlier.figures(found)
    blocks: list[Block] = []
    if len(found) > 1:
        blocks += [Heading(text=title, level=1), Paragraph(text=subtitle, quiet=True)]
        blocks += [*doubts.blocks(runs), *standing.blocks(found, reported), overview.table(found)]
        blocks += [picture] if (picture := overview.picture(found)) else []
        for one, mine in zip(found, specials, strict=True):
            blocks.append(Paragraph(lead=f"{one.study.title}.", text=joined(list(answers.verdicts(one, mine)))))
        blocks.append(Contents(title=phrase("Contents")))
    for real, simulated in agreement.pairs(found):
        blocks += agreement.section(real, simulated)
    for one, mine in zip(found, specials, strict=True):
        theirs = [figure for figure in reported if figure.title == one.study.title]
        blocks += section(one, mine, theirs, alone=len(found) == 1, subtitle=subtitle)
    if len(found) > 1:
        blocks.append(Heading(text=phrase("How to read it, and the manifests"), level=1))
        blocks.append(_method(found))
    for run in runs:
        named = phrase("Manifest") if len(runs) == 1 else phrase("Manifest of {}", run.manifest["run"])
        blocks.append(Heading(text=named))
        blocks.append(Listing(lines=list(_manifest(run.manifest))))
    return Document(title=title, subtitle=subtitle, blocks=blocks, language=current(), started_utc=started[-1])


def section(
    found: Findings, specials: Sequence[Special], reported: Sequence[Figure], *, alone: bool, subtitle: str
) -> Iterator[Block]:
    """Yield the report of one study."""
    study = found.study
    yield Heading(text=phrase("Ballast: {}", study.title) if alone else study.title, level=1)
    if alone:
        yield Paragraph(text=subtitle, quiet=True)
    yield from _first_page(found, specials, reported)
    if judged := claimed.table(found):
        yield Heading(text=phrase("What the claim is judged by"))
        yield judged
    for one in specials:
        yield from one.blocks
    yield from _comparison(found)
    yield Heading(text=phrase("Where the memory was"))
    if doubts.lacks(study.runs, "samples.csv"):
        yield Paragraph(text=phrase("Not known: {} cannot be read.", "samples.csv"))
    else:
        yield from timeline.timelines(study.parts[len(study.parts) // 2])
    yield Heading(text=phrase("What memory it took, and what that cost"))
    yield printed.counter(found)
    if len(found.measured):
        yield Heading(text=phrase("What was measured"))
        yield printed.value(found)
    if len(found.shadows):
        yield Heading(text=phrase("What the shadows wanted"))
        yield printed.shadow(found)
    if len(found.failures):
        yield Heading(text=phrase("Failed trials"))
        yield printed.failure(found)
    yield Heading(text=phrase("How to read it, and the raw rows" if alone else "The raw rows"))
    if alone:
        yield _method([found])
    yield Paragraph(text=_raw(study))


def _first_page(found: Findings, specials: Sequence[Special], reported: Sequence[Figure]) -> Iterator[Block]:
    """The claim and what became of it, what others report, who is where, the figure; then on what, how it repeats."""
    study = found.study
    yield from doubts.blocks(study.runs)
    if claim := study.experiment("claim"):
        yield Paragraph(lead=phrase("Claim."), text=sentence(given(str(claim))))
        for text in answers.verdicts(found, specials):
            yield Paragraph(lead=phrase("Verdict."), text=text)
    if reported:
        yield Paragraph(lead=phrase("What others report."), text=earlier.told(reported))
    if len(found.overall) and found.overall["n"].gt(0).any():
        table = printed.overall(found)
        # The figure of a sweep says it at a glance, its table takes a page; of one level it is the other way round.
        yield from (sweep.picture(found), table) if found.swept else (table, figures.overall(study))
    for lead, text in answers.outcomes(found):
        yield Paragraph(lead=lead, text=text)
    yield Paragraph(lead=phrase("What was compared."), text=answers.compared(study))
    yield Paragraph(lead=phrase("On what."), text=answers.ground(study))
    if about := lab.line(study):
        yield Paragraph(lead=phrase("The lab."), text=about)


def _comparison(found: Findings) -> Iterator[Block]:
    """Each policy against what was possible and guest by guest, and the baseline against itself."""
    study = found.study
    if len(found.performance):
        yield Heading(text=phrase("Of what was possible"))
        yield printed.performance(found)
    if len(found.guests) and found.guests["n"].gt(0).any():
        yield Heading(text=phrase("Speed-up of every guest"))
        yield printed.guest(found)
        if not found.swept:
            yield from figures.per_block(study)
    if len(found.noise):
        yield Heading(text=phrase("How well it repeats"))
        yield repeatability.table(found)


def _method(found: Sequence[Findings]) -> Paragraph:
    gap = any(len(one.gaps) for one in found)
    return Paragraph(text=phrase(_METHOD) + (phrase(_GAP) if gap else ""), quiet=True)


def _raw(study: Study) -> str:
    parts = []
    for run in study.runs:
        changed = {name: phrase(what) for name, what in run.changed_files.items() if not name.startswith("trials/")}
        changed |= {name: phrase("damaged ({})", why) for name, why in run.damage.items()}
        state = (
            phrase("all four as sealed by the manifest's SHA-256")
            if not changed
            else words.semicolon().join(f"{name} {what}" for name, what in sorted(changed.items()))
        )
        parts.append(phrase("run {} in {}/ ({})", run.manifest["run"], run.path.name, state))
    return phrase(
        "trials.csv, samples.csv, decisions.jsonl and events.jsonl of {}. All figures and tables of "
        "this report, unrounded: figures/ and tables/ beside it.",
        words.listed(parts),
    )


def _manifest(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield a manifest line by line, without the hashes of single trials: they are in the file."""
    files = manifest.get("files") or {}
    shown = {name: digest for name, digest in files.items() if not name.startswith("trials/")}
    for key, value in manifest.items():
        yield from _flat(key, shown if key == "files" else value)
    if more := len(files) - len(shown):
        yield f"files: {more} under trials/, each with its SHA-256, in manifest.json"


def _flat(name: str, value: object) -> Iterator[str]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
        for place, item in enumerate(value, start=1):
            yield f"{name}[{place}]: {json.dumps(item, ensure_ascii=False)}"
    else:
        yield f"{name}: {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
