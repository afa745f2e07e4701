"""What the kept figures say: the text between the markers of `docs/marks.py`, and pages written anew with it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import takewhile, zip_longest
from pathlib import Path
from typing import Any

import yaml

from docs.marks import MARKER, Kept, MarkError, Row, Selection, chosen, kept, parsed
from reports import lab, words
from reports.statistics import ENOUGH

EXPERIMENTS = Path(__file__).parents[1] / "experiments"
UNSAID = "does not say by which rows"
LONE = re.compile(r"^ *<!-- /?measured.*$", re.MULTILINE)
"""What is left of markers once all whole sections are taken out."""


def _who(row: Row) -> str:
    name = row["called"]
    workload = f" (`{row['workload']}`)" if row["workload"] else ""
    metric = "" if row["headline"] or row["kind"] == "all" else f", {row['metric']}"
    return f"{name or row['guest'] + workload}{metric}, {row['label']}{'' if name else words.at_level(row['level'])}"


def _reached(row: Row) -> str:
    if not row["unit"]:
        return words.DASH
    return f"{words.number(row['base_median'])} → {words.number(row['median'])} {_unit(row)}"


def _unit(row: Row) -> str:
    """What was counted, where the unit is only `1/s`: `touches/s`."""
    counted, per, _ = str(row["metric"]).rpartition("_per_")
    return str(row["unit"]).replace("1/", f"{counted.replace('_', ' ')}/") if per else str(row["unit"])


def _against(row: Row) -> str:
    return f"{row['against']}{', in the same trial' if row['kind'] == 'twins' else ''}"


def _times(row: Row) -> str:
    less = ", where less is better" if row["better"] == "lower" else ""
    about = words.within(row["speedup"], row["low"], row["high"])
    return f"{about.replace(words.DASH, '(no interval)')}{less}"


def _noise(row: Row) -> str:
    return words.deviation(row["band"] - 1)


def _judged(row: Row) -> str:
    lost = row.get("trials_without_value", 0)
    without = f"; {words.counted(int(lost), 'trial')} without a number" if lost and lost == lost else ""
    return f"{row['verdict']}{without}"


def _counter(name: str) -> Callable[[Row], str]:
    return lambda row: f"{words.number(row[f'base_{name}'])} → {words.number(row[name])}"


COLUMNS: Mapping[str, tuple[str, str, Callable[[Row], str]]] = {
    "who": ("who", "---", _who),
    "experiment": ("experiment", "---", lambda row: f"`{row['experiment']}`"),
    "against": ("against", "---", _against),
    "reached": ("reached", "--:", _reached),
    "times": ("times as much [95 %]", "--:", _times),
    "n": ("n", "--:", lambda row: str(row["n"])),
    "noise": ("noise", "--:", _noise),
    "verdict": ("verdict", "---", _judged),
    "faults": ("major faults", "--:", _counter("major_faults")),
    "swapped": ("swapped in, MiB", "--:", _counter("swapped_in_mib")),
}
"""Name in a marker → head, alignment and cell. `reached`, `faults` and `swapped` are medians, the baseline's first."""
USUAL = "who,against,reached,times,n,noise,verdict"


def _table(options: Mapping[str, str], selections: Sequence[Selection], there: Mapping[str, Kept]) -> Iterator[str]:
    names = options.get("columns", USUAL).split(",")
    if unknown := [name for name in names if name not in COLUMNS]:
        raise MarkError(f"there is no column {unknown[0]!r}; use some of {', '.join(COLUMNS)}")
    rows = [row for one in selections for row in chosen(one, there[one.experiment])]
    columns = [COLUMNS[name] for name in names]
    yield _laid_out([head for head, _, _ in columns], [rule for _, rule, _ in columns],
                    [[cell(row) for _, _, cell in columns] for row in rows])  # fmt: skip
    yield _sources(there)


def _laid_out(head: Sequence[str], rules: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (head, *rows)]
    return "\n".join([lines[0], f"|{'|'.join(rules)}|", *lines[1:]])


def _sources(there: Mapping[str, Kept]) -> str:
    """In how many blocks, with how many failures, when, and with which code: what differs apart, what does not once."""
    said: dict[str, list[str]] = {}
    for name, found in there.items():
        facts = found.facts
        failed = f"{facts['failed_trials'] or 'none'} of {words.counted(facts['trials'], 'trial')} failed"
        levels = f" at {words.counted(facts['levels'], 'level')}" if facts["levels"] else ""
        blocks = words.counted(facts["blocks"], "block") + levels
        text = f"{blocks}, {failed}, {_dates(facts)}, commit {_commits(facts)}"
        said.setdefault(text, []).append(f"`{name}`")
    return " ".join(f"{', '.join(names)}: {text}." for text, names in said.items())


def _dates(facts: Mapping[str, Any]) -> str:
    first, last = str(facts["dates"][0]), str(facts["dates"][-1])
    return first if first == last else f"{first} to {last}"


def _commits(facts: Mapping[str, Any]) -> str:
    return words.listed([f"{one[:7]}{' with changes' if one.endswith('+') else ''}" for one in facts["commits"]])


def _sentences(_: Mapping[str, str], selections: Sequence[Selection], there: Mapping[str, Kept]) -> Iterator[str]:
    said = []
    for row in (row for one in selections for row in chosen(one, there[one.experiment])):
        verdict = f", {_judged(row)}" if row["n"] >= ENOUGH else ""
        reached = f": {_reached(row)}" if row["unit"] else ""
        said.append(f"{_who(row)} over {_against(row)}: {words.estimate(row)}{verdict}{reached}; noise {_noise(row)}.")
    yield " ".join([*said, _sources(there)])


def _claims(_: Mapping[str, str], selections: Sequence[Selection], there: Mapping[str, Kept]) -> Iterator[str]:
    facts = [there[one.experiment].facts for one in selections]
    rows = [
        [f"`{one['experiment']}`", str(one["claim"] or words.DASH), " ".join([*one["verdicts"], *_since(one)])]
        for one in facts
    ]
    yield _laid_out(["experiment", "claim", "what the rows say of it"], ["---"] * 3, rows)


def _since(facts: Mapping[str, Any]) -> Iterator[str]:
    """Say where an experiment has another claim by now, or has come to say what judges it."""
    now = yaml.safe_load((EXPERIMENTS / f"{facts['experiment']}.yml").read_text(encoding="utf-8"))
    if now["claim"] != facts["claim"]:
        yield "*Its claim reads otherwise since.*"
    if UNSAID in " ".join(facts["verdicts"]) and (now.get("judged_by") or now.get("loses_at_most")):
        yield "*It says so since.*"


def _where(_: Mapping[str, str], selections: Sequence[Selection], there: Mapping[str, Kept]) -> Iterator[str]:
    rows: list[list[str]] = []
    labs: dict[str, list[str]] = {}
    for facts in (there[one.experiment].facts for one in selections):
        said = lab.told({key: value for key, value in facts["lab"].items() if key != "guest_percent"})
        labs.setdefault(said, []).append(f"`{facts['experiment']}`")
        trial = f"{facts['trial_s']:g}" if facts["trial_s"] is not None else words.DASH
        wall = f"{facts['trial_wall_s']:.0f}" if facts["trial_wall_s"] is not None else words.DASH
        rows.append([
            f"`{facts['experiment']}`", str(facts["blocks"]), str(facts["trials"]), str(facts["failed_trials"]),
            trial, wall, f"{facts['lab'].get('guest_percent', words.DASH)} %", _dates(facts), _commits(facts),
            ", ".join(facts["runs"]),
        ])  # fmt: skip
    head = [
        "experiment",
        "blocks",
        "trials",
        "failed",
        "a trial, lab s",
        "wall s",
        "each guest's part",
        "date",
        "commit",
    ]
    yield _laid_out([*head, "run"], ["---", *["--:"] * 6, *["---"] * 3], rows)
    yield " ".join(said if len(labs) == 1 else f"{', '.join(names)}: {said}" for said, names in labs.items())


def _simulated(_: Mapping[str, str], selections: Sequence[Selection], there: Mapping[str, Kept]) -> Iterator[str]:
    both = {one.experiment: there[one.experiment] for one in selections if there[one.experiment].simulated}
    rows = [
        [
            f"`{name}`", f"{row['guest']}, {row['label']}{words.at_level(row['level'])}",
            words.within(row["performance_measured"], row["low_measured"], row["high_measured"]),
            words.DASH if row["n_measured"] != row["n_measured"] else f"{row['n_measured']:.0f}",
            words.times(row["performance_simulated"]),
            words.DASH if row["error_pc"] != row["error_pc"] else f"{row['error_pc']:+.1f} %",
        ]
        for name, found in both.items()
        for row in found.simulated
    ]  # fmt: skip
    if rows:
        yield _laid_out(
            ["experiment", "who", "measured [95 %]", "n", "simulated", "off by"], ["---", "---", *["--:"] * 4], rows
        )
        yield "\n".join(f"- `{name}`: {found.facts['simulated']['verdict']}" for name, found in both.items())
    if rest := [f"`{one.experiment}`" for one in selections if one.experiment not in both]:
        yield f"Measured, and not simulated beside it yet: {', '.join(rest)}."


KINDS: Mapping[str, Callable[[Mapping[str, str], Sequence[Selection], Mapping[str, Kept]], Iterator[str]]] = {
    "measured": _table,
    "measured-in-words": _sentences,
    "measured-claims": _claims,
    "measured-where": _where,
    "measured-and-simulated": _simulated,
}
"""First word of a marker → what makes its text."""


def rewritten(text: str, folder: Path, page: str) -> str:
    """Return a page with the text between its markers made anew from the kept files of a folder.

    Raises:
        MarkError: a marker without an end, or one that names what is not there.

    """
    for lone in LONE.finditer(MARKER.sub(lambda found: "\n" * found[0].count("\n"), text)):
        line = text.splitlines().index(lone[0]) + 1
        raise MarkError(f"{page}:{line}: {lone[0].strip()} is half of a section, or no marker; see docs/marks.py")

    def made(found: re.Match[str]) -> str:
        try:
            made_anew = shown(found["kind"], found["text"], folder)
        except MarkError as error:
            raise MarkError(f"{page}:{_line(text, found.start())}: {error}") from error
        return f"{found['head']}\n{made_anew}\n\n<!-- /measured -->"

    return MARKER.sub(made, text)


def stale(text: str, folder: Path, page: str) -> Iterator[int]:
    """Yield the first line of each marked section of a page that is not what the kept files give."""
    new = MARKER.finditer(rewritten(text, folder, page))
    for old, fresh in zip(MARKER.finditer(text), new, strict=True):
        if old["body"] != fresh["body"]:
            pairs = zip_longest(old["body"].splitlines(), fresh["body"].splitlines())
            alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            yield _line(text, old.start("body")) + alike


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def shown(kind: str, text: str, folder: Path) -> str:
    """Return what belongs between the markers."""
    if kind not in KINDS:
        raise MarkError(f"{kind} is no kind of marker; use one of {', '.join(KINDS)}")
    options, selections = parsed(text)
    every = {one.experiment: kept(one.experiment, folder) for one in selections}
    there = {name: found for name, found in every.items() if found}
    missing = [f"`{name}`" for name, found in every.items() if not found]
    parts = list(KINDS[kind](options, [one for one in selections if one.experiment in there], there)) if there else []
    if missing:
        parts.append(f"Not measured yet in the lab's own time: {', '.join(missing)}.")
    return "\n\n".join(parts)
